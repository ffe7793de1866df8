//! The bytes of blocks: protocol buffers, written the way that JavaScript's `protocol-buffers` writes them (`lib/messages.js`).

use bytes::Bytes;

use crate::Error;

/// The block 0 of every tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// What the log is; `hyperbee`.
    pub protocol: String,
    /// What the writer said about it.
    pub metadata: Option<Metadata>,
}

/// What a writer may say about a tree, once, in its first block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The key of a log with contents.
    pub content_feed: Option<Bytes>,
    /// Anything.
    pub user_data: Option<Bytes>,
}

/// The `protocol` of a [`Header`].
pub const PROTOCOL: &str = "hyperbee";

/// A block: one change of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) index: Bytes,
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

/// A node of the B-tree, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// The blocks that hold the keys.
    pub(crate) keys: Box<[u64]>,
    /// The blocks, and the levels of their indexes, that hold the children.
    pub(crate) children: Box<[(u64, u64)]>,
    /// Whether all of them are in this block or in earlier ones, as in every node that a tree can reach.
    pub(crate) looks_back: bool,
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

fn write_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_packed(out: &mut Vec<u8>, field: u8, values: impl Iterator<Item = u64> + Clone) {
    let len: usize = values.clone().map(varint_len).sum();
    if len > 0 {
        out.push(field << 3 | 2);
        write_varint(out, len as u64);
        values.for_each(|value| write_varint(out, value));
    }
}

impl Header {
    /// The block 0.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        write_bytes(&mut out, 1, self.protocol.as_bytes());
        if let Some(metadata) = &self.metadata {
            let mut inner = Vec::new();
            for (field, value) in [(1, &metadata.content_feed), (2, &metadata.user_data)] {
                if let Some(value) = value {
                    write_bytes(&mut inner, field, value);
                }
            }
            write_bytes(&mut out, 2, &inner);
        }
        out.into()
    }

    /// Reads a block 0.
    ///
    /// # Errors
    /// [`Error::InvalidBlock`] if it is none.
    pub fn decode(block: &Bytes) -> Result<Self, Error> {
        let mut header = Self::default();
        for field in Fields::of(block.clone(), 0) {
            match field? {
                (1, value) => {
                    header.protocol = String::from_utf8(value.to_vec()).map_err(|_| invalid(0, "protocol"))?;
                }
                (2, value) => {
                    let mut metadata = Metadata::default();
                    for field in Fields::of(value, 0) {
                        match field? {
                            (1, value) => metadata.content_feed = Some(value),
                            (2, value) => metadata.user_data = Some(value),
                            _ => {}
                        }
                    }
                    header.metadata = Some(metadata);
                }
                _ => {}
            }
        }
        Ok(header)
    }
}

impl Node {
    /// Writes a block with an index of `levels`, each its keys and its children.
    pub(crate) fn encode<'a, K, C>(key: &[u8], value: Option<&[u8]>, levels: impl Iterator<Item = (K, C)>) -> Bytes
    where
        K: Iterator<Item = u64> + Clone + 'a,
        C: Iterator<Item = u64> + Clone + 'a,
    {
        let (mut index, mut level) = (Vec::new(), Vec::new());
        for (keys, children) in levels {
            level.clear();
            write_packed(&mut level, 1, keys);
            write_packed(&mut level, 2, children);
            write_bytes(&mut index, 1, &level);
        }
        let mut out = Vec::with_capacity(index.len() + key.len() + value.map_or(0, <[u8]>::len) + 16);
        write_bytes(&mut out, 1, &index);
        write_bytes(&mut out, 2, key);
        if let Some(value) = value {
            write_bytes(&mut out, 3, value);
        }
        out.into()
    }

    pub(crate) fn decode(block: &Bytes, seq: u64) -> Result<Self, Error> {
        let (mut index, mut key, mut value) = (None, None, None);
        for field in Fields::of(block.clone(), seq) {
            match field? {
                (1, bytes) => index = Some(bytes),
                (2, bytes) => key = Some(bytes),
                (3, bytes) => value = Some(bytes),
                _ => {}
            }
        }
        match (index, key) {
            (Some(index), Some(key)) => Ok(Self { index, key, value }),
            _ => Err(invalid(seq, "no index or key")),
        }
    }
}

/// Reads an index. Where its levels point to is checked when they are followed: a batch leaves levels behind that nobody reaches.
pub(crate) fn decode_index(index: &Bytes, seq: u64) -> Result<Box<[Level]>, Error> {
    let mut levels = Vec::new();
    for field in Fields::of(index.clone(), seq) {
        let (1, bytes) = field? else { continue };
        let mut level = Level::default();
        for field in Fields::of(bytes, seq) {
            match field? {
                (1, packed) => level.keys = varints(&packed, seq)?.into(),
                (2, packed) => {
                    let values = varints(&packed, seq)?;
                    let (pairs, rest) = values.as_chunks::<2>();
                    if !rest.is_empty() {
                        return Err(invalid(seq, "half a child"));
                    }
                    level.children = pairs.iter().map(|&[seq, offset]| (seq, offset)).collect();
                }
                _ => {}
            }
        }
        levels.push(level);
    }
    for level in &mut levels {
        let mut blocks = level.keys.iter().copied().chain(level.children.iter().map(|&(block, _)| block));
        level.looks_back = blocks.all(|block| block <= seq);
        if !level.children.is_empty() && level.children.len() != level.keys.len() + 1 {
            return Err(invalid(seq, "children that do not fit the keys"));
        }
    }
    Ok(levels.into())
}

fn varints(bytes: &[u8], seq: u64) -> Result<Vec<u64>, Error> {
    let mut rest = bytes;
    let mut values = Vec::new();
    while !rest.is_empty() {
        values.push(read_varint(&mut rest).ok_or(invalid(seq, "a number"))?);
    }
    Ok(values)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (value <= encoding::MAX_SAFE_INTEGER).then_some(value);
        }
        shift += 7;
        if shift > 56 {
            return None;
        }
    }
}

fn invalid(seq: u64, reason: &'static str) -> Error {
    Error::InvalidBlock { seq, reason }
}

/// The length-delimited fields of a message; the others are skipped.
struct Fields {
    bytes: Bytes,
    seq: u64,
}

impl Fields {
    fn of(bytes: Bytes, seq: u64) -> Self {
        Self { bytes, seq }
    }

    fn read(&mut self) -> Option<Option<(u64, Bytes)>> {
        let mut rest = &self.bytes[..];
        let tag = read_varint(&mut rest)?;
        let (length, is_bytes) = match tag & 7 {
            0 => {
                read_varint(&mut rest)?;
                (0, false)
            }
            1 => (8, false),
            2 => (usize::try_from(read_varint(&mut rest)?).ok()?, true),
            5 => (4, false),
            _ => return None,
        };
        let start = self.bytes.len() - rest.len();
        let end = start.checked_add(length).filter(|&end| end <= self.bytes.len())?;
        let field = self.bytes.slice(start..end);
        self.bytes = self.bytes.slice(end..);
        Some(is_bytes.then_some((tag >> 3, field)))
    }
}

impl Iterator for Fields {
    type Item = Result<(u64, Bytes), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.bytes.is_empty() {
            match self.read() {
                Some(Some(field)) => return Some(Ok(field)),
                Some(None) => {}
                None => {
                    self.bytes = Bytes::new();
                    return Some(Err(invalid(self.seq, "a field")));
                }
            }
        }
        None
    }
}
