//! Handles of one channel.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::Error;
use crate::core::ChannelId;
use crate::shared::{Handle, MAX_OUTGOING};

/// A reader that caught up gives memory for more events than this back.
const MAX_SPARE_EVENTS: usize = 64;

/// What happens on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEvent {
    /// The peer opened the channel too.
    Open {
        /// The bytes that it passed with the opening.
        handshake: Bytes,
    },
    /// A message.
    Message {
        /// Its type. Ignore what you do not know: later versions of a protocol add messages at the end.
        kind: u64,
        /// Its bytes: a part of what was read from the network. Copy a small one that is kept for long.
        body: Bytes,
    },
    /// The channel is closed; the last event.
    Close {
        /// Whether it was the peer: it closed or rejected the channel, or the connection ended.
        remote: bool,
    },
}

/// A channel of a [`Mux`](crate::Mux). Dropping it closes it.
///
/// Events wait in a bounded queue: a channel that is not read stops the whole connection from being read, and so its peer from
/// sending. Whoever needs to send from several places takes [`sender`](Self::sender)s.
#[derive(Debug)]
pub struct Channel {
    sender: Sender,
    token: usize,
    /// Taken out of the shared queue in one piece.
    events: VecDeque<ChannelEvent>,
}

impl Channel {
    pub(crate) fn new(handle: Arc<Handle>, id: ChannelId, token: usize) -> Self {
        Self { sender: Sender { handle, id }, token, events: VecDeque::new() }
    }

    /// The next event; `None` after [`ChannelEvent::Close`]. Given up while it waits, it has taken nothing.
    pub async fn recv(&mut self) -> Option<ChannelEvent> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<ChannelEvent>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        let (events, token) = (&mut self.events, self.token);
        self.sender.handle.shared.with(|state, wakers| {
            let Some(entry) = state.entry(token) else { return Poll::Ready(None) };
            if entry.inbox.queue.is_empty() {
                if entry.closed {
                    return Poll::Ready(None);
                }
                if events.capacity() > MAX_SPARE_EVENTS {
                    *events = VecDeque::new();
                    entry.inbox.queue = VecDeque::new();
                }
                if !entry.inbox.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    entry.inbox.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
            state.take_queue(token, events, wakers);
            Poll::Ready(events.pop_front())
        })
    }

    /// Lets the connection be read further while this channel's reader is busy: up to [`READ_AHEAD`](crate::READ_AHEAD) for all
    /// such channels of the connection together, in place of [`CHANNEL_HIGH_WATER`](crate::CHANNEL_HIGH_WATER) for each. For
    /// large messages that are handled faster together, by one reader for all of them.
    pub fn read_ahead(&self) {
        self.sender.handle.shared.with(|state, wakers| state.read_ahead(self.token, wakers));
    }

    /// Events that were taken out of the shared queue and wait here.
    pub fn buffered(&self) -> usize {
        self.events.len()
    }

    /// A handle that only sends. It does not keep the channel open.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// See [`Sender::try_send`].
    ///
    /// # Errors
    /// See [`Sender::try_send`].
    pub fn try_send(&self, kind: u64, body: &[u8]) -> Result<bool, Error> {
        self.sender.try_send(kind, body)
    }

    /// See [`Sender::send`].
    ///
    /// # Errors
    /// See [`Sender::send`].
    pub async fn send(&self, kind: u64, body: &[u8]) -> Result<(), Error> {
        self.sender.send(kind, body).await
    }

    /// See [`Sender::close`].
    pub fn close(&self) {
        self.sender.close();
    }

    /// Whether both sides opened the channel and neither closed it.
    pub fn is_open(&self) -> bool {
        self.sender.is_open()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.sender.handle.shared.with(|state, wakers| state.abandon(self.token, wakers));
    }
}

/// Sends on a [`Channel`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sender {
    handle: Arc<Handle>,
    id: ChannelId,
}

impl Sender {
    /// Queues a message at once. Returns whether the connection is drained; after `false`, wait for
    /// [`drained`](Self::drained) before the next message, or use [`send`](Self::send).
    ///
    /// A message may be sent before the peer opens the channel. Whether it arrives is known only by an answer.
    ///
    /// # Errors
    /// [`Error::ChannelClosed`], [`Error::MessageTooLarge`], [`Error::Closed`], and [`Error::Full`] when [`MAX_OUTGOING`] waits already.
    pub fn try_send(&self, kind: u64, body: &[u8]) -> Result<bool, Error> {
        self.handle.shared.with(|state, wakers| {
            if state.end {
                return Err(Error::Closed);
            }
            if state.backlog() + body.len() > MAX_OUTGOING {
                return Err(Error::Full);
            }
            state.core.send(self.id, kind, body)?;
            if !state.core.outgoing().is_empty() {
                state.wake_task(wakers);
            }
            Ok(state.is_drained())
        })
    }

    /// Waits until the connection is drained, then queues the message. Given up while it waits, it has sent nothing.
    ///
    /// # Errors
    /// [`Error::ChannelClosed`], [`Error::MessageTooLarge`], [`Error::Closed`].
    pub async fn send(&self, kind: u64, body: &[u8]) -> Result<(), Error> {
        loop {
            let sent = self.handle.shared.with(|state, wakers| {
                if state.end {
                    return Err(Error::Closed);
                }
                if !state.is_drained() && state.core.is_live(self.id) {
                    return Ok(false);
                }
                state.core.send(self.id, kind, body)?;
                if !state.core.outgoing().is_empty() {
                    state.wake_task(wakers);
                }
                Ok(true)
            });
            match sent {
                Ok(true) => return Ok(()),
                Ok(false) => self.drained().await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until less than [`SEND_HIGH_WATER`](crate::SEND_HIGH_WATER) waits to be written, or the channel is closed.
    pub async fn drained(&self) {
        let shared = &self.handle.shared;
        loop {
            let mut notified = std::pin::pin!(shared.drained.notified());
            // Registered before the state is looked at: a drain in between is not missed.
            notified.as_mut().enable();
            let drained = shared.with(|state, _| {
                let drained = state.is_drained() || !state.core.is_live(self.id);
                state.want_drain |= !drained;
                drained
            });
            if drained {
                return;
            }
            notified.await;
        }
    }

    /// Closes the channel. What was sent before is still written, and what arrived before can still be read.
    pub fn close(&self) {
        self.handle.shared.with(|state, wakers| {
            if state.core.close(self.id).is_ok() {
                // The event of the closing; a failure of the peer's frames shows itself in the task.
                state.wake_task(wakers);
            }
        });
    }

    /// Whether both sides opened the channel and neither closed it.
    pub fn is_open(&self) -> bool {
        self.handle.shared.with(|state, _| state.core.is_open(self.id))
    }
}
