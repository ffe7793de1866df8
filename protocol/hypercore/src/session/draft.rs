//! Drafts: named histories that begin with blocks of the core and go on unsigned.

use std::cmp::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{Hypercore, Place};
use crate::Error;
use crate::events::Event;
use crate::line::{Base, Line, decode_base, decode_head, encode_base, encode_head};
use crate::merkle::{TreeBatch, TreeHead, roots};
use crate::node::total_size;
use crate::storage::{Batch, Table, keys};
use crate::store::Applied;

/// How to open a draft.
#[derive(Debug, Clone, Copy, Default)]
pub struct DraftOptions {
    /// Begin anew from the core, whatever blocks the draft has. Its user data and [local](Hypercore::local) entries stay.
    pub overwrite: bool,
    /// Cut it down to this length.
    pub checkout: Option<u64>,
}

impl Place {
    /// The draft that the store has an entry for.
    pub(crate) fn open_draft(&self, name: &str, entry: &[u8]) -> Result<Arc<Line>, Error> {
        let mut drafts = self.core.drafts.lock();
        if let Some(line) = drafts.get(name).and_then(Weak::upgrade) {
            return Ok(line);
        }
        let damaged = || Error::Corrupt(format!("the draft {name}"));
        let pointer = u32::from_be_bytes(entry.try_into().map_err(|_| damaged())?);
        let store = &self.core.line.store;
        let head = store.backend.get(&Table::Head.only(pointer))?.ok_or_else(damaged)?;
        let base = store.backend.get(&Table::Base.only(pointer))?.ok_or_else(damaged)?;
        let (head, _) = decode_head(&head)?;
        let line = Line::new(store.clone(), pointer, Some(name.into()), head, Some(decode_base(&base)?));
        line.load_roots()?;
        let line = Arc::new(line);
        drafts.insert(name.into(), Arc::downgrade(&line));
        Ok(line)
    }
}

impl Hypercore {
    /// The draft `name` of this core, which is made if there is none: with all blocks of the core as it is, and room for others
    /// that nobody signed yet.
    ///
    /// # Errors
    /// [`Error::BadArgument`] on a snapshot or in an atom, or for a checkout beyond the draft's length; when the disk fails.
    pub fn draft(&self, name: &str, options: DraftOptions) -> Result<Self, Error> {
        if self.snapshot.is_some() || self.atom.is_some() {
            return Err(Error::BadArgument("a draft is made of the core itself"));
        }
        let place = self.place();
        let core = &place.core;
        let store = &core.line.store;
        let mut writer = store.writer.lock();
        let key = keys::draft(core.line.pointer, name);
        let line = match store.backend.get(&key)? {
            Some(entry) if !options.overwrite => place.open_draft(name, &entry)?,
            stored => {
                let mut batch = Batch::new();
                let pointer = store.new_pointer(&mut writer, &mut batch)?;
                core.sweep(&mut batch)?;
                if let Some(stored) = stored {
                    let before = core.retire(name, &stored, &mut batch)?;
                    for table in [Table::UserData, Table::Local] {
                        core.line.copy_named(table, before, pointer, &mut batch)?;
                    }
                }
                let head = core.line.head.read().clone();
                let base = Base { pointer: core.line.pointer, length: head.length };
                batch.insert(key, Some(Bytes::copy_from_slice(&pointer.to_be_bytes())));
                batch.insert(Table::Head.only(pointer), Some(encode_head(&head, 0)));
                batch.insert(Table::Base.only(pointer), Some(encode_base(base)));
                store.write_locked(batch, [])?;
                let line = Arc::new(Line::new(store.clone(), pointer, Some(name.into()), head, Some(base)));
                core.drafts.lock().insert(name.into(), Arc::downgrade(&line));
                line
            }
        };
        let session = Self { encryption: self.encryption.clone(), ..Self::on(Place { line, ..place.clone() }) };
        session.place().line.add_session(&session.place);
        if let Some(length) = options.checkout {
            let place = session.place();
            let head = place.line.head.read().clone();
            let prologue = session.prologue();
            if length > head.length || prologue.is_some_and(|prologue| length < prologue.length) {
                return Err(Error::BadArgument("the draft cannot be checked out there"));
            }
            if length < head.length {
                let fork = head.fork;
                let mut tree = TreeBatch::new(head, prologue);
                tree.truncate(&*place.line, length, fork)?;
                session.cut(&place, tree, Batch::new())?;
            }
        }
        Ok(session)
    }

    /// Whether the core has a draft `name`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn has_draft(&self, name: &str) -> Result<bool, Error> {
        let core = self.place().core;
        Ok(core.line.store.backend.get(&keys::draft(core.line.pointer, name))?.is_some())
    }

    /// Lets a draft be the core as it was signed, at `length` blocks, and forget its own.
    ///
    /// # Errors
    /// [`Error::BadArgument`] if this is no draft, or the core does not have the tree at that length.
    pub fn catch_up(&self, length: u64) -> Result<Applied, Error> {
        let place = self.place();
        let Place { core, line } = &place;
        if self.snapshot.is_some() || line.is_signed() {
            return Err(Error::BadArgument("only a draft can catch up"));
        }
        let _writer = line.store.writer.lock();
        let was = line.head.read().clone();
        let shared = line.base_length();
        if length > core.line.head.read().length {
            return Err(Error::BadArgument("the core is not that long"));
        }
        let roots =
            roots(&*core.line, length).map_err(|_| Error::BadArgument("the tree at that length is not here"))?;
        // What the draft shared is as it was; what it had itself is not.
        let kept = shared.min(length);
        let cuts = kept < was.length;
        let fork = if cuts { was.fork + 1 } else { was.fork };
        if cuts {
            line.save_for_snapshots(kept, was.length, true)?;
        }
        let mut batch = Batch::new();
        line.cut_blocks(&mut batch, 0, None)?;
        line.cut_nodes(&mut batch, 0)?;
        let base = Base { pointer: core.line.pointer, length };
        batch.insert(Table::Base.only(line.pointer), Some(encode_base(base)));
        let byte_length = total_size(&roots);
        let head = TreeHead { fork, length, byte_length, roots, signature: Bytes::new() };
        if let Some(link) = &line.atom {
            link.catch_up(kept, core.line.head.read().fork);
        }
        *line.base.write() = Some(base);
        let here = head.length;
        self.write_head(&place, batch, head, kept, was.length, here)
    }

    /// Moves this session, and all others on its draft, to where `other` is: a draft of another core. What they then see, and hear
    /// of, is that draft, under the fork that they have seen; under the next if it is shorter, as in JavaScript (`moveTo` of
    /// `lib/session-state.js`). Snapshots and sessions in atoms stay.
    ///
    /// # Errors
    /// [`Error::BadArgument`] on snapshots, in atoms, or if one of the two is no draft; when the disk fails.
    pub fn move_to(&self, other: &Self) -> Result<(), Error> {
        if self.snapshot.is_some() || other.snapshot.is_some() || self.atom.is_some() || other.atom.is_some() {
            return Err(Error::BadArgument("snapshots and sessions of atoms cannot be moved"));
        }
        let (from, to) = (self.place(), other.place());
        if from.line.is_signed() || to.line.is_signed() || !Arc::ptr_eq(&from.line.store, &to.line.store) {
            return Err(Error::BadArgument("a draft can be moved to a draft of the same store"));
        }
        if Arc::ptr_eq(&from.line, &to.line) {
            return Ok(());
        }
        let store = &to.line.store;
        let _writer = store.writer.lock();
        let (before, mut after) = (from.line.head.read().clone(), to.line.head.read().clone());
        let (was, length) = (before.length, after.length);
        let fork = before.fork + u64::from(length < was);
        if after.fork != fork {
            after.fork = fork;
            let batch = Batch::from([(Table::Head.only(to.line.pointer), Some(encode_head(&after, 0)))]);
            store.write_locked(batch, [])?;
            *to.line.head.write() = after;
        }
        // Not a number that sessions on the one history have seen of the other.
        to.line.begin_epoch();
        let event = match length.cmp(&was) {
            Ordering::Less => Event::Truncate { length, fork },
            Ordering::Equal => Event::Changed,
            Ordering::Greater => Event::Append { length },
        };
        from.line.move_sessions(&to, &event);
        Ok(())
    }
}
