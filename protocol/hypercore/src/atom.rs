//! Changes of several cores that happen together or not at all.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::Error;
use crate::core::Core;
use crate::events::{Event, Listeners};
use crate::line::{Line, encode_base, encode_head};
use crate::merkle::TreeHead;
use crate::session::{Place, protect_drafts};
use crate::storage::{Batch, Key, Table};
use crate::store::{Applied, Inner};

#[derive(Default)]
struct Pending {
    batch: Batch,
    lines: Vec<(Arc<Core>, Arc<Line>)>,
}

pub(crate) struct AtomInner {
    pub(crate) store: Arc<Inner>,
    pending: Mutex<Pending>,
}

/// What an atom knows about a history that it changes.
pub(crate) struct AtomLink {
    atom: Weak<AtomInner>,
    /// The history itself.
    pub(crate) parent: Arc<Line>,
    state: Mutex<LinkState>,
}

struct LinkState {
    /// The head of the history when it was last the same.
    seen: TreeHead,
    /// How many of its blocks have stayed.
    kept: u64,
    /// How many blocks of the draft were committed: they are in the core now.
    committed: u64,
    caught_up: bool,
    dirty: bool,
}

impl AtomLink {
    /// What the atom has for a key: nothing, a value, or that it is removed.
    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, Error> {
        let atom = self.atom.upgrade().ok_or(Error::Closed)?;
        let pending = atom.pending.lock();
        Ok(pending.batch.get(key).cloned())
    }

    /// Entries of the store with those of the atom.
    pub(crate) fn merge(&self, from: &Key, to: &Key, entries: Vec<(Key, Bytes)>) -> Result<Vec<(Key, Bytes)>, Error> {
        let atom = self.atom.upgrade().ok_or(Error::Closed)?;
        let pending = atom.pending.lock();
        let mut merged: std::collections::BTreeMap<Key, Bytes> = entries.into_iter().collect();
        if from < to {
            for (key, value) in pending.batch.range(from.clone()..to.clone()) {
                match value {
                    Some(value) => merged.insert(key.clone(), value.clone()),
                    None => merged.remove(key),
                };
            }
        }
        Ok(merged.into_iter().collect())
    }

    /// How many blocks of the history have stayed.
    pub(crate) fn kept(&self) -> u64 {
        self.state.lock().kept
    }

    pub(crate) fn caught_up(&self) -> bool {
        self.state.lock().caught_up
    }

    /// The history was cut to `length` blocks.
    pub(crate) fn cut(&self, length: u64) {
        let mut state = self.state.lock();
        state.kept = state.kept.min(length);
        state.committed = state.committed.min(length);
        state.dirty = true;
    }

    pub(crate) fn catch_up(&self, shared: u64) {
        let mut state = self.state.lock();
        (state.caught_up, state.dirty) = (true, true);
        state.kept = state.kept.min(shared);
    }

    pub(crate) fn committed(&self, length: u64) {
        let mut state = self.state.lock();
        (state.committed, state.dirty) = (length, true);
    }
}

/// Changes of several cores that happen together: sessions made by [`Hypercore::in_atom`](crate::Hypercore::in_atom) change
/// nothing but what they themselves see, until [`flush`](Self::flush).
///
/// ```
/// # fn main() -> Result<(), hypercore::Error> {
/// let store = hypercore::Store::memory();
/// let (a, b) = (store.create()?, store.create()?);
/// let atom = store.atom();
/// a.in_atom(&atom)?.append(["one"])?;
/// b.in_atom(&atom)?.append(["two"])?;
/// assert_eq!((a.length(), b.length()), (0, 0));
/// atom.flush()?;
/// assert_eq!((a.length(), b.length()), (1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Atom {
    pub(crate) inner: Arc<AtomInner>,
}

impl std::fmt::Debug for Atom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Atom").field("histories", &self.inner.pending.lock().lines.len()).finish()
    }
}

impl Atom {
    pub(crate) fn new(store: Arc<Inner>) -> Self {
        Self { inner: Arc::new(AtomInner { store, pending: Mutex::default() }) }
    }

    /// The history as this atom changes it.
    pub(crate) fn line(&self, core: &Arc<Core>, parent: &Arc<Line>) -> Result<Arc<Line>, Error> {
        if parent.atom.is_some() {
            return Err(Error::BadArgument("the session is in an atom"));
        }
        if !Arc::ptr_eq(&self.inner.store, &parent.store) {
            return Err(Error::BadArgument("the atom is of another store"));
        }
        let mut pending = self.inner.pending.lock();
        let is_of = |line: &Line| line.atom.as_ref().is_some_and(|link| Arc::ptr_eq(&link.parent, parent));
        if let Some((_, line)) = pending.lines.iter().find(|(_, line)| is_of(line)) {
            return Ok(line.clone());
        }
        let (head, base) = (parent.head.read().clone(), parent.base());
        let state = LinkState { kept: head.length, seen: head.clone(), committed: 0, caught_up: false, dirty: false };
        let mut line = Line::new(parent.store.clone(), parent.pointer, parent.name.clone(), head, base);
        let link = AtomLink { atom: Arc::downgrade(&self.inner), parent: parent.clone(), state: Mutex::new(state) };
        line.atom = Some(link);
        let line = Arc::new(line);
        pending.lines.push((core.clone(), line.clone()));
        Ok(line)
    }

    /// Makes all changes, or none: afterwards the atom can be used again.
    ///
    /// # Errors
    /// [`Error::Conflict`] if one of the cores was changed otherwise since this atom looked at it; the atom is then of no more use.
    pub fn flush(&self) -> Result<Applied, Error> {
        let store = &self.inner.store;
        let _writer = store.writer.lock();
        // The atom keeps its changes until they are made, for those who read through it.
        let (batch, lines) = {
            let pending = self.inner.pending.lock();
            (pending.batch.clone(), pending.lines.clone())
        };
        let result = flush_lines(store, &lines, batch);
        let mut pending = self.inner.pending.lock();
        pending.batch.clear();
        if result.is_err() {
            pending.lines.clear();
        }
        drop(pending);
        let (applied, events) = result?;
        for (_, line) in &lines {
            line.atom.as_ref().ok_or(Error::Closed)?.settle(line);
        }
        for (listeners, event) in events {
            listeners.emit(event);
        }
        Ok(applied)
    }
}

impl AtomLink {
    /// Adds to what the atom is about to write. `grows` if it is more than user data.
    pub(crate) fn stage(&self, batch: Batch, changes_head: bool) -> Result<(), Error> {
        let atom = self.atom.upgrade().ok_or(Error::Closed)?;
        atom.pending.lock().batch.extend(batch);
        self.state.lock().dirty |= changes_head;
        Ok(())
    }

    /// After a flush: the history and what the atom sees of it are the same.
    fn settle(&self, line: &Line) {
        let mut state = self.state.lock();
        if state.dirty {
            let (head, base) = (line.head.read().clone(), *line.base.read());
            *self.parent.base.write() = base;
            *self.parent.head.write() = head;
        } else {
            // What happened to it otherwise is to be seen here too.
            let (head, base) = (self.parent.head.read().clone(), *self.parent.base.read());
            *line.base.write() = base;
            *line.head.write() = head;
        }
        let seen = line.head.read().clone();
        *state = LinkState { kept: seen.length, seen, committed: 0, caught_up: false, dirty: false };
    }
}

type Emitted = Vec<(Arc<Listeners>, Event)>;

/// Writes what an atom changes. The events that are left are those of drafts, which nobody waits for the disk for.
fn flush_lines(store: &Inner, lines: &[(Arc<Core>, Arc<Line>)], mut batch: Batch) -> Result<(Applied, Emitted), Error> {
    let (mut signed, mut drafts) = (Vec::new(), Vec::new());
    let mut changed = Vec::new();
    for (core, line) in lines {
        let link = line.atom.as_ref().ok_or(Error::Closed)?;
        let state = link.state.lock();
        let parent = link.parent.head.read();
        if state.dirty {
            if (parent.length, parent.fork) != (state.seen.length, state.seen.fork) {
                return Err(Error::Conflict);
            }
            changed.push((core, line, link, state.kept, state.committed, parent.length));
        }
    }
    // The cores themselves first: what they cut off, drafts get for their own.
    changed.sort_by_key(|(_, line, ..)| !line.is_signed());
    for (core, line, link, kept, committed, was) in changed {
        let head = line.head.read().clone();
        if kept < was {
            link.parent.save_for_snapshots(kept, was, true)?;
        }
        let events = if line.is_signed() { &mut signed } else { &mut drafts };
        let listeners = &link.parent.listeners;
        if kept < was {
            events.push((listeners.clone(), Event::Truncate { length: kept, fork: head.fork }));
        }
        if head.length > kept {
            events.push((listeners.clone(), Event::Append { length: head.length }));
        }
        if line.is_signed() {
            let place = Place { core: core.clone(), line: link.parent.clone() };
            let overwritten = |draft: &Arc<Line>| {
                let of_draft = |line: &Line| line.atom.as_ref().is_some_and(|link| Arc::ptr_eq(&link.parent, draft));
                lines.iter().any(|(_, line)| of_draft(line) && line.base_length() <= kept)
            };
            protect_drafts(&place, kept, &mut batch, &overwritten)?;
            let mut bitfield = core.bitfield.write();
            bitfield.unset(kept, was);
            bitfield.set(kept, head.length);
            core.put_bitfield(&mut bitfield, &mut batch);
            batch.insert(Table::Head.only(line.pointer), Some(encode_head(&head, bitfield.contiguous())));
            continue;
        }
        if let Some(mut base) = line.base() {
            if committed > base.length {
                base.length = committed;
                drop_shared(line, &mut batch, committed)?;
            }
            *line.base.write() = Some(base);
            batch.insert(Table::Base.only(line.pointer), Some(encode_base(base)));
        }
        batch.insert(Table::Head.only(line.pointer), Some(encode_head(&head, 0)));
    }
    Ok((store.write_locked(&batch, signed)?, drafts))
}

/// Removes what a draft has itself of the first `length` blocks, which are in the core.
pub(crate) fn drop_shared(line: &Line, batch: &mut Batch, length: u64) -> Result<(), Error> {
    line.cut_blocks(batch, 0, Some(length))?;
    let (from, to) = (Table::Node.at(line.pointer, 0), Table::Node.at(line.pointer, 2 * length));
    for (key, _) in line.read_range(&from, &to)? {
        let index = Table::index(&key).unwrap_or(u64::MAX);
        if crate::flat_tree::right_span(index) < 2 * length {
            batch.insert(key, None);
        }
    }
    Ok(())
}
