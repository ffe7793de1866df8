//! What a record of a log of entries holds (`db/write_batch.cc`): `u64 sequence number of the first ‖ u32 count ‖ entries`.

use bytes::Bytes;

use super::cursor::Cursor;

const HEADER_LOG_DATA: u8 = 3;
const NOOP: u8 = 13;

/// One change of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put(Vec<u8>, Bytes),
    Delete(Vec<u8>),
    /// From the one, included, to the other, excluded.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// The changes of the column family `family` in a record, with their sequence numbers. `None` if it is no batch, or one of a kind
/// that JavaScript does not write.
pub(super) fn changes(record: &[u8], family: u64) -> Option<Vec<(u64, Change)>> {
    let mut from = Cursor(record);
    let (first, count) = (from.u64()?, from.u32()?);
    let mut changes = Vec::new();
    let mut found: u64 = 0;
    while !from.is_empty() {
        let tag = from.u8()?;
        // The forms for the default family, and those that name one.
        let of = match tag {
            4 | 5 | 8 | 14 => from.varint()?,
            _ => 0,
        };
        let change = match tag {
            1 | 5 => Change::Put(from.prefixed()?.to_vec(), Bytes::copy_from_slice(from.prefixed()?)),
            0 | 4 | 7 | 8 => Change::Delete(from.prefixed()?.to_vec()),
            14 | 15 => Change::DeleteRange(from.prefixed()?.to_vec(), from.prefixed()?.to_vec()),
            HEADER_LOG_DATA => {
                from.prefixed()?;
                continue;
            }
            NOOP => continue,
            _ => return None,
        };
        if of == family {
            changes.push((first.checked_add(found)?, change));
        }
        found += 1;
    }
    (found == u64::from(count)).then_some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_has_its_number() {
        let header = |count: u32| [&7u64.to_le_bytes()[..], &count.to_le_bytes()].concat();
        let body = [
            &[5, 1, 1, b'a', 2, b'x', b'y'][..],
            &[1, 1, b'b', 0],
            &[3, 1, 9],
            &[4, 1, 1, b'c'],
            &[14, 1, 1, b'd', 1, b'e'],
        ];
        let batch = [&header(4)[..], &body.concat()].concat();
        let expected = vec![
            (7, Change::Put(b"a".to_vec(), Bytes::from_static(b"xy"))),
            (9, Change::Delete(b"c".to_vec())),
            (10, Change::DeleteRange(b"d".to_vec(), b"e".to_vec())),
        ];
        assert_eq!(changes(&batch, 1), Some(expected));
        assert_eq!(changes(&batch[..batch.len() - 1], 1), None);
        assert_eq!(changes(&[&header(5)[..], &body.concat()].concat(), 1), None);
        // A merge.
        assert_eq!(changes(&[&header(1)[..], &[2, 1, b'a', 1, b'b']].concat(), 0), None);
    }
}
