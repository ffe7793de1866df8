//! Of which blocks a peer wants to hear when they come: JavaScript's `RemoteWants` (`lib/wants.js`).

use std::collections::HashSet;

use super::peer::SEGMENT;

/// So many blocks at the end of a core every peer is told of.
pub(crate) const LAST_BLOCKS: u64 = 256;

/// The shortest part of a core that can be wanted by itself.
const MIN_RANGE: u64 = 32;

/// So many parts are remembered; who wants more is told of everything.
const MAX_RANGES: usize = 512;

/// Of so many lengths.
const MAX_LENGTHS: usize = 4;

/// So many ranges of which one block is enough.
const MAX_ANY: usize = 16;

/// So many parts of a range that is to be told of are looked for.
const MAX_LOOK: usize = 3;

#[derive(Debug, Default)]
pub(crate) struct RemoteWants {
    all: bool,
    any: Vec<(u64, u64)>,
    /// Parts by their length, a power of two: which multiples of it.
    parts: Vec<(u64, HashSet<u64>)>,
    size: usize,
}

fn is_part(start: u64, length: u64) -> bool {
    (MIN_RANGE..=SEGMENT).contains(&length) && length.is_power_of_two() && start.is_multiple_of(length)
}

impl RemoteWants {
    /// Whether the wish is to be answered: one that is too long is not.
    pub(crate) fn add(&mut self, start: u64, length: u64, any: bool) -> bool {
        if any {
            match self.any.len() < MAX_ANY {
                true => self.any.push((start, length)),
                false => self.all = true,
            }
            return true;
        }
        if length > SEGMENT {
            return false;
        }
        if !is_part(start, length) || self.size >= MAX_RANGES {
            self.all = true;
            return true;
        }
        if let Some((_, parts)) = self.parts.iter_mut().find(|(of, _)| *of == length) {
            self.size += usize::from(parts.insert(start / length));
        } else if self.parts.len() < MAX_LENGTHS {
            self.parts.push((length, HashSet::from([start / length])));
            self.size += 1;
        } else {
            self.all = true;
        }
        true
    }

    pub(crate) fn remove(&mut self, start: u64, length: u64, any: bool) {
        if any {
            if let Some(at) = self.any.iter().position(|&range| range == (start, length)) {
                self.any.swap_remove(at);
            }
            return;
        }
        if !is_part(start, length) {
            return;
        }
        if let Some((_, parts)) = self.parts.iter_mut().find(|(of, _)| *of == length) {
            self.size -= usize::from(parts.remove(&(start / length)));
        }
        self.parts.retain(|(_, parts)| !parts.is_empty());
    }

    fn has(&self, block: u64) -> bool {
        self.parts.iter().any(|(length, parts)| parts.contains(&(block / length)))
    }

    /// Whether the peer wants to hear of a range: it may be told of one that it does not want, never the other way round.
    pub(crate) fn has_range(&self, start: u64, length: u64) -> bool {
        let end = start.saturating_add(length);
        if self.all || self.any.iter().any(|&(first, many)| first < end && start < first.saturating_add(many)) {
            return true;
        }
        let Some(smallest) = self.parts.iter().map(|(length, _)| *length).min() else { return false };
        let mut at = start - start % smallest;
        for _ in 0..MAX_LOOK {
            if at >= end {
                return false;
            }
            if self.has(at) {
                return true;
            }
            at = at.saturating_add(smallest);
        }
        at < end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_told_until_it_is_not_wanted_any_more() {
        let mut wants = RemoteWants::default();
        assert!(!wants.has_range(0, 1));
        assert!(wants.add(SEGMENT, SEGMENT, false));
        assert!(wants.add(64, 32, false));
        assert!(wants.add(64, 32, false));
        for (start, length, wanted) in
            [(SEGMENT + 7, 1, true), (0, 1, false), (40, 30, true), (96, 1, false), (0, 200, true)]
        {
            assert_eq!(wants.has_range(start, length), wanted, "{start}+{length}");
        }
        wants.remove(64, 32, false);
        wants.remove(SEGMENT, SEGMENT, false);
        assert!(!wants.has_range(40, 30) && !wants.has_range(SEGMENT + 7, 1));
        assert!(wants.add(10, 10, true));
        assert!(wants.has_range(19, 1) && !wants.has_range(20, 1));
        wants.remove(10, 10, true);
        assert!(!wants.has_range(19, 1));
    }

    #[test]
    fn who_wants_too_much_is_told_of_everything_and_nothing_grows() {
        let mut wants = RemoteWants::default();
        assert!(!wants.add(0, 2 * SEGMENT, false) && !wants.has_range(0, 1));
        for part in 0..100_000 {
            assert!(wants.add(32 * part, 32, false));
        }
        assert_eq!(wants.size, MAX_RANGES);
        assert!(wants.has_range(u64::MAX - 1, 1));
        for wish in [(1, 32), (0, 33), (0, 16)] {
            let mut wants = RemoteWants::default();
            assert!(wants.add(wish.0, wish.1, false) && wants.has_range(1 << 40, 1));
        }
        let mut wants = RemoteWants::default();
        for at in 0..1000 {
            wants.add(at, 1, true);
        }
        assert_eq!(wants.any.len(), MAX_ANY);
    }
}
