//! A signed, append-only log whose blocks can be verified one by one: JavaScript's `hypercore`.
//!
//! ```
//! use hypercore::{Request, Store, UpgradeRequest, Verified};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), hypercore::Error> {
//! // A core of our own. What is appended is seen at once, and durable when it was awaited.
//! let core = Store::memory().create()?;
//! core.append(["hello", "world"])?.durable().await?;
//! assert_eq!(core.get(1)?.as_deref(), Some(&b"world"[..]));
//!
//! // Another peer that knows its key asks for its length, and for one block of it.
//! let copy = Store::memory().get(&core.key())?;
//! let upgrade = Some(UpgradeRequest { start: 0, length: 2 });
//! let proof = core.proof(&Request { upgrade, manifest: true, ..Request::default() }).await?;
//! assert!(matches!(copy.verify(&proof)?, Verified::Stored(_)));
//! assert_eq!((copy.length(), copy.get(1)?), (2, None));
//!
//! let proof = core.proof(&Request { block: Some(copy.block_request(1)?), ..Request::default() }).await?;
//! copy.verify(&proof)?;
//! assert_eq!(copy.get(1)?.as_deref(), Some(&b"world"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # What is what
//! A [`Store`] is a directory (or memory) of cores. A [`Hypercore`] is a session on one of them: on the signed history, on a
//! [draft](Hypercore::draft) of it that nobody signed yet, on either [as it is now](Hypercore::snapshot) or as an [`Atom`] changes
//! it. A draft's blocks come into the core by [`commit`](Hypercore::commit), with a signature.
//!
//! The tree's arithmetic is in [`flat_tree`], proofs in [`Request`] and [`Proof`], who may sign in [`Manifest`] and
//! [`Verifier`], signatures of several in [`multisig`].
//!
//! # What survives
//! Each call is one atomic write, and an atom's calls are one together. Readers of this process see a write at once; peers must not
//! see it before it is on disk, or the blocks that a crash takes back could be signed a second time with other content, which
//! every peer would take for fraud. Therefore [`Hypercore::proof`] and all [`Events`] of signed cores wait for the disk, and
//! [`Applied::durable`] does. One synchronisation of the disk serves all that wait for it.
//!
//! # Errors
//! [`Error::fault`] tells a bad peer from a bad disk from a bad call.

mod atom;
mod bitfield;
mod check;
mod core;
#[cfg(test)]
mod crash;
mod cuts;
mod encryption;
mod error;
mod events;
pub mod flat_tree;
mod line;
mod manifest;
mod merkle;
pub mod multisig;
mod node;
mod proof;
pub mod replication;
mod session;
mod snapshot;
mod storage;
mod store;
mod sync;
pub mod verifier;

pub use atom::Atom;
pub use check::{CheckReport, MAX_PROBLEMS};
pub use encryption::{BlockEncryption, Encryption, EncryptionMode, PADDING};
pub use error::{Error, Fault};
pub use events::{Event, Events, MAX_EVENTS};
pub use manifest::{Manifest, Prologue, Signer, default_namespace};
pub use merkle::{Reorg, ReorgWant, Seek, TreeBatch, TreeHead};
pub use node::{Hash, MIN_NODE_BYTES, Node, tree_hash};
pub use proof::{
    BlockProof, HashProof, NodeRequest, Proof, Request, SeekProof, SeekRequest, UpgradeProof, UpgradeRequest,
};
pub use session::{CommitOptions, DraftOptions, Hypercore, MAX_BLOCK_BYTES, Verified};
pub use snapshot::MAX_SAVED_BYTES;
pub use store::{Applied, CoreOptions, Durability, Store};
pub use verifier::Verifier;
