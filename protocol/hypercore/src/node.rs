use encoding::{DecodeError, Decoder, Encoder};

/// A BLAKE2b-256 hash, or a public key.
pub type Hash = [u8; 32];

/// A node of the Merkle tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Where it is, in [flat tree](crate::flat_tree) numbering.
    pub index: u64,
    /// The bytes of all blocks under it, as they are stored.
    pub size: u64,
    /// The hash of the block, or of both children.
    pub hash: Hash,
}

/// The least that an encoded node takes: two integers and a hash.
pub const MIN_NODE_BYTES: usize = 34;

impl Node {
    /// The leaf of `block`.
    pub fn leaf(index: u64, block: &[u8]) -> Self {
        let size = block.len() as u64;
        Self { index, size, hash: crypto::hash(&[&[0], &size.to_le_bytes(), block]) }
    }

    /// The parent of two siblings, in either order.
    ///
    /// Sizes that peers claim may add up to more than there is; the sum saturates, and no signature covers it.
    pub fn parent(index: u64, a: &Self, b: &Self) -> Self {
        let (left, right) = if a.index <= b.index { (a, b) } else { (b, a) };
        let size = left.size.saturating_add(right.size);
        Self { index, size, hash: crypto::hash(&[&[1], &size.to_le_bytes(), &left.hash, &right.hash]) }
    }

    /// Writes `uint index ‖ uint size ‖ hash`.
    pub fn encode(&self, to: &mut Encoder) {
        to.uint(self.index).uint(self.size).fixed(&self.hash);
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// When the bytes end early, or an integer is beyond 2^53 - 1.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { index: from.uint()?, size: from.uint()?, hash: from.fixed()? })
    }
}

/// The hash of a whole tree: of its roots, from left to right.
pub fn tree_hash<'a>(roots: impl IntoIterator<Item = &'a Node>) -> Hash {
    let mut bytes = vec![2];
    for root in roots {
        bytes.extend_from_slice(&root.hash);
        bytes.extend_from_slice(&root.index.to_le_bytes());
        bytes.extend_from_slice(&root.size.to_le_bytes());
    }
    crypto::hash(&[&bytes])
}

/// The bytes of all blocks under `nodes`.
pub(crate) fn total_size(nodes: &[Node]) -> u64 {
    nodes.iter().fold(0, |sum, node| sum.saturating_add(node.size))
}
