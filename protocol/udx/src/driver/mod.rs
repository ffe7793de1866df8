//! Sockets, clocks and tasks around the state machines.
//!
//! Each socket has one task: it receives in batches, gives the packets to their streams and the rest to the datagram
//! queue, and lets each stream that got something answer once. Each instance has one more task: it sleeps until the
//! earliest deadline of any stream, and sends what was written without a flush. Writers send in their own context. An
//! idle stream has no task, no timer and no buffer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use rand::Rng;

use crate::error::{CloseReason, Error};
use crate::network::{Network, OsNetwork};
use crate::stream::{StreamConfig, StreamState};

mod schedule;
mod socket;
mod stream;
mod weak;

pub use socket::{Datagram, UdxSocket};
pub use stream::UdxStream;
pub use weak::WeakUdxStream;

use schedule::Schedule;
use socket::{ReceiveBuffers, SocketCore};
use stream::Shared;

/// The time of the runtime, which a test can hold or move.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How a stream begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamOptions {
    /// The local id; a random free one if there is none.
    pub id: Option<u32>,
    /// Take packets before [`UdxStream::connect`], and from other sockets of the instance than the connected one. This is
    /// the firewall hook of JavaScript answering "pass"; without it such packets are dropped.
    pub accept: bool,
    /// Number of the first packet sent. Zero unless the peer was told otherwise.
    pub initial_seq: u32,
    /// Number of the first packet expected.
    pub initial_ack: u32,
}

/// What an instance holds at a moment. Counting costs nothing on the packet path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Sockets that were bound and not closed.
    pub sockets: usize,
    /// Streams that have an id, with those that only linger.
    pub streams: usize,
    /// Deadlines that are waited for, a few for each stream that is not idle.
    pub deadlines: usize,
}

/// A UDX instance: a set of sockets that share one table of streams.
///
/// Clones are handles of the same instance. Needs a tokio runtime wherever sockets are bound.
#[derive(Clone, Debug)]
pub struct Udx {
    instance: Arc<Instance>,
}

#[derive(Debug)]
pub(crate) struct Instance {
    network: Arc<dyn Network>,
    streams: RwLock<HashMap<u32, Arc<Shared>>>,
    schedule: Arc<Schedule>,
    next_socket: AtomicU64,
    /// Those that were bound and not closed, by their ids.
    open_sockets: Mutex<HashMap<u64, Weak<SocketCore>>>,
    buffers: Mutex<Vec<ReceiveBuffers>>,
}

impl Udx {
    /// An instance on the operating system's sockets.
    #[must_use]
    pub fn new() -> Self {
        Self::with_network(Arc::new(OsNetwork))
    }

    /// An instance on another network, for instance a simulated one.
    #[must_use]
    pub fn with_network(network: Arc<dyn Network>) -> Self {
        let instance = Instance {
            network,
            streams: RwLock::default(),
            schedule: Arc::default(),
            next_socket: AtomicU64::new(1),
            open_sockets: Mutex::default(),
            buffers: Mutex::default(),
        };
        Self { instance: Arc::new(instance) }
    }

    /// Binds a socket, and starts the task that drives it.
    ///
    /// # Errors
    /// What the system says: the address is in use, or is not ours.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<UdxSocket> {
        let io = self.instance.network.bind(addr)?;
        let id = self.instance.next_socket.fetch_add(1, Ordering::Relaxed);
        self.instance.schedule.start();
        SocketCore::start(id, io, &self.instance)
    }

    /// Makes a stream. It costs nothing on the wire until it is connected and written to.
    ///
    /// # Errors
    /// [`Error::IdInUse`] if a live stream has the wanted id. A stream that is over and only lingers gives its id up.
    pub fn create_stream(&self, options: StreamOptions) -> Result<UdxStream, Error> {
        let mut streams = self.instance.streams.write();
        let id = match options.id {
            Some(id) => id,
            None => loop {
                let id = rand::rng().random();
                if !streams.contains_key(&id) {
                    break id;
                }
            },
        };
        let config = StreamConfig {
            initial_seq: options.initial_seq,
            initial_ack: options.initial_ack,
            ..StreamConfig::new(id)
        };
        let state = StreamState::new(config, now());
        let shared = Arc::new(Shared::new(id, state, options.accept, &self.instance));
        match streams.entry(id) {
            Entry::Occupied(mut entry) => {
                if !entry.get().is_over() {
                    return Err(Error::IdInUse(id));
                }
                entry.insert(Arc::clone(&shared));
            }
            Entry::Vacant(entry) => {
                entry.insert(Arc::clone(&shared));
            }
        }
        Ok(UdxStream::new(shared, Arc::clone(&self.instance)))
    }

    /// Destroys every stream, and tells the peers. The sockets stay.
    pub fn destroy_streams(&self) {
        let streams: Vec<_> = self.instance.streams.read().values().cloned().collect();
        streams.iter().for_each(|stream| stream.destroy());
    }

    /// Closes every socket, whoever holds it, as [`UdxSocket::close`] does. Their addresses are free when this returns.
    pub async fn close_sockets(&self) {
        let open: Vec<_> = self.instance.open_sockets.lock().values().filter_map(Weak::upgrade).collect();
        let sockets: Vec<_> = open.into_iter().map(UdxSocket::from_core).collect();
        sockets.iter().for_each(UdxSocket::close);
        for socket in &sockets {
            socket.closed().await;
        }
    }

    /// What it holds now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            sockets: self.instance.open_sockets.lock().len(),
            streams: self.stream_count(),
            deadlines: self.instance.schedule.len(),
        }
    }

    /// Number of streams that have an id, with those that only linger.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.instance.streams.read().len()
    }
}

impl Default for Udx {
    fn default() -> Self {
        Self::new()
    }
}

impl Instance {
    fn find(&self, id: u32) -> Option<Arc<Shared>> {
        self.streams.read().get(&id).cloned()
    }

    /// Forgets a stream, if the id is still its own.
    fn forget(&self, stream: &Shared) {
        let mut streams = self.streams.write();
        if streams.get(&stream.id()).is_some_and(|found| std::ptr::eq(&**found, stream)) {
            streams.remove(&stream.id());
        }
    }

    /// Ends all streams that send through a socket.
    fn close_streams_of(&self, socket: u64) {
        let streams: Vec<_> = self.streams.read().values().cloned().collect();
        for stream in streams {
            stream.socket_closed(socket, CloseReason::SocketClosed);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.schedule.stop();
    }
}
