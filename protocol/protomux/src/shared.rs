//! What handles and the task of a mux have in common, behind one short lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Error;
use crate::channel::ChannelEvent;
use crate::core::{ChannelId, Core, Event, PairId};

/// Bytes that wait to be sealed before [`Channel::try_send`](crate::Channel::try_send) says that the connection is not drained.
pub const SEND_HIGH_WATER: usize = 64 * 1024;

/// Bytes that may wait to be sealed at all. Only a sender that ignores back-pressure gets there.
pub const MAX_OUTGOING: usize = 32 * 1024 * 1024;

/// Bytes of messages that a channel queues for its reader, [`EVENT_OVERHEAD`] for each included, before the whole connection is
/// read no further. One message of any size may go above.
pub const CHANNEL_HIGH_WATER: usize = 64 * 1024;

/// As [`CHANNEL_HIGH_WATER`], of all channels of a connection together that are [read ahead](crate::Channel::read_ahead).
pub const READ_AHEAD: usize = 1024 * 1024;

/// What a queued message counts beyond its body, in bytes.
pub const EVENT_OVERHEAD: usize = 64;

/// Wakers to be woken after the lock is released.
pub(crate) type Wakers = Vec<Waker>;

/// An item with a waker: the receiving side of a channel or of a pair hook.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    pub(crate) queue: VecDeque<T>,
    pub(crate) waker: Option<Waker>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), waker: None }
    }
}

impl<T> Inbox<T> {
    fn push(&mut self, item: T, wakers: &mut Wakers) {
        self.queue.push_back(item);
        wakers.extend(self.waker.take());
    }
}

/// The driver's side of a channel.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) id: Option<ChannelId>,
    pub(crate) inbox: Inbox<ChannelEvent>,
    /// What the queue holds, in bytes.
    bytes: usize,
    /// It is counted with others of its kind, not alone.
    ahead: bool,
    /// The last event is in the queue.
    pub(crate) closed: bool,
    /// Its handle is gone: nobody reads.
    orphan: bool,
}

/// The driver's side of a pair hook.
#[derive(Debug, Default)]
pub(crate) struct Hook {
    pub(crate) inbox: Inbox<(String, Vec<u8>, PairId)>,
}

/// How full the queues of the channels are.
#[derive(Debug, Default)]
struct Fill {
    /// How many channels hold more than their reader should have left there.
    full: usize,
    /// What those hold together that are read ahead, in bytes.
    ahead: usize,
}

impl Fill {
    fn add(&mut self, entry: &mut Entry, bytes: usize) {
        let was_full = entry.bytes > CHANNEL_HIGH_WATER;
        entry.bytes += bytes;
        if entry.ahead {
            self.ahead += bytes;
        } else {
            self.full += usize::from(!was_full && entry.bytes > CHANNEL_HIGH_WATER);
        }
    }

    fn empty(&mut self, entry: &mut Entry) {
        let bytes = std::mem::take(&mut entry.bytes);
        if entry.ahead {
            self.ahead -= bytes;
        } else {
            self.full -= usize::from(bytes > CHANNEL_HIGH_WATER);
        }
    }

    fn has_room(&self) -> bool {
        self.full == 0 && self.ahead <= READ_AHEAD
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: Core,
    entries: Slots<Entry>,
    pub(crate) hooks: Slots<Hook>,
    fill: Fill,
    /// The waker of the task, while it sleeps.
    pub(crate) task: Option<Waker>,
    /// Bytes that the task took out of the core and has not sealed yet.
    pub(crate) taken: usize,
    /// Somebody waits for [`Shared::drained`].
    pub(crate) want_drain: bool,
    pub(crate) destroy: bool,
    pub(crate) end: bool,
    pub(crate) closed: Option<Result<(), Error>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// What the stream received, as the task saw it last.
    pub(crate) bytes_received: AtomicU64,
    pub(crate) drained: Notify,
    pub(crate) closed: Notify,
    pub(crate) public_key: [u8; 32],
    pub(crate) remote_public_key: [u8; 32],
    pub(crate) handshake_hash: [u8; 64],
    pub(crate) is_initiator: bool,
}

impl Shared {
    pub(crate) fn new(
        public_key: [u8; 32],
        remote_public_key: [u8; 32],
        handshake_hash: [u8; 64],
        is_initiator: bool,
    ) -> Arc<Self> {
        let state = State {
            core: Core::new(),
            entries: Slots::default(),
            hooks: Slots::default(),
            fill: Fill::default(),
            task: None,
            taken: 0,
            want_drain: false,
            destroy: false,
            end: false,
            closed: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            bytes_received: AtomicU64::new(0),
            drained: Notify::new(),
            closed: Notify::new(),
            public_key,
            remote_public_key,
            handshake_hash,
            is_initiator,
        })
    }

    /// Runs `f` under the lock, then wakes whom it wants woken.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State, &mut Wakers) -> R) -> R {
        // No allocation unless somebody is to be woken.
        let mut wakers = Wakers::new();
        let result = f(&mut self.state.lock(), &mut wakers);
        for waker in wakers {
            waker.wake();
        }
        result
    }
}

impl State {
    /// Notes that the task is about to sleep.
    pub(crate) fn sleep(&mut self, cx: &Context<'_>) {
        if !self.task.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
        }
    }

    /// Wakes the task if it sleeps.
    pub(crate) fn wake_task(&mut self, wakers: &mut Wakers) {
        wakers.extend(self.task.take());
    }

    /// Bytes that wait to be sealed.
    pub(crate) fn backlog(&self) -> usize {
        self.core.outgoing().len() + self.taken
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.backlog() < SEND_HIGH_WATER
    }

    /// Whether every reader keeps up.
    pub(crate) fn may_read(&self) -> bool {
        self.fill.has_room()
    }

    /// Delivers what happened, decoding what the core holds until a reader is too slow.
    pub(crate) fn dispatch(&mut self, wakers: &mut Wakers) -> Result<(), Error> {
        while let Some(event) = self.core.poll_event() {
            if let Some(unheard) = deliver(event, &mut self.entries, &mut self.hooks, &mut self.fill, wakers) {
                self.core.answer_pair(unheard);
            }
        }
        if !self.fill.has_room() {
            return Ok(());
        }
        let Self { core, entries, hooks, fill, .. } = self;
        let mut unheard = Vec::new();
        core.process(|event| {
            unheard.extend(deliver(event, entries, hooks, fill, wakers));
            fill.has_room()
        })?;
        for request in unheard {
            core.answer_pair(request);
        }
        Ok(())
    }

    pub(crate) fn add_entry(&mut self) -> usize {
        self.entries.insert(Entry::default())
    }

    pub(crate) fn entry(&mut self, token: usize) -> Option<&mut Entry> {
        self.entries.get(token)
    }

    pub(crate) fn remove_entry(&mut self, token: usize) {
        self.entries.remove(token);
    }

    /// Moves a channel's queue to its reader, and reads on if that was what reading waited for.
    pub(crate) fn take_queue(&mut self, token: usize, into: &mut VecDeque<ChannelEvent>, wakers: &mut Wakers) {
        let Some(entry) = self.entries.get(token) else { return };
        std::mem::swap(&mut entry.inbox.queue, into);
        let had_room = self.fill.has_room();
        self.fill.empty(entry);
        if !had_room && self.fill.has_room() {
            self.wake_task(wakers);
        }
    }

    /// Counts what a channel holds together with all others of which this was said.
    pub(crate) fn read_ahead(&mut self, token: usize, wakers: &mut Wakers) {
        let Some(entry) = self.entries.get(token) else { return };
        let (had_room, bytes) = (self.fill.has_room(), entry.bytes);
        self.fill.empty(entry);
        entry.ahead = true;
        self.fill.add(entry, bytes);
        if !had_room && self.fill.has_room() {
            self.wake_task(wakers);
        }
    }

    /// A channel's handle is gone.
    pub(crate) fn abandon(&mut self, token: usize, wakers: &mut Wakers) {
        self.take_queue(token, &mut VecDeque::new(), wakers);
        let Some(entry) = self.entries.get(token) else { return };
        entry.orphan = true;
        entry.inbox.waker = None;
        match (entry.closed, entry.id) {
            (false, Some(id)) => {
                let _ = self.core.close(id);
                self.wake_task(wakers);
            }
            _ => self.remove_entry(token),
        }
    }
}

/// Messages that wait for the reader of a channel as parts of the memory they arrived in. Further ones are copied: a few bytes would
/// otherwise keep a whole block of the stream alive, which [`CHANNEL_HIGH_WATER`] and [`READ_AHEAD`] do not count.
const MAX_SHARED: usize = 128;

/// Puts an event where its reader finds it. Returns a pair request whose hook is gone.
fn deliver(
    event: Event,
    entries: &mut Slots<Entry>,
    hooks: &mut Slots<Hook>,
    fill: &mut Fill,
    wakers: &mut Wakers,
) -> Option<PairId> {
    let (token, mut event, size) = match event {
        Event::Message { token, kind, body } => {
            let size = body.len();
            (token, ChannelEvent::Message { kind, body }, size)
        }
        Event::Open { token, handshake } => {
            let size = handshake.len();
            (token, ChannelEvent::Open { handshake }, size)
        }
        Event::Close { token, remote } => (token, ChannelEvent::Close { remote }, 0),
        Event::Pair { hook, protocol, id, request } => {
            let Some(hook) = hooks.get(hook) else { return Some(request) };
            hook.inbox.push((protocol, id, request), wakers);
            return None;
        }
    };
    let closes = matches!(event, ChannelEvent::Close { .. });
    let entry = entries.get(token)?;
    if entry.orphan {
        if closes {
            entries.remove(token);
        }
        return None;
    }
    if let ChannelEvent::Message { body, .. } = &mut event
        && entry.inbox.queue.len() >= MAX_SHARED
        // A larger one is most of what it keeps.
        && size <= CHANNEL_HIGH_WATER
    {
        *body = Bytes::copy_from_slice(body);
    }
    fill.add(entry, size + EVENT_OVERHEAD);
    entry.closed |= closes;
    entry.inbox.push(event, wakers);
    None
}

/// A vector whose free places are used again.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    items: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn insert(&mut self, item: T) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.items[index] = Some(item);
                index
            }
            None => {
                self.items.push(Some(item));
                self.items.len() - 1
            }
        }
    }

    pub(crate) fn get(&mut self, index: usize) -> Option<&mut T> {
        self.items.get_mut(index)?.as_mut()
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        let item = self.items.get_mut(index)?.take();
        if item.is_some() {
            self.free.push(index);
        }
        item
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut().flatten()
    }
}

/// Makes the handle count: the last one dropped ends the connection.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.with(|state, wakers| {
            state.end = true;
            state.wake_task(wakers);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_that_nobody_reads_keep_no_large_memory() {
        let (mut entries, mut hooks, mut fill) = (Slots::default(), Slots::default(), Fill::default());
        let mut wakers = Wakers::new();
        let token = entries.insert(Entry::default());
        let mut blocks = Vec::new();
        while fill.has_room() {
            let block = Bytes::from(vec![7; 4096]);
            let event = Event::Message { token, kind: 0, body: block.slice(..1) };
            assert!(deliver(event, &mut entries, &mut hooks, &mut fill, &mut wakers).is_none());
            blocks.push(block);
        }
        assert!(blocks.len() > 4 * MAX_SHARED);
        assert_eq!(blocks.iter().filter(|block| !block.is_unique()).count(), MAX_SHARED);
        let queue = &entries.get(token).expect("entry").inbox.queue;
        let intact = |event: &ChannelEvent| matches!(event, ChannelEvent::Message { kind: 0, body } if body[..] == [7]);
        assert!(queue.iter().all(intact));
    }
}
