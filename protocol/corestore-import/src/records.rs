//! The values of a JavaScript store (hypercore-storage, `encoding/spec/hyperschema`): compact encodings.

use bytes::Bytes;
use encoding::{DecodeError, Decoder};
use hypercore::{Hash, Manifest, Node, Prologue, Signer};

/// The store's own entry.
///
/// `uint version`, then in version 1 `u8 flags ‖ [1: uint cores ‖ uint datas] ‖ [2: seed] ‖ [4: default discovery key]`, in version 2
/// `uint cores ‖ uint datas ‖ uint groups ‖ u8 flags ‖ [1: seed] ‖ [2: default discovery key]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHead {
    /// 0 to 2.
    pub version: u64,
    /// How many groups were made.
    pub groups: u64,
    /// The primary key.
    pub seed: Option<Hash>,
    /// The core that is opened where none is named.
    pub default_discovery_key: Option<Hash>,
}

impl StoreHead {
    /// Of a version that is not known only that.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(value);
        let version = from.uint()?;
        let mut head = Self { version, groups: 0, seed: None, default_discovery_key: None };
        let (seed, default) = match version {
            0 | 1 => {
                let flags = from.uint()?;
                if flags & 1 != 0 {
                    from.uint()?;
                    from.uint()?;
                }
                (flags & 2 != 0, flags & 4 != 0)
            }
            2 => {
                from.uint()?;
                from.uint()?;
                head.groups = from.uint()?;
                let flags = from.uint()?;
                (flags & 1 != 0, flags & 2 != 0)
            }
            _ => return Ok(head),
        };
        head.seed = if seed { Some(from.fixed()?) } else { None };
        head.default_discovery_key = if default { Some(from.fixed()?) } else { None };
        Ok(head)
    }
}

/// Where a core is: `uint version ‖ uint core ‖ uint data ‖ u8 flags ‖ [1: alias]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorePointers {
    /// 0 as long as JavaScript has not moved it from the files of Hypercore 10.
    pub version: u64,
    /// Under which number its keys and sessions are.
    pub core: u64,
    /// Under which its blocks are.
    pub data: u64,
}

impl CorePointers {
    /// # Errors
    /// When the bytes are none.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(value);
        Ok(Self { version: from.uint()?, core: from.uint()?, data: from.uint()? })
    }
}

/// Who signs a core: `key ‖ discovery key ‖ u8 flags ‖ [1: frame manifest] ‖ [2: key pair] ‖ [4: buffer encryption key]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The core's key.
    pub key: Hash,
    /// Its hash.
    pub discovery_key: Hash,
    /// Not of a core whose key alone is known.
    pub manifest: Option<Manifest>,
    /// Public key and, where there is one, secret key.
    pub key_pair: Option<(Bytes, Option<Bytes>)>,
    /// Whether an encryption key is stored.
    pub has_encryption_key: bool,
}

impl Auth {
    /// # Errors
    /// When the bytes are none.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(value);
        let (key, discovery_key) = (from.fixed()?, from.fixed()?);
        let flags = from.uint()?;
        let manifest = if flags & 1 != 0 { Some(from.frame(decode_manifest)?) } else { None };
        let key_pair = if flags & 2 != 0 {
            let public_key = Bytes::copy_from_slice(from.buffer()?);
            Some((public_key, from.optional_buffer()?.map(Bytes::copy_from_slice)))
        } else {
            None
        };
        let has_encryption_key = flags & 4 != 0 && !from.buffer()?.is_empty();
        Ok(Self { key, discovery_key, manifest, key_pair, has_encryption_key })
    }
}

/// `uint version ‖ u8 flags(1 allow patch, 2 prologue, 4 linked, 8 user data) ‖ uint hash ‖ uint quorum ‖ array signer ‖ [prologue] ‖
/// [array linked] ‖ [buffer user data]`, for every version: unlike what is hashed, also for version 0.
fn decode_manifest(from: &mut Decoder<'_>) -> Result<Manifest, DecodeError> {
    let version = from.uint()?;
    let flags = from.uint()?;
    if from.uint()? != 0 {
        return Err(DecodeError::Invalid("unknown hash"));
    }
    let quorum = from.uint()?;
    let signers = from.array(65, |from| match from.uint()? {
        0 => Ok(Signer { namespace: from.fixed()?, public_key: from.fixed()? }),
        _ => Err(DecodeError::Invalid("unknown kind of signature")),
    })?;
    let has = |flag| flags & flag != 0;
    let prologue = if has(2) { Some(Prologue { hash: from.fixed()?, length: from.uint()? }) } else { None };
    let linked = if has(4) { Some(from.array(32, Decoder::fixed)?) } else { None };
    let user_data = if has(8) { Some(Bytes::copy_from_slice(from.buffer()?)) } else { None };
    Ok(Manifest { version, allow_patch: has(1), quorum, signers, prologue, linked, user_data })
}

/// A named session: `string name ‖ uint data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// Under which number its blocks are.
    pub data: u64,
}

/// # Errors
/// When the bytes are no sessions.
pub fn decode_sessions(value: &[u8]) -> Result<Vec<Session>, DecodeError> {
    Decoder::new(value).array(2, |from| Ok(Session { name: from.string()?, data: from.uint()? }))
}

/// The head of a history: `uint fork ‖ uint length ‖ root hash ‖ buffer signature ‖ [u8 flags ‖ [1: u64 timestamp]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreHead {
    /// How often it was cut.
    pub fork: u64,
    /// How many blocks it has.
    pub length: u64,
    /// The hash of its tree.
    pub root_hash: Hash,
    /// The signature of its tree; empty where there is none.
    pub signature: Bytes,
}

impl CoreHead {
    /// # Errors
    /// When the bytes are none.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(value);
        let (fork, length, root_hash) = (from.uint()?, from.uint()?, from.fixed()?);
        let signature = Bytes::copy_from_slice(from.optional_buffer()?.unwrap_or_default());
        Ok(Self { fork, length, root_hash, signature })
    }
}

/// The history that has the first blocks: `uint data ‖ uint length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    /// Which one.
    pub data: u64,
    /// How many of them.
    pub length: u64,
}

impl Dependency {
    /// # Errors
    /// When the bytes are none.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(value);
        Ok(Self { data: from.uint()?, length: from.uint()? })
    }
}

/// The hints of a core: `u8 flags ‖ [1: uint contiguous] ‖ [2: uint contiguous of peers] ‖ [4: uint recovering]`. Only whether the
/// last is there counts here: that newest writes may have been lost, and peers were not asked yet.
///
/// # Errors
/// When the bytes are none.
pub fn decode_recovering(value: &[u8]) -> Result<bool, DecodeError> {
    Ok(Decoder::new(value).uint()? & 4 != 0)
}

/// A tree node: `uint index ‖ uint size ‖ hash`.
///
/// # Errors
/// When the bytes are none, or those of another node.
pub fn decode_node(index: u64, value: &[u8]) -> Result<Node, DecodeError> {
    let node = Node::decode(&mut Decoder::new(value))?;
    if node.index == index { Ok(node) } else { Err(DecodeError::Invalid("another tree node")) }
}
