use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

use crate::Hash;
use crate::manifest::constant;

/// How many bytes encryption adds to a block.
pub const PADDING: usize = 8;

/// How the key of the blocks comes from the key that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionMode {
    /// From the key and the core's key.
    Core,
    /// As [`Core`](Self::Core), in cores from before Hypercore 11.
    Compat,
    /// It is the key itself, which must be of this core alone (`block: true`).
    Block,
}

/// Encryption of blocks (`lib/default-encryption.js`): XSalsa20, without authentication, which the tree's hashes give.
///
/// ```
/// use hypercore::{BlockEncryption, EncryptionMode};
///
/// let encryption = BlockEncryption::new(&[1; 32], &[2; 32], EncryptionMode::Core);
/// let stored = encryption.encrypt(0, 0, b"hello");
/// assert_eq!(stored.len(), 13);
/// assert_eq!(encryption.decrypt(0, &stored).as_deref(), Some(&b"hello"[..]));
/// ```
#[derive(Clone)]
pub struct BlockEncryption {
    block_key: Hash,
    blinding_key: Hash,
}

impl std::fmt::Debug for BlockEncryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockEncryption")
    }
}

impl BlockEncryption {
    /// With `key`, for the blocks of the core `core_key`.
    pub fn new(key: &Hash, core_key: &Hash, mode: EncryptionMode) -> Self {
        let block_key = match mode {
            EncryptionMode::Core => crypto::hash(&[&constant(5), core_key, key]),
            EncryptionMode::Compat => crypto::hash_keyed(core_key, &[key]),
            EncryptionMode::Block => *key,
        };
        Self { block_key, blinding_key: crypto::hash(&[&block_key]) }
    }

    /// The stored form of the block `index`: the fork, blinded, and the encrypted block.
    pub fn encrypt(&self, index: u64, fork: u64, block: &[u8]) -> Vec<u8> {
        let mut stored = Vec::with_capacity(PADDING + block.len());
        stored.extend_from_slice(&fork.to_le_bytes());
        stored.extend_from_slice(block);
        let (prefix, body) = stored.split_at_mut(PADDING);
        XSalsa20::new(&self.blinding_key.into(), &nonce(index, &[]).into()).apply_keystream(prefix);
        XSalsa20::new(&self.block_key.into(), &nonce(index, prefix).into()).apply_keystream(body);
        stored
    }

    /// The block whose stored form is `stored`. `None` if that is too short to be one.
    pub fn decrypt(&self, index: u64, stored: &[u8]) -> Option<Vec<u8>> {
        let (prefix, body) = stored.split_at_checked(PADDING)?;
        let mut block = body.to_vec();
        XSalsa20::new(&self.block_key.into(), &nonce(index, prefix).into()).apply_keystream(&mut block);
        Some(block)
    }

    /// The key of the blocks, and the one that hides the fork.
    pub fn keys(&self) -> (&Hash, &Hash) {
        (&self.block_key, &self.blinding_key)
    }
}

fn nonce(index: u64, prefix: &[u8]) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&index.to_le_bytes());
    nonce[8..8 + prefix.len()].copy_from_slice(prefix);
    nonce
}
