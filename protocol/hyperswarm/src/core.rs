//! The swarm without the network: which peers to try when, which of two connections stays, and who waits for what.
//!
//! Sans-IO. The driver tells what happened ([`Core::discovered`], [`Core::incoming`], [`Core::opened`], [`Core::closed`],
//! [`Core::tick`]) and then does what [`Core::poll_action`] says.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::bans::{Gate, Key, Verdict};
use crate::dedupe::keep_new;
use crate::flush::Flushes;
use crate::peer::{Peer, PeerInfo};
use crate::queue::ShuffledQueue;
use crate::retry_timer::RetryTimer;
use crate::shared::Gauges;

/// The most peers that are known at once, connected ones included. At the limit a newly found peer takes the place of one that
/// waits in the queue with the lowest priority, chosen at random, so that a flood of made-up peers cannot lock others out.
pub const MAX_KNOWN_PEERS: usize = 4096;

/// The most relay addresses that are kept of one peer; honest nodes announce no more than three.
const MAX_RELAY_ADDRESSES: usize = 3;

/// One attempt or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// A connection that comes in soon after ours has opened, before as much time has passed as ours took, has crossed it: the peer began
/// before it knew of ours, and has lost nothing. At most so soon.
///
/// In JavaScript the newcomer wins as soon as something was said over ours. Often that is an attempt which the peer gave up when ours
/// came, so that neither stays, and nobody tries again until the dead one is found out after half a minute.
const MAX_CROSSING: Duration = Duration::from_secs(1);

/// An attempt that has run for so long does not refuse what comes in: the peer has a way to us, and ours may never get through.
///
/// JavaScript refuses whatever a peer with the lesser key opens for as long as its own attempt runs, which may be until that has failed
/// after 13 seconds.
const MAX_RIVALRY: Duration = Duration::from_secs(3);

/// The limits of a swarm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_peers: usize,
    pub(crate) max_client_connections: usize,
    pub(crate) max_server_connections: usize,
    pub(crate) max_parallel: usize,
}

/// What the driver has to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Connect, then call [`Core::opened`] or [`Core::closed`].
    Connect { id: LinkId, key: Key, relay_addresses: Vec<SocketAddrV4>, force_relaying: bool },
    /// Give up this attempt. It is forgotten already.
    Cancel { id: LinkId },
    /// Destroy this connection, then call [`Core::closed`] if it was handed out.
    Destroy { id: LinkId },
    /// Write an empty message: it shows soon whether the other end is still there.
    KeepAlive { id: LinkId },
    /// Hand this connection to the application.
    Emit { id: LinkId, peer: PeerInfo },
    /// Tell that the firewall banned this peer.
    Banned { peer: PeerInfo },
    /// This flush is over. False if the swarm was destroyed first.
    Flushed { flush: u64, done: bool },
    /// Tell that the connections or the attempts changed.
    Update,
}

/// Counters of a swarm since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Attempts of ours.
    pub client_attempted: u64,
    /// Attempts of ours that became a connection.
    pub client_opened: u64,
    /// Attempts and connections of ours that ended.
    pub client_closed: u64,
    /// Connections that others opened.
    pub server_opened: u64,
    /// Connections that others opened, and that ended.
    pub server_closed: u64,
    /// Connections that others opened and that were refused: duplicates, and those beyond the limit.
    pub server_refused: u64,
    /// Peers that the firewall banned.
    pub banned_peers: u64,
}

#[derive(Debug)]
struct Link {
    key: Key,
    outgoing: bool,
    open: bool,
    /// When the attempt began.
    began: Instant,
    /// Until when what comes in may have crossed it.
    crossed_until: Instant,
    /// A duplicate was refused in favour of this attempt.
    keep_alive_when_open: bool,
}

/// The state of a swarm.
#[derive(Debug)]
pub(crate) struct Core {
    local: Key,
    limits: Limits,
    gate: Gate,
    rng: StdRng,
    peers: HashMap<Key, Peer>,
    explicit: BTreeSet<Key>,
    topics: HashSet<[u8; 32]>,
    queue: ShuffledQueue<Key>,
    retries: RetryTimer<Key>,
    links: HashMap<LinkId, Link>,
    /// The one link of each peer, attempts included.
    by_key: HashMap<Key, LinkId>,
    /// Connections that take the place of the peer's link when that has closed. At most one a peer.
    successors: HashMap<Key, LinkId>,
    next_link: u64,
    connecting: usize,
    client_connections: usize,
    server_connections: usize,
    open: usize,
    flushes: Flushes,
    destroyed: bool,
    suspended: bool,
    stats: Stats,
    actions: VecDeque<Action>,
}

impl Core {
    pub(crate) fn new(
        local: Key,
        gate: Gate,
        limits: Limits,
        backoffs: [Duration; 4],
        jitter: Duration,
        mut rng: StdRng,
    ) -> Self {
        let retries = RetryTimer::new(backoffs, jitter, &mut rng);
        Self {
            local,
            limits,
            gate,
            rng,
            peers: HashMap::new(),
            explicit: BTreeSet::new(),
            topics: HashSet::new(),
            queue: ShuffledQueue::default(),
            retries,
            links: HashMap::new(),
            by_key: HashMap::new(),
            successors: HashMap::new(),
            next_link: 0,
            connecting: 0,
            client_connections: 0,
            server_connections: 0,
            open: 0,
            flushes: Flushes::default(),
            destroyed: false,
            suspended: false,
            stats: Stats::default(),
            actions: VecDeque::new(),
        }
    }

    /// What to do next.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Core::tick`] is next due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.destroyed || self.suspended { None } else { self.retries.deadline() }
    }

    /// Whether there is a connection to `key`, or an attempt.
    pub(crate) fn is_connected(&self, key: &Key) -> bool {
        self.by_key.contains_key(key)
    }

    /// What it holds now.
    pub(crate) fn gauges(&self) -> Gauges {
        Gauges {
            connections: self.open,
            connecting: self.connecting,
            known_peers: self.peers.len(),
            queued: self.queue.len(),
            waiting: self.retries.len(),
            topics: self.topics.len(),
        }
    }

    /// The counters.
    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    /// The topic is joined: peers found under it are wanted.
    pub(crate) fn join_topic(&mut self, topic: [u8; 32]) {
        self.topics.insert(topic);
    }

    /// The topic is left: peers found under it alone are not tried again.
    pub(crate) fn leave_topic(&mut self, topic: &[u8; 32]) {
        self.topics.remove(topic);
    }

    /// A lookup of `topic` found a peer.
    pub(crate) fn discovered(&mut self, key: Key, relay_addresses: &[SocketAddrV4], topic: [u8; 32], now: Instant) {
        if self.destroyed || self.suspended || self.gate.is_self(&key) || !self.make_room(&key) {
            return;
        }
        let connected = self.is_connected(&key);
        let peer = self.upsert(key);
        if !relay_addresses.is_empty() {
            peer.relay_addresses = relay_addresses.iter().take(MAX_RELAY_ADDRESSES).copied().collect();
        }
        peer.discovered(topic, connected);
        if !connected && peer.update_priority() {
            self.enqueue(key);
            self.attempt(now);
        }
    }

    /// The application wants a connection to this peer, topics or not.
    pub(crate) fn join_peer(&mut self, key: Key, now: Instant) {
        if self.destroyed || self.gate.is_self(&key) {
            return;
        }
        let (connected, suspended) = (self.is_connected(&key), self.suspended);
        let peer = self.upsert(key);
        peer.explicit = true;
        // Who rests tries them all when it returns.
        let enqueue = !connected && !suspended && peer.update_priority();
        self.explicit.insert(key);
        if enqueue {
            self.enqueue(key);
        }
        self.attempt(now);
    }

    /// The application does not ask for this peer any more. A connection that exists stays.
    pub(crate) fn leave_peer(&mut self, key: &Key) {
        self.explicit.remove(key);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.explicit = false;
            self.forget_if_idle(key);
        }
    }

    /// The firewall banned this peer at an incoming handshake.
    pub(crate) fn banned(&mut self, key: Key) {
        let peer = match self.peers.get(&key) {
            Some(peer) => peer.info.clone(),
            None => PeerInfo::new(key, self.gate.bans.clone()),
        };
        self.stats.banned_peers += 1;
        self.actions.push_back(Action::Banned { peer });
    }

    /// Reserves the name of an incoming connection.
    pub(crate) fn next_id(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }

    /// Another peer opened a connection. `is_used` tells of a connection whether secret-stream data went both ways over it.
    pub(crate) fn incoming(
        &mut self,
        id: LinkId,
        key: Key,
        initiator: bool,
        is_used: impl Fn(LinkId) -> bool,
        now: Instant,
    ) {
        let existing = self.by_key.get(&key).copied();
        // The gate was asked at the handshake; the peer may have been banned since.
        let refused = self.destroyed || self.suspended || self.gate.is_self(&key) || self.gate.bans.contains(&key);
        let full = existing.is_none() && self.server_connections >= self.limits.max_server_connections;
        if refused || full {
            return self.refuse(id);
        }
        let Some(existing) = existing else { return self.accept(id, key, now) };
        let rival = self.successors.get(&key).copied().unwrap_or(existing);
        let rival_link = self.links.get(&rival);
        let crosses = rival_link.is_some_and(|link| now < link.crossed_until);
        let stuck = rival_link.is_some_and(|link| !link.open && now - link.began >= MAX_RIVALRY);
        if !stuck && !keep_new(is_used(rival) && !crosses, &self.local, &key, initiator) {
            self.keep_alive(rival);
            return self.refuse(id);
        }
        if let Some(rival) = self.successors.insert(key, id) {
            self.refuse(rival);
        } else if self.links.get(&existing).is_some_and(|link| link.open) {
            self.actions.push_back(Action::Destroy { id: existing });
        } else {
            self.actions.push_back(Action::Cancel { id: existing });
            self.closed(existing, now);
        }
    }

    /// An attempt became a connection. False if it is not wanted any more: it has to be destroyed.
    pub(crate) fn opened(&mut self, id: LinkId, now: Instant) -> bool {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.open) else { return false };
        link.open = true;
        link.crossed_until = now + (now - link.began).min(MAX_CROSSING);
        let (key, keep_alive) = (link.key, link.keep_alive_when_open);
        self.open += 1;
        self.connecting -= 1;
        self.stats.client_opened += 1;
        let peer = self.upsert(key);
        peer.connected(now);
        let peer = peer.info.clone();
        if keep_alive {
            self.actions.push_back(Action::KeepAlive { id });
        }
        self.actions.push_back(Action::Emit { id, peer });
        self.settle(&key);
        self.attempt(now);
        self.actions.push_back(Action::Update);
        true
    }

    /// The attempt failed for want of a way that a relay would give: the next one asks for it, and comes soon.
    pub(crate) fn force_relaying(&mut self, id: LinkId) {
        let key = self.links.get(&id).map(|link| link.key);
        if let Some(peer) = key.and_then(|key| self.peers.get_mut(&key)) {
            peer.force_relaying = true;
            peer.attempts = 0;
        }
    }

    /// An attempt failed, or a connection closed.
    pub(crate) fn closed(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.remove(&id) else {
            // Perhaps a successor that did not live to succeed.
            return self.successors.retain(|_, successor| *successor != id);
        };
        let key = link.key;
        self.by_key.remove(&key);
        if link.open {
            self.open -= 1;
        } else {
            self.connecting -= 1;
        }
        if link.outgoing {
            self.client_connections -= 1;
            self.stats.client_closed += 1;
            let wanted = !self.destroyed && !self.suspended && self.is_wanted(&key);
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.disconnected(now);
                if wanted {
                    // It may wait already: this connection may have been opened meanwhile.
                    peer.waiting = self.retries.add(key, peer, now);
                }
            }
        } else {
            self.server_connections -= 1;
            self.stats.server_closed += 1;
        }
        if !link.open {
            self.settle(&key);
        }
        if let Some(successor) = self.successors.remove(&key) {
            self.accept(successor, key, now);
        }
        self.forget_if_idle(&key);
        self.attempt(now);
        self.actions.push_back(Action::Update);
    }

    /// Lets the peers whose wait is over try again.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.destroyed || self.suspended {
            return;
        }
        for key in self.retries.tick(now) {
            let (connected, wanted) = (self.is_connected(&key), self.is_wanted(&key));
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            peer.waiting = None;
            if wanted && !connected && peer.update_priority() {
                self.enqueue(key);
            } else {
                self.forget_if_idle(&key);
            }
        }
        self.attempt(now);
    }

    /// Answers with [`Action::Flushed`] when what is queued and attempted now has been connected or has failed.
    pub(crate) fn flush(&mut self, flush: u64) {
        let missing = self.queue.len() + self.connecting;
        if missing == 0 || self.is_settled() {
            self.actions.push_back(Action::Flushed { flush, done: !self.destroyed });
        } else {
            self.flushes.push(flush, missing);
        }
    }

    /// The network changed, or is there again: every connection shall show whether its other end is still there, and peers asked for by
    /// key are tried at once. (JavaScript leaves those that failed meanwhile to wait for ten minutes.)
    pub(crate) fn look_around(&mut self, now: Instant) {
        let ids: Vec<_> = self.links.iter().filter(|(_, link)| link.open).map(|(id, _)| *id).collect();
        self.actions.extend(ids.into_iter().map(|id| Action::KeepAlive { id }));
        if !self.destroyed && !self.suspended {
            self.try_explicit(now);
        }
    }

    /// Ends all attempts and connections, and forgets who waits for another attempt; until [`Core::resume`] there are none.
    pub(crate) fn suspend(&mut self, now: Instant) {
        self.suspended = true;
        self.queue = ShuffledQueue::default();
        self.retries.clear();
        for peer in self.peers.values_mut() {
            (peer.queued, peer.waiting) = (false, None);
        }
        let refused: Vec<_> = self.successors.drain().map(|(_, id)| id).collect();
        refused.into_iter().for_each(|id| self.refuse(id));
        let links: Vec<_> = self.links.iter().map(|(id, link)| (*id, link.open)).collect();
        for (id, open) in links {
            if open {
                self.actions.push_back(Action::Destroy { id });
            } else {
                self.actions.push_back(Action::Cancel { id });
                self.closed(id, now);
            }
        }
        self.peers.retain(|key, peer| self.by_key.contains_key(key) || !peer.is_idle());
        // What a flush waited for will not come.
        let flushes = self.flushes.drain();
        self.actions.extend(flushes.map(|flush| Action::Flushed { flush, done: true }));
    }

    /// Begins again; peers asked for by key are tried at once, however often they failed before. (JavaScript leaves those that failed
    /// five times alone for good: no timer knows of them any more.)
    pub(crate) fn resume(&mut self, now: Instant) {
        self.suspended = false;
        self.try_explicit(now);
    }

    /// Tries the peers asked for by key as if they had not failed before: the reason may have been ours.
    fn try_explicit(&mut self, now: Instant) {
        for key in self.explicit.iter().copied().collect::<Vec<_>>() {
            let connected = self.is_connected(&key);
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            // For an attempt that runs, and that failed before it ends, too.
            peer.attempts = 0;
            if !connected && peer.update_priority() {
                self.enqueue(key);
            }
        }
        self.attempt(now);
    }

    /// No attempts any more, and no incoming connections. Attempts that run are cancelled, connections stay.
    pub(crate) fn destroy(&mut self, now: Instant) {
        self.destroyed = true;
        let attempts: Vec<_> = self.links.iter().filter(|(_, link)| !link.open).map(|(id, _)| *id).collect();
        for id in attempts {
            self.actions.push_back(Action::Cancel { id });
            self.closed(id, now);
        }
        let flushes = self.flushes.drain();
        self.actions.extend(flushes.map(|flush| Action::Flushed { flush, done: false }));
    }

    fn refuse(&mut self, id: LinkId) {
        self.stats.server_refused += 1;
        self.actions.push_back(Action::Destroy { id });
    }

    fn keep_alive(&mut self, id: LinkId) {
        match self.links.get_mut(&id) {
            Some(link) if !link.open => link.keep_alive_when_open = true,
            _ => self.actions.push_back(Action::KeepAlive { id }),
        }
    }

    /// The incoming connection becomes the one of its peer.
    fn accept(&mut self, id: LinkId, key: Key, now: Instant) {
        self.stats.server_opened += 1;
        self.server_connections += 1;
        self.open += 1;
        self.by_key.insert(key, id);
        self.links.insert(
            id,
            Link { key, outgoing: false, open: true, began: now, crossed_until: now, keep_alive_when_open: false },
        );
        let info = &self.upsert(key).info;
        info.set_client(false);
        let peer = info.clone();
        self.actions.push_back(Action::Emit { id, peer });
        self.attempt(now);
        self.actions.push_back(Action::Update);
    }

    fn upsert(&mut self, key: Key) -> &mut Peer {
        let bans = &self.gate.bans;
        self.peers.entry(key).or_insert_with(|| Peer::new(PeerInfo::new(key, bans.clone())))
    }

    /// Whether there is a place for `key` among the known peers, or one could be made.
    fn make_room(&mut self, key: &Key) -> bool {
        if self.peers.len() < MAX_KNOWN_PEERS || self.peers.contains_key(key) {
            return true;
        }
        let Some(evicted) = self.queue.evict(&mut self.rng) else { return false };
        if let Some(peer) = self.peers.get_mut(&evicted) {
            peer.queued = false;
        }
        self.settle(&evicted);
        self.forget_if_idle(&evicted);
        self.peers.len() < MAX_KNOWN_PEERS
    }

    fn forget_if_idle(&mut self, key: &Key) {
        if !self.by_key.contains_key(key) && self.peers.get(key).is_some_and(Peer::is_idle) {
            self.peers.remove(key);
        }
    }

    /// Whether the peer is one to connect to: asked for by key, or found under a topic that is still joined.
    fn is_wanted(&self, key: &Key) -> bool {
        self.peers
            .get(key)
            .is_some_and(|peer| peer.explicit || peer.info.any_topic(|topic| self.topics.contains(topic)))
    }

    /// Queues a peer whose priority was just updated.
    fn enqueue(&mut self, key: Key) {
        let tick = self.flushes.tick();
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.queued = true;
            peer.flush_tick = tick;
            self.queue.push(key, peer.priority);
        }
    }

    /// Starts as many attempts as the limits allow.
    fn attempt(&mut self, now: Instant) {
        if !self.destroyed && !self.suspended {
            let explicit: Vec<_> = self.explicit.iter().copied().collect();
            for key in explicit {
                if self.connecting >= self.limits.max_parallel {
                    break;
                }
                if self.is_connected(&key) {
                    continue;
                }
                let tick = self.flushes.tick();
                let Some(peer) = self.peers.get_mut(&key).filter(|peer| peer.may_jump_queue(now)) else { continue };
                if std::mem::replace(&mut peer.queued, false) {
                    self.queue.remove(&key, peer.priority);
                } else {
                    peer.flush_tick = tick;
                }
                self.connect(key, now);
            }
            while self.connecting < self.limits.max_parallel && self.has_room() {
                let Some(key) = self.queue.pop(&mut self.rng) else { break };
                if let Some(peer) = self.peers.get_mut(&key) {
                    peer.queued = false;
                }
                self.connect(key, now);
            }
        }
        if self.is_settled() {
            let flushes = self.flushes.drain();
            self.actions.extend(flushes.map(|flush| Action::Flushed { flush, done: true }));
        }
    }

    /// Whether there may be another outgoing connection.
    fn has_room(&self) -> bool {
        // Peers that were asked for by key need places too.
        let share = match self.explicit.len() {
            0 => 1,
            1 => 2,
            2 | 3 => 3,
            _ => 4,
        };
        self.by_key.len().saturating_mul(share) < self.limits.max_peers
            && self.client_connections < self.limits.max_client_connections
    }

    /// Whether no flush has anything to wait for: nothing is attempted, and nothing more would be.
    fn is_settled(&self) -> bool {
        self.connecting == 0 && (self.queue.len() == 0 || !self.has_room())
    }

    /// Starts an attempt, unless there is a connection, or must not be one.
    fn connect(&mut self, key: Key, now: Instant) {
        let verdict = match self.is_connected(&key) || !self.is_wanted(&key) {
            true => Verdict::Refused,
            false => self.gate.check(&key, None),
        };
        if verdict == Verdict::Banned {
            self.banned(key);
        }
        if verdict != Verdict::Welcome {
            self.settle(&key);
            return self.forget_if_idle(&key);
        }
        let Some(peer) = self.peers.get(&key) else { return };
        let (relay_addresses, force_relaying) = (peer.relay_addresses.clone(), peer.force_relaying);
        let id = self.next_id();
        self.links.insert(
            id,
            Link { key, outgoing: true, open: false, began: now, crossed_until: now, keep_alive_when_open: false },
        );
        self.by_key.insert(key, id);
        self.connecting += 1;
        self.client_connections += 1;
        self.stats.client_attempted += 1;
        self.actions.push_back(Action::Connect { id, key, relay_addresses, force_relaying });
        self.actions.push_back(Action::Update);
    }

    /// The peer left the queue without an attempt, or its attempt is over.
    fn settle(&mut self, key: &Key) {
        let tick = self.peers.get(key).map_or(u64::MAX, |peer| peer.flush_tick);
        for flush in self.flushes.settle(tick) {
            self.actions.push_back(Action::Flushed { flush, done: true });
        }
    }
}

#[cfg(test)]
mod tests;
