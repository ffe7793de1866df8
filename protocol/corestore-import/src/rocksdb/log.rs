//! Logs: records in blocks of 32 KiB. A piece of a record is `u32 masked CRC-32C of what follows the length ‖ u16 length ‖ u8 type ‖
//! bytes`; no piece begins in the last six bytes of a block.

use super::masked_crc;

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;
const COMPRESSION: u8 = 9;
const TIMESTAMP_SIZES: u8 = 10;
/// Types with this bit may be skipped by who does not know them.
const IGNORABLE: u8 = 0x80;

/// Why a log cannot be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cut {
    /// Its last record is not whole.
    Short,
    /// A record is not what was written.
    Wrong(String),
}

/// The records of a log.
pub(super) type Records = Vec<Vec<u8>>;

/// All records of a log; or those before it is cut, and how.
pub(super) fn records(bytes: &[u8]) -> Result<Records, (Records, Cut)> {
    let mut records = Vec::new();
    let mut begun: Option<Vec<u8>> = None;
    let mut at = 0;
    loop {
        if BLOCK - at % BLOCK < HEADER {
            at += BLOCK - at % BLOCK;
        }
        if at >= bytes.len() {
            break;
        }
        let wrong = |text: &str| Cut::Wrong(format!("{text} at byte {at}"));
        let Some(header) = bytes.get(at..at + HEADER) else { return Err((records, Cut::Short)) };
        let crc = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let (length, kind) = (usize::from(u16::from_le_bytes([header[4], header[5]])), header[6]);
        if crc == 0 && length == 0 && kind == 0 {
            // Space that was set aside for records to come.
            match bytes[at..].iter().all(|&byte| byte == 0) {
                true => break,
                false => return Err((records, wrong("zeros between records"))),
            }
        }
        let from = at + HEADER;
        if length > BLOCK - at % BLOCK - HEADER {
            return Err((records, wrong("a record that is too long")));
        }
        let Some(piece) = bytes.get(from..from + length) else { return Err((records, Cut::Short)) };
        if masked_crc(&[&[kind], piece]) != crc {
            return Err((records, wrong("a checksum")));
        }
        match (kind, &mut begun) {
            (FULL, None) => records.push(piece.to_vec()),
            (FIRST, None) => begun = Some(piece.to_vec()),
            (MIDDLE, Some(record)) => record.extend_from_slice(piece),
            (LAST, Some(record)) => {
                record.extend_from_slice(piece);
                records.extend(begun.take());
            }
            (COMPRESSION, None) if piece.iter().all(|&byte| byte == 0) => {}
            (TIMESTAMP_SIZES, None) => {}
            (kind, None) if kind & IGNORABLE != 0 => {}
            _ => return Err((records, wrong("a record of a kind that is not expected"))),
        }
        at = from + length;
    }
    if begun.is_some() { Err((records, Cut::Short)) } else { Ok(records) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let crc = masked_crc(&[&[kind], bytes]).to_le_bytes();
        [&crc[..], &(bytes.len() as u16).to_le_bytes(), &[kind], bytes].concat()
    }

    #[test]
    fn records_are_put_together() {
        // As LevelDB's documentation has it: the standard check value of CRC-32C.
        assert_eq!(super::super::CRC32C.checksum(b"123456789"), 0xe306_9283);
        let first = vec![7; BLOCK - 2 * HEADER - 3];
        let log = [piece(FULL, b"one"), piece(FIRST, &first), piece(MIDDLE, b"two"), piece(LAST, b"")].concat();
        let whole = vec![b"one".to_vec(), [&first[..], b"two"].concat()];
        assert_eq!(records(&log), Ok(whole.clone()));
        assert_eq!(records(&[&log[..], &[0; 50]].concat()), Ok(whole));
        assert_eq!(records(&log[..log.len() - 1]), Err((vec![b"one".to_vec()], Cut::Short)));
        assert_eq!(records(&log[..BLOCK]), Err((vec![b"one".to_vec()], Cut::Short)));
        let mut wrong = log.clone();
        wrong[9] ^= 1;
        assert!(matches!(records(&wrong), Err((none, Cut::Wrong(_))) if none.is_empty()));
        assert!(matches!(records(&piece(LAST, b"x")), Err((_, Cut::Wrong(_)))));
        assert_eq!(records(&piece(0x90, b"x")), Ok(vec![]));
    }
}
