//! What JavaScript's corestore writes with RocksDB 10.5, read: a database as it is when its last log is replayed, in memory, without
//! a byte being written. Of RocksDB only that is known here which that writer uses; anything else is an error, not a guess.
//!
//! | file | what it is |
//! | --- | --- |
//! | `CURRENT` | the name of the manifest |
//! | `MANIFEST-n` | a [log](log) of [edits](manifest): which files the column family has |
//! | `n.log` | a [log](log) of [batches](batch) that are in no table yet |
//! | `n.sst` | a [table](table): entries in the order of their keys, deleted [ranges](ranges) |
//! | `n.blob` | [large values](blob), that tables refer to |
//!
//! All entries have a sequence number; of those with one key the highest counts.

mod batch;
mod blob;
mod cursor;
#[cfg(test)]
mod cut_ranges;
mod database;
mod log;
mod manifest;
mod ranges;
mod table;

pub(crate) use database::Rocks;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use crc::{CRC_32_ISCSI, Crc, Table};

use crate::Damaged;

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// A CRC-32C as it is stored: a checksum over bytes that have one would be weak.
fn masked_crc(parts: &[&[u8]]) -> u32 {
    let mut digest = CRC32C.digest();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().rotate_right(15).wrapping_add(0xa282_ead8)
}

/// What a key has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Deleted,
    Inline(Bytes),
    /// Where in a blob file it is.
    Blob(blob::Place),
}

/// A value, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Versioned {
    sequence: u64,
    value: Value,
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> Damaged {
    move |error| Damaged(format!("{}: {error}", name(path)))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `length` bytes of a file.
fn read_at(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>, Damaged> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        // Grows as bytes come: a length that is wrong costs nothing.
        file.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    };
    read().map_err(unreadable(path))
}
