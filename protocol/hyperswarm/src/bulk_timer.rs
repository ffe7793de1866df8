//! One clock for many waiting items.
//!
//! An item does not get a timer of its own: it waits in a batch, and batches move on at the ticks of one interval. An item that
//! is added leaves at the second tick after it, so that with an interval of 0.66 of the nominal delay it waits between 0.66 and
//! 1.33 of that delay (JavaScript's `bulk-timer.js`).

use std::time::{Duration, Instant};

/// The interval, as a percentage of the nominal delay.
const INTERVAL_PERCENT: u128 = 66;

/// The shortest interval: what a zero delay becomes.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// Items that wait about `delay`. Sans-IO: the owner calls [`BulkTimer::tick`] at [`BulkTimer::deadline`].
#[derive(Debug)]
pub(crate) struct BulkTimer<T> {
    interval: Duration,
    /// The next tick. The first item ever sets the phase, and the phase stays.
    next_tick: Option<Instant>,
    leaving: Vec<T>,
    waiting: Vec<T>,
}

impl<T> BulkTimer<T> {
    /// A timer whose items wait between 0.66 and 1.33 of `delay`.
    pub(crate) fn new(delay: Duration) -> Self {
        // Whole milliseconds, rounded down, as JavaScript's timers count.
        let millis = delay.as_millis() * INTERVAL_PERCENT / 100;
        let interval = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).max(MIN_INTERVAL);
        Self { interval, next_tick: None, leaving: Vec::new(), waiting: Vec::new() }
    }

    /// Starts the wait of `item`.
    pub(crate) fn add(&mut self, item: T, now: Instant) {
        let next = self.next_tick.get_or_insert(now + self.interval);
        // Nobody calls tick() while nothing waits, but the ticks go on.
        if *next <= now && self.leaving.is_empty() && self.waiting.is_empty() {
            *next = following(*next, self.interval, now);
        }
        self.waiting.push(item);
    }

    /// Forgets one item.
    pub(crate) fn remove(&mut self, item: &T)
    where
        T: PartialEq,
    {
        self.leaving.retain(|other| other != item);
        self.waiting.retain(|other| other != item);
    }

    /// Forgets all items.
    pub(crate) fn clear(&mut self) {
        self.leaving.clear();
        self.waiting.clear();
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        self.leaving.len() + self.waiting.len()
    }

    /// When [`BulkTimer::tick`] is next due. `None` while nothing waits.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.leaving.is_empty() && self.waiting.is_empty() { None } else { self.next_tick }
    }

    /// The items whose wait is over at `now`. At most one batch leaves, however late the call is.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<T> {
        match self.deadline() {
            Some(due) if due <= now => {
                self.next_tick = Some(following(due, self.interval, now));
                std::mem::replace(&mut self.leaving, std::mem::take(&mut self.waiting))
            }
            _ => Vec::new(),
        }
    }
}

/// The first tick after `now`, in phase with `tick`.
fn following(tick: Instant, interval: Duration, now: Instant) -> Instant {
    let missed = now.saturating_duration_since(tick).as_nanos() / interval.as_nanos() + 1;
    tick + interval * u32::try_from(missed).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nominal delay of the tests; ticks are every 330 ms.
    const DELAY: Duration = Duration::from_millis(500);

    /// Runs `timer` until `until`, and gives what left, with the time in milliseconds since `start`.
    fn run(timer: &mut BulkTimer<u32>, start: Instant, until: u64) -> Vec<(u128, Vec<u32>)> {
        let until = start + Duration::from_millis(until);
        let mut left = Vec::new();
        while let Some(due) = timer.deadline().filter(|due| *due <= until) {
            let batch = timer.tick(due);
            if !batch.is_empty() {
                left.push(((due - start).as_millis(), batch));
            }
        }
        left
    }

    #[test]
    fn items_added_together_leave_together() {
        let start = Instant::now();
        let mut timer = BulkTimer::new(DELAY);
        timer.add(1, start);
        timer.add(2, start);
        assert_eq!(run(&mut timer, start, 750), [(660, vec![1, 2])]);
    }

    #[test]
    fn items_added_later_leave_in_another_batch() {
        let start = Instant::now();
        let mut timer = BulkTimer::new(DELAY);
        timer.add(1, start);
        assert_eq!(run(&mut timer, start, 750), [(660, vec![1])]);
        timer.add(2, start + Duration::from_millis(750));
        assert_eq!(run(&mut timer, start, 1500), [(1320, vec![2])]);
    }

    #[test]
    fn nothing_leaves_twice() {
        let start = Instant::now();
        let mut timer = BulkTimer::new(DELAY);
        timer.add(1, start);
        assert_eq!(run(&mut timer, start, 750).len(), 1);
        assert_eq!(timer.deadline(), None);
        assert_eq!(run(&mut timer, start, 5000).len(), 0);
    }

    #[test]
    fn the_wait_is_between_two_thirds_and_four_thirds_of_the_delay() {
        for offset in 0..2000 {
            let start = Instant::now();
            let mut timer = BulkTimer::new(DELAY);
            timer.add(0, start);
            run(&mut timer, start, offset);
            timer.add(1, start + Duration::from_millis(offset));
            let left = run(&mut timer, start, offset + 1000);
            let at = left.iter().find(|(_, batch)| batch.contains(&1)).expect("it leaves").0;
            let waited = at - u128::from(offset);
            assert!((330..=660).contains(&waited), "added at {offset}, waited {waited}");
        }
    }

    #[test]
    fn a_late_tick_lets_one_batch_go_and_keeps_the_phase() {
        let start = Instant::now();
        let mut timer = BulkTimer::new(DELAY);
        timer.add(1, start);
        let late = start + Duration::from_secs(10);
        assert!(timer.tick(late).is_empty());
        let due = timer.deadline().unwrap();
        assert!(due > late && due <= late + Duration::from_millis(330));
        assert_eq!((due - start).as_millis() % 330, 0);
        assert_eq!(timer.tick(due), [1]);
    }

    #[test]
    fn a_zero_delay_still_ticks() {
        let start = Instant::now();
        let mut timer = BulkTimer::new(Duration::ZERO);
        timer.add(1, start);
        assert_eq!(run(&mut timer, start, 10), [(2, vec![1])]);
    }
}
