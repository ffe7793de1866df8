//! The handles: a swarm, and a topic that it joined.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crypto::KeyPair;
use hyperdht::{Dht, DhtOptions};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::bans::{Firewall, Gate};
use crate::core::{Core, Limits, Stats};
use crate::discovery::Roles;
use crate::driver::{Command, Done, Driver, Start};
use crate::network::Network;
use crate::relays::RelayThrough;
use crate::retry_timer::{self, default_backoffs};
use crate::shared::{Gauges, Shared, SwarmEvent};
use crate::{PeerInfo, SwarmError};

/// Events that wait for one reader. At the limit the oldest are lost for that reader, and it is told so.
const MAX_EVENTS: usize = 256;

/// How a swarm behaves.
#[derive(Clone)]
pub struct SwarmOptions {
    /// The node of the DHT to use. The swarm leaves it as it was when it is destroyed.
    pub dht: Option<Dht>,
    /// How to start a node of our own, if `dht` is `None`. It ends with the swarm.
    pub dht_options: DhtOptions,
    /// Who we are to other peers. A new key pair if `None`.
    pub key_pair: Option<KeyPair>,
    /// No outgoing attempts while there are this many connections and attempts. Peers asked for by key do not heed it; while there
    /// are such, a half (one), a third (two, three) or a quarter of this counts for the others, as in JavaScript since 4.17.
    pub max_peers: usize,
    /// The most outgoing connections and attempts.
    pub max_client_connections: usize,
    /// The most incoming connections; further ones are refused. (JavaScript has the option and does not heed it.)
    pub max_server_connections: usize,
    /// The most attempts at a time.
    pub max_parallel: usize,
    /// Who must not connect.
    pub firewall: Option<Firewall>,
    /// Blind relays for peers that cannot be reached otherwise.
    pub relay_through: Option<RelayThrough>,
    /// How long closed connections wait for another attempt: short, middle, long, and peers asked for by key that do not answer.
    /// `None`: 1 s, 5 s, 15 s and 10 min, each a little longer at random.
    pub backoffs: Option<[Duration; 4]>,
    /// What is added once at random to each of `backoffs`, at most.
    pub jitter: Duration,
    /// Where the choices of the swarm come from. `None`: from the operating system.
    pub seed: Option<u64>,
}

impl Default for SwarmOptions {
    fn default() -> Self {
        Self {
            dht: None,
            dht_options: DhtOptions::default(),
            key_pair: None,
            max_peers: 64,
            max_client_connections: usize::MAX,
            max_server_connections: 4096,
            max_parallel: 3,
            firewall: None,
            relay_through: None,
            backoffs: None,
            jitter: retry_timer::JITTER,
            seed: None,
        }
    }
}

impl fmt::Debug for SwarmOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwarmOptions")
            .field("key_pair", &self.key_pair)
            .field("max_peers", &self.max_peers)
            .field("firewall", &self.firewall.is_some())
            .finish_non_exhaustive()
    }
}

/// What to join a topic for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinOptions {
    /// Announce us, so that others find us and connect.
    pub server: bool,
    /// Look the others up, and connect to them.
    pub client: bool,
    /// How many peers that are not connected each lookup may bring. The newest value of all sessions of the topic counts.
    pub limit: Option<usize>,
}

impl Default for JoinOptions {
    /// Both, and no limit.
    fn default() -> Self {
        Self { server: true, client: true, limit: None }
    }
}

impl JoinOptions {
    fn roles(self) -> Roles {
        Roles { server: self.server, client: self.client }
    }
}

/// A peer among the peers of its topics. Cheap to clone; when the last clone is dropped the swarm ends, without telling the DHT.
/// [`Swarm::destroy`] ends it in order.
pub struct Swarm<N: Network = Dht> {
    inner: Arc<Inner<N>>,
}

struct Inner<N: Network> {
    network: N,
    key_pair: KeyPair,
    commands: mpsc::UnboundedSender<Command>,
    events: broadcast::Sender<SwarmEvent>,
    shared: Arc<Shared<N::Connection>>,
    next_session: AtomicU64,
}

impl<N: Network> Clone for Swarm<N> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<N: Network> fmt::Debug for Swarm<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swarm")
            .field("key_pair", &self.inner.key_pair)
            .field("connections", &self.inner.shared.figures().gauges.connections)
            .finish_non_exhaustive()
    }
}

impl Swarm {
    /// A swarm on [`SwarmOptions::dht`], which outlives it, or on a node of its own. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the node cannot be started: see [`Dht::new`].
    pub async fn new(mut options: SwarmOptions) -> Result<Self, SwarmError> {
        if let Some(dht) = options.dht.take() {
            return Ok(Self::with_network(dht, options));
        }
        let key_pair = options.key_pair.get_or_insert_with(KeyPair::generate).clone();
        let mut dht_options = std::mem::take(&mut options.dht_options);
        dht_options.key_pair.get_or_insert(key_pair);
        let dht = Dht::new(dht_options).await.map_err(SwarmError::Start)?;
        Ok(Self::start(dht, true, options))
    }

    /// The node of the DHT below the swarm.
    pub fn dht(&self) -> &Dht {
        &self.inner.network
    }
}

impl<N: Network> Swarm<N> {
    /// A swarm on a network of yours, which outlives it. The options `dht` and `dht_options` mean nothing to it. Must be called
    /// within a tokio runtime.
    pub fn with_network(network: N, options: SwarmOptions) -> Self {
        Self::start(network, false, options)
    }

    fn start(network: N, owns_network: bool, options: SwarmOptions) -> Self {
        let key_pair = options.key_pair.unwrap_or_else(KeyPair::generate);
        let mut rng = match options.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_os_rng(),
        };
        let gate = Gate::new(key_pair.public_key, options.firewall);
        let limits = Limits {
            max_peers: options.max_peers,
            max_client_connections: options.max_client_connections,
            max_server_connections: options.max_server_connections,
            max_parallel: options.max_parallel,
        };
        let backoffs = options.backoffs.unwrap_or_else(|| default_backoffs(&mut rng));
        let core_rng = StdRng::from_rng(&mut rng);
        let core = Core::new(key_pair.public_key, gate.clone(), limits, backoffs, options.jitter, core_rng);
        let (commands, receiver) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(MAX_EVENTS);
        let shared = Arc::new(Shared::default());
        let start = Start {
            owns_network,
            key_pair: key_pair.clone(),
            relays: options.relay_through,
            gate,
            core,
            rng,
            shared: shared.clone(),
            events: events.clone(),
            commands: receiver,
        };
        tokio::spawn(Driver::new(network.clone(), start).run());
        let next_session = AtomicU64::new(0);
        Self { inner: Arc::new(Inner { network, key_pair, commands, events, shared, next_session }) }
    }

    /// Who we are.
    pub fn key_pair(&self) -> &KeyPair {
        &self.inner.key_pair
    }

    /// Joins a topic, for as long as the session lives: until it is destroyed, or the topic is left. Dropping the session only
    /// gives the handle up, the topic stays joined.
    pub fn join(&self, topic: [u8; 32], options: JoinOptions) -> Discovery {
        let session = self.inner.next_session.fetch_add(1, Ordering::Relaxed);
        let commands = self.inner.commands.downgrade();
        self.send(Command::Join { topic, session, roles: options.roles(), limit: options.limit });
        Discovery { topic, session, commands }
    }

    /// Leaves a topic: all its sessions end, peers found under it alone are not tried again, and the announcement is withdrawn.
    /// Connections stay.
    pub async fn leave(&self, topic: [u8; 32]) {
        let (done, left) = oneshot::channel();
        self.send(Command::Leave { topic, done });
        let _ = left.await;
    }

    /// Waits until the refreshes that run, and the attempts for the peers known then, are over. False if the swarm was destroyed
    /// first.
    pub async fn flush(&self) -> bool {
        let (done, flushed) = oneshot::channel();
        self.send(Command::Flush { done });
        flushed.await.unwrap_or(false)
    }

    /// Lets peers that know our key connect to us, topics or not. The first topic joined as server does so too.
    ///
    /// # Errors
    /// When the network cannot listen, or the swarm was destroyed.
    pub async fn listen(&self) -> Result<(), SwarmError> {
        let (done, listening) = oneshot::channel();
        self.send(Command::Listen { done });
        listening.await.unwrap_or(Err(SwarmError::Destroyed))
    }

    /// Connects to a peer by its key, and again whenever that connection closes.
    pub fn join_peer(&self, public_key: [u8; 32]) {
        self.send(Command::JoinPeer { key: public_key });
    }

    /// Takes [`Swarm::join_peer`] back. A connection that exists stays.
    pub fn leave_peer(&self, public_key: [u8; 32]) {
        self.send(Command::LeavePeer { key: public_key });
    }

    /// The next connection, whoever opened it, and the peer at its other end. `None` when the swarm is destroyed. Cancel-safe;
    /// of several callers each gets its own connections.
    pub async fn next_connection(&self) -> Option<(N::Connection, PeerInfo)> {
        self.inner.shared.next().await
    }

    /// What else happens, from now on.
    pub fn events(&self) -> broadcast::Receiver<SwarmEvent> {
        self.inner.events.subscribe()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.inner.shared.figures().gauges.connections
    }

    /// How many attempts run.
    pub fn connecting(&self) -> usize {
        self.inner.shared.figures().gauges.connecting
    }

    /// How many peers are known: connected, waiting for an attempt, or asked for by key.
    pub fn known_peers(&self) -> usize {
        self.inner.shared.figures().gauges.known_peers
    }

    /// What it holds now.
    pub fn gauges(&self) -> Gauges {
        self.inner.shared.figures().gauges
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.inner.shared.figures().stats
    }

    /// Rests, for instance because the machine is about to sleep: destroys the connections, cancels the attempts, withdraws the
    /// announcements, and suspends the network below. Topics and peers asked for by key are remembered. Returns when all that is
    /// done.
    pub async fn suspend(&self) {
        let (done, suspended) = oneshot::channel();
        self.send(Command::Suspend { done });
        let _ = suspended.await;
    }

    /// Takes [`Swarm::suspend`] back: announces and looks up the topics again.
    pub async fn resume(&self) {
        let (done, resumed) = oneshot::channel();
        self.send(Command::Resume { done });
        let _ = resumed.await;
    }

    /// Tells that the machine has other addresses now: all connections show whether they still live, the server and all topics are
    /// announced and looked up anew, and peers asked for by key are tried at once.
    pub fn network_changed(&self) {
        self.send(Command::NetworkChanged);
    }

    /// Ends the swarm: cancels the attempts, withdraws the announcements, stops listening, and destroys the connections. Takes
    /// no longer than about 20 seconds, however the network is.
    pub async fn destroy(&self) {
        let (done, destroyed) = oneshot::channel();
        self.send(Command::Destroy { done });
        let _ = destroyed.await;
    }

    /// A command that nobody receives drops its answer, which the caller sees.
    fn send(&self, command: Command) {
        let _ = self.inner.commands.send(command);
    }
}

/// One session of a topic. A topic may have several; what it does is what all of them together want.
#[derive(Clone, Debug)]
pub struct Discovery {
    topic: [u8; 32],
    session: u64,
    commands: mpsc::WeakUnboundedSender<Command>,
}

impl Discovery {
    /// The topic.
    pub fn topic(&self) -> &[u8; 32] {
        &self.topic
    }

    /// Waits until no refresh of the topic runs: it is announced and looked up. False if the last refresh failed; another will
    /// follow by itself.
    ///
    /// # Errors
    /// When the topic was left or the swarm destroyed.
    pub async fn flushed(&self) -> Result<bool, SwarmError> {
        let (topic, session) = (self.topic, self.session);
        self.ask(|done| Command::Flushed { topic, session, done }).await
    }

    /// Announces and looks up the topic now, unless that happens already, and waits for the result as [`Discovery::flushed`].
    ///
    /// # Errors
    /// When the topic was left or the swarm destroyed.
    pub async fn refresh(&self) -> Result<bool, SwarmError> {
        let (topic, session) = (self.topic, self.session);
        self.ask(|done| Command::Refresh { topic, session, done }).await
    }

    /// Changes what the session is for, and refreshes the topic.
    ///
    /// # Errors
    /// When the topic was left or the swarm destroyed.
    pub async fn set_options(&self, options: JoinOptions) -> Result<bool, SwarmError> {
        let (topic, session, roles, limit) = (self.topic, self.session, options.roles(), options.limit);
        self.ask(|done| Command::SetSession { topic, session, roles, limit, done }).await
    }

    /// Ends the session. With the last session of the topic, the topic is left; with the last server session, the announcement is
    /// withdrawn.
    pub async fn destroy(&self) {
        let (topic, session) = (self.topic, self.session);
        // Whatever the answer: the session is over.
        let _ = self.ask(|done| Command::CloseSession { topic, session, done }).await;
    }

    async fn ask(&self, command: impl FnOnce(Done) -> Command) -> Result<bool, SwarmError> {
        let (done, answer) = oneshot::channel();
        let commands = self.commands.upgrade().ok_or(SwarmError::Destroyed)?;
        let _ = commands.send(command(done));
        drop(commands);
        answer.await.unwrap_or(Err(SwarmError::Destroyed))
    }
}
