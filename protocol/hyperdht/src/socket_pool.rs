//! Sockets besides the two of a node: each for one connection, because a NAT is only known for the socket that was looked at.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Weak};

use dht_rpc::{Probe, SocketId};
use tokio::sync::mpsc;
use udx::UdxSocket;

use crate::dht::Inner;

/// Sockets that a node has in its pool; beyond these it punches no further holes until some are released. One that became a
/// connection does not count, unless its route is kept. With the usual limit of 1024 descriptors a process there is room for other things.
pub const MAX_POOL_SOCKETS: usize = 768;

/// Those of them that punch for clients of our servers, or carry what they punched for: strangers ask for these. They are enough for
/// [`MAX_PUNCH_ATTEMPTS`](crate::MAX_PUNCH_ATTEMPTS) and a random punch beside, and leave room for one of our own.
pub const MAX_SERVED_SOCKETS: usize = 448;

/// The datagram that punches: too short for any message.
const PROBE: &[u8] = &[0];

/// What a probe lives for when it has to open the own NAT only, and must not reach the other one before that is open.
const LOW_TTL: u32 = 5;

/// A socket of the pool. Requests can be sent from it and arrive at it, and probes go to whoever acquired it.
///
/// With the last handle the node forgets it; it closes then unless a stream uses it, or with that stream.
#[derive(Debug)]
pub(crate) struct PoolSocket {
    dht: Weak<Inner>,
    id: SocketId,
    socket: UdxSocket,
    /// Whether it is for a client of a server of ours.
    serves: bool,
}

impl PoolSocket {
    /// A new socket, whose probes go to `probes`; `serves` when it is for a client of a server of ours.
    pub(crate) fn acquire(dht: &Arc<Inner>, probes: mpsc::Sender<Probe>, serves: bool) -> io::Result<Arc<Self>> {
        let bound = dht.bound(SocketId::SERVER).ok_or(io::ErrorKind::NotConnected)?;
        let socket = dht.rpc.udx().bind(SocketAddr::new(bound.ip(), 0))?;
        // Suspending closes what is bound, and this may have been bound a moment later.
        if *dht.suspended.borrow() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let id = dht.rpc.attach(socket.clone(), probes);
        let acquired = Arc::new(Self { dht: Arc::downgrade(dht), id, socket, serves });
        {
            let state = &mut *dht.state.lock();
            let has_room = !serves || state.served_sockets < MAX_SERVED_SOCKETS;
            if has_room && state.pool_sockets.len() < MAX_POOL_SOCKETS {
                state.pool_sockets.insert(acquired.socket.id(), Arc::downgrade(&acquired));
                state.served_sockets += usize::from(serves);
                return Ok(acquired.clone());
            }
        }
        Err(io::Error::other("too many sockets in the pool"))
    }

    /// The handle of a socket, if it is one of the pool: whoever holds it keeps the node serving the socket.
    pub(crate) fn lookup(dht: &Inner, socket: &UdxSocket) -> Option<Arc<Self>> {
        dht.state.lock().pool_sockets.get(&socket.id())?.upgrade()
    }

    pub(crate) fn id(&self) -> SocketId {
        self.id
    }

    pub(crate) fn socket(&self) -> &UdxSocket {
        &self.socket
    }

    /// Sends a probe; with `low_ttl` one that only has to leave the own network.
    pub(crate) fn probe(&self, to: SocketAddrV4, low_ttl: bool) {
        let to = SocketAddr::V4(to);
        let sent =
            if low_ttl { self.socket.try_send_to_ttl(PROBE, to, LOW_TTL) } else { self.socket.try_send_to(PROBE, to) };
        if let Err(error) = sent {
            tracing::trace!(%to, %error, "probe not sent");
        }
    }
}

impl Drop for PoolSocket {
    fn drop(&mut self) {
        let Some(dht) = self.dht.upgrade() else { return };
        dht.rpc.detach(self.id);
        let state = &mut *dht.state.lock();
        if state.pool_sockets.remove(&self.socket.id()).is_some() && self.serves {
            state.served_sockets -= 1;
        }
    }
}
