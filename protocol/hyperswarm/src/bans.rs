//! Who must not connect: bans, and the firewall of the application.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// A public key of a peer.
pub(crate) type Key = [u8; 32];

/// The most peers that are remembered as banned. At the limit the oldest ban is forgotten: a firewall that still dislikes that
/// peer bans it again when it returns.
pub const MAX_BANNED: usize = 4096;

/// Decides about a peer by its public key: `true` refuses it, **and bans it** until [`PeerInfo::ban`](crate::PeerInfo::ban)
/// lifts that. Called before each outgoing attempt and at each incoming handshake; it must not block.
pub type Firewall = Arc<dyn Fn(&[u8; 32]) -> bool + Send + Sync>;

/// The keys that are banned, shared by the swarm and the [`PeerInfo`](crate::PeerInfo)s it hands out.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    keys: HashSet<Key>,
    oldest_first: VecDeque<Key>,
}

impl Bans {
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.inner.lock().keys.contains(key)
    }

    pub(crate) fn set(&self, key: Key, banned: bool) {
        let mut inner = self.inner.lock();
        if !banned {
            if inner.keys.remove(&key) {
                inner.oldest_first.retain(|other| *other != key);
            }
        } else if inner.keys.insert(key) {
            inner.oldest_first.push_back(key);
            if inner.oldest_first.len() > MAX_BANNED
                && let Some(oldest) = inner.oldest_first.pop_front()
            {
                inner.keys.remove(&oldest);
            }
        }
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

    pub(crate) fn check(&self, key: &Key) -> Verdict {
        if self.is_self(key) || self.bans.contains(key) {
            return Verdict::Refused;
        }
        if self.firewall.as_ref().is_some_and(|firewall| firewall(key)) {
            self.bans.set(*key, true);
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
        let gate = Gate::new([1; 32], Some(Arc::new(|_| panic!("asked"))));
        gate.bans.set([2; 32], true);
        assert_eq!(gate.check(&[1; 32]), Verdict::Refused);
        assert_eq!(gate.check(&[2; 32]), Verdict::Refused);
    }

    #[test]
    fn whom_the_firewall_refuses_is_banned_until_it_is_lifted() {
        let gate = Gate::new([1; 32], Some(Arc::new(|key| key[0] == 2)));
        assert_eq!(gate.check(&[3; 32]), Verdict::Welcome);
        assert_eq!(gate.check(&[2; 32]), Verdict::Banned);
        assert_eq!(gate.check(&[2; 32]), Verdict::Refused);
        gate.bans.set([2; 32], false);
        assert_eq!(gate.check(&[2; 32]), Verdict::Banned);
    }

    #[test]
    fn the_oldest_ban_is_forgotten_at_the_limit() {
        let bans = Bans::default();
        let key = |index: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(index as u64).to_le_bytes());
            key
        };
        for index in 0..MAX_BANNED + 10 {
            bans.set(key(index), true);
            bans.set(key(index), true);
        }
        assert!(!bans.contains(&key(9)));
        assert!(bans.contains(&key(10)));
        assert_eq!(bans.inner.lock().keys.len(), MAX_BANNED);
        assert_eq!(bans.inner.lock().oldest_first.len(), MAX_BANNED);
    }
}
