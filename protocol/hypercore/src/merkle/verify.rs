use super::{NodeSource, TreeBatch, TreeHead};
use crate::flat_tree::Iter;
use crate::proof::{BlockProof, Proof, UpgradeProof};
use crate::{Error, Node, Prologue};

/// Nodes that must come in the order in which they are needed; one of them was computed, and is found when its index comes up.
struct NodeQueue<'a> {
    nodes: std::slice::Iter<'a, Node>,
    computed: Option<Node>,
}

impl<'a> NodeQueue<'a> {
    fn new(nodes: &'a [Node], computed: Option<Node>) -> Self {
        Self { nodes: nodes.iter(), computed }
    }

    fn take(&mut self, index: u64) -> Result<Node, Error> {
        if let Some(node) = self.computed.take_if(|node| node.index == index) {
            return Ok(node);
        }
        match self.nodes.next() {
            Some(node) if node.index == index => Ok(*node),
            Some(_) => Err(Error::InvalidProof("a node comes out of turn")),
            None => Err(Error::InvalidProof("a node is missing")),
        }
    }

    fn is_empty(&self) -> bool {
        self.nodes.len() == 0 && self.computed.is_none()
    }
}

/// Climbs from `root`, at which `iter` stands, with all siblings in `queue`.
fn climb(mut root: Node, iter: &mut Iter, queue: &mut NodeQueue<'_>, nodes: &mut Vec<Node>) -> Result<Node, Error> {
    nodes.push(root);
    while !queue.is_empty() {
        let sibling = queue.take(iter.sibling())?;
        let parent = iter.parent().ok_or(Error::InvalidProof("the tree is too high"))?;
        root = Node::parent(parent, &root, &sibling);
        nodes.push(sibling);
        nodes.push(root);
    }
    Ok(root)
}

/// The leaf of the block of a proof.
fn leaf_of(block: &BlockProof) -> Result<Node, Error> {
    let index = block.index.checked_mul(2).ok_or(Error::InvalidProof("a block beyond all"))?;
    Ok(Node::leaf(index, &block.value))
}

/// The root that the block, the node and the seek of a proof lead to. All nodes on the way come to `nodes`. `leaf` is that of the
/// block, if it is known.
fn verify_tree(proof: &Proof, leaf: Option<Node>, nodes: &mut Vec<Node>) -> Result<Option<Node>, Error> {
    let mut root = None;
    if let Some([first, siblings @ ..]) = proof.seek.as_ref().map(|seek| &seek.nodes[..]) {
        let mut iter = Iter::new(first.index);
        root = Some(climb(*first, &mut iter, &mut NodeQueue::new(siblings, None), nodes)?);
    }
    if let Some(block) = &proof.block {
        let leaf = leaf.map_or_else(|| leaf_of(block), Ok)?;
        let mut queue = NodeQueue::new(&block.nodes, root);
        return climb(leaf, &mut Iter::new(leaf.index), &mut queue, nodes).map(Some);
    }
    if let Some(hash) = &proof.hash {
        let mut queue = NodeQueue::new(&hash.nodes, root);
        let first = queue.take(hash.index)?;
        return climb(first, &mut Iter::new(hash.index), &mut queue, nodes).map(Some);
    }
    Ok(root)
}

/// Grows `batch` by an upgrade. Whether the root of the proof's block was part of it; if not it must be checked against the tree
/// that was there.
fn apply_upgrade(
    fork: u64,
    upgrade: &UpgradeProof,
    block_root: Option<Node>,
    batch: &mut TreeBatch,
) -> Result<bool, Error> {
    let prologue = batch.prologue;
    // The core may have grown since it asked; some nodes are then of no use, which is not the peer's fault.
    let is_answer = upgrade.start == batch.head.length;
    let misses_prologue = |prologue: &Prologue| {
        upgrade.start < prologue.length && (upgrade.start != 0 || upgrade.length < prologue.length)
    };
    if prologue.as_ref().is_some_and(misses_prologue) {
        return Err(Error::InvalidProof("the upgrade does not satisfy the prologue"));
    }
    let end = upgrade.start.checked_add(upgrade.length).filter(|&end| end <= encoding::MAX_SAFE_INTEGER);
    let end = 2 * end.ok_or(Error::InvalidProof("a length beyond all"))?;

    let mut queue = NodeQueue::new(&upgrade.nodes, block_root);
    let mut grow = !batch.head.roots.is_empty();
    let mut known = 0;
    let mut iter = Iter::new(0);
    while iter.full_root(end) {
        if batch.head.roots.get(known).is_some_and(|root| root.index == iter.index) {
            known += 1;
        } else if std::mem::take(&mut grow) && known < batch.head.roots.len() {
            // The last root of the tree that is here becomes part of this one.
            let root = iter.index;
            iter.seek(batch.head.roots[batch.head.roots.len() - 1].index);
            while iter.index != root {
                let node = queue.take(iter.sibling())?;
                batch.append_root(node, &mut iter)?;
            }
        } else {
            let node = queue.take(iter.index)?;
            batch.append_root(node, &mut iter)?;
        }
        iter.next_tree();
    }
    if prologue.is_some_and(|prologue| batch.head.length == prologue.length && batch.hash() != prologue.hash) {
        return Err(Error::InvalidProof("the prologue has another hash"));
    }
    if is_answer && queue.nodes.len() > 0 {
        return Err(Error::InvalidProof("there are more nodes than the upgrade has"));
    }
    let last = batch.head.roots.last().ok_or(Error::InvalidProof("an upgrade to nothing"))?;
    iter.seek(last.index);
    append_additional(&upgrade.additional_nodes, iter, batch)?;
    batch.head.signature = upgrade.signature.clone();
    batch.head.fork = fork;
    Ok(queue.computed.is_none())
}

/// Grows `batch`, at whose last root `iter` stands, by the nodes up to what is signed.
fn append_additional(nodes: &[Node], mut iter: Iter, batch: &mut TreeBatch) -> Result<(), Error> {
    let mut nodes = nodes.iter().peekable();
    // Siblings of the last root first.
    while nodes.len() > 0 {
        let sibling = iter.sibling();
        match nodes.next_if(|node| node.index == sibling) {
            Some(node) => batch.append_root(*node, &mut iter)?,
            None => break,
        }
    }
    for node in nodes {
        while node.index != iter.index {
            if iter.factor == 2 {
                return Err(Error::InvalidProof("a node comes out of turn"));
            }
            iter.left_child();
        }
        batch.append_root(*node, &mut iter)?;
        iter.sibling();
    }
    Ok(())
}

/// Verifies all of `proof` but its signature against the tree `head`. The batch that comes of it may be stored if it is not
/// [upgraded](TreeBatch::upgraded), or its signature holds. `leaf` is that of the proof's block, if it is known.
pub(crate) fn verify(
    head: TreeHead,
    prologue: Option<Prologue>,
    source: &impl NodeSource,
    proof: &Proof,
    leaf: Option<Node>,
) -> Result<TreeBatch, Error> {
    let mut batch = TreeBatch::new(head, prologue);
    let mut unverified = verify_tree(proof, leaf, &mut batch.nodes)?;
    if let Some(upgrade) = &proof.upgrade
        && apply_upgrade(proof.fork, upgrade, unverified, &mut batch)?
    {
        unverified = None;
    }
    if let Some(root) = unverified {
        let known = source.node(root.index)?.ok_or(Error::InvalidProof("it leads to no node that is here"))?;
        if known.hash != root.hash || known.size != root.size {
            return Err(Error::InvalidChecksum { index: root.index });
        }
    }
    Ok(batch)
}

/// The tree that `proof` describes from nothing. Only its signature says whether there is such a tree.
pub(crate) fn verify_fully_remote(prologue: Option<Prologue>, proof: &Proof) -> Result<TreeBatch, Error> {
    let mut batch = TreeBatch::new(TreeHead { fork: proof.fork, ..TreeHead::default() }, prologue);
    let root = verify_tree(proof, None, &mut batch.nodes)?;
    let upgrade = proof.upgrade.as_ref().ok_or(Error::InvalidProof("an upgrade was expected"))?;
    apply_upgrade(proof.fork, upgrade, root, &mut batch)?;
    Ok(batch)
}

/// Grows `batch` by an upgrade that stands alone.
pub(crate) fn verify_upgrade(batch: &mut TreeBatch, fork: u64, upgrade: &UpgradeProof) -> Result<(), Error> {
    apply_upgrade(fork, upgrade, None, batch).map(drop)
}

/// The root that the hashes of `proof` lead to, on no other evidence.
pub(crate) fn verify_hashes(proof: &Proof, nodes: &mut Vec<Node>) -> Result<Option<Node>, Error> {
    verify_tree(proof, None, nodes)
}
