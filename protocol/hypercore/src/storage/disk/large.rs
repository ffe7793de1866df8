//! Files of large values, which are written once: the log and the B-tree hold their places.
//!
//! An entry of a file is `u32 length of the value ‖ u8 length of the key ‖ key ‖ value`. After a start a new file is begun, so that
//! nothing comes behind what a crash left. A file goes when nothing in it is live; what is live in one that is mostly dead is
//! written again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use encoding::{DecodeError, Decoder, Encoder};
use parking_lot::Mutex;

use super::damaged;
use super::directory::{DataFile, Directory, Kind};
use crate::Error;
use crate::storage::Key;

/// A value with more bytes is in a file of its own kind.
pub(super) const MAX_INLINE: usize = 1024;

/// So many files are kept open for reading.
const MAX_OPEN: usize = 64;

/// Where a value is, and its CRC-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: u64,
    pub(super) at: u64,
    pub(super) length: u32,
    pub(super) sum: u32,
}

impl Place {
    pub(super) fn encode<'a>(&self, out: &'a mut Encoder) -> &'a mut Encoder {
        out.uint(self.file).uint(self.at).uint(self.length.into()).u32(self.sum)
    }

    /// Whether this is the value that was written there.
    pub(super) fn is_of(&self, value: &[u8]) -> bool {
        crc32fast::hash(value) == self.sum
    }

    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (file, at) = (from.uint()?, from.uint()?);
        let length = from.uint()?.try_into().map_err(|_| DecodeError::Invalid("a length"))?;
        Ok(Self { file, at, length, sum: from.u32()? })
    }
}

/// The file that is written to.
pub(super) struct Current {
    file: Arc<dyn DataFile>,
    pub(super) number: u64,
    pub(super) length: u64,
    synced: Arc<AtomicU64>,
}

/// What is to be synchronised of it.
pub(super) struct Unsynced {
    file: Arc<dyn DataFile>,
    length: u64,
    synced: Arc<AtomicU64>,
}

impl Current {
    pub(super) fn create(directory: &dyn Directory, number: u64) -> Result<Self, Error> {
        Ok(Self { file: directory.create(Kind::Large, number)?, number, length: 0, synced: Arc::default() })
    }

    /// Appends a value.
    pub(super) fn append(&mut self, key: &Key, value: &[u8]) -> Result<Place, Error> {
        let length = value.len().try_into().map_err(|_| Error::BadArgument("a value has 4 GiB at most"))?;
        let mut header = Encoder::with_capacity(32);
        header.u32(length).u8(key.len() as u8).raw(key);
        let at = self.length + header.len() as u64;
        self.file.append(&header.finish(), value)?;
        self.length = at + u64::from(length);
        Ok(Place { file: self.number, at, length, sum: crc32fast::hash(value) })
    }

    pub(super) fn unsynced(&self) -> Option<Unsynced> {
        let Self { file, length, synced, .. } = self;
        let all = synced.load(Ordering::Acquire) >= *length;
        (!all).then(|| Unsynced { file: file.clone(), length: *length, synced: synced.clone() })
    }
}

impl Unsynced {
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync()?;
        self.synced.fetch_max(self.length, Ordering::AcqRel);
        Ok(())
    }
}

/// Reads values where they are.
pub(super) struct Reader {
    open: Mutex<HashMap<u64, Arc<dyn DataFile>>>,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { open: Mutex::default() }
    }

    fn file(&self, directory: &dyn Directory, number: u64) -> std::io::Result<Arc<dyn DataFile>> {
        let mut open = self.open.lock();
        if let Some(file) = open.get(&number) {
            return Ok(file.clone());
        }
        let file = directory.open(Kind::Large, number)?;
        if open.len() >= MAX_OPEN {
            open.clear();
        }
        open.insert(number, file.clone());
        Ok(file)
    }

    pub(super) fn read(&self, directory: &dyn Directory, place: &Place) -> std::io::Result<Bytes> {
        let mut value = vec![0; place.length as usize];
        self.file(directory, place.file)?.read_at(place.at, &mut value)?;
        Ok(value.into())
    }

    pub(super) fn forget(&self, number: u64) {
        self.open.lock().remove(&number);
    }

    /// The keys in a file, and where their values are (without a checksum), up to what is not whole.
    pub(super) fn entries(&self, directory: &dyn Directory, number: u64) -> Result<Vec<(Key, Place)>, Error> {
        let file = self.file(directory, number)?;
        let (length, mut at) = (file.length()?, 0);
        let mut entries = Vec::new();
        while at + 5 <= length {
            let mut header = [0; 5];
            file.read_at(at, &mut header)?;
            let [a, b, c, d, key_length] = header;
            let value_length = u32::from_le_bytes([a, b, c, d]);
            let value_at = at + 5 + u64::from(key_length);
            let end = value_at + u64::from(value_length);
            if end > length || key_length == 0 {
                break;
            }
            let mut key = vec![0; key_length.into()];
            file.read_at(at + 5, &mut key)?;
            entries.push((Key::from_vec(key), Place { file: number, at: value_at, length: value_length, sum: 0 }));
            at = end;
        }
        Ok(entries)
    }
}

/// Whether the value of a log's record is there: its file is synchronised apart from the log.
pub(super) fn is_whole(reader: &Reader, directory: &dyn Directory, place: &Place) -> bool {
    reader.read(directory, place).is_ok_and(|value| place.is_of(&value))
}

pub(super) fn file_length(reader: &Reader, directory: &dyn Directory, number: u64) -> Result<u64, Error> {
    let file = reader.file(directory, number).map_err(|_| damaged("a file of blocks is missing"))?;
    Ok(file.length()?)
}
