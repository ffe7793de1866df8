//! When an empty message keeps the connection alive, and when silence ends it.

use std::time::{Duration, Instant};

/// The two clocks of a stream. Reads and writes only note the time; whoever drives the stream waits for
/// [`deadline`](Timers::deadline) and then asks [`poll`](Timers::poll) what is due.
#[derive(Debug)]
pub struct Timers {
    keep_alive: Option<Duration>,
    timeout: Option<Duration>,
    last_write: Instant,
    last_read: Instant,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Nothing was written for the keep-alive time: send an empty message.
    KeepAlive,
    /// Nothing was read for the timeout: give the stream up.
    Timeout,
}

impl Timers {
    /// Clocks that start at `now`. A duration of zero is as good as `None`.
    pub fn new(keep_alive: Option<Duration>, timeout: Option<Duration>, now: Instant) -> Self {
        let mut timers = Self { keep_alive: None, timeout: None, last_write: now, last_read: now };
        timers.set_keep_alive(keep_alive, now);
        timers.set_timeout(timeout, now);
        timers
    }

    /// Changes the keep-alive time and starts it anew.
    pub fn set_keep_alive(&mut self, keep_alive: Option<Duration>, now: Instant) {
        self.keep_alive = keep_alive.filter(|every| !every.is_zero());
        self.last_write = now;
    }

    /// Changes the read timeout and starts it anew.
    pub fn set_timeout(&mut self, timeout: Option<Duration>, now: Instant) {
        self.timeout = timeout.filter(|after| !after.is_zero());
        self.last_read = now;
    }

    /// Notes that something was written.
    pub fn wrote(&mut self, now: Instant) {
        self.last_write = now;
    }

    /// Notes that something was read.
    pub fn read(&mut self, now: Instant) {
        self.last_read = now;
    }

    /// Whether there is anything to wait for.
    pub fn is_idle(&self) -> bool {
        self.keep_alive.is_none() && self.timeout.is_none()
    }

    /// When [`poll`](Timers::poll) is to be asked, or `None` when never.
    pub fn deadline(&self) -> Option<Instant> {
        let keep_alive = self.keep_alive.and_then(|every| self.last_write.checked_add(every));
        let timeout = self.timeout.and_then(|after| self.last_read.checked_add(after));
        keep_alive.into_iter().chain(timeout).min()
    }

    /// What is due at `now`. A keep-alive that is due counts as written.
    pub fn poll(&mut self, now: Instant) -> Due {
        if self.timeout.is_some_and(|after| now.saturating_duration_since(self.last_read) >= after) {
            return Due::Timeout;
        }
        if self.keep_alive.is_some_and(|every| now.saturating_duration_since(self.last_write) >= every) {
            self.last_write = now;
            return Due::KeepAlive;
        }
        Due::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_postpones_the_keep_alive() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut timers = Timers::new(Some(5 * second), None, start);
        assert_eq!(timers.deadline(), Some(start + 5 * second));
        timers.wrote(start + 3 * second);
        assert_eq!(timers.poll(start + 5 * second), Due::Nothing);
        assert_eq!(timers.deadline(), Some(start + 8 * second));
        assert_eq!(timers.poll(start + 8 * second), Due::KeepAlive);
        assert_eq!(timers.poll(start + 8 * second), Due::Nothing);
        assert_eq!(timers.deadline(), Some(start + 13 * second));
    }

    #[test]
    fn only_reading_postpones_the_timeout() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut timers = Timers::new(Some(Duration::ZERO), Some(4 * second), start);
        timers.wrote(start + 3 * second);
        timers.read(start + second);
        assert_eq!(timers.deadline(), Some(start + 5 * second));
        assert_eq!(timers.poll(start + 5 * second), Due::Timeout);
    }
}
