//! Ranges of blocks that are wanted, and how far they were searched for what a peer has.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::peer::{Peer, PeerId, SEGMENT};
use crate::Hypercore;

/// So many words of 64 blocks are looked at in one go at most. A peer says how long its core is, and we may have nearly all of it.
pub(crate) const MAX_LOOK_WORDS: usize = 16_384;

/// A block that a peer has but cannot be asked for counts as so many words.
const REFUSED_WORDS: usize = 64;

/// How far a range, or what waits, was searched for what a peer has.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Looked {
    /// What is before was asked for, or the peer does not have it.
    pub(crate) from: u64,
    /// But for blocks that it has, and that could not be asked of it then.
    pub(crate) refused: bool,
}

impl Looked {
    /// All was searched. Those that were refused may be asked for when something changed.
    pub(crate) fn end(&mut self, end: u64) {
        *self = Self { from: if self.refused { 0 } else { end }, refused: false };
    }

    /// What is from `from` on may be asked for again, and all that was refused.
    pub(crate) fn look_again(&mut self, from: u64) {
        *self = Self { from: if self.refused { 0 } else { self.from.min(from) }, refused: false };
    }
}

#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) id: u64,
    /// What is before it is here.
    pub(crate) start: u64,
    pub(crate) end: Option<u64>,
    pub(crate) done: Option<oneshot::Sender<()>>,
    looked: HashMap<PeerId, Looked>,
}

/// A search for a block to ask a peer for.
pub(crate) struct Search<'a> {
    pub(crate) core: &'a Hypercore,
    pub(crate) id: PeerId,
    pub(crate) peer: &'a Peer,
    /// Blocks that were asked of anyone, by words of 64.
    pub(crate) asked: &'a HashMap<u64, u64>,
    /// How many words may be looked at still.
    pub(crate) words: usize,
    /// A block of which the peer has not said whether it has it.
    pub(crate) not_told: Option<u64>,
}

impl Search<'_> {
    /// Whether it ended before it saw everything.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.words == 0
    }

    /// The next block of a range that the peer has, nobody was asked for, and is `askable`.
    pub(crate) fn next(&mut self, range: &mut Range, askable: &impl Fn(u64) -> bool) -> Option<u64> {
        let end = range.end.unwrap_or(u64::MAX).min(self.core.length()).min(self.peer.remote.length);
        let looked = range.looked.entry(self.id).or_default();
        let mut index = range.start.max(looked.from);
        while index < end {
            if self.is_cut_short() {
                looked.from = index;
                return None;
            }
            self.words -= 1;
            let word = index / 64;
            let missing = !self.core.bitfield_word(word) & !self.asked.get(&word).copied().unwrap_or(0);
            let missing = missing & (u64::MAX << (index % 64));
            let mut there = missing & self.peer.word(word);
            if there == 0 {
                index = self.after(word, missing, end);
                continue;
            }
            while there != 0 {
                let first = word * 64 + u64::from(there.trailing_zeros());
                if first < end && askable(first) {
                    looked.from = first;
                    return Some(first);
                }
                looked.refused |= first < end;
                self.words = self.words.saturating_sub(REFUSED_WORDS);
                there &= there - 1;
            }
            index = (word + 1) * 64;
        }
        looked.end(end);
        None
    }

    /// Where to look after a word of which the peer has nothing that is `missing` here.
    fn after(&mut self, word: u64, missing: u64, end: u64) -> u64 {
        let unknown = word * 64 + u64::from(missing.trailing_zeros());
        let unknown = (missing != 0 && unknown < end).then_some(unknown);
        let next = self.peer.next_word(word + 1).map_or(end, |next| next * 64);
        if self.not_told.is_none() {
            self.not_told = unknown.filter(|&index| self.peer.may_say_more(index));
        }
        match (self.not_told, unknown) {
            (Some(_), _) => next,
            // It said all about the segment.
            (None, Some(index)) => next.min((index / SEGMENT + 1) * SEGMENT),
            (None, None) => (word + 1) * 64,
        }
    }
}

impl Range {
    pub(crate) fn new(id: u64, start: u64, end: Option<u64>, done: oneshot::Sender<()>) -> Self {
        Self { id, start, end, done: Some(done), looked: HashMap::new() }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.start >= end)
    }

    /// Moves forward over what is here.
    pub(crate) fn advance(&mut self, core: &Hypercore) {
        let length = core.length();
        let end = self.end.unwrap_or(length).min(length);
        self.start = core.find_block(false, self.start, end).unwrap_or(end.max(self.start));
    }

    /// Something from the block `from` on may be asked for again: of a peer, or of all.
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
