use bytes::Bytes;

use super::{NodeSource, TreeHead};
use crate::flat_tree::{Iter, depth, full_roots};
use crate::node::{total_size, tree_hash};
use crate::{Error, Hash, Node, Prologue};

/// A tree that is growing, and the nodes that it has grown by.
#[derive(Debug, Clone)]
pub struct TreeBatch {
    /// The tree as it is now.
    pub head: TreeHead,
    /// What has come to it.
    pub nodes: Vec<Node>,
    /// How many blocks it has in common with the tree that it began as.
    pub ancestors: u64,
    /// The length of that tree.
    pub tree_length: u64,
    /// The fork of that tree.
    pub tree_fork: u64,
    /// Whether its roots have changed, so that it needs a signature.
    pub upgraded: bool,
    pub(crate) prologue: Option<Prologue>,
}

impl TreeBatch {
    /// Begins with the tree `head`.
    pub fn new(head: TreeHead, prologue: Option<Prologue>) -> Self {
        let (tree_length, tree_fork) = (head.length, head.fork);
        let nodes = Vec::new();
        Self { head, nodes, ancestors: tree_length, tree_length, tree_fork, upgraded: false, prologue }
    }

    /// The tree's hash.
    pub fn hash(&self) -> Hash {
        tree_hash(&self.head.roots)
    }

    /// Appends a block.
    pub fn append(&mut self, block: &[u8]) {
        let index = self.head.length * 2;
        // Only a tree of 2^59 blocks could be too high.
        let grown = self.append_root(Node::leaf(index, block), &mut Iter::new(index));
        debug_assert!(grown.is_ok());
    }

    /// Appends blocks.
    pub fn append_all<B: AsRef<[u8]>>(&mut self, blocks: &[B]) {
        let mut level = Node::leaves(2 * self.head.length, blocks);
        self.upgraded |= !level.is_empty();
        self.head.length += level.len() as u64;
        self.head.byte_length = self.head.byte_length.saturating_add(total_size(&level));
        // Depth by depth, so that many are hashed at once. The last root is the left sibling of the first new node of its depth.
        let mut new_roots = Vec::new();
        let mut height = 0;
        while !level.is_empty() {
            self.nodes.extend_from_slice(&level);
            if let Some(root) = self.head.roots.pop_if(|root| depth(root.index) == height) {
                level.insert(0, root);
            }
            let parents = Node::parents(&level);
            if level.len() % 2 == 1 {
                new_roots.extend(level.pop());
            }
            level = parents;
            height += 1;
        }
        self.head.roots.extend(new_roots.into_iter().rev());
    }

    /// Appends the root of a whole tree, at which `iter` stands, and leaves `iter` at the root that it has become part of.
    pub(crate) fn append_root(&mut self, node: Node, iter: &mut Iter) -> Result<(), Error> {
        self.upgraded = true;
        let too_high = Error::InvalidProof("the tree is too high");
        self.head.length = self.head.length.checked_add(iter.factor / 2).ok_or(too_high.clone())?;
        self.head.byte_length = self.head.byte_length.saturating_add(node.size);
        self.head.roots.push(node);
        self.nodes.push(node);
        while let [.., left, right] = &self.head.roots[..] {
            if iter.sibling() != left.index {
                iter.sibling();
                break;
            }
            let parent = Node::parent(iter.parent().ok_or(too_high.clone())?, left, right);
            self.nodes.push(parent);
            let parents_place = self.head.roots.len() - 2;
            self.head.roots.truncate(parents_place);
            self.head.roots.push(parent);
        }
        Ok(())
    }

    /// Cuts the tree down to `length` blocks, under the number `fork`.
    ///
    /// # Errors
    /// When a root of that tree cannot be read.
    pub fn truncate(&mut self, source: &impl NodeSource, length: u64, fork: u64) -> Result<(), Error> {
        let mut roots = Vec::new();
        for (place, index) in full_roots(length).enumerate() {
            match self.head.roots.get(place) {
                Some(root) if root.index == index && roots.len() == place => roots.push(*root),
                _ => roots.push(source.expect(index)?),
            }
        }
        self.head = TreeHead { fork, length, byte_length: total_size(&roots), roots, signature: Bytes::new() };
        self.ancestors = length;
        self.upgraded = true;
        Ok(())
    }

    /// Whether the tree that this began as is still the one at `head`.
    pub fn is_current(&self, head: &TreeHead) -> bool {
        let length_fits = if self.upgraded { self.tree_length == head.length } else { self.tree_length <= head.length };
        self.tree_fork == head.fork && length_fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_appended_together_make_the_tree_of_those_appended_one_by_one() {
        for before in 0..40_u8 {
            for count in 0..40_u8 {
                let block = |number: u8| vec![number; usize::from(number) * 7];
                let mut one = TreeBatch::new(TreeHead::default(), None);
                (0..before).for_each(|number| one.append(&block(number)));
                let mut many = TreeBatch::new(one.head.clone(), None);
                let mut one = TreeBatch::new(one.head, None);
                let blocks: Vec<_> = (before..before + count).map(block).collect();
                blocks.iter().for_each(|block| one.append(block));
                many.append_all(&blocks);
                let sorted = |mut batch: TreeBatch| {
                    batch.nodes.sort_by_key(|node| node.index);
                    (batch.head, batch.nodes, batch.upgraded)
                };
                assert_eq!(sorted(many), sorted(one), "{count} after {before}");
            }
        }
    }
}
