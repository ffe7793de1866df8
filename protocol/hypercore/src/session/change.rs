//! Append, truncate, clear.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{Hypercore, Place};
use crate::events::Event;
use crate::flat_tree::{left_span, right_span};
use crate::line::{Base, Line, encode_base, encode_head};
use crate::merkle::{NodeSource, TreeBatch, TreeHead};
use crate::storage::{Batch, Table, keys};
use crate::store::Applied;
use crate::{Error, Node};

/// The most that a block may have: peers send it in one message.
pub const MAX_BLOCK_BYTES: usize = 15 << 20;

/// Blocks of one call that have so many bytes at most share pieces of memory.
const MAX_SHARED: usize = 1024;

/// How long such a piece becomes, about.
const MAX_PIECE: usize = 64 << 10;

/// Memory of several blocks.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    /// Which block ends where.
    ends: Vec<(usize, usize)>,
}

impl Piece {
    fn cut(self, blocks: &mut [Bytes]) {
        let (bytes, mut from) = (Bytes::from(self.bytes), 0);
        for (block, end) in self.ends {
            blocks[block] = bytes.slice(from..end);
            from = end;
        }
    }
}

impl Hypercore {
    fn writable_place(&self) -> Result<Place, Error> {
        let place = self.place();
        if self.read_only || self.snapshot.is_some() || (place.line.is_signed() && self.key_pair().is_none()) {
            return Err(Error::NotWritable);
        }
        if place.core.auth.read().frozen && place.line.is_signed() {
            return Err(Error::Frozen);
        }
        Ok(place)
    }

    /// Appends blocks, all at once.
    ///
    /// # Errors
    /// [`Error::NotWritable`] without the key pair or on a snapshot, [`Error::BadArgument`] for a block of more than
    /// [`MAX_BLOCK_BYTES`], when the disk fails, and as [`Encryption::encrypt`](crate::Encryption::encrypt) says.
    pub fn append<B: AsRef<[u8]>>(&self, blocks: impl IntoIterator<Item = B>) -> Result<Applied, Error> {
        self.append_up_to(u64::MAX, blocks)?.ok_or(Error::BadArgument("a core cannot be that long"))
    }

    /// [Appends](Self::append) the blocks, unless there would be more than `max_length` then: looked at when nobody else can append
    /// (`maxLength` of JavaScript's `append`). `None` if nothing was appended.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_up_to<B: AsRef<[u8]>>(
        &self,
        max_length: u64,
        blocks: impl IntoIterator<Item = B>,
    ) -> Result<Option<Applied>, Error> {
        let place = self.writable_place()?;
        let Place { core, line } = &place;
        let _writer = line.store.writer.lock();
        let head = line.head.read().clone();
        // As in JavaScript, the signed core's fork also for drafts: their blocks are the same whoever makes them.
        let fork = core.line.head.read().fork;
        let start = head.length;
        let prologue = self.prologue();
        let mut tree = TreeBatch::new(head, prologue);
        let blocks = self.stored(blocks, start, fork)?;
        if start.saturating_add(blocks.len() as u64) > max_length {
            return Ok(None);
        }
        tree.append_all(&blocks);
        let length = tree.head.length;
        if length == start {
            return Ok(Some(Applied::of(line.store.ticket())));
        }
        if prologue.is_some_and(|prologue| length < prologue.length) {
            return Err(Error::BadArgument("the blocks do not reach the end of the prologue"));
        }
        let block = |(block, index)| (Table::Block.at(line.pointer, index), Some(block));
        let mut entries: Vec<_> = blocks.into_iter().zip(start..).map(block).collect();
        entries.extend(line.node_entries(&tree.nodes, |block| block >= start));
        self.sign(&place, &mut tree)?;
        // In one piece: the map is built of sorted entries, not searched for each.
        self.write_head(&place, Batch::from_iter(entries), tree.head, start, start, length).map(Some)
    }

    /// Blocks as they are stored, the first of which gets the index `start`. Small ones share their memory.
    fn stored<B: AsRef<[u8]>>(
        &self,
        blocks: impl IntoIterator<Item = B>,
        start: u64,
        fork: u64,
    ) -> Result<Vec<Bytes>, Error> {
        let mut stored: Vec<Bytes> = Vec::new();
        let mut piece = Piece::default();
        for (block, index) in blocks.into_iter().zip(start..) {
            let block = block.as_ref();
            let bytes = match &self.encryption {
                Some(encryption) => Bytes::from(encryption.encrypt(index, fork, block)?),
                None if block.len() > MAX_SHARED => Bytes::copy_from_slice(block),
                None => {
                    piece.ends.push((stored.len(), piece.bytes.len() + block.len()));
                    piece.bytes.extend_from_slice(block);
                    Bytes::new()
                }
            };
            if block.len().max(bytes.len()) > MAX_BLOCK_BYTES {
                return Err(Error::BadArgument("a block has 15 MiB at most"));
            }
            stored.push(bytes);
            if piece.bytes.len() >= MAX_PIECE {
                std::mem::take(&mut piece).cut(&mut stored);
            }
        }
        piece.cut(&mut stored);
        Ok(stored)
    }

    fn sign(&self, place: &Place, tree: &mut TreeBatch) -> Result<(), Error> {
        tree.head.signature = Bytes::new();
        if place.line.is_signed() && tree.head.length > 0 {
            let verifier = self.verifier().ok_or(Error::NotWritable)?;
            let keys = self.key_pair().ok_or(Error::NotWritable)?;
            // With the core's own key pair the signature can be made at any time later.
            if self.key_pair.is_some() || !verifier.signs_alone(&keys, tree.head.length) {
                tree.head.signature = verifier.sign(tree, &keys)?;
            }
        }
        Ok(())
    }

    /// Writes a head of which `kept` blocks of the `was` before have stayed, and those up to `here` are in `batch`.
    pub(super) fn write_head(
        &self,
        place: &Place,
        mut batch: Batch,
        head: TreeHead,
        kept: u64,
        was: u64,
        here: u64,
    ) -> Result<Applied, Error> {
        let Place { core, line } = place;
        if let Some(link) = &line.atom {
            batch.insert(Table::Head.only(line.pointer), Some(encode_head(&head, 0)));
            if kept < was {
                link.cut(kept);
            }
            link.stage(batch, true)?;
            let events = changes(&head, kept, was);
            *line.head.write() = head;
            if kept < was {
                line.begin_epoch();
            }
            events.for_each(|event| line.listeners.emit(event));
            return Ok(Applied::of(line.store.ticket()));
        }
        let events = changes(&head, kept, was).collect();
        if line.is_signed() {
            let mut bitfield = core.bitfield.write();
            bitfield.unset(kept, was);
            bitfield.set(kept, here);
            core.put_head(&head, &mut bitfield, &mut batch);
        } else {
            batch.insert(Table::Head.only(line.pointer), Some(encode_head(&head, 0)));
        }
        let listeners = &line.listeners;
        let (now, then): (Vec<_>, Vec<_>) = if line.is_signed() { (Vec::new(), events) } else { (events, Vec::new()) };
        let then = then.into_iter().map(|event| (listeners.clone(), event));
        let _cutting = (kept < was).then(|| core.cuts.begin());
        // Readers see the new head when its blocks can be read.
        let applied = line.store.write_locked(batch, then)?;
        *line.head.write() = head;
        if kept < was {
            line.begin_epoch();
            line.wake_atoms();
        }
        for event in now {
            listeners.emit(event);
        }
        Ok(applied)
    }

    /// Cuts the core down to `length` blocks, under the next fork number.
    ///
    /// # Errors
    /// [`Error::BadArgument`] if it has less, or a prologue has more, [`Error::NotWritable`], and when the disk fails.
    pub fn truncate(&self, length: u64) -> Result<Applied, Error> {
        self.truncate_with(length, None)
    }

    /// Cuts the core down to `length` blocks, under the fork number `fork`.
    ///
    /// # Errors
    /// As [`truncate`](Self::truncate), and [`Error::BadArgument`] for a signed core if `fork` is not greater than its own: two
    /// different signatures for one length of one fork freeze the core everywhere.
    pub fn truncate_to_fork(&self, length: u64, fork: u64) -> Result<Applied, Error> {
        self.truncate_with(length, Some(fork))
    }

    fn truncate_with(&self, length: u64, fork: Option<u64>) -> Result<Applied, Error> {
        let place = self.writable_place()?;
        let _writer = place.line.store.writer.lock();
        let head = place.line.head.read().clone();
        let fork = fork.unwrap_or(head.fork + 1);
        if length > head.length {
            return Err(Error::BadArgument("the core is not that long"));
        }
        let prologue = self.prologue();
        if prologue.is_some_and(|prologue| length < prologue.length) {
            return Err(Error::BadArgument("the prologue cannot be cut"));
        }
        if place.line.is_signed() && fork <= head.fork {
            return Err(Error::BadArgument("a signed core gets a greater fork number"));
        }
        let mut tree = TreeBatch::new(head.clone(), prologue);
        tree.truncate(&*place.line, length, fork)?;
        self.sign(&place, &mut tree)?;
        self.cut(&place, tree, Batch::new())
    }

    /// Makes `tree`, of which the first `ancestors` blocks stayed, the head, while the writer is locked.
    pub(super) fn cut(&self, place: &Place, tree: TreeBatch, mut batch: Batch) -> Result<Applied, Error> {
        let line = &place.line;
        let (kept, was) = (tree.ancestors, tree.tree_length);
        if line.atom.is_none() || kept < was {
            line.save_for_snapshots(kept, was, true)?;
        }
        if line.is_signed() && line.atom.is_none() {
            protect_drafts(place, kept, &mut batch, &|draft| draft.base_length())?;
        }
        let mut cut = Batch::new();
        line.cut_blocks(&mut cut, kept, None)?;
        line.cut_nodes(&mut cut, kept)?;
        // What is new counts more than what goes.
        for (key, value) in cut {
            batch.entry(key).or_insert(value);
        }
        let base = *line.base.read();
        if let Some(base) = base.filter(|base| kept < base.length) {
            let base = Base { length: kept, ..base };
            batch.insert(Table::Base.only(line.pointer), Some(encode_base(base)));
            *line.base.write() = Some(base);
        }
        // The blocks of a history that was taken over are yet to come.
        self.write_head(place, batch, tree.head, kept, was, kept)
    }

    /// Forgets blocks; their hashes stay, so that they can be fetched again.
    ///
    /// # Errors
    /// [`Error::BadArgument`] on drafts and in atoms, and when the disk fails.
    pub fn clear(&self, start: u64, end: u64) -> Result<Applied, Error> {
        let place = self.place();
        let Place { core, line } = &place;
        if self.snapshot.is_some() || !line.is_signed() || line.atom.is_some() {
            return Err(Error::BadArgument("only blocks of a core itself can be cleared"));
        }
        let _writer = line.store.writer.lock();
        let head = line.head.read().clone();
        let end = end.min(head.length);
        if start >= end {
            return Ok(Applied::of(line.store.ticket()));
        }
        line.save_for_snapshots(start, end, false)?;
        let mut batch = Batch::new();
        let nodes = line.keys(&Table::Node.at(line.pointer, 2 * start), &Table::Node.at(line.pointer, 2 * end))?;
        let known: HashSet<u64> = nodes.iter().filter_map(|key| Table::index(key)).collect();
        let blocks = (Table::Block.at(line.pointer, start), Table::Block.at(line.pointer, end));
        for key in line.keys(&blocks.0, &blocks.1)? {
            let index = Table::index(&key).ok_or_else(|| Error::Corrupt("the key of a block".into()))?;
            // A leaf that is stored is that of the block as it came, whatever the disk has made of it since.
            if !known.contains(&(2 * index)) {
                match line.read(&key) {
                    Ok(Some(block)) => {
                        line.put_nodes(&mut batch, &[Node::leaf(2 * index, &block)], |_| false);
                    }
                    Ok(None) | Err(Error::Corrupt(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            batch.insert(key, None);
        }
        let mut bitfield = core.bitfield.write();
        bitfield.unset(start, end);
        core.put_head(&head, &mut bitfield, &mut batch);
        drop(bitfield);
        let event = Event::Drop { start, length: end - start };
        line.store.write_locked(batch, [(line.listeners.clone(), event)])
    }
}

/// What a head of which `kept` blocks of the `was` before have stayed is to those who listen.
fn changes(head: &TreeHead, kept: u64, was: u64) -> impl Iterator<Item = Event> + use<> {
    let cut = (kept < was).then_some(Event::Truncate { length: kept, fork: head.fork });
    let longer = (head.length > kept).then_some(Event::Append { length: head.length });
    cut.into_iter().chain(longer)
}

/// Gives drafts what they share with the core beyond `kept` blocks, which are about to go. `shared` is how many blocks a draft shares
/// now: fewer than it has stored, or more, if an atom changes it at the same time.
pub(crate) fn protect_drafts(
    place: &Place,
    kept: u64,
    batch: &mut Batch,
    shared: &dyn Fn(&Arc<Line>) -> u64,
) -> Result<(), Error> {
    let line = &place.line;
    let (from, to) = keys::prefixed(keys::draft(line.pointer, ""));
    let mut drafts: Vec<Arc<Line>> = place.core.replaced.lock().iter().filter_map(Weak::upgrade).collect();
    for (key, value) in line.read_range(&from, &to)? {
        let name = std::str::from_utf8(&key[from.len()..]).map_err(|_| Error::Corrupt("the name of a draft".into()))?;
        drafts.push(place.open_draft(name, &value)?);
    }
    for draft in drafts {
        let shared = shared(&draft);
        if shared > kept {
            copy_tail(line, &draft, kept, shared, batch)?;
        }
        let Some(base) = (*draft.base.read()).filter(|base| base.length > kept) else { continue };
        let base = Base { length: kept, ..base };
        batch.insert(Table::Base.only(draft.pointer), Some(encode_base(base)));
        *draft.base.write() = Some(base);
    }
    Ok(())
}

/// Copies the blocks `start..end`, and the nodes over them, that `draft` shares with `line`.
fn copy_tail(line: &Line, draft: &Line, start: u64, end: u64, batch: &mut Batch) -> Result<(), Error> {
    let (from, to) = (Table::Block.at(line.pointer, start), Table::Block.at(line.pointer, end));
    for (key, block) in line.read_range(&from, &to)? {
        let index = Table::index(&key).ok_or_else(|| Error::Corrupt("the key of a block".into()))?;
        batch.insert(Table::Block.at(draft.pointer, index), Some(block));
    }
    let mut stack: Vec<u64> = crate::flat_tree::full_roots(end).collect();
    while let Some(index) = stack.pop() {
        if right_span(index) < 2 * start || left_span(index) >= 2 * end {
            continue;
        }
        if let Some(node) = line.node(index)? {
            let has = |block| batch.get(&Table::Block.at(draft.pointer, block)).is_some_and(Option::is_some);
            let has = index & 1 == 0 && has(index / 2);
            draft.put_nodes(batch, &[node], |_| has);
        }
        if let Some((left, right)) = crate::flat_tree::children(index) {
            stack.extend([left, right]);
        }
    }
    Ok(())
}
