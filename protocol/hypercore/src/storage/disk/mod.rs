//! The store on disk: a log of what was written last, in front of a B-tree file (`redb`) with all that was written before. Values
//! of more than a kilobyte are in files of their own from the beginning, and are not moved.
//!
//! A write is one record at the end of the log, and in memory. When memory is full, a thread brings it into the B-tree, in one
//! transaction, and removes the log. After a crash the log is read again up to the first record that is not whole. So a write
//! costs one append to a file (and one for each large value), a synchronisation one or two `fdatasync`, and opening reads a log of
//! limited length.
//!
//! This module opens the store and reads it; [`writer`] writes, and [`checkpoint`] is the thread.

mod cache;
mod checkpoint;
mod directory;
mod large;
mod log;
mod memtable;
mod merge;
mod page;
mod tree;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use redb::Database;

#[cfg(test)]
pub(crate) use directory::DataFile;
pub(crate) use directory::{Directory, Folder, Kind};
pub(crate) use tree::initialise;

use super::{Backend, Batch};
use crate::Error;
use checkpoint::{Checkpoint, Due};
use large::{Current, Place, Reader};
use memtable::MemTable;
use tree::View;
use writer::Writer;

/// How many bytes are kept in memory, and in the log, before they go to the B-tree.
const MAX_MEMORY: usize = 8 << 20;

/// So many times as much as in memory may be in files of large values before their places go to the B-tree.
const LARGE_SHARE: u64 = 8;

/// How many bytes a file of large values gets before another one is begun.
const MAX_FILE: u64 = 256 << 20;

/// A value, or where it is.
#[derive(Debug, Clone)]
enum Stored {
    Inline(Bytes),
    Large(Place),
}

/// Called with the entries of a range; ends it with `false`.
type Each<'a> = dyn FnMut(&[u8], Stored) -> Result<bool, Error> + 'a;

/// A new value, or none any more.
type Change = Option<Stored>;

struct Tables {
    /// What is in the newest log, and in those that were there when the store was opened.
    active: MemTable,
    /// What is on its way to the B-tree.
    frozen: Option<Arc<MemTable>>,
    /// The B-tree as it is behind these.
    older: View,
}

struct Shared {
    tables: RwLock<Tables>,
    directory: Box<dyn Directory>,
    database: Database,
    reader: Reader,
    writer: Mutex<Writer>,
    checkpoint: Mutex<Checkpoint>,
    wake: Condvar,
    max_memory: usize,
    max_file: u64,
}

/// A store in a directory.
pub(crate) struct Disk {
    shared: Arc<Shared>,
    /// Brings logs into the B-tree; without it (in tests) writes do it themselves.
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// The store in the directory at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut disk = Self::on(Box::new(Folder::new(path)?), MAX_MEMORY, MAX_FILE)?;
        let shared = disk.shared.clone();
        let thread = std::thread::Builder::new().name("hypercore-checkpoint".into()).spawn(move || shared.run())?;
        disk.thread = Some(thread);
        Ok(disk)
    }

    /// Whether there is a store in the directory at `path`.
    pub(crate) fn exists(path: &Path) -> bool {
        path.join(directory::DATABASE).is_file()
    }

    /// Whether everything in the directory at `path` is what a store leaves there, whole or not.
    pub(crate) fn is_remnant(path: &Path) -> std::io::Result<bool> {
        directory::is_of_store(path)
    }

    pub(crate) fn on(directory: Box<dyn Directory>, max_memory: usize, max_file: u64) -> Result<Self, Error> {
        let database = directory.database()?;
        let (below, older, reader) = (tree::logs_below(&database)?, tree::view(&database)?, Reader::new());
        let mut tables = Tables { active: MemTable::default(), frozen: None, older };
        let (old, logs) = directory.list(Kind::Log)?.into_iter().partition::<Vec<_>, _>(|&log| log < below);
        for log in old {
            directory.remove(Kind::Log, log)?;
        }
        for (place, &number) in logs.iter().enumerate() {
            let bytes = directory.read(Kind::Log, number)?;
            let is_there = |place: &Place| large::is_whole(&reader, &*directory, place);
            let whole = log::replay(number, &bytes, is_there, |entries| tables.active.extend(entries));
            if whole < bytes.len() {
                // Only the newest can have been cut by a crash: the others were synchronised before it was made.
                if place + 1 < logs.len() {
                    return Err(Error::Corrupt(format!("the log {number} at byte {whole}")));
                }
                directory.cut(Kind::Log, number, whole as u64)?;
            }
        }
        // A process that died may have synchronised none of these files, and the log neither; what is found here counts as durable,
        // and is told, before anything more is written.
        let mut named: Vec<u64> = tables.active.values().filter_map(Stored::place).map(|place| place.file).collect();
        named.sort_unstable();
        named.dedup();
        for number in named {
            directory.open(Kind::Large, number)?.sync()?;
        }
        let number = logs.last().copied().unwrap_or(below);
        let log =
            if logs.is_empty() { directory.create(Kind::Log, number)? } else { directory.open(Kind::Log, number)? };
        let length = log.length()?;
        if length > 0 {
            log.sync()?;
        }
        let files = directory.list(Kind::Large)?;
        let next_large = files.last().map_or(0, |last| last + 1);
        let writer = Mutex::new(Writer {
            log,
            number,
            length,
            pending: Vec::new(),
            failed: None,
            large: None,
            next_large,
            large_bytes: 0,
        });
        let shared = Shared {
            tables: RwLock::new(tables),
            directory,
            database,
            reader,
            writer,
            checkpoint: Mutex::default(),
            wake: Condvar::new(),
            max_memory,
            max_file,
        };
        shared.remove_unused(&files)?;
        Ok(Self { shared: Arc::new(shared), thread: None })
    }

    /// Begins a new log, and lets what is in memory go to the B-tree.
    fn rotate(&self, writer: &mut Writer) -> Result<Due, Error> {
        writer.usable()?;
        let shared = &self.shared;
        {
            let mut checkpoint = shared.checkpoint.lock();
            while checkpoint.due.is_some() && checkpoint.failed.is_none() {
                shared.wake.wait(&mut checkpoint);
            }
            if let Some(error) = &checkpoint.failed {
                return Err(error.clone());
            }
        }
        shared.write_pending(writer, true)?;
        // Nothing in the new log may survive what is lost of the old one.
        let synced = match writer.large.as_ref().and_then(Current::unsynced) {
            Some(unsynced) => unsynced.sync(),
            None => Ok(()),
        };
        writer.noting(synced.and_then(|()| Ok(writer.log.sync()?)))?;
        let number = writer.number + 1;
        (writer.log, writer.number, writer.length) = (shared.directory.create(Kind::Log, number)?, number, 0);
        writer.large_bytes = 0;
        writer.large = writer.large.take().filter(|file| file.length < shared.max_file);
        let mut tables = shared.tables.write();
        tables.frozen = Some(Arc::new(std::mem::take(&mut tables.active)));
        drop(tables);
        let due = Due { logs: number, files: writer.large.as_ref().map_or(writer.next_large, |file| file.number) };
        if self.thread.is_some() {
            shared.checkpoint.lock().due = Some(due);
            shared.wake.notify_all();
        }
        Ok(due)
    }

    fn put(&self, batch: Batch, now: bool) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        let mut writer = shared.writer.lock();
        writer.usable()?;
        let is_full = shared.tables.read().active.bytes() > shared.max_memory
            || writer.large_bytes > LARGE_SHARE * shared.max_memory as u64;
        let due = if is_full { Some(self.rotate(&mut writer)?) } else { None };
        shared.append(&mut writer, batch, now)?;
        drop(writer);
        match due {
            Some(due) if self.thread.is_none() => {
                shared.bring_in(due)?;
                shared.move_out(due)
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let is_empty = self.shared.tables.read().active.is_empty();
        if self.thread.is_some() && !is_empty {
            // So the next start has no log to read; where this fails, it has.
            if let Err(error) = self.rotate(&mut self.shared.writer.lock()) {
                tracing::debug!(%error, "the log is left to the next start");
            }
        }
        self.shared.checkpoint.lock().closing = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The value of a key, or where it is.
    fn look(&self, key: &[u8]) -> Result<Change, Error> {
        let tables = self.tables.read();
        if let Some(change) = tables.get(key) {
            return Ok(change);
        }
        let older = tables.older.clone();
        drop(tables);
        tree::get(&older, key)
    }

    /// The value of a key that had `first` when it was looked at. What is read of a file may have been moved out of it meanwhile.
    fn load(&self, key: &[u8], first: Change) -> Result<Option<Bytes>, Error> {
        let mut change = first;
        for _ in 0..16 {
            let place = match change {
                None => return Ok(None),
                Some(Stored::Inline(value)) => return Ok(Some(value)),
                Some(Stored::Large(place)) => place,
            };
            match self.reader.read(&*self.directory, &place) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => change = self.look(key)?,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                value => {
                    let value = value?;
                    if !place.is_of(&value) {
                        return Err(damaged("a large value is not what was written"));
                    }
                    return Ok(Some(value));
                }
            }
        }
        Err(damaged("a file of blocks is missing, or too short"))
    }
}

impl Stored {
    /// Where it is, unless it is here.
    fn place(&self) -> Option<&Place> {
        match self {
            Stored::Large(place) => Some(place),
            Stored::Inline(_) => None,
        }
    }
}

impl Tables {
    fn get(&self, key: &[u8]) -> Option<Change> {
        let in_frozen = || self.frozen.as_ref().and_then(|frozen| frozen.get(key));
        self.active.get(key).or_else(in_frozen).cloned()
    }
}

impl Backend for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.shared.load(key, self.shared.look(key)?)
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) -> Result<(), Error> {
        if from >= to {
            return Ok(());
        }
        let (newer, older) = self.shared.tables.read().between(from, to);
        merge::merge(newer, &older, from, to, &mut |key, stored| {
            // It may have been removed since.
            let value = self.shared.load(key, Some(stored))?;
            Ok(value.is_none_or(|value| each(key, value)))
        })
    }

    fn keys(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Error> {
        if from >= to {
            return Ok(());
        }
        let (newer, older) = self.shared.tables.read().between(from, to);
        merge::merge(newer, &older, from, to, &mut |key, _| Ok(each(key)))
    }

    fn write(&self, batch: Batch) -> Result<(), Error> {
        self.put(batch, true)
    }

    fn write_later(&self, batch: Batch) -> Result<(), Error> {
        self.put(batch, false)
    }

    fn flush(&self) -> Result<(), Error> {
        let mut writer = self.shared.writer.lock();
        writer.usable()?;
        self.shared.write_pending(&mut writer, true)
    }

    fn sync(&self) -> Result<(), Error> {
        // Writes go on meanwhile; those before a new log was begun are synchronised already.
        let (log, large) = {
            let mut writer = self.shared.writer.lock();
            writer.usable()?;
            self.shared.write_pending(&mut writer, true)?;
            (writer.log.clone(), writer.large.as_ref().and_then(Current::unsynced))
        };
        let synced = large.map_or(Ok(()), |large| large.sync()).and_then(|()| Ok(log.sync()?));
        if synced.is_err() {
            return self.shared.writer.lock().noting(synced);
        }
        Ok(())
    }
}

fn damaged(what: &str) -> Error {
    Error::Corrupt(what.into())
}

fn failed(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) => error.into(),
        redb::Error::DatabaseAlreadyOpen => Error::InUse,
        redb::Error::Corrupted(text) => Error::Corrupt(text),
        error => std::io::Error::other(error).into(),
    }
}
