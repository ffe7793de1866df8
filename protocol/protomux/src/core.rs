//! The protocol without I/O: frames in, events and frames out.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, Bytes};
use encoding::Decoder;

use crate::Error;
use crate::decode::Cursor;
use crate::outgoing::{Batch, Outgoing, check_size, put_uint};
use crate::pairing::{InfoId, Infos, Key};

/// The longest body of a message, in bytes: what fits into one secret-stream message with the ids before it.
pub const MAX_MESSAGE: usize = secret_stream::MAX_MESSAGE - 32;

/// A cork's batch of at least this size is sent before more is added, in bytes.
pub const MAX_BATCH: usize = 8 * 1024 * 1024;

/// A message of so many bytes is a frame of its own, also in a cork: to put it into a batch would be to copy it twice more.
const MIN_ALONE: usize = 16 * 1024;

/// Messages for channels that are not open here yet, in bytes, [`PENDING_OVERHEAD`] for each included. Above it no more frames are
/// wanted until a channel opens or is rejected.
pub const MAX_PENDING: usize = 32_768;

/// What a pending message counts beyond its body, in bytes.
pub const PENDING_OVERHEAD: usize = 512;

/// As [`MAX_PENDING`], within one frame. JavaScript takes a frame in whole, so its peers may send a large batch behind an open;
/// above this the rest of the batch waits too.
pub const MAX_PENDING_IN_FRAME: usize = 4 * 1024 * 1024;

/// The greatest channel id that a peer may use. It costs us a slot for each id below; beyond it the peer loses the connection.
pub const MAX_REMOTE_CHANNELS: usize = 65_536;

/// How many channels of the peer may wait for an answer. One more, and the peer loses the connection.
pub const MAX_PENDING_OPENS: usize = 4096;

/// What the open messages that wait for an answer may hold (protocol, id, handshake), in bytes. Beyond it the peer loses the
/// connection.
pub const MAX_PENDING_OPEN_BYTES: usize = 1024 * 1024;

/// Rejections that wait to be written before no more frames are decoded: a peer that opens without end and never reads must not
/// make us remember its answers.
pub const MAX_UNSENT_REJECTS: usize = 1024;

pub(crate) const BATCH: u64 = 0;
const OPEN: u64 = 1;
const REJECT: u64 = 2;
const CLOSE: u64 = 3;

/// How to open a channel.
#[derive(Debug, Clone)]
pub struct ChannelOptions {
    /// The name of the protocol that the channel speaks.
    pub protocol: String,
    /// Other names under which the peer may open the same protocol.
    pub aliases: Vec<String>,
    /// Tells channels of one protocol apart. Empty is the same as none.
    pub id: Option<Vec<u8>>,
    /// Bytes that the peer gets with the opening.
    pub handshake: Vec<u8>,
    /// Refuse to open while another channel of this protocol and id is open here.
    pub unique: bool,
}

impl ChannelOptions {
    /// A unique channel for `protocol`, without id and handshake.
    pub fn new(protocol: impl Into<String>) -> Self {
        Self { protocol: protocol.into(), aliases: Vec::new(), id: None, handshake: Vec::new(), unique: true }
    }

    /// With this id.
    pub fn id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// With these bytes for the peer.
    pub fn handshake(mut self, handshake: impl Into<Vec<u8>>) -> Self {
        self.handshake = handshake.into();
        self
    }

    /// With one more name.
    pub fn alias(mut self, protocol: impl Into<String>) -> Self {
        self.aliases.push(protocol.into());
        self
    }
}

/// Names a channel of a [`Core`]. Never used twice, unlike the id on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelId {
    slot: u32,
    serial: u64,
}

/// Names an unanswered [`Event::Pair`].
#[derive(Debug, PartialEq, Eq)]
pub struct PairId(InfoId);

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Both sides opened the channel.
    Open {
        /// What was passed to [`Core::open`].
        token: usize,
        /// The peer's handshake bytes.
        handshake: Bytes,
    },
    /// A message.
    Message {
        /// What was passed to [`Core::open`].
        token: usize,
        /// Its type, by the order in which the protocol lists its messages. Types that the application does not know are to be
        /// ignored.
        kind: u64,
        /// Its bytes, a part of the frame.
        body: Bytes,
    },
    /// The channel is gone; the last event of its token.
    Close {
        /// What was passed to [`Core::open`].
        token: usize,
        /// The peer closed or rejected it, or the connection ended.
        remote: bool,
    },
    /// The peer opens a channel that is not open here, and a hook waits for it. Open it now or not, then call
    /// [`Core::answer_pair`].
    Pair {
        /// What was passed to [`Core::pair`].
        hook: usize,
        /// The protocol as the peer names it.
        protocol: String,
        /// The id; empty for none.
        id: Vec<u8>,
        /// For [`Core::answer_pair`].
        request: PairId,
    },
}

/// What [`Core::process`] achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All frames are decoded.
    Done,
    /// A frame is not decoded to its end: the sink, too many pending messages or too many unsent rejections stopped it.
    Stalled,
}

#[derive(Debug)]
struct Local {
    serial: u64,
    info: InfoId,
    /// 0: the peer has not opened it.
    remote_id: u32,
    token: usize,
}

#[derive(Debug)]
enum Slot {
    Free,
    Open(Local),
    /// Closed here before the peer answered: the id must not be used again before it does.
    Closing(InfoId),
}

#[derive(Debug)]
struct Remote {
    /// None while the channel waits to be opened here: (slot, token) after.
    session: Option<(u32, usize)>,
    handshake: Bytes,
    pending: Vec<(u64, Bytes)>,
    /// The peer closed it before it was opened here.
    closed: bool,
    /// What the open message holds, in bytes.
    size: usize,
}

/// One end of a multiplexed stream: JavaScript's `Protomux` without its stream.
///
/// Give it the frames that arrive with [`recv`](Self::recv), one at a time while [`wants_frame`](Self::wants_frame), and take the
/// events out with [`process`](Self::process), also after every other call. What it has to say lies in
/// [`outgoing`](Self::outgoing). After an error the stream is to be destroyed.
#[derive(Debug, Default)]
pub struct Core {
    local: Vec<Slot>,
    free: Vec<u32>,
    remote: Vec<Option<Box<Remote>>>,
    infos: Infos,
    hooks: HashMap<Key, usize>,
    events: VecDeque<Event>,
    pub(crate) cursor: Cursor,
    outgoing: Outgoing,
    batch: Batch,
    corked: usize,
    pending_bytes: usize,
    pending_opens: usize,
    pending_open_bytes: usize,
    unsent_rejects: usize,
    next_serial: u64,
    is_shut_down: bool,
}

impl Core {
    /// The state of a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a channel, whether the peer did so already or does later. `token` names it in events.
    ///
    /// # Errors
    /// [`Error::Duplicate`]; [`Error::MessageTooLarge`] for handshake, protocol and id together; [`Error::Closed`].
    pub fn open(&mut self, options: &ChannelOptions, token: usize) -> Result<ChannelId, Error> {
        if self.is_shut_down {
            return Err(Error::Closed);
        }
        let id = options.id.as_deref().unwrap_or_default();
        let size = options.protocol.len() + id.len() + options.handshake.len();
        if size > MAX_MESSAGE {
            return Err(Error::MessageTooLarge(size));
        }
        let (info_id, info) = self.infos.get_or_insert(Key::new(&options.protocol, Some(id)), &options.aliases);
        if options.unique && info.opened > 0 {
            return Err(Error::Duplicate);
        }
        info.opened += 1;
        let remote_id = info.incoming.pop_front();

        let slot = self.free.pop().unwrap_or_else(|| {
            self.local.push(Slot::Free);
            self.local.len() as u32 - 1
        });
        if remote_id.is_none() {
            info.outgoing.push_back(slot + 1);
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        self.local[slot as usize] =
            Slot::Open(Local { serial, info: info_id, remote_id: remote_id.unwrap_or(0), token });

        let mut body = Vec::with_capacity(size + 12);
        put_uint(&mut body, u64::from(slot) + 1);
        for field in [options.protocol.as_bytes(), id] {
            put_uint(&mut body, field.len() as u64);
            body.extend_from_slice(field);
        }
        body.extend_from_slice(&options.handshake);
        self.write(0, OPEN, &body);

        if let Some(remote_id) = remote_id {
            self.open_pending(remote_id, slot, token);
        }
        Ok(ChannelId { slot, serial })
    }

    /// Both sides want the channel that the peer opened first: what waited for it comes out.
    fn open_pending(&mut self, remote_id: u32, slot: u32, token: usize) {
        let Some(remote) = self.remote.get_mut(remote_id as usize - 1).and_then(Option::as_mut) else { return };
        remote.session = Some((slot, token));
        self.pending_opens -= 1;
        self.pending_open_bytes -= remote.size;
        let handshake = std::mem::take(&mut remote.handshake);
        self.events.push_back(Event::Open { token, handshake });
        for (kind, body) in std::mem::take(&mut remote.pending) {
            self.pending_bytes -= PENDING_OVERHEAD + body.len();
            self.events.push_back(Event::Message { token, kind, body });
        }
        if remote.closed {
            self.forget(slot, true);
        }
    }

    fn channel(&self, channel: ChannelId) -> Result<&Local, Error> {
        match self.local.get(channel.slot as usize) {
            Some(Slot::Open(local)) if local.serial == channel.serial => Ok(local),
            _ => Err(Error::ChannelClosed),
        }
    }

    /// Whether the channel is not closed; the peer may not have opened it.
    pub fn is_live(&self, channel: ChannelId) -> bool {
        self.channel(channel).is_ok()
    }

    /// Whether both sides opened the channel.
    pub fn is_open(&self, channel: ChannelId) -> bool {
        self.channel(channel).is_ok_and(|local| local.remote_id > 0)
    }

    /// Whether a channel of this protocol and id is open here.
    pub fn opened(&self, protocol: &str, id: Option<&[u8]>) -> bool {
        self.infos.find(&Key::new(protocol, id)).is_some_and(|info| info.opened > 0)
    }

    /// Sends a message. It may be sent before the peer opens the channel, which then keeps it.
    ///
    /// # Errors
    /// [`Error::ChannelClosed`], [`Error::MessageTooLarge`].
    pub fn send(&mut self, channel: ChannelId, kind: u64, body: &[u8]) -> Result<(), Error> {
        self.channel(channel)?;
        check_size(body)?;
        self.write(channel.slot + 1, kind, body);
        Ok(())
    }

    /// Closes a channel. Its [`Event::Close`] follows.
    ///
    /// # Errors
    /// [`Error::ChannelClosed`].
    pub fn close(&mut self, channel: ChannelId) -> Result<(), Error> {
        self.channel(channel)?;
        self.forget(channel.slot, false);
        self.write_id(CLOSE, u64::from(channel.slot) + 1);
        Ok(())
    }

    fn forget(&mut self, slot: u32, remote: bool) {
        let Some(entry) = self.local.get_mut(slot as usize) else { return };
        let Slot::Open(local) = std::mem::replace(entry, Slot::Free) else { return };
        if local.remote_id > 0 {
            self.remote[local.remote_id as usize - 1] = None;
            // The peer has answered: the id may be used again.
            self.free.push(slot);
        } else {
            *entry = Slot::Closing(local.info);
        }
        if let Some(info) = self.infos.get(local.info) {
            info.opened -= 1;
        }
        self.infos.collect(local.info);
        self.events.push_back(Event::Close { token: local.token, remote });
    }

    /// Asks for an [`Event::Pair`] with `hook` whenever the peer opens a channel of this protocol that is not open here: with this
    /// id, or with any id for which there is no hook of its own. Without a hook such a channel is rejected at once.
    pub fn pair(&mut self, protocol: &str, id: Option<&[u8]>, hook: usize) {
        self.hooks.insert(Key::new(protocol, id), hook);
    }

    /// Takes a hook back, unless another has taken its place.
    pub fn unpair(&mut self, protocol: &str, id: Option<&[u8]>, hook: usize) {
        let key = Key::new(protocol, id);
        if self.hooks.get(&key) == Some(&hook) {
            self.hooks.remove(&key);
        }
    }

    /// Says that all is done that an [`Event::Pair`] asks for: what is still not open is rejected, unless other hooks work on it.
    pub fn answer_pair(&mut self, request: PairId) {
        let Some(info) = self.infos.get(request.0) else { return };
        info.pairing = info.pairing.saturating_sub(1);
        if info.pairing == 0 {
            self.reject_incoming(request.0);
        }
    }

    fn reject_incoming(&mut self, info_id: InfoId) {
        let Some(info) = self.infos.get(info_id) else { return };
        for remote_id in std::mem::take(&mut info.incoming) {
            if let Some(remote) = self.remote.get_mut(remote_id as usize - 1).and_then(Option::take) {
                self.pending_opens -= 1;
                self.pending_open_bytes -= remote.size;
                self.pending_bytes -=
                    remote.pending.iter().map(|(_, body)| PENDING_OVERHEAD + body.len()).sum::<usize>();
            }
            self.reject(remote_id.into());
        }
        self.infos.collect(info_id);
    }

    fn reject(&mut self, remote_id: u64) {
        self.unsent_rejects += 1;
        self.write_id(REJECT, remote_id);
    }

    /// Holds messages back to send them as one batch, until [`uncork`](Self::uncork) was called as often.
    pub fn cork(&mut self) {
        self.corked += 1;
    }

    /// The end of a [`cork`](Self::cork).
    pub fn uncork(&mut self) {
        self.corked = self.corked.saturating_sub(1);
        if self.corked == 0 {
            self.flush_batch();
        }
    }

    /// Whether messages are held back.
    pub fn is_corked(&self) -> bool {
        self.corked > 0
    }

    fn flush_batch(&mut self) {
        if !self.batch.is_empty() {
            self.outgoing.push(0, BATCH, self.batch.body());
            self.batch.clear();
        }
    }

    fn write_id(&mut self, kind: u64, id: u64) {
        let mut body = Vec::with_capacity(9);
        put_uint(&mut body, id);
        self.write(0, kind, &body);
    }

    fn write(&mut self, channel: u32, kind: u64, body: &[u8]) {
        if self.corked == 0 {
            self.outgoing.push(channel, kind, body);
            return;
        }
        if self.batch.must_flush(body.len()) || body.len() >= MIN_ALONE {
            self.flush_batch();
        }
        if body.len() >= MIN_ALONE {
            return self.outgoing.push(channel, kind, body);
        }
        self.batch.push(channel, kind, body);
    }

    /// What waits to be written.
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Takes what waits to be written and leaves `empty` in its place, which must be.
    pub fn take_outgoing(&mut self, empty: Outgoing) -> Outgoing {
        debug_assert!(empty.is_empty());
        self.unsent_rejects = 0;
        std::mem::replace(&mut self.outgoing, empty)
    }

    /// Takes what waits to be written, as whole frames.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        let mut outgoing = self.take_outgoing(Outgoing::default());
        let mut frames = Vec::new();
        while let Some((channel, payload)) = outgoing.next_frame() {
            let mut frame = Vec::with_capacity(9 + payload.len());
            put_uint(&mut frame, channel);
            frame.extend_from_slice(payload);
            frames.push(frame);
        }
        frames
    }

    /// Whether another frame may be given: all before are decoded, and not too much waits for channels to open.
    pub fn wants_frame(&self) -> bool {
        self.cursor.is_done() && self.pending_bytes <= MAX_PENDING
    }

    /// Whether all frames so far are decoded to their end.
    pub fn is_decoded(&self) -> bool {
        self.cursor.is_done()
    }

    /// Gives the memory of empty buffers back.
    pub(crate) fn release(&mut self) {
        if self.outgoing.is_empty() {
            self.outgoing = Outgoing::default();
        }
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }

    /// Gives a frame that arrived. Only while [`wants_frame`](Self::wants_frame).
    pub fn recv(&mut self, frame: Bytes) {
        debug_assert!(self.cursor.is_done());
        self.cursor.start(frame);
    }

    /// Hands out all events, in order, until the sink returns `false` after one.
    ///
    /// # Errors
    /// The peer broke the protocol; the stream is to be destroyed. See [`Error`].
    pub fn process(&mut self, mut sink: impl FnMut(Event) -> bool) -> Result<Progress, Error> {
        let go_on = self.flush_events(&mut sink);
        if self.cursor.is_done() {
            return Ok(Progress::Done);
        }
        if !go_on {
            return Ok(Progress::Stalled);
        }
        let result = self.decode(&mut sink);
        // Nothing is held back while the rest of a batch waits.
        for _ in 0..self.cursor.release_corks() {
            self.uncork();
        }
        result
    }

    /// The next event that a call of ours caused. It decodes nothing, so it may be asked while the sink is full.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.pending_bytes > MAX_PENDING_IN_FRAME || self.unsent_rejects >= MAX_UNSENT_REJECTS
    }

    /// Hands out the events that a control message caused. Returns what the sink did.
    pub(crate) fn flush_events(&mut self, sink: &mut impl FnMut(Event) -> bool) -> bool {
        while let Some(event) = self.events.pop_front() {
            if !sink(event) {
                return false;
            }
        }
        true
    }

    /// A message on a channel of the peer. Returns what the sink did.
    pub(crate) fn receive_message(
        &mut self,
        remote_id: u64,
        kind: u64,
        body: Bytes,
        sink: &mut impl FnMut(Event) -> bool,
    ) -> bool {
        let slot = usize::try_from(remote_id - 1).ok().and_then(|slot| self.remote.get_mut(slot));
        // Unknown, or closed here while it was on its way.
        let Some(remote) = slot.and_then(Option::as_mut) else { return true };
        match remote.session {
            Some((_, token)) => sink(Event::Message { token, kind, body }),
            None => {
                if !remote.closed {
                    // A copy: a few bytes that wait for long must not hold the whole read buffer.
                    self.pending_bytes += PENDING_OVERHEAD + body.len();
                    remote.pending.push((kind, Bytes::copy_from_slice(&body)));
                }
                true
            }
        }
    }

    /// A control message that is not a batch.
    pub(crate) fn receive_control(&mut self, kind: u64, body: Bytes) -> Result<(), Error> {
        match kind {
            OPEN => self.receive_open(body),
            REJECT => self.receive_reject(Decoder::new(&body).uint()?),
            CLOSE => {
                let remote_id = Decoder::new(&body).uint()?;
                self.receive_close(remote_id);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn receive_open(&mut self, mut body: Bytes) -> Result<(), Error> {
        let mut decoder = Decoder::new(&body);
        let remote_id = decoder.uint()?;
        // As JavaScript reads strings: what is not UTF-8 is replaced.
        let protocol = String::from_utf8_lossy(decoder.buffer()?).into_owned();
        let id = decoder.buffer()?;
        let size = body.len();
        let handshake_at = size - decoder.remaining();

        if remote_id == 0 {
            // Kept for a control protocol that may be opened one day.
            self.reject(0);
            return Ok(());
        }
        let key = Key { protocol, id: id.to_vec() };
        let slot = usize::try_from(remote_id - 1).map_err(|_| Error::InvalidOpen)?;
        if slot == self.remote.len() {
            if slot >= MAX_REMOTE_CHANNELS {
                return Err(Error::TooManyChannels);
            }
            self.remote.push(None);
        }
        if !matches!(self.remote.get(slot), Some(None)) {
            return Err(Error::InvalidOpen);
        }
        // Ids are below MAX_REMOTE_CHANNELS.
        let remote_id = slot as u32 + 1;
        body.advance(handshake_at);

        let (info_id, info) = self.infos.get_or_insert(key.clone(), &[]);
        if let Some(local_id) = info.outgoing.pop_front() {
            let slot = local_id - 1;
            match &mut self.local[slot as usize] {
                Slot::Open(local) => {
                    local.remote_id = remote_id;
                    let token = local.token;
                    self.events.push_back(Event::Open { token, handshake: body });
                    self.remote[remote_id as usize - 1] = Some(Box::new(Remote {
                        session: Some((slot, token)),
                        handshake: Bytes::new(),
                        pending: Vec::new(),
                        closed: false,
                        size: 0,
                    }));
                }
                closing => {
                    // Closed here before: our close message answers the peer.
                    *closing = Slot::Free;
                    self.free.push(slot);
                    self.infos.collect(info_id);
                }
            }
            return Ok(());
        }

        if self.pending_opens >= MAX_PENDING_OPENS || self.pending_open_bytes + size > MAX_PENDING_OPEN_BYTES {
            // A hook may be slow, so this is not yet hostile; but it is more than any peer has to open at once.
            let hooked = self.hook(&key).is_some() || info_is_pairing(&mut self.infos, info_id);
            if hooked {
                return Err(Error::Backlog);
            }
        }
        self.pending_opens += 1;
        self.pending_open_bytes += size;
        self.remote[remote_id as usize - 1] = Some(Box::new(Remote {
            session: None,
            handshake: Bytes::copy_from_slice(&body),
            pending: Vec::new(),
            closed: false,
            size,
        }));
        let hook = self.hook(&key);
        let Some(info) = self.infos.get(info_id) else { return Ok(()) };
        info.incoming.push_back(remote_id);
        match hook {
            Some(hook) => {
                info.pairing += 1;
                let Key { protocol, id } = key;
                self.events.push_back(Event::Pair { hook, protocol, id, request: PairId(info_id) });
            }
            None if info.pairing > 0 => {}
            None => self.reject_incoming(info_id),
        }
        Ok(())
    }

    fn hook(&self, key: &Key) -> Option<usize> {
        if self.hooks.is_empty() {
            return None;
        }
        self.hooks.get(key).or_else(|| self.hooks.get(&Key::new(&key.protocol, None))).copied()
    }

    fn receive_reject(&mut self, local_id: u64) -> Result<(), Error> {
        let slot = local_id.checked_sub(1).and_then(|slot| u32::try_from(slot).ok()).ok_or(Error::InvalidReject)?;
        let entry = self.local.get_mut(slot as usize).ok_or(Error::InvalidReject)?;
        let (info_id, token) = match entry {
            Slot::Open(local) if local.remote_id == 0 => (local.info, Some(local.token)),
            Slot::Closing(info_id) => (*info_id, None),
            _ => return Err(Error::InvalidReject),
        };
        *entry = Slot::Free;
        self.free.push(slot);
        if let Some(info) = self.infos.get(info_id) {
            info.outgoing.retain(|waiting| *waiting != slot + 1);
            info.opened -= usize::from(token.is_some());
        }
        self.infos.collect(info_id);
        if let Some(token) = token {
            self.events.push_back(Event::Close { token, remote: true });
        }
        Ok(())
    }

    fn receive_close(&mut self, remote_id: u64) {
        let slot = remote_id.checked_sub(1).and_then(|slot| usize::try_from(slot).ok());
        let Some(remote) = slot.and_then(|slot| self.remote.get_mut(slot)).and_then(Option::as_mut) else { return };
        match remote.session {
            Some((slot, _)) => self.forget(slot, true),
            None => remote.closed = true,
        }
    }

    /// The connection has ended: every channel closes, and nothing can be opened any more.
    pub fn shut_down(&mut self) {
        self.is_shut_down = true;
        for slot in 0..self.local.len() as u32 {
            self.forget(slot, true);
        }
        self.hooks.clear();
        self.cursor.clear();
        self.batch.clear();
        self.pending_bytes = 0;
        self.pending_opens = 0;
        self.pending_open_bytes = 0;
        self.remote.clear();
        self.infos = Infos::default();
    }
}

fn info_is_pairing(infos: &mut Infos, id: InfoId) -> bool {
    infos.get(id).is_some_and(|info| info.pairing > 0)
}
