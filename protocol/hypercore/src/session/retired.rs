//! Drafts that are gone: what they had is removed, at once or when nobody reads it any more.

use std::sync::Weak;

use bytes::Bytes;

use super::Hypercore;
use crate::Error;
use crate::core::Core;
use crate::storage::{Batch, Table, keys};
use crate::store::Applied;

impl Core {
    /// Puts into `batch` that what was retired and is read by nobody is removed, while the writer is locked.
    pub(crate) fn sweep(&self, batch: &mut Batch) -> Result<(), Error> {
        let open: Vec<_> = {
            let mut replaced = self.replaced.lock();
            replaced.retain(|line| line.strong_count() > 0);
            replaced.iter().filter_map(Weak::upgrade).collect()
        };
        let pointer = self.line.pointer;
        for key in self.line.keys(&Table::Retired.only(pointer), &Table::Retired.end(pointer))? {
            let retired = Table::index(&key).and_then(|index| u32::try_from(index).ok());
            let retired = retired.ok_or_else(|| Error::Corrupt("the pointer of a former draft".into()))?;
            if open.iter().all(|line| line.pointer != retired) {
                self.remove(retired, batch)?;
                batch.insert(key, None);
            }
        }
        Ok(())
    }

    /// Puts into `batch` that the draft with the entry `stored` goes, while the writer is locked. After the write nobody can open it any
    /// more, but those who have it open read it still.
    pub(super) fn retire(&self, name: &str, stored: &[u8], batch: &mut Batch) -> Result<u32, Error> {
        let damaged = |_| Error::Corrupt(format!("the draft {name}"));
        let pointer = u32::from_be_bytes(stored.try_into().map_err(damaged)?);
        let mut drafts = self.drafts.lock();
        match drafts.remove(name).filter(|line| line.strong_count() > 0) {
            Some(line) => {
                self.replaced.lock().push(line);
                batch.insert(Table::Retired.at(self.line.pointer, pointer.into()), Some(Bytes::new()));
            }
            None => self.remove(pointer, batch)?,
        }
        Ok(pointer)
    }

    fn remove(&self, pointer: u32, batch: &mut Batch) -> Result<(), Error> {
        let (from, to) = Table::all(pointer);
        batch.extend(self.line.keys(&from, &to)?.into_iter().map(|key| (key, None)));
        Ok(())
    }
}

impl Hypercore {
    /// The names of the core's drafts.
    ///
    /// # Errors
    /// When the disk fails or is damaged.
    pub fn drafts(&self) -> Result<Vec<String>, Error> {
        let core = self.place().core;
        let (from, to) = keys::prefixed(keys::draft(core.line.pointer, ""));
        let name = |key: crate::storage::Key| {
            let name = std::str::from_utf8(&key[from.len()..]).map(String::from);
            name.map_err(|_| Error::Corrupt("the name of a draft".into()))
        };
        core.line.keys(&from, &to)?.into_iter().map(name).collect()
    }

    /// Deletes a draft, with its user data. Sessions that have it open can read it still; what it takes on the disk is free when they
    /// are gone.
    ///
    /// # Errors
    /// [`Error::BadArgument`] on a snapshot or in an atom; when the disk fails.
    pub fn delete_draft(&self, name: &str) -> Result<Applied, Error> {
        self.delete(|draft| draft == name)
    }

    /// [Deletes](Self::delete_draft) all drafts of the core, at once (`deleteSessions` of `hypercore-storage`).
    ///
    /// # Errors
    /// As [`delete_draft`](Self::delete_draft).
    pub fn delete_drafts(&self) -> Result<Applied, Error> {
        self.delete(|_| true)
    }

    fn delete(&self, is_deleted: impl Fn(&str) -> bool) -> Result<Applied, Error> {
        if self.snapshot.is_some() || self.atom.is_some() {
            return Err(Error::BadArgument("a draft is deleted from the core itself"));
        }
        let core = self.place().core;
        let store = &core.line.store;
        let _writer = store.writer.lock();
        let mut batch = Batch::new();
        core.sweep(&mut batch)?;
        for name in self.drafts()?.into_iter().filter(|name| is_deleted(name)) {
            let key = keys::draft(core.line.pointer, &name);
            if let Some(stored) = store.backend.get(&key)? {
                core.retire(&name, &stored, &mut batch)?;
                batch.insert(key, None);
            }
        }
        store.write_locked(batch, [])
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::{Key, Table, keys};
    use crate::{DraftOptions, Error, Hypercore, Store};

    const OVERWRITE: DraftOptions = DraftOptions { overwrite: true, checkout: None };

    /// How many entries of histories the store has, and the bytes of their blocks.
    fn stored(store: &Store) -> (usize, usize) {
        let (mut entries, mut bytes) = (0, 0);
        let (from, to) = keys::prefixed(Key::from_slice(&[4]));
        let mut each = |key: &[u8], value: bytes::Bytes| {
            entries += 1;
            bytes += if key[5] == Table::Block as u8 { value.len() } else { 0 };
            true
        };
        store.inner().backend.range(&from, &to, &mut each).expect("readable");
        (entries, bytes)
    }

    fn core(store: &Store) -> Result<Hypercore, Error> {
        let core = store.create()?;
        core.append((0..5u8).map(|index| vec![index; 2000]))?;
        Ok(core)
    }

    #[test]
    fn a_draft_that_is_overwritten_takes_no_room() -> Result<(), Error> {
        let store = Store::memory();
        let core = core(&store)?;
        let mut first = None;
        for round in 0..20 {
            let draft = core.draft("draft", OVERWRITE)?;
            draft.append([vec![round; 100_000]])?;
            draft.set_user_data("round", Some(&[round]))?;
            drop(draft);
            assert_eq!(*first.get_or_insert_with(|| stored(&store)), stored(&store), "round {round}");
        }
        assert!(store.check(|_| ())?.is_whole());
        Ok(())
    }

    #[test]
    fn what_is_read_still_goes_when_the_reader_is_gone() -> Result<(), Error> {
        let store = Store::memory();
        let core = core(&store)?;
        let before = core.draft("draft", OVERWRITE)?;
        before.append([vec![7; 100_000]])?;
        let at_most = stored(&store);
        let snapshot = before.snapshot();
        drop(before);
        core.draft("draft", OVERWRITE)?.append([vec![8; 100_000]])?;
        core.truncate(3)?;
        assert_eq!(snapshot.get(4)?.as_deref(), Some(&[4; 2000][..]));
        assert_eq!(snapshot.get(5)?.as_deref(), Some(&[7; 100_000][..]));
        drop(snapshot);
        core.delete_draft("another")?;
        assert!(stored(&store).1 <= at_most.1, "{:?}", stored(&store));
        // Also if nothing is written any more until the core is opened again.
        let open = core.draft("draft", DraftOptions::default())?;
        core.delete_drafts()?;
        assert_eq!((open.length(), open.get(5)?.map(|block| block.len())), (6, Some(100_000)));
        assert_eq!((core.drafts()?, core.has_draft("draft")?), (Vec::new(), false));
        let key = core.key();
        drop((open, core));
        let core = store.get(&key)?;
        assert_eq!(stored(&store).1, 3 * 2000);
        let draft = core.draft("draft", DraftOptions::default())?;
        assert_eq!((draft.length(), core.drafts()?), (3, vec!["draft".to_owned()]));
        Ok(())
    }

    #[test]
    fn what_was_set_on_a_draft_stays_when_it_is_overwritten() -> Result<(), Error> {
        let store = Store::memory();
        let core = core(&store)?;
        let draft = core.draft("draft", OVERWRITE)?;
        draft.set_user_data("name", Some(b"view"))?;
        draft.set_local(&[(&b"key"[..], Some(&b"value"[..]))])?;
        let other = core.draft("draft", OVERWRITE)?;
        assert_eq!((other.user_data("name")?, other.local(b"key")?), (Some("view".into()), Some("value".into())));
        // Those who have the former one open have it for themselves.
        other.set_user_data("name", None)?;
        assert_eq!((draft.user_data("name")?, other.user_data("name")?), (Some("view".into()), None));
        core.delete_draft("draft")?;
        assert_eq!(core.draft("draft", DraftOptions::default())?.user_data("name")?, None);
        Ok(())
    }
}
