//! Routes of earlier connections: a socket of ours and the address of the peer that a stream went between. What opened the NATs
//! for it still does, so that a handshake on it comes straight to the peer, with no node in between.
//!
//! Both sides must say that they want it (`reusable_socket`): each keeps its socket then, and its node answers at it. JavaScript's
//! `hyperdht` does the same in `socket-pool.js`.

use std::net::{SocketAddr, SocketAddrV4};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use dht_rpc::SocketId;
use futures_util::future::{Either, select};
use udx::{CloseReason, UdxSocket, UdxStream, WeakUdxStream};

use crate::cache::{Cache, CacheOptions};
use crate::dht::{Inner, now};
use crate::socket_pool::PoolSocket;

/// Peers of one generation whose routes are kept, at most twice as many in all. Beyond, the oldest are forgotten.
const ROUTES: CacheOptions = CacheOptions { max_size: 512, max_age: None };

/// Connections whose sockets of the pool are kept for others. The routes of further ones are not kept: their peers are found
/// anew.
pub const MAX_KEPT_SOCKETS: usize = 256;

/// How long a socket of the pool is kept after the last stream on it.
const LINGER: Duration = Duration::from_secs(3);

/// How long a route is tried alone, before the peer is searched beside.
const HEAD_START: Duration = Duration::from_millis(250);

/// The route of an earlier connection. The node serves its socket while this is held.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) socket: SocketId,
    pub(crate) addr: SocketAddrV4,
    pooled: Option<Arc<PoolSocket>>,
}

impl Route {
    /// The hold on its socket, if that is one of the pool.
    pub(crate) fn held(&self) -> Option<Arc<PoolSocket>> {
        self.pooled.clone()
    }
}

struct Known {
    socket: SocketId,
    addr: SocketAddrV4,
    /// Of a socket of the pool; the two of the node are always there.
    pooled: Option<Weak<PoolSocket>>,
}

/// The routes of a node, by the keys of the peers.
pub(crate) struct Routes {
    known: Cache<[u8; 32], Known>,
    kept_sockets: usize,
}

impl Routes {
    pub(crate) fn new(now: Instant) -> Self {
        Self { known: Cache::new(ROUTES, now), kept_sockets: 0 }
    }

    /// Forgets all: the sockets are closed.
    pub(crate) fn clear(&mut self, now: Instant) {
        self.known = Cache::new(ROUTES, now);
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The route to a peer, if there is one and its socket is still kept.
    pub(crate) fn get(&mut self, peer: &[u8; 32], now: Instant) -> Option<Route> {
        let Known { socket, addr, pooled } = self.known.get(peer, now)?;
        let (socket, addr) = (*socket, *addr);
        let held = match pooled {
            Some(pooled) => match pooled.upgrade() {
                Some(held) => Some(held),
                None => {
                    self.known.remove(peer);
                    return None;
                }
            },
            None => None,
        };
        Some(Route { socket, addr, pooled: held })
    }

    /// Nothing comes back on the route from this socket.
    fn forget(&mut self, peer: &[u8; 32], socket: SocketId) {
        if let Some(known) = self.known.remove(peer)
            && known.socket != socket
        {
            self.known.insert(*peer, known, now());
        }
    }
}

/// Keeps the route of a stream that is connected; `pooled` is its socket, if that is one of the pool.
pub(crate) fn keep(dht: &Arc<Inner>, peer: [u8; 32], stream: &UdxStream, pooled: Option<Arc<PoolSocket>>) {
    let (Some(socket), Some(SocketAddr::V4(addr))) = (stream.socket(), stream.remote_addr()) else { return };
    let own =
        || [SocketId::SERVER, SocketId::CLIENT].into_iter().find(|id| dht.rpc.socket(*id).as_ref() == Some(&socket));
    let Some(id) = pooled.as_ref().map(|pooled| pooled.id()).or_else(own) else { return };
    {
        let routes = &mut *dht.routes.lock();
        if pooled.is_some() {
            if routes.kept_sockets >= MAX_KEPT_SOCKETS {
                return;
            }
            routes.kept_sockets += 1;
        }
        let known = Known { socket: id, addr, pooled: pooled.as_ref().map(Arc::downgrade) };
        routes.known.insert(peer, known, now());
    }
    tokio::spawn(watch(Arc::downgrade(dht), peer, id, stream.downgrade(), pooled));
}

/// Keeps the socket of a stream for as long as the stream needs it and a while longer, unless the route proves dead.
async fn watch(
    dht: Weak<Inner>,
    peer: [u8; 32],
    socket: SocketId,
    stream: WeakUdxStream,
    pooled: Option<Arc<PoolSocket>>,
) {
    let ended = stream.closed().await;
    // To be destroyed by the peer is a sign of life.
    if matches!(ended, Err(CloseReason::TimedOut | CloseReason::SocketClosed)) {
        if let Some(dht) = dht.upgrade() {
            dht.routes.lock().forget(&peer, socket);
        }
    } else if pooled.is_some() {
        tokio::time::sleep(LINGER).await;
    }
    if pooled.is_some()
        && let Some(dht) = dht.upgrade()
    {
        dht.routes.lock().kept_sockets -= 1;
    }
}

/// Gives a handshake on a route a head start before the search for the peer. When the route does not answer in time, both go on,
/// and the first that succeeds wins.
pub(crate) async fn prefer<T, E>(
    route: impl Future<Output = Result<Option<T>, E>>,
    search: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut route = pin!(route);
    match tokio::time::timeout(HEAD_START, &mut route).await {
        Ok(Ok(Some(found))) => return Ok(found),
        Ok(Ok(None)) => return search.await,
        Ok(Err(error)) => return Err(error),
        Err(_) => {}
    }
    match select(route, pin!(search)).await {
        Either::Left((found, search)) => match found? {
            Some(found) => Ok(found),
            None => search.await,
        },
        Either::Right((Ok(found), _)) => Ok(found),
        Either::Right((Err(error), route)) => route.await?.ok_or(error),
    }
}

impl Inner {
    /// The route to a peer.
    pub(crate) fn route(&self, peer: &[u8; 32]) -> Option<Route> {
        self.routes.lock().get(peer, now())
    }

    /// No answer came on a route.
    pub(crate) fn route_failed(&self, peer: &[u8; 32], route: &Route) {
        self.routes.lock().forget(peer, route.socket);
    }
}

/// The first packet of a stream, with a hold on its socket if that is one of the pool: whoever has it there may let it go.
pub(crate) async fn first_packet(
    dht: &Inner,
    stream: &WeakUdxStream,
) -> Result<(UdxSocket, SocketAddr, Option<Arc<PoolSocket>>), CloseReason> {
    let (socket, addr) = stream.first_packet().await?;
    let pooled = PoolSocket::lookup(dht, &socket);
    Ok((socket, addr, pooled))
}
