//! A node without sockets and without a clock: datagrams and the time go in, datagrams, requests for the application and
//! events come out.

#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use encoding::{Decoder, Encoder};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;

use crate::health::{Health, NetworkHealth};
use crate::io::{Io, Outgoing, Owner, Progress, Settled, SocketId, Transmit, validate};
use crate::message::{Message, Request, Response, code, command};
use crate::nat::NatSampler;
use crate::nodes::Nodes;
use crate::peer::{Contact, NodeId, node_id};
use crate::query::{DownHint, QUERY_TRIES, Query};
use crate::reply::{Reply, RequestError};
use crate::table::{K, RoutingTable};

use upkeep::{REFRESH_TICKS, STABLE_TICKS};

/// Length of the tick that paces maintenance.
pub(crate) const TICK: Duration = Duration::from_secs(5);

/// Checks of nodes that others called dead which run at once; further hints are answered and ignored.
const MAX_CHECKS: usize = 10;

/// Hints sent in one tick; further ones are not sent.
const MAX_DOWN_HINTS: u32 = 50;

/// The longest delay that a delayed ping can ask for.
pub const MAX_PING_DELAY: Duration = Duration::from_millis(10_000);

/// Delayed answers that are kept; further delayed pings are not answered.
const MAX_DELAYED_PINGS: usize = 1024;

/// Concurrency of queries.
const CONCURRENCY: usize = 10;

/// Concurrency of a refresh while the node is busy with other requests.
const BACKGROUND_CONCURRENCY: usize = 2;

/// Something that happened to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The node has become persistent: others remember it, and it stores.
    Persistent,
    /// The node has stopped being persistent.
    Ephemeral,
    /// The address that we are seen at has changed.
    NatUpdate,
    /// The machine has slept, or a dead socket was bound again; what was known may be stale.
    Wakeup,
    /// Whether the network answers has changed.
    Health(Health),
}

/// A request for the application, from another node.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) socket: SocketId,
    pub(crate) from: SocketAddrV4,
    pub(crate) id: Option<NodeId>,
    pub(crate) message: Request,
}

/// News of a query.
#[derive(Debug)]
pub(crate) enum QueryEvent {
    Reply(Arc<Reply>),
    Done(Vec<Arc<Reply>>),
}

/// What a query asks every node.
#[derive(Debug)]
pub(crate) struct QuerySpec {
    pub(crate) target: NodeId,
    pub(crate) internal: bool,
    pub(crate) command: u64,
    pub(crate) value: Option<Bytes>,
    pub(crate) tries: u32,
    pub(crate) nodes: Vec<SocketAddrV4>,
    pub(crate) only_given: bool,
    /// Begins with the bootstrap nodes instead of the routing table.
    pub(crate) from_bootstrap: bool,
    pub(crate) background: bool,
}

impl QuerySpec {
    /// A search for the nodes closest to `target`, whose end nobody waits for if it is in the background.
    pub(crate) fn find_node(target: NodeId, background: bool) -> Self {
        Self {
            target,
            internal: true,
            command: command::FIND_NODE,
            value: None,
            tries: QUERY_TRIES,
            nodes: Vec::new(),
            only_given: false,
            from_bootstrap: false,
            background,
        }
    }
}

#[derive(Debug)]
pub(crate) struct ActiveQuery {
    state: Query,
    spec: QuerySpec,
    events: mpsc::UnboundedSender<QueryEvent>,
}

/// What the core wants done.
#[derive(Debug)]
pub(crate) enum Output {
    Transmit(Transmit),
    Request(Incoming),
    Event(Event),
    /// Time to look whether the node can become persistent.
    Stable,
    /// Time to search around a random node.
    Refresh,
    /// Time to search for ourselves as if we knew nobody.
    Rejoin,
}

/// Fixed settings of a node.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Becomes persistent when it has been stable for long enough.
    pub(crate) adaptive: bool,
    /// Becomes persistent at once.
    pub(crate) persistent: bool,
    pub(crate) firewalled: bool,
    /// Tests the firewall while it bootstraps.
    pub(crate) quick_firewall: bool,
    pub(crate) bootstrap_nodes: usize,
    pub(crate) filter: fn(SocketAddrV4) -> bool,
}

pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) io: Io,
    pub(crate) table: RoutingTable,
    pub(crate) nodes: Nodes,
    pub(crate) nat: NatSampler,
    pub(crate) health: NetworkHealth,
    pub(crate) bootstrapped: bool,
    pub(crate) destroyed: bool,
    /// The host that the last attempt to become persistent looked at.
    pub(crate) checked_host: Option<Ipv4Addr>,
    /// While the firewall is tested: hosts whose packets arrived at the server socket, of those that were asked.
    pub(crate) firewall_test: Option<HashMap<Ipv4Addr, bool>>,
    rng: StdRng,
    tick: u64,
    next_tick: Instant,
    /// The time since 1970 now, and at the last tick.
    wall: Duration,
    tick_wall: Duration,
    pub(crate) suspended: bool,
    refresh_ticks: u64,
    stable_ticks: u64,
    checks: usize,
    swaps: usize,
    down_hints: u32,
    /// Nodes without identifier whose view of us was counted.
    pub(crate) nameless_samples: HashSet<SocketAddrV4>,
    pub(crate) delayed: BTreeMap<(Instant, u64), Incoming>,
    pub(crate) queries: HashMap<u64, ActiveQuery>,
    next_id: u64,
    out: Vec<Output>,
    transmits: Vec<Transmit>,
}

impl Core {
    pub(crate) fn new(settings: Settings, mut rng: StdRng, now: Instant) -> Self {
        let id = rng.random();
        let io = Io::new(id, settings.firewalled, now, &mut rng);
        Self {
            io,
            table: RoutingTable::new(id),
            nodes: Nodes::default(),
            nat: NatSampler::new(),
            health: NetworkHealth::default(),
            bootstrapped: false,
            destroyed: false,
            checked_host: None,
            firewall_test: None,
            // The networks of nodes that start together must not tick together.
            tick: 50 + rng.random_range(0..50),
            next_tick: now + TICK,
            wall: Duration::ZERO,
            tick_wall: Duration::ZERO,
            suspended: false,
            refresh_ticks: REFRESH_TICKS - rng.random_range(0..REFRESH_TICKS / 2),
            stable_ticks: if settings.adaptive { STABLE_TICKS } else { 0 },
            checks: 0,
            swaps: 0,
            down_hints: 0,
            nameless_samples: HashSet::new(),
            delayed: BTreeMap::new(),
            queries: HashMap::new(),
            next_id: 0,
            out: Vec::new(),
            transmits: Vec::new(),
            rng: StdRng::from_rng(&mut rng),
            settings,
        }
    }

    /// What has to be done now, in order.
    pub(crate) fn take_output(&mut self) -> Vec<Output> {
        self.out.extend(self.transmits.drain(..).map(Output::Transmit));
        std::mem::take(&mut self.out)
    }

    /// When [`Core::handle_timeout`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        let delayed = self.delayed.keys().next().map(|(at, _)| *at);
        self.io.deadline().into_iter().chain(delayed).fold(self.next_tick, Instant::min)
    }

    // ---- what comes in

    /// Takes a datagram that arrived at `socket`.
    pub(crate) fn handle_datagram(&mut self, socket: SocketId, from: SocketAddrV4, datagram: &Bytes, now: Instant) {
        if self.destroyed || self.suspended || from.port() == 0 {
            return;
        }
        if socket == SocketId::SERVER
            && let Some(arrived) = self.firewall_test.as_mut().and_then(|test| test.get_mut(from.ip()))
        {
            *arrived = true;
        }
        match Message::decode(datagram) {
            Some(Message::Request(message)) => self.handle_request(socket, from, message, now),
            Some(Message::Response(message)) => {
                let to = message.to;
                let Some(settled) = self.io.respond(from, message, now, &mut self.transmits) else { return };
                let id = settled.reply.as_ref().and_then(|reply| reply.id);
                self.learn(socket == self.io.socket(), from, id, to, now);
                self.settle(settled, now);
            }
            None => {}
        }
    }

    fn handle_request(&mut self, socket: SocketId, from: SocketAddrV4, message: Request, now: Instant) {
        let id = validate(message.id, from);
        let incoming = Incoming { socket, from, id, message };
        if let Some(token) = &incoming.message.token
            && !self.io.tokens.accepts(*from.ip(), token, now)
        {
            self.respond(&incoming, ReplyParts { error: code::INVALID_TOKEN, ..ReplyParts::ALL }, now);
            return;
        }
        if id.is_some() {
            self.learn(socket == self.io.socket(), from, id, incoming.message.to, now);
        }
        if incoming.message.internal {
            self.handle_internal(incoming, now);
        } else {
            self.out.push(Output::Request(incoming));
        }
    }

    fn handle_internal(&mut self, mut incoming: Incoming, now: Instant) {
        let value = incoming.message.value.clone().unwrap_or_default();
        let mut d = Decoder::new(&value);
        match incoming.message.command {
            command::PING => self.respond(&incoming, ReplyParts::NONE, now),
            command::PING_NAT => {
                if let Ok(port) = d.u16()
                    && port != 0
                {
                    incoming.from.set_port(port);
                    self.respond(&incoming, ReplyParts::NONE, now);
                }
            }
            command::FIND_NODE if incoming.message.target.is_some() => {
                self.respond(&incoming, ReplyParts { closer_nodes: true, ..ReplyParts::NONE }, now);
            }
            command::FIND_NODE => {}
            command::DOWN_HINT => {
                if let Ok(addr) = d.ipv4() {
                    self.handle_down_hint(addr, now);
                    self.respond(&incoming, ReplyParts::NONE, now);
                }
            }
            command::DELAYED_PING => {
                if let Ok(delay) = d.u32().map(|ms| Duration::from_millis(ms.into()))
                    && delay <= MAX_PING_DELAY
                    && self.delayed.len() < MAX_DELAYED_PINGS
                {
                    self.next_id += 1;
                    self.delayed.insert((now + delay, self.next_id), incoming);
                }
            }
            _ => self.respond(
                &incoming,
                ReplyParts { error: code::UNKNOWN_COMMAND, closer_nodes: true, ..ReplyParts::NONE },
                now,
            ),
        }
    }

    fn handle_down_hint(&mut self, addr: SocketAddrV4, now: Instant) {
        if self.checks >= MAX_CHECKS {
            return;
        }
        let tick = self.tick;
        if let Some(node) = self.nodes.get_mut(&node_id(addr))
            && (node.pinged < tick || node.down_hints == 0)
        {
            node.down_hints += 1;
            let contact = node.contact;
            self.check(contact, now);
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.destroyed {
            return;
        }
        for progress in self.io.timeout(now, &mut self.transmits) {
            match progress {
                Progress::TimedOut(settled) => self.settle(*settled, now),
                Progress::Slow(query) => {
                    if let Some(active) = self.queries.get_mut(&query) {
                        active.state.slow();
                        self.pump(query, now);
                    }
                }
            }
        }
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let incoming = entry.remove();
            self.respond(&incoming, ReplyParts::NONE, now);
        }
        if self.next_tick <= now {
            self.handle_tick(now);
        }
    }

    /// Tells whoever made a request what became of it.
    fn settle(&mut self, settled: Settled, now: Instant) {
        let Settled { owner, to, to_id, slow, reply } = settled;
        if reply.is_none()
            && let Some(id) = to_id
        {
            self.remove_node(&id);
        }
        let answered = reply.is_some();
        match owner {
            Owner::Nobody => {}
            Owner::Caller(sender) => {
                // The caller may have stopped listening.
                let _ = sender.send(reply.ok_or(RequestError::Timeout));
            }
            Owner::Query(query) => self.query_progress(query, to, slow, reply, now),
            Owner::Check(id, seen) => {
                self.checks -= 1;
                if !answered || self.nodes.get(&id).is_some_and(|node| node.seen <= seen) {
                    self.remove_node(&id);
                }
            }
            Owner::Swap(id, seen, replacement) => {
                self.swaps -= 1;
                if !answered || self.nodes.get(&id).is_none_or(|node| node.seen <= seen) {
                    self.remove_node(&id);
                    self.add_node(replacement, None, now);
                }
            }
        }
    }

    // ---- answers

    /// Sends an answer to `incoming`.
    pub(crate) fn respond(&mut self, incoming: &Incoming, parts: ReplyParts, now: Instant) {
        let socket = parts.socket.unwrap_or(incoming.socket);
        let to = parts.to.unwrap_or(incoming.from);
        let closer_nodes = match incoming.message.target {
            Some(target) if parts.closer_nodes => {
                self.table.closest(&target, K).into_iter().map(|contact| contact.addr).collect()
            }
            _ => Vec::new(),
        };
        let response = Response {
            id: self.io.shown_id(socket),
            token: parts.token.then(|| self.io.tokens.issue(*to.ip(), now)),
            closer_nodes,
            error: parts.error,
            value: parts.value,
            ..Response::new(incoming.message.tid, to)
        };
        self.transmit(socket, to, response.encode());
    }

    /// Passes a request on with its number, so that whoever answers it answers the one who asked.
    pub(crate) fn relay(&mut self, incoming: &Incoming, value: Bytes, to: SocketAddrV4, socket: Option<SocketId>) {
        let socket = socket.unwrap_or(incoming.socket);
        let message = &incoming.message;
        let request = Request {
            id: self.io.shown_id(socket),
            target: message.target,
            value: Some(value),
            ..Request::new(message.tid, to, message.internal, message.command)
        };
        self.transmit(socket, to, request.encode());
    }

    fn transmit(&mut self, socket: SocketId, to: SocketAddrV4, data: Vec<u8>) {
        self.transmits.push(Transmit { socket, to, ttl: None, data: data.into() });
    }

    // ---- requests

    /// Makes a request.
    pub(crate) fn request(&mut self, request: Outgoing, now: Instant) {
        if self.destroyed {
            if let Owner::Caller(sender) = request.owner {
                // The caller may have stopped listening.
                let _ = sender.send(Err(RequestError::Destroyed));
            }
            return;
        }
        if self.suspended {
            if let Owner::Caller(sender) = request.owner {
                // The caller may have stopped listening.
                let _ = sender.send(Err(RequestError::Suspended));
            }
            return;
        }
        // The owner has been told of a refusal.
        let _ = self.io.request(request, now, &mut self.transmits);
    }

    /// Begins a query; returns its number and whether it wants the bootstrap nodes, which end its opening.
    pub(crate) fn query(
        &mut self,
        spec: QuerySpec,
        events: mpsc::UnboundedSender<QueryEvent>,
        now: Instant,
    ) -> (u64, bool) {
        self.next_id += 1;
        let id = self.next_id;
        if self.destroyed || self.suspended {
            return (id, false);
        }
        self.refresh_ticks = REFRESH_TICKS;
        let given: Vec<Contact> = spec.nodes.iter().map(|addr| Contact::new(*addr)).collect();
        let mut state = Query::new(spec.target, CONCURRENCY, &given, spec.only_given);
        if state.wanted() > 0 && !spec.from_bootstrap {
            let known = self.table.closest(&spec.target, state.wanted());
            state.add_known(known);
        }
        let wants_bootstrap = state.wanted() > 0 && !spec.only_given;
        state.opening = wants_bootstrap;
        self.queries.insert(id, ActiveQuery { state, spec, events });
        self.pump(id, now);
        (id, wants_bootstrap)
    }

    /// Gives bootstrap nodes to a query.
    pub(crate) fn open_query(&mut self, id: u64, nodes: &[SocketAddrV4], done: bool, now: Instant) {
        if let Some(active) = self.queries.get_mut(&id) {
            active.state.add_known(nodes.iter().map(|addr| Contact::new(*addr)));
            active.state.opening = !done;
            self.pump(id, now);
        }
    }

    pub(crate) fn cancel_query(&mut self, id: u64, now: Instant) {
        if self.queries.remove(&id).is_some() {
            self.io.forget_query(id, now, &mut self.transmits);
        }
    }

    /// Asks the next nodes of a query, or ends it.
    fn pump(&mut self, id: u64, now: Instant) {
        let Some(active) = self.queries.get_mut(&id) else { return };
        loop {
            if active.spec.background {
                let busy = self.io.len() >= 3;
                active.state.set_concurrency(if busy { BACKGROUND_CONCURRENCY } else { CONCURRENCY });
            }
            while let Some(contact) = active.state.next() {
                let request = Outgoing {
                    to_id: Some(contact.id),
                    internal: active.spec.internal,
                    target: Some(*active.state.target()),
                    value: active.spec.value.clone(),
                    tries: active.spec.tries,
                    ..Outgoing::internal(contact.addr, active.spec.command, Owner::Query(id))
                };
                if self.io.request(request, now, &mut self.transmits).is_err() {
                    active.state.failed(contact.addr, false, false);
                }
            }
            if !active.state.is_finished() {
                return;
            }
            if !active.state.needs_table() {
                break;
            }
            let known = self.table.closest(active.state.target(), active.state.wanted());
            active.state.add_known(known);
        }
        if let Some(active) = self.queries.remove(&id) {
            // Nobody listens to a background query.
            let _ = active.events.send(QueryEvent::Done(active.state.closest_replies()));
            self.io.forget_query(id, now, &mut self.transmits);
        }
    }

    fn query_progress(&mut self, id: u64, to: SocketAddrV4, slow: bool, reply: Option<Reply>, now: Instant) {
        let Some(active) = self.queries.get_mut(&id) else { return };
        let hints = match reply {
            None => active.state.failed(to, slow, true),
            Some(reply) => {
                let reply = Arc::new(reply);
                let (own, filter) = (self.table.id(), self.settings.filter);
                let hints = active.state.answered(to, slow, &reply, |c| filter(c.addr) && c.id != *own);
                if reply.error == 0 {
                    // Nobody listens to a background query.
                    let _ = active.events.send(QueryEvent::Reply(reply));
                }
                hints
            }
        };
        for hint in hints {
            self.send_down_hint(hint, now);
        }
        self.pump(id, now);
    }

    fn send_down_hint(&mut self, hint: DownHint, now: Instant) {
        if self.down_hints >= MAX_DOWN_HINTS {
            return;
        }
        self.down_hints += 1;
        let mut e = Encoder::with_capacity(6);
        e.ipv4(hint.down);
        let value = Some(e.finish().into());
        let request = Outgoing { value, ..Outgoing::internal(hint.referrer, command::DOWN_HINT, Owner::Nobody) };
        // A hint that finds no room is no loss.
        let _ = self.io.request(request, now, &mut self.transmits);
    }

    /// Ends everything.
    pub(crate) fn destroy(&mut self) {
        self.destroyed = true;
        self.io.clear(RequestError::Destroyed);
        self.queries.clear();
        self.delayed.clear();
    }
}

/// What an answer is made of.
#[derive(Clone, Debug)]
pub(crate) struct ReplyParts {
    pub(crate) value: Option<Bytes>,
    pub(crate) error: u64,
    pub(crate) token: bool,
    pub(crate) closer_nodes: bool,
    pub(crate) to: Option<SocketAddrV4>,
    pub(crate) socket: Option<SocketId>,
}

impl ReplyParts {
    pub(crate) const NONE: Self =
        Self { value: None, error: 0, token: false, closer_nodes: false, to: None, socket: None };
    pub(crate) const ALL: Self =
        Self { value: None, error: 0, token: true, closer_nodes: true, to: None, socket: None };
}
