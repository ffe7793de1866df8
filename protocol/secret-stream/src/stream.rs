//! The handle of a stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use crypto::KeyPair;
use crypto::noise::Session;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use udx::UdxStream;

use crate::core::{Core, Entropy, Event, MAX_MESSAGE};
use crate::driver::Driver;
use crate::keeper::keep;
use crate::{Error, Monitor, Transport};

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
    /// Keep-alives of all streams that have this moment in common leave together, up to a tenth of a second early: a node with many
    /// idle streams wakes ten times a second then, and not for each. None: each when it is due.
    pub keep_alive_beat: Option<std::time::Instant>,
    /// The stream fails when nothing was read for so long. None: never.
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
            keep_alive_beat: None,
            timeout: None,
            write_timeout: Some(WRITE_TIMEOUT),
            max_message: MAX_MESSAGE,
            filter_empty: false,
        }
    }
}

/// One end of a secret stream: messages, private and authentic, with back-pressure.
///
/// Reading and writing advance while the stream is polled. Its clocks do not need that: a small task beside it says keep-alive, takes
/// the peer's, and notices what is overdue; it is there once a clock runs, and ends with the stream. Every method named `poll_…` and
/// every future may be given up at any point; nothing is lost. After an error the stream is destroyed.
#[derive(Debug)]
pub struct SecretStream<T> {
    driver: Arc<Mutex<Driver<T>>>,
    is_initiator: bool,
    public_key: [u8; 32],
    remote_public_key: [u8; 32],
    handshake_hash: [u8; 64],
}

impl<T: Transport> SecretStream<T> {
    /// A stream whose Noise handshake was made elsewhere: HyperDHT makes it in its own packets. `public_key` is our own key.
    ///
    /// The header frame is given to the transport at once if that takes it. Must be called within a tokio runtime.
    pub fn from_session(transport: T, session: Session, public_key: [u8; 32], options: Options) -> Self {
        let core = Core::from_session(session, public_key, Entropy::generate());
        let stream = Self::new(transport, core, &options);
        stream.with(Driver::begin);
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
        poll_fn(|cx| match ready!(stream.with(|driver| driver.poll_event(cx))) {
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

    fn new(transport: T, core: Core, options: &Options) -> Self {
        let (is_initiator, public_key) = (core.is_initiator(), *core.public_key());
        let driver = Arc::new(Mutex::new(Driver::new(transport, core, options)));
        let mut stream = Self { driver, is_initiator, public_key, remote_public_key: [0; 32], handshake_hash: [0; 64] };
        stream.note_peer();
        stream
    }

    fn note_peer(&mut self) {
        let driver = self.driver.lock();
        if let (Some(key), Some(hash)) = (driver.core.remote_public_key(), driver.core.handshake_hash()) {
            self.remote_public_key = *key;
            self.handshake_hash = *hash;
        }
    }

    /// Works on the driver, and has its clocks looked at.
    fn with<R>(&self, work: impl FnOnce(&mut Driver<T>) -> R) -> R {
        let mut driver = self.driver.lock();
        let result = work(&mut driver);
        if driver.wants_keeper() {
            self.start_keeper(driver);
        }
        result
    }

    fn start_keeper(&self, driver: MutexGuard<'_, Driver<T>>) {
        drop(driver);
        tokio::spawn(keep(Arc::downgrade(&self.driver)));
    }

    /// The next message; `Ok(None)` when the peer ended the stream. Also writes what waits and keeps the connection alive.
    ///
    /// The buffer is a part of what the transport read: a message kept for long should be copied if it is small.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<BytesMut>, Error>> {
        self.with(|driver| driver.poll_recv(cx))
    }

    /// Ready when the peer's header came, which JavaScript calls `open`: messages may be sent before, but from here on it is
    /// known that the peer is there and has the keys.
    ///
    /// # Errors
    /// The stream failed or ended before.
    pub fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.with(|driver| driver.poll_opened(cx))
    }

    /// Waits until the peer's header came; see [`poll_opened`](Self::poll_opened). Cancel-safe.
    ///
    /// # Errors
    /// The stream failed or ended before.
    pub async fn opened(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_opened(cx)).await
    }

    /// Ready when a message may be sent; pending while more than [`WRITE_HIGH_WATER`] waits for the transport.
    ///
    /// # Errors
    /// The stream failed or is closed.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.with(|driver| driver.poll_ready(cx))
    }

    /// Sealed bytes that the transport has not taken.
    pub fn backlog(&self) -> usize {
        self.driver.lock().backlog()
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
        self.driver.lock().start_send(parts)
    }

    /// Ready when the transport took everything that was sent. Also keeps the connection alive.
    ///
    /// # Errors
    /// The stream failed or was destroyed.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.with(|driver| driver.poll_flush(cx))
    }

    /// Writes what waits, then ends our side. The peer may go on sending: read until `Ok(None)`.
    ///
    /// # Errors
    /// The stream failed or was destroyed.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.with(|driver| driver.poll_close(cx))
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
        self.driver.lock().destroy();
    }

    /// Sends a message beside the stream: unreliable and unordered, in one datagram, at once or not at all.
    ///
    /// # Errors
    /// [`Error::Transport`] when the transport has no such messages or cannot send now; the stream stays usable.
    pub fn send_unordered(&mut self, message: &[u8]) -> Result<(), Error> {
        let driver = &mut *self.driver.lock();
        driver.open_or_closed()?;
        let envelope = driver.core.seal_unordered(message).ok_or(Error::Closed)?;
        Ok(driver.transport.try_send_message(&envelope)?)
    }

    /// The next unordered message; `None` when there will be no more. What is not genuine, or was seen before, is dropped.
    pub fn poll_recv_unordered(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.driver.lock().poll_recv_unordered(cx)
    }

    /// Changes the keep-alive time. Once it was on, empty messages of the peer stay filtered.
    pub fn set_keep_alive(&mut self, keep_alive: Option<Duration>) {
        self.with(|driver| {
            driver.timers.set_keep_alive(keep_alive, Instant::now().into_std());
            driver.alarm();
            if keep_alive.is_some_and(|every| !every.is_zero()) {
                driver.core.set_filter_empty(true);
            }
        });
    }

    /// Changes the read timeout.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.with(|driver| {
            driver.timers.set_timeout(timeout, Instant::now().into_std());
            driver.alarm();
        });
    }

    /// Our key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
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
        self.is_initiator
    }

    /// Bytes that the transport gave, those of frames that are not whole included: what shows that the peer sends, however large its
    /// messages are.
    pub fn bytes_received(&self) -> u64 {
        self.driver.lock().bytes_received
    }

    /// Bytes of message frames received, keep-alives included (`rawBytesRead` of JavaScript, which counts no length prefixes here).
    pub fn raw_bytes_read(&self) -> u64 {
        self.driver.lock().core.raw_bytes_read()
    }

    /// Bytes of message frames sent, keep-alives and length prefixes included (`rawBytesWritten`).
    pub fn raw_bytes_written(&self) -> u64 {
        self.driver.lock().core.raw_bytes_written()
    }

    /// A handle for somebody who wants to know how the stream is doing, and does not own it.
    pub fn monitor(&self) -> Monitor {
        let mut driver = self.driver.lock();
        let monitor = driver.monitor.clone();
        if driver.needs_keeper() {
            self.start_keeper(driver);
        }
        monitor
    }
}

impl SecretStream<UdxStream> {
    /// The UDX stream below. Whoever keeps this handle keeps the stream: it ends with the last one, or by
    /// [`destroy`](SecretStream::destroy).
    pub fn transport(&self) -> UdxStream {
        self.driver.lock().transport.clone()
    }
}
