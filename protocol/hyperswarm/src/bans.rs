//! Who must not connect: bans, and the firewall of the application.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use hyperdht::messages::NoisePayload;
use parking_lot::Mutex;

/// A public key of a peer.
pub(crate) type Key = [u8; 32];

/// The most peers that are remembered as banned by [`PeerInfo::ban`](crate::PeerInfo::ban), and as many that the firewall has banned. At
/// the limit the oldest ban of the same kind is forgotten: a firewall that still dislikes that peer bans it again when it returns, and
/// strangers, who choose their keys, push out nobody whom the application banned.
pub const MAX_BANNED: usize = 4096;

/// Decides about a peer by its public key, and at an incoming handshake by what that says: `true` refuses it, **and bans it** until [`PeerInfo::ban`](crate::PeerInfo::ban)
/// lifts that. Called before each outgoing attempt (then there is no payload) and at each incoming handshake; it must not block.
pub type Firewall = Arc<dyn Fn(&[u8; 32], Option<&NoisePayload>) -> bool + Send + Sync>;

/// The keys that are banned, shared by the swarm and the [`PeerInfo`](crate::PeerInfo)s it hands out.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_hand: Set,
    by_firewall: Set,
}

#[derive(Debug, Default)]
struct Set {
    keys: HashSet<Key>,
    oldest_first: VecDeque<Key>,
}

impl Set {
    fn insert(&mut self, key: Key) {
        if self.keys.insert(key) {
            self.oldest_first.push_back(key);
            if self.oldest_first.len() > MAX_BANNED
                && let Some(oldest) = self.oldest_first.pop_front()
            {
                self.keys.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        if self.keys.remove(key) {
            self.oldest_first.retain(|other| other != key);
        }
    }
}

impl Bans {
    pub(crate) fn contains(&self, key: &Key) -> bool {
        let inner = self.inner.lock();
        inner.by_hand.keys.contains(key) || inner.by_firewall.keys.contains(key)
    }

    /// The application bans a peer, or lifts every ban of it.
    pub(crate) fn set(&self, key: Key, banned: bool) {
        let mut inner = self.inner.lock();
        if banned {
            inner.by_hand.insert(key);
        } else {
            inner.by_hand.remove(&key);
            inner.by_firewall.remove(&key);
        }
    }

    /// The firewall has refused a peer.
    fn refuse(&self, key: Key) {
        self.inner.lock().by_firewall.insert(key);
    }
}

/// What the [`Gate`] says about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Welcome,
    /// It is ourselves, or it was banned before.
    Refused,
    /// The firewall refused it now, and it is banned from now on.
    Banned,
}

/// Everything that can keep a peer out.
#[derive(Clone)]
pub(crate) struct Gate {
    local: Key,
    pub(crate) bans: Arc<Bans>,
    firewall: Option<Firewall>,
}

impl Gate {
    pub(crate) fn new(local: Key, firewall: Option<Firewall>) -> Self {
        Self { local, bans: Arc::default(), firewall }
    }

    pub(crate) fn is_self(&self, key: &Key) -> bool {
        self.local == *key
    }

    pub(crate) fn check(&self, key: &Key, payload: Option<&NoisePayload>) -> Verdict {
        if self.is_self(key) || self.bans.contains(key) {
            return Verdict::Refused;
        }
        if self.firewall.as_ref().is_some_and(|firewall| firewall(key, payload)) {
            self.bans.refuse(*key);
            return Verdict::Banned;
        }
        Verdict::Welcome
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("firewall", &self.firewall.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn self_and_banned_are_refused_without_asking_the_firewall() {
        let gate = Gate::new([1; 32], Some(Arc::new(|_, _| panic!("asked"))));
        gate.bans.set([2; 32], true);
        assert_eq!(gate.check(&[1; 32], None), Verdict::Refused);
        assert_eq!(gate.check(&[2; 32], None), Verdict::Refused);
    }

    #[test]
    fn whom_the_firewall_refuses_is_banned_until_it_is_lifted() {
        let gate = Gate::new([1; 32], Some(Arc::new(|key, _| key[0] == 2)));
        assert_eq!(gate.check(&[3; 32], None), Verdict::Welcome);
        assert_eq!(gate.check(&[2; 32], None), Verdict::Banned);
        assert_eq!(gate.check(&[2; 32], None), Verdict::Refused);
        gate.bans.set([2; 32], false);
        assert_eq!(gate.check(&[2; 32], None), Verdict::Banned);
    }

    fn key(index: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(index as u64).to_le_bytes());
        key
    }

    #[test]
    fn the_oldest_ban_is_forgotten_at_the_limit() {
        let bans = Bans::default();
        for index in 0..MAX_BANNED + 10 {
            bans.set(key(index), true);
            bans.set(key(index), true);
        }
        assert!(!bans.contains(&key(9)));
        assert!(bans.contains(&key(10)));
        let inner = bans.inner.lock();
        assert_eq!((inner.by_hand.keys.len(), inner.by_hand.oldest_first.len()), (MAX_BANNED, MAX_BANNED));
    }

    #[test]
    fn strangers_do_not_push_out_whom_the_application_banned() {
        let gate = Gate::new([1; 32], Some(Arc::new(|key, _| *key != [2; 32])));
        gate.bans.set([2; 32], true);
        for index in 0..MAX_BANNED + 1000 {
            assert_eq!(gate.check(&key(index), None), Verdict::Banned);
        }
        assert_eq!(gate.check(&[2; 32], None), Verdict::Refused);
        let inner = gate.bans.inner.lock();
        assert_eq!((inner.by_firewall.keys.len(), inner.by_hand.keys.len()), (MAX_BANNED, 1));
    }
}
