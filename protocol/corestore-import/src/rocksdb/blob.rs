//! Large values, in files of their own (`db/blob/blob_log_format.h`): records of `u64 length of the key ‖ u64 length of the value ‖
//! u64 expiry ‖ u32 masked CRC-32C of these ‖ u32 masked CRC-32C of key and value ‖ key ‖ value`.

use std::path::Path;

use bytes::Bytes;

use super::cursor::Cursor;
use super::{masked_crc, name, read_at};
use crate::Damaged;

const HEADER: usize = 32;

/// Where a value is: `u8 type(1) ‖ varint file ‖ varint offset ‖ varint length ‖ u8 compression(0)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: u64,
    offset: u64,
    length: u64,
}

impl Place {
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut from = Cursor(value);
        (from.u8()? == 1).then_some(())?;
        let place = Self { file: from.varint()?, offset: from.varint()?, length: from.varint()? };
        (from.0 == [0]).then_some(place)
    }

    /// The value of `key` here.
    pub(super) fn read(&self, path: &Path, key: &[u8]) -> Result<Bytes, Damaged> {
        let damaged = || Damaged(format!("{}: the value at byte {}", name(path), self.offset));
        let before = HEADER + key.len();
        let start = self.offset.checked_sub(before as u64).ok_or_else(damaged)?;
        let length = usize::try_from(self.length).ok().and_then(|length| length.checked_add(before));
        let record = read_at(path, start, length.ok_or_else(damaged)?)?;
        let mut from = Cursor(&record);
        let lengths = (from.u64(), from.u64(), from.u64());
        let (header_crc, crc) = (from.u32(), from.u32());
        let is_it = (lengths.0, lengths.1) == (Some(key.len() as u64), Some(self.length));
        let is_whole = header_crc == Some(masked_crc(&[&record[..24]])) && crc == Some(masked_crc(&[from.0]));
        if !is_it || !is_whole || !from.0.starts_with(key) {
            return Err(damaged());
        }
        Ok(Bytes::from(record).slice(before..))
    }
}
