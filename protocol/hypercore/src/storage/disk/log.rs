//! Records of a log: `u32 length ‖ u32 CRC-32 of the log's number and the entries ‖ entries`, and an entry is
//! `uint key ‖ key ‖ uint (0: removed; 1: place; 2 + value) ‖ value or place`.

use bytes::Bytes;
use encoding::{DecodeError, Decoder, Encoder};

use super::large::Place;
use super::{Change, Stored};
use crate::Error;
use crate::storage::Key;

const HEADER: usize = 8;

fn checksum(log: u64, entries: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&log.to_le_bytes());
    hasher.update(entries);
    hasher.finalize()
}

/// The record of a write.
pub(super) fn record(log: u64, changes: &[(Key, Change)]) -> Result<Vec<u8>, Error> {
    let values: usize = changes.iter().map(|(key, change)| key.len() + 32 + inline(change).map_or(0, Bytes::len)).sum();
    let mut out = Encoder::with_capacity(HEADER + values);
    out.u32(0).u32(0);
    for (key, change) in changes {
        out.buffer(key);
        match change {
            Some(Stored::Inline(value)) => out.uint(value.len() as u64 + 2).raw(value),
            Some(Stored::Large(place)) => place.encode(out.uint(1)),
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

fn inline(change: &Change) -> Option<&Bytes> {
    match change {
        Some(Stored::Inline(value)) => Some(value),
        _ => None,
    }
}

/// Calls `each` with the entries of each record up to the first that is not whole (or has a value that is not); where that begins.
pub(super) fn replay(
    log: u64,
    bytes: &[u8],
    is_whole: impl Fn(&Place) -> bool,
    mut each: impl FnMut(Vec<(Key, Change)>),
) -> usize {
    let mut from = Decoder::new(bytes);
    loop {
        let whole = bytes.len() - from.remaining();
        let Ok(entries) = next(log, &mut from) else { return whole };
        let is_there = |change: &Change| if let Some(Stored::Large(place)) = change { is_whole(place) } else { true };
        if !entries.iter().all(|(_, change)| is_there(change)) {
            return whole;
        }
        each(entries);
    }
}

fn next(log: u64, from: &mut Decoder<'_>) -> Result<Vec<(Key, Change)>, DecodeError> {
    let (length, sum) = (from.u32()?, from.u32()?);
    let entries = from.bytes(length as usize)?;
    if length == 0 || checksum(log, entries) != sum {
        return Err(DecodeError::Invalid("checksum"));
    }
    let mut from = Decoder::new(entries);
    let mut decoded = Vec::new();
    while !from.is_empty() {
        let key = Key::from_slice(from.buffer()?);
        let change = match from.uint_usize()? {
            0 => None,
            1 => Some(Stored::Large(Place::decode(&mut from)?)),
            length => Some(Stored::Inline(Bytes::copy_from_slice(from.bytes(length - 2)?))),
        };
        decoded.push((key, change));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_whole_or_not_at_all() {
        let key = |byte| Key::from_slice(&[byte; 5]);
        let inline = |value| Some(Stored::Inline(Bytes::from_static(value)));
        let place = Place { file: 1, at: 77, length: 5000, sum: 9 };
        let first = [(key(1), inline(b"value")), (key(2), None), (key(4), Some(Stored::Large(place)))];
        let second = [(key(3), inline(b""))];
        let mut bytes = record(7, &first).expect("a record");
        let boundary = bytes.len();
        bytes.extend(record(7, &second).expect("a record"));
        for end in 0..=bytes.len() {
            let mut read = Vec::new();
            let whole = replay(7, &bytes[..end], |found| *found == place, |entries| read.extend(entries));
            let (expected, entries) = match end {
                end if end == bytes.len() => (end, 4),
                end if end >= boundary => (boundary, 3),
                _ => (0, 0),
            };
            assert_eq!((whole, read.len()), (expected, entries), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x10;
            let expected = if at < boundary { 0 } else { boundary };
            assert_eq!(replay(7, &wrong, |_| true, |_| ()), expected, "byte {at}");
        }
        assert_eq!(replay(8, &bytes, |_| true, |_| ()), 0, "a record of another log");
        assert_eq!(replay(7, &bytes, |_| false, |_| ()), 0, "a value that is not whole");
    }
}
