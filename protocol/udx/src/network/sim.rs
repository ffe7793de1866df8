//! A network in memory, in tokio's time: hosts, and links with delay, loss, reordering, duplication and a rate.
//!
//! All chance comes from one seed, so that a run on a single-threaded runtime with paused time repeats itself. Each direction of
//! each path has its own, so that it does not matter in which order a host writes to several others at one moment. Datagrams
//! arrive with the resolution of tokio's timers, a millisecond. A [`Middlebox`] sees every datagram on its way and may
//! rewrite or stop it; NATs and partitions are built from that.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use std::time::Duration;
//! use udx::network::sim::{Link, SimNetwork};
//! use udx::Udx;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let net = SimNetwork::new(7);
//! net.set_default_link(Link { delay: Duration::from_millis(20), loss: 0.01, ..Link::default() });
//! let alice = Udx::with_network(net.host(Ipv4Addr::new(10, 0, 0, 1).into()));
//! let bob = Udx::with_network(net.host(Ipv4Addr::new(10, 0, 0, 2).into()));
//! let (a, b) = (alice.bind("0.0.0.0:0".parse()?)?, bob.bind("0.0.0.0:5000".parse()?)?);
//! net.set_default_link(Link { delay: Duration::from_millis(20), ..Link::default() });
//! a.try_send_to(b"hello", "10.0.0.2:5000".parse()?)?;
//! assert_eq!(&b.recv().await.unwrap().data[..], b"hello");
//! # Ok(())
//! # }
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, Sleep};

use super::{DatagramSocket, Network, Outgoing, Received};

/// Ports that are given to sockets bound to port 0.
const FIRST_EPHEMERAL: u16 = 49_152;
/// Datagrams on their way to one socket. At the limit further ones are lost, as on a full path.
const MAX_UNDER_WAY: usize = 65_536;
/// IP and UDP headers, which take their share of a link's rate.
const DATAGRAM_OVERHEAD: usize = 28;

/// One direction of a path between two hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Time from sender to receiver.
    pub delay: Duration,
    /// Random time added to each datagram, up to this. Datagrams that are overtaken stay in order.
    pub jitter: Duration,
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// Probability that a datagram arrives twice.
    pub duplicate: f64,
    /// Probability that a datagram takes up to twice the delay longer, and is overtaken by others.
    pub reorder: f64,
    /// Bytes per second; `None` is unlimited.
    pub rate: Option<u64>,
    /// Bytes that wait in front of a link with a rate; what finds no room is lost.
    pub queue: usize,
    /// Longer datagrams (with IP header) are lost.
    pub mtu: usize,
}

impl Default for Link {
    /// A millisecond, and nothing else.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            rate: None,
            queue: 256 << 10,
            mtu: 1500,
        }
    }
}

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimPacket {
    /// The sender as the receiver will see it.
    pub source: SocketAddr,
    /// The socket that gets it.
    pub destination: SocketAddr,
    /// IP time to live.
    pub ttl: u32,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Something that sees every datagram as it leaves its host: a NAT, a firewall, a recorder.
pub trait Middlebox: Send + 'static {
    /// Lets a datagram pass (true), perhaps rewritten, or drops it.
    fn forward(&mut self, now: Instant, packet: &mut SimPacket) -> bool;
}

impl<F: FnMut(Instant, &mut SimPacket) -> bool + Send + 'static> Middlebox for F {
    fn forward(&mut self, now: Instant, packet: &mut SimPacket) -> bool {
        self(now, packet)
    }
}

/// What happened on the whole network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimStats {
    /// Datagrams given to it.
    pub sent: u64,
    /// Datagrams that reached a socket's queue (duplicates count again).
    pub delivered: u64,
    /// Datagrams lost: by chance, at a full queue, too long, or for an address that nobody has.
    pub lost: u64,
}

/// The network. Clones are handles of the same one.
#[derive(Clone)]
pub struct SimNetwork {
    world: Arc<Mutex<World>>,
}

/// One direction between two hosts.
struct Path {
    random: StdRng,
    /// When the last byte queued in front of a rated link has left.
    free_at: Instant,
    /// When its last datagram arrives.
    last_arrival: Instant,
}

impl Path {
    fn new(seed: u64, ends: (IpAddr, IpAddr), now: Instant) -> Self {
        let mut hash = seed;
        for ip in [ends.0, ends.1] {
            let bits = match ip {
                IpAddr::V4(ip) => ip.to_bits().into(),
                IpAddr::V6(ip) => ip.to_bits() as u64 ^ (ip.to_bits() >> 64) as u64,
            };
            // One step of the generator that seeds others (SplitMix64) for each address: neighbours have nothing in common.
            hash = (hash ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 30;
        }
        Self { random: StdRng::seed_from_u64(hash), free_at: now, last_arrival: now }
    }
}

struct World {
    seed: u64,
    default_link: Link,
    links: HashMap<(IpAddr, IpAddr), Link>,
    paths: HashMap<(IpAddr, IpAddr), Path>,
    sockets: HashMap<SocketAddr, Weak<SimSocket>>,
    middlebox: Option<Box<dyn Middlebox>>,
    order: u64,
    stats: SimStats,
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNetwork").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl SimNetwork {
    /// A network without hosts. The seed decides all that happens by chance.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let world = World {
            seed,
            default_link: Link::default(),
            links: HashMap::new(),
            paths: HashMap::new(),
            sockets: HashMap::new(),
            middlebox: None,
            order: 0,
            stats: SimStats::default(),
        };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// A host of this address; sockets that are bound to the unspecified address or to loopback get it.
    #[must_use]
    pub fn host(&self, ip: IpAddr) -> Arc<dyn Network> {
        Arc::new(SimHost { network: self.clone(), ip })
    }

    /// Sets all links that have no setting of their own.
    pub fn set_default_link(&self, link: Link) {
        self.world.lock().default_link = link;
    }

    /// Sets the link from one host to another; the way back has its own.
    pub fn set_link(&self, from: IpAddr, to: IpAddr, link: Link) {
        self.world.lock().links.insert((from, to), link);
    }

    /// Puts something in the way of all datagrams.
    pub fn set_middlebox(&self, middlebox: impl Middlebox) {
        self.world.lock().middlebox = Some(Box::new(middlebox));
    }

    /// The next `times` receives of the socket at `addr` fail, if there is one.
    pub fn fail_receives(&self, addr: SocketAddr, kind: io::ErrorKind, times: usize) {
        let socket = self.world.lock().sockets.get(&addr).and_then(Weak::upgrade);
        let Some(socket) = socket else { return };
        let waker = {
            let mut queue = socket.queue.lock();
            queue.failures = Some((kind, times));
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// From now on the socket at `addr`, if there is one, takes nothing to send, or takes it again.
    pub fn refuse_sends(&self, addr: SocketAddr, refuse: bool) {
        let socket = self.world.lock().sockets.get(&addr).and_then(Weak::upgrade);
        let Some(socket) = socket else { return };
        let waker = {
            let mut queue = socket.queue.lock();
            queue.refuses = refuse;
            queue.writer.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> SimStats {
        self.world.lock().stats
    }

    fn send(&self, packet: SimPacket) {
        let now = Instant::now();
        let mut world = self.world.lock();
        world.stats.sent += 1;
        let arrivals = world.route(now, packet);
        if arrivals.is_empty() {
            world.stats.lost += 1;
        }
        // Released after the lock: dropping the last handle of a socket takes it again.
        let mut sockets = Vec::new();
        for arrival in arrivals {
            let socket = world.sockets.get(&arrival.packet.destination).and_then(Weak::upgrade);
            if socket.as_ref().is_some_and(|socket| socket.arrive(arrival)) {
                world.stats.delivered += 1;
            } else {
                world.stats.lost += 1;
            }
            sockets.extend(socket);
        }
        drop(world);
    }
}

impl World {
    /// When a datagram arrives; never if it is lost, twice if it is duplicated.
    fn route(&mut self, now: Instant, mut packet: SimPacket) -> Vec<Arrival> {
        if let Some(middlebox) = &mut self.middlebox
            && !middlebox.forward(now, &mut packet)
        {
            return Vec::new();
        }
        let ends = (packet.source.ip(), packet.destination.ip());
        let link = *self.links.get(&ends).unwrap_or(&self.default_link);
        let size = packet.data.len() + DATAGRAM_OVERHEAD;
        let Path { random, free_at, last_arrival } =
            self.paths.entry(ends).or_insert_with(|| Path::new(self.seed, ends, now));
        if size > link.mtu || random.random_bool(link.loss) {
            return Vec::new();
        }
        let mut leaves = now;
        if let Some(rate) = link.rate.filter(|rate| *rate > 0) {
            let waiting = free_at.saturating_duration_since(now).as_secs_f64() * rate as f64;
            if waiting as usize + size > link.queue {
                return Vec::new();
            }
            leaves = (*free_at).max(now) + Duration::from_secs_f64(size as f64 / rate as f64);
            *free_at = leaves;
        }
        let copies = 1 + usize::from(random.random_bool(link.duplicate));
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let at = leaves + link.delay + link.jitter.mul_f64(random.random::<f64>());
            let at = if random.random_bool(link.reorder) {
                at + link.delay.mul_f64(2.0 * random.random::<f64>())
            } else {
                *last_arrival = at.max(*last_arrival);
                *last_arrival
            };
            self.order += 1;
            arrivals.push(Arrival { at, order: self.order, packet: packet.clone() });
        }
        arrivals
    }
}

struct SimHost {
    network: SimNetwork,
    ip: IpAddr,
}

impl fmt::Debug for SimHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimHost").field(&self.ip).finish()
    }
}

impl Network for SimHost {
    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn DatagramSocket>> {
        if !addr.ip().is_unspecified() && !addr.ip().is_loopback() && addr.ip() != self.ip {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let mut world = self.network.world.lock();
        let free = |&port: &u16| !world.sockets.contains_key(&SocketAddr::new(self.ip, port));
        let wanted = if addr.port() == 0 { FIRST_EPHEMERAL..=u16::MAX } else { addr.port()..=addr.port() };
        let port = wanted.into_iter().find(free).ok_or(io::ErrorKind::AddrInUse)?;
        let local = SocketAddr::new(self.ip, port);
        let socket = Arc::new(SimSocket { network: self.network.clone(), local, queue: Mutex::default() });
        world.sockets.insert(local, Arc::downgrade(&socket));
        Ok(socket)
    }
}

struct Arrival {
    at: Instant,
    order: u64,
    packet: SimPacket,
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Arrival {}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Default)]
struct Queue {
    arrivals: BinaryHeap<Reverse<Arrival>>,
    sleep: Option<Pin<Box<Sleep>>>,
    waker: Option<Waker>,
    /// How, and how often, receiving fails.
    failures: Option<(io::ErrorKind, usize)>,
    /// Nothing can be sent for now.
    refuses: bool,
    /// Who waits until something can be sent.
    writer: Option<Waker>,
}

struct SimSocket {
    network: SimNetwork,
    local: SocketAddr,
    queue: Mutex<Queue>,
}

impl fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimSocket").field(&self.local).finish()
    }
}

impl SimSocket {
    fn arrive(&self, arrival: Arrival) -> bool {
        let mut queue = self.queue.lock();
        if queue.arrivals.len() >= MAX_UNDER_WAY {
            return false;
        }
        let earliest = queue.arrivals.peek().is_none_or(|Reverse(first)| arrival < *first);
        queue.arrivals.push(Reverse(arrival));
        if earliest && let Some(waker) = queue.waker.take() {
            drop(queue);
            waker.wake();
        }
        true
    }
}

impl DatagramSocket for SimSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        let mut queue = self.queue.lock();
        if let Some((kind, times)) = queue.failures.take().filter(|(_, times)| *times > 0) {
            queue.failures = Some((kind, times - 1));
            return Poll::Ready(Err(kind.into()));
        }
        loop {
            let now = Instant::now();
            let mut filled = 0;
            for (buffer, received) in buffers.iter_mut().zip(received.iter_mut()) {
                if queue.arrivals.peek().is_none_or(|Reverse(first)| first.at > now) {
                    break;
                }
                let Some(Reverse(Arrival { packet, .. })) = queue.arrivals.pop() else { break };
                let len = packet.data.len().min(buffer.len());
                buffer[..len].copy_from_slice(&packet.data[..len]);
                *received = Received { source: packet.source, len, stride: len };
                filled += 1;
            }
            if filled > 0 {
                return Poll::Ready(Ok(filled));
            }
            queue.waker = Some(cx.waker().clone());
            let Some(at) = queue.arrivals.peek().map(|Reverse(first)| first.at) else { return Poll::Pending };
            let sleep = queue.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if sleep.deadline() != at {
                sleep.as_mut().reset(at);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            queue.sleep = None;
        }
    }

    fn try_send(&self, outgoing: &Outgoing<'_>) -> io::Result<()> {
        if self.queue.lock().refuses {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let size = outgoing.segment_size.unwrap_or(outgoing.contents.len()).max(1);
        let send = |data: &[u8]| {
            self.network.send(SimPacket {
                source: self.local,
                destination: outgoing.destination,
                ttl: outgoing.ttl.unwrap_or(64),
                data: data.to_vec(),
            });
        };
        if outgoing.contents.is_empty() {
            send(&[]);
        }
        outgoing.contents.chunks(size).for_each(send);
        Ok(())
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut queue = self.queue.lock();
        if queue.refuses {
            queue.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn max_segments(&self) -> usize {
        64
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let mut world = self.network.world.lock();
        if world.sockets.get(&self.local).is_some_and(|socket| socket.strong_count() == 0) {
            world.sockets.remove(&self.local);
        }
    }
}
