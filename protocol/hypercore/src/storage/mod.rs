//! Where cores are kept: an ordered map of bytes with atomic writes, and the keys in it.

mod disk;
pub(crate) mod keys;
mod memory;

use std::collections::BTreeMap;

use bytes::Bytes;

pub(crate) use disk::Disk;
#[cfg(test)]
pub(crate) use disk::{DataFile, Directory, Kind, initialise};
pub(crate) use keys::{Key, Table};
pub(crate) use memory::Memory;

use crate::Error;

/// What is written, all or nothing: values, and keys that are removed.
pub(crate) type Batch = BTreeMap<Key, Option<Bytes>>;

/// An ordered map of bytes. Writes are atomic, seen by readers at once, and survive a crash in the order in which they were made:
/// all up to the last [`sync`](Self::sync), and none that is later than one that is lost.
pub(crate) trait Backend: Send + Sync + 'static {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Calls `each` with the entries of `from..to` in ascending order, until it returns `false`.
    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) -> Result<(), Error>;

    /// As [`range`](Self::range), without the values.
    fn keys(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Error>;

    /// Writes. The operating system has it when this returns.
    fn write(&self, batch: Batch) -> Result<(), Error>;

    /// Writes as one of several. The operating system has it after [`flush`](Self::flush), any other write, or a `sync`.
    fn write_later(&self, batch: Batch) -> Result<(), Error> {
        self.write(batch)
    }

    /// Gives the operating system what was written to be given later.
    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Waits until all that was written is on the disk.
    fn sync(&self) -> Result<(), Error>;
}
