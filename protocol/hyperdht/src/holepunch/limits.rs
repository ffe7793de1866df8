//! Limits of a node for punching with random NATs, which takes many packets and sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dht::{Inner, now};

/// Random punches at the same time. NATs of homes drop mappings when there are too many.
const MAX_RANDOM: usize = 1;

/// The time from the end of a random punch to the beginning of the next.
pub(crate) const RANDOM_INTERVAL: Duration = Duration::from_secs(20);

/// How often holes were punched, by how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PunchStats {
    /// None was needed: one of the sides can be reached by everybody.
    pub open: u64,
    /// Both sides had one address.
    pub consistent: u64,
    /// One side was behind a NAT with random ports.
    pub random: u64,
    /// Random punches that were put off or refused because there was another.
    pub refused: u64,
}

/// The random punches of a node.
#[derive(Debug, Default)]
pub(crate) struct RandomPunches {
    running: usize,
    last: Option<Instant>,
}

impl RandomPunches {
    /// Whether one may begin.
    fn begin(&mut self, now: Instant) -> bool {
        let rested = self.last.is_none_or(|last| now.saturating_duration_since(last) >= RANDOM_INTERVAL);
        let allowed = rested && self.running < MAX_RANDOM;
        if allowed {
            self.running += 1;
        }
        allowed
    }

    /// One is over; `punched` when it was more than an intention.
    fn end(&mut self, punched: bool, now: Instant) {
        self.running = self.running.saturating_sub(1);
        if punched {
            self.last = Some(now);
        }
    }
}

/// The right to punch with a random NAT, for as long as it is held.
#[derive(Debug)]
pub(crate) struct RandomPunch {
    dht: Arc<Inner>,
    punched: bool,
}

impl RandomPunch {
    /// `None` while another one runs, or ran a moment ago.
    pub(crate) fn begin(dht: &Arc<Inner>) -> Option<Self> {
        let state = &mut *dht.state.lock();
        if !state.random_punches.begin(now()) {
            state.punches.refused += 1;
            return None;
        }
        Some(Self { dht: dht.clone(), punched: false })
    }

    /// From now on it counts.
    pub(crate) fn commit(&mut self) {
        self.punched = true;
    }
}

impl Drop for RandomPunch {
    fn drop(&mut self) {
        self.dht.state.lock().random_punches.end(self.punched, now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_twenty_seconds_apart() {
        let start = Instant::now();
        let mut punches = RandomPunches::default();
        assert!(punches.begin(start));
        assert!(!punches.begin(start), "another one runs");
        punches.end(false, start);
        assert!(punches.begin(start), "the first one did not happen");
        punches.end(true, start);
        assert!(!punches.begin(start + RANDOM_INTERVAL - Duration::from_millis(1)));
        assert!(punches.begin(start + RANDOM_INTERVAL));
    }
}
