//! Changes of several cores that happen together or not at all.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::Error;
use crate::core::Core;
use crate::events::{Event, Listeners};
use crate::line::{Base, Line, encode_base, encode_head};
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
    /// How many blocks it shared with the core then.
    shared: u64,
    /// How many of its blocks have stayed.
    kept: u64,
    /// How many blocks of the draft were committed: they are in the core now.
    committed: u64,
    /// The fork of the core that the draft became the same as.
    caught_up: Option<u64>,
    dirty: bool,
}

impl LinkState {
    fn new(seen: TreeHead, base: Option<Base>) -> Self {
        let shared = base.map_or(0, |base| base.length);
        Self { kept: seen.length, seen, shared, committed: 0, caught_up: None, dirty: false }
    }
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
        self.state.lock().caught_up.is_some()
    }

    /// The history was cut to `length` blocks.
    pub(crate) fn cut(&self, length: u64) {
        let mut state = self.state.lock();
        state.kept = state.kept.min(length);
        state.committed = state.committed.min(length);
        state.dirty = true;
    }

    /// The draft became the core of the fork, of which it shared `shared` blocks already.
    pub(crate) fn catch_up(&self, shared: u64, fork: u64) {
        let mut state = self.state.lock();
        (state.caught_up, state.dirty) = (Some(fork), true);
        (state.kept, state.committed) = (state.kept.min(shared), 0);
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
        let state = LinkState::new(head.clone(), base);
        let mut line = Line::new(parent.store.clone(), parent.pointer, parent.name.clone(), head, base);
        let link = AtomLink { atom: Arc::downgrade(&self.inner), parent: parent.clone(), state: Mutex::new(state) };
        line.atom = Some(link);
        let line = Arc::new(line);
        parent.add_atom(&line);
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
        let cuts = |line: &Line| line.atom.as_ref().is_some_and(|link| link.kept() < link.parent.head.read().length);
        let _cutting: Vec<_> = lines.iter().filter(|(_, line)| cuts(line)).map(|(core, _)| core.cuts.begin()).collect();
        let result = flush_lines(store, &lines, batch);
        if result.is_ok() {
            for (_, line) in &lines {
                if let Some(link) = &line.atom {
                    link.settle(line);
                }
            }
        }
        // Only now: what an atom appended is looked for nowhere else until then.
        let mut pending = self.inner.pending.lock();
        pending.batch.clear();
        if result.is_err() {
            pending.lines.clear();
        }
        drop(pending);
        let (applied, events) = result?;
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
            if state.kept < state.seen.length {
                self.parent.begin_epoch();
            }
        } else {
            // What happened to it otherwise is to be seen here too.
            let (head, base) = (self.parent.head.read().clone(), *self.parent.base.read());
            *line.base.write() = base;
            let was = std::mem::replace(&mut *line.head.write(), head);
            let now = line.head.read();
            if (was.length, was.fork) != (now.length, now.fork) {
                line.listeners.emit(Event::Changed);
            }
        }
        *state = LinkState::new(line.head.read().clone(), *line.base.read());
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
            if state.caught_up.is_some_and(|fork| fork != core.line.head.read().fork) {
                return Err(Error::Conflict);
            }
            let protected = link.parent.base_length() < state.shared;
            let was = parent.length;
            drop(parent);
            // All of them before any draft is parted from its core.
            if state.kept < was {
                link.parent.save_for_snapshots(state.kept, was, true)?;
            }
            if state.kept < state.shared && protected {
                drop_protected(&link.parent, &mut batch, state.kept)?;
            }
            changed.push((core, line, link, state.kept, state.committed, was));
        }
    }
    // The cores themselves first: what they cut off, drafts get for their own.
    changed.sort_by_key(|(_, line, ..)| !line.is_signed());
    // How many blocks the cores keep, by pointer.
    let stay: HashMap<u32, u64> = changed
        .iter()
        .filter(|(_, line, ..)| line.is_signed())
        .map(|(_, line, _, kept, ..)| (line.pointer, *kept))
        .collect();
    for (core, line, link, kept, committed, was) in changed {
        let head = line.head.read().clone();
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
            let shared = |draft: &Arc<Line>| {
                let of_draft = |line: &Line| line.atom.as_ref().is_some_and(|link| Arc::ptr_eq(&link.parent, draft));
                let in_atom = lines.iter().find(|(_, line)| of_draft(line));
                in_atom.map_or_else(|| draft.base_length(), |(_, line)| line.base_length())
            };
            protect_drafts(&place, kept, &mut batch, &shared)?;
            let mut bitfield = core.bitfield.write();
            bitfield.unset(kept, was);
            bitfield.set(kept, head.length);
            core.put_bitfield(&mut bitfield, &mut batch);
            batch.insert(Table::Head.only(line.pointer), Some(encode_head(&head, bitfield.contiguous())));
            continue;
        }
        if let Some(mut base) = line.base() {
            let stay = stay.get(&base.pointer).copied().unwrap_or(u64::MAX);
            base.length = base.length.min(stay);
            let committed = committed.min(stay);
            if committed > base.length {
                base.length = committed;
                drop_shared(line, &mut batch, committed)?;
            }
            *line.base.write() = Some(base);
            batch.insert(Table::Base.only(line.pointer), Some(encode_base(base)));
        }
        batch.insert(Table::Head.only(line.pointer), Some(encode_head(&head, 0)));
    }
    Ok((store.write_locked(batch, signed)?, drafts))
}

/// Removes what a draft was given, when the core was cut, of blocks that the atom had cut off it before.
fn drop_protected(draft: &Line, batch: &mut Batch, kept: u64) -> Result<(), Error> {
    let mut cut = Batch::new();
    draft.cut_blocks(&mut cut, kept, None)?;
    draft.cut_nodes(&mut cut, kept)?;
    for (key, value) in cut {
        batch.entry(key).or_insert(value);
    }
    Ok(())
}

/// Removes what a draft has itself of the first `length` blocks, which are in the core.
pub(crate) fn drop_shared(line: &Line, batch: &mut Batch, length: u64) -> Result<(), Error> {
    line.cut_blocks(batch, 0, Some(length))?;
    let (from, to) = (Table::Node.at(line.pointer, 0), Table::Node.at(line.pointer, 2 * length));
    for key in line.keys(&from, &to)? {
        let index = Table::index(&key).unwrap_or(u64::MAX);
        if crate::flat_tree::right_span(index) < 2 * length {
            batch.insert(key, None);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommitOptions, DraftOptions, Hypercore, Store};

    /// A core of the blocks `0..5`, and a draft that shares them all.
    fn shared() -> (Store, Hypercore, Hypercore) {
        let store = Store::memory();
        let core = store.create().expect("a core");
        core.append((0..5u8).map(|index| [index])).expect("appended");
        let draft = core.draft("draft", DraftOptions::default()).expect("a draft");
        (store, core, draft)
    }

    /// The draft has these blocks, and every hash over them is right.
    fn assert_is(store: &Store, draft: &Hypercore, blocks: &[u8]) {
        let found: Vec<_> = (0..draft.length()).map(|index| draft.get(index).expect("readable")).collect();
        let expected: Vec<_> = blocks.iter().map(|&block| Some(Bytes::copy_from_slice(&[block]))).collect();
        assert_eq!(found, expected);
        let problems = store.check(|_| ()).expect("readable").problems;
        assert!(problems.is_empty(), "{problems:?}");
        let alone = Store::memory().create().expect("a core");
        alone.append(blocks.iter().map(|&block| [block])).expect("appended");
        for length in 0..=draft.length() {
            assert_eq!(draft.tree_hash(length).expect("a hash"), alone.tree_hash(length).expect("a hash"), "{length}");
        }
    }

    #[test]
    fn a_draft_gets_only_what_it_still_shares_when_both_are_cut() {
        let (store, core, draft) = shared();
        let atom = store.atom();
        core.in_atom(&atom).expect("in the atom").truncate(0).expect("cut");
        let in_atom = draft.in_atom(&atom).expect("in the atom");
        in_atom.truncate(2).expect("cut");
        in_atom.append([[12], [13]]).expect("appended");
        atom.flush().expect("written");
        assert_is(&store, &draft, &[0, 1, 12, 13]);
        // Nothing is left where it goes on.
        draft.append([[14], [15]]).expect("appended");
        assert_is(&store, &draft, &[0, 1, 12, 13, 14, 15]);
    }

    #[test]
    fn snapshots_stay_when_both_are_cut_and_when_the_draft_is_replaced() {
        let (store, core, draft) = shared();
        let snapshot = draft.snapshot();
        let atom = store.atom();
        core.in_atom(&atom).expect("in the atom").truncate(2).expect("cut");
        draft.in_atom(&atom).expect("in the atom").truncate(1).expect("cut");
        atom.flush().expect("written");
        assert_is(&store, &snapshot, &[0, 1, 2, 3, 4]);
        let before = core.draft("draft", DraftOptions { overwrite: true, checkout: None }).expect("a draft").snapshot();
        core.draft("draft", DraftOptions { overwrite: true, checkout: None }).expect("a draft");
        core.truncate(1).expect("cut");
        assert_is(&store, &before, &[0, 1]);
    }

    #[test]
    fn what_an_atom_cut_off_a_draft_stays_off_when_the_core_is_cut_meanwhile() {
        let (store, core, draft) = shared();
        // Of a block that is not here, the hash is copied.
        core.clear(2, 3).expect("cleared");
        let atom = store.atom();
        let in_atom = draft.in_atom(&atom).expect("in the atom");
        in_atom.truncate(2).expect("cut");
        core.truncate(1).expect("cut");
        in_atom.append([[12], [13]]).expect("appended");
        assert_is(&store, &in_atom, &[0, 1, 12, 13]);
        atom.flush().expect("written");
        assert_is(&store, &draft, &[0, 1, 12, 13]);
        draft.append([[24], [25]]).expect("appended");
        assert_is(&store, &draft, &[0, 1, 12, 13, 24, 25]);
    }

    #[test]
    fn a_draft_that_caught_up_keeps_what_the_core_loses() {
        let (store, core, draft) = shared();
        draft.truncate(1).expect("cut");
        draft.append([[11], [12]]).expect("appended");
        let atom = store.atom();
        draft.in_atom(&atom).expect("in the atom").catch_up(4).expect("caught up");
        core.in_atom(&atom).expect("in the atom").truncate(2).expect("cut");
        atom.flush().expect("written");
        assert_is(&store, &draft, &[0, 1, 2, 3]);
        draft.in_atom(&atom).expect("in the atom").catch_up(2).expect("caught up");
        core.truncate(1).expect("cut");
        assert!(matches!(atom.flush(), Err(Error::Conflict)));
        assert_is(&store, &draft, &[0, 1, 2, 3]);
    }

    #[test]
    fn a_draft_keeps_what_it_committed_and_the_core_loses() {
        let (store, core, draft) = shared();
        draft.truncate(2).expect("cut");
        draft.append([[2], [3], [4], [15]]).expect("appended");
        let atom = store.atom();
        let in_atom = draft.in_atom(&atom).expect("in the atom");
        core.commit(&in_atom, CommitOptions { length: Some(5), ..CommitOptions::default() }).expect("committed");
        core.in_atom(&atom).expect("in the atom").truncate(3).expect("cut");
        atom.flush().expect("written");
        assert_is(&store, &draft, &[0, 1, 2, 3, 4, 15]);
    }
}
