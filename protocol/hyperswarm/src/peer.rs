//! What the swarm knows of one peer, and how soon it deserves another attempt (`peer-info.js`).

use std::fmt;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::bans::{Bans, Key};
use crate::queue::Priority;
use crate::retry_timer::{Backoff, MAX_ATTEMPTS};

/// A connection that lasted this long was a good one: the count of attempts starts again.
const MIN_CONNECTION_TIME: Duration = Duration::from_secs(15);

/// The most topics that are remembered of one peer. Further ones count as if the peer had not been found under them.
const MAX_TOPICS: usize = 1024;

/// The peer at the other end of a connection. Cheap to clone; all clones speak of the same peer.
#[derive(Clone)]
pub struct PeerInfo {
    shared: Arc<Shared>,
    bans: Arc<Bans>,
}

struct Shared {
    public_key: Key,
    client: AtomicBool,
    reconnecting: AtomicBool,
    topics: Mutex<Vec<[u8; 32]>>,
}

impl PeerInfo {
    pub(crate) fn new(public_key: Key, bans: Arc<Bans>) -> Self {
        let shared = Shared {
            public_key,
            client: AtomicBool::new(false),
            reconnecting: AtomicBool::new(true),
            topics: Mutex::default(),
        };
        Self { shared: Arc::new(shared), bans }
    }

    /// The peer's public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.shared.public_key
    }

    /// The topics under which the peer was found. Empty for a peer that found us and that we did not look up.
    pub fn topics(&self) -> Vec<[u8; 32]> {
        self.shared.topics.lock().clone()
    }

    /// Whether we connected to the peer (and not the peer to us) the last time.
    pub fn is_client(&self) -> bool {
        self.shared.client.load(Ordering::Relaxed)
    }

    /// Refuses (or again admits) the peer from now on. The connection that exists stays until it is destroyed.
    pub fn ban(&self, banned: bool) {
        self.bans.set(self.shared.public_key, banned);
    }

    /// Whether the peer is refused.
    pub fn is_banned(&self) -> bool {
        self.bans.contains(&self.shared.public_key)
    }

    /// Whether to connect again when the connection to the peer closes (the default), or not.
    pub fn reconnect(&self, reconnect: bool) {
        self.shared.reconnecting.store(reconnect, Ordering::Relaxed);
    }

    pub(crate) fn reconnects(&self) -> bool {
        self.shared.reconnecting.load(Ordering::Relaxed)
    }

    pub(crate) fn set_client(&self, client: bool) {
        self.shared.client.store(client, Ordering::Relaxed);
    }

    /// Whether any of the peer's topics satisfies `predicate`.
    pub(crate) fn any_topic(&self, predicate: impl FnMut(&[u8; 32]) -> bool) -> bool {
        self.shared.topics.lock().iter().any(predicate)
    }

    fn add_topic(&self, topic: [u8; 32]) {
        let mut topics = self.shared.topics.lock();
        if topics.len() < MAX_TOPICS && !topics.contains(&topic) {
            topics.push(topic);
        }
    }
}

impl fmt::Debug for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short: String = self.shared.public_key[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        f.debug_struct("PeerInfo")
            .field("public_key", &short)
            .field("client", &self.is_client())
            .finish_non_exhaustive()
    }
}

/// The swarm's own record of a peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) info: PeerInfo,
    /// Where the peer said it can be reached through, from its newest announcement.
    pub(crate) relay_addresses: Vec<SocketAddrV4>,
    /// It answered an attempt of ours since it was last (re)discovered.
    pub(crate) proven: bool,
    /// It was asked for by key, not by topic.
    pub(crate) explicit: bool,
    /// No hole could be punched to it: a relay must help.
    pub(crate) force_relaying: bool,
    /// The retry timer that it is on.
    pub(crate) waiting: Option<Backoff>,
    /// It is in the queue.
    pub(crate) queued: bool,
    /// Attempts since it was discovered, or since a connection lasted.
    pub(crate) attempts: u32,
    pub(crate) priority: Priority,
    /// The flush that was the last one asked for when the peer was queued.
    pub(crate) flush_tick: u64,
    connected_at: Option<Instant>,
    disconnected_at: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(info: PeerInfo) -> Self {
        Self {
            info,
            relay_addresses: Vec::new(),
            proven: false,
            explicit: false,
            force_relaying: false,
            waiting: None,
            queued: false,
            attempts: 0,
            priority: Priority::Normal,
            flush_tick: 0,
            connected_at: None,
            disconnected_at: None,
        }
    }

    /// An attempt of ours succeeded.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.proven = true;
        self.info.set_client(true);
        self.connected_at = Some(now);
    }

    /// An attempt of ours failed, or the connection that it led to closed.
    pub(crate) fn disconnected(&mut self, now: Instant) {
        self.disconnected_at = Some(now);
        if let Some(since) = self.connected_at.take()
            && now.saturating_duration_since(since) >= MIN_CONNECTION_TIME
        {
            self.attempts = 0;
        }
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The peer was found under `topic`. If it had fallen behind, or had been the one to connect, it starts anew.
    pub(crate) fn discovered(&mut self, topic: [u8; 32], connected: bool) {
        self.info.add_topic(topic);
        if !connected && (self.priority < Priority::Normal || !self.info.is_client()) {
            self.info.set_client(false);
            self.proven = false;
            self.attempts = 0;
        }
    }

    /// Computes the priority anew. False if the peer must not be queued: banned, queued already, or tried too often.
    pub(crate) fn update_priority(&mut self) -> bool {
        if self.explicit && self.attempts > MAX_ATTEMPTS {
            self.attempts = MAX_ATTEMPTS;
        }
        if self.info.is_banned() || self.queued || self.attempts > MAX_ATTEMPTS {
            return false;
        }
        self.priority = match self.attempts {
            0 => Priority::Normal,
            1 => Priority::VeryHigh,
            2 => Priority::High,
            MAX_ATTEMPTS => Priority::Low,
            _ => Priority::VeryLow,
        };
        true
    }

    /// Whether an explicit peer may be tried out of turn: fewer than five attempts, one second apart for each of them.
    pub(crate) fn may_jump_queue(&self, now: Instant) -> bool {
        const MAX_EXPLICIT_ATTEMPTS: u32 = 5;
        const EXPLICIT_SPACING: Duration = Duration::from_secs(1);
        self.attempts < MAX_EXPLICIT_ATTEMPTS
            && self
                .disconnected_at
                .is_none_or(|since| now.saturating_duration_since(since) >= EXPLICIT_SPACING * self.attempts)
    }

    /// Whether nothing but a connection keeps the record.
    pub(crate) fn is_idle(&self) -> bool {
        !(self.queued || self.explicit || self.waiting.is_some())
    }
}

#[cfg(test)]
pub(crate) fn test_peer(id: u8) -> Peer {
    Peer::new(PeerInfo::new([id; 32], Arc::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_follows_the_attempts() {
        let mut peer = test_peer(1);
        for (attempts, priority) in
            [(0, Priority::Normal), (1, Priority::VeryHigh), (2, Priority::High), (3, Priority::Low)]
        {
            peer.attempts = attempts;
            assert!(peer.update_priority());
            assert_eq!(peer.priority, priority);
        }
        peer.attempts = 4;
        assert!(!peer.update_priority());
        peer.explicit = true;
        assert!(peer.update_priority());
        assert_eq!((peer.attempts, peer.priority), (3, Priority::Low));
    }

    #[test]
    fn banned_and_queued_peers_are_not_queued() {
        let mut peer = test_peer(1);
        peer.queued = true;
        assert!(!peer.update_priority());
        peer.queued = false;
        peer.info.ban(true);
        assert!(!peer.update_priority());
    }

    #[test]
    fn a_lasting_connection_resets_the_attempts() {
        let now = Instant::now();
        let mut peer = test_peer(1);
        peer.attempts = 3;
        peer.connected(now);
        peer.disconnected(now + Duration::from_millis(14_999));
        assert_eq!(peer.attempts, 4);
        peer.connected(now);
        peer.disconnected(now + Duration::from_secs(15));
        assert_eq!(peer.attempts, 1);
        peer.disconnected(now + Duration::from_secs(60));
        assert_eq!(peer.attempts, 2);
    }

    #[test]
    fn discovery_resets_who_fell_behind_or_came_by_itself() {
        let now = Instant::now();
        let mut peer = test_peer(1);
        // It connected to us: its attempts are not ours.
        peer.attempts = 2;
        peer.discovered([1; 32], true);
        assert_eq!(peer.attempts, 2);
        peer.discovered([1; 32], false);
        assert_eq!((peer.attempts, peer.proven), (0, false));
        // We connected to it: it keeps its count until its priority is low.
        peer.connected(now);
        peer.disconnected(now);
        assert!(peer.update_priority());
        peer.discovered([1; 32], false);
        assert_eq!((peer.attempts, peer.proven), (1, true));
        peer.attempts = 3;
        assert!(peer.update_priority());
        peer.discovered([2; 32], false);
        assert_eq!((peer.attempts, peer.proven), (0, false));
        assert_eq!(peer.info.topics(), [[1; 32], [2; 32]]);
    }

    #[test]
    fn explicit_peers_are_spaced_by_their_attempts() {
        let now = Instant::now();
        let mut peer = test_peer(1);
        assert!(peer.may_jump_queue(now));
        for attempts in 1..5 {
            peer.disconnected(now);
            assert_eq!(peer.attempts, attempts);
            let wait = Duration::from_secs(u64::from(attempts));
            assert!(!peer.may_jump_queue(now + wait - Duration::from_millis(1)));
            assert!(peer.may_jump_queue(now + wait));
        }
        peer.disconnected(now);
        assert!(!peer.may_jump_queue(now + Duration::from_secs(3600)));
    }
}
