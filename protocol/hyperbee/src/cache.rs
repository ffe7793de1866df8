//! Decoded blocks.

use std::collections::HashMap;
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
}

impl Block {
    pub(crate) fn decode(bytes: &Bytes, seq: u64) -> Result<Self, Error> {
        let Node { index, key, value } = Node::decode(bytes, seq)?;
        Ok(Self { seq, key, value, index, levels: OnceLock::new() })
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
        // The decoded index takes a few times what its bytes take.
        128 + self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + 8 * self.index.len()
    }
}

#[derive(Debug, Default)]
struct Generations {
    fork: u64,
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
    pub(crate) fn get(&self, fork: u64, seq: u64) -> Option<Arc<Block>> {
        let mut generations = self.generations.lock();
        if generations.fork != fork {
            return None;
        }
        if let Some(block) = generations.young.get(&seq) {
            return Some(block.clone());
        }
        let block = generations.old.remove(&seq)?;
        generations.add(block.clone());
        Some(block)
    }

    pub(crate) fn insert(&self, fork: u64, block: Arc<Block>) {
        let mut generations = self.generations.lock();
        if generations.fork > fork {
            return;
        }
        if generations.fork < fork {
            *generations = Generations { fork, ..Generations::default() };
        }
        generations.add(block);
    }
}

impl Generations {
    fn add(&mut self, block: Arc<Block>) {
        self.young_bytes += block.bytes();
        self.young.insert(block.seq, block);
        if self.young.len() >= MAX_CACHED_BLOCKS / 2 || self.young_bytes >= MAX_CACHED_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}
