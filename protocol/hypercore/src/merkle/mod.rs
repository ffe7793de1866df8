//! The Merkle tree: growing it, proving it, verifying it (`lib/merkle-tree.js`).

mod batch;
mod prove;
mod reorg;
mod seek;
mod verify;

pub use batch::TreeBatch;
pub(crate) use prove::{missing_nodes, prove, upgrade_nodes};
pub use reorg::{Reorg, ReorgWant};
pub use seek::Seek;
pub(crate) use seek::seek;
pub(crate) use verify::{verify, verify_fully_remote, verify_upgrade};

use crate::flat_tree::full_roots;
use crate::{Error, Node};

/// Where the nodes of a tree are.
pub trait NodeSource {
    /// The node, if it is there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn node(&self, index: u64) -> Result<Option<Node>, Error>;

    /// The node, which must be there.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if it is not: who asks for it asks for more than there is.
    fn expect(&self, index: u64) -> Result<Node, Error> {
        self.node(index)?.ok_or(Error::InvalidRequest("a node of the tree is not there"))
    }
}

/// The roots of the tree of `length` blocks.
pub(crate) fn roots(source: &impl NodeSource, length: u64) -> Result<Vec<Node>, Error> {
    full_roots(length).map(|index| source.expect(index)).collect()
}

/// The signed state of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeHead {
    /// How often the core was truncated.
    pub fork: u64,
    /// How many blocks it has.
    pub length: u64,
    /// How many bytes, as they are stored.
    pub byte_length: u64,
    /// The roots of the tree.
    pub roots: Vec<Node>,
    /// The signature of the tree; empty where there is none.
    pub signature: bytes::Bytes,
}
