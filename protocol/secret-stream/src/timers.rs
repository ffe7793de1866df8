//! When an empty message keeps the connection alive, and when silence or a peer that does not read ends it.

use std::time::{Duration, Instant};

/// Keep-alives of streams with a common beat leave at multiples of this time.
const BEAT: Duration = Duration::from_millis(100);

/// The clocks of a stream. Reads and writes only note the time; whoever drives the stream waits for
/// [`deadline`](Timers::deadline) and then asks [`poll`](Timers::poll) what is due.
#[derive(Debug)]
pub struct Timers {
    keep_alive: Option<Duration>,
    /// The beat counts from here.
    beat: Option<Instant>,
    timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    last_write: Instant,
    last_read: Instant,
    /// Since when the transport has taken nothing of what waits.
    stuck_since: Option<Instant>,
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
    /// The transport took nothing for the write timeout, though something waits: give the stream up.
    Stuck,
}

impl Timers {
    /// Clocks that start at `now`. A duration of zero is as good as `None`.
    pub fn new(keep_alive: Option<Duration>, timeout: Option<Duration>, now: Instant) -> Self {
        let mut timers = Self {
            keep_alive: None,
            beat: None,
            timeout: None,
            write_timeout: None,
            last_write: now,
            last_read: now,
            stuck_since: None,
        };
        timers.set_keep_alive(keep_alive, now);
        timers.set_timeout(timeout, now);
        timers
    }

    /// Changes the keep-alive time and starts it anew.
    pub fn set_keep_alive(&mut self, keep_alive: Option<Duration>, now: Instant) {
        self.keep_alive = keep_alive.filter(|every| !every.is_zero());
        self.last_write = now;
    }

    /// Has keep-alives leave at the beat that counts from `beat`, a little early, instead of at their own time.
    pub fn set_beat(&mut self, beat: Option<Instant>) {
        self.beat = beat;
    }

    /// When the next keep-alive is due. A keep-alive time of a few beats is not moved.
    fn keep_alive_at(&self) -> Option<Instant> {
        let every = self.keep_alive?;
        let at = self.last_write.checked_add(every)?;
        let Some(beat) = self.beat.filter(|_| every >= 10 * BEAT) else { return Some(at) };
        let since = at.saturating_duration_since(beat).as_nanos() % BEAT.as_nanos();
        at.checked_sub(Duration::from_nanos(since as u64))
    }

    /// Changes the read timeout and starts it anew.
    pub fn set_timeout(&mut self, timeout: Option<Duration>, now: Instant) {
        self.timeout = timeout.filter(|after| !after.is_zero());
        self.last_read = now;
    }

    /// Changes how long the transport may take nothing of what waits. A duration of zero is as good as `None`.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout.filter(|after| !after.is_zero());
    }

    /// Notes that the transport took something of what waits.
    pub fn moved(&mut self) {
        self.stuck_since = None;
    }

    /// Notes that the transport takes nothing more of what waits. Whether it did until now.
    pub fn stuck(&mut self, now: Instant) -> bool {
        let is_new = self.stuck_since.is_none();
        self.stuck_since.get_or_insert(now);
        is_new
    }

    /// Notes that something was written.
    pub fn wrote(&mut self, now: Instant) {
        self.last_write = now;
    }

    /// Notes that something was read.
    pub fn read(&mut self, now: Instant) {
        self.last_read = now;
    }

    /// When [`poll`](Timers::poll) is to be asked, or `None` when never.
    pub fn deadline(&self) -> Option<Instant> {
        let keep_alive = self.keep_alive_at();
        let timeout = self.timeout.and_then(|after| self.last_read.checked_add(after));
        let stuck = self.write_timeout.zip(self.stuck_since).and_then(|(after, since)| since.checked_add(after));
        keep_alive.into_iter().chain(timeout).chain(stuck).min()
    }

    /// What is due at `now`. A keep-alive that is due counts as written.
    pub fn poll(&mut self, now: Instant) -> Due {
        if self.timeout.is_some_and(|after| now.saturating_duration_since(self.last_read) >= after) {
            return Due::Timeout;
        }
        if let (Some(after), Some(since)) = (self.write_timeout, self.stuck_since)
            && now.saturating_duration_since(since) >= after
        {
            return Due::Stuck;
        }
        if self.keep_alive_at().is_some_and(|at| at <= now) {
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
    fn streams_with_a_common_beat_keep_alive_together() {
        let beat = Instant::now();
        let millis = Duration::from_millis;
        let due = |wrote: u64, every: u64| {
            let mut timers = Timers::new(Some(millis(every)), None, beat + millis(wrote));
            timers.set_beat(Some(beat));
            let at = timers.deadline().unwrap();
            assert_eq!(timers.poll(at - millis(1)), Due::Nothing);
            assert_eq!(timers.poll(at), Due::KeepAlive);
            (at - beat).as_millis()
        };
        assert_eq!([due(0, 5000), due(1, 5000), due(99, 5000), due(100, 5000)], [5000, 5000, 5000, 5100]);
        // From one beat to the next one, and not at once again.
        assert_eq!(due(5100, 5000), 10_100);
        assert_eq!(due(37, 500), 537, "short times are kept");
    }

    #[test]
    fn a_transport_that_takes_nothing_ends_the_stream_and_any_progress_saves_it() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut timers = Timers::new(None, None, start);
        timers.set_write_timeout(Some(30 * second));
        assert_eq!(timers.deadline(), None);
        assert!(timers.stuck(start + second) && !timers.stuck(start + 20 * second));
        assert_eq!(timers.deadline(), Some(start + 31 * second));
        timers.moved();
        assert_eq!(timers.poll(start + 40 * second), Due::Nothing);
        timers.stuck(start + 40 * second);
        assert_eq!(timers.poll(start + 69 * second), Due::Nothing);
        assert_eq!(timers.poll(start + 70 * second), Due::Stuck);
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
