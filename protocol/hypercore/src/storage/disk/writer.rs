//! Writing: to the log, and to files of large values.

use std::sync::Arc;

use super::directory::{DataFile, Kind};
use super::large::{Current, MAX_INLINE};
use super::{Shared, Stored, log, page};
use crate::Error;
use crate::storage::Batch;

/// How many bytes of records wait for others to be written together with them.
const MAX_PENDING: usize = 256 << 10;

pub(super) struct Writer {
    pub(super) log: Arc<dyn DataFile>,
    pub(super) number: u64,
    /// Where the last record of the log ends.
    pub(super) length: u64,
    /// Records that are to be written to the log.
    pub(super) pending: Vec<u8>,
    /// Why nothing more can be written until the store is opened again.
    pub(super) failed: Option<Error>,
    pub(super) large: Option<Current>,
    pub(super) next_large: u64,
    /// What came to files of large values since the log was begun.
    pub(super) large_bytes: u64,
}

impl Writer {
    /// Whether anything more can be written.
    pub(super) fn usable(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Notes an error after which nobody knows what is on the disk: a second `fdatasync` may succeed though the first lost something.
    pub(super) fn noting(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &result {
            self.failed.get_or_insert_with(|| error.clone());
        }
        result
    }
}

impl Shared {
    /// Writes at the end of the log; `now`, or together with what comes next.
    pub(super) fn append(&self, writer: &mut Writer, batch: Batch, now: bool) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut changes = Vec::with_capacity(batch.len());
        for (key, value) in batch {
            let change = match value {
                Some(value) if value.len() > MAX_INLINE && page::is_packed(&key) => {
                    writer.large_bytes += value.len() as u64;
                    let place = self.current(writer)?.append(&key, &value);
                    // What a full disk took of it stays behind; the next value goes to another file.
                    writer.large = writer.large.take().filter(|_| place.is_ok());
                    Some(Stored::Large(place?))
                }
                value => value.map(Stored::Inline),
            };
            changes.push((key, change));
        }
        let record = log::record(writer.number, &changes)?;
        let others = !writer.pending.is_empty();
        if others {
            writer.pending.extend_from_slice(&record);
        } else {
            writer.pending = record;
        }
        if now || writer.pending.len() > MAX_PENDING {
            self.write_pending(writer, others)?;
        }
        self.tables.write().active.extend(changes);
        Ok(())
    }

    /// Writes what waits for it to the log. `seen` is whether readers have seen some of it.
    pub(super) fn write_pending(&self, writer: &mut Writer, seen: bool) -> Result<(), Error> {
        let records = std::mem::take(&mut writer.pending);
        if records.is_empty() {
            return Ok(());
        }
        if let Err(error) = writer.log.append(&records, &[]) {
            // What a full disk took of it would hide all that comes behind it.
            writer.noting(self.directory.cut(Kind::Log, writer.number, writer.length).map_err(Error::from))?;
            let error = Error::from(error);
            return if seen { writer.noting(Err(error)) } else { Err(error) };
        }
        writer.length += records.len() as u64;
        Ok(())
    }

    fn current<'a>(&self, writer: &'a mut Writer) -> Result<&'a mut Current, Error> {
        let current = match writer.large.take() {
            Some(current) => current,
            None => {
                let number = writer.next_large;
                writer.next_large += 1;
                Current::create(&*self.directory, number)?
            }
        };
        Ok(writer.large.insert(current))
    }
}
