use bytes::Bytes;

use super::seek::{node_of_byte, node_under};
use super::{NodeSource, TreeHead};
use crate::flat_tree::{self, Iter, right_span};
use crate::proof::{BlockProof, HashProof, Proof, Request, SeekProof, UpgradeProof, UpgradeRequest};
use crate::{Error, Node, Prologue};

/// The block or node that a request is about.
#[derive(Clone, Copy)]
struct Target {
    index: u64,
    nodes: u64,
    /// Whether the asker gets the block itself, and so computes its hash.
    is_block: bool,
}

struct Prover<'a, S> {
    source: &'a S,
    target: Option<Target>,
    seeks: bool,
    node: Option<Vec<Node>>,
    seek: Option<Vec<Node>>,
}

impl<S: NodeSource> Prover<'_, S> {
    /// From the node that was sought up to `root`.
    fn prove_seek(&mut self, sought: u64, root: u64) -> Result<(), Error> {
        let mut nodes = vec![self.source.expect(sought)?];
        let mut iter = Iter::new(sought);
        while iter.index != root {
            nodes.push(self.source.expect(iter.sibling())?);
            climb(&mut iter)?;
        }
        self.seek = Some(nodes);
        Ok(())
    }

    /// From the block or node up to `root`; what was sought on the way has a list of its own.
    fn prove_target(&mut self, sought: u64, root: u64) -> Result<(), Error> {
        let Some(target) = self.target else { return self.prove_seek(sought, root) };
        let mut iter = Iter::new(target.index);
        let mut nodes = Vec::new();
        if !target.is_block {
            nodes.push(self.source.expect(target.index)?);
        }
        while iter.index != root {
            iter.sibling();
            if self.seeks && iter.contains(sought) && iter.index != sought {
                self.prove_seek(sought, iter.index)?;
            } else {
                nodes.push(self.source.expect(iter.index)?);
            }
            climb(&mut iter)?;
        }
        self.node = Some(nodes);
        Ok(())
    }

    fn nothing_proven(&self) -> bool {
        self.node.is_none() && self.seek.is_none()
    }

    /// What a tree that ends before the node `from` needs to end before `to`. Where `embed` is under one of these nodes, the
    /// block or what was sought is proven up to it instead.
    fn upgrade(&mut self, from: u64, to: u64, embed: Option<u64>) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::new();
        for iter in flat_tree::upgrade(from, to).ok_or(Error::InvalidRequest("beyond the tree"))? {
            self.upgrade_node(&iter, embed, &mut nodes)?;
        }
        Ok(nodes)
    }

    fn upgrade_node(&mut self, iter: &Iter, embed: Option<u64>, nodes: &mut Vec<Node>) -> Result<(), Error> {
        match embed {
            Some(embed) if self.nothing_proven() && iter.contains(embed) => self.prove_target(embed, iter.index),
            _ => {
                nodes.push(self.source.expect(iter.index)?);
                Ok(())
            }
        }
    }
}

fn climb(iter: &mut Iter) -> Result<u64, Error> {
    iter.parent().ok_or(Error::InvalidRequest("beyond the tree"))
}

/// The root of the subtree in which the asker misses `nodes` nodes above the target.
fn subtree(target: &Target, end: u64) -> Result<u64, Error> {
    let mut iter = Iter::new(target.index);
    for _ in 0..target.nodes {
        climb(&mut iter)?;
        if iter.contains(end) {
            return Err(Error::InvalidRequest("nodes is out of bounds"));
        }
    }
    Ok(iter.index)
}

/// Proves what `request` asks for, without the value of its block and the manifest.
pub(crate) fn prove(
    head: &TreeHead,
    prologue: Option<Prologue>,
    source: &impl NodeSource,
    request: &Request,
) -> Result<Proof, Error> {
    let mut proof = Proof { fork: head.fork, ..Proof::default() };
    if head.length == 0 {
        return Ok(proof);
    }
    let upgrade = request.upgrade.map(|upgrade| match prologue {
        // Who does not have the whole prologue gets it from the start.
        Some(prologue) if upgrade.start < prologue.length => UpgradeRequest { start: 0, length: prologue.length },
        _ => upgrade,
    });
    let invalid = || Error::InvalidRequest("the upgrade is out of bounds");
    let beyond = || Error::InvalidRequest("beyond the tree");
    let end = 2 * head.length;
    let (from, to) = match upgrade {
        Some(upgrade) => {
            let to = upgrade.start.checked_add(upgrade.length).filter(|&to| to <= head.length).ok_or_else(invalid)?;
            (2 * upgrade.start, 2 * to)
        }
        None => (0, end),
    };
    if from >= to {
        return Err(invalid());
    }
    let target = match (request.block, request.hash) {
        (Some(block), _) => {
            let index = block.index.checked_mul(2).ok_or_else(beyond)?;
            Some(Target { index, nodes: block.nodes, is_block: true })
        }
        (None, Some(hash)) => Some(Target { index: hash.index, nodes: hash.nodes, is_block: false }),
        (None, None) => None,
    };
    if target.is_some_and(|target| target.index > 2 * encoding::MAX_SAFE_INTEGER || right_span(target.index) >= end) {
        return Err(beyond());
    }
    if request.seek.is_some() && upgrade.is_some() && target.is_some_and(|target| target.index >= from) {
        return Err(Error::InvalidRequest("a seek and a block in one upgrade"));
    }

    let mut prover = Prover { source, target, seeks: request.seek.is_some(), node: None, seek: None };
    let mut embed = end;
    match target {
        Some(target) if upgrade.is_none_or(|upgrade| right_span(target.index) / 2 < upgrade.start) => {
            embed = subtree(&target, to)?;
            let sought = match request.seek {
                Some(seek) => node_under(head, source, embed, seek.bytes, seek.padding)?,
                None => end,
            };
            prover.prove_target(sought, embed)?;
        }
        _ if upgrade.is_some() => {
            if let Some(seek) = request.seek {
                embed = node_of_byte(source, to / 2, seek.bytes, seek.padding)?;
            } else if let Some(target) = target {
                embed = target.index;
            }
        }
        _ => {}
    }
    if let Some(upgrade) = upgrade {
        let nodes = prover.upgrade(from, to, Some(embed))?;
        let additional_nodes = if end > to { prover.upgrade(to, end, None)? } else { Vec::new() };
        let signature = head.signature.clone();
        proof.upgrade =
            Some(UpgradeProof { start: upgrade.start, length: upgrade.length, nodes, additional_nodes, signature });
    }
    if let Some(target) = target {
        let nodes = prover.node.ok_or(Error::InvalidRequest("the block is not part of the upgrade"))?;
        match request.block {
            Some(block) => proof.block = Some(BlockProof { index: block.index, value: Bytes::new(), nodes }),
            None => proof.hash = Some(HashProof { index: target.index, nodes }),
        }
    }
    if let (Some(seek), Some(nodes)) = (request.seek, prover.seek) {
        proof.seek = Some(SeekProof { bytes: seek.bytes, nodes });
    }
    Ok(proof)
}

/// What a tree of `start` blocks needs to have `start + length`.
pub(crate) fn upgrade_nodes(source: &impl NodeSource, start: u64, length: u64) -> Result<Vec<Node>, Error> {
    let mut prover = Prover { source, target: None, seeks: false, node: None, seek: None };
    prover.upgrade(2 * start, 2 * (start + length), None)
}

/// How many nodes, from the node `index` upwards, are missing here: what a request for it asks for.
pub(crate) fn missing_nodes(source: &impl NodeSource, index: u64, length: u64) -> Result<u64, Error> {
    let end = 2 * length;
    if index > 2 * encoding::MAX_SAFE_INTEGER || right_span(index) >= end {
        return Ok(0);
    }
    let mut iter = Iter::new(index);
    let mut missing = 0;
    while !iter.contains(end) && source.node(iter.index)?.is_none() {
        missing += 1;
        if iter.parent().is_none() {
            break;
        }
    }
    Ok(missing)
}
