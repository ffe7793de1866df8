//! The task that owns the stream of a mux.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use secret_stream::{SecretStream, Transport};
use tokio::time::Sleep;

use crate::Error;
use crate::mux::MuxOptions;
use crate::outgoing::{Outgoing, put_uint};
use crate::shared::{Shared, State, Wakers};

/// Frames read before they are decoded under one lock.
const READ_BATCH: usize = 256;

/// As [`READ_BATCH`], in bytes.
const READ_BATCH_BYTES: usize = 128 * 1024;

/// Rounds of reading and writing before other tasks get their turn.
const ROUNDS: usize = 8;

/// How long the peer may take to end its side after we ended ours.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Small messages are packed into a batch frame up to this size, in bytes.
const PACK_BYTES: usize = 16 * 1024;

pub(crate) struct Task<T> {
    stream: SecretStream<T>,
    shared: Arc<Shared>,
    options: MuxOptions,
    /// Read and not given to the core.
    inbox: VecDeque<Bytes>,
    /// Taken out of the core and not sealed.
    writing: Outgoing,
    scratch: Vec<u8>,
    may_read: bool,
    remote_ended: bool,
    /// Everything that was read is decoded and delivered.
    decoded: bool,
    /// We were asked to end the connection.
    ending: bool,
    /// We are ending our side of the stream: nothing more can be sent.
    closing: bool,
    end_timeout: Option<Pin<Box<Sleep>>>,
    /// Whoever made the mux had its turn to open channels, before those that the peer opened are rejected.
    waited: bool,
    done: bool,
}

impl<T: Transport> Task<T> {
    pub(crate) fn new(stream: SecretStream<T>, shared: Arc<Shared>, options: MuxOptions) -> Self {
        Self {
            stream,
            shared,
            options,
            inbox: VecDeque::new(),
            writing: Outgoing::default(),
            scratch: Vec::new(),
            may_read: true,
            remote_ended: false,
            decoded: true,
            ending: false,
            closing: false,
            end_timeout: None,
            waited: false,
            done: false,
        }
    }

    /// Reads what is there, up to a batch. Returns whether more may be there.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let mut bytes = 0;
        while self.inbox.len() < READ_BATCH && bytes < READ_BATCH_BYTES {
            match self.stream.poll_recv(cx)? {
                Poll::Ready(Some(frame)) => {
                    bytes += frame.len();
                    // An empty message is a keep-alive of a peer that expects us to know.
                    if !frame.is_empty() {
                        self.inbox.push_back(frame.freeze());
                    }
                }
                Poll::Ready(None) => {
                    self.remote_ended = true;
                    return Ok(false);
                }
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Exchanges frames with the core: the only long part under the lock. Returns whether there is something to write.
    fn exchange(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        self.writing.recycle();
        let Self { shared, inbox, writing, .. } = self;
        let (may_read, decoded, end) = shared.with(|state, wakers| {
            deliver(state, inbox, wakers)?;
            if writing.is_empty() {
                *writing = state.core.take_outgoing(std::mem::take(writing));
                state.taken = writing.len();
                if writing.is_empty() {
                    // The last look before sleeping.
                    state.sleep(cx);
                }
            }
            let may_read = state.may_read() && state.core.wants_frame();
            Ok::<_, Error>((may_read, state.core.is_decoded(), state.end))
        })?;
        self.may_read = self.inbox.is_empty() && may_read && !self.remote_ended;
        self.decoded = self.inbox.is_empty() && decoded;
        self.ending |= end;
        if self.closing {
            // Our side of the stream has ended.
            self.writing = Outgoing::default();
        }
        Ok(!self.writing.is_empty())
    }

    /// What had come when the stream failed still reaches its channels, as far as they take it: the peer may have been told that it
    /// arrived.
    fn deliver_last(&mut self) {
        let Self { shared, inbox, .. } = self;
        // The stream failed before anything in here did.
        let _ = shared.with(|state, wakers| deliver(state, inbox, wakers));
    }

    /// Seals what was taken out of the core while the stream has room. Returns whether all of it was.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        while !self.writing.is_empty() {
            if self.stream.poll_ready(cx)?.is_pending() {
                break;
            }
            if self.options.pack {
                self.scratch.clear();
                if self.writing.pack(PACK_BYTES, &mut self.scratch) {
                    self.stream.start_send(&self.scratch)?;
                    continue;
                }
            }
            let Some((channel, payload)) = self.writing.next_frame() else { break };
            self.scratch.clear();
            put_uint(&mut self.scratch, channel);
            self.stream.start_send_parts(&[&self.scratch, payload])?;
        }
        let (left, shared) = (self.writing.len(), &self.shared);
        let drained = shared.with(|state, _| {
            state.taken = left;
            if left > 0 {
                // The transport wakes us, but a reader that catches up must do so too.
                state.sleep(cx);
            }
            let drained = state.want_drain && state.is_drained();
            state.want_drain &= !drained;
            drained
        });
        if drained {
            shared.drained.notify_waiters();
        }
        Ok(self.writing.is_empty())
    }

    /// `Ready` when the connection is over in good order.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut was_idle = true;
        for _ in 0..ROUNDS {
            let could_read = self.may_read;
            let more_to_read = could_read && self.read(cx)?;
            self.shared.bytes_received.store(self.stream.bytes_received(), Ordering::Relaxed);
            let has_output = self.exchange(cx).inspect_err(|_| self.inbox.clear())?;
            let all_written = has_output && self.write(cx)?;
            let flushed = self.stream.poll_flush(cx)?.is_ready();
            was_idle &= !has_output && !more_to_read;
            if all_written || (more_to_read && self.may_read) || (self.may_read && !could_read) {
                // There may be more by now.
                continue;
            }
            if !has_output && flushed && (self.ending || (self.remote_ended && self.decoded)) {
                return self.close(cx);
            }
            if was_idle {
                self.release();
            }
            return Poll::Pending;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Gives memory back after a burst: at the next keep-alive at the latest.
    fn release(&mut self) {
        self.scratch = Vec::new();
        if self.inbox.is_empty() {
            self.inbox = VecDeque::new();
        }
        if self.writing.is_empty() {
            self.writing = Outgoing::default();
        }
        self.shared.with(|state, _| state.core.release());
    }

    fn close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.closing = true;
        let closed = self.stream.poll_close(cx)?.is_ready();
        if self.remote_ended && closed {
            return Poll::Ready(Ok(()));
        }
        let timeout = self.end_timeout.get_or_insert_with(|| Box::pin(tokio::time::sleep(END_TIMEOUT)));
        if timeout.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn finish(&mut self, result: Result<(), Error>) {
        self.done = true;
        if let Err(error) = &result {
            tracing::debug!(%error, "connection ended");
        }
        self.stream.destroy();
        self.inbox = VecDeque::new();
        self.writing = Outgoing::default();
        self.shared.with(|state, wakers| {
            state.core.shut_down();
            // Nothing is left to decode, so nothing can fail.
            let _ = state.dispatch(wakers);
            state.core.take_outgoing(Outgoing::default());
            state.taken = 0;
            state.task = None;
            state.closed = Some(result);
            for hook in state.hooks.iter_mut() {
                wakers.extend(hook.inbox.waker.take());
            }
        });
        self.shared.drained.notify_waiters();
        self.shared.closed.notify_waiters();
    }
}

/// Gives frames to the core and what they hold to the channels, until one of these has enough.
fn deliver(state: &mut State, inbox: &mut VecDeque<Bytes>, wakers: &mut Wakers) -> Result<(), Error> {
    if state.destroy {
        return Err(Error::Closed);
    }
    state.dispatch(wakers)?;
    while state.may_read() && state.core.wants_frame() {
        let Some(frame) = inbox.pop_front() else { break };
        state.core.recv(frame);
        state.dispatch(wakers)?;
    }
    Ok(())
}

impl<T: Transport> Future for Task<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waited {
            self.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.drive(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                if result.is_err() {
                    self.deliver_last();
                }
                self.finish(result);
                Poll::Ready(())
            }
        }
    }
}

impl<T> Drop for Task<T> {
    /// The runtime shuts down: nobody may wait for ever.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.shared.with(|state, wakers| {
            state.core.shut_down();
            let _ = state.dispatch(wakers);
            state.closed = Some(Err(Error::Closed));
            for hook in state.hooks.iter_mut() {
                wakers.extend(hook.inbox.waker.take());
            }
        });
        self.shared.drained.notify_waiters();
        self.shared.closed.notify_waiters();
    }
}
