//! Ranges over what is in memory and what is in the B-tree.

use std::collections::BTreeMap;
use std::iter::Peekable;

use super::tree::{self, View};
use super::{Change, Each, Tables};
use crate::Error;
use crate::storage::Key;

impl Tables {
    /// What is newer than the B-tree in `from..to`, in ascending order, and the B-tree.
    pub(super) fn between(&self, from: &[u8], to: &[u8]) -> (Vec<(Key, Change)>, View) {
        let active = self.active.between(from, to);
        let frozen = self.frozen.as_ref().map_or_else(Vec::new, |frozen| frozen.between(from, to));
        let newer = match (frozen.is_empty(), active.is_empty()) {
            (true, _) => active,
            (_, true) => frozen,
            _ => frozen.into_iter().chain(active).collect::<BTreeMap<_, _>>().into_iter().collect(),
        };
        (newer, self.older.clone())
    }
}

type Newer = Peekable<std::vec::IntoIter<(Key, Change)>>;

/// Calls `each` with the entries of `from..to` in ascending order, until it returns `false`.
pub(super) fn merge(
    newer: Vec<(Key, Change)>,
    older: &View,
    from: &[u8],
    to: &[u8],
    each: &mut Each<'_>,
) -> Result<(), Error> {
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
