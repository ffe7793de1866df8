//! What is newer than the B-tree, in memory. Blocks and tree nodes are in one map for each table of a history, by their index: most
//! come at the end of it, and numbers are compared faster than keys.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::page;
use super::{Change, Stored};
use crate::storage::Key;

/// What an entry costs in memory beside its value.
const ENTRY_OVERHEAD: usize = 64;

/// What a map costs that has one entry.
const RUN_OVERHEAD: usize = 512;

/// A history, and one of its tables.
pub(super) type Prefix = [u8; page::PREFIX];

/// Blocks, or tree nodes, of one history.
pub(super) type Run = BTreeMap<u64, Change>;

#[derive(Default)]
pub(super) struct MemTable {
    packed: BTreeMap<Prefix, Run>,
    others: BTreeMap<Key, Change>,
    bytes: usize,
}

impl MemTable {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packed.is_empty() && self.others.is_empty()
    }

    /// Makes changes. It is quickest when those of one history follow one another.
    pub(super) fn extend(&mut self, changes: impl IntoIterator<Item = (Key, Change)>) {
        let mut changes = changes.into_iter().peekable();
        while let Some((key, change)) = changes.next() {
            let Some((prefix, index)) = page::split(&key) else {
                self.bytes += ENTRY_OVERHEAD + key.len() + inline(&change);
                self.others.insert(key, change);
                continue;
            };
            let run = self.packed.entry(prefix).or_default();
            self.bytes += if run.is_empty() { RUN_OVERHEAD } else { 0 } + ENTRY_OVERHEAD + inline(&change);
            run.insert(index, change);
            while let Some((key, change)) = changes.next_if(|(key, _)| key.starts_with(&prefix)) {
                let Some((_, index)) = page::split(&key) else { continue };
                self.bytes += ENTRY_OVERHEAD + inline(&change);
                run.insert(index, change);
            }
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Change> {
        match page::split(key) {
            Some((prefix, index)) => self.packed.get(&prefix)?.get(&index),
            None => self.others.get(key),
        }
    }

    /// The changes in `from..to`, which are of one table.
    pub(super) fn between(&self, from: &[u8], to: &[u8]) -> Vec<(Key, Change)> {
        let Some((prefix, first)) = page::split_start(from) else {
            let bounds = (Bound::Included(from), Bound::Excluded(to));
            return self.others.range::<[u8], _>(bounds).map(|(key, change)| (key.clone(), change.clone())).collect();
        };
        let Some(run) = self.packed.get(&prefix) else { return Vec::new() };
        let end = match page::split_start(to) {
            Some((other, end)) if other == prefix => Bound::Excluded(end),
            _ => Bound::Unbounded,
        };
        let range = run.range((Bound::Included(first), end));
        range.map(|(&index, change)| (page::key(&prefix, index), change.clone())).collect()
    }

    /// Blocks and tree nodes, in runs.
    pub(super) fn packed(&self) -> impl Iterator<Item = (&Prefix, &Run)> {
        self.packed.iter()
    }

    /// All else.
    pub(super) fn others(&self) -> impl Iterator<Item = (&Key, &Change)> {
        self.others.iter()
    }

    /// All changes to values that are there.
    pub(super) fn values(&self) -> impl Iterator<Item = &Stored> {
        self.packed.values().flat_map(Run::values).chain(self.others.values()).flatten()
    }
}

fn inline(change: &Change) -> usize {
    match change {
        Some(Stored::Inline(value)) => value.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::storage::{Table, keys};

    fn value(number: u64) -> Change {
        Some(Stored::Inline(Bytes::copy_from_slice(&number.to_be_bytes())))
    }

    fn number(change: &Change) -> Option<u64> {
        match change {
            Some(Stored::Inline(value)) => Some(u64::from_be_bytes(value[..].try_into().expect("a number"))),
            _ => None,
        }
    }

    #[test]
    fn it_is_an_ordered_map_of_changes() {
        let mut table = MemTable::default();
        let mut model: BTreeMap<Key, Change> = BTreeMap::new();
        let tables = [Table::Block, Table::Node, Table::Bitfield, Table::Local];
        for step in 0..2000_u64 {
            let random = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let key = match random % 7 {
                0 => keys::alias(&(random % 90).to_le_bytes()),
                _ => tables[(random / 7 % 4) as usize].at((random / 28 % 3) as u32, random / 100 % 50),
            };
            let change = if random % 5 == 0 { None } else { value(step) };
            table.extend([(key.clone(), change.clone())]);
            model.insert(key, change);
        }
        let pairs = |changes: Vec<(Key, Change)>| {
            changes.into_iter().map(|(key, change)| (key, number(&change))).collect::<Vec<_>>()
        };
        for (key, change) in &model {
            assert_eq!(table.get(key).map(number), Some(number(change)), "{key:?}");
        }
        assert!(table.get(&Table::Block.at(9, 0)).is_none());
        assert_eq!(table.values().count(), model.values().flatten().count());
        for pointer in 0..3 {
            for kind in tables {
                for (from, to) in [(0, 50), (7, 20), (30, 31), (60, 70)] {
                    let (from, to) = (kind.at(pointer, from), kind.at(pointer, to));
                    let expected =
                        model.range(from.clone()..to.clone()).map(|(key, change)| (key.clone(), change.clone()));
                    assert_eq!(pairs(table.between(&from, &to)), pairs(expected.collect()), "{from:?}..{to:?}");
                    let end = kind.end(pointer);
                    let expected =
                        model.range(from.clone()..end.clone()).map(|(key, change)| (key.clone(), change.clone()));
                    assert_eq!(pairs(table.between(&from, &end)), pairs(expected.collect()), "{from:?}..{end:?}");
                }
            }
        }
        let (from, to) = keys::prefixed(Key::from_slice(&[2]));
        assert_eq!(table.between(&from, &to).len(), model.range(from..to).count());
    }
}
