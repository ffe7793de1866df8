use std::io;
use std::sync::Arc;

/// Whose fault an [`Error`] is, and so what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What a peer sent is wrong: drop the peer, the core is as it was.
    Peer,
    /// The disk failed or what is on it is not what was written: stop, and look at the store.
    Disk,
    /// The call cannot be carried out on this core: the caller has to change it.
    Caller,
}

/// Why something on a core was refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A proof does not have the nodes that its parts ask for.
    #[error("invalid proof: {0}")]
    InvalidProof(&'static str),
    /// A proof's hash is not that of the tree.
    #[error("invalid checksum at tree node {index}")]
    InvalidChecksum {
        /// The node that differs.
        index: u64,
    },
    /// A proof's signature is not that of the signers.
    #[error("the signature is not valid over the tree")]
    InvalidSignature,
    /// A manifest does not hash to the key of the core, or cannot be read.
    #[error("invalid manifest: {0}")]
    InvalidManifest(&'static str),
    /// A request asks for what no honest peer asks of this core.
    #[error("invalid request: {0}")]
    InvalidRequest(&'static str),
    /// Reading or writing failed. After a failed write the store refuses further ones.
    #[error("storage: {0}")]
    Io(Arc<io::Error>),
    /// What is on the disk contradicts itself.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// Another process has the store open.
    #[error("the store is in use by another process")]
    InUse,
    /// The core has no secret key here, or the session is read only.
    #[error("the core is not writable here")]
    NotWritable,
    /// There is no such core in the store.
    #[error("no such core in the store")]
    NotFound,
    /// Two different histories were signed at one length. The core stays as it is, for ever.
    #[error("the core is frozen: two different blocks were signed for one place")]
    Frozen,
    /// The argument makes no sense for this core.
    #[error("{0}")]
    BadArgument(&'static str),
    /// The key that a block names is not here. With it, the block can be read.
    #[error("the key {id} of an encrypted block is not here")]
    NoKey {
        /// What the block names it by.
        id: u64,
    },
    /// What was decrypted is no block by the rule of the core's encryption: its writer made it so, and it stays so. Peers that send it
    /// are not to blame.
    #[error("an encrypted block cannot be read: {0}")]
    InvalidBlock(&'static str),
    /// The core or the draft changed in between.
    #[error("the core changed in between")]
    Conflict,
    /// The session, the core or the store was closed.
    #[error("closed")]
    Closed,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::InvalidProof(_)
            | Self::InvalidChecksum { .. }
            | Self::InvalidSignature
            | Self::InvalidManifest(_)
            | Self::InvalidRequest(_) => Fault::Peer,
            Self::Io(_) | Self::Corrupt(_) => Fault::Disk,
            _ => Fault::Caller,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
