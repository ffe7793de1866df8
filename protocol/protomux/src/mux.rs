//! Handles of one connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use secret_stream::{SecretStream, Transport};

use crate::Error;
use crate::channel::Channel;
use crate::core::{ChannelOptions, PairId};
use crate::shared::{Handle, Hook, Shared};
use crate::task::Task;

/// How a [`Mux`] writes.
#[derive(Debug, Clone, Default)]
pub struct MuxOptions {
    /// Write small messages that have piled up while the stream was busy as one batch. Saves encryption and framing, and a
    /// JavaScript peer decodes it faster. It also makes that peer hold its answers back until the handlers of the whole batch are
    /// done, so it is off at first.
    pub pack: bool,
}

/// Channels over one [`SecretStream`]. Cheap to clone.
///
/// One tokio task owns the stream. It ends the connection in good order when the last handle (of mux, channels, senders and pair
/// streams) is dropped, and when the peer ends it.
#[derive(Debug, Clone)]
pub struct Mux {
    handle: Arc<Handle>,
}

impl Mux {
    /// Takes the stream over. Must be called within a tokio runtime.
    pub fn new<T: Transport>(stream: SecretStream<T>) -> Self {
        Self::with_options(stream, MuxOptions::default())
    }

    /// As [`new`](Self::new), with options.
    pub fn with_options<T: Transport>(stream: SecretStream<T>, options: MuxOptions) -> Self {
        Self::prepared(stream, options, |_| {})
    }

    /// As [`with_options`](Self::with_options), and `prepare` runs before anything is read: channels that it opens or pairs are
    /// not rejected, however early the peer opens them.
    pub fn prepared<T: Transport>(stream: SecretStream<T>, options: MuxOptions, prepare: impl FnOnce(&Self)) -> Self {
        let shared = Shared::new(
            *stream.public_key(),
            *stream.remote_public_key(),
            *stream.handshake_hash(),
            stream.is_initiator(),
        );
        let mux = Self { handle: Arc::new(Handle { shared: shared.clone() }) };
        prepare(&mux);
        tokio::spawn(Task::new(stream, shared, options));
        mux
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Opens a channel here. The peer may have opened it before or do so later; [`ChannelEvent::Open`](crate::ChannelEvent::Open)
    /// says when both have. Messages may be sent before.
    ///
    /// # Errors
    /// [`Error::Duplicate`], [`Error::MessageTooLarge`] and [`Error::Closed`].
    pub fn open(&self, options: ChannelOptions) -> Result<Channel, Error> {
        let (id, token) = self.shared().with(|state, wakers| {
            if state.end {
                return Err(Error::Closed);
            }
            let token = state.add_entry();
            match state.core.open(&options, token) {
                Ok(id) => {
                    if let Some(entry) = state.entry(token) {
                        entry.id = Some(id);
                    }
                    state.wake_task(wakers);
                    Ok((id, token))
                }
                Err(error) => {
                    state.remove_entry(token);
                    Err(error)
                }
            }
        })?;
        Ok(Channel::new(self.handle.clone(), id, token))
    }

    /// Whether a channel of this protocol and id is open here.
    pub fn opened(&self, protocol: &str, id: Option<&[u8]>) -> bool {
        self.shared().with(|state, _| state.core.opened(protocol, id))
    }

    /// Tells when the peer opens a channel of this protocol that is not open here: with this id, or with any where `id` is `None`.
    /// Without such a stream those channels are rejected. A later call for the same protocol and id takes the place of the former.
    pub fn pair(&self, protocol: &str, id: Option<&[u8]>) -> PairStream {
        let hook = self.shared().with(|state, _| {
            let hook = state.hooks.insert(Hook::default());
            state.core.pair(protocol, id, hook);
            hook
        });
        let key = (protocol.to_owned(), id.map(<[u8]>::to_vec));
        PairStream { handle: self.handle.clone(), key, hook }
    }

    /// Holds messages of all channels back until [`uncork`](Self::uncork) was called as often; they are sent as one batch.
    /// What piled up to [`MAX_BATCH`](crate::MAX_BATCH) is sent before.
    pub fn cork(&self) {
        self.shared().with(|state, _| state.core.cork());
    }

    /// The end of a [`cork`](Self::cork).
    pub fn uncork(&self) {
        self.shared().with(|state, wakers| {
            state.core.uncork();
            state.wake_task(wakers);
        });
    }

    /// Ends the connection after what was sent so far. The peer may still send until it ends its side, as JavaScript's does at
    /// once.
    pub fn end(&self) {
        self.shared().with(|state, wakers| {
            state.end = true;
            state.wake_task(wakers);
        });
    }

    /// Gives the connection up at once. What was not written is lost.
    pub fn destroy(&self) {
        self.shared().with(|state, wakers| {
            state.destroy = true;
            state.wake_task(wakers);
        });
    }

    /// Waits for the end of the connection.
    ///
    /// # Errors
    /// Why it ended, unless the peer or we ended it in good order. [`Error::Closed`]: [`destroy`](Self::destroy) was called.
    pub async fn closed(&self) -> Result<(), Error> {
        let shared = self.shared();
        loop {
            let mut notified = std::pin::pin!(shared.closed.notified());
            notified.as_mut().enable();
            if let Some(result) = shared.with(|state, _| state.closed.clone()) {
                return result;
            }
            notified.await;
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared().with(|state, _| state.closed.is_some())
    }

    /// Bytes that came from the peer, those of a frame that is not whole yet included. Takes no lock.
    pub fn bytes_received(&self) -> u64 {
        self.shared().bytes_received.load(Ordering::Relaxed)
    }

    /// Our key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.shared().public_key
    }

    /// The peer's key.
    pub fn remote_public_key(&self) -> &[u8; 32] {
        &self.shared().remote_public_key
    }

    /// The Noise handshake hash of the connection.
    pub fn handshake_hash(&self) -> &[u8; 64] {
        &self.shared().handshake_hash
    }

    /// Whether this side began the connection.
    pub fn is_initiator(&self) -> bool {
        self.shared().is_initiator
    }
}

/// The channels of one protocol that the peer opens and that are not open here. Dropping it rejects them again.
#[derive(Debug)]
pub struct PairStream {
    handle: Arc<Handle>,
    key: (String, Option<Vec<u8>>),
    hook: usize,
}

impl PairStream {
    /// The next channel that the peer opens; `None` when the connection has ended. Given up while it waits, it has taken nothing.
    pub async fn next(&mut self) -> Option<PairRequest> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<PairRequest>> {
        let next = self.handle.shared.with(|state, _| {
            let is_closed = state.closed.is_some();
            let Some(hook) = state.hooks.get(self.hook) else { return Poll::Ready(None) };
            match hook.inbox.queue.pop_front() {
                Some(request) => Poll::Ready(Some(request)),
                None if is_closed => Poll::Ready(None),
                None => {
                    hook.inbox.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        next.map(|request| {
            let (protocol, id, pair) = request?;
            Some(PairRequest { mux: Mux { handle: self.handle.clone() }, protocol, id, pair: Some(pair) })
        })
    }
}

impl Drop for PairStream {
    fn drop(&mut self) {
        let (protocol, id) = &self.key;
        self.handle.shared.with(|state, wakers| {
            state.core.unpair(protocol, id.as_deref(), self.hook);
            let Some(hook) = state.hooks.remove(self.hook) else { return };
            for (_, _, pair) in hook.inbox.queue {
                state.core.answer_pair(pair);
            }
            state.wake_task(wakers);
        });
    }
}

/// The peer opened a channel that is not open here. [`open`](Self::open) it, or drop the request to reject it.
#[derive(Debug)]
pub struct PairRequest {
    mux: Mux,
    protocol: String,
    id: Vec<u8>,
    pair: Option<PairId>,
}

impl PairRequest {
    /// The protocol, by the name that the peer uses.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The id; empty for none.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// Opens a channel of this protocol and id, with these handshake bytes.
    ///
    /// # Errors
    /// As [`Mux::open`].
    pub fn open(self, handshake: impl Into<Vec<u8>>) -> Result<Channel, Error> {
        self.mux.open(ChannelOptions::new(self.protocol.clone()).id(self.id.clone()).handshake(handshake))
    }
}

impl Drop for PairRequest {
    fn drop(&mut self) {
        let Some(pair) = self.pair.take() else { return };
        self.mux.shared().with(|state, wakers| {
            state.core.answer_pair(pair);
            state.wake_task(wakers);
        });
    }
}
