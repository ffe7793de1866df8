//! Pages of the B-tree that were looked at several times, as they are found quickest. What is read in order, sent to peers or
//! climbed over is in few of them; to find a page in the B-tree takes longer than to find an entry in it.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::Change;
use super::memtable::Prefix;
use super::page::Decoded;
use crate::Error;

/// So many pages are kept, of 5 kB at most.
const MAX_PAGES: usize = 128;

/// So many pages that were looked at once are remembered.
const MAX_SEEN: usize = 256;

type Name = (Prefix, u64);

struct Kept {
    page: Decoded,
    used: u64,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<Name, Kept>,
    seen: Vec<Option<Name>>,
    clock: u64,
}

/// For one state of the B-tree.
#[derive(Default)]
pub(super) struct Cache {
    state: Mutex<State>,
}

impl Cache {
    /// The entry, or that there is none, if its page is kept.
    pub(super) fn get(&self, prefix: Prefix, index: u64) -> Result<Option<Change>, Error> {
        let mut state = self.state.lock();
        let State { kept, clock, .. } = &mut *state;
        let Some((_, kept)) = kept.range_mut((prefix, 0)..=(prefix, index)).next_back() else { return Ok(None) };
        if !kept.page.covers(index) {
            return Ok(None);
        }
        *clock += 1;
        kept.used = *clock;
        let found = kept.page.find(index)?;
        Ok(Some(found.map(|value| value.to_stored())))
    }

    /// Whether the page that begins with `first` is worth to be kept: it was looked at before.
    pub(super) fn is_wanted(&self, prefix: Prefix, first: u64) -> bool {
        let mut state = self.state.lock();
        if state.seen.is_empty() {
            state.seen.resize(MAX_SEEN, None);
        }
        let pointer = u64::from_le_bytes([prefix[1], prefix[2], prefix[3], prefix[4], prefix[5], 0, 0, 0]);
        let place = (first ^ pointer).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        state.seen[place as usize].replace((prefix, first)) == Some((prefix, first))
    }

    pub(super) fn keep(&self, prefix: Prefix, page: Decoded) {
        let mut state = self.state.lock();
        if state.kept.len() >= MAX_PAGES
            && let Some(oldest) = state.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(name, _)| *name)
        {
            state.kept.remove(&oldest);
        }
        state.clock += 1;
        let used = state.clock;
        state.kept.insert((prefix, page.first()), Kept { page, used });
    }
}
