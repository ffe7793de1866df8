//! How long a closed or failed connection waits for its next attempt.
//!
//! Four delays. Which one depends on how often the peer was tried since it last stayed connected, and on whether it ever
//! answered. A peer that keeps failing is forgotten, unless it was asked for by key (`retry-timer.js`).

use std::time::{Duration, Instant};

use rand::Rng;

use crate::bulk_timer::BulkTimer;
use crate::peer::Peer;

/// What is added at random to each delay, at most.
pub(crate) const JITTER: Duration = Duration::from_millis(500);

/// The delays: short, middle, long, and the one for explicit peers that do not answer.
const BACKOFFS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(600)];

/// How many times [`JITTER`] is added to each of [`BACKOFFS`] at random, at most.
const BACKOFF_JITTERS: [u32; 4] = [1, 2, 4, 240];

/// How often a peer is tried before only an explicit one is tried again.
pub(crate) const MAX_ATTEMPTS: u32 = 3;

/// The default delays, randomised so that peers which lost each other at the same moment do not return at the same moment.
pub(crate) fn default_backoffs(rng: &mut impl Rng) -> [Duration; 4] {
    std::array::from_fn(|index| BACKOFFS[index] + random_up_to(JITTER * BACKOFF_JITTERS[index], rng))
}

/// A random time of whole milliseconds up to `max`.
pub(crate) fn random_up_to(max: Duration, rng: &mut impl Rng) -> Duration {
    let millis = u64::try_from(max.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(rng.random_range(0..=millis))
}

/// Which of the four delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backoff {
    Short = 0,
    Middle = 1,
    Long = 2,
    Explicit = 3,
}

/// The delay before `peer` is tried again, `None` if it is not.
fn select(peer: &Peer) -> Option<Backoff> {
    if peer.info.is_banned() || !peer.info.reconnects() {
        return None;
    }
    match peer.attempts {
        0 => Some(Backoff::Short),
        1 if peer.proven => Some(Backoff::Short),
        1 => Some(Backoff::Middle),
        2 if peer.proven => Some(Backoff::Middle),
        2 | MAX_ATTEMPTS => Some(Backoff::Long),
        _ if peer.explicit => Some(Backoff::Explicit),
        _ => None,
    }
}

/// The items (peers' keys) that wait for their next attempt.
#[derive(Debug)]
pub(crate) struct RetryTimer<T> {
    timers: [BulkTimer<T>; 4],
}

impl<T> RetryTimer<T> {
    /// Timers with these delays, each lengthened once by a random part of `jitter`.
    pub(crate) fn new(backoffs: [Duration; 4], jitter: Duration, rng: &mut impl Rng) -> Self {
        Self { timers: backoffs.map(|backoff| BulkTimer::new(backoff + random_up_to(jitter, rng))) }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.timers.iter().map(BulkTimer::len).sum()
    }

    /// Puts `item`, which stands for `peer`, on its timer, and tells which it waits on then. One that waits already moves to a timer
    /// that is shorter, and to no other. `None` if `peer` is not to be tried again.
    pub(crate) fn add(&mut self, item: T, peer: &Peer, now: Instant) -> Option<Backoff>
    where
        T: PartialEq,
    {
        let Some(backoff) = select(peer) else { return peer.waiting };
        match peer.waiting {
            Some(before) if before <= backoff => return Some(before),
            Some(before) => self.timers[before as usize].remove(&item),
            None => {}
        }
        self.timers[backoff as usize].add(item, now);
        Some(backoff)
    }

    /// Forgets all items.
    pub(crate) fn clear(&mut self) {
        self.timers.iter_mut().for_each(BulkTimer::clear);
    }

    /// When [`RetryTimer::tick`] is next due. `None` while nothing waits.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.iter().filter_map(BulkTimer::deadline).min()
    }

    /// The items whose wait is over at `now`.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<T> {
        self.timers.iter_mut().flat_map(|timer| timer.tick(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::test_peer;
    use rand::{SeedableRng, rngs::StdRng};

    const TEST_BACKOFFS: [Duration; 4] =
        [Duration::from_millis(50), Duration::from_millis(150), Duration::from_millis(250), Duration::from_millis(350)];
    const TEST_JITTER: Duration = Duration::from_millis(20);

    fn timer() -> RetryTimer<u32> {
        RetryTimer::new(TEST_BACKOFFS, TEST_JITTER, &mut StdRng::seed_from_u64(7))
    }

    /// How many items leave in the `span` after `from`.
    fn fired(timer: &mut RetryTimer<u32>, from: Instant, span: Duration) -> usize {
        let mut count = 0;
        while let Some(due) = timer.deadline().filter(|due| *due <= from + span) {
            count += timer.tick(due).len();
        }
        count
    }

    #[test]
    fn a_proven_peer_returns_quickly() {
        let now = Instant::now();
        let mut timer = timer();
        let mut peer = test_peer(1);
        assert!(timer.add(1, &peer, now).is_some());
        let span = TEST_BACKOFFS[0] + TEST_JITTER + Duration::from_millis(50);
        assert_eq!(fired(&mut timer, now, span), 1);
        (peer.proven, peer.attempts) = (true, 1);
        assert!(timer.add(1, &peer, now + span).is_some());
        assert_eq!(fired(&mut timer, now + span, span), 1);
    }

    #[test]
    fn an_unresponsive_peer_is_forgotten() {
        let now = Instant::now();
        let mut timer = timer();
        let mut peer = test_peer(1);
        assert!(timer.add(1, &peer, now).is_some());
        peer.attempts = 4;
        assert!(timer.add(1, &peer, now).is_none());
        assert_eq!(fired(&mut timer, now, Duration::from_secs(5)), 1);
    }

    #[test]
    fn a_banned_peer_is_not_retried() {
        let mut timer = timer();
        let peer = test_peer(1);
        peer.info.ban(true);
        assert!(timer.add(1, &peer, Instant::now()).is_none());
        peer.info.ban(false);
        assert!(timer.add(1, &peer, Instant::now()).is_some());
    }

    #[test]
    fn a_peer_that_shall_not_reconnect_does_not() {
        let peer = test_peer(1);
        peer.info.reconnect(false);
        assert!(timer().add(1, &peer, Instant::now()).is_none());
    }

    #[test]
    fn the_delay_follows_attempts_and_proof() {
        let mut peer = test_peer(1);
        let expected = [
            (Some(Backoff::Short), Some(Backoff::Short)),
            (Some(Backoff::Middle), Some(Backoff::Short)),
            (Some(Backoff::Long), Some(Backoff::Middle)),
            (Some(Backoff::Long), Some(Backoff::Long)),
            (None, None),
            (None, None),
        ];
        for (attempts, (unproven, proven)) in expected.into_iter().enumerate() {
            peer.attempts = attempts as u32;
            peer.proven = false;
            assert_eq!(select(&peer), unproven, "{attempts} attempts, unproven");
            peer.proven = true;
            assert_eq!(select(&peer), proven, "{attempts} attempts, proven");
        }
        peer.explicit = true;
        for attempts in 4..8 {
            peer.attempts = attempts;
            assert_eq!(select(&peer), Some(Backoff::Explicit));
        }
    }

    #[test]
    fn default_delays_are_those_of_javascript() {
        let millis = |low: u64, high: u64| Duration::from_millis(low)..=Duration::from_millis(high);
        let ranges = [millis(1000, 1500), millis(5000, 6000), millis(15000, 17000), millis(600_000, 720_000)];
        for seed in 0..200 {
            let backoffs = default_backoffs(&mut StdRng::seed_from_u64(seed));
            for (backoff, range) in backoffs.iter().zip(&ranges) {
                assert!(range.contains(backoff), "{backoff:?}");
            }
        }
    }
}
