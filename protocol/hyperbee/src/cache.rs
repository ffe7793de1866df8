//! Decoded blocks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::Error;
use crate::messages::{Level, Node, decode_index};

/// How many blocks a tree keeps decoded, at most; JavaScript's default.
pub const MAX_CACHED_BLOCKS: usize = 65_536;

/// How many bytes of blocks a tree keeps decoded, at most.
pub const MAX_CACHED_BYTES: usize = 32 << 20;

/// A change of the tree. Its index is decoded when it is first looked at: most blocks are read for their keys.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) seq: u64,
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
    index: Bytes,
    levels: OnceLock<Box<[Level]>>,
    /// Whether the cache knows that its index is decoded.
    counted: AtomicBool,
}

impl Block {
    pub(crate) fn decode(bytes: &Bytes, seq: u64) -> Result<Self, Error> {
        let Node { index, key, value } = Node::decode(bytes, seq)?;
        Ok(Self { seq, key, value, index, levels: OnceLock::new(), counted: AtomicBool::new(false) })
    }

    pub(crate) fn levels(&self) -> Result<&[Level], Error> {
        if let Some(levels) = self.levels.get() {
            return Ok(levels);
        }
        let levels = decode_index(&self.index, self.seq)?;
        Ok(self.levels.get_or_init(|| levels))
    }

    pub(crate) fn level(&self, offset: u64) -> Result<&Level, Error> {
        let level = usize::try_from(offset).ok().and_then(|offset| self.levels().ok()?.get(offset));
        level.ok_or(Error::InvalidBlock { seq: self.seq, reason: "a level that is pointed at is not there" })
    }

    /// Whether the block took a key away (`isDeletion`): it has no value, and the tree after it does not hold it.
    pub(crate) fn is_deletion(&self) -> Result<bool, Error> {
        Ok(self.value.is_none() && !self.levels()?.iter().any(|level| level.keys.contains(&self.seq)))
    }

    fn bytes(&self) -> usize {
        let decoded = if self.counted.load(Ordering::Relaxed) { self.decoded_bytes() } else { 0 };
        128 + self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + self.index.len() + decoded
    }

    /// What the decoded index takes at most, beside its bytes.
    fn decoded_bytes(&self) -> usize {
        8 * self.index.len()
    }
}

#[derive(Debug, Default)]
struct Generations {
    epoch: u64,
    young: HashMap<u64, Arc<Block>>,
    old: HashMap<u64, Arc<Block>>,
    young_bytes: usize,
}

/// Two generations: what is not asked for while one fills up is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    generations: Mutex<Generations>,
}

impl Cache {
    pub(crate) fn get(&self, epoch: u64, seq: u64) -> Option<Arc<Block>> {
        let mut generations = self.generations.lock();
        if generations.epoch != epoch {
            return None;
        }
        if let Some(block) = generations.young.get(&seq) {
            return Some(block.clone());
        }
        let block = generations.old.remove(&seq)?;
        generations.add(block.clone());
        Some(block)
    }

    pub(crate) fn insert(&self, epoch: u64, block: Arc<Block>) {
        let mut generations = self.generations.lock();
        if generations.epoch > epoch {
            return;
        }
        if generations.epoch < epoch {
            *generations = Generations { epoch, ..Generations::default() };
        }
        generations.add(block);
    }

    /// Counts the index of a block that was just decoded: of most blocks only the key is looked at.
    pub(crate) fn decoded(&self, block: &Block) {
        if !block.counted.swap(true, Ordering::Relaxed) {
            let mut generations = self.generations.lock();
            generations.young_bytes += block.decoded_bytes();
            generations.turn();
        }
    }
}

impl Generations {
    fn add(&mut self, block: Arc<Block>) {
        self.young_bytes += block.bytes();
        self.young.insert(block.seq, block);
        self.turn();
    }

    fn turn(&mut self) {
        if self.young.len() >= MAX_CACHED_BLOCKS / 2 || self.young_bytes >= MAX_CACHED_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many blocks of a kilobyte as are kept when `decoded` of them are looked into.
    fn kept(decoded: bool) -> usize {
        let cache = Cache::default();
        let block = |seq| Block {
            seq,
            key: Bytes::from_static(b"key"),
            value: None,
            index: Bytes::from(vec![0; 1024]),
            levels: OnceLock::new(),
            counted: AtomicBool::new(false),
        };
        let blocks = 2 * (MAX_CACHED_BYTES / 1024) as u64;
        for seq in 0..blocks {
            let block = Arc::new(block(seq));
            cache.insert(0, block.clone());
            if decoded {
                cache.decoded(&block);
                cache.decoded(&block);
            }
        }
        let generations = cache.generations.lock();
        let bytes = |blocks: &HashMap<u64, Arc<Block>>| blocks.values().map(|block| block.bytes()).sum::<usize>();
        assert!(bytes(&generations.young) + bytes(&generations.old) <= MAX_CACHED_BYTES);
        generations.young.len() + generations.old.len()
    }

    #[test]
    fn what_is_decoded_counts_and_what_is_not_does_not() {
        let (keys, indexes) = (kept(false), kept(true));
        assert!(indexes * 1024 * 9 <= MAX_CACHED_BYTES, "{indexes} blocks with their indexes");
        assert!(keys > 6 * indexes, "{keys} blocks for their keys, {indexes} with their indexes");
    }
}
