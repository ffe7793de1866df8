//! Deleted ranges.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Keys from `start`, included, to `end`, excluded, that were deleted if they are older.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeletedRange {
    pub(super) start: Vec<u8>,
    pub(super) end: Vec<u8>,
    pub(super) sequence: u64,
}

/// Deleted ranges, to be asked about keys.
#[derive(Debug, Default)]
pub(super) struct DeletedRanges {
    /// From each key on to the next, the newest deletion.
    newest: BTreeMap<Vec<u8>, u64>,
}

impl DeletedRanges {
    pub(super) fn new(mut ranges: Vec<DeletedRange>) -> Self {
        ranges.retain(|range| range.start < range.end);
        let mut borders: Vec<(&[u8], bool, u64)> = Vec::new();
        for range in &ranges {
            borders.push((&range.start, true, range.sequence));
            borders.push((&range.end, false, range.sequence));
        }
        borders.sort_unstable();
        let mut newest = BTreeMap::new();
        // Those that the place is in, each with a number of its own: two may have been deleted at once.
        let mut open: BTreeMap<u64, u64> = BTreeMap::new();
        for (key, begins, sequence) in borders {
            let count = open.entry(sequence).or_default();
            if begins {
                *count += 1;
            } else {
                *count -= 1;
                if *count == 0 {
                    open.remove(&sequence);
                }
            }
            newest.insert(key.to_vec(), open.last_key_value().map_or(0, |(sequence, _)| *sequence));
        }
        Self { newest }
    }

    /// Whether a key that was written at `sequence` was deleted since.
    pub(super) fn covers(&self, key: &[u8], sequence: u64) -> bool {
        let before = self.newest.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, &deleted)| deleted > sequence)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_newest_deletion_counts() {
        let range = |start: &str, end: &str, sequence| DeletedRange { start: start.into(), end: end.into(), sequence };
        let ranges = vec![
            range("b", "f", 5),
            range("d", "h", 9),
            range("c", "c", 20),
            range("e", "g", 7),
            range("b", "f", 5),
            range("h", "i", 3),
        ];
        let deleted = DeletedRanges::new(ranges.clone());
        let newest = |key: &[u8]| {
            let over = ranges.iter().filter(|range| range.start[..] <= *key && *key < range.end[..]);
            over.map(|range| range.sequence).max().unwrap_or(0)
        };
        let keys: BTreeSet<String> = ('a'..='k').flat_map(|c| [c.to_string(), format!("{c}x")]).collect();
        for key in keys {
            for sequence in 0..25 {
                let expected = newest(key.as_bytes()) > sequence;
                assert_eq!(deleted.covers(key.as_bytes(), sequence), expected, "{key} {sequence}");
            }
        }
    }
}
