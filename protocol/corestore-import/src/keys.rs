//! The keys of a JavaScript store (hypercore-storage, `lib/keys.js`): tuples of the index encoding.
//!
//! | key | value |
//! | --- | --- |
//! | `0` | the store: [`StoreHead`](crate::records::StoreHead) |
//! | `1 ‖ discovery key` | [`CorePointers`](crate::records::CorePointers) |
//! | `2 ‖ namespace ‖ STRING name` | a discovery key |
//! | `3, core, 0` | [`Auth`](crate::records::Auth) |
//! | `3, core, 1` | [`Session`](crate::records::Session)s |
//! | `4, data, 0` | [`CoreHead`](crate::records::CoreHead) |
//! | `4, data, 1` | [`Dependency`](crate::records::Dependency) |
//! | `4, data, 2` | [hints](crate::records::decode_recovering) |
//! | `4, data, 3, index` | a block, as it is sent |
//! | `4, data, 4, index` | a [tree node](crate::records::decode_node) |
//! | `4, data, 5, page, 0` | 4,096 bytes of the bitfield, 32-bit words, little endian |
//! | `4, data, 6, STRING name` | user data |
//! | `4, data, 7 ‖ key` | local entries |
//! | `4, data, 8, index` | marks of a collection of garbage; not carried |
//! | `5 ‖ topic`, `6, …` | groups (store version 2); not carried |

use encoding::index_encoder::{decode_buffer, decode_uint, encode_string, encode_uint};
use hypercore::Hash;

/// How many blocks a page of the bitfield is of.
pub const PAGE_BLOCKS: u64 = 8 * 4096;

/// Tables of a history, the third number of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    /// Fork, length, root hash, signature.
    Head = 0,
    /// Which other history the first blocks are in.
    Dependency = 1,
    /// What is known without looking.
    Hints = 2,
    /// Blocks.
    Block = 3,
    /// Tree nodes, leaves too.
    Tree = 4,
    /// Which blocks are here.
    Bitfield = 5,
    /// User data.
    UserData = 6,
    /// Local entries.
    Local = 7,
}

fn tuple(parts: &[u64]) -> Vec<u8> {
    let mut key = Vec::new();
    for &part in parts {
        encode_uint(&mut key, part);
    }
    key
}

/// The store's own entry.
pub fn store() -> Vec<u8> {
    tuple(&[0])
}

/// The core of a discovery key.
pub fn core(discovery_key: &Hash) -> Vec<u8> {
    [&[1], &discovery_key[..]].concat()
}

/// The core of a name.
pub fn alias(namespace: &Hash, name: &str) -> Vec<u8> {
    let mut key = [&[2], &namespace[..]].concat();
    encode_string(&mut key, name);
    key
}

/// Who signs a core.
pub fn auth(core: u64) -> Vec<u8> {
    tuple(&[3, core, 0])
}

/// The named sessions of a core.
pub fn sessions(core: u64) -> Vec<u8> {
    tuple(&[3, core, 1])
}

impl Table {
    /// The one entry of a history in this table, or the first bytes of all.
    pub fn of(self, data: u64) -> Vec<u8> {
        tuple(&[4, data, self as u64])
    }

    /// The entry of an index.
    pub fn at(self, data: u64, index: u64) -> Vec<u8> {
        tuple(&[4, data, self as u64, index])
    }

    /// The first key behind this table of a history.
    pub fn end(self, data: u64) -> Vec<u8> {
        tuple(&[4, data, self as u64 + 1])
    }
}

/// A page of the bitfield of a history.
pub fn bitfield(data: u64, page: u64) -> Vec<u8> {
    tuple(&[4, data, Table::Bitfield as u64, page, 0])
}

/// The discovery key in the key of a core.
pub fn discovery_key(key: &[u8]) -> Option<Hash> {
    key.strip_prefix(&[1])?.try_into().ok()
}

/// Namespace and name in the key of a name.
pub fn alias_of(key: &[u8]) -> Option<(Hash, Vec<u8>)> {
    let (namespace, mut rest) = key.strip_prefix(&[2])?.split_first_chunk()?;
    let name = decode_buffer(&mut rest).ok()?;
    rest.is_empty().then_some((*namespace, name))
}

/// What follows the three numbers of a key of user data: the name.
pub fn user_data_name(key: &[u8]) -> Option<String> {
    let mut rest = after_numbers(key)?;
    let name = decode_buffer(&mut rest).ok()?;
    String::from_utf8(name).ok().filter(|_| rest.is_empty())
}

/// What follows the three numbers of a key.
pub fn after_numbers(key: &[u8]) -> Option<&[u8]> {
    let mut rest = key;
    for _ in 0..3 {
        decode_uint(&mut rest).ok()?;
    }
    Some(rest)
}
