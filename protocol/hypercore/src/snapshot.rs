//! A history as it was, however it changes.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::flat_tree::right_span;
use crate::line::Line;
use crate::merkle::{NodeSource, TreeHead};
use crate::{Error, Node};

/// How many bytes of blocks that the core gave up one snapshot keeps. What is beyond is gone for the snapshot too.
pub const MAX_SAVED_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Gone {
    /// Blocks from here on are only in `blocks`.
    intact: u64,
    blocks: HashMap<u64, Bytes>,
    nodes: HashMap<u64, Node>,
    bytes: usize,
}

/// What a snapshot is, and what it keeps because the core does not.
pub(crate) struct Saved {
    pub(crate) head: TreeHead,
    /// The [epoch](Line::epoch) of the history that it was made of.
    pub(crate) epoch: u64,
    gone: Mutex<Gone>,
}

impl Saved {
    pub(crate) fn new(head: TreeHead, epoch: u64) -> Self {
        let intact = head.length;
        Self { head, epoch, gone: Mutex::new(Gone { intact, ..Gone::default() }) }
    }

    /// Keeps what is about to go from `line`.
    pub(crate) fn save(&self, line: &Line, start: u64, end: u64, cut: bool) -> Result<(), Error> {
        let mut gone = self.gone.lock();
        let end = end.min(gone.intact);
        for index in start..end {
            if gone.bytes > MAX_SAVED_BYTES {
                break;
            }
            if gone.blocks.contains_key(&index) {
                continue;
            }
            let block = match line.block(index) {
                // Nothing is left of it that could be kept.
                Err(Error::Corrupt(_)) => continue,
                block => block?,
            };
            if let Some(block) = block {
                gone.bytes += block.len();
                gone.blocks.insert(index, block);
            }
        }
        if cut && start < end {
            self.save_nodes(&mut gone, line, start, end)?;
            gone.intact = start;
        }
        Ok(())
    }

    /// The nodes over the blocks from `start` on, which are in no tree of `start` blocks.
    fn save_nodes(&self, gone: &mut Gone, line: &Line, start: u64, end: u64) -> Result<(), Error> {
        let mut stack: Vec<u64> = self.head.roots.iter().map(|root| root.index).collect();
        while let Some(index) = stack.pop() {
            let first = crate::flat_tree::left_span(index) / 2;
            if right_span(index) / 2 < start || first >= end || gone.nodes.len() * 64 > MAX_SAVED_BYTES {
                continue;
            }
            if !gone.nodes.contains_key(&index)
                && let Some(node) = line.node(index)?
            {
                gone.nodes.insert(index, node);
            }
            if let Some((left, right)) = crate::flat_tree::children(index) {
                stack.extend([left, right]);
            }
        }
        Ok(())
    }

    /// Whether the block can never be read again: the core gave it up before it was here, or before it was saved.
    pub(crate) fn is_gone(&self, index: u64) -> bool {
        let gone = self.gone.lock();
        index >= gone.intact && !gone.blocks.contains_key(&index)
    }

    pub(crate) fn block(&self, line: &Line, index: u64) -> Result<Option<Bytes>, Error> {
        let kept = |gone: &Gone| gone.blocks.get(&index).cloned().map(Some).or((index >= gone.intact).then_some(None));
        if let Some(kept) = kept(&self.gone.lock()) {
            return Ok(kept);
        }
        let block = line.block(index)?;
        // It may have gone, or another may have come in its place, while it was read.
        Ok(kept(&self.gone.lock()).unwrap_or(block))
    }
}

/// The tree of a snapshot.
pub(crate) struct SnapshotTree<'a> {
    pub(crate) saved: &'a Saved,
    pub(crate) line: &'a Line,
}

impl NodeSource for SnapshotTree<'_> {
    fn node(&self, index: u64) -> Result<Option<Node>, Error> {
        let kept = |gone: &Gone| {
            gone.nodes.get(&index).copied().map(Some).or((right_span(index) / 2 >= gone.intact).then_some(None))
        };
        if let Some(kept) = kept(&self.saved.gone.lock()) {
            return Ok(kept);
        }
        let node = self.line.node(index)?;
        Ok(kept(&self.saved.gone.lock()).unwrap_or(node))
    }
}
