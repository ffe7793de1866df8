//! The blocks that someone waits for and that are asked of nobody, in the order in which they were wanted.

use std::collections::{BTreeMap, HashMap};

use super::peer::PeerId;
use super::ranges::Looked;

/// So many of the blocks that wait are looked at in one go for one that a peer has.
pub(crate) const MAX_LOOK: usize = 1024;

/// What is known of a block and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Can {
    /// It can be asked for it.
    Give,
    /// It has it, but cannot be asked for it now.
    GiveLater,
    /// It did not say that it has it.
    Not,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// By the number of its place.
    blocks: BTreeMap<u64, u64>,
    next: u64,
    /// How far it was searched for what a peer has.
    looked: HashMap<PeerId, Looked>,
    /// So many blocks were looked at.
    pub(crate) words: u64,
}

impl Queue {
    /// Puts a block at the end. Its place.
    pub(crate) fn push(&mut self, index: u64) -> u64 {
        let place = self.next;
        self.next += 1;
        self.blocks.insert(place, index);
        place
    }

    pub(crate) fn remove(&mut self, place: u64) {
        self.blocks.remove(&place);
    }

    /// The next block that a peer can give, from where the last search for it ended; and whether there may be more that was not
    /// looked at.
    pub(crate) fn next(&mut self, peer: PeerId, mut can: impl FnMut(u64) -> Can) -> (Option<u64>, bool) {
        let looked = self.looked.entry(peer).or_default();
        let mut found = None;
        let mut last = None;
        for (&place, &index) in self.blocks.range(looked.from..).take(MAX_LOOK) {
            last = Some(place);
            self.words += 1;
            match can(index) {
                Can::Give => {
                    found = Some((place, index));
                    break;
                }
                Can::GiveLater => looked.refused = true,
                Can::Not => {}
            }
        }
        looked.from = last.map_or(looked.from, |place| place + 1);
        if let Some((place, index)) = found {
            self.blocks.remove(&place);
            return (Some(index), false);
        }
        let more = self.blocks.range(looked.from..).next().is_some();
        if !more {
            looked.end(self.next);
        }
        (None, more)
    }

    /// What a peer, or any, could not give may be asked for again, and all from the place `from` on.
    pub(crate) fn look_again(&mut self, peer: Option<PeerId>, from: u64) {
        for (_, looked) in self.looked.iter_mut().filter(|(id, _)| peer.is_none_or(|peer| peer == **id)) {
            looked.look_again(from);
        }
    }

    #[cfg(test)]
    pub(crate) fn remembers(&self, peer: PeerId) -> bool {
        self.looked.contains_key(&peer)
    }

    /// The peer is gone.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        self.looked.remove(&peer);
    }
}
