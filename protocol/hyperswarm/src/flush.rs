//! Those who wait until the peers that were known when they asked have been tried.

/// Flushes, each with the number of attempts it still waits for.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    /// Advances with each flush. A peer that is queued keeps the value, and counts for the flushes asked for since.
    tick: u64,
    waiting: Vec<Flush>,
}

#[derive(Debug)]
struct Flush {
    id: u64,
    tick: u64,
    missing: usize,
}

impl Flushes {
    /// What a peer that is queued now keeps.
    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    /// Adds a flush that waits for `missing` attempts.
    pub(crate) fn push(&mut self, id: u64, missing: usize) {
        self.waiting.push(Flush { id, tick: self.tick, missing });
        self.tick += 1;
    }

    /// An attempt for a peer that was queued at `tick` is over. Gives the flushes that had waited for that alone.
    pub(crate) fn settle(&mut self, tick: u64) -> Vec<u64> {
        for flush in self.waiting.iter_mut().filter(|flush| tick <= flush.tick) {
            flush.missing = flush.missing.saturating_sub(1);
        }
        let done = self.waiting.iter().filter(|flush| flush.missing == 0).map(|flush| flush.id).collect();
        self.waiting.retain(|flush| flush.missing > 0);
        done
    }

    /// All flushes, which wait no more.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = u64> + use<> {
        std::mem::take(&mut self.waiting).into_iter().map(|flush| flush.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_counts_the_peers_that_were_queued_before_it() {
        let mut flushes = Flushes::default();
        let before = flushes.tick();
        flushes.push(1, 2);
        let after = flushes.tick();
        flushes.push(2, 3);
        assert!(flushes.settle(before).is_empty());
        assert!(flushes.settle(after).is_empty());
        assert_eq!(flushes.settle(before), [1, 2]);
        assert!(flushes.settle(before).is_empty());
    }

    #[test]
    fn a_drained_flush_is_gone() {
        let mut flushes = Flushes::default();
        flushes.push(1, 1);
        flushes.push(2, 1);
        assert_eq!(flushes.drain().collect::<Vec<_>>(), [1, 2]);
        assert!(flushes.settle(0).is_empty());
    }
}
