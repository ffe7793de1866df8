//! The thin part that has sockets, a clock and tasks: it moves datagrams between the sockets and the [`Core`].

use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use udx::{Udx, UdxSocket};

use crate::bootstrap::BootstrapNode;
use crate::core::{Core, Event, Incoming, Output, QueryEvent, QuerySpec, ReplyParts};
use crate::io::{Outgoing, Owner, SocketId};
use crate::message::code;
use crate::peer::NodeId;
use crate::reply::{Reply, RequestError};
use crate::suspend::Binding;
use crate::token::Token;

/// An application on top of a node.
///
/// Both methods are called from the task that reads a socket, so they must not take long: what does is moved to a task.
pub trait Handler: Send + Sync + 'static {
    /// Serves a request. `false` means that the command is not known, and is answered so.
    fn on_request(&self, request: &IncomingRequest) -> bool;

    /// Takes note of what happened to the node.
    fn on_event(&self, event: Event) {
        let _ = event;
    }
}

/// A request of another node for the application. It may be answered any number of times, or never.
#[derive(Clone)]
pub struct IncomingRequest {
    inner: Arc<Inner>,
    incoming: Incoming,
}

impl std::fmt::Debug for IncomingRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("IncomingRequest").field(&self.incoming).finish()
    }
}

/// What goes along with an answer, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct ReplyOptions {
    /// Gives the receiver a token for its next request.
    pub token: bool,
    /// Names the nodes that we know near the target of the request.
    pub closer_nodes: bool,
    /// Answers somebody else than the sender: the one that the request was forwarded for.
    pub to: Option<SocketAddrV4>,
    /// Answers through another socket than the one the request came to.
    pub socket: Option<SocketId>,
}

impl Default for ReplyOptions {
    fn default() -> Self {
        Self { token: true, closer_nodes: true, to: None, socket: None }
    }
}

impl ReplyOptions {
    /// Neither token nor nodes.
    pub fn bare() -> Self {
        Self { token: false, closer_nodes: false, ..Self::default() }
    }
}

impl IncomingRequest {
    /// Who sent it.
    pub fn from(&self) -> SocketAddrV4 {
        self.incoming.from
    }

    /// The sender's identifier, when it shows the right one.
    pub fn id(&self) -> Option<NodeId> {
        self.incoming.id
    }

    /// Our address, as the sender knows it.
    pub fn to(&self) -> SocketAddrV4 {
        self.incoming.message.to
    }

    /// The token of the request. It is one that we gave to this host, or the request would not have come this far.
    pub fn token(&self) -> Option<Token> {
        self.incoming.message.token
    }

    /// What is asked for.
    pub fn command(&self) -> u64 {
        self.incoming.message.command
    }

    /// What it is about.
    pub fn target(&self) -> Option<NodeId> {
        self.incoming.message.target
    }

    /// Arguments. They share the memory of the datagram: copy what is kept.
    pub fn value(&self) -> Option<&Bytes> {
        self.incoming.message.value.as_ref()
    }

    /// The socket that it came to.
    pub fn socket(&self) -> SocketId {
        self.incoming.socket
    }

    /// Answers.
    pub fn reply(&self, value: Option<Bytes>, options: ReplyOptions) {
        let parts = ReplyParts {
            value,
            error: 0,
            token: options.token,
            closer_nodes: options.closer_nodes,
            to: options.to,
            socket: options.socket,
        };
        self.inner.with(|core, now| core.respond(&self.incoming, parts, now));
    }

    /// Refuses with an error code other than zero, and names closer nodes.
    pub fn error(&self, error: u64) {
        let parts = ReplyParts { error, closer_nodes: true, ..ReplyParts::NONE };
        self.inner.with(|core, now| core.respond(&self.incoming, parts, now));
    }

    /// Forwards the request with another value. It keeps its number, so that the one at the end of the chain can answer the
    /// first sender; no answer comes back here.
    pub fn relay(&self, value: Bytes, to: SocketAddrV4, socket: Option<SocketId>) {
        self.inner.with(|core, _| core.relay(&self.incoming, value, to, socket));
    }
}

/// A datagram too short for a message, which arrived at a socket of [`Dht::attach`](crate::Dht::attach).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The socket that it arrived at.
    pub socket: SocketId,
    /// Who sent it.
    pub from: SocketAddrV4,
}

struct State {
    core: Core,
    /// When the timer task wakes up next.
    armed: Instant,
}

pub(crate) struct Inner {
    state: Mutex<State>,
    pub(crate) udx: Udx,
    pub(crate) bootstrap: Vec<BootstrapNode>,
    pub(crate) bootstrapped: watch::Sender<bool>,
    pub(crate) closed: watch::Sender<bool>,
    /// Only one test of the firewall runs at a time.
    pub(crate) network_state: tokio::sync::Mutex<()>,
    pub(crate) binding: Binding,
    /// The ports of the two sockets before they were closed.
    pub(crate) ports: Mutex<[u16; 2]>,
    unix_time: fn() -> Duration,
    pub(crate) sockets: RwLock<HashMap<SocketId, UdxSocket>>,
    /// The tasks that read attached sockets.
    readers: Mutex<HashMap<SocketId, AbortHandle>>,
    next_socket: Mutex<u32>,
    handler: OnceLock<Weak<dyn Handler>>,
    rearm: Notify,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn new(
        core: Core,
        udx: Udx,
        [server, client]: [UdxSocket; 2],
        bootstrap: Vec<BootstrapNode>,
        binding: Binding,
        unix_time: fn() -> Duration,
    ) -> Self {
        let armed = core.deadline();
        Self {
            state: Mutex::new(State { core, armed }),
            udx,
            bootstrap,
            bootstrapped: watch::Sender::new(false),
            closed: watch::Sender::new(false),
            network_state: tokio::sync::Mutex::new(()),
            binding,
            ports: Mutex::default(),
            unix_time,
            sockets: RwLock::new(HashMap::from([(SocketId::SERVER, server), (SocketId::CLIENT, client)])),
            readers: Mutex::default(),
            next_socket: Mutex::new(SocketId::CLIENT.0),
            handler: OnceLock::new(),
            rearm: Notify::new(),
        }
    }

    /// Starts the tasks that serve the sockets and the clock. They end when the node is destroyed.
    pub(crate) fn start(self: &Arc<Self>, handler: Weak<dyn Handler>) {
        if self.handler.set(handler).is_err() {
            return;
        }
        let sockets: Vec<_> = self.sockets.read().iter().map(|(id, socket)| (*id, socket.clone())).collect();
        sockets.into_iter().for_each(|(id, socket)| self.read(id, socket));
        tokio::spawn(keep_time(self.clone()));
        tokio::spawn(crate::bootstrap::bootstrap(self.clone()));
    }

    /// Serves a socket of the node's own, if the node has started.
    pub(crate) fn read(self: &Arc<Self>, id: SocketId, socket: UdxSocket) {
        if self.handler.get().is_some() {
            tokio::spawn(read_socket(self.clone(), id, socket, None));
        }
    }

    /// Works on the core, then does what it wants done.
    pub(crate) fn with<R>(self: &Arc<Self>, work: impl FnOnce(&mut Core, Instant) -> R) -> R {
        let now = tokio::time::Instant::now().into_std();
        let mut state = self.state.lock();
        let result = work(&mut state.core, now);
        let output = state.core.take_output();
        let early = state.core.deadline() < state.armed;
        drop(state);
        if early {
            self.rearm.notify_one();
        }
        for output in output {
            self.perform(output);
        }
        result
    }

    fn perform(self: &Arc<Self>, output: Output) {
        match output {
            Output::Transmit(transmit) => {
                let socket = self.sockets.read().get(&transmit.socket).cloned();
                let Some(socket) = socket else { return };
                let to = SocketAddr::V4(transmit.to);
                let sent = match transmit.ttl {
                    None => socket.try_send_to(&transmit.data, to),
                    Some(ttl) => socket.try_send_to_ttl(&transmit.data, to, ttl),
                };
                if let Err(error) = sent {
                    tracing::trace!(%to, %error, "datagram not sent");
                }
            }
            Output::Request(incoming) => {
                let request = IncomingRequest { inner: self.clone(), incoming };
                let served = self.handler().is_some_and(|handler| handler.on_request(&request));
                if !served {
                    request.error(code::UNKNOWN_COMMAND);
                }
            }
            Output::Event(event) => {
                tracing::debug!(?event, "node");
                if let Some(handler) = self.handler() {
                    handler.on_event(event);
                }
            }
            Output::Stable => {
                tokio::spawn(crate::bootstrap::become_persistent(self.clone()));
            }
            Output::Refresh => self.refresh(),
            Output::Rejoin => self.rejoin(),
        }
    }

    fn handler(&self) -> Option<Arc<dyn Handler>> {
        self.handler.get()?.upgrade()
    }

    pub(crate) fn socket(&self, id: SocketId) -> Option<UdxSocket> {
        self.sockets.read().get(&id).cloned()
    }

    /// Serves one more socket, until it is detached. Datagrams too short for a message go to `probes`.
    pub(crate) fn attach(self: &Arc<Self>, socket: UdxSocket, probes: mpsc::Sender<Probe>) -> SocketId {
        let id = {
            let mut next = self.next_socket.lock();
            *next = next.wrapping_add(1).max(SocketId::CLIENT.0 + 1);
            SocketId(*next)
        };
        self.sockets.write().insert(id, socket.clone());
        let reader = tokio::spawn(read_socket(self.clone(), id, socket, Some(probes))).abort_handle();
        self.readers.lock().insert(id, reader);
        id
    }

    pub(crate) fn detach(&self, id: SocketId) {
        let Some(reader) = self.readers.lock().remove(&id) else { return };
        reader.abort();
        if let Some(socket) = self.sockets.write().remove(&id) {
            socket.ignore_datagrams();
        }
    }

    /// Makes a request and waits for what becomes of it.
    pub(crate) async fn request(self: &Arc<Self>, request: Outgoing) -> Result<Reply, RequestError> {
        let (sender, receiver) = oneshot::channel();
        self.with(|core, now| core.request(Outgoing { owner: Owner::Caller(sender), ..request }, now));
        receiver.await.unwrap_or(Err(RequestError::Destroyed))
    }

    /// Begins a query.
    pub(crate) fn query(self: &Arc<Self>, spec: QuerySpec) -> (u64, mpsc::UnboundedReceiver<QueryEvent>) {
        // A query ends after a bounded number of nodes, and so does what can be in this channel.
        let (sender, receiver) = mpsc::unbounded_channel();
        let (id, wants_bootstrap) = self.with(|core, now| core.query(spec, sender, now));
        if wants_bootstrap {
            crate::bootstrap::open_query(self, id);
        }
        (id, receiver)
    }

    pub(crate) fn find_node(
        self: &Arc<Self>,
        target: NodeId,
        background: bool,
    ) -> (u64, mpsc::UnboundedReceiver<QueryEvent>) {
        self.query(QuerySpec::find_node(target, background))
    }

    /// Searches around a random node, to keep the table fresh.
    pub(crate) fn refresh(self: &Arc<Self>) {
        let target = self.with(|core, _| core.refresh_target());
        // The table learns from the answers; nobody else wants them.
        drop(self.find_node(target, true));
    }

    /// Searches for ourselves from the bootstrap nodes, to find and to be found by those who know nobody whom we know.
    fn rejoin(self: &Arc<Self>) {
        let target = self.with(|core, _| *core.table.id());
        drop(self.query(QuerySpec { from_bootstrap: true, ..QuerySpec::find_node(target, true) }));
    }

    /// Ends the tasks, the requests and the sockets.
    pub(crate) fn destroy(self: &Arc<Self>) {
        self.with(|core, _| core.destroy());
        self.closed.send_replace(true);
        for socket in std::mem::take(&mut *self.sockets.write()).into_values() {
            socket.close();
        }
    }
}

/// Takes datagrams from a socket, and from those that take its place, until it or the node is closed.
async fn read_socket(inner: Arc<Inner>, id: SocketId, mut socket: UdxSocket, probes: Option<mpsc::Sender<Probe>>) {
    let mut closed = inner.closed.subscribe();
    loop {
        let datagram = tokio::select! {
            biased;
            datagram = socket.recv() => datagram,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        let Some(datagram) = datagram else {
            match inner.bind_anew(id, &socket).await {
                Some(anew) => socket = anew,
                None => return,
            }
            continue;
        };
        let from = match datagram.from {
            SocketAddr::V4(from) => from,
            SocketAddr::V6(from) => match from.ip().to_ipv4_mapped() {
                Some(ip) => SocketAddrV4::new(ip, from.port()),
                None => continue,
            },
        };
        if datagram.data.len() > 1 {
            inner.with(|core, now| core.handle_datagram(id, from, &datagram.data, now));
        } else if let Some(probes) = &probes {
            // Whoever waits for probes needs one, not all.
            let _ = probes.try_send(Probe { socket: id, from });
        }
    }
}

/// Wakes the core when something is due.
async fn keep_time(inner: Arc<Inner>) {
    let mut closed = inner.closed.subscribe();
    loop {
        let deadline = {
            let mut state = inner.state.lock();
            state.armed = state.core.deadline();
            state.armed
        };
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return,
            () = tokio::time::sleep_until(deadline.into()) => inner.with(|core, now| {
                core.set_wall_clock((inner.unix_time)());
                core.handle_timeout(now);
            }),
            () = inner.rearm.notified() => {}
        }
    }
}
