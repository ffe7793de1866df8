//! What can be wrong with an identity: one line that says what, and what to do.

use std::{io, path::PathBuf};

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such file.
    #[error("no key file at {path}")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is a file already.
    #[error("{path} exists and is not overwritten; move it away first")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what it should be.
    #[error("key file {path} is corrupt ({why}); restore it from a copy, or move it away to start with a new identity")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The file is encrypted with another password, or was changed.
    #[error("key file {path} cannot be decrypted: it has a password, or is corrupt; it is left as it is")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// The words are no mnemonic.
    #[error("not a mnemonic: 12 or 24 English words with a valid checksum are needed")]
    Mnemonic,
    /// The path is no derivation path.
    #[error("not a derivation path: hardened segments such as m/918'/0'/0'/0' are needed")]
    DerivationPath,
    /// The text is no address.
    #[error("not an address: a bech32m text of 32 bytes such as trac1… is needed")]
    Address,
}
