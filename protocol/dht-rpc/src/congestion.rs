//! How many requests may be unanswered at once.

use std::time::{Duration, Instant};

/// Requests that one slot lets through.
const SLOT_LIMIT: u32 = 80;

/// Requests that all slots together let through.
const TOTAL_LIMIT: u32 = 2 * SLOT_LIMIT;

/// How long a slot is the current one.
const SLOT: Duration = Duration::from_millis(750);

const SLOTS: usize = 4;

/// A window over the last three seconds. What was sent counts in the slot of its time, until that slot comes around again;
/// an answer frees a place in the slot of now. So lost requests free their places by age, and answered ones at once.
#[derive(Debug)]
pub(crate) struct CongestionWindow {
    slots: [u32; SLOTS],
    current: usize,
    total: u32,
    since: Instant,
}

impl CongestionWindow {
    pub(crate) fn new(now: Instant) -> Self {
        Self { slots: [0; SLOTS], current: 0, total: 0, since: now }
    }

    /// Whether a request has to wait.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.advance(now);
        self.total >= TOTAL_LIMIT || self.slots[self.current] >= SLOT_LIMIT
    }

    /// Counts a request that is sent.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.advance(now);
        self.slots[self.current] += 1;
        self.total += 1;
    }

    /// Counts a request that needs no answer any more.
    pub(crate) fn settled(&mut self, now: Instant) {
        self.advance(now);
        if self.slots[self.current] > 0 {
            self.slots[self.current] -= 1;
            self.total -= 1;
        }
    }

    /// When the next slot begins, which may free places.
    pub(crate) fn next_slot(&self) -> Instant {
        self.since + SLOT
    }

    fn advance(&mut self, now: Instant) {
        let mut steps = 0;
        while now.saturating_duration_since(self.since) >= SLOT {
            if steps == SLOTS {
                self.since = now;
                return;
            }
            steps += 1;
            self.since += SLOT;
            self.current = (self.current + 1) % SLOTS;
            self.total -= self.slots[self.current];
            self.slots[self.current] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_fills_and_time_or_answers_free_it() {
        let start = Instant::now();
        let mut window = CongestionWindow::new(start);
        let fill = |window: &mut CongestionWindow, at| {
            let mut n = 0;
            while !window.is_full(at) {
                window.sent(at);
                n += 1;
            }
            n
        };
        assert_eq!(fill(&mut window, start), 80);
        window.settled(start);
        assert_eq!(fill(&mut window, start), 1);
        assert_eq!(fill(&mut window, start + SLOT), 80);
        assert_eq!(fill(&mut window, start + SLOT * 2), 0, "both limits hold");
        assert_eq!(fill(&mut window, start + SLOT * 4), 80, "the first slot has come around");
        assert_eq!(fill(&mut window, start + Duration::from_secs(60)), 80);
    }
}
