//! The store on disk: a log of what was written last, in front of a B-tree file (`redb`) with all that was written before.
//!
//! A write is one record at the end of the log, and in memory. When memory is full, a thread brings it into the B-tree, in one
//! transaction, and removes the log. After a crash the log is read again up to the first record that is not whole. So a write
//! costs one append to a file, a synchronisation one `fdatasync`, and opening reads a log of limited length.

mod directory;
mod log;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

pub(crate) use directory::{Directory, Folder, LogFile};

use super::{Backend, Batch, Key};
use crate::Error;

/// The number below which logs are in the B-tree, whatever is left of them.
const BELOW: TableDefinition<'_, (), u64> = TableDefinition::new("logs below");

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("hypercore");

/// How many bytes are kept in memory, and in the log, before they go to the B-tree.
const MAX_MEMORY: usize = 8 << 20;

/// What an entry costs in memory beside its value.
const ENTRY_OVERHEAD: usize = 96;

#[derive(Default)]
struct Tables {
    /// What is in the newest log, and in those that were there when the store was opened.
    active: Batch,
    bytes: usize,
    /// What is on its way to the B-tree.
    frozen: Option<Arc<Batch>>,
}

struct Writer {
    log: Arc<dyn LogFile>,
    number: u64,
}

struct Shared {
    directory: Box<dyn Directory>,
    database: Database,
    tables: RwLock<Tables>,
    writer: Mutex<Writer>,
    checkpoint: Mutex<Checkpoint>,
    wake: Condvar,
}

#[derive(Default)]
struct Checkpoint {
    /// The logs below this number are to be brought into the B-tree.
    below: Option<u64>,
    failed: Option<Error>,
    closing: bool,
}

/// A store in a directory.
pub(crate) struct Disk {
    shared: Arc<Shared>,
    /// Brings logs into the B-tree; without it (in tests) writes do it themselves.
    thread: Option<JoinHandle<()>>,
    max_memory: usize,
}

impl Disk {
    /// The store in the directory at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut disk = Self::on(Box::new(Folder::new(path)?), MAX_MEMORY)?;
        let shared = disk.shared.clone();
        let thread = std::thread::Builder::new().name("hypercore-checkpoint".into()).spawn(move || shared.run())?;
        disk.thread = Some(thread);
        Ok(disk)
    }

    /// Whether there is a store in the directory at `path`.
    pub(crate) fn exists(path: &Path) -> bool {
        path.join(directory::DATABASE).is_file()
    }

    pub(crate) fn on(directory: Box<dyn Directory>, max_memory: usize) -> Result<Self, Error> {
        let database = directory.database()?;
        let transaction = database.begin_read().map_err(failed)?;
        let below = transaction.open_table(BELOW).map_err(failed)?.get(()).map_err(failed)?;
        let below = below.map_or(0, |below| below.value());
        drop(transaction);

        let mut tables = Tables::default();
        let (old, logs) = directory.logs()?.into_iter().partition::<Vec<_>, _>(|&log| log < below);
        for log in old {
            directory.remove(log)?;
        }
        for (place, &number) in logs.iter().enumerate() {
            let bytes = directory.read(number)?;
            let whole = log::replay(number, &bytes, |key, value| tables.insert(key, value));
            if whole < bytes.len() {
                // Only the newest can have been cut by a crash: the others were synchronised before it was made.
                if place + 1 < logs.len() {
                    return Err(Error::Corrupt(format!("the log {number} at byte {whole}")));
                }
                directory.cut(number, whole as u64)?;
            }
        }
        let number = logs.last().copied().unwrap_or(below);
        let log = if logs.is_empty() { directory.create(number)? } else { directory.open(number)? };
        let writer = Mutex::new(Writer { log, number });
        let shared = Shared {
            directory,
            database,
            tables: RwLock::new(tables),
            writer,
            checkpoint: Mutex::default(),
            wake: Condvar::new(),
        };
        Ok(Self { shared: Arc::new(shared), thread: None, max_memory })
    }

    /// Begins a new log, and lets what is in memory go to the B-tree.
    fn rotate(&self, writer: &mut Writer) -> Result<(), Error> {
        let shared = &self.shared;
        {
            let mut checkpoint = shared.checkpoint.lock();
            while checkpoint.below.is_some() && checkpoint.failed.is_none() {
                shared.wake.wait(&mut checkpoint);
            }
            if let Some(error) = &checkpoint.failed {
                return Err(error.clone());
            }
        }
        // Nothing in the new log may survive what is lost of the old one.
        writer.log.sync()?;
        let number = writer.number + 1;
        *writer = Writer { log: shared.directory.create(number)?, number };
        let mut tables = shared.tables.write();
        tables.bytes = 0;
        tables.frozen = Some(Arc::new(std::mem::take(&mut tables.active)));
        drop(tables);
        match self.thread {
            Some(_) => {
                shared.checkpoint.lock().below = Some(number);
                shared.wake.notify_all();
                Ok(())
            }
            None => shared.bring_in(number),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.checkpoint.lock().closing = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut checkpoint = self.checkpoint.lock();
            while checkpoint.below.is_none() && !checkpoint.closing {
                self.wake.wait(&mut checkpoint);
            }
            let Some(below) = checkpoint.below else { return };
            drop(checkpoint);
            let result = self.bring_in(below);
            let mut checkpoint = self.checkpoint.lock();
            checkpoint.below = None;
            if let Err(error) = result {
                tracing::error!(%error, "the log cannot be brought into the store");
                checkpoint.failed = Some(error);
                self.wake.notify_all();
                return;
            }
            self.wake.notify_all();
        }
    }

    /// Writes what is frozen to the B-tree, and removes the logs below `below` that it was in.
    fn bring_in(&self, below: u64) -> Result<(), Error> {
        let Some(frozen) = self.tables.read().frozen.clone() else { return Ok(()) };
        let mut transaction = self.database.begin_write().map_err(failed)?;
        transaction.set_durability(Durability::Immediate).map_err(failed)?;
        {
            let mut table = transaction.open_table(TABLE).map_err(failed)?;
            for (key, value) in &*frozen {
                match value {
                    Some(value) => table.insert(&key[..], &value[..]).map_err(failed)?,
                    None => table.remove(&key[..]).map_err(failed)?,
                };
            }
        }
        transaction.open_table(BELOW).map_err(failed)?.insert((), below).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.tables.write().frozen = None;
        for number in self.directory.logs()?.into_iter().filter(|&number| number < below) {
            self.directory.remove(number)?;
        }
        Ok(())
    }
}

impl Tables {
    fn insert(&mut self, key: Key, value: Option<Bytes>) {
        self.bytes += ENTRY_OVERHEAD + value.as_ref().map_or(0, Bytes::len);
        self.active.insert(key, value);
    }

    fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let in_frozen = || self.frozen.as_ref().and_then(|frozen| frozen.get(key).cloned());
        self.active.get(key).cloned().or_else(in_frozen)
    }
}

impl Backend for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if let Some(value) = self.shared.tables.read().get(key) {
            return Ok(value);
        }
        let transaction = self.shared.database.begin_read().map_err(failed)?;
        let table = transaction.open_table(TABLE).map_err(failed)?;
        Ok(table.get(key).map_err(failed)?.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) -> Result<(), Error> {
        if from >= to {
            return Ok(());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        // The tables stay as they are until the B-tree is open for reading: what leaves them is there then.
        let tables = self.shared.tables.read();
        let transaction = self.shared.database.begin_read().map_err(failed)?;
        let mut newer: BTreeMap<Key, Option<Bytes>> = BTreeMap::new();
        for table in tables.frozen.iter().map(|frozen| &**frozen).chain([&tables.active]) {
            newer.extend(table.range::<[u8], _>(bounds).map(|(key, value)| (key.clone(), value.clone())));
        }
        drop(tables);
        let table = transaction.open_table(TABLE).map_err(failed)?;
        let mut newer = newer.into_iter().peekable();
        for entry in table.range(from..to).map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            while let Some((newer_key, newer_value)) = newer.next_if(|(newer, _)| newer[..] < *key.value()) {
                if newer_value.is_some_and(|value| !each(&newer_key, value)) {
                    return Ok(());
                }
            }
            let value = match newer.next_if(|(newer, _)| newer[..] == *key.value()) {
                Some((_, newer)) => newer,
                None => Some(Bytes::copy_from_slice(value.value())),
            };
            if value.is_some_and(|value| !each(key.value(), value)) {
                return Ok(());
            }
        }
        for (key, value) in newer {
            if value.is_some_and(|value| !each(&key, value)) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut writer = self.shared.writer.lock();
        if self.shared.tables.read().bytes > self.max_memory {
            self.rotate(&mut writer)?;
        }
        writer.log.append(&log::record(writer.number, batch)?)?;
        let mut tables = self.shared.tables.write();
        for (key, value) in batch {
            tables.insert(key.clone(), value.clone());
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        // Writes go on meanwhile; those before a new log was begun are synchronised already.
        let log = self.shared.writer.lock().log.clone();
        Ok(log.sync()?)
    }
}

/// Makes the tables of a new B-tree, so that they can be read.
pub(crate) fn initialise(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write().map_err(failed)?;
    transaction.open_table(TABLE).map_err(failed)?;
    transaction.open_table(BELOW).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn failed(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) => error.into(),
        redb::Error::DatabaseAlreadyOpen => Error::InUse,
        redb::Error::Corrupted(text) => Error::Corrupt(text),
        error => std::io::Error::other(error).into(),
    }
}
