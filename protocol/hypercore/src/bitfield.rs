//! Which blocks are here.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

const WORDS: usize = 64;
const BITS: u64 = 64 * WORDS as u64;

type Page = Box<[u64; WORDS]>;

/// A set of blocks: all below a bound, and any above it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Bitfield {
    contiguous: u64,
    /// The others, by `BITS`.
    pages: BTreeMap<u64, Page>,
    dirty: BTreeSet<u64>,
}

fn place(index: u64) -> (u64, usize, u64) {
    (index / BITS, (index % BITS / 64) as usize, 1 << (index % 64))
}

impl Bitfield {
    pub(crate) fn new(contiguous: u64) -> Self {
        Self { contiguous, ..Self::default() }
    }

    /// Puts back a page that [`take_dirty`](Self::take_dirty) gave. `false` if it is none.
    pub(crate) fn load(&mut self, page: u64, bytes: &[u8]) -> bool {
        let (words, rest) = bytes.as_chunks::<8>();
        if words.len() != WORDS || !rest.is_empty() {
            return false;
        }
        let mut loaded = Page::new([0; WORDS]);
        for (to, from) in loaded.iter_mut().zip(words) {
            *to = u64::from_le_bytes(*from);
        }
        self.pages.insert(page, loaded);
        true
    }

    /// All blocks below are here, and this one is not.
    pub(crate) fn contiguous(&self) -> u64 {
        self.contiguous
    }

    pub(crate) fn get(&self, index: u64) -> bool {
        let (page, word, bit) = place(index);
        index < self.contiguous || self.pages.get(&page).is_some_and(|page| page[word] & bit != 0)
    }

    /// How many pages are kept: the memory that it takes.
    pub(crate) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// For a set that is not stored.
    pub(crate) fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    /// 64 blocks, from the block `64 * word` on.
    pub(crate) fn word(&self, word: u64) -> u64 {
        let start = word.saturating_mul(64);
        let stored = self.pages.get(&(start / BITS)).map_or(0, |page| page[(start % BITS / 64) as usize]);
        match self.contiguous.saturating_sub(start) {
            0 => stored,
            full @ 1..64 => stored | ((1 << full) - 1),
            _ => u64::MAX,
        }
    }

    /// The first word from `word` on of which a block may be here: what is between needs no look. `None` if there is none.
    pub(crate) fn next_word(&self, word: u64) -> Option<u64> {
        let start = word.saturating_mul(64);
        let page = start / BITS;
        if start < self.contiguous || self.pages.contains_key(&page) {
            return Some(word);
        }
        self.pages.range(page..).next().map(|(page, _)| page * WORDS as u64)
    }

    /// The first block from `start` on that is here, or is not.
    pub(crate) fn find(&self, here: bool, start: u64, end: u64) -> Option<u64> {
        // Where there is no page, nothing is here.
        let skip = |index: u64| {
            let is_empty = here && index >= self.contiguous && !self.pages.contains_key(&(index / BITS));
            match is_empty {
                true => self.pages.range(index / BITS..).next().map_or(end, |(page, _)| page * BITS),
                false => index,
            }
        };
        let mut index = if here { skip(start) } else { start.max(self.contiguous) };
        while index < end {
            let word = self.word(index / 64);
            let word = if here { word } else { !word } & (u64::MAX << (index % 64));
            if word != 0 {
                let found = index / 64 * 64 + u64::from(word.trailing_zeros());
                return (found < end).then_some(found);
            }
            index = (index / 64 + 1) * 64;
            if index.is_multiple_of(BITS) {
                index = skip(index);
            }
        }
        None
    }

    pub(crate) fn set(&mut self, start: u64, end: u64) {
        if start <= self.contiguous {
            if end > self.contiguous {
                self.contiguous = end;
                self.absorb();
            }
            return;
        }
        self.fill(start, end, true);
    }

    pub(crate) fn unset(&mut self, start: u64, end: u64) {
        let was = self.contiguous;
        if start < was {
            self.contiguous = start;
            if end < was {
                self.fill(end, was, true);
            }
        }
        self.fill(start, end, false);
    }

    /// Takes over what `words` say of 32 blocks each, from the block `start` on, a multiple of 32; what needs more than `max_pages`
    /// pages is taken as not here.
    pub(crate) fn insert_words(&mut self, start: u64, words: &[u32], max_pages: usize) {
        self.unset(start, start + 32 * words.len() as u64);
        // A whole set takes no pages.
        let full =
            if start <= self.contiguous { words.iter().take_while(|&&word| word == u32::MAX).count() } else { 0 };
        let (mut start, mut words) = (start + 32 * full as u64, &words[full..]);
        self.contiguous = if full > 0 { start } else { self.contiguous };
        while !words.is_empty() {
            let page = start / BITS;
            let (now, then) = words.split_at(words.len().min(((page + 1) * BITS - start) as usize / 32));
            let room = self.pages.len() < max_pages || self.pages.contains_key(&page);
            if room && now.iter().any(|&word| word != 0) {
                let bits = self.pages.entry(page).or_insert_with(|| Page::new([0; WORDS]));
                for (at, &word) in (start % BITS / 32..).zip(now) {
                    bits[at as usize / 2] |= u64::from(word) << (at % 2 * 32);
                }
                self.dirty.insert(page);
            }
            start += 32 * now.len() as u64;
            words = then;
        }
        self.absorb();
    }

    /// What follows the contiguous blocks becomes part of them.
    fn absorb(&mut self) {
        loop {
            let (page, word, _) = place(self.contiguous);
            let Some(bits) = self.pages.get(&page) else { break };
            let ones = (bits[word] >> (self.contiguous % 64)).trailing_ones();
            if ones == 0 {
                break;
            }
            self.contiguous += u64::from(ones);
        }
        let first = self.contiguous / BITS;
        while let Some(entry) = self.pages.first_entry().filter(|entry| *entry.key() < first) {
            self.dirty.insert(*entry.key());
            entry.remove();
        }
    }

    fn fill(&mut self, start: u64, end: u64, value: bool) {
        let mut index = start;
        while index < end {
            let (page, word, _) = place(index);
            if !value && !self.pages.contains_key(&page) {
                // Nothing to take away before the next page.
                index = self.pages.range(page..).next().map_or(end, |(page, _)| page * BITS);
                continue;
            }
            let next = ((index / 64 + 1) * 64).min(end);
            let mask = (u64::MAX >> (64 - (next - index))) << (index % 64);
            let bits = self.pages.entry(page).or_insert_with(|| Page::new([0; WORDS]));
            if value {
                bits[word] |= mask;
            } else {
                bits[word] &= !mask;
            }
            // What is kept is what is here, however often it changed.
            if !value && (next == end || next.is_multiple_of(BITS)) && bits.iter().all(|&word| word == 0) {
                self.pages.remove(&page);
            }
            self.dirty.insert(page);
            index = next;
        }
    }

    /// The pages that changed, to be stored (or removed) together with [`contiguous`](Self::contiguous).
    pub(crate) fn take_dirty(&mut self) -> Vec<(u64, Option<Bytes>)> {
        let bytes = |page: &Page| Bytes::from(page.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
        let empty = |page: &Page| page.iter().all(|&word| word == 0);
        std::mem::take(&mut self.dirty)
            .into_iter()
            .map(|index| (index, self.pages.get(&index).filter(|page| !empty(page)).map(bytes)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// So many blocks are looked at.
    const END: u64 = 4 * BITS;

    fn content(bitfield: &Bitfield) -> BTreeSet<u64> {
        (0..END).filter(|&index| bitfield.get(index)).collect()
    }

    fn word() -> impl Strategy<Value = u32> {
        prop_oneof![Just(0), Just(u32::MAX), any::<u32>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn words_are_taken_over(
            ranges in prop::collection::vec((any::<bool>(), 0..END, 0..BITS), 0..6),
            start in prop_oneof![Just(0), 0..2 * BITS / 32],
            words in prop::collection::vec(word(), 0..300),
            runs in 1usize..50,
        ) {
            let mut bitfield = Bitfield::default();
            let mut expected = BTreeSet::new();
            for (here, start, length) in ranges {
                let end = (start + length).min(END);
                match here {
                    true => {
                        bitfield.set(start, end);
                        expected.extend(start..end);
                    }
                    false => {
                        bitfield.unset(start, end);
                        expected.retain(|index| !(start..end).contains(index));
                    }
                }
            }
            // Runs, so that whole pages are full or empty.
            let words: Vec<u32> = words.into_iter().flat_map(|word| std::iter::repeat_n(word, runs)).take(250).collect();
            bitfield.insert_words(32 * start, &words, usize::MAX);
            for (word, at) in words.iter().zip(start..) {
                for bit in 0..32 {
                    match word >> bit & 1 {
                        0 => expected.remove(&(32 * at + bit)),
                        _ => expected.insert(32 * at + bit),
                    };
                }
            }
            prop_assert_eq!(&content(&bitfield), &expected);
            let first_gap = (0..).find(|index| !expected.contains(index)).expect("a gap");
            prop_assert_eq!(bitfield.contiguous(), first_gap);
            for from in (0..END).step_by(777) {
                prop_assert_eq!(bitfield.find(true, from, END), expected.range(from..).next().copied());
                let gap = (from..END).find(|index| !expected.contains(index));
                prop_assert_eq!(bitfield.find(false, from, END), gap);
            }
            let used: BTreeSet<u64> = expected.range(first_gap..).map(|index| index / BITS).collect();
            prop_assert!(bitfield.pages() <= used.len() + 1, "{} pages", bitfield.pages());
        }
    }

    #[test]
    fn pages_that_are_empty_are_not_kept() {
        let mut bitfield = Bitfield::default();
        for page in 1..100 {
            bitfield.set(page * BITS + 7, page * BITS + 9);
            bitfield.unset(page * BITS, page * BITS + 8);
            assert_eq!(bitfield.pages(), 1);
            bitfield.take_dirty();
            bitfield.unset(page * BITS + 8, page * BITS + 9);
            assert_eq!(bitfield.pages(), 0);
            assert_eq!(bitfield.take_dirty(), [(page, None)]);
        }
    }
}
