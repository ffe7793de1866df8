//! A socket and the task that drives it.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::Instance;
use super::stream::Shared;
use crate::network::{DatagramSocket, Outgoing, Received};
use crate::packet::{self, HEADER_LEN, Header};

/// Datagrams that are not UDX and wait for [`UdxSocket::recv`]. At the limit the oldest is dropped and counted.
const MAX_DATAGRAMS: usize = 1024;
/// The longest datagram that is queued; longer ones are dropped and counted. JavaScript reads no more than 2048 bytes.
const MAX_DATAGRAM: usize = 2048;
/// Receive buffers of one batch, and their size: a run of datagrams that the system joined.
const RECEIVE_BATCH: usize = 16;
const RECEIVE_BUFFER: usize = 1 << 16;
/// Batches that a socket task takes before it lets other tasks run.
const BATCHES_PER_TURN: usize = 4;
/// Bytes after which streams answer although more may wait in the system's buffer.
const ANSWER_AFTER: usize = 128 << 10;
/// Idle receive buffers that an instance keeps.
const SPARE_BUFFERS: usize = 2;
/// Receive errors in a row after which a socket counts as dead; those that are about a destination do not count.
const MAX_ERRORS: u32 = 1000;
/// Windows' error for a datagram of ours whose time to live ran out. The standard library has no kind for it.
const WSAENETRESET: i32 = 10_052;

/// Memory for one receive batch. Pages that no datagram reaches are never touched.
#[derive(Debug)]
pub(super) struct ReceiveBuffers {
    memory: Vec<u8>,
}

impl ReceiveBuffers {
    fn new() -> Self {
        Self { memory: vec![0; RECEIVE_BATCH * RECEIVE_BUFFER] }
    }
}

/// A datagram that belongs to no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its bytes.
    pub data: Bytes,
    /// Who sent it.
    pub from: SocketAddr,
}

/// A bound socket: it carries streams, and datagrams of other protocols beside them.
///
/// Clones are handles of the same socket, and equal. The socket closes when all handles are gone and no stream uses it,
/// or by [`UdxSocket::close`].
#[derive(Clone, Debug)]
pub struct UdxSocket {
    core: Arc<SocketCore>,
}

pub(crate) struct SocketCore {
    id: u64,
    io: RwLock<Option<Arc<dyn DatagramSocket>>>,
    local_addr: SocketAddr,
    max_segments: usize,
    pub(super) instance: Arc<Instance>,
    datagrams: Mutex<VecDeque<Datagram>>,
    arrived: Notify,
    dropped: AtomicU64,
    closed: AtomicBool,
    /// Only streams receive.
    streams_only: AtomicBool,
    /// Streams that wait until the system takes datagrams again.
    blocked: Mutex<Vec<Arc<Shared>>>,
    driver: Mutex<Option<Waker>>,
    task: Mutex<Option<AbortHandle>>,
    finished: watch::Receiver<()>,
}

impl std::fmt::Debug for SocketCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdxSocket").field("id", &self.id).field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl SocketCore {
    pub(super) fn start(id: u64, io: Arc<dyn DatagramSocket>, instance: &Arc<Instance>) -> io::Result<UdxSocket> {
        let (alive, finished) = watch::channel(());
        let core = Arc::new(Self {
            id,
            local_addr: io.local_addr()?,
            max_segments: io.max_segments(),
            io: RwLock::new(Some(Arc::clone(&io))),
            instance: Arc::clone(instance),
            datagrams: Mutex::default(),
            arrived: Notify::new(),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            streams_only: AtomicBool::new(false),
            blocked: Mutex::default(),
            driver: Mutex::default(),
            task: Mutex::default(),
            finished,
        });
        let driver =
            Driver { core: Arc::downgrade(&core), io, errors: 0, touched: Vec::new(), unanswered: 0, _alive: alive };
        *core.task.lock() = Some(tokio::spawn(driver).abort_handle());
        instance.open_sockets.lock().insert(id, Arc::downgrade(&core));
        Ok(UdxSocket { core })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn max_segments(&self) -> usize {
        self.max_segments
    }

    pub(super) fn try_send(&self, outgoing: &Outgoing<'_>) -> io::Result<()> {
        match &*self.io.read() {
            Some(io) => io.try_send(outgoing),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Has the stream try again when the system takes datagrams.
    pub(super) fn block(&self, stream: Arc<Shared>) {
        self.blocked.lock().push(stream);
        if let Some(waker) = self.driver.lock().take() {
            waker.wake();
        }
    }

    fn push_datagram(&self, data: &[u8], from: SocketAddr) {
        if self.streams_only.load(Ordering::Relaxed) {
            return;
        }
        if data.len() > MAX_DATAGRAM {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut datagrams = self.datagrams.lock();
        if datagrams.len() >= MAX_DATAGRAMS {
            datagrams.pop_front();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        datagrams.push_back(Datagram { data: Bytes::copy_from_slice(data), from });
    }

    fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.instance.open_sockets.lock().remove(&self.id);
        self.instance.close_streams_of(self.id);
        self.blocked.lock().clear();
        self.io.write().take();
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.arrived.notify_waiters();
    }
}

impl Drop for SocketCore {
    fn drop(&mut self) {
        self.instance.open_sockets.lock().remove(&self.id);
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

impl UdxSocket {
    pub(super) fn core(&self) -> &Arc<SocketCore> {
        &self.core
    }

    pub(super) fn from_core(core: Arc<SocketCore>) -> Self {
        Self { core }
    }

    /// The bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.core.local_addr
    }

    /// A number that no other socket of the instance has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.core.id
    }

    /// The next datagram that belongs to no live stream; `None` once the socket is closed, also by errors of the system.
    ///
    /// Datagrams wait in a bounded queue; the oldest are dropped when nobody takes them. Dropping the future loses
    /// nothing.
    pub async fn recv(&self) -> Option<Datagram> {
        loop {
            let mut arrived = std::pin::pin!(self.core.arrived.notified());
            arrived.as_mut().enable();
            if self.is_closed() {
                return None;
            }
            if let Some(datagram) = self.core.datagrams.lock().pop_front() {
                return Some(datagram);
            }
            arrived.await;
        }
    }

    /// A datagram that waits already, if any.
    #[must_use]
    pub fn try_recv(&self) -> Option<Datagram> {
        self.core.datagrams.lock().pop_front()
    }

    /// Sends a datagram now.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the system takes none at the moment, or what it says about the destination.
    pub fn try_send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.core.try_send(&Outgoing { destination: to, contents: data, segment_size: None, ttl: None })
    }

    /// Sends a datagram with another IP time to live than the socket's.
    ///
    /// # Errors
    /// As [`UdxSocket::try_send_to`].
    pub fn try_send_to_ttl(&self, data: &[u8], to: SocketAddr, ttl: u32) -> io::Result<()> {
        self.core.try_send(&Outgoing { destination: to, contents: data, segment_size: None, ttl: Some(ttl) })
    }

    /// Forgets the datagrams that wait, and drops those that come: from now on only streams use the socket.
    pub fn ignore_datagrams(&self) {
        self.core.streams_only.store(true, Ordering::Relaxed);
        self.core.datagrams.lock().clear();
    }

    /// Datagrams dropped because nobody received them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.core.dropped.load(Ordering::Relaxed)
    }

    /// Closes the socket: streams on it are destroyed (their peers are told), [`UdxSocket::recv`] ends, and nothing is
    /// sent any more. The address is free once [`UdxSocket::closed`] returns.
    pub fn close(&self) {
        self.core.close();
    }

    /// Whether [`UdxSocket::close`] was called, or the system only reported errors.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.closed.load(Ordering::Acquire)
    }

    /// Waits until the socket is closed and the system has it back.
    pub async fn closed(&self) {
        let mut finished = self.core.finished.clone();
        // Nothing is ever sent: the channel ends when the driver is dropped.
        while finished.changed().await.is_ok() {}
    }
}

impl PartialEq for UdxSocket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl Eq for UdxSocket {}

impl Hash for UdxSocket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.core.id.hash(state);
    }
}

/// Whether a receive fails because an earlier datagram found no receiver, which Windows reports here as often as ICMP says so: anybody
/// can make it, and the socket is as good as before. libuv passes over the same errors.
fn is_about_a_destination(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionReset | ConnectionRefused | HostUnreachable | NetworkUnreachable)
        || (cfg!(windows) && error.raw_os_error() == Some(WSAENETRESET))
}

/// The task of a socket.
struct Driver {
    core: Weak<SocketCore>,
    io: Arc<dyn DatagramSocket>,
    errors: u32,
    /// Streams that got packets in the current batch.
    touched: Vec<Arc<Shared>>,
    /// Bytes that they got.
    unanswered: usize,
    _alive: watch::Sender<()>,
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(core) = this.core.upgrade() else { return Poll::Ready(()) };
        this.poll_blocked(&core, cx);
        let mut buffers = core.instance.buffers.lock().pop().unwrap_or_else(ReceiveBuffers::new);
        let result = this.poll_batches(&core, &mut buffers, cx);
        this.answer();
        let mut spare = core.instance.buffers.lock();
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffers);
        }
        result
    }
}

impl Driver {
    /// Streams that the system refused to send for try again.
    fn poll_blocked(&self, core: &Arc<SocketCore>, cx: &mut Context<'_>) {
        *core.driver.lock() = Some(cx.waker().clone());
        if core.blocked.lock().is_empty() {
            return;
        }
        if self.io.poll_writable(cx).is_ready() {
            for stream in std::mem::take(&mut *core.blocked.lock()) {
                stream.unblock();
            }
        }
    }

    fn poll_batches(&mut self, core: &Arc<SocketCore>, buffers: &mut ReceiveBuffers, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..BATCHES_PER_TURN {
            let mut received = [Received::empty(); RECEIVE_BATCH];
            let mut chunks = buffers.memory.chunks_mut(RECEIVE_BUFFER);
            let mut io_slices: [_; RECEIVE_BATCH] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            match self.io.poll_recv(cx, &mut io_slices, &mut received) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) => {
                    self.errors = 0;
                    let filled = io_slices.iter().zip(&received).take(count);
                    self.take_batch(core, filled.map(|(slice, received)| (&slice[..], received)));
                }
                Poll::Ready(Err(error)) => {
                    if is_about_a_destination(&error) {
                        tracing::trace!(%error, socket = %core.local_addr, "an earlier datagram did not arrive");
                        continue;
                    }
                    tracing::debug!(%error, socket = %core.local_addr, "receive failed");
                    self.errors += 1;
                    if self.errors > MAX_ERRORS {
                        tracing::warn!(%error, socket = %core.local_addr, "the socket is dead");
                        core.close();
                        return Poll::Ready(());
                    }
                    break;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets each stream that got something answer once: one acknowledgement for all that the system had.
    fn answer(&mut self) {
        self.unanswered = 0;
        let now = super::now();
        for stream in self.touched.drain(..) {
            stream.end_batch(now);
        }
    }

    /// Gives each datagram to its stream or to the queue.
    fn take_batch<'a>(&mut self, core: &Arc<SocketCore>, filled: impl Iterator<Item = (&'a [u8], &'a Received)>) {
        let now = super::now();
        let mut datagrams = false;
        for (buffer, received) in filled {
            let stride = received.stride.max(1);
            let buffer = &buffer[..received.len.min(buffer.len())];
            self.unanswered += buffer.len();
            if buffer.is_empty() {
                core.push_datagram(&[], received.source);
                datagrams = true;
            }
            let mut packets = buffer.chunks(stride).peekable();
            while let Some(&first) = packets.peek() {
                let stream = packet::stream_id(first).and_then(|id| core.instance.find(id));
                let Some(stream) = stream else {
                    core.push_datagram(first, received.source);
                    datagrams = true;
                    packets.next();
                    continue;
                };
                let id = stream.id();
                let run = std::iter::from_fn(|| {
                    packets
                        .next_if(|next| packet::stream_id(next) == Some(id))
                        .and_then(|packet| Some((Header::decode(packet)?, packet, packet.get(HEADER_LEN..)?)))
                });
                if stream.receive(now, core, received.source, run) {
                    self.touched.push(stream);
                }
            }
        }
        if datagrams {
            core.arrived.notify_waiters();
        }
        if self.unanswered >= ANSWER_AFTER {
            self.answer();
        }
    }
}
