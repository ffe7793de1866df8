//! How much one connection may send: a token bucket, and a block for those who keep overflowing it.

use std::time::{Duration, Instant};

use super::SidechannelOptions;

/// The limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes a second; `None` is no limit.
    pub bytes_per_second: Option<u64>,
    /// Bytes at once.
    pub burst: u64,
    /// Messages over the limit, within `window`, that lead to a block.
    pub max_strikes: u32,
    /// The time in which strikes are counted.
    pub window: Duration,
    /// The time that a block lasts.
    pub block: Duration,
}

impl From<&SidechannelOptions> for Limits {
    fn from(options: &SidechannelOptions) -> Self {
        Self {
            bytes_per_second: options.rate_bytes_per_second.filter(|rate| *rate > 0),
            burst: options.rate_burst_bytes,
            max_strikes: options.max_strikes,
            window: options.strike_window,
            block: options.block,
        }
    }
}

impl Limits {
    /// Whether a message of `bytes` is over the limit also for a connection that was quiet, so that it need not be read.
    pub fn never_allows(&self, bytes: usize) -> bool {
        self.bytes_per_second.is_some() && bytes as f64 > self.burst as f64
    }
}

/// The state of one connection's limit.
#[derive(Debug)]
pub struct Limiter {
    tokens: f64,
    refilled: Instant,
    strikes: u32,
    /// `None` until the first message.
    window_ends: Option<Instant>,
    blocked_until: Option<Instant>,
}

/// What [`Limiter::take`] says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// It is within the limit.
    Within,
    /// It is over the limit.
    Over,
    /// It is over the limit, and the connection is blocked from now on.
    Blocked,
}

impl Limiter {
    /// A limiter with a full bucket.
    pub fn new(limits: &Limits, now: Instant) -> Self {
        Self { tokens: limits.burst as f64, refilled: now, strikes: 0, window_ends: None, blocked_until: None }
    }

    /// Whether the connection is blocked.
    pub fn is_blocked(&self, now: Instant) -> bool {
        self.blocked_for(now).is_some()
    }

    /// How long the connection is still blocked.
    pub fn blocked_for(&self, now: Instant) -> Option<Duration> {
        self.blocked_until.filter(|until| now < *until).map(|until| until - now)
    }

    /// Accounts for a message of `bytes`.
    pub fn take(&mut self, limits: &Limits, now: Instant, bytes: usize) -> Allowance {
        let Some(rate) = limits.bytes_per_second else { return Allowance::Within };
        if self.is_blocked(now) {
            return Allowance::Over;
        }
        self.open_window(limits, now);
        let elapsed = now.saturating_duration_since(self.refilled);
        self.refilled = self.refilled.max(now);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * rate as f64).min(limits.burst as f64);
        if bytes as f64 > self.tokens {
            return self.strike(limits, now);
        }
        self.tokens -= bytes as f64;
        Allowance::Within
    }

    /// Accounts for a message that was refused without being read.
    pub fn refuse(&mut self, limits: &Limits, now: Instant) -> Allowance {
        if limits.bytes_per_second.is_none() {
            return Allowance::Over;
        }
        self.open_window(limits, now);
        self.strike(limits, now)
    }

    fn open_window(&mut self, limits: &Limits, now: Instant) {
        if self.window_ends.is_none_or(|end| now > end) {
            self.strikes = 0;
            self.window_ends = Some(now + limits.window);
        }
    }

    fn strike(&mut self, limits: &Limits, now: Instant) -> Allowance {
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes < limits.max_strikes {
            return Allowance::Over;
        }
        self.blocked_until = Some(now + limits.block);
        Allowance::Blocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::from(&SidechannelOptions::default())
    }

    #[test]
    fn a_quiet_connection_may_burst_and_then_has_its_rate() {
        let (limits, start) = (limits(), Instant::now());
        let mut limiter = Limiter::new(&limits, start);
        assert_eq!(limiter.take(&limits, start, 256_000), Allowance::Within);
        assert_eq!(limiter.take(&limits, start, 1), Allowance::Over);
        let later = start + Duration::from_millis(500);
        assert_eq!(limiter.take(&limits, later, 32_000), Allowance::Within);
        assert_eq!(limiter.take(&limits, later, 1), Allowance::Over);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(limiter.take(&limits, much_later, 256_001), Allowance::Over, "the bucket does not overflow");
        assert_eq!(limiter.take(&limits, much_later, 256_000), Allowance::Within);
    }

    #[test]
    fn three_strikes_in_a_window_block_for_a_while() {
        let (limits, start) = (limits(), Instant::now());
        let mut limiter = Limiter::new(&limits, start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(limiter.take(&limits, at(0), 300_000), Allowance::Over);
        assert_eq!(limiter.take(&limits, at(1), 300_000), Allowance::Over);
        assert_eq!(limiter.take(&limits, at(5_001), 300_000), Allowance::Over, "a new window");
        assert_eq!(limiter.take(&limits, at(5_002), 300_000), Allowance::Over);
        assert_eq!(limiter.take(&limits, at(5_003), 300_000), Allowance::Blocked);
        assert!(limiter.is_blocked(at(35_002)));
        assert_eq!(limiter.take(&limits, at(35_002), 1), Allowance::Over, "blocked although tokens are there");
        assert!(!limiter.is_blocked(at(35_003)));
        assert_eq!(limiter.take(&limits, at(35_003), 1), Allowance::Within);
    }

    #[test]
    fn the_first_window_begins_with_the_first_message() {
        let (limits, start) = (limits(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let first: [fn(&mut Limiter, &Limits, Instant) -> Allowance; 2] =
            [|limiter, limits, now| limiter.take(limits, now, 300_000), Limiter::refuse];
        for strike in first {
            let mut limiter = Limiter::new(&limits, start);
            assert_eq!(strike(&mut limiter, &limits, at(4_000)), Allowance::Over);
            assert_eq!(strike(&mut limiter, &limits, at(5_001)), Allowance::Over);
            assert_eq!(strike(&mut limiter, &limits, at(9_000)), Allowance::Blocked);
        }
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let limits = Limits { bytes_per_second: None, ..limits() };
        let start = Instant::now();
        let mut limiter = Limiter::new(&limits, start);
        (0..100).for_each(|_| assert_eq!(limiter.take(&limits, start, usize::MAX), Allowance::Within));
    }

    #[test]
    fn time_that_stands_still_or_goes_back_refills_nothing() {
        let (limits, start) = (limits(), Instant::now() + Duration::from_secs(60));
        let mut limiter = Limiter::new(&limits, start);
        assert_eq!(limiter.take(&limits, start, 256_000), Allowance::Within);
        assert_eq!(limiter.take(&limits, start - Duration::from_secs(30), 1), Allowance::Over);
        assert_eq!(limiter.take(&limits, start, 1), Allowance::Over);
    }
}
