//! The driver: a [`Core`] on a [`Transport`], with tokio's clock.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use crypto::KeyPair;
use crypto::noise::Session;
use tokio::time::{Instant, Sleep};

use crate::core::{Core, Entropy, Event, MAX_MESSAGE};
use crate::timers::{Due, Timers};
use crate::{Error, Monitor, Transport};

/// Chunks of the transport that one poll looks through for a message before other tasks run: a peer that sends nothing but
/// keep-alives, faster than they are opened, must not hold the thread.
const MAX_CHUNKS: usize = 64;

/// Sealed bytes that wait for the transport before [`SecretStream::poll_ready`] is pending. One message of any size may go above.
pub const WRITE_HIGH_WATER: usize = 64 * 1024;

/// How long a peer may read nothing of what waits for it, unless [`Options::write_timeout`] says otherwise. JavaScript has no such
/// limit; its peers never close their window, so that only one that means to is met by it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How a stream behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// An empty message is sent when nothing was written for so long, and empty messages of the peer are dropped.
    /// HyperDHT uses 5 seconds. None: neither.
    pub keep_alive: Option<Duration>,
    /// The stream fails when nothing was read for so long. It is noticed only while somebody polls the stream. None: never.
    pub timeout: Option<Duration>,
    /// The stream fails when something waits to be sent and the transport took nothing of it for so long: the peer is there, as its
    /// transport answers, and does not read. None: it may take its time.
    pub write_timeout: Option<Duration>,
    /// The longest message accepted from the peer, in bytes; a longer one costs it the connection as soon as it is announced.
    pub max_message: usize,
    /// Drop empty messages although `keep_alive` is off (`filterZeroByteMessages`).
    pub filter_empty: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_alive: None,
            timeout: None,
            write_timeout: Some(WRITE_TIMEOUT),
            max_message: MAX_MESSAGE,
            filter_empty: false,
        }
    }
}

/// One end of a secret stream: messages, private and authentic, with back-pressure.
///
/// The stream has no task of its own: reading, writing and the keep-alive advance while it is polled. Every method named `poll_…`
/// and every future may be given up at any point; nothing is lost. After an error the stream is destroyed.
#[derive(Debug)]
pub struct SecretStream<T> {
    transport: T,
    core: Core,
    timers: Timers,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Taken from the core and not yet taken by the transport.
    sending: Bytes,
    /// Written to the transport, not flushed there.
    unflushed: bool,
    /// A message that came together with the peer's header, while that was waited for.
    early: Option<BytesMut>,
    remote_ended: bool,
    shutdown: bool,
    failed: bool,
    remote_public_key: [u8; 32],
    handshake_hash: [u8; 64],
    monitor: Monitor,
}

impl<T: Transport> SecretStream<T> {
    /// A stream whose Noise handshake was made elsewhere: HyperDHT makes it in its own packets. `public_key` is our own key.
    ///
    /// The header frame is given to the transport at once if that takes it. Must be called within a tokio runtime.
    pub fn from_session(transport: T, session: Session, public_key: [u8; 32], options: Options) -> Self {
        let core = Core::from_session(session, public_key, Entropy::generate());
        let mut stream = Self::new(transport, core, &options);
        // A failure shows itself at the next poll.
        let _ = stream.write_out(&mut Context::from_waker(Waker::noop()));
        stream
    }

    /// Dials: makes the Noise `XX` handshake over `transport` as its initiator.
    ///
    /// # Errors
    /// The transport failed or ended, or the peer does not speak this handshake.
    pub async fn connect(transport: T, key_pair: KeyPair, options: Options) -> Result<Self, Error> {
        Self::handshake(true, transport, key_pair, options).await
    }

    /// Answers: makes the Noise `XX` handshake over `transport` as its responder.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn accept(transport: T, key_pair: KeyPair, options: Options) -> Result<Self, Error> {
        Self::handshake(false, transport, key_pair, options).await
    }

    async fn handshake(is_initiator: bool, transport: T, key_pair: KeyPair, options: Options) -> Result<Self, Error> {
        let core = Core::handshake(is_initiator, key_pair, Entropy::generate())?;
        let mut stream = Self::new(transport, core, &options);
        poll_fn(|cx| match ready!(stream.poll_event(cx)) {
            Ok(Some(Event::Connected)) => Poll::Ready(Ok(())),
            Ok(_) => Poll::Ready(Err(Error::Truncated)),
            Err(error) => Poll::Ready(Err(error)),
        })
        .await?;
        stream.note_peer();
        // The peer waits for our last message, whether or not the stream is polled soon.
        poll_fn(|cx| stream.poll_flush(cx)).await?;
        Ok(stream)
    }

    fn new(transport: T, mut core: Core, options: &Options) -> Self {
        core.set_max_message(options.max_message);
        let now = Instant::now().into_std();
        let mut timers = Timers::new(options.keep_alive, options.timeout, now);
        timers.set_write_timeout(options.write_timeout);
        core.set_filter_empty(options.filter_empty || options.keep_alive.is_some_and(|every| !every.is_zero()));
        let mut stream = Self {
            transport,
            core,
            timers,
            sleep: None,
            sending: Bytes::new(),
            unflushed: false,
            early: None,
            remote_ended: false,
            shutdown: false,
            failed: false,
            remote_public_key: [0; 32],
            handshake_hash: [0; 64],
            monitor: Monitor::default(),
        };
        stream.note_peer();
        stream
    }

    fn note_peer(&mut self) {
        if let (Some(key), Some(hash)) = (self.core.remote_public_key(), self.core.handshake_hash()) {
            self.remote_public_key = *key;
            self.handshake_hash = *hash;
        }
    }

    /// The next message; `Ok(None)` when the peer ended the stream. Also writes what waits and keeps the connection alive.
    ///
    /// The buffer is a part of what the transport read: a message kept for long should be copied if it is small.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<BytesMut>, Error>> {
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

    /// Ready when the peer's header came, which JavaScript calls `open`: messages may be sent before, but from here on it is
    /// known that the peer is there and has the keys.
    ///
    /// # Errors
    /// The stream failed or ended before.
    pub fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
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

    /// Waits until the peer's header came; see [`poll_opened`](Self::poll_opened). Cancel-safe.
    ///
    /// # Errors
    /// The stream failed or ended before.
    pub async fn opened(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_opened(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        if self.failed {
            return Poll::Ready(Err(Error::Closed));
        }
        let result = self.poll_event_inner(cx);
        self.fail_on_error(result)
    }

    fn poll_event_inner(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        for _ in 0..MAX_CHUNKS {
            let event = self.core.poll_event()?;
            self.monitor.note(self.core.raw_bytes_read(), self.core.raw_bytes_written());
            if let Some(event) = event {
                return Poll::Ready(Ok(Some(event)));
            }
            if self.remote_ended {
                return Poll::Ready(Ok(None));
            }
            // Writing may be stuck; reading goes on.
            if let Poll::Ready(Err(error)) = self.write_out(cx) {
                return Poll::Ready(Err(error));
            }
            self.poll_timers(cx)?;
            match ready!(self.transport.poll_read_chunk(cx))? {
                Some(chunk) => {
                    self.timers.read(Instant::now().into_std());
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

    /// Ready when a message may be sent; pending while more than [`WRITE_HIGH_WATER`] waits for the transport.
    ///
    /// # Errors
    /// The stream failed or is closed.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.failed || self.shutdown {
            return Poll::Ready(Err(Error::Closed));
        }
        if self.backlog() < WRITE_HIGH_WATER {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(Err(error)) = self.write_out(cx) {
            return self.fail_on_error(Poll::Ready(Err(error)));
        }
        if self.backlog() < WRITE_HIGH_WATER { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Sealed bytes that the transport has not taken.
    pub fn backlog(&self) -> usize {
        self.sending.len() + self.core.outgoing_len()
    }

    /// Seals one message. It is written by the next poll of the stream, together with others. Call [`poll_ready`](Self::poll_ready)
    /// before, or the backlog grows.
    ///
    /// # Errors
    /// [`Error::MessageTooLarge`], which leaves the stream as it was; [`Error::Closed`].
    pub fn start_send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.start_send_parts(&[message])
    }

    /// As [`start_send`](Self::start_send), for a message that lies in several pieces.
    ///
    /// # Errors
    /// As [`start_send`](Self::start_send).
    pub fn start_send_parts(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        if self.failed || self.shutdown {
            return Err(Error::Closed);
        }
        self.core.send(parts)?;
        self.monitor.note(self.core.raw_bytes_read(), self.core.raw_bytes_written());
        Ok(())
    }

    /// Ready when the transport took everything that was sent. Also keeps the connection alive.
    ///
    /// # Errors
    /// The stream failed or was destroyed.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.failed {
            return Poll::Ready(Err(Error::Closed));
        }
        let result = self.poll_flush_inner(cx);
        self.fail_on_error(result)
    }

    fn poll_flush_inner(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.shutdown {
            self.poll_timers(cx)?;
        }
        let written = self.write_out(cx);
        if written.is_pending() && !self.shutdown {
            // For the write timeout, which may have begun now.
            self.poll_timers(cx)?;
        }
        written
    }

    /// Writes what waits, then ends our side. The peer may go on sending: read until `Ok(None)`.
    ///
    /// # Errors
    /// The stream failed or was destroyed.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.failed {
            return Poll::Ready(Err(Error::Closed));
        }
        self.shutdown = true;
        let now = Instant::now().into_std();
        self.timers.set_keep_alive(None, now);
        let result = self.poll_close_inner(cx);
        self.fail_on_error(result)
    }

    fn poll_close_inner(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.write_out(cx))?;
        self.transport.poll_shutdown(cx).map_err(Error::Transport)
    }

    fn write_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.sending.is_empty() {
                if self.core.outgoing_len() == 0 {
                    break;
                }
                self.sending = self.core.take_outgoing();
                // JavaScript counts from the write; a batch is sealed and written within one poll.
                self.timers.wrote(Instant::now().into_std());
            }
            let waiting = self.sending.len();
            let written = self.transport.poll_write(cx, &mut self.sending)?;
            if written.is_ready() || self.sending.len() < waiting {
                self.timers.moved();
            }
            if written.is_pending() {
                self.timers.stuck(Instant::now().into_std());
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

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.monitor.take_keep_alive(cx) && !self.shutdown && self.core.remote_public_key().is_some() {
            self.core.send(&[])?;
            if let Poll::Ready(Err(error)) = self.write_out(cx) {
                return Err(error);
            }
        }
        if self.timers.is_idle() {
            return Ok(());
        }
        loop {
            let Some(deadline) = self.timers.deadline() else { return Ok(()) };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            // Traffic moves the deadline all the time; the timer is moved only when it fires.
            if sleep.deadline().into_std() > deadline {
                sleep.as_mut().reset(deadline.into());
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            match self.timers.poll(Instant::now().into_std()) {
                Due::Timeout => return Err(Error::TimedOut),
                Due::Stuck => return Err(Error::Stuck),
                // What waits for the transport will show the peer that we live.
                Due::KeepAlive if self.backlog() == 0 && self.core.remote_public_key().is_some() => {
                    self.core.send(&[])?;
                    if let Poll::Ready(Err(error)) = self.write_out(cx) {
                        return Err(error);
                    }
                }
                Due::KeepAlive | Due::Nothing => {}
            }
            if let (Some(deadline), Some(sleep)) = (self.timers.deadline(), self.sleep.as_mut()) {
                sleep.as_mut().reset(deadline.into());
            }
        }
    }

    fn fail_on_error<R>(&mut self, result: Poll<Result<R, Error>>) -> Poll<Result<R, Error>> {
        if let Poll::Ready(Err(error)) = &result {
            tracing::debug!(%error, "secret stream failed");
            self.destroy();
        }
        result
    }

    /// The next message; `None` when the peer ended the stream.
    ///
    /// # Errors
    /// The stream failed; see [`Error`].
    pub async fn recv(&mut self) -> Result<Option<BytesMut>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Waits for room, seals `message` and waits until the transport took it. Given up while it waits for room, it has sent
    /// nothing; given up later, the message is on its way with the next poll of the stream.
    ///
    /// # Errors
    /// The stream failed, or the message is too large.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.start_send(message)?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Writes what waits and ends our side.
    ///
    /// # Errors
    /// The stream failed.
    pub async fn close(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    /// Gives both directions up at once. The stream only returns [`Error::Closed`] from here on.
    pub fn destroy(&mut self) {
        self.failed = true;
        self.sending = Bytes::new();
        self.sleep = None;
        self.transport.destroy();
    }

    /// Sends a message beside the stream: unreliable and unordered, in one datagram, at once or not at all.
    ///
    /// # Errors
    /// [`Error::Transport`] when the transport has no such messages or cannot send now; the stream stays usable.
    pub fn send_unordered(&mut self, message: &[u8]) -> Result<(), Error> {
        if self.failed || self.shutdown {
            return Err(Error::Closed);
        }
        let envelope = self.core.seal_unordered(message).ok_or(Error::Closed)?;
        Ok(self.transport.try_send_message(&envelope)?)
    }

    /// The next unordered message; `None` when there will be no more. What is not genuine, or was seen before, is dropped.
    pub fn poll_recv_unordered(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
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

    /// Changes the keep-alive time. Once it was on, empty messages of the peer stay filtered.
    pub fn set_keep_alive(&mut self, keep_alive: Option<Duration>) {
        self.timers.set_keep_alive(keep_alive, Instant::now().into_std());
        if keep_alive.is_some_and(|every| !every.is_zero()) {
            self.core.set_filter_empty(true);
        }
    }

    /// Changes the read timeout.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timers.set_timeout(timeout, Instant::now().into_std());
    }

    /// Our key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.core.public_key()
    }

    /// The peer's key.
    pub fn remote_public_key(&self) -> &[u8; 32] {
        &self.remote_public_key
    }

    /// The Noise handshake hash: the same on both sides, and unique to this connection.
    pub fn handshake_hash(&self) -> &[u8; 64] {
        &self.handshake_hash
    }

    /// Whether this side began the handshake.
    pub fn is_initiator(&self) -> bool {
        self.core.is_initiator()
    }

    /// Bytes of message frames received, keep-alives included (`rawBytesRead` of JavaScript, which counts no length prefixes here).
    pub fn raw_bytes_read(&self) -> u64 {
        self.core.raw_bytes_read()
    }

    /// Bytes of message frames sent, keep-alives and length prefixes included (`rawBytesWritten`).
    pub fn raw_bytes_written(&self) -> u64 {
        self.core.raw_bytes_written()
    }

    /// A handle for somebody who wants to know how the stream is doing, and does not own it.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// The transport below.
    pub fn transport(&self) -> &T {
        &self.transport
    }
}
