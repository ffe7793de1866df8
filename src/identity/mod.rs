//! Who a peer is: a mnemonic, the keys that follow from it, and the address that stands for them.
//!
//! ```
//! use intercom::identity::Identity;
//!
//! let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
//! let identity = Identity::from_mnemonic(words, None)?;
//! assert!(identity.address().starts_with("trac1"));
//! # Ok::<(), intercom::identity::IdentityError>(())
//! ```
//!
//! The keys are kept in `keypair.json`, encrypted, as Trac's JavaScript wallet keeps them ([`keyfile`]). Decrypting takes 256 MiB
//! and a good part of a second, also with the empty password that the program uses. So the first start pays it, and leaves the
//! unlocked identity beside the file ([`unlocked`]) for those that follow.
//!
//! ```no_run
//! let loaded = intercom::identity::load_or_create("stores/peer/db/keypair.json")?;
//! println!("{}", loaded.identity.address());
//! # Ok::<(), intercom::identity::IdentityError>(())
//! ```
//!
//! Derivation, encryption and file are those of `trac-wallet` 1.0.1 and `trac-crypto-api` 0.1.4.

pub mod address;
mod derivation;
mod error;
mod file;
pub mod keyfile;
mod mnemonic;
pub mod pending;
pub mod unlocked;

use std::{fmt, path::Path};

use crypto::KeyPair;
use zeroize::Zeroizing;

pub use derivation::DEFAULT_PATH;
pub use error::IdentityError;
pub use mnemonic::looks_secret;

/// A peer's keys, and where they come from as far as that is known.
#[derive(Clone)]
pub struct Identity {
    keys: KeyPair,
    mnemonic: Option<Zeroizing<String>>,
    derivation_path: Option<String>,
}

impl Identity {
    /// A new identity, from 24 random words.
    pub fn generate() -> Self {
        let words = mnemonic::generate();
        Self::derive(words, DEFAULT_PATH).expect("the default path is valid")
    }

    /// The identity of 12 or 24 English words (BIP-39), at `path`, or at [`DEFAULT_PATH`] if that is `None`.
    ///
    /// # Errors
    /// [`IdentityError::Mnemonic`] and [`IdentityError::DerivationPath`].
    pub fn from_mnemonic(words: &str, path: Option<&str>) -> Result<Self, IdentityError> {
        let words = mnemonic::sanitize(words).ok_or(IdentityError::Mnemonic)?;
        Self::derive(words, path.unwrap_or(DEFAULT_PATH))
    }

    fn derive(words: Zeroizing<String>, path: &str) -> Result<Self, IdentityError> {
        let seed = mnemonic::to_seed(&words).ok_or(IdentityError::Mnemonic)?;
        let (private_key, path) = derivation::derive(&seed, address::MAINNET_PREFIX, path)?;
        Ok(Self { keys: KeyPair::from_seed(&private_key), mnemonic: Some(words), derivation_path: Some(path) })
    }

    /// The keys.
    pub fn key_pair(&self) -> &KeyPair {
        &self.keys
    }

    /// The public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.keys.public_key
    }

    /// The public key in lower-case hex.
    pub fn public_key_hex(&self) -> String {
        keyfile::hex(&self.keys.public_key)
    }

    /// The bech32m address on the main network, `trac1…`.
    pub fn address(&self) -> String {
        address::encode(address::MAINNET_PREFIX, &self.keys.public_key)
    }

    /// The words, if they are known and valid.
    pub fn mnemonic(&self) -> Option<&str> {
        self.mnemonic.as_ref().map(|words| words.as_str())
    }

    /// The path of the keys below the words, if it is known.
    pub fn derivation_path(&self) -> Option<&str> {
        self.derivation_path.as_deref()
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys && self.mnemonic == other.mnemonic && self.derivation_path == other.derivation_path
    }
}

/// Shows the public part only.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("public_key", &self.public_key_hex()).finish_non_exhaustive()
    }
}

/// An identity that was read from its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The identity.
    pub identity: Identity,
    /// Whether it was created just now.
    pub created: bool,
    /// What the user should know although it stops nothing, one line each.
    pub warnings: Vec<String>,
}

/// The identity in the file at `path`. Where the unlocked identity lies beside it, this takes no time; else it blocks for about a
/// second, and leaves it there.
///
/// # Errors
/// [`IdentityError`] when there is no such file, or it cannot be read or decrypted. The file is not touched.
pub fn load(path: impl AsRef<Path>) -> Result<Loaded, IdentityError> {
    let path = path.as_ref();
    let content = file::read(path)?;
    let mut warnings = Vec::new();
    match unlocked::read(path, &content) {
        unlocked::Cached::Valid(identity) => return Ok(Loaded { identity, created: false, warnings }),
        unlocked::Cached::Exposed { warning } => warnings.push(warning),
        unlocked::Cached::Absent => {}
    }
    let identity = keyfile::decrypt(path, &content, b"")?;
    warnings.extend(unlocked::write(path, &content, &identity).err().map(|error| error.to_string()));
    Ok(Loaded { identity, created: false, warnings })
}

/// The identity in the file at `path`, or a new one if there is no such file; then it blocks for about a second. Folders that are
/// missing are created.
///
/// # Errors
/// As [`load`], and when the file cannot be written. A file that is there is never written to, whatever is in it.
pub fn load_or_create(path: impl AsRef<Path>) -> Result<Loaded, IdentityError> {
    let path = path.as_ref();
    match load(path) {
        Err(IdentityError::Missing { .. }) => {}
        other => return other,
    }
    let identity = Identity::generate();
    match save(path, &identity) {
        Ok(warnings) => Ok(Loaded { identity, created: true, warnings }),
        // Another process was faster.
        Err(IdentityError::Exists { .. }) => load(path),
        Err(error) => Err(error),
    }
}

/// Writes an identity to a file that must not exist, and leaves it unlocked beside it. The result is what the user should know.
///
/// # Errors
/// [`IdentityError::Exists`] when there is a file, and [`IdentityError::Io`].
pub fn save(path: impl AsRef<Path>, identity: &Identity) -> Result<Vec<String>, IdentityError> {
    let path = path.as_ref();
    // Before the work is done; what decides is the writing, which takes the name only if it is free.
    if path.symlink_metadata().is_ok() {
        return Err(IdentityError::Exists { path: path.into() });
    }
    let content = keyfile::encrypt(identity, b"");
    file::create(path, content.as_bytes())?;
    Ok(unlocked::write(path, content.as_bytes(), identity).err().map(|error| error.to_string()).into_iter().collect())
}

/// Writes a file with a secret, which must not exist, for its owner only (mode 0600 on Unix). Folders that are missing are created.
///
/// # Errors
/// [`IdentityError::Exists`] when there is a file, and [`IdentityError::Io`].
pub fn write_private(path: impl AsRef<Path>, content: &[u8]) -> Result<(), IdentityError> {
    file::create(path.as_ref(), content)
}

#[cfg(test)]
mod tests;
