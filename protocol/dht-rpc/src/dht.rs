//! The handle of a node.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use encoding::Encoder;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tokio::sync::mpsc;
use udx::{Udx, UdxSocket};

use crate::bootstrap::BootstrapNode;
use crate::core::{Core, MAX_PING_DELAY, QueryEvent, QuerySpec, Settings};
use crate::driver::{Handler, Inner, Probe};
use crate::gauges::Gauges;
use crate::health::Health;
use crate::io::{Outgoing, Owner, SocketId, Stats, TIMEOUT, TRIES};
use crate::message::command;
use crate::nat::NatSampler;
use crate::peer::{Contact, NodeId};
use crate::query::QUERY_TRIES;
use crate::reply::{Reply, RequestError};
use crate::suspend::Binding;
use crate::token::Token;

/// How many ports after the wanted one are tried.
const PORT_RANGE: u16 = 5;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes to begin with. A node without any is alone until others write to it.
    pub bootstrap: Vec<BootstrapNode>,
    /// Other nodes that are known already.
    pub nodes: Vec<SocketAddrV4>,
    /// The address to bind. With an IPv6 one, `::` for all of both kinds, streams reach IPv6 peers too; the nodes of the network
    /// know each other by IPv4 addresses only.
    pub host: IpAddr,
    /// The port of the server socket; if it is taken, the four after it are tried. Zero takes any.
    pub port: u16,
    /// Takes any port rather than failing when those are taken.
    pub any_port: bool,
    /// `Some(false)` makes the node persistent at once, `Some(true)` never, `None` when it was stable for long enough.
    pub ephemeral: Option<bool>,
    /// Whether a firewall is to be expected until a test shows that there is none.
    pub firewalled: bool,
    /// Tests the firewall while it bootstraps, if the first node that answers can reach us.
    pub quick_firewall: bool,
    /// The host that others reach us at, where that is known. A node that is the first of its network must know it: there is
    /// nobody who could tell.
    pub public_host: Option<Ipv4Addr>,
    /// Nodes that are neither remembered nor asked.
    pub filter: fn(SocketAddrV4) -> bool,
    /// Makes the node's choices repeatable, for simulations.
    pub seed: Option<u64>,
    /// The time since 1970. Only that tells that the machine slept: its other clock sleeps too.
    pub unix_time: fn() -> Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            nodes: Vec::new(),
            host: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            any_port: true,
            ephemeral: None,
            firewalled: true,
            quick_firewall: true,
            public_host: None,
            filter: |_| true,
            seed: None,
            unix_time: || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }
}

/// A request to one node.
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    /// A token that the node gave, where the command needs one.
    pub token: Option<Token>,
    /// What it is about.
    pub target: Option<NodeId>,
    /// Arguments.
    pub value: Option<Bytes>,
    /// The socket to use; usually the one for requests.
    pub socket: Option<SocketId>,
    /// How often it is sent; [`TRIES`] times if not said.
    pub tries: Option<u32>,
}

/// A question to all nodes on the way to a target.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Arguments.
    pub value: Option<Bytes>,
    /// Begins with these nodes, those that an earlier query for the same target found, instead of those of the table.
    pub nodes: Vec<SocketAddrV4>,
    /// Asks no others than these nodes.
    pub only_given: bool,
    /// How often it writes to a node that does not answer; [`QUERY_TRIES`] times if not said.
    pub tries: Option<u32>,
}

/// A node of the network. Clones are handles of the same node; it is destroyed with the last of them.
#[derive(Clone, Debug)]
pub struct Dht {
    inner: Arc<Inner>,
    _guard: Arc<Guard>,
}

/// Destroys the node with the last handle; its tasks keep only `inner`.
#[derive(Debug)]
struct Guard(Arc<Inner>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.destroy();
    }
}

impl Dht {
    /// Binds the sockets of a node. It is silent until [`Dht::start`].
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn new(udx: Udx, options: Options) -> io::Result<Self> {
        let server = bind_server(&udx, options.host, options.port, options.any_port)?;
        let client = udx.bind(SocketAddr::new(options.host, 0))?;

        let mut rng = match options.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_os_rng(),
        };
        let now = tokio::time::Instant::now().into_std();
        let settings = Settings {
            adaptive: options.ephemeral.is_none(),
            persistent: options.ephemeral == Some(false),
            firewalled: options.firewalled,
            quick_firewall: options.quick_firewall,
            bootstrap_nodes: options.bootstrap.len(),
            filter: options.filter,
        };
        let core_rng = StdRng::seed_from_u64(rng.next_u64());
        let mut core = Core::new(settings, core_rng, now);
        if let Some(host) = options.public_host {
            core.nat.add(SocketAddrV4::new(host, server.local_addr().port()));
        }
        for addr in options.nodes.iter().rev() {
            core.add_node(Contact::new(*addr), None, now);
        }
        core.set_wall_clock((options.unix_time)());
        let binding = Binding { host: options.host, port: options.port, any_port: options.any_port };
        let inner = Arc::new(Inner::new(core, udx, [server, client], options.bootstrap, binding, options.unix_time));
        Ok(Self { inner: inner.clone(), _guard: Arc::new(Guard(inner)) })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Begins to serve, with `handler` for what is not the node's own, and to bootstrap. Only the first call counts.
    pub fn start(&self, handler: Weak<dyn Handler>) {
        self.inner.start(handler);
    }

    /// Waits until the node has found its neighbourhood, or is destroyed.
    pub async fn bootstrapped(&self) {
        let (mut done, mut closed) = (self.inner.bootstrapped.subscribe(), self.inner.closed.subscribe());
        tokio::select! {
            _ = done.wait_for(|done| *done) => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
    }

    /// The streams that share the sockets of this node.
    pub fn udx(&self) -> &Udx {
        &self.inner.udx
    }

    /// The identifier that others know us by; `None` while we are ephemeral.
    pub fn id(&self) -> Option<NodeId> {
        self.inner.with(|core, _| (!core.io.ephemeral).then_some(core.io.id))
    }

    /// Whether others can probably not write to us first.
    pub fn firewalled(&self) -> bool {
        self.inner.with(|core, _| core.io.firewalled)
    }

    /// How others see the socket that we send from.
    pub fn nat(&self) -> NatSampler {
        self.inner.with(|core, _| core.nat.clone())
    }

    /// Where anybody can reach our server socket, if that is known.
    pub fn remote_address(&self) -> Option<SocketAddrV4> {
        let port = self.socket(SocketId::SERVER)?.local_addr().port();
        self.inner.with(|core, _| core.nat.addr().filter(|_| !core.io.firewalled)).filter(|addr| addr.port() == port)
    }

    /// Whether our NAT seems to give every partner another port: nodes agree on our host, not on our port.
    pub fn randomized(&self) -> bool {
        self.inner.with(|core, _| core.nat.host().is_some() && core.nat.port() == 0)
    }

    /// One of the sockets; `None` after the node was destroyed.
    pub fn socket(&self, id: SocketId) -> Option<UdxSocket> {
        self.inner.socket(id)
    }

    /// The socket that requests leave from now.
    pub fn request_socket(&self) -> SocketId {
        self.inner.with(|core, _| core.io.socket())
    }

    /// Serves one more socket, for requests that must leave from it. Datagrams of at most one byte are told to `probes`, and
    /// dropped when that is full. End it with [`Dht::detach`].
    pub fn attach(&self, socket: UdxSocket, probes: mpsc::Sender<Probe>) -> SocketId {
        self.inner.attach(socket, probes)
    }

    /// Forgets a socket of [`Dht::attach`]: only streams receive from it any more. It closes with the last handle and stream.
    pub fn detach(&self, id: SocketId) {
        self.inner.detach(id);
    }

    /// Whether the network answers.
    pub fn health(&self) -> Health {
        self.inner.with(|core, _| core.health.health())
    }

    /// What became of the requests so far.
    pub fn stats(&self) -> Stats {
        self.inner.with(|core, _| core.io.stats)
    }

    /// What it holds now.
    pub fn gauges(&self) -> Gauges {
        self.inner.with(|core, _| core.gauges())
    }

    /// Up to `limit` nodes of the table, those first that were heard from last.
    pub fn nodes(&self, limit: usize) -> Vec<SocketAddrV4> {
        self.inner.with(|core, _| core.nodes.latest().take(limit).collect())
    }

    /// How many nodes the table holds.
    pub fn table_len(&self) -> usize {
        self.inner.with(|core, _| core.table.len())
    }

    /// Adds a node to the table.
    pub fn add_node(&self, addr: SocketAddrV4) {
        self.inner.with(|core, now| core.add_node(Contact::new(addr), None, now));
    }

    /// Asks whether a node is there.
    ///
    /// # Errors
    /// When it does not answer, or the node is destroyed or overloaded.
    pub async fn ping(&self, to: SocketAddrV4, options: RequestOptions) -> Result<Reply, RequestError> {
        self.inner.request(outgoing(to, true, command::PING, TIMEOUT, options)).await
    }

    /// Asks a node to answer after `delay`, at most [`MAX_PING_DELAY`], which shows how long a mapping of a NAT lives.
    ///
    /// # Errors
    /// When it does not answer, or the node is destroyed or overloaded.
    pub async fn delayed_ping(
        &self,
        to: SocketAddrV4,
        delay: Duration,
        options: RequestOptions,
    ) -> Result<Reply, RequestError> {
        let delay = delay.min(MAX_PING_DELAY);
        let mut value = Encoder::with_capacity(4);
        value.u32(u32::try_from(delay.as_millis()).unwrap_or(u32::MAX));
        let options = RequestOptions { value: Some(value.finish().into()), ..options };
        self.inner.request(outgoing(to, true, command::DELAYED_PING, delay + TIMEOUT, options)).await
    }

    /// Makes a request of the application to one node. A future that is dropped stops the retries.
    ///
    /// # Errors
    /// When the node does not answer, or ours is destroyed or overloaded. An answer with an error code is an answer.
    pub async fn request(
        &self,
        to: SocketAddrV4,
        command: u64,
        options: RequestOptions,
    ) -> Result<Reply, RequestError> {
        self.inner.request(outgoing(to, false, command, TIMEOUT, options)).await
    }

    /// Asks the nodes on the way to `target` for a command of the application.
    pub fn query(&self, target: NodeId, command: u64, options: QueryOptions) -> Query {
        self.begin(target, false, command, options)
    }

    /// Searches the nodes closest to `target`.
    pub fn find_node(&self, target: NodeId, options: QueryOptions) -> Query {
        self.begin(target, true, command::FIND_NODE, options)
    }

    fn begin(&self, target: NodeId, internal: bool, command: u64, options: QueryOptions) -> Query {
        let (id, events) = self.inner.query(QuerySpec {
            target,
            internal,
            command,
            value: options.value,
            tries: options.tries.unwrap_or(QUERY_TRIES),
            nodes: options.nodes,
            only_given: options.only_given,
            from_bootstrap: false,
            background: false,
        });
        Query { inner: self.inner.clone(), id, events, closest: None }
    }

    /// Whether the node has been destroyed.
    pub fn is_destroyed(&self) -> bool {
        *self.inner.closed.borrow()
    }

    /// Waits until the node is destroyed.
    pub async fn closed(&self) {
        // The sender lives as long as the node.
        let _ = self.inner.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Ends every request, closes the sockets and stops the tasks.
    pub fn destroy(&self) {
        self.inner.destroy();
    }
}

/// Binds `port`, or one near it, or any if that is allowed.
pub(crate) fn bind_server(udx: &Udx, host: IpAddr, port: u16, any_port: bool) -> io::Result<UdxSocket> {
    let addr = |port| SocketAddr::new(host, port);
    if port == 0 {
        return udx.bind(addr(0));
    }
    let range = if any_port { PORT_RANGE } else { 1 };
    let mut failure = None;
    for port in port..=port.saturating_add(range - 1) {
        match udx.bind(addr(port)) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if !any_port => Err(error),
        _ => udx.bind(addr(0)),
    }
}

fn outgoing(to: SocketAddrV4, internal: bool, command: u64, timeout: Duration, options: RequestOptions) -> Outgoing {
    Outgoing {
        token: options.token,
        internal,
        target: options.target,
        value: options.value,
        socket: options.socket,
        tries: options.tries.unwrap_or(TRIES),
        timeout,
        ..Outgoing::internal(to, command, Owner::Nobody)
    }
}

/// A query that is under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Query {
    inner: Arc<Inner>,
    id: u64,
    events: mpsc::UnboundedReceiver<QueryEvent>,
    closest: Option<Vec<Arc<Reply>>>,
}

impl Query {
    /// The next answer without error, in the order of arrival; `None` when the query is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Reply>> {
        if self.closest.is_some() {
            return None;
        }
        match self.events.recv().await {
            Some(QueryEvent::Reply(reply)) => Some(reply),
            Some(QueryEvent::Done(closest)) => {
                self.closest = Some(closest);
                None
            }
            None => {
                self.closest = Some(Vec::new());
                None
            }
        }
    }

    /// Waits for the end, and returns the answers of the closest nodes that can be found again, the closest first.
    pub async fn finish(&mut self) -> &[Arc<Reply>] {
        while self.next().await.is_some() {}
        self.closest_replies()
    }

    /// The answers of the closest nodes, at most [`K`](crate::table::K); empty before the query is over.
    pub fn closest_replies(&self) -> &[Arc<Reply>] {
        self.closest.as_deref().unwrap_or_default()
    }

    /// The closest nodes, to begin the next query for this target with.
    pub fn closest_nodes(&self) -> Vec<SocketAddrV4> {
        self.closest_replies().iter().map(|reply| reply.from).collect()
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        if self.closest.is_none() {
            self.inner.with(|core, now| core.cancel_query(self.id, now));
        }
    }
}
