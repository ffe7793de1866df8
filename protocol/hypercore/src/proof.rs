use bytes::Bytes;

use crate::{Manifest, Node, flat_tree};

/// A block, or a tree node, that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeRequest {
    /// The block, or the node of the tree.
    pub index: u64,
    /// How many nodes, from it upwards, the asker does not have.
    pub nodes: u64,
}

/// A place in the bytes of the core that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeekRequest {
    /// The byte.
    pub bytes: u64,
    /// How many bytes of each block do not count (those that encryption adds).
    pub padding: u64,
}

/// A longer tree that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// The asker's length.
    pub start: u64,
    /// How many blocks more.
    pub length: u64,
}

/// What a peer asks for. `block` and `hash` exclude one another; of both the block counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// A block and the hashes that prove it.
    pub block: Option<NodeRequest>,
    /// A node of the tree, and the hashes that prove it.
    pub hash: Option<NodeRequest>,
    /// Where in the tree a byte is.
    pub seek: Option<SeekRequest>,
    /// A longer tree, and its signature.
    pub upgrade: Option<UpgradeRequest>,
    /// The manifest.
    pub manifest: bool,
}

/// A block and the hashes that prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProof {
    /// The block.
    pub index: u64,
    /// Its bytes, as they are stored (encrypted, where the core is).
    pub value: Bytes,
    /// From its sibling upwards.
    pub nodes: Vec<Node>,
}

/// A node of the tree and the hashes that prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashProof {
    /// The node.
    pub index: u64,
    /// The node itself, then from its sibling upwards.
    pub nodes: Vec<Node>,
}

/// Where a byte is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeekProof {
    /// The byte.
    pub bytes: u64,
    /// The node that begins there or contains it, then from its sibling upwards.
    pub nodes: Vec<Node>,
}

/// A longer tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeProof {
    /// The asker's length.
    pub start: u64,
    /// How many blocks more. A core with a prologue answers with the whole of it at least.
    pub length: u64,
    /// What the tree needs to grow from `start` by `length`.
    pub nodes: Vec<Node>,
    /// What it then needs to grow to what is signed.
    pub additional_nodes: Vec<Node>,
    /// The signature of the tree with all these nodes. Empty where a prologue is not exceeded.
    pub signature: Bytes,
}

impl UpgradeProof {
    /// The length of the tree that is signed, in blocks.
    pub(crate) fn signed_length(&self) -> u64 {
        let more: u64 = self.additional_nodes.iter().map(|node| flat_tree::count_leaves(node.index)).sum();
        self.start + self.length + more
    }
}

/// An answer, complete and to be verified against nothing but the key of the core.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// The history that it is of.
    pub fork: u64,
    /// The block.
    pub block: Option<BlockProof>,
    /// The node.
    pub hash: Option<HashProof>,
    /// The place of a byte.
    pub seek: Option<SeekProof>,
    /// The longer tree.
    pub upgrade: Option<UpgradeProof>,
    /// The manifest, if it was asked for.
    pub manifest: Option<Manifest>,
}
