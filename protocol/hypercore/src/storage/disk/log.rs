//! Records of a log: `u32 length ‖ u32 CRC-32 of the log's number and the entries ‖ entries`, and an entry is
//! `uint key ‖ key ‖ uint (0: removed; 1 + value) ‖ value`.

use bytes::Bytes;
use encoding::{DecodeError, Decoder, Encoder};

use crate::Error;
use crate::storage::{Batch, Key};

const HEADER: usize = 8;

fn checksum(log: u64, entries: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&log.to_le_bytes());
    hasher.update(entries);
    hasher.finalize()
}

/// The record of a write.
pub(super) fn record(log: u64, batch: &Batch) -> Result<Vec<u8>, Error> {
    let values: usize = batch.iter().map(|(key, value)| key.len() + 12 + value.as_ref().map_or(0, Bytes::len)).sum();
    let mut out = Encoder::with_capacity(HEADER + values);
    out.u32(0).u32(0);
    for (key, value) in batch {
        out.buffer(key);
        match value {
            Some(value) => out.uint(value.len() as u64 + 1).raw(value),
            None => out.uint(0),
        };
    }
    let mut record = out.finish();
    let length = u32::try_from(record.len() - HEADER).map_err(|_| Error::BadArgument("a write has 4 GiB at most"))?;
    let sum = checksum(log, &record[HEADER..]);
    record[..4].copy_from_slice(&length.to_le_bytes());
    record[4..HEADER].copy_from_slice(&sum.to_le_bytes());
    Ok(record)
}

/// Calls `each` with the entries of all records up to the first that is not whole; where that begins.
pub(super) fn replay(log: u64, bytes: &[u8], mut each: impl FnMut(Key, Option<Bytes>)) -> usize {
    let mut from = Decoder::new(bytes);
    loop {
        let whole = bytes.len() - from.remaining();
        let Ok(entries) = next(log, &mut from) else { return whole };
        for (key, value) in entries {
            each(key, value);
        }
    }
}

fn next(log: u64, from: &mut Decoder<'_>) -> Result<Vec<(Key, Option<Bytes>)>, DecodeError> {
    let (length, sum) = (from.u32()?, from.u32()?);
    let entries = from.bytes(length as usize)?;
    if length == 0 || checksum(log, entries) != sum {
        return Err(DecodeError::Invalid("checksum"));
    }
    let mut from = Decoder::new(entries);
    let mut decoded = Vec::new();
    while !from.is_empty() {
        let key = Key::from_slice(from.buffer()?);
        let value = match from.uint_usize()? {
            0 => None,
            length => Some(Bytes::copy_from_slice(from.bytes(length - 1)?)),
        };
        decoded.push((key, value));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_whole_or_not_at_all() {
        let key = |byte| Key::from_slice(&[byte; 5]);
        let first = Batch::from([(key(1), Some(Bytes::from_static(b"value"))), (key(2), None)]);
        let second = Batch::from([(key(3), Some(Bytes::new()))]);
        let mut bytes = record(7, &first).expect("a record");
        let boundary = bytes.len();
        bytes.extend(record(7, &second).expect("a record"));
        for end in 0..=bytes.len() {
            let mut read = Batch::new();
            let whole = replay(7, &bytes[..end], |key, value| drop(read.insert(key, value)));
            let (expected, entries) = match end {
                end if end == bytes.len() => (end, 3),
                end if end >= boundary => (boundary, 2),
                _ => (0, 0),
            };
            assert_eq!((whole, read.len()), (expected, entries), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x10;
            let expected = if at < boundary { 0 } else { boundary };
            assert_eq!(replay(7, &wrong, |_, _| ()), expected, "byte {at}");
        }
        assert_eq!(replay(8, &bytes, |_, _| ()), 0, "a record of another log");
    }
}
