//! Bringing logs into the B-tree, and large values out of files that are mostly dead.

use super::directory::Kind;
use super::large::{self, Place};
use super::{Shared, Stored, tree};
use crate::Error;
use crate::storage::{Batch, Key};

/// How many values are moved out of a file that is mostly dead while others wait to write.
const MOVED_AT_ONCE: usize = 16;

/// How many bytes of them, unless one is larger.
const MOVED_BYTES: u64 = 4 << 20;

/// What is to be brought into the B-tree.
#[derive(Clone, Copy)]
pub(super) struct Due {
    /// The logs with lower numbers.
    pub(super) logs: u64,
    /// Files of large values with lower numbers get no more values: all that are live in them are known then.
    pub(super) files: u64,
}

#[derive(Default)]
pub(super) struct Checkpoint {
    pub(super) due: Option<Due>,
    pub(super) failed: Option<Error>,
    pub(super) closing: bool,
}

impl Shared {
    pub(super) fn run(&self) {
        loop {
            let mut checkpoint = self.checkpoint.lock();
            while checkpoint.due.is_none() && !checkpoint.closing {
                self.wake.wait(&mut checkpoint);
            }
            let Some(due) = checkpoint.due else { return };
            drop(checkpoint);
            let result = self.bring_in(due);
            let mut checkpoint = self.checkpoint.lock();
            checkpoint.due = None;
            let result = match (result, checkpoint.closing) {
                (Ok(()), false) => {
                    self.wake.notify_all();
                    drop(checkpoint);
                    let moved = self.move_out(due);
                    checkpoint = self.checkpoint.lock();
                    moved
                }
                (result, _) => result,
            };
            if let Err(error) = result {
                tracing::error!(%error, "the log cannot be brought into the store");
                checkpoint.failed = Some(error);
                self.wake.notify_all();
                return;
            }
            self.wake.notify_all();
        }
    }

    /// Writes what is frozen to the B-tree, and removes the files that are of no more use.
    pub(super) fn bring_in(&self, due: Due) -> Result<(), Error> {
        let Some(frozen) = self.tables.read().frozen.clone() else { return Ok(()) };
        tree::bring_in(&self.database, &frozen, due.logs)?;
        let older = tree::view(&self.database)?;
        let mut tables = self.tables.write();
        let old = (tables.frozen.take(), std::mem::replace(&mut tables.older, older));
        drop(tables);
        drop(old);
        for number in self.directory.list(Kind::Log)?.into_iter().filter(|&number| number < due.logs) {
            self.directory.remove(Kind::Log, number)?;
        }
        let live = tree::live(&self.database)?;
        for number in self.directory.list(Kind::Large)? {
            if number < due.files && !live.contains_key(&number) {
                self.reader.forget(number);
                self.directory.remove(Kind::Large, number)?;
            }
        }
        Ok(())
    }

    /// Removes files of large values that a crash has left without any that is live.
    pub(super) fn remove_unused(&self, files: &[u64]) -> Result<(), Error> {
        let mut live = tree::live(&self.database)?;
        for place in self.tables.read().active.values().filter_map(Stored::place) {
            live.entry(place.file).or_default();
        }
        for &number in files.iter().filter(|&number| !live.contains_key(number)) {
            self.reader.forget(number);
            self.directory.remove(Kind::Large, number)?;
        }
        Ok(())
    }

    /// Writes the live values of a file again of which most are dead, so that it can go the next time.
    pub(super) fn move_out(&self, due: Due) -> Result<(), Error> {
        for (number, live) in tree::live(&self.database)? {
            if number >= due.files || 2 * live >= large::file_length(&self.reader, &*self.directory, number)? {
                continue;
            }
            let entries = self.reader.entries(&*self.directory, number)?;
            let mut is_whole = true;
            let mut rest = &entries[..];
            while !rest.is_empty() {
                let mut bytes = 0;
                let mut fits = |place: &Place| {
                    bytes += u64::from(place.length);
                    bytes <= MOVED_BYTES || bytes == u64::from(place.length)
                };
                let count =
                    rest.iter().take(MOVED_AT_ONCE).map(|(_, place)| place).take_while(|place| fits(place)).count();
                let (some, after) = rest.split_at(count);
                is_whole &= self.write_again(some)?;
                rest = after;
            }
            if is_whole {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes those of the large values again that are live; whether these are whole. One that is damaged stays where it is: with a new
    /// checksum nobody would know.
    fn write_again(&self, some: &[(Key, Place)]) -> Result<bool, Error> {
        let place_now = |key: &Key, place: &Place| -> Result<Option<Place>, Error> {
            let now = self.look(key)?.as_ref().and_then(Stored::place).copied();
            Ok(now.filter(|now| (now.file, now.at) == (place.file, place.at)))
        };
        let is_live = |key: &Key, place: &Place| place_now(key, place).map(|now| now.is_some());
        let (mut live, mut is_whole) = (Vec::new(), true);
        for (key, place) in some {
            if let Some(now) = place_now(key, place)? {
                let value = self.reader.read(&*self.directory, place)?;
                if now.is_of(&value) {
                    live.push((key, place, value));
                } else {
                    is_whole = false;
                }
            }
        }
        // Writers wait for what is written again, not for what is read.
        let mut writer = self.writer.lock();
        let mut batch = Batch::new();
        for (key, place, value) in live {
            if is_live(key, place)? {
                batch.insert(key.clone(), Some(value));
            }
        }
        self.append(&mut writer, batch, true)?;
        Ok(is_whole)
    }
}
