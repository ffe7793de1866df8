use std::collections::HashMap;

use super::verify::{verify_fully_remote, verify_hashes};
use super::{NodeSource, TreeBatch, TreeHead};
use crate::flat_tree::{Iter, depth, left_span, right_span};
use crate::proof::Proof;
use crate::{Error, Node, Prologue};

/// Another history of a core, with a higher fork number and a valid signature, while it is found out where it parts from the one
/// that is here.
#[derive(Debug, Clone)]
pub struct Reorg {
    pub(crate) batch: TreeBatch,
    /// The node under which the histories part; `None` if the new one is a part of the old.
    diff: Option<Node>,
    want: Option<ReorgWant>,
}

/// What a [`Reorg`] needs to know next: the hash of the block `start`, with `nodes` nodes above it
/// ([`Request::hash`](crate::Request::hash) of the tree node `2 * start`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReorgWant {
    /// The first block under the node where the histories part.
    pub start: u64,
    /// The first block behind it.
    pub end: u64,
    /// How many nodes are above a block in it.
    pub nodes: u64,
}

impl Reorg {
    /// Begins with the upgrade from 0 that a peer sent, against the tree `head`. The signature remains to be checked.
    pub(crate) fn new(
        head: &TreeHead,
        prologue: Option<Prologue>,
        source: &impl NodeSource,
        proof: &Proof,
    ) -> Result<Self, Error> {
        let mut batch = verify_fully_remote(prologue, proof)?;
        (batch.tree_length, batch.tree_fork, batch.ancestors) = (head.length, head.fork, 0);
        let mut reorg = Self { batch, diff: None, want: None };
        for root in &reorg.batch.head.roots {
            if source.node(root.index)?.is_none_or(|known| known.hash != root.hash) {
                reorg.diff = Some(*root);
                break;
            }
        }
        match reorg.diff {
            Some(diff) => {
                reorg.descend(diff);
                let nodes = reorg.batch.nodes.clone();
                reorg.narrow(source, &nodes)?;
            }
            None => reorg.batch.ancestors = reorg.batch.head.length,
        }
        reorg.batch.ancestors = reorg.batch.ancestors.min(reorg.batch.tree_length);
        Ok(reorg)
    }

    /// The fork and length of the new history.
    pub fn head(&self) -> &TreeHead {
        &self.batch.head
    }

    /// How many blocks both histories have in common, as far as it is known.
    pub fn ancestors(&self) -> u64 {
        self.batch.ancestors
    }

    /// What is to be asked for next; `None` when the place is found and the history can be changed.
    pub fn want(&self) -> Option<ReorgWant> {
        self.want
    }

    /// Takes the answer to [`want`](Self::want). Whether the place is found.
    pub(crate) fn update(&mut self, source: &impl NodeSource, proof: &Proof) -> Result<bool, Error> {
        let (Some(diff), Some(_)) = (self.diff, self.want) else { return Ok(true) };
        let mut nodes = Vec::new();
        let root = verify_hashes(proof, &mut nodes)?.ok_or(Error::InvalidProof("it proves nothing"))?;
        if root.index != diff.index || root.hash != diff.hash {
            return Err(Error::InvalidChecksum { index: root.index });
        }
        self.batch.nodes.extend_from_slice(&nodes);
        self.narrow(source, &nodes)?;
        Ok(self.want.is_none())
    }

    /// Goes down from the node that differs as far as `nodes` reach.
    fn narrow(&mut self, source: &impl NodeSource, nodes: &[Node]) -> Result<(), Error> {
        let nodes: HashMap<u64, &Node> = nodes.iter().map(|node| (node.index, node)).collect();
        while let Some(diff) = self.diff.filter(|diff| depth(diff.index) > 0) {
            let mut iter = Iter::new(diff.index);
            let Some(left) = nodes.get(&iter.left_child()) else { break };
            let same = source.node(left.index)?.is_some_and(|known| known.hash == left.hash);
            let child = if same { nodes.get(&iter.sibling()) } else { Some(left) };
            match child {
                Some(child) => self.descend(**child),
                None => break,
            }
        }
        Ok(())
    }

    fn descend(&mut self, diff: Node) {
        let (start, end) = (left_span(diff.index) / 2, right_span(diff.index) / 2 + 1);
        let end = end.min(self.batch.tree_length);
        self.batch.ancestors = start;
        self.diff = Some(diff);
        let found = depth(diff.index) == 0 || start >= end;
        self.want = (!found).then(|| ReorgWant { start, end, nodes: u64::from(depth(diff.index)) });
    }
}
