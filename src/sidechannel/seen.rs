//! The ids of messages that were seen, so that a message that comes by several ways is taken once.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

/// What stands for an id: a hash of it, so that a peer's long ids take no more room than short ones.
pub type SeenKey = [u8; 32];

/// The last ids, forgotten after a time and beyond a number.
#[derive(Debug)]
pub struct Seen {
    known: HashSet<SeenKey>,
    oldest_first: VecDeque<(Instant, SeenKey)>,
    capacity: usize,
    ttl: Duration,
}

impl Seen {
    /// A memory of `capacity` ids (at least one), for `ttl`.
    pub fn new(capacity: usize, ttl: Duration) -> Self {
        Self { known: HashSet::new(), oldest_first: VecDeque::new(), capacity: capacity.max(1), ttl }
    }

    /// Remembers an id; `false` when it was known already.
    pub fn insert(&mut self, key: SeenKey, now: Instant) -> bool {
        if !self.known.insert(key) {
            return false;
        }
        self.oldest_first.push_back((now, key));
        while let Some(&(since, oldest)) = self.oldest_first.front() {
            let expired = now.saturating_duration_since(since) > self.ttl;
            if !expired && self.oldest_first.len() <= self.capacity {
                break;
            }
            self.oldest_first.pop_front();
            self.known.remove(&oldest);
        }
        true
    }

    /// How many ids are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no id is remembered.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> SeenKey {
        crypto::hash(&[&number.to_le_bytes()])
    }

    #[test]
    fn an_id_is_new_once() {
        let mut seen = Seen::new(10, Duration::from_secs(120));
        let now = Instant::now();
        assert!(seen.insert(key(1), now));
        assert!(!seen.insert(key(1), now));
        assert!(seen.insert(key(2), now));
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_capacity() {
        let mut seen = Seen::new(3, Duration::from_secs(120));
        let now = Instant::now();
        (0..4).for_each(|number| assert!(seen.insert(key(number), now)));
        assert_eq!(seen.len(), 3);
        assert!(!seen.insert(key(1), now));
        assert!(seen.insert(key(0), now));
    }

    #[test]
    fn the_expired_are_forgotten_when_another_comes() {
        let mut seen = Seen::new(10, Duration::from_secs(120));
        let start = Instant::now();
        assert!(seen.insert(key(1), start));
        assert!(seen.insert(key(2), start + Duration::from_secs(60)));
        assert!(!seen.insert(key(1), start + Duration::from_secs(121)), "nothing new came that would purge");
        assert!(seen.insert(key(3), start + Duration::from_secs(121)));
        assert_eq!(seen.len(), 2);
        assert!(seen.insert(key(1), start + Duration::from_secs(121)));
    }
}
