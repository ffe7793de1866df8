//! A history: the signed one of a core, a draft, or either as an atom is about to change it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use encoding::{Decoder, Encoder};
use parking_lot::{Mutex, RwLock};

use crate::atom::AtomLink;
use crate::events::{Event, Listeners};
use crate::flat_tree::{Iter, depth, right_span};
use crate::merkle::{NodeSource, TreeHead, roots};
use crate::node::total_size;
use crate::session::Place;
use crate::snapshot::Saved;
use crate::storage::{Batch, Key, Table};
use crate::store::Inner;
use crate::{Error, Hash, Node};

/// The history whose first blocks a draft shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) pointer: u32,
    pub(crate) length: u64,
}

/// The leaf of a block of so many bytes at most is not stored: it is hashed again. That of a larger one is: a peer that is sent the
/// block beside it gets the leaf, and to read and hash the block for it takes as long as all else.
pub(crate) const MAX_HASHED: u64 = 1024;

/// A number that no history has had.
fn new_epoch() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) struct Line {
    pub(crate) store: Arc<Inner>,
    pub(crate) pointer: u32,
    /// The draft's name; `None` for the signed history.
    pub(crate) name: Option<String>,
    pub(crate) head: RwLock<TreeHead>,
    epoch: AtomicU64,
    pub(crate) base: RwLock<Option<Base>>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) snapshots: Mutex<Vec<Weak<Saved>>>,
    /// The sessions on a draft, which move together.
    sessions: Mutex<Vec<Weak<RwLock<Place>>>>,
    /// This history as atoms change it.
    atoms: Mutex<Vec<Weak<Self>>>,
    /// What an atom is about to change it by.
    pub(crate) atom: Option<AtomLink>,
}

impl Line {
    pub(crate) fn new(
        store: Arc<Inner>,
        pointer: u32,
        name: Option<String>,
        head: TreeHead,
        base: Option<Base>,
    ) -> Self {
        Self {
            store,
            pointer,
            name,
            head: RwLock::new(head),
            epoch: AtomicU64::new(new_epoch()),
            base: RwLock::new(base),
            listeners: Arc::default(),
            snapshots: Mutex::default(),
            sessions: Mutex::default(),
            atoms: Mutex::default(),
            atom: None,
        }
    }

    pub(crate) fn add_session(&self, place: &Arc<RwLock<Place>>) {
        let mut sessions = self.sessions.lock();
        sessions.retain(|place| place.strong_count() > 0);
        sessions.push(Arc::downgrade(place));
    }

    /// Moves all sessions to another draft, and tells them `event`.
    pub(crate) fn move_sessions(&self, to: &Place, event: &Event) {
        let moved = std::mem::take(&mut *self.sessions.lock());
        for place in moved.iter().filter_map(Weak::upgrade) {
            *place.write() = to.clone();
        }
        to.line.sessions.lock().extend(moved);
        to.line.listeners.adopt(&self.listeners, event);
    }

    pub(crate) fn add_atom(&self, line: &Arc<Self>) {
        let mut atoms = self.atoms.lock();
        atoms.retain(|line| line.strong_count() > 0);
        atoms.push(Arc::downgrade(line));
    }

    /// Tells sessions in atoms that blocks are gone that they read here.
    pub(crate) fn wake_atoms(&self) {
        let atoms: Vec<_> = self.atoms.lock().iter().filter_map(Weak::upgrade).collect();
        for line in atoms {
            line.listeners.emit(Event::Changed);
        }
    }

    /// While this stays the same, a block that is there stays what it is. It only grows.
    pub(crate) fn epoch(&self) -> u64 {
        let own = self.epoch.load(Ordering::Acquire);
        // What an atom did not change is read from the history itself.
        self.atom.as_ref().map_or(own, |link| own.max(link.parent.epoch()))
    }

    /// Blocks may be others than before. To be called while the writer is locked, when those that are gone cannot be read any more.
    pub(crate) fn begin_epoch(&self) {
        self.epoch.store(new_epoch(), Ordering::Release);
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.name.is_none()
    }

    /// The first blocks, that are in another history.
    pub(crate) fn base(&self) -> Option<Base> {
        let base = *self.base.read();
        match &self.atom {
            // What protected the draft from a change of the core counts here too.
            Some(link) if !link.caught_up() => match (base, *link.parent.base.read()) {
                (Some(own), Some(parents)) => Some(Base { length: own.length.min(parents.length), ..own }),
                _ => base,
            },
            _ => base,
        }
    }

    pub(crate) fn base_length(&self) -> u64 {
        self.base().map_or(0, |base| base.length)
    }

    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if let Some(link) = &self.atom
            && let Some(entry) = link.read(key)?
        {
            return Ok(entry);
        }
        self.store.backend.get(key)
    }

    /// The entries of `from..to`, in order.
    pub(crate) fn read_range(&self, from: &Key, to: &Key) -> Result<Vec<(Key, Bytes)>, Error> {
        let mut entries = Vec::new();
        self.store.backend.range(from, to, &mut |key, value| {
            entries.push((Key::from_slice(key), value));
            true
        })?;
        match &self.atom {
            Some(link) => link.merge(from, to, entries),
            None => Ok(entries),
        }
    }

    /// Copies what the history at `from` has in a table of names, as this one sees it, to the history at `to`.
    pub(crate) fn copy_named(&self, table: Table, from: u32, to: u32, batch: &mut Batch) -> Result<(), Error> {
        let start = table.only(from);
        for (key, value) in self.read_range(&start, &table.end(from))? {
            batch.insert(table.named(to, &key[start.len()..]), Some(value));
        }
        Ok(())
    }

    /// The keys of `from..to`, in order. Their values, which may be large, are not read.
    pub(crate) fn keys(&self, from: &Key, to: &Key) -> Result<Vec<Key>, Error> {
        if self.atom.is_some() {
            return Ok(self.read_range(from, to)?.into_iter().map(|(key, _)| key).collect());
        }
        let mut keys = Vec::new();
        self.store.backend.keys(from, to, &mut |key| {
            keys.push(Key::from_slice(key));
            true
        })?;
        Ok(keys)
    }

    /// Which history the block is in.
    fn pointer_of(&self, block: u64) -> u32 {
        self.base().filter(|base| block < base.length).map_or(self.pointer, |base| base.pointer)
    }

    /// What the history at `pointer`, this one or its base, has. An atom that is about to cut the base cuts no draft of it.
    /// `last` is the last block it is of.
    fn read_at(&self, pointer: u32, table: Table, index: u64, last: u64) -> Result<Option<Bytes>, Error> {
        let key = table.at(pointer, index);
        match &self.atom {
            // What the store may have, beyond what the atom left, is not what the atom has.
            Some(link) if pointer == self.pointer && last >= link.kept() => Ok(link.read(&key)?.flatten()),
            Some(_) if pointer == self.pointer => self.read(&key),
            _ => self.store.backend.get(&key),
        }
    }

    /// The stored block, whatever the length is.
    pub(crate) fn block(&self, index: u64) -> Result<Option<Bytes>, Error> {
        self.read_at(self.pointer_of(index), Table::Block, index, index)
    }

    /// Puts the nodes into `batch` that are not leaves of small blocks that are here.
    pub(crate) fn put_nodes(&self, batch: &mut Batch, nodes: &[Node], has: impl Fn(u64) -> bool) {
        batch.extend(self.node_entries(nodes, has));
    }

    /// The entries of the nodes that are not leaves of small blocks that are here.
    pub(crate) fn node_entries(&self, nodes: &[Node], has: impl Fn(u64) -> bool) -> Vec<(Key, Option<Bytes>)> {
        let is_put = |node: &&Node| depth(node.index) > 0 || node.size > MAX_HASHED || !has(node.index / 2);
        let mut out = Encoder::with_capacity(nodes.len() * NODE_BYTES);
        let mut ends = Vec::with_capacity(nodes.len());
        for node in nodes.iter().filter(is_put) {
            encode_node(node, &mut out);
            ends.push((node.index, out.len()));
        }
        // One piece of memory for all of them.
        let bytes = Bytes::from(out.finish());
        let mut start = 0;
        let entry = |(index, end)| {
            let value = bytes.slice(start..end);
            start = end;
            (Table::Node.at(self.pointer, index), Some(value))
        };
        ends.into_iter().map(entry).collect()
    }

    /// Removes from `batch` and the store all nodes that a tree of `length` blocks does not have.
    pub(crate) fn cut_nodes(&self, batch: &mut Batch, length: u64) -> Result<(), Error> {
        let (from, to) = (Table::Node.at(self.pointer, 2 * length), Table::Node.end(self.pointer));
        batch.extend(self.keys(&from, &to)?.into_iter().map(|key| (key, None)));
        // Parents that stand before the cut but reach beyond it: those above the last block that stays.
        let mut iter = Iter::new((2 * length).saturating_sub(2));
        while length > 0 && iter.factor / 2 <= encoding::MAX_SAFE_INTEGER {
            if iter.index < 2 * length && right_span(iter.index) >= 2 * length {
                batch.insert(Table::Node.at(self.pointer, iter.index), None);
            }
            let leftmost = iter.index + 1 == iter.factor / 2;
            if leftmost && iter.index > 2 * length || iter.parent().is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Removes from the store all blocks from `start` on.
    pub(crate) fn cut_blocks(&self, batch: &mut Batch, start: u64, end: Option<u64>) -> Result<(), Error> {
        let from = Table::Block.at(self.pointer, start);
        let to = end.map_or_else(|| Table::Block.end(self.pointer), |end| Table::Block.at(self.pointer, end));
        batch.extend(self.keys(&from, &to)?.into_iter().map(|key| (key, None)));
        Ok(())
    }

    /// The tree's head at another length than its own.
    pub(crate) fn head_at(&self, length: u64) -> Result<TreeHead, Error> {
        let head = self.head.read().clone();
        if length == head.length {
            return Ok(head);
        }
        if length > head.length {
            return Err(Error::BadArgument("a length beyond that of the core"));
        }
        let roots = roots(self, length)?;
        Ok(TreeHead { fork: head.fork, length, byte_length: total_size(&roots), roots, signature: Bytes::new() })
    }

    /// Tells snapshots that blocks from `start` to `end` (and with `cut` the tree over them) are about to go.
    pub(crate) fn save_for_snapshots(&self, start: u64, end: u64, cut: bool) -> Result<(), Error> {
        let mut snapshots = self.snapshots.lock();
        snapshots.retain(|snapshot| snapshot.strong_count() > 0);
        for snapshot in snapshots.iter().filter_map(Weak::upgrade) {
            snapshot.save(self, start, end, cut)?;
        }
        Ok(())
    }
}

impl NodeSource for Line {
    fn node(&self, index: u64) -> Result<Option<Node>, Error> {
        let last = right_span(index) / 2;
        let pointer = self.pointer_of(last);
        if let Some(value) = self.read_at(pointer, Table::Node, index, last)? {
            return decode_node(index, &value).map(Some);
        }
        if depth(index) == 0
            && let Some(block) = self.read_at(pointer, Table::Block, last, last)?
        {
            return Ok(Some(Node::leaf(index, &block)));
        }
        // A block that is cleared just now leaves its leaf behind.
        let left = if depth(index) == 0 { self.read_at(pointer, Table::Node, index, last)? } else { None };
        left.map(|value| decode_node(index, &value)).transpose()
    }
}

/// What an encoded node takes, most often.
const NODE_BYTES: usize = 37;

fn encode_node(node: &Node, out: &mut Encoder) {
    out.fixed(&node.hash).uint(node.size);
}

fn decode_node(index: u64, value: &[u8]) -> Result<Node, Error> {
    let decode = || -> Result<_, encoding::DecodeError> {
        let mut from = Decoder::new(value);
        let hash: Hash = from.fixed()?;
        Ok(Node { index, size: from.uint()?, hash })
    };
    decode().map_err(|_| Error::Corrupt(format!("tree node {index}")))
}

/// The entry of a head: `uint fork ‖ uint length ‖ uint bytes ‖ uint contiguous ‖ buffer signature`.
pub(crate) fn encode_head(head: &TreeHead, contiguous: u64) -> Bytes {
    let mut out = Encoder::with_capacity(96);
    out.uint(head.fork).uint(head.length).uint(head.byte_length).uint(contiguous).buffer(&head.signature);
    out.finish().into()
}

/// A head without its roots, and how many blocks are contiguous.
pub(crate) fn decode_head(value: &[u8]) -> Result<(TreeHead, u64), Error> {
    let decode = || -> Result<_, encoding::DecodeError> {
        let mut from = Decoder::new(value);
        let (fork, length, byte_length, contiguous) = (from.uint()?, from.uint()?, from.uint()?, from.uint()?);
        let signature = Bytes::copy_from_slice(from.buffer()?);
        Ok((TreeHead { fork, length, byte_length, roots: Vec::new(), signature }, contiguous))
    };
    decode().map_err(|_| Error::Corrupt("the head of a core".into()))
}

pub(crate) fn encode_base(base: Base) -> Bytes {
    let mut out = Encoder::new();
    out.uint(base.pointer.into()).uint(base.length);
    out.finish().into()
}

pub(crate) fn decode_base(value: &[u8]) -> Result<Base, Error> {
    let decode = || -> Result<_, encoding::DecodeError> {
        let mut from = Decoder::new(value);
        let pointer = u32::try_from(from.uint()?).map_err(|_| encoding::DecodeError::Invalid("a pointer"))?;
        Ok(Base { pointer, length: from.uint()? })
    };
    decode().map_err(|_| Error::Corrupt("the base of a draft".into()))
}
