//! The handle of a node, and what it does with the requests of others.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use crypto::KeyPair;
use dht_rpc::{BootstrapNode, Event, Handler, Health, IncomingRequest, NodeId, ReplyOptions, SocketId};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use secret_stream::SecretStream;
use std::collections::HashMap;
use tokio::sync::watch;
use udx::network::Network;
use udx::{Udx, UdxStream};

use crate::cache::{Cache, CacheOptions};
use crate::connection_pool::ConnectionPool;
use crate::constants::{BOOTSTRAP_NODES, DEFAULT_PORT, command};
use crate::error::ConnectError;
use crate::forwards::{Forwards, Route, route_handshake, route_holepunch};
use crate::holepunch::{Attempts, HolepunchHook, PunchStats, RandomPunches};
use crate::local::LocalAddresses;
use crate::messages::{Handshake, Holepunch};
use crate::relay::RelayStats;
use crate::routes::Routes;
use crate::server::{Listening, Server, ServerOptions};
use crate::socket_pool::PoolSocket;
use crate::storage::{Answer, Storage, StorageOptions, Stored};

/// An encrypted connection to a peer.
pub type Connection = SecretStream<UdxStream>;

/// How often an idle connection shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How often the interfaces of the machine are looked at.
const NETWORK_INTERVAL: Duration = Duration::from_secs(5);

/// Peers whose relay addresses are remembered for the next connection; the oldest are forgotten.
const RELAY_CACHE: CacheOptions = CacheOptions { max_size: 512, max_age: None };

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct DhtOptions {
    /// Nodes to begin with; `None` for those of the public network.
    pub bootstrap: Option<Vec<BootstrapNode>>,
    /// Other nodes that are known already.
    pub nodes: Vec<SocketAddrV4>,
    /// The address to bind. With an IPv6 one, `::` for all of both kinds, streams reach IPv6 peers too; the nodes of the network
    /// know each other by IPv4 addresses only.
    pub host: IpAddr,
    /// The port to bind; if it is taken, the four after it are tried, then any. Zero takes any.
    pub port: u16,
    /// Takes any port rather than failing when those are taken.
    pub any_port: bool,
    /// Who we are to peers, where no other key is given; a new key if `None`.
    pub key_pair: Option<KeyPair>,
    /// `Some(false)` stores for others at once, `Some(true)` never, `None` when the node was stable for long enough.
    pub ephemeral: Option<bool>,
    /// Whether a firewall is to be expected until a test shows that there is none.
    pub firewalled: bool,
    /// Tests the firewall while it bootstraps, if the first node that answers can reach us.
    pub quick_firewall: bool,
    /// The host that others reach us at, where that is known; see [`Dht::bootstrapper`].
    pub public_host: Option<Ipv4Addr>,
    /// How often an idle connection shows that it lives; `None` for never.
    pub keep_alive: Option<Duration>,
    /// How long and how much is stored for others.
    pub storage: StorageOptions,
    /// The network; `None` for the operating system's.
    pub network: Option<Arc<dyn Network>>,
    /// The addresses of this machine in its local networks; `None` asks the operating system.
    pub local_addresses: Option<Vec<Ipv4Addr>>,
    /// Makes the node's choices repeatable, for simulations.
    pub seed: Option<u64>,
    /// The time since 1970.
    pub unix_time: fn() -> Duration,
}

impl Default for DhtOptions {
    fn default() -> Self {
        Self {
            bootstrap: None,
            nodes: Vec::new(),
            host: Ipv4Addr::UNSPECIFIED.into(),
            port: DEFAULT_PORT,
            any_port: true,
            key_pair: None,
            ephemeral: None,
            firewalled: true,
            quick_firewall: true,
            public_host: None,
            keep_alive: Some(KEEP_ALIVE),
            storage: StorageOptions::default(),
            network: None,
            local_addresses: None,
            seed: None,
            unix_time: || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }
}

/// A node of the network, through which peers are found and connected to.
///
/// Clones are handles of the same node. It is destroyed with the last handle, and with the servers and queries made from it.
#[derive(Clone, Debug)]
pub struct Dht {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) rpc: dht_rpc::Dht,
    pub(crate) key_pair: KeyPair,
    keep_alive: Option<Duration>,
    /// When the node began, from which the beat of its keep-alives counts.
    begun: Instant,
    pub(crate) state: Mutex<State>,
    pub(crate) routes: Mutex<Routes>,
    /// The attempts to punch for clients. Locked before the state of any of them, and before that of the node.
    pub(crate) attempts: Mutex<Attempts>,
    pub(crate) online: watch::Sender<bool>,
    pub(crate) suspended: watch::Sender<bool>,
    /// Suspend and resume wait for each other.
    pub(crate) rest: tokio::sync::Mutex<()>,
    /// Counts suspends and resumes.
    pub(crate) wanted: watch::Sender<u64>,
    /// Counts how often the interfaces of the machine have changed.
    network: watch::Sender<u64>,
    local: LocalAddresses,
    storage_options: StorageOptions,
    unix_time: fn() -> Duration,
}

pub(crate) struct State {
    pub(crate) forwards: Forwards,
    /// Servers of this node by the hash of their key.
    pub(crate) servers: HashMap<NodeId, Weak<Listening>>,
    /// Nodes through which peers were reached.
    pub(crate) relays: Cache<[u8; 32], Vec<SocketAddrV4>>,
    pub(crate) rng: StdRng,
    pub(crate) random_punches: RandomPunches,
    pub(crate) punches: PunchStats,
    pub(crate) relaying: RelayStats,
    /// The sockets of the pool, by their numbers.
    pub(crate) pool_sockets: HashMap<u64, Weak<PoolSocket>>,
    /// How many of them are for clients.
    pub(crate) served_sockets: usize,
    pub(crate) storage: Option<Storage>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("rpc", &self.rpc).finish_non_exhaustive()
    }
}

impl Dht {
    /// Binds a node and begins to bootstrap.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn new(options: DhtOptions) -> io::Result<Self> {
        let udx = options.network.map_or_else(Udx::new, Udx::with_network);
        let bootstrap =
            options.bootstrap.unwrap_or_else(|| BOOTSTRAP_NODES.iter().filter_map(|node| node.parse().ok()).collect());
        let mut rng = options.seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        let rpc = dht_rpc::Dht::new(
            udx,
            dht_rpc::Options {
                bootstrap,
                nodes: options.nodes,
                host: options.host,
                port: options.port,
                any_port: options.any_port,
                ephemeral: options.ephemeral,
                firewalled: options.firewalled,
                quick_firewall: options.quick_firewall,
                public_host: options.public_host,
                filter: is_acceptable,
                seed: Some(rng.random()),
                unix_time: options.unix_time,
            },
        )?;
        let now = now();
        let state = State {
            forwards: Forwards::new(options.storage.announces, now),
            servers: HashMap::new(),
            relays: Cache::new(RELAY_CACHE, now),
            rng,
            random_punches: RandomPunches::default(),
            punches: PunchStats::default(),
            relaying: RelayStats::default(),
            pool_sockets: HashMap::new(),
            served_sockets: 0,
            storage: None,
        };
        let inner = Arc::new(Inner {
            rpc,
            key_pair: options.key_pair.unwrap_or_else(KeyPair::generate),
            keep_alive: options.keep_alive,
            begun: now,
            state: Mutex::new(state),
            routes: Mutex::new(Routes::new(now)),
            attempts: Mutex::default(),
            online: watch::Sender::new(true),
            suspended: watch::Sender::new(false),
            rest: tokio::sync::Mutex::default(),
            wanted: watch::Sender::new(0),
            network: watch::Sender::new(0),
            local: LocalAddresses::new(options.local_addresses),
            storage_options: options.storage,
            unix_time: options.unix_time,
        });
        let handler: Weak<Inner> = Arc::downgrade(&inner);
        inner.rpc.start(handler);
        tokio::spawn(watch_network(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// A node that a network begins with: others know it by `host` and `port`, and it needs nobody.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub async fn bootstrapper(host: Ipv4Addr, port: u16, options: DhtOptions) -> io::Result<Self> {
        let options = DhtOptions {
            bootstrap: Some(options.bootstrap.unwrap_or_default()),
            port,
            any_port: false,
            ephemeral: Some(false),
            firewalled: false,
            public_host: Some(host),
            ..options
        };
        Self::new(options).await
    }

    /// Waits until the node has found its neighbourhood.
    pub async fn bootstrapped(&self) {
        self.inner.rpc.bootstrapped().await;
    }

    /// The key pair that is used where no other is given.
    pub fn key_pair(&self) -> &KeyPair {
        &self.inner.key_pair
    }

    /// The node's requests, queries and sockets.
    pub fn rpc(&self) -> &dht_rpc::Dht {
        &self.inner.rpc
    }

    /// Whether the network answers; it is assumed to until it did not for a while.
    pub fn online(&self) -> watch::Receiver<bool> {
        self.inner.online.subscribe()
    }

    /// How often the interfaces of the machine have changed, or it woke up. Servers announce themselves anew then; connections
    /// may be dead.
    pub fn network_changes(&self) -> watch::Receiver<u64> {
        self.inner.network.subscribe()
    }

    /// Tells that the machine's network changed or that the program stood still, where the application knows before the node finds
    /// out: servers announce themselves anew, and whoever listens to [`Dht::network_changes`] looks after its connections.
    pub fn network_changed(&self) {
        self.inner.network_changed();
    }

    /// How often holes were punched so far.
    pub fn punch_stats(&self) -> PunchStats {
        self.inner.state.lock().punches
    }

    /// How often connections were relayed so far.
    pub fn relay_stats(&self) -> RelayStats {
        self.inner.state.lock().relaying
    }

    /// The address that the server socket is bound to; `None` after the node was destroyed.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.bound(SocketId::SERVER)
    }

    /// Where the server socket can be reached in the local networks of this machine.
    pub fn local_addresses(&self) -> Vec<SocketAddrV4> {
        self.inner.local_addresses()
    }

    /// Connects to the peer with this key. A future that is dropped gives up.
    ///
    /// # Errors
    /// When the peer is not there or cannot be reached; see [`ConnectError`].
    pub async fn connect(
        &self,
        remote_public_key: [u8; 32],
        options: ConnectOptions,
    ) -> Result<Connection, ConnectError> {
        crate::connect::connect(&self.inner, remote_public_key, options).await
    }

    /// A pool that keeps one connection to each peer.
    pub fn pool(&self) -> ConnectionPool {
        ConnectionPool::new(self.clone())
    }

    /// Makes a server, which does not listen yet.
    pub fn create_server(&self, options: ServerOptions) -> Server {
        Server::new(self.inner.clone(), options)
    }

    /// Closes the servers, ends every connection and query, and stops the tasks. Returns when all is done.
    pub async fn destroy(&self) {
        let servers: Vec<_> = self.inner.state.lock().servers.values().filter_map(Weak::upgrade).collect();
        futures_util::future::join_all(servers.iter().map(|server| server.close())).await;
        let sockets = [SocketId::SERVER, SocketId::CLIENT].map(|id| self.inner.rpc.socket(id));
        self.inner.rpc.destroy();
        for socket in sockets.into_iter().flatten() {
            socket.closed().await;
        }
    }
}

/// How to connect to a peer.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Who we are to the peer; the node's key pair if `None`.
    pub key_pair: Option<KeyPair>,
    /// Nodes that are known to forward to the peer. They are asked first.
    pub relay_addresses: Vec<SocketAddrV4>,
    /// Tells the peer our addresses in local networks, and uses its.
    pub local_connection: bool,
    /// Opens our NAT before the peer is asked what it is behind, so that a hole may be there with its answer.
    pub fast_open: bool,
    /// Decides whether to punch a hole; `None` always does.
    pub holepunch: Option<HolepunchHook>,
    /// Keeps the route of the connection, when the server does so too, and tries the route of an earlier connection first: while
    /// there is a connection on it, and 3 s longer, another takes one round trip and no node of the network.
    pub reusable_socket: bool,
    /// Keys of blind relays, one of which is picked to meet the server at while a direct way is being opened. A server that wants a
    /// relay is met at that one.
    pub relay_through: Vec<[u8; 32]>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            key_pair: None,
            relay_addresses: Vec::new(),
            local_connection: true,
            fast_open: true,
            holepunch: None,
            reusable_socket: false,
            relay_through: Vec::new(),
        }
    }
}

/// The time of the runtime, which a simulation can move.
pub(crate) fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// Test nodes that ended up in the public network by accident.
fn is_acceptable(addr: SocketAddrV4) -> bool {
    !matches!(
        (addr.ip().octets(), addr.port()),
        ([134, 209, 28, 98] | [167, 99, 142, 185], 49738) | ([35, 233, 47, 252], 9400) | ([150, 136, 142, 116], _)
    )
}

impl Inner {
    /// How the streams of this node's connections behave.
    pub(crate) fn stream_options(&self) -> secret_stream::Options {
        secret_stream::Options {
            keep_alive: self.keep_alive,
            keep_alive_beat: Some(self.begun),
            ..secret_stream::Options::default()
        }
    }

    /// The address that a socket is bound to.
    pub(crate) fn bound(&self, id: SocketId) -> Option<SocketAddr> {
        Some(self.rpc.socket(id)?.local_addr())
    }

    /// Where our server socket can be reached in local networks.
    pub(crate) fn local_addresses(&self) -> Vec<SocketAddrV4> {
        self.bound(SocketId::SERVER).map(|bound| self.local.of(bound, now())).unwrap_or_default()
    }

    /// Announces the servers anew, and tells whoever has connections.
    pub(crate) fn network_changed(&self) {
        let servers: Vec<_> = self.state.lock().servers.values().filter_map(Weak::upgrade).collect();
        servers.iter().for_each(|server| server.refresh());
        self.network.send_modify(|changes| *changes += 1);
    }

    /// Forgets what is stored here of a peer at `target`.
    pub(crate) fn unannounce_here(&self, target: &NodeId, public_key: &[u8; 32]) {
        let state = &mut *self.state.lock();
        if let Some(storage) = &mut state.storage {
            storage.unannounce(target, public_key, &mut state.forwards);
        }
    }

    fn server(&self, target: &NodeId) -> Option<Arc<Listening>> {
        self.state.lock().servers.get(target)?.upgrade()
    }

    fn on_handshake(&self, request: &IncomingRequest) {
        let (Some(target), Some(value)) = (request.target(), request.value()) else { return };
        let Ok(message) = Handshake::decode(value) else { return };
        if let Some(server) = self.server(&target) {
            server.on_handshake(&message, request);
            return;
        }
        let route = {
            let forwards = &mut self.state.lock().forwards;
            let relay = forwards.relay(&target, now());
            limit(route_handshake(&message, request.from(), relay), request, forwards)
        };
        follow(route, request);
    }

    fn on_holepunch(&self, request: &IncomingRequest) {
        let (Some(target), Some(value)) = (request.target(), request.value()) else { return };
        let Ok(message) = Holepunch::decode(value) else { return };
        if message.mode == crate::messages::Mode::FromRelay {
            if let Some(server) = self.server(&target) {
                server.on_holepunch(&message, request);
            }
            return;
        }
        let route = {
            let forwards = &mut self.state.lock().forwards;
            let relay = forwards.relay(&target, now());
            limit(route_holepunch(&message, request.from(), relay), request, forwards)
        };
        follow(route, request);
    }

    fn on_stored(&self, request: &IncomingRequest) -> bool {
        if self.rpc.id().is_none() {
            return false;
        }
        let answer = {
            let state = &mut *self.state.lock();
            let Some(storage) = &mut state.storage else { return false };
            let Some(target) = request.target() else { return true };
            let token = request.token();
            let stored = Stored {
                from: request.from(),
                command: request.command(),
                target: &target,
                token: token.as_ref(),
                value: request.value().map(|value| &value[..]),
            };
            storage.handle(stored, &mut state.forwards, &mut state.rng, (self.unix_time)(), now())
        };
        match answer {
            Answer::Value(value) => request.reply(value.map(Bytes::from), ReplyOptions::default()),
            Answer::Done => request.reply(None, ReplyOptions::bare()),
            Answer::Error(code) => request.error(code),
            Answer::Silence => {}
            Answer::NotStored => return false,
        }
        true
    }
}

/// Notices when the machine's network changes, until the node is gone.
async fn watch_network(node: Weak<Inner>) {
    let Some(mut before) = node.upgrade().map(|inner| inner.local_addresses()) else { return };
    loop {
        tokio::time::sleep(NETWORK_INTERVAL).await;
        let Some(inner) = node.upgrade().filter(|inner| !inner.rpc.is_destroyed()) else { return };
        let addresses = inner.local_addresses();
        // Without sockets there are no addresses.
        if addresses == before || *inner.suspended.borrow() {
            continue;
        }
        tracing::debug!(?addresses, "network changed");
        before = addresses;
        inner.network_changed();
    }
}

fn limit(route: Route, request: &IncomingRequest, forwards: &mut Forwards) -> Route {
    match route {
        Route::Forward(..) | Route::Reply(..) if !forwards.may_forward(*request.from().ip(), now()) => Route::Drop,
        route => route,
    }
}

fn follow(route: Route, request: &IncomingRequest) {
    match route {
        Route::CloserNodes => request.reply(None, ReplyOptions { token: false, ..ReplyOptions::default() }),
        Route::Forward(value, to) => request.relay(value.into(), to, None),
        Route::Reply(value, to) => {
            request.reply(Some(value.into()), ReplyOptions { to: Some(to), ..ReplyOptions::bare() })
        }
        Route::Drop => {}
    }
}

impl Handler for Inner {
    fn on_request(&self, request: &IncomingRequest) -> bool {
        match request.command() {
            command::PEER_HANDSHAKE => self.on_handshake(request),
            command::PEER_HOLEPUNCH => self.on_holepunch(request),
            _ => return self.on_stored(request),
        }
        true
    }

    fn on_event(&self, event: Event) {
        match event {
            Event::Persistent => {
                let Some(id) = self.rpc.id() else { return };
                let state = &mut *self.state.lock();
                match &mut state.storage {
                    Some(storage) => storage.set_id(id),
                    None => state.storage = Some(Storage::new(id, self.storage_options, now())),
                }
            }
            // Those that we are announced at may have forgotten us.
            Event::Wakeup => self.network_changed(),
            Event::Health(health) => {
                self.online.send_replace(health != Health::Offline);
            }
            _ => {}
        }
    }
}
