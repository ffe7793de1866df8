use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

use std::sync::Arc;

use crate::manifest::constant;
use crate::{Error, Hash};

/// How many bytes [`BlockEncryption`] adds to a block.
pub const PADDING: usize = 8;

/// How the blocks of a core become what is stored, hashed and sent: [`BlockEncryption`], or another rule, such as Autobase's, whose
/// keys change (`encryption` of JavaScript's `hypercore`).
///
/// Keys are at hand when a block is read or written. A rule that names its key in the block, and does not have it, says
/// [`Error::NoKey`]: the caller gets the key and reads again.
pub trait Encryption: Send + Sync + 'static {
    /// How many bytes a stored block is longer than the block, in bytes; the same for all blocks.
    fn padding(&self) -> usize;

    /// The stored form of the block `index`, which is longer by the [padding](Self::padding). `fork` is that of the signed core.
    ///
    /// # Errors
    /// [`Error::NoKey`], or what the rule has against the block: then nothing is appended.
    fn encrypt(&self, index: u64, fork: u64, block: &[u8]) -> Result<Vec<u8>, Error>;

    /// The block `index` whose stored form is `stored`, which its writer may have made anyhow.
    ///
    /// # Errors
    /// [`Error::NoKey`] and [`Error::InvalidBlock`].
    fn decrypt(&self, index: u64, stored: &[u8]) -> Result<Vec<u8>, Error>;
}

/// One rule, with its keys, for several sessions.
impl<E: Encryption + ?Sized> Encryption for Arc<E> {
    fn padding(&self) -> usize {
        (**self).padding()
    }

    fn encrypt(&self, index: u64, fork: u64, block: &[u8]) -> Result<Vec<u8>, Error> {
        (**self).encrypt(index, fork, block)
    }

    fn decrypt(&self, index: u64, stored: &[u8]) -> Result<Vec<u8>, Error> {
        (**self).decrypt(index, stored)
    }
}

impl Encryption for BlockEncryption {
    fn padding(&self) -> usize {
        PADDING
    }

    fn encrypt(&self, index: u64, fork: u64, block: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(Self::encrypt(self, index, fork, block))
    }

    /// As in JavaScript, a block without a whole padding is an empty one.
    fn decrypt(&self, index: u64, stored: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(Self::decrypt(self, index, stored).unwrap_or_default())
    }
}

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
