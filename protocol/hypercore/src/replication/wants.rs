//! What this side waits for.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::peer::{Peer, PeerId};
use super::queue::{Can, MAX_LOOK, Queue};
use super::ranges::{MAX_LOOK_WORDS, Range, Search};
use crate::merkle::Seek;
use crate::{Error, Hypercore};

/// Which blocks to download.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DownloadRange {
    /// The first.
    pub start: u64,
    /// The first that is not meant; `None` for all, also those that are appended later.
    pub end: Option<u64>,
}

/// A block that is waited for.
#[derive(Debug, Default)]
struct Block {
    waiters: Vec<oneshot::Sender<Result<Bytes, Error>>>,
    /// Its place in the queue, if it is in it.
    queued: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct SeekWant {
    pub(crate) bytes: u64,
    /// Of the session that seeks.
    pub(crate) padding: u64,
    pub(crate) inflight: Option<u64>,
    waiter: oneshot::Sender<Result<Seek, Error>>,
}

/// What a look at the ranges found.
#[derive(Debug)]
pub(crate) struct Look {
    /// A block to ask for.
    pub(crate) found: Option<u64>,
    /// One of which the peer has not said whether it has it.
    pub(crate) not_told: Option<u64>,
    /// Not all was looked at.
    pub(crate) more: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Wants {
    blocks: BTreeMap<u64, Block>,
    queue: Queue,
    ranges: Vec<Range>,
    next_range: u64,
    /// So much was searched in the ranges.
    words: u64,
    pub(crate) seeks: Vec<SeekWant>,
    /// Blocks that were asked of a peer, by words of 64.
    asked: HashMap<u64, u64>,
    /// How often, where it is more than once.
    again: HashMap<u64, u32>,
}

impl Wants {
    pub(crate) fn is_asked(&self, index: u64) -> bool {
        self.asked.get(&(index / 64)).is_some_and(|word| word >> (index % 64) & 1 != 0)
    }

    pub(crate) fn asked(&mut self, index: u64) {
        if self.is_asked(index) {
            *self.again.entry(index).or_insert(1) += 1;
            return;
        }
        *self.asked.entry(index / 64).or_default() |= 1 << (index % 64);
        if let Some(place) = self.blocks.get_mut(&index).and_then(|block| block.queued.take()) {
            self.queue.remove(place);
        }
    }

    /// A peer was asked for the block and will not send it, or did.
    pub(crate) fn unasked(&mut self, index: u64) {
        if let Some(times) = self.again.get_mut(&index) {
            *times -= 1;
            if *times == 1 {
                self.again.remove(&index);
            }
            return;
        }
        if let Some(word) = self.asked.get_mut(&(index / 64)) {
            *word &= !(1 << (index % 64));
            if *word == 0 {
                self.asked.remove(&(index / 64));
            }
        }
        self.requeue(index);
        for range in &mut self.ranges {
            range.look_again(None, index);
        }
    }

    fn requeue(&mut self, index: u64) {
        if let Some(block) = self.blocks.get_mut(&index)
            && block.queued.is_none()
        {
            block.queued = Some(self.queue.push(index));
        }
    }

    pub(crate) fn add_block(&mut self, index: u64) -> oneshot::Receiver<Result<Bytes, Error>> {
        let (sender, receiver) = oneshot::channel();
        self.blocks.entry(index).or_default().waiters.push(sender);
        if !self.is_asked(index) {
            self.requeue(index);
        }
        receiver
    }

    /// The block is here.
    pub(crate) fn resolve(&mut self, index: u64, block: impl FnOnce() -> Result<Option<Bytes>, Error>) {
        let Some(want) = self.blocks.remove(&index) else { return };
        if let Some(place) = want.queued {
            self.queue.remove(place);
        }
        let block = match block() {
            Ok(Some(block)) => Ok(block),
            Ok(None) => Err(Error::NotFound),
            Err(error) => Err(error),
        };
        for waiter in want.waiters {
            // Who gave up waiting does not miss it.
            let _ = waiter.send(block.clone());
        }
    }

    /// Everything that came in by other ways.
    pub(crate) fn resolve_local(&mut self, core: &Hypercore) {
        let here: Vec<u64> = self.blocks.keys().copied().filter(|&index| core.has(index)).collect();
        for index in here {
            self.resolve(index, || core.get_raw(index));
        }
    }

    /// Forgets blocks that nobody waits for any more; those that were asked for.
    pub(crate) fn prune(&mut self) -> Vec<u64> {
        let mut gone = Vec::new();
        self.blocks.retain(|&index, block| {
            block.waiters.retain(|waiter| !waiter.is_closed());
            if block.waiters.is_empty() {
                gone.push(index);
                if let Some(place) = block.queued {
                    self.queue.remove(place);
                }
            }
            !block.waiters.is_empty()
        });
        self.seeks.retain(|seek| !seek.waiter.is_closed());
        let in_range = |index: u64| {
            self.ranges.iter().any(|range| range.start <= index && range.end.is_none_or(|end| index < end))
        };
        gone.retain(|&index| self.is_asked(index) && !in_range(index));
        gone
    }

    pub(crate) fn add_range(&mut self, range: DownloadRange) -> (u64, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let id = self.next_range;
        self.next_range += 1;
        self.ranges.push(Range::new(id, range.start, range.end, sender));
        (id, receiver)
    }

    pub(crate) fn remove_range(&mut self, id: u64) {
        self.ranges.retain(|range| range.id != id);
    }

    pub(crate) fn add_seek(&mut self, bytes: u64, padding: u64) -> oneshot::Receiver<Result<Seek, Error>> {
        let (waiter, receiver) = oneshot::channel();
        self.seeks.push(SeekWant { bytes, padding, inflight: None, waiter });
        receiver
    }

    /// Answers the seeks that the tree can answer now.
    pub(crate) fn resolve_seeks(&mut self, core: &Hypercore) {
        for at in (0..self.seeks.len()).rev() {
            let found = core.seek_padded(self.seeks[at].bytes, self.seeks[at].padding);
            if !matches!(found, Ok(Seek::Between { .. })) {
                let _ = self.seeks.swap_remove(at).waiter.send(found);
            }
        }
    }

    /// After the history changed: blocks that were here may be gone.
    pub(crate) fn restart(&mut self, length: u64) {
        self.queue.look_again(None, 0);
        for range in &mut self.ranges {
            range.start = range.start.min(length);
            range.look_again(None, length);
        }
        // Who waits for a block of a history that is no more may not want the one in its place.
        let overtaken: Vec<u64> = self.blocks.range(length..).map(|(&index, _)| index).collect();
        for index in overtaken {
            self.resolve(index, || Ok(None));
        }
    }

    /// The next block of those waited for that a peer `can` give, and whether there may be more that was not looked at.
    pub(crate) fn next_queued(&mut self, peer: PeerId, can: impl FnMut(u64) -> Can) -> (Option<u64>, bool) {
        let (found, more) = self.queue.next(peer, can);
        if let Some(block) = found.and_then(|index| self.blocks.get_mut(&index)) {
            block.queued = None;
        }
        (found, more)
    }

    /// A block that could not be asked for after all.
    pub(crate) fn put_back(&mut self, index: u64) {
        if !self.is_asked(index) {
            self.requeue(index);
        }
    }

    /// The next block of the ranges that `peer` has, nobody was asked for, and is `askable`.
    pub(crate) fn next_in_ranges(
        &mut self,
        core: &Hypercore,
        (id, peer): (PeerId, &Peer),
        askable: impl Fn(u64) -> bool,
    ) -> Look {
        self.advance_ranges(core);
        let mut search = Search { core, id, peer, asked: &self.asked, words: MAX_LOOK_WORDS, not_told: None };
        let found = self.ranges.iter_mut().find_map(|range| search.next(range, &askable));
        self.words += (MAX_LOOK_WORDS - search.words) as u64;
        Look { found, not_told: search.not_told, more: found.is_none() && search.is_cut_short() }
    }

    /// What could not be asked for may be asked for again.
    pub(crate) fn look_again(&mut self) {
        self.queue.look_again(None, u64::MAX);
        for range in &mut self.ranges {
            range.look_again(None, u64::MAX);
        }
    }

    /// A peer said something of these blocks, which may be asked of it now.
    pub(crate) fn look_at(&mut self, peer: PeerId, start: u64, end: u64) {
        let mut place = u64::MAX;
        for (at, (_, block)) in self.blocks.range(start..end.max(start)).enumerate() {
            self.queue.words += 1;
            place = if at < MAX_LOOK { place.min(block.queued.unwrap_or(u64::MAX)) } else { 0 };
            if place == 0 {
                break;
            }
        }
        self.queue.look_again(Some(peer), place);
        for range in &mut self.ranges {
            range.look_again(Some(peer), start);
        }
    }

    /// How much was searched since this was last asked, in words of 64 blocks and blocks that wait.
    pub(crate) fn take_words(&mut self) -> u64 {
        std::mem::take(&mut self.words) + std::mem::take(&mut self.queue.words)
    }

    #[cfg(test)]
    pub(crate) fn remembers(&self, peer: PeerId) -> bool {
        self.queue.remembers(peer) || self.ranges.iter().any(|range| range.remembers(peer))
    }

    /// The peer is gone.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        self.queue.forget(peer);
        for range in &mut self.ranges {
            range.forget(peer);
        }
    }

    /// Ends the ranges that are here as a whole.
    pub(crate) fn finish_ranges(&mut self) {
        self.ranges.retain_mut(|range| {
            let is_done = range.is_done();
            if is_done && let Some(done) = range.done.take() {
                let _ = done.send(());
            }
            !is_done
        });
    }

    /// Moves the ranges forward over what is here.
    pub(crate) fn advance_ranges(&mut self, core: &Hypercore) {
        for range in &mut self.ranges {
            range.advance(core);
        }
        self.finish_ranges();
    }
}
