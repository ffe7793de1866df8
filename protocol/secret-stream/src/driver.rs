//! A [`Core`] on a [`Transport`] with its clocks: what the handle of a stream and the task beside it share.

use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::core::{Core, Event};
use crate::stream::{Options, WRITE_HIGH_WATER};
use crate::timers::{Due, Timers};
use crate::{Error, Monitor, Transport};

/// Chunks of the transport that one poll looks through for a message before other tasks run: a peer that sends nothing but
/// keep-alives, faster than they are opened, must not hold the thread.
const MAX_CHUNKS: usize = 64;

/// The state of a stream.
#[derive(Debug)]
pub(crate) struct Driver<T> {
    pub(crate) transport: T,
    pub(crate) core: Core,
    pub(crate) timers: Timers,
    pub(crate) monitor: Monitor,
    /// What the transport gave.
    pub(crate) bytes_received: u64,
    /// Taken from the core and not yet taken by the transport.
    sending: Bytes,
    /// Written to the transport, not flushed there.
    unflushed: bool,
    /// A message that came while something else was waited for.
    early: Option<BytesMut>,
    remote_ended: bool,
    shutdown: bool,
    failed: bool,
    /// Why it failed while nobody looked; whoever looks next is told.
    failure: Option<Error>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The task beside the stream, once there is one.
    keeper: Option<Waker>,
    /// When that task looks at the clocks next.
    armed: Option<std::time::Instant>,
    /// A clock was set that the task may not know of.
    alarm: bool,
}

impl<T: Transport> Driver<T> {
    pub(crate) fn new(transport: T, mut core: Core, options: &Options) -> Self {
        core.set_max_message(options.max_message);
        let mut timers = Timers::new(options.keep_alive, options.timeout, now());
        timers.set_beat(options.keep_alive_beat);
        timers.set_write_timeout(options.write_timeout);
        core.set_filter_empty(options.filter_empty || options.keep_alive.is_some_and(|every| !every.is_zero()));
        Self {
            transport,
            core,
            timers,
            monitor: Monitor::default(),
            bytes_received: 0,
            sending: Bytes::new(),
            unflushed: false,
            early: None,
            remote_ended: false,
            shutdown: false,
            failed: false,
            failure: None,
            reader: None,
            writer: None,
            keeper: None,
            armed: None,
            alarm: true,
        }
    }

    /// Gives the transport what it takes at once. A failure shows itself at the next poll.
    pub(crate) fn begin(&mut self) {
        let _ = self.write_out(&mut Context::from_waker(Waker::noop()));
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<BytesMut>, Error>> {
        if let Some(message) = self.early.take() {
            return Poll::Ready(Ok(Some(message)));
        }
        loop {
            return match ready!(self.poll_event(cx)) {
                Ok(Some(Event::Message(message))) => Poll::Ready(Ok(Some(message))),
                Ok(Some(Event::Connected)) => continue,
                Ok(None) => Poll::Ready(Ok(None)),
                Err(error) => Poll::Ready(Err(error)),
            };
        }
    }

    pub(crate) fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.core.is_open() {
            let event = self.poll_event(cx);
            match event {
                Poll::Ready(Ok(Some(Event::Message(message)))) => self.early = Some(message),
                Poll::Ready(Ok(Some(Event::Connected))) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                _ if self.core.is_open() => {}
                Poll::Ready(Ok(None)) => return Poll::Ready(Err(Error::Truncated)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        if self.failed {
            return Poll::Ready(Err(self.closed()));
        }
        let result = self.poll_incoming(cx, true);
        if result.is_pending() {
            remember(&mut self.reader, cx);
        }
        self.fail_on_error(result)
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>, write: bool) -> Poll<Result<Option<Event>, Error>> {
        for _ in 0..MAX_CHUNKS {
            let event = self.core.poll_event()?;
            self.note();
            if let Some(event) = event {
                return Poll::Ready(Ok(Some(event)));
            }
            if self.remote_ended {
                return Poll::Ready(Ok(None));
            }
            // Writing may be stuck, or the peer gone; what it said before is read first.
            let unwritable = match write {
                true => self.write_out(cx),
                false => Poll::Pending,
            };
            let chunk = match (self.transport.poll_read_chunk(cx), unwritable) {
                (Poll::Ready(Ok(Some(chunk))), _) => Some(chunk),
                (_, Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
                (chunk, _) => ready!(chunk)?,
            };
            match chunk {
                Some(chunk) => {
                    self.timers.read(now());
                    self.bytes_received += chunk.len() as u64;
                    self.core.input(chunk);
                }
                None => {
                    self.remote_ended = true;
                    if !self.core.may_end() {
                        return Poll::Ready(Err(Error::Truncated));
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.is_closed() {
            return Poll::Ready(Err(self.closed()));
        }
        if self.backlog() < WRITE_HIGH_WATER {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(Err(error)) = self.write_out(cx) {
            return self.fail_on_error(Poll::Ready(Err(error)));
        }
        if self.backlog() < WRITE_HIGH_WATER {
            return Poll::Ready(Ok(()));
        }
        remember(&mut self.writer, cx);
        Poll::Pending
    }

    /// Sealed bytes that the transport has not taken.
    pub(crate) fn backlog(&self) -> usize {
        self.sending.len() + self.core.outgoing_len()
    }

    pub(crate) fn start_send(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        if self.is_closed() {
            return Err(self.closed());
        }
        self.core.send(parts)?;
        self.note();
        Ok(())
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.failed {
            return Poll::Ready(Err(self.closed()));
        }
        let result = self.write_out(cx);
        if result.is_pending() {
            remember(&mut self.writer, cx);
        }
        self.fail_on_error(result)
    }

    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.failed {
            return Poll::Ready(Err(self.closed()));
        }
        self.shutdown = true;
        self.timers.set_keep_alive(None, now());
        let result = match self.write_out(cx) {
            Poll::Ready(Ok(())) => self.transport.poll_shutdown(cx).map_err(Error::Transport),
            other => other,
        };
        if result.is_pending() {
            remember(&mut self.writer, cx);
        }
        self.fail_on_error(result)
    }

    fn write_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.sending.is_empty() {
                if self.core.outgoing_len() == 0 {
                    break;
                }
                self.sending = self.core.take_outgoing();
                // JavaScript counts from the write; a batch is sealed and written within one poll.
                self.timers.wrote(now());
            }
            let waiting = self.sending.len();
            let written = self.transport.poll_write(cx, &mut self.sending)?;
            if written.is_ready() || self.sending.len() < waiting {
                self.timers.moved();
            }
            if written.is_pending() {
                self.alarm |= self.timers.stuck(now());
                return Poll::Pending;
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(self.transport.poll_flush(cx))?;
            self.unflushed = false;
            self.sending = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }

    fn is_closed(&self) -> bool {
        self.failed || self.shutdown
    }

    fn closed(&mut self) -> Error {
        self.failure.take().unwrap_or(Error::Closed)
    }

    pub(crate) fn open_or_closed(&mut self) -> Result<(), Error> {
        if self.is_closed() { Err(self.closed()) } else { Ok(()) }
    }

    fn note(&self) {
        self.monitor.note(self.core.raw_bytes_read(), self.core.raw_bytes_written());
    }

    fn fail_on_error<R>(&mut self, result: Poll<Result<R, Error>>) -> Poll<Result<R, Error>> {
        if let Poll::Ready(Err(error)) = &result {
            tracing::debug!(%error, "secret stream failed");
            self.destroy();
        }
        result
    }

    pub(crate) fn destroy(&mut self) {
        self.failed = true;
        self.sending = Bytes::new();
        self.transport.destroy();
        self.dismiss();
    }

    /// The next unordered message; `None` when there will be no more.
    pub(crate) fn poll_recv_unordered(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        while !self.failed {
            match ready!(self.transport.poll_recv_message(cx)) {
                Some(envelope) => {
                    if let Some(message) = self.core.open_unordered(&envelope) {
                        return Poll::Ready(Some(message));
                    }
                }
                None => break,
            }
        }
        Poll::Ready(None)
    }

    /// The clocks were changed.
    pub(crate) fn alarm(&mut self) {
        self.alarm = true;
    }

    /// Whether a task beside the stream is to be started now; one that exists is woken if it would be late.
    pub(crate) fn wants_keeper(&mut self) -> bool {
        if !std::mem::take(&mut self.alarm) || self.failed {
            return false;
        }
        let Some(deadline) = self.timers.deadline() else { return false };
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return false;
        }
        self.hire(Some(deadline))
    }

    /// As [`Driver::wants_keeper`], for a monitor that may ask for a sign of life, whatever the clocks are.
    pub(crate) fn needs_keeper(&mut self) -> bool {
        !self.failed && self.hire(self.timers.deadline())
    }

    fn hire(&mut self, deadline: Option<std::time::Instant>) -> bool {
        self.armed = deadline;
        match &self.keeper {
            Some(keeper) => {
                keeper.wake_by_ref();
                false
            }
            None => {
                // Until the task has been there.
                self.keeper = Some(Waker::noop().clone());
                true
            }
        }
    }

    /// What the task beside the stream does whenever it wakes up. Returns when that is next, if ever, or `None` when there is nothing
    /// more to do.
    pub(crate) fn tend(&mut self, cx: &mut Context<'_>) -> Option<Option<std::time::Instant>> {
        if self.failed {
            return None;
        }
        remember(&mut self.keeper, cx);
        let was_open = self.core.is_open();
        if let Err(error) = self.look_at_clocks(cx) {
            tracing::debug!(%error, "secret stream failed");
            self.failure = Some(error);
            self.destroy();
        }
        if self.failed || self.early.is_some() || self.remote_ended || self.core.is_open() != was_open {
            for waker in [&self.reader, &self.writer].into_iter().flatten() {
                waker.wake_by_ref();
            }
        }
        if self.failed {
            return None;
        }
        self.alarm = false;
        self.armed = self.timers.deadline();
        Some(self.armed)
    }

    fn look_at_clocks(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let asked = self.monitor.take_keep_alive(cx);
        self.write_on(cx)?;
        let due = self.timers.deadline().is_some_and(|deadline| deadline <= now());
        if due {
            self.read_ahead()?;
        }
        let due = if due { self.timers.poll(now()) } else { Due::Nothing };
        match due {
            Due::Timeout => return Err(Error::TimedOut),
            Due::Stuck => return Err(Error::Stuck),
            Due::KeepAlive | Due::Nothing => {}
        }
        // What waits for the transport will show the peer that we live.
        let wanted = asked || (due == Due::KeepAlive && self.backlog() == 0);
        if wanted && !self.shutdown && self.core.remote_public_key().is_some() {
            self.core.send(&[])?;
            self.note();
            self.write_on(cx)?;
        }
        Ok(())
    }

    /// Writes what waits, in the place of who waits for that, if anybody does.
    fn write_on(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.backlog() == 0 && !self.unflushed {
            return Ok(());
        }
        let writer = self.writer.clone();
        let written = match &writer {
            Some(writer) => self.write_out(&mut Context::from_waker(writer)),
            None => self.write_out(cx),
        };
        match written {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Takes the keep-alives of the peer, of which there may be more than the transport keeps, and no more than one message.
    fn read_ahead(&mut self) -> Result<(), Error> {
        // The handshake has a reader.
        if self.early.is_some() || self.remote_ended || self.core.remote_public_key().is_none() {
            return Ok(());
        }
        // The transport remembers one reader only.
        let reader = self.reader.clone().unwrap_or_else(|| Waker::noop().clone());
        if let Poll::Ready(event) = self.poll_incoming(&mut Context::from_waker(&reader), false)
            && let Some(Event::Message(message)) = event?
        {
            self.early = Some(message);
        }
        Ok(())
    }
}

impl<T> Driver<T> {
    /// The task beside the stream has nothing more to do.
    fn dismiss(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.wake();
        }
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.dismiss();
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
