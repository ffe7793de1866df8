//! How much is searched because of what a peer says.

use std::time::Duration;

/// So many words of 64 blocks are searched in a second for what one peer says that it has, or waiting blocks looked at. A message of a few
/// bytes may be about all of a core.
const WORDS_PER_SECOND: u64 = 1 << 20;

/// So many at once, after a time without.
pub(crate) const MAX_WORDS: u64 = 1 << 21;

/// What may be searched still, and what is to be searched when it may be again.
#[derive(Debug)]
pub(crate) struct Credit {
    words: u64,
    since: Duration,
    blocks: Option<(u64, u64)>,
}

impl Credit {
    pub(crate) fn new(now: Duration) -> Self {
        Self { words: MAX_WORDS, since: now, blocks: None }
    }

    fn words(&self, now: Duration) -> u64 {
        let refilled = now.saturating_sub(self.since).as_micros() * u128::from(WORDS_PER_SECOND) / 1_000_000;
        self.words.saturating_add(u64::try_from(refilled).unwrap_or(u64::MAX)).min(MAX_WORDS)
    }

    /// Whether something may be searched now.
    pub(crate) fn is_left(&self, now: Duration) -> bool {
        self.words(now) > 0
    }

    /// So many words were searched.
    pub(crate) fn spend(&mut self, words: u64, now: Duration) {
        (self.words, self.since) = (self.words(now).saturating_sub(words), now.max(self.since));
    }

    /// It said something of these blocks: they are to be searched.
    pub(crate) fn note(&mut self, start: u64, end: u64) {
        let (from, to) = self.blocks.unwrap_or((start, end));
        self.blocks = Some((from.min(start), to.max(end)));
    }

    /// The blocks that are to be searched.
    pub(crate) fn take(&mut self) -> Option<(u64, u64)> {
        self.blocks.take()
    }

    /// Whether there are such.
    pub(crate) fn owes(&self) -> bool {
        self.blocks.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_with_time_and_not_beyond() {
        let at = Duration::from_millis;
        let mut credit = Credit::new(at(0));
        credit.spend(MAX_WORDS + 5, at(0));
        assert!(!credit.is_left(at(0)));
        credit.spend(WORDS_PER_SECOND / 4, at(250));
        assert!(!credit.is_left(at(250)) && credit.is_left(at(251)));
        // Time that goes back gives nothing.
        credit.spend(0, at(100));
        assert!(!credit.is_left(at(250)));
        assert_eq!(credit.words(at(1_000_000_000)), MAX_WORDS);
    }

    #[test]
    fn what_is_to_be_searched_holds_all_that_was_said() {
        let mut credit = Credit::new(Duration::ZERO);
        assert_eq!(credit.take(), None);
        credit.note(5, 6);
        credit.note(9, 12);
        credit.note(3, 4);
        assert!(credit.owes());
        assert_eq!(credit.take(), Some((3, 12)));
        assert!(!credit.owes());
    }
}
