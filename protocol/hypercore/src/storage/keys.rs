//! Keys. All integers are big endian, so that their order is that of the numbers.
//!
//! | key | value |
//! | --- | --- |
//! | `00` | the store: format, next pointer, primary key |
//! | `01 ‖ discovery key` | a core: its key, pointer, manifest, key pair |
//! | `02 ‖ name` | a discovery key by the name that corestore gives it |
//! | `03 ‖ pointer ‖ name` | a draft of a core: its pointer |
//! | `04 ‖ pointer ‖ table ‖ index or name` | what belongs to a history, in tables |

use smallvec::SmallVec;

use crate::Hash;

/// A key, most often in 14 bytes.
pub(crate) type Key = SmallVec<[u8; 16]>;

/// What a history is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    /// One entry: fork, length, bytes, contiguous blocks, signature.
    Head = 0,
    /// One entry, of drafts: the history whose first blocks it shares, and how many.
    Base = 1,
    /// Blocks by index.
    Block = 2,
    /// Tree nodes by index, except leaves whose block is there.
    Node = 3,
    /// Which blocks are there, beyond the contiguous ones.
    Bitfield = 4,
    /// User data by name.
    UserData = 5,
    /// Bytes by key, for the owner of the core alone.
    Local = 6,
    /// Of a core: the pointers of drafts that are gone, but that were read when they went.
    Retired = 7,
}

pub(crate) fn store() -> Key {
    Key::from_slice(&[0])
}

pub(crate) fn core(discovery_key: &Hash) -> Key {
    concat(&[&[1], discovery_key])
}

pub(crate) fn alias(name: &[u8]) -> Key {
    concat(&[&[2], name])
}

pub(crate) fn draft(pointer: u32, name: &str) -> Key {
    concat(&[&[3], &pointer.to_be_bytes(), name.as_bytes()])
}

impl Table {
    pub(crate) fn named(self, pointer: u32, name: &[u8]) -> Key {
        concat(&[&[4], &pointer.to_be_bytes(), &[self as u8], name])
    }

    pub(crate) fn only(self, pointer: u32) -> Key {
        self.named(pointer, &[])
    }

    pub(crate) fn at(self, pointer: u32, index: u64) -> Key {
        self.named(pointer, &index.to_be_bytes())
    }

    /// The index in a key of this table.
    pub(crate) fn index(key: &[u8]) -> Option<u64> {
        key.get(6..)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// The first and the first not of the keys of a history, in all its tables.
    pub(crate) fn all(pointer: u32) -> (Key, Key) {
        prefixed(concat(&[&[4], &pointer.to_be_bytes()]))
    }

    /// The first key behind this table.
    pub(crate) fn end(self, pointer: u32) -> Key {
        concat(&[&[4], &pointer.to_be_bytes(), &[self as u8 + 1]])
    }
}

/// The first and the first not of the keys that begin with `prefix` (which does not end in 0xff).
pub(crate) fn prefixed(prefix: Key) -> (Key, Key) {
    let mut end = prefix.clone();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    (prefix, end)
}

fn concat(parts: &[&[u8]]) -> Key {
    let mut key = Key::new();
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}
