//! Who was let into which channel, and until when.

use std::collections::HashMap;

/// How many grants are kept. Beyond it, the one that ends first makes room: invites come from peers, who may be many.
pub const MAX_GRANTS: usize = 4_096;

/// Peers that showed a valid invite, by channel.
#[derive(Debug, Default)]
pub struct Grants {
    channels: HashMap<String, HashMap<String, f64>>,
    count: usize,
}

impl Grants {
    /// Lets `peer` into `channel` until `expires_at` (milliseconds since 1970). A later word replaces an earlier one.
    pub fn grant(&mut self, channel: &str, peer: &str, expires_at: f64, now: u64) {
        if self.count >= MAX_GRANTS {
            self.retain(|expires_at| expires_at > now as f64);
        }
        if self.count >= MAX_GRANTS {
            let ends = self.channels.values().flat_map(HashMap::values);
            let first = ends.copied().fold(f64::INFINITY, f64::min);
            self.retain(|expires_at| expires_at > first);
        }
        let peers = self.channels.entry(channel.to_owned()).or_default();
        self.count += usize::from(peers.insert(peer.to_owned(), expires_at).is_none());
    }

    /// Whether `peer` may take part in `channel` now.
    pub fn is_granted(&self, channel: &str, peer: &str, now: u64) -> bool {
        let expires_at = self.channels.get(channel).and_then(|peers| peers.get(peer));
        expires_at.is_some_and(|expires_at| *expires_at > now as f64)
    }

    /// Forgets all that was granted for a channel.
    pub fn forget(&mut self, channel: &str) {
        self.count -= self.channels.remove(channel).map_or(0, |peers| peers.len());
    }

    fn retain(&mut self, keep: impl Fn(f64) -> bool) {
        for peers in self.channels.values_mut() {
            peers.retain(|_, expires_at| keep(*expires_at));
        }
        self.channels.retain(|_, peers| !peers.is_empty());
        self.count = self.channels.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_ends() {
        let mut grants = Grants::default();
        grants.grant("room", "peer", 100.0, 0);
        assert!(grants.is_granted("room", "peer", 99));
        assert!(!grants.is_granted("room", "peer", 100));
        assert!(!grants.is_granted("other", "peer", 0));
        grants.grant("room", "peer", 200.0, 0);
        assert!(grants.is_granted("room", "peer", 100));
        grants.forget("room");
        assert!(!grants.is_granted("room", "peer", 0));
    }

    #[test]
    fn what_ends_first_makes_room() {
        let mut grants = Grants::default();
        (0..3 * MAX_GRANTS).for_each(|n| grants.grant(&format!("room {}", n % 7), &format!("{n}"), 1e9 + n as f64, 0));
        assert!(grants.count <= MAX_GRANTS);
        let last = 3 * MAX_GRANTS - 1;
        assert!(grants.is_granted(&format!("room {}", last % 7), &last.to_string(), 0));
        grants.grant("room", "expired", 5.0, 1_000_000_000_000);
        assert!(grants.count <= MAX_GRANTS);
        (0..8).for_each(|n| grants.forget(&format!("room {n}")));
        grants.forget("room");
        assert_eq!(grants.count, 0);
    }
}
