//! Spreads packets over time: a token bucket filled at the pacing rate.

use crate::stream::Micros;

/// Bytes that may leave at once before any rate is known: two thirds of the initial window. The rest follows [`MIN_WAIT`] later.
const INITIAL_BURST: f64 = 25_000.0;
/// The bucket holds what the rate gives in this time, so that timers of a millisecond's resolution keep up with the rate.
const BURST_TIME: f64 = 2_500.0;
/// The bucket never holds less than this many bytes: two full packets.
const MIN_BURST: f64 = 3_000.0;
/// No wake-up is asked for sooner than this; a timer could not keep it.
const MIN_WAIT: Micros = 500;

/// A token bucket in bytes.
#[derive(Debug)]
pub(crate) struct Pacer {
    tokens: f64,
    filled_at: Micros,
    /// Bytes per microsecond.
    rate: f64,
}

impl Pacer {
    pub(crate) fn new() -> Self {
        Self { tokens: INITIAL_BURST, filled_at: 0, rate: f64::INFINITY }
    }

    /// Sets the rate, in bytes per microsecond.
    pub(crate) fn set_rate(&mut self, now: Micros, rate: f64) {
        self.fill(now);
        self.rate = rate;
    }

    /// Whether a packet may leave now.
    pub(crate) fn may_send(&mut self, now: Micros) -> bool {
        self.fill(now);
        self.tokens > 0.0
    }

    /// Takes the tokens of a packet; the bucket may go below zero by less than one packet.
    pub(crate) fn on_send(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }

    /// When the bucket is worth looking at again: with a burst in it, so that packets leave in batches.
    pub(crate) fn next_send(&self, now: Micros) -> Micros {
        let missing = self.capacity() / 2.0 - self.tokens;
        let wait = if self.rate > 0.0 { (missing / self.rate).clamp(0.0, 1e6) as Micros } else { 1_000_000 };
        now + wait.max(MIN_WAIT)
    }

    fn capacity(&self) -> f64 {
        if self.rate.is_finite() { (self.rate * BURST_TIME).max(MIN_BURST) } else { INITIAL_BURST }
    }

    fn fill(&mut self, now: Micros) {
        let elapsed = now.saturating_sub(self.filled_at);
        self.filled_at = now;
        if elapsed > 0 {
            // Before any rate is known, all of the bucket at once.
            self.tokens = (self.tokens + elapsed as f64 * self.rate).min(self.capacity());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_rate_over_time() {
        let mut pacer = Pacer::new();
        pacer.set_rate(0, 1.0);
        let (mut now, mut sent) = (0, 0);
        while now < 1_000_000 {
            while pacer.may_send(now) {
                pacer.on_send(1200);
                sent += 1200;
            }
            // A timer that is always a millisecond late.
            now = pacer.next_send(now) + 1000;
        }
        assert!((950_000..1_050_000).contains(&sent), "{sent}");
    }

    #[test]
    fn goes_on_when_no_rate_becomes_known() {
        let mut pacer = Pacer::new();
        let (mut now, mut sent) = (0, 0);
        while sent < 10 * INITIAL_BURST as usize {
            while pacer.may_send(now) {
                pacer.on_send(1200);
                sent += 1200;
            }
            now = pacer.next_send(now);
            assert!(now < 1_000_000, "{sent} bytes, and then no more");
        }
    }

    #[test]
    fn does_not_save_up_while_idle() {
        let mut pacer = Pacer::new();
        pacer.set_rate(0, 1.0);
        let now = 60_000_000;
        let mut sent = 0;
        while pacer.may_send(now) {
            pacer.on_send(1200);
            sent += 1200;
        }
        assert!(sent < 6_000, "{sent}");
    }
}
