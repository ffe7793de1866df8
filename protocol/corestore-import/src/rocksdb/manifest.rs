//! Which files a column family has: the sum of all edits in the manifest (`db/version_edit.cc`). An edit is a list of `varint tag ‖
//! fields`.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::ranges::DeletedRange;

const COMPARATOR: u64 = 1;
const LOG_NUMBER: u64 = 2;
const NEXT_FILE: u64 = 3;
const LAST_SEQUENCE: u64 = 4;
const COMPACT_CURSOR: u64 = 5;
const DELETED_FILE: u64 = 6;
const PREV_LOG_NUMBER: u64 = 9;
const MIN_LOG_TO_KEEP: u64 = 10;
const NEW_FILE: u64 = 103;
const FAMILY: u64 = 200;
const FAMILY_ADD: u64 = 201;
const FAMILY_DROP: u64 = 202;
const MAX_FAMILY: u64 = 203;
const IN_ATOMIC_GROUP: u64 = 300;
const BLOB_FILE: u64 = 400;
const BLOB_GARBAGE: u64 = 401;
/// Tags with this bit are followed by a length, and may be skipped by who does not know them.
const IGNORABLE: u64 = 1 << 13;
/// Those of them that have no length: older forms of what is above, and of which logs there are.
const WITHOUT_LENGTH: std::ops::RangeInclusive<u64> = IGNORABLE + 2..=IGNORABLE + 5;

/// Ends the further fields of a file; those with the bit cannot be skipped, of which one is known: where it is.
const FILE_END: u64 = 1;
const FILE_NOT_IGNORABLE: u64 = 1 << 6;
const FILE_PATH: u64 = FILE_NOT_IGNORABLE + 1;

/// How fields of blob files end, and which cannot be skipped.
const BLOB_END: u64 = 0;
const BLOB_NOT_IGNORABLE: u64 = 1 << 6;

/// Sequence number and type of a largest key that is in the next table: those of a deleted range, and higher than any.
const RANGE_CUT: u64 = u64::MAX << 8 | 15;

/// The order of bytes, which all of this presumes.
const BYTEWISE: &[u8] = b"leveldb.BytewiseComparator";

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableFile {
    pub(super) number: u64,
    pub(super) size: u64,
    /// The smallest and the largest key.
    pub(super) smallest: Vec<u8>,
    pub(super) largest: Vec<u8>,
    /// The largest key is only where its last deleted range was cut: it is in the next table.
    pub(super) is_cut: bool,
}

impl TableFile {
    /// What the table says of a deleted range: only what is within its bounds, however much of it is written there.
    pub(super) fn clip(&self, range: DeletedRange) -> DeletedRange {
        let mut behind = self.largest.clone();
        if !self.is_cut {
            behind.push(0);
        }
        DeletedRange {
            start: range.start.max(self.smallest.clone()),
            end: range.end.min(behind),
            sequence: range.sequence,
        }
    }
}

#[derive(Default)]
struct Edit {
    family: u64,
    family_add: Option<Vec<u8>>,
    family_drop: bool,
    log_number: Option<u64>,
    deleted: Vec<u64>,
    added: Vec<TableFile>,
    /// How many edits of its group follow.
    group: Option<u64>,
}

/// A column family.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) id: u64,
    /// Logs with lower numbers are in tables.
    pub(super) log_number: u64,
    pub(super) tables: Vec<TableFile>,
}

/// The column family of the name, if there is one.
pub(super) fn family(records: &[Vec<u8>], name: &str) -> Result<Option<Family>, String> {
    let mut found: Option<(u64, u64)> = None;
    let mut tables: BTreeMap<u64, TableFile> = BTreeMap::new();
    let mut group: Vec<Edit> = Vec::new();
    for record in records {
        let edit = Edit::decode(record)?;
        let last = edit.group.is_none_or(|left| left == 0);
        group.push(edit);
        if !last {
            continue;
        }
        for edit in group.drain(..) {
            if edit.family_add.as_deref() == Some(name.as_bytes()) {
                found = Some((edit.family, 0));
                tables.clear();
            }
            let Some((id, log_number)) = &mut found else { continue };
            if edit.family != *id {
                continue;
            }
            if edit.family_drop {
                found = None;
                continue;
            }
            *log_number = edit.log_number.unwrap_or(*log_number);
            for number in edit.deleted {
                tables.remove(&number);
            }
            tables.extend(edit.added.into_iter().map(|file| (file.number, file)));
        }
    }
    Ok(found.map(|(id, log_number)| Family { id, log_number, tables: tables.into_values().collect() }))
}

impl Edit {
    fn decode(record: &[u8]) -> Result<Self, String> {
        let mut edit = Self::default();
        let mut from = Cursor(record);
        while !from.is_empty() {
            let tag = from.varint().ok_or("a tag")?;
            edit.field(tag, &mut from).ok_or_else(|| format!("the field {tag} of an edit"))?;
        }
        Ok(edit)
    }

    fn field(&mut self, tag: u64, from: &mut Cursor<'_>) -> Option<()> {
        match tag {
            COMPARATOR => {
                let comparator = from.prefixed()?;
                (comparator == BYTEWISE).then_some(())?;
            }
            LOG_NUMBER => self.log_number = Some(from.varint()?),
            NEXT_FILE | LAST_SEQUENCE | PREV_LOG_NUMBER | MIN_LOG_TO_KEEP | MAX_FAMILY => {
                from.varint()?;
            }
            COMPACT_CURSOR => {
                from.varint()?;
                from.prefixed()?;
            }
            DELETED_FILE => {
                from.varint()?;
                self.deleted.push(from.varint()?);
            }
            NEW_FILE => self.added.push(new_file(from)?),
            FAMILY => self.family = from.varint()?,
            FAMILY_ADD => self.family_add = Some(from.prefixed()?.to_vec()),
            FAMILY_DROP => self.family_drop = true,
            IN_ATOMIC_GROUP => self.group = Some(from.varint()?),
            BLOB_FILE => {
                for _ in 0..3 {
                    from.varint()?;
                }
                from.prefixed()?;
                from.prefixed()?;
                blob_fields(from)?;
            }
            BLOB_GARBAGE => {
                for _ in 0..3 {
                    from.varint()?;
                }
                blob_fields(from)?;
            }
            _ if tag & IGNORABLE != 0 && !WITHOUT_LENGTH.contains(&tag) => {
                from.prefixed()?;
            }
            _ => return None,
        }
        Some(())
    }
}

/// `level ‖ number ‖ size ‖ smallest key ‖ largest key ‖ smallest and largest sequence number ‖ further fields`.
fn new_file(from: &mut Cursor<'_>) -> Option<TableFile> {
    from.varint()?;
    let (number, size) = (from.varint()?, from.varint()?);
    let (smallest, _) = from.prefixed()?.split_last_chunk::<8>()?;
    let (largest, tail) = from.prefixed()?.split_last_chunk::<8>()?;
    let (smallest, largest, is_cut) = (smallest.to_vec(), largest.to_vec(), u64::from_le_bytes(*tail) == RANGE_CUT);
    from.varint()?;
    from.varint()?;
    loop {
        match from.varint()? {
            FILE_END => break,
            // In another folder than the database's: not where JavaScript puts it.
            FILE_PATH => (from.prefixed()? == [0]).then_some(())?,
            tag if tag & FILE_NOT_IGNORABLE != 0 => return None,
            _ => drop(from.prefixed()?),
        }
    }
    Some(TableFile { number, size, smallest, largest, is_cut })
}

fn blob_fields(from: &mut Cursor<'_>) -> Option<()> {
    loop {
        match from.varint()? {
            BLOB_END => return Some(()),
            tag if tag & BLOB_NOT_IGNORABLE != 0 => return None,
            _ => drop(from.prefixed()?),
        }
    }
}
