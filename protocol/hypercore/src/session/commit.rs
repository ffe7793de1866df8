//! From a draft into the core.

use std::sync::Arc;

use bytes::Bytes;
use crypto::KeyPair;

use super::{Hypercore, Place};
use crate::atom::drop_shared;
use crate::events::Event;
use crate::flat_tree::{children, full_roots, right_span};
use crate::line::{Base, encode_base};
use crate::merkle::{NodeSource, TreeBatch, TreeHead, roots, upgrade_nodes};
use crate::multisig::PartialSignature;
use crate::node::tree_hash;
use crate::storage::{Batch, Table};
use crate::store::Applied;
use crate::{Error, Node};

/// How many blocks of a prologue are copied in one write.
const PROLOGUE_CHUNK: u64 = 4096;

/// What to commit of a draft.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// How many blocks; all of the draft by default.
    pub length: Option<u64>,
    /// Their signature; made with the key pair by default.
    pub signature: Option<Bytes>,
    /// What to sign with; the key pair of the core by default.
    pub key_pair: Option<KeyPair>,
}

impl Hypercore {
    /// Takes blocks of `draft` into the core itself, with a signature over them.
    ///
    /// They are in memory until they are written, all at once. A long draft can be committed in steps, of
    /// [`CommitOptions::length`] blocks, each of which is signed.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the core has blocks that the draft does not have, or is longer than `length`;
    /// [`Error::InvalidSignature`]; [`Error::NotWritable`] without signature and key pair; when the disk fails.
    pub fn commit(&self, draft: &Self, options: CommitOptions) -> Result<Applied, Error> {
        let (place, from) = (self.place(), draft.place());
        let Place { core, line } = &place;
        let is_plain = |session: &Self| session.snapshot.is_none();
        if !is_plain(self) || !line.is_signed() || line.atom.is_some() {
            return Err(Error::BadArgument("commits are made to the core itself"));
        }
        if !is_plain(draft) || from.line.is_signed() || !Arc::ptr_eq(&from.core, core) {
            return Err(Error::BadArgument("only a draft of the core can be committed"));
        }
        if core.auth.read().frozen {
            return Err(Error::Frozen);
        }
        let _writer = line.store.writer.lock();
        let (signed, shared) = (line.head.read().clone(), from.line.base_length());
        let length = options.length.unwrap_or(from.line.head.read().length);
        if length > from.line.head.read().length {
            return Err(Error::BadArgument("the draft is not that long"));
        }
        if signed.length > length {
            return Err(Error::Conflict);
        }
        // What the core has got since the draft left it must be what the draft has.
        for root in signed.roots.iter().filter(|root| right_span(root.index) >= 2 * shared) {
            if from.line.node(root.index)?.is_none_or(|node| node != *root) {
                return Err(Error::Conflict);
            }
        }
        let verifier = core.auth.read().verifier.clone().ok_or(Error::NotWritable)?;
        let mut tree = TreeBatch::new(from.line.head_at(length)?, verifier.manifest().prologue);
        tree.head.fork = signed.fork;
        tree.head.signature = match options.signature {
            Some(signature) if verifier.verify(&tree, &signature) => signature,
            Some(_) => return Err(Error::InvalidSignature),
            None if length == signed.length && !signed.signature.is_empty() => signed.signature.clone(),
            None => {
                let keys = options.key_pair.or_else(|| self.key_pair()).ok_or(Error::NotWritable)?;
                verifier.sign(&tree, &keys)?
            }
        };
        let mut batch = Batch::new();
        copy(&from, &place, shared, length, &mut batch)?;
        let has = |block: u64| (shared..length).contains(&block);
        line.put_nodes(&mut batch, &tree.head.roots, has);
        let mut bitfield = core.bitfield.write();
        bitfield.set(shared, length.max(shared));
        core.put_head(&tree.head, &mut bitfield, &mut batch);
        drop(bitfield);
        let base = Base { pointer: line.pointer, length };
        if shared < length {
            match &from.line.atom {
                // The draft forgets what it shares now when the atom is flushed.
                Some(link) => link.committed(length),
                None => {
                    drop_shared(&from.line, &mut batch, length)?;
                    batch.insert(Table::Base.only(from.line.pointer), Some(encode_base(base)));
                }
            }
        }
        let append = (length > signed.length).then_some(Event::Append { length });
        let have = (shared < signed.length.min(length))
            .then(|| Event::Have { start: shared, length: signed.length.min(length) - shared });
        let events = have.into_iter().chain(append).map(|event| (line.listeners.clone(), event));
        let applied = line.store.write_locked(batch, events)?;
        *line.head.write() = tree.head;
        if shared < length && from.line.atom.is_none() {
            *from.line.base.write() = Some(base);
        }
        Ok(applied)
    }

    /// Fills the core, which is empty, with its prologue from a session on another core that has it. All user data of that one comes
    /// with it, as in JavaScript (`lib/copy-prologue.js`).
    ///
    /// # Errors
    /// [`Error::BadArgument`] if the manifest has no prologue, or `source` does not begin with it; [`Error::Conflict`] if the core
    /// has blocks; when the disk fails.
    pub fn copy_prologue(&self, source: &Self) -> Result<Applied, Error> {
        let (place, from) = (self.place(), source.place());
        let Place { core, line } = &place;
        let prologue = self.prologue();
        let prologue = prologue.ok_or(Error::BadArgument("the core has no prologue"))?;
        if self.snapshot.is_some() || !line.is_signed() || line.atom.is_some() || source.snapshot.is_some() {
            return Err(Error::BadArgument("a prologue is copied to the core itself, from no snapshot"));
        }
        let _writer = line.store.writer.lock();
        if source.length() < prologue.length || prologue.length == 0 {
            return Ok(Applied::of(line.store.ticket()));
        }
        let roots = roots(&*from.line, prologue.length)?;
        if tree_hash(&roots) != prologue.hash {
            return Err(Error::BadArgument("the other core has another prologue"));
        }
        let head = line.head.read().clone();
        let is_empty = head.length == 0;
        let first = if is_empty {
            let byte_length = crate::node::total_size(&roots);
            let roots = roots.clone();
            TreeHead { fork: 0, length: prologue.length, byte_length, roots, signature: Bytes::new() }
        } else if head.length >= prologue.length {
            head
        } else {
            return Err(Error::Conflict);
        };
        // In chunks: a prologue may be the whole of a large view. The head is there with the first of them.
        let mut applied = Applied::of(line.store.ticket());
        let mut start = 0;
        while start < prologue.length {
            let end = (start + PROLOGUE_CHUNK).min(prologue.length);
            let mut batch = Batch::new();
            let copied = copy_blocks(&from, &place, start, end, &mut batch)?;
            copy_nodes(&from, &place, start, end, prologue.length, &mut batch)?;
            if start == 0 {
                // A head without all of its roots does not open.
                line.put_nodes(&mut batch, &roots, |_| false);
                if is_empty {
                    from.line.copy_named(Table::UserData, from.line.pointer, line.pointer, &mut batch)?;
                }
            }
            let mut bitfield = core.bitfield.write();
            for &(start, end) in &copied {
                bitfield.set(start, end);
            }
            core.put_head(&first, &mut bitfield, &mut batch);
            drop(bitfield);
            let append = (start == 0).then_some(Event::Append { length: first.length });
            let have = copied.iter().map(|&(start, end)| Event::Have { start, length: end - start });
            let events = append.into_iter().chain(have).map(|event| (line.listeners.clone(), event));
            applied = line.store.write_locked(batch, events)?;
            *line.head.write() = first.clone();
            start = end;
        }
        Ok(applied)
    }

    /// This history's part in a signature of several signers over the first `length` blocks: the signature of one of them, over
    /// `signed` blocks, with what leads from the one to the other.
    ///
    /// # Errors
    /// [`Error::BadArgument`] if fewer are signed, and when the nodes are not here.
    pub fn partial_signature(
        &self,
        signer: u64,
        length: u64,
        signed: u64,
        signature: [u8; 64],
    ) -> Result<PartialSignature, Error> {
        let patch = signed.checked_sub(length).ok_or(Error::BadArgument("fewer blocks are signed"))?;
        let nodes = match patch {
            0 => Vec::new(),
            _ if signed > self.length() => return Err(Error::BadArgument("the core is not that long")),
            _ => self.with_tree(|tree| upgrade_nodes(tree, length, patch))?,
        };
        Ok(PartialSignature { signer, signature, patch, nodes })
    }
}

/// Copies the blocks `start..end` and all nodes over them in a tree of `end` blocks, which must all be there.
fn copy(from: &Place, to: &Place, start: u64, end: u64, batch: &mut Batch) -> Result<(), Error> {
    let copied = copy_blocks(from, to, start, end, batch)?;
    if start < end && copied != [(start, end)] {
        return Err(Error::BadArgument("blocks of the draft are not here"));
    }
    copy_nodes(from, to, start, end, end, batch)
}

/// Copies what is there of the blocks `start..end`; which that was.
fn copy_blocks(from: &Place, to: &Place, start: u64, end: u64, batch: &mut Batch) -> Result<Vec<(u64, u64)>, Error> {
    let mut copied: Vec<(u64, u64)> = Vec::new();
    for index in start..end {
        let Some(block) = from.line.block(index)? else { continue };
        batch.insert(Table::Block.at(to.line.pointer, index), Some(block));
        match copied.last_mut() {
            Some((_, end)) if *end == index => *end += 1,
            _ => copied.push((index, index + 1)),
        }
    }
    Ok(copied)
}

/// Copies the nodes over the blocks `start..end` in a tree of `length` blocks, as far as they are there.
fn copy_nodes(from: &Place, to: &Place, start: u64, end: u64, length: u64, batch: &mut Batch) -> Result<(), Error> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut stack: Vec<u64> = full_roots(length).collect();
    while let Some(index) = stack.pop() {
        if right_span(index) < 2 * start || crate::flat_tree::left_span(index) >= 2 * end {
            continue;
        }
        let Some(node) = from.line.node(index)? else { continue };
        nodes.push(node);
        if let Some((left, right)) = children(index) {
            stack.extend([left, right]);
        }
    }
    let known = |block: u64| batch.contains_key(&Table::Block.at(to.line.pointer, block));
    let entries = to.line.node_entries(&nodes, known);
    batch.extend(entries);
    Ok(())
}
