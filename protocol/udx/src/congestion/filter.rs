//! The best value of a sliding window in constant space (Kathleen Nichols' algorithm, known from Linux' `lib/minmax`).
//!
//! Three candidates are kept: the best of the window, the best since that one, and the best since the second. A new best
//! replaces all; otherwise candidates move up when they grow older than a quarter, half or the whole of the window.

/// One candidate.
#[derive(Clone, Copy, Debug, Default)]
struct Sample<V> {
    at: u64,
    value: V,
}

/// A windowed filter; `BETTER` decides what is kept.
#[derive(Clone, Copy, Debug)]
struct Filter<V> {
    samples: [Sample<V>; 3],
    window: u64,
    filled: bool,
}

impl<V: Copy + PartialOrd + Default> Filter<V> {
    fn new(window: u64) -> Self {
        Self { samples: [Sample::default(); 3], window, filled: false }
    }

    fn update(&mut self, at: u64, value: V, as_good: impl Fn(V, V) -> bool) {
        let new = Sample { at, value };
        let age = |sample: &Sample<V>| at.saturating_sub(sample.at);
        if !self.filled || as_good(value, self.samples[0].value) || age(&self.samples[2]) > self.window {
            self.samples = [new; 3];
            self.filled = true;
            return;
        }
        if as_good(value, self.samples[1].value) {
            self.samples[1] = new;
            self.samples[2] = new;
        } else if as_good(value, self.samples[2].value) {
            self.samples[2] = new;
        }
        if age(&self.samples[0]) > self.window {
            self.samples = [self.samples[1], self.samples[2], new];
            if age(&self.samples[0]) > self.window {
                self.samples = [self.samples[1], self.samples[2], new];
            }
        } else if self.samples[1].at == self.samples[0].at && age(&self.samples[1]) > self.window / 4 {
            self.samples[1] = new;
            self.samples[2] = new;
        } else if self.samples[2].at == self.samples[1].at && age(&self.samples[2]) > self.window / 2 {
            self.samples[2] = new;
        }
    }
}

/// The largest value of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowedMax(Filter<f64>);

impl WindowedMax {
    /// `window` is in the unit of the `at` values.
    pub(crate) fn new(window: u64) -> Self {
        Self(Filter::new(window))
    }

    pub(crate) fn update(&mut self, at: u64, value: f64) {
        self.0.update(at, value, |new, old| new >= old);
    }

    /// Zero before the first update.
    pub(crate) fn get(&self) -> f64 {
        self.0.samples[0].value
    }
}

/// The smallest value of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowedMin(Filter<u64>);

impl WindowedMin {
    /// `window` is in the unit of the `at` values.
    pub(crate) fn new(window: u64) -> Self {
        Self(Filter::new(window))
    }

    pub(crate) fn update(&mut self, at: u64, value: u64) {
        self.0.update(at, value, |new, old| new <= old);
    }

    pub(crate) fn get(&self) -> Option<u64> {
        self.0.filled.then_some(self.0.samples[0].value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_rises_at_once_and_falls_after_the_window() {
        let mut max = WindowedMax::new(10);
        max.update(0, 5.0);
        max.update(1, 9.0);
        assert_eq!(max.get(), 9.0);
        for at in 2..=11 {
            max.update(at, 3.0);
            assert_eq!(max.get(), 9.0);
        }
        max.update(12, 3.0);
        assert_eq!(max.get(), 3.0);
    }

    #[test]
    fn min_keeps_the_runner_up() {
        let mut min = WindowedMin::new(100);
        assert_eq!(min.get(), None);
        min.update(0, 10);
        min.update(50, 20);
        min.update(80, 30);
        assert_eq!(min.get(), Some(10));
        min.update(101, 40);
        assert_eq!(min.get(), Some(20));
    }
}
