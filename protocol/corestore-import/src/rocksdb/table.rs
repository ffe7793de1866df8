//! Tables (`table/format.cc`, format versions 6 and 7): data blocks, an index of them, deleted ranges, and a footer of 53 bytes that
//! says where the rest is.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::blob::Place;
use super::cursor::Cursor;
use super::manifest::TableFile;
use super::ranges::DeletedRange;
use super::{Value, Versioned, name, read_at};
use crate::Damaged;

pub(super) const FOOTER: usize = 53;
pub(super) const MAGIC: u64 = 0x88e2_41b7_85f4_cff7;
pub(super) const EXTENDED_MAGIC: [u8; 4] = [0x3e, 0, 0x7a, 0];
pub(super) const XXH3: u8 = 4;

/// `u8 compression ‖ u32 checksum`, behind every block.
const TRAILER: usize = 5;

/// No block is larger: one entry, and what a value may have that is not in a blob file.
const MAX_BLOCK: u64 = 256 << 20;

/// Bits of a block's last number, the count of its restarts, that stand for other kinds of blocks.
const OTHER_BLOCKS: u32 = 0xf000_0000;

const DELETION: u8 = 0;
const VALUE: u8 = 1;
const SINGLE_DELETION: u8 = 7;
const BLOB: u8 = 17;

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) offset: u64,
    size: u64,
}

impl Handle {
    fn decode(from: &mut Cursor<'_>) -> Option<Self> {
        Some(Self { offset: from.varint()?, size: from.varint()? })
    }
}

/// The entries of a block, by user key; of one key the newest first.
pub(super) type Entries = Vec<(Vec<u8>, Versioned)>;

/// A table whose index is in memory.
pub(super) struct Table {
    path: PathBuf,
    base_checksum: u32,
    pub(super) smallest: Vec<u8>,
    pub(super) largest: Vec<u8>,
    /// Blocks, and a key that is not before their last and before the first of the next.
    pub(super) index: Vec<(Vec<u8>, Handle)>,
    pub(super) deleted: Vec<DeletedRange>,
}

impl Table {
    pub(super) fn open(path: &Path, file: &TableFile) -> Result<Self, Damaged> {
        let damaged = |what: &str| Damaged(format!("{}: {what}", name(path)));
        let footer_at = file.size.checked_sub(FOOTER as u64).ok_or_else(|| damaged("too short"))?;
        let footer = read_at(path, footer_at, FOOTER)?;
        let (metaindex, base_checksum) = footer_of(&footer, footer_at).ok_or_else(|| damaged("its footer"))?;
        let mut table = Self {
            path: path.to_owned(),
            base_checksum,
            smallest: file.smallest.clone(),
            largest: file.largest.clone(),
            index: Vec::new(),
            deleted: Vec::new(),
        };
        let metaindex = table.block(metaindex)?;
        let metaindex = plain_entries(&metaindex).ok_or_else(|| damaged("its list of blocks"))?;
        let find = |name: &str| metaindex.iter().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| *value);
        let block = |name: &str| -> Result<Option<Vec<u8>>, Damaged> {
            let Some(mut value) = find(name).map(Cursor) else { return Ok(None) };
            let handle = Handle::decode(&mut value).ok_or_else(|| damaged("its list of blocks"))?;
            table.block(handle).map(Some)
        };
        let properties = block("rocksdb.properties")?.ok_or_else(|| damaged("it has no properties"))?;
        let properties = plain_entries(&properties).ok_or_else(|| damaged("its properties"))?;
        let kinds = index_kind(&properties).ok_or_else(|| damaged("a kind of table that JavaScript does not write"))?;
        let index = block("rocksdb.index")?.ok_or_else(|| damaged("it has no index"))?;
        let index = index_entries(&index, kinds).ok_or_else(|| damaged("its index"))?;
        let mut deleted = Vec::new();
        if let Some(block) = block("rocksdb.range_del")? {
            for (key, end) in plain_entries(&block).ok_or_else(|| damaged("its deleted ranges"))? {
                let (start, sequence, _) = internal_key(&key).ok_or_else(|| damaged("its deleted ranges"))?;
                deleted.push(file.clip(DeletedRange { start: start.to_vec(), end: end.to_vec(), sequence }));
            }
        }
        (table.index, table.deleted) = (index, deleted);
        Ok(table)
    }

    /// A block without its trailer, when its checksum is right.
    fn block(&self, handle: Handle) -> Result<Vec<u8>, Damaged> {
        let damaged =
            |what: &str| Damaged(format!("{}: {what} of the block at byte {}", name(&self.path), handle.offset));
        if handle.size > MAX_BLOCK {
            return Err(damaged("the length"));
        }
        let mut block = read_at(&self.path, handle.offset, handle.size as usize + TRAILER)?;
        let trailer = block.split_off(handle.size as usize);
        let stored = u32::from_le_bytes([trailer[1], trailer[2], trailer[3], trailer[4]]);
        if checksum(&block, trailer[0]).wrapping_add(context(self.base_checksum, handle.offset)) != stored {
            return Err(damaged("the checksum"));
        }
        if trailer[0] != 0 {
            return Err(damaged("the compression, which JavaScript does not use,"));
        }
        Ok(block)
    }

    /// The entries of a data block.
    pub(super) fn entries(&self, handle: Handle) -> Result<Entries, Damaged> {
        let block = self.block(handle)?;
        let entries = plain_entries(&block).and_then(|entries| {
            let entry = |(key, value): (Vec<u8>, &[u8])| {
                let (user_key, sequence, kind) = internal_key(&key)?;
                let value = match kind {
                    DELETION | SINGLE_DELETION => Value::Deleted,
                    VALUE => Value::Inline(Bytes::copy_from_slice(value)),
                    BLOB => Value::Blob(Place::decode(value)?),
                    _ => return None,
                };
                Some((user_key.to_vec(), Versioned { sequence, value }))
            };
            entries.into_iter().map(entry).collect::<Option<Entries>>()
        });
        entries.ok_or_else(|| Damaged(format!("{}: the block at byte {}", name(&self.path), handle.offset)))
    }

    /// The number of the first block that may have keys from `key` on.
    pub(super) fn first_block(&self, key: &[u8]) -> usize {
        self.index.partition_point(|(last, _)| &last[..] < key)
    }
}

/// Where the list of blocks is, and what their checksums depend on.
fn footer_of(footer: &[u8], at: u64) -> Option<(Handle, u32)> {
    let mut from = Cursor(footer);
    (from.u8()? == XXH3 && from.bytes(4)? == EXTENDED_MAGIC).then_some(())?;
    let (stored, base_checksum, metaindex_size) = (from.u32()?, from.u32()?, from.u32()?);
    from.bytes(24)?;
    let (version, magic) = (from.u32()?, from.u64()?);
    (magic == MAGIC && (6..=7).contains(&version)).then_some(())?;
    let mut bare = footer.to_vec();
    bare[5..9].fill(0);
    let (last, rest) = bare.split_last()?;
    (checksum(rest, *last).wrapping_add(context(base_checksum, at)) == stored).then_some(())?;
    let offset = at.checked_sub(TRAILER as u64 + u64::from(metaindex_size))?;
    Some((Handle { offset, size: metaindex_size.into() }, base_checksum))
}

/// Of bytes and one more.
pub(super) fn checksum(bytes: &[u8], last: u8) -> u32 {
    xxh3_64(bytes) as u32 ^ u32::from(last).wrapping_mul(0x6b90_83d9)
}

/// What a checksum depends on beside the bytes, so that a block in another place is found out.
fn context(base: u32, offset: u64) -> u32 {
    if base == 0 { 0 } else { base ^ (offset as u32).wrapping_add((offset >> 32) as u32) }
}

/// User key, sequence number, type.
fn internal_key(key: &[u8]) -> Option<(&[u8], u64, u8)> {
    let (user_key, tail) = key.split_last_chunk::<8>()?;
    let tail = u64::from_le_bytes(*tail);
    Some((user_key, tail >> 8, tail as u8))
}

/// What of a block comes before its restarts.
fn before_restarts(block: &[u8]) -> Option<&[u8]> {
    let (rest, count) = block.split_last_chunk::<4>()?;
    let count = u32::from_le_bytes(*count);
    (count & OTHER_BLOCKS == 0).then_some(())?;
    rest.get(..rest.len().checked_sub(4 * count as usize)?)
}

/// The next key of a block, of which `shared` bytes are those of the one before.
fn next_key(key: &mut Vec<u8>, shared: u32, from: &mut Cursor<'_>, rest: u32) -> Option<()> {
    (shared as usize <= key.len()).then_some(())?;
    key.truncate(shared as usize);
    key.extend_from_slice(from.bytes(rest as usize)?);
    Some(())
}

/// `varint shared ‖ varint rest ‖ varint length of the value ‖ rest of the key ‖ value`, again and again.
fn plain_entries(block: &[u8]) -> Option<Vec<(Vec<u8>, &[u8])>> {
    let mut from = Cursor(before_restarts(block)?);
    let (mut key, mut entries) = (Vec::new(), Vec::new());
    while !from.is_empty() {
        let (shared, rest, length) = (from.varint32()?, from.varint32()?, from.varint32()?);
        next_key(&mut key, shared, &mut from, rest)?;
        entries.push((key.clone(), from.bytes(length as usize)?));
    }
    Some(entries)
}

/// How an index is written.
#[derive(Clone, Copy)]
struct IndexKind {
    keys_are_user_keys: bool,
    values_are_deltas: bool,
}

/// The kind of the index, if the table is one of those that JavaScript writes.
fn index_kind(properties: &[(Vec<u8>, &[u8])]) -> Option<IndexKind> {
    let find = |name: &str| properties.iter().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| Cursor(value));
    let flag = |name: &str| find(name).map_or(Some(false), |mut value| value.varint().map(|value| value != 0));
    let is_plain = find("rocksdb.block.based.table.index.type").is_none_or(|mut kind| kind.u32() == Some(0));
    let is_own = find("rocksdb.external_sst_file.version").is_none();
    (is_plain && is_own).then_some(())?;
    Some(IndexKind {
        keys_are_user_keys: flag("rocksdb.index.key.is.user.key")?,
        values_are_deltas: flag("rocksdb.index.value.is.delta.encoded")?,
    })
}

/// `varint shared ‖ varint rest ‖ rest of the key ‖ handle`; where bytes are shared of the handle only by how much longer its block is
/// than the one before, right behind which it is.
fn index_entries(block: &[u8], kind: IndexKind) -> Option<Vec<(Vec<u8>, Handle)>> {
    let user_key = |key: &[u8]| match kind.keys_are_user_keys {
        true => Some(key.to_vec()),
        false => Some(internal_key(key)?.0.to_vec()),
    };
    if !kind.values_are_deltas {
        let entries = plain_entries(block)?.into_iter();
        return entries.map(|(key, value)| Some((user_key(&key)?, Handle::decode(&mut Cursor(value))?))).collect();
    }
    let mut from = Cursor(before_restarts(block)?);
    let mut key = Vec::new();
    let mut entries: Vec<(Vec<u8>, Handle)> = Vec::new();
    while !from.is_empty() {
        let (shared, rest) = (from.varint32()?, from.varint32()?);
        next_key(&mut key, shared, &mut from, rest)?;
        let handle = if shared == 0 {
            Handle::decode(&mut from)?
        } else {
            let before = entries.last()?.1;
            let offset = before.offset.checked_add(before.size)?.checked_add(TRAILER as u64)?;
            Handle { offset, size: before.size.checked_add_signed(from.signed_varint()?)? }
        };
        entries.push((user_key(&key)?, handle));
    }
    Some(entries)
}
