//! Ranges over what is in memory and what is in the B-tree.

use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Bound;

use super::tree::{self, View};
use super::{Change, Changes, Each, Tables};
use crate::Error;
use crate::storage::Key;

impl Tables {
    /// What is newer than the B-tree in `from..to`, and the B-tree.
    pub(super) fn between(&self, from: &[u8], to: &[u8]) -> (Changes, View) {
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let mut newer = Changes::new();
        for table in self.frozen.iter().map(|frozen| &**frozen).chain([&self.active]) {
            newer.extend(table.range::<[u8], _>(bounds).map(|(key, change)| (key.clone(), change.clone())));
        }
        (newer, self.older.clone())
    }
}

type Newer = Peekable<btree_map::IntoIter<Key, Change>>;

/// Calls `each` with the entries of `from..to` in ascending order, until it returns `false`.
pub(super) fn merge(newer: Changes, older: &View, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), Error> {
    let mut newer: Newer = newer.into_iter().peekable();
    let mut goes_on = true;
    tree::scan(older, from, to, &mut |key, old| {
        while let Some((newer_key, change)) = newer.next_if(|(newer, _)| newer[..] < *key) {
            goes_on = goes_on && change.map_or(Ok(true), |value| each(&newer_key, value))?;
        }
        let value = match newer.next_if(|(newer, _)| newer[..] == *key) {
            Some((_, change)) => change,
            None => Some(old),
        };
        goes_on = goes_on && value.map_or(Ok(true), |value| each(key, value))?;
        Ok(goes_on)
    })?;
    for (key, change) in newer {
        goes_on = goes_on && change.map_or(Ok(true), |value| each(&key, value))?;
        if !goes_on {
            break;
        }
    }
    Ok(())
}
