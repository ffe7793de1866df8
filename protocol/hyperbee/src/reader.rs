//! Following the tree, stored or pending.

use std::sync::Arc;

use bytes::Bytes;

use crate::cache::{Block, Cache};
use crate::tree::{ChildId, NodeId, Tree};
use crate::{Entry, Error, Log};

/// A tree of this depth has more keys than a log has blocks; what is deeper goes round in circles.
pub(crate) const MAX_DEPTH: usize = 32;

/// How many keys a walk through a tree passed. Each was set by a block of its own: a walk that passes more than there are blocks
/// comes by the same ones again, in a tree whose parts are part of it several times.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyCount(u64);

impl KeyCount {
    pub(crate) fn pass<L: Log>(&mut self, reader: &Reader<'_, L>) -> Result<(), Error> {
        self.0 += 1;
        let pending = reader.pending.map_or(0, Tree::len) as u64;
        if self.0 < reader.version.saturating_add(pending) {
            return Ok(());
        }
        Err(Error::InvalidBlock { seq: reader.version.saturating_sub(1), reason: "the tree has more keys than blocks" })
    }
}

/// A node, wherever it is.
#[derive(Debug, Clone)]
pub(crate) enum View {
    Stored { block: Arc<Block>, level: usize },
    Pending(NodeId),
}

/// Where a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildRef {
    Stored { seq: u64, offset: u64 },
    Pending(ChildId),
}

/// Reads blocks at one version.
pub(crate) struct Reader<'a, L> {
    pub(crate) log: &'a L,
    pub(crate) cache: &'a Cache,
    /// How many blocks of the log belong to the tree.
    pub(crate) version: u64,
    pub(crate) epoch: u64,
    /// The changes of a batch that are not in the log yet.
    pub(crate) pending: Option<&'a Tree>,
}

impl<L: Log> Reader<'_, L> {
    pub(crate) async fn block(&self, seq: u64) -> Result<Arc<Block>, Error> {
        if let Some(block) = self.cache.get(self.epoch, seq) {
            return Ok(block);
        }
        if seq == 0 || seq >= self.version {
            return Err(Error::InvalidBlock { seq, reason: "it is not one of this version, but pointed at" });
        }
        let block = Arc::new(Block::decode(&self.log.block(seq).await?, seq)?);
        if self.log.epoch() == self.epoch {
            self.cache.insert(self.epoch, block.clone());
        }
        Ok(block)
    }

    pub(crate) async fn stored(&self, seq: u64, offset: u64) -> Result<View, Error> {
        let block = self.block(seq).await?;
        let looks_back = block.level(offset)?.looks_back;
        self.cache.decoded(&block);
        if !looks_back {
            return Err(Error::InvalidBlock { seq, reason: "it points at what came after it" });
        }
        Ok(View::Stored { block, level: offset as usize })
    }

    pub(crate) async fn root(&self) -> Result<Option<View>, Error> {
        if let Some(root) = self.pending.and_then(Tree::root) {
            return Ok(Some(View::Pending(root)));
        }
        if self.version < 2 { Ok(None) } else { self.stored(self.version - 1, 0).await.map(Some) }
    }

    pub(crate) fn keys(&self, view: &View) -> usize {
        match view {
            View::Stored { block, level } => block.levels().map_or(0, |levels| levels[*level].keys.len()),
            View::Pending(node) => self.pending.map_or(0, |tree| tree.node(*node).keys.len()),
        }
    }

    pub(crate) fn children(&self, view: &View) -> usize {
        match view {
            View::Stored { block, level } => block.levels().map_or(0, |levels| levels[*level].children.len()),
            View::Pending(node) => self.pending.map_or(0, |tree| tree.node(*node).children.len()),
        }
    }

    pub(crate) fn key_seq(&self, view: &View, at: usize) -> u64 {
        match view {
            View::Stored { block, level } => {
                block.levels().ok().and_then(|levels| levels[*level].keys.get(at).copied()).unwrap_or(0)
            }
            View::Pending(node) => self.pending.map_or(0, |tree| tree.node(*node).keys[at].seq),
        }
    }

    pub(crate) fn child_ref(&self, view: &View, at: usize) -> ChildRef {
        match view {
            View::Stored { block, level } => {
                let child = block.levels().ok().and_then(|levels| levels[*level].children.get(at).copied());
                let (seq, offset) = child.unwrap_or_default();
                ChildRef::Stored { seq, offset }
            }
            View::Pending(node) => match self.pending {
                Some(tree) => {
                    let id = tree.node(*node).children[at];
                    let child = tree.child(id);
                    match child.node {
                        Some(_) => ChildRef::Pending(id),
                        None => ChildRef::Stored { seq: child.seq, offset: child.offset },
                    }
                }
                None => ChildRef::Stored { seq: 0, offset: 0 },
            },
        }
    }

    pub(crate) async fn child(&self, child: ChildRef) -> Result<View, Error> {
        if let (ChildRef::Pending(id), Some(tree)) = (child, self.pending)
            && let Some(node) = tree.child(id).node
        {
            return Ok(View::Pending(node));
        }
        match child {
            ChildRef::Stored { seq, offset } => self.stored(seq, offset).await,
            ChildRef::Pending(_) => Err(Error::Changed),
        }
    }

    pub(crate) async fn key(&self, seq: u64) -> Result<Bytes, Error> {
        match self.pending.and_then(|tree| tree.change(seq)) {
            Some(change) => Ok(change.key.clone()),
            None => Ok(self.block(seq).await?.key.clone()),
        }
    }

    pub(crate) async fn entry(&self, seq: u64) -> Result<Entry, Error> {
        match self.pending.and_then(|tree| tree.change(seq)) {
            Some(change) => Ok(Entry { seq, key: change.key.clone(), value: change.value.clone() }),
            None => {
                let block = self.block(seq).await?;
                Ok(Entry { seq, key: block.key.clone(), value: block.value.clone() })
            }
        }
    }

    /// Where `key` is in the node, or which child it would be in.
    pub(crate) async fn find(&self, view: &View, key: &[u8]) -> Result<Result<usize, usize>, Error> {
        let (mut low, mut high) = (0, self.keys(view));
        while low < high {
            let middle = (low + high) / 2;
            match key.cmp(&self.key(self.key_seq(view, middle)).await?) {
                std::cmp::Ordering::Equal => return Ok(Ok(middle)),
                std::cmp::Ordering::Less => high = middle,
                std::cmp::Ordering::Greater => low = middle + 1,
            }
        }
        Ok(Err(low))
    }

    pub(crate) async fn get(&self, key: &[u8]) -> Result<Option<Entry>, Error> {
        let Some(mut view) = self.root().await? else { return Ok(None) };
        for _ in 0..MAX_DEPTH {
            // The block that wrote a node on the way holds the key's last change if it holds the key at all.
            if let View::Stored { block, .. } = &view
                && block.key == key
            {
                return match block.is_deletion()? {
                    true => Ok(None),
                    false => self.entry(block.seq).await.map(Some),
                };
            }
            match self.find(&view, key).await? {
                Ok(at) => return self.entry(self.key_seq(&view, at)).await.map(Some),
                Err(_) if self.children(&view) == 0 => return Ok(None),
                Err(at) => view = self.child(self.child_ref(&view, at)).await?,
            }
        }
        Err(Error::InvalidBlock { seq: self.version - 1, reason: "the tree has no end" })
    }
}
