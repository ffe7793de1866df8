//! A network in memory, in tokio's (paused) time, for the tests of the swarm.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crypto::KeyPair;
use hyperdht::messages::NoisePayload;
use hyperswarm::network::{
    FoundPeer, Link, Network, NetworkError, QueryKind, RefusePeer, RelayKeys, Server, TopicQuery,
};
use hyperswarm::{PeerInfo, Swarm, SwarmOptions};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

pub(crate) type Key = [u8; 32];
pub(crate) type FakeSwarm = Swarm<World>;

/// The time that a client waits for a server which ignores it.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why peers that are apart do not reach each other.
const APART: &str = "no hole";

/// Everything there is.
#[derive(Clone)]
pub(crate) struct World {
    inner: Arc<Mutex<Inner>>,
    pub(crate) connecting: Arc<AtomicUsize>,
    pub(crate) max_connecting: Arc<AtomicUsize>,
    pub(crate) attempts: Arc<AtomicUsize>,
}

struct Inner {
    rng: StdRng,
    latency: std::ops::Range<u64>,
    topics: HashMap<[u8; 32], BTreeSet<Key>>,
    servers: HashMap<Key, (mpsc::UnboundedSender<FakeConnection>, RefusePeer, RelayKeys)>,
    /// Peers that lookups report beside those that are there.
    made_up: Vec<Key>,
    queries: Vec<QueryKind>,
    down: bool,
    hangs: bool,
    /// Peers reach each other by relays only.
    apart: bool,
    randomized: bool,
    /// The relays of each attempt.
    relays: Vec<Vec<Key>>,
    /// How many swarms rest.
    suspended: usize,
    /// Counts changes of every machine's network.
    changes: watch::Sender<u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let inner = Inner {
            rng: StdRng::seed_from_u64(seed),
            latency: 5..40,
            topics: HashMap::new(),
            servers: HashMap::new(),
            made_up: Vec::new(),
            queries: Vec::new(),
            down: false,
            hangs: false,
            apart: false,
            randomized: false,
            relays: Vec::new(),
            suspended: 0,
            changes: watch::Sender::new(0),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            connecting: Arc::default(),
            max_connecting: Arc::default(),
            attempts: Arc::default(),
        }
    }

    /// A swarm whose key begins with `id`, so that the order of keys is the order of ids.
    pub(crate) fn swarm(&self, id: u8, options: SwarmOptions) -> FakeSwarm {
        let options = SwarmOptions { seed: Some(u64::from(id)), key_pair: Some(key_pair(id)), ..options };
        Swarm::with_network(self.clone(), options)
    }

    pub(crate) fn is_announced(&self, topic: &[u8; 32], key: &Key) -> bool {
        self.inner.lock().topics.get(topic).is_some_and(|peers| peers.contains(key))
    }

    /// No query and no connection attempt succeeds.
    pub(crate) fn set_down(&self, down: bool) {
        self.inner.lock().down = down;
    }

    /// Nothing that is asked of the network ever ends.
    pub(crate) fn set_hangs(&self) {
        self.inner.lock().hangs = true;
    }

    /// Peers reach each other by relays only.
    pub(crate) fn set_apart(&self) {
        self.inner.lock().apart = true;
    }

    pub(crate) fn set_randomized(&self) {
        self.inner.lock().randomized = true;
    }

    /// All machines have other addresses from now on.
    pub(crate) fn change_network(&self) {
        self.inner.lock().changes.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn suspended(&self) -> usize {
        self.inner.lock().suspended
    }

    /// The relays that each attempt was given.
    pub(crate) fn relays(&self) -> Vec<Vec<Key>> {
        self.inner.lock().relays.clone()
    }

    pub(crate) fn make_up(&self, keys: Vec<Key>) {
        self.inner.lock().made_up = keys;
    }

    pub(crate) fn queries(&self) -> Vec<QueryKind> {
        self.inner.lock().queries.clone()
    }

    /// The same client that opens a connection by hand.
    pub(crate) async fn dial(&self, from: u8, to: Key) -> Result<FakeConnection, NetworkError> {
        self.connect(to, Vec::new(), Vec::new(), key_pair(from)).await
    }

    /// How many milliseconds each step takes from now on.
    pub(crate) fn set_latency(&self, latency: std::ops::Range<u64>) {
        self.inner.lock().latency = latency;
    }

    async fn delay(&self) -> Result<(), NetworkError> {
        let (delay, hangs) = {
            let mut inner = self.inner.lock();
            let range = inner.latency.clone();
            (inner.rng.random_range(range), inner.hangs)
        };
        sleep(Duration::from_millis(delay)).await;
        if hangs {
            std::future::pending::<()>().await;
        }
        if self.inner.lock().down { Err("down".into()) } else { Ok(()) }
    }

    fn withdraw(&self, topic: &[u8; 32], key: &Key) {
        if let Some(peers) = self.inner.lock().topics.get_mut(topic) {
            peers.remove(key);
        }
    }
}

/// A key pair whose public key sorts as `id` does: the first of many seeds that gives such a key.
pub(crate) fn key_pair(id: u8) -> KeyPair {
    let mut seed = [id; 32];
    for attempt in 0u32.. {
        seed[..4].copy_from_slice(&attempt.to_le_bytes());
        let keys = KeyPair::from_seed(&seed);
        if keys.public_key[0] == id {
            return keys;
        }
    }
    unreachable!("some seed fits")
}

/// One side of a connection. Dropped, it ends both.
pub(crate) struct FakeConnection {
    side: Side,
}

#[derive(Clone)]
struct Side {
    remote: Key,
    initiator: bool,
    pipe: Arc<Pipe>,
}

struct Pipe {
    used: AtomicBool,
    keep_alives: AtomicUsize,
    closed: watch::Sender<bool>,
}

impl FakeConnection {
    pub(crate) fn remote(&self) -> Key {
        self.side.remote
    }

    pub(crate) fn is_initiator(&self) -> bool {
        self.side.initiator
    }

    /// Messages go both ways.
    pub(crate) fn exchange(&self) {
        self.side.pipe.used.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_used(&self) -> bool {
        self.side.pipe.used.load(Ordering::Relaxed)
    }

    pub(crate) fn keep_alives(&self) -> usize {
        self.side.pipe.keep_alives.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.side.pipe.closed.borrow()
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.side.destroy();
    }
}

#[derive(Clone)]
pub(crate) struct FakeLink(Side);

impl Side {
    fn destroy(&self) {
        self.pipe.closed.send_replace(true);
    }

    fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closed = self.pipe.closed.subscribe();
        async move {
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }
}

impl Link for FakeLink {
    fn remote_public_key(&self) -> Key {
        self.0.remote
    }

    fn is_initiator(&self) -> bool {
        self.0.initiator
    }

    fn is_used(&self) -> bool {
        self.0.pipe.used.load(Ordering::Relaxed)
    }

    fn send_keep_alive(&self) {
        self.0.pipe.keep_alives.fetch_add(1, Ordering::Relaxed);
    }

    fn destroy(&self) {
        self.0.destroy();
    }

    fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.closed()
    }
}

pub(crate) struct FakeServer {
    world: World,
    key: Key,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<FakeConnection>>,
}

impl Server for FakeServer {
    type Connection = FakeConnection;

    async fn accept(&self) -> Option<FakeConnection> {
        self.incoming.lock().await.recv().await
    }

    fn relay_addresses(&self) -> Vec<std::net::SocketAddrV4> {
        vec!["127.0.0.1:1".parse().unwrap()]
    }

    async fn close(&self) {
        if self.world.delay().await.is_ok() {
            self.world.inner.lock().servers.remove(&self.key);
        }
    }
}

struct Counted<'a>(&'a World);

impl<'a> Counted<'a> {
    fn new(world: &'a World) -> Self {
        world.attempts.fetch_add(1, Ordering::Relaxed);
        let now = world.connecting.fetch_add(1, Ordering::Relaxed) + 1;
        world.max_connecting.fetch_max(now, Ordering::Relaxed);
        Self(world)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connecting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Network for World {
    type Connection = FakeConnection;
    type Link = FakeLink;
    type Server = FakeServer;
    type Node = u8;

    fn network_changes(&self) -> watch::Receiver<u64> {
        self.inner.lock().changes.subscribe()
    }

    fn link(connection: &FakeConnection) -> FakeLink {
        FakeLink(connection.side.clone())
    }

    async fn connect(
        &self,
        remote: Key,
        _: Vec<std::net::SocketAddrV4>,
        relays: Vec<Key>,
        keys: KeyPair,
    ) -> Result<FakeConnection, NetworkError> {
        let _counted = Counted::new(self);
        self.inner.lock().relays.push(relays.clone());
        self.delay().await?;
        let server = self.inner.lock().servers.get(&remote).cloned();
        let Some((server, refuse, theirs)) = server else { return Err("no such peer".into()) };
        if self.inner.lock().apart && relays.is_empty() && theirs().is_empty() {
            return Err(APART.into());
        }
        if refuse(&keys.public_key, &NoisePayload::new(0, 0)) {
            sleep(CONNECT_TIMEOUT).await;
            return Err("refused".into());
        }
        let pipe = Arc::new(Pipe {
            used: AtomicBool::new(false),
            keep_alives: AtomicUsize::new(0),
            closed: watch::channel(false).0,
        });
        let ours = FakeConnection { side: Side { remote, initiator: true, pipe: pipe.clone() } };
        let theirs = FakeConnection { side: Side { remote: keys.public_key, initiator: false, pipe } };
        self.delay().await?;
        server.send(theirs).map_err(|_| "closed")?;
        self.delay().await?;
        if ours.is_closed() { Err("closed".into()) } else { Ok(ours) }
    }

    fn needs_relay(error: &NetworkError) -> bool {
        error.to_string() == APART
    }

    async fn suspend(&self) {
        self.inner.lock().suspended += 1;
    }

    async fn resume(&self) {
        self.inner.lock().suspended -= 1;
    }

    fn randomized(&self) -> bool {
        self.inner.lock().randomized
    }

    async fn listen(&self, keys: KeyPair, refuse: RefusePeer, relays: RelayKeys) -> Result<FakeServer, NetworkError> {
        self.delay().await?;
        let (server, incoming) = mpsc::unbounded_channel();
        self.inner.lock().servers.insert(keys.public_key, (server, refuse, relays));
        Ok(FakeServer { world: self.clone(), key: keys.public_key, incoming: tokio::sync::Mutex::new(incoming) })
    }

    async fn query(&self, query: TopicQuery<u8>, found: mpsc::Sender<FoundPeer>) -> Result<Vec<u8>, NetworkError> {
        self.inner.lock().queries.push(query.kind);
        self.delay().await?;
        let peers: Vec<_> = {
            let inner = self.inner.lock();
            let made_up = inner.made_up.iter().copied();
            inner.topics.get(&query.topic).into_iter().flatten().copied().chain(made_up).collect()
        };
        for public_key in peers {
            let _ = found.send(FoundPeer { public_key, relay_addresses: Vec::new() }).await;
        }
        self.delay().await?;
        match query.kind {
            QueryKind::Lookup => {}
            QueryKind::LookupAndUnannounce => self.withdraw(&query.topic, &query.key_pair.public_key),
            QueryKind::Announce { .. } => {
                assert!(!query.relay_addresses.is_empty(), "announced before the server listened");
                self.inner.lock().topics.entry(query.topic).or_default().insert(query.key_pair.public_key);
            }
        }
        Ok(vec![1, 2, 3])
    }

    async fn unannounce(&self, topic: [u8; 32], keys: KeyPair, nodes: Vec<u8>) -> Result<(), NetworkError> {
        assert!(!nodes.is_empty());
        self.delay().await?;
        self.withdraw(&topic, &keys.public_key);
        Ok(())
    }

    async fn destroy(&self) {}
}

type Seen = Arc<Mutex<Vec<(Arc<FakeConnection>, PeerInfo)>>>;

/// Takes the connections of a swarm as they come, and keeps them until they close.
pub(crate) struct App {
    pub(crate) swarm: FakeSwarm,
    seen: Seen,
}

impl App {
    /// `on_connection` may destroy the connection by taking it.
    pub(crate) fn new(
        swarm: &FakeSwarm,
        mut on_connection: impl FnMut(FakeConnection, &PeerInfo) -> Option<FakeConnection> + Send + 'static,
    ) -> Self {
        let seen = Seen::default();
        let (source, sink) = (swarm.clone(), seen.clone());
        tokio::spawn(async move {
            while let Some((connection, peer)) = source.next_connection().await {
                if let Some(connection) = on_connection(connection, &peer) {
                    sink.lock().push((Arc::new(connection), peer));
                }
            }
        });
        Self { swarm: swarm.clone(), seen }
    }

    /// Keeps every connection and uses it at once.
    pub(crate) fn using(swarm: &FakeSwarm) -> Self {
        Self::new(swarm, |connection, _| {
            connection.exchange();
            Some(connection)
        })
    }

    /// Keeps every connection and does not use it.
    pub(crate) fn idle(swarm: &FakeSwarm) -> Self {
        Self::new(swarm, |connection, _| Some(connection))
    }

    /// How many connections came in all.
    pub(crate) fn total(&self) -> usize {
        self.seen.lock().len()
    }

    /// The connections that are open.
    pub(crate) fn open(&self) -> Vec<Arc<FakeConnection>> {
        let seen = self.seen.lock();
        seen.iter()
            .filter(|(connection, _)| !connection.is_closed())
            .map(|(connection, _)| connection.clone())
            .collect()
    }

    pub(crate) fn peers(&self) -> Vec<PeerInfo> {
        self.seen.lock().iter().map(|(_, peer)| peer.clone()).collect()
    }

    /// Closes the connection to one peer.
    pub(crate) fn close(&self, remote: &Key) {
        self.open()
            .iter()
            .filter(|connection| connection.remote() == *remote)
            .for_each(|connection| connection.side.destroy());
    }

    /// Closes all connections.
    pub(crate) fn close_all(&self) {
        self.seen.lock().iter().for_each(|(connection, _)| connection.side.destroy());
    }
}
