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
        Self { index, size, hash: crypto::hash(&[&prefix(0, size), block]) }
    }

    /// The leaves of neighbouring blocks, the first of which has the `index`.
    pub fn leaves<B: AsRef<[u8]>>(index: u64, blocks: &[B]) -> Vec<Self> {
        Self::leaves_at((index..).step_by(2), blocks)
    }

    /// The leaves of blocks, at these indices. Several are hashed at a time.
    pub(crate) fn leaves_at<B: AsRef<[u8]>>(indices: impl IntoIterator<Item = u64>, blocks: &[B]) -> Vec<Self> {
        let mut indices = indices.into_iter();
        if let [block] = blocks {
            return indices.next().map(|index| Self::leaf(index, block.as_ref())).into_iter().collect();
        }
        let size = |block: &B| block.as_ref().len() as u64;
        let inputs: Vec<_> = blocks.iter().map(|block| (prefix(0, size(block)), block)).collect();
        let hashes = crypto::hash_each(&inputs);
        let leaf = |((block, hash), index)| Self { index, size: size(block), hash };
        blocks.iter().zip(hashes).zip(indices).map(leaf).collect()
    }

    /// The parent of two siblings, in either order.
    ///
    /// Sizes that peers claim may add up to more than there is; the sum saturates, and no signature covers it.
    pub fn parent(index: u64, a: &Self, b: &Self) -> Self {
        let (left, right) = if a.index <= b.index { (a, b) } else { (b, a) };
        let size = left.size.saturating_add(right.size);
        Self { index, size, hash: crypto::hash(&[&prefix(1, size), &left.hash, &right.hash]) }
    }

    /// The parents of neighbouring nodes of one depth, of which the first is a left child. One without a sibling has none.
    pub(crate) fn parents(nodes: &[Self]) -> Vec<Self> {
        let pairs = nodes.as_chunks::<2>().0;
        if let [[left, right]] = pairs {
            return vec![Self::parent(u64::midpoint(left.index, right.index), left, right)];
        }
        let size = |[left, right]: &[Self; 2]| left.size.saturating_add(right.size);
        let input = |pair: &[Self; 2]| {
            let mut hashes = [0; 64];
            hashes[..32].copy_from_slice(&pair[0].hash);
            hashes[32..].copy_from_slice(&pair[1].hash);
            (prefix(1, size(pair)), hashes)
        };
        let inputs: Vec<_> = pairs.iter().map(input).collect();
        let parent = |(pair, hash): (&[Self; 2], Hash)| Self {
            index: u64::midpoint(pair[0].index, pair[1].index),
            size: size(pair),
            hash,
        };
        pairs.iter().zip(crypto::hash_each(&inputs)).map(parent).collect()
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

/// What a hash begins with: the kind of the node, and the bytes under it.
fn prefix(kind: u8, size: u64) -> [u8; 9] {
    let mut prefix = [kind; 9];
    prefix[1..].copy_from_slice(&size.to_le_bytes());
    prefix
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
