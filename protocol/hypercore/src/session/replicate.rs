//! What peers ask for and send.

use std::sync::Arc;

use super::{Hypercore, Place};
use crate::events::{Event, Events};
use crate::merkle::{NodeSource, Reorg, TreeBatch, TreeHead, missing_nodes, prove, verify, verify_fully_remote};
use crate::proof::{NodeRequest, Proof, Request};
use crate::storage::{Batch, Table};
use crate::store::Applied;
use crate::sync::Ticket;
use crate::verifier::Verifier;
use crate::{Error, Manifest, Node};

/// What became of a proof that holds.
#[derive(Debug)]
pub enum Verified {
    /// It is stored.
    Stored(Applied),
    /// It is of another time of the core, and nothing was changed: ask again.
    Stale,
}

impl Hypercore {
    /// Answers a peer. Waits until the signed state that the answer tells of is on disk: no peer hears of what a crash could take
    /// back.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for what no honest peer asks for, [`Error::NotFound`] if the block is not here, and when the
    /// disk fails.
    pub async fn proof(&self, request: &Request) -> Result<Proof, Error> {
        let (proof, ticket) = self.proof_to_come(request)?;
        ticket.durable().await?;
        Ok(proof)
    }

    /// A proof that may be shown when the ticket is durable.
    pub(crate) fn proof_to_come(&self, request: &Request) -> Result<(Proof, Ticket), Error> {
        let proof = self.proof_now(request)?;
        Ok((proof, self.place().line.store.ticket()))
    }

    /// Fork and length, which may be told when the ticket is durable, and the events of all that happens after: nothing is in both,
    /// and nothing between them.
    pub(crate) fn follow(&self) -> (u64, u64, Ticket, Events) {
        let line = self.place().line;
        let _writer = line.store.writer.lock();
        let ticket = line.store.ticket();
        let events = line.listeners.subscribe_since(ticket.number(), line.store.clone());
        (self.fork(), self.length(), ticket, events)
    }

    /// As [`proof`](Self::proof), of what may not be on disk yet.
    pub(crate) fn proof_now(&self, request: &Request) -> Result<Proof, Error> {
        let Place { core, line } = self.place();
        loop {
            let Some(seen) = core.cuts.seen() else {
                // Until the cut is made.
                drop(line.store.writer.lock());
                continue;
            };
            let head = if request.upgrade.is_some() {
                self.with_signed_head(TreeHead::clone)?
            } else {
                self.with_head(Clone::clone)
            };
            let proof = self.proof_of(&head, request);
            // Cut in the middle, it would be of two histories.
            if core.cuts.seen() == Some(seen) {
                return proof;
            }
        }
    }

    fn proof_of(&self, head: &TreeHead, request: &Request) -> Result<Proof, Error> {
        let mut proof = self.with_tree(|tree| prove(head, self.prologue(), tree, request))?;
        if let Some(block) = &mut proof.block {
            block.value = self.get_raw(block.index)?.ok_or(Error::NotFound)?;
        }
        if request.manifest {
            proof.manifest = self.manifest();
        }
        Ok(proof)
    }

    /// How many nodes to ask for with the block, or the tree node, so that the answer can be verified.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn missing_nodes(&self, tree_index: u64) -> Result<u64, Error> {
        self.with_tree(|tree| missing_nodes(tree, tree_index, self.length()))
    }

    /// The request for a block and the hashes that are missing for it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn block_request(&self, index: u64) -> Result<NodeRequest, Error> {
        Ok(NodeRequest { index, nodes: self.missing_nodes(2 * index)? })
    }

    /// Whether this tree has the roots of one of `length` blocks, so that an upgrade from there can be proven.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn can_upgrade_from(&self, length: u64) -> Result<bool, Error> {
        if length >= self.length() {
            return Ok(false);
        }
        for root in crate::flat_tree::full_roots(length) {
            if self.node(root)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The rules for the signature of `proof`: those of the core's manifest, or else of the one that came with it.
    fn verifier_for(&self, place: &Place, manifest: Option<&Manifest>) -> Result<Arc<Verifier>, Error> {
        let core = &place.core;
        if let Some(verifier) = &core.auth.read().verifier {
            return Ok(verifier.clone());
        }
        // Without any, it can only be a core from before Hypercore 11, whose key is the signer's.
        let manifest = manifest.cloned().unwrap_or_else(|| Manifest::single(core.key));
        Verifier::new(core.key, manifest).map(Arc::new)
    }

    fn signed_place(&self) -> Result<Place, Error> {
        let place = self.place();
        match place.line.is_signed() && place.line.atom.is_none() && self.snapshot.is_none() {
            true => Ok(place),
            false => Err(Error::BadArgument("proofs are for the core itself")),
        }
    }

    /// Verifies what a peer sent, and stores it.
    ///
    /// # Errors
    /// [`Fault::Peer`](crate::Fault::Peer) for what is not proven, in which case nothing was changed; [`Error::Frozen`]; when the
    /// disk fails.
    pub fn verify(&self, proof: &Proof) -> Result<Verified, Error> {
        let verified = self.verify_later(proof, None);
        self.flush();
        verified
    }

    /// Lets go what [`verify_later`](Self::verify_later) stored.
    pub(crate) fn flush(&self) {
        self.place().line.store.flush();
    }

    /// As [`verify`](Self::verify), for one of several proofs: [`flush`](Self::flush) is to follow. `leaf` is that of the proof's
    /// block, if it is known.
    pub(crate) fn verify_later(&self, proof: &Proof, leaf: Option<Node>) -> Result<Verified, Error> {
        let place = self.signed_place()?;
        let Place { core, line } = &place;
        if core.auth.read().frozen {
            return Err(Error::Frozen);
        }
        let head = line.head.read().clone();
        if proof.fork != head.fork {
            return Ok(Verified::Stale);
        }
        let known = core.auth.read().verifier.clone();
        let verifier = match (&known, &proof.manifest, &proof.upgrade) {
            (Some(verifier), ..) => Some(verifier.clone()),
            (None, None, None) => None,
            (None, manifest, _) => Some(self.verifier_for(&place, manifest.as_ref())?),
        };
        let prologue = verifier.as_ref().and_then(|verifier| verifier.manifest().prologue);
        let tree = verify(head, prologue, &**line, proof, leaf)?;
        if tree.upgraded {
            let verifier = verifier.as_ref().ok_or(Error::InvalidSignature)?;
            if !verifier.verify(&tree, &tree.head.signature) {
                return Err(Error::InvalidSignature);
            }
        }
        self.store_verified(&place, proof, tree, known.is_none().then_some(verifier).flatten())
    }

    fn store_verified(
        &self,
        place: &Place,
        proof: &Proof,
        tree: TreeBatch,
        verifier: Option<Arc<Verifier>>,
    ) -> Result<Verified, Error> {
        let Place { core, line } = place;
        let _writer = line.store.writer.lock();
        if !tree.is_current(&line.head.read()) {
            return Ok(Verified::Stale);
        }
        let mut batch = Batch::new();
        let mut events = Vec::new();
        self.put_verifier(place, verifier, &mut batch, &mut events);
        let block = proof.block.as_ref().map(|block| block.index);
        line.put_nodes(&mut batch, &tree.nodes, |leaf| Some(leaf) == block);
        if let Some(block) = &proof.block {
            batch.insert(Table::Block.at(line.pointer, block.index), Some(block.value.clone()));
        }
        let mut bitfield = core.bitfield.write();
        let contiguous = bitfield.contiguous();
        if let Some(index) = block {
            bitfield.set(index, index + 1);
        }
        let head = if tree.upgraded { tree.head } else { line.head.read().clone() };
        if tree.upgraded || bitfield.contiguous() != contiguous {
            core.put_head(&head, &mut bitfield, &mut batch);
        } else {
            core.put_bitfield(&mut bitfield, &mut batch);
        }
        drop(bitfield);
        if tree.upgraded {
            events.push(Event::Append { length: head.length });
        }
        events.extend(block.map(|start| Event::Have { start, length: 1 }));
        let events = events.into_iter().map(|event| (line.listeners.clone(), event));
        let applied = line.store.write_later_locked(batch, events)?;
        *line.head.write() = head;
        Ok(Verified::Stored(applied))
    }

    /// Keeps the manifest that came with a proof, if there was none.
    fn put_verifier(&self, place: &Place, verifier: Option<Arc<Verifier>>, batch: &mut Batch, events: &mut Vec<Event>) {
        let mut auth = place.core.auth.write();
        if let (Some(verifier), None) = (verifier, &auth.verifier) {
            auth.verifier = Some(verifier);
            place.core.put_auth(&auth, batch);
            events.push(Event::Manifest);
        }
    }

    /// Begins to take over the history of a higher fork, from a peer's upgrade from 0.
    ///
    /// # Errors
    /// [`Fault::Peer`](crate::Fault::Peer) for what is not signed, or no higher fork; when the disk fails.
    pub fn begin_reorg(&self, proof: &Proof) -> Result<Reorg, Error> {
        let place = self.signed_place()?;
        let head = place.line.head.read().clone();
        if proof.fork <= head.fork {
            return Err(Error::InvalidProof("it is no newer history"));
        }
        let verifier = self.verifier_for(&place, proof.manifest.as_ref())?;
        let reorg = Reorg::new(&head, verifier.manifest().prologue, &*place.line, proof)?;
        if !verifier.verify(&reorg.batch, &reorg.batch.head.signature) {
            return Err(Error::InvalidSignature);
        }
        Ok(reorg)
    }

    /// Takes the answer to what `reorg` [wants](Reorg::want). Whether it wants nothing more.
    ///
    /// # Errors
    /// [`Fault::Peer`](crate::Fault::Peer) for what is not proven; when the disk fails.
    pub fn continue_reorg(&self, reorg: &mut Reorg, proof: &Proof) -> Result<bool, Error> {
        reorg.update(&*self.signed_place()?.line, proof)
    }

    /// Takes over the history that `reorg` found. Blocks that both have stay.
    ///
    /// # Errors
    /// [`Error::BadArgument`] while it wants something; when the disk fails.
    pub fn reorg(&self, reorg: Reorg) -> Result<Verified, Error> {
        let place = self.signed_place()?;
        if reorg.want().is_some() {
            return Err(Error::BadArgument("it is not known where the histories part"));
        }
        let line = &place.line;
        let _writer = line.store.writer.lock();
        if !reorg.batch.is_current(&line.head.read()) {
            return Ok(Verified::Stale);
        }
        let mut batch = Batch::new();
        line.put_nodes(&mut batch, &reorg.batch.nodes, |_| false);
        // What the new history has beyond the common blocks is not here yet.
        self.cut(&place, reorg.batch, batch).map(Verified::Stored)
    }

    /// Compares another signed history of this fork, an upgrade from 0, with the one here. If both are signed and differ, the core
    /// is frozen: its owner signed two things for one place.
    ///
    /// # Errors
    /// [`Fault::Peer`](crate::Fault::Peer) for what is not signed; when the disk fails.
    pub fn check_conflict(&self, proof: &Proof) -> Result<bool, Error> {
        let place = self.signed_place()?;
        let Place { core, line } = &place;
        let head = line.head.read().clone();
        let upgrade = proof.upgrade.as_ref().ok_or(Error::InvalidProof("an upgrade was expected"))?;
        let Some(verifier) = core.auth.read().verifier.clone() else { return Ok(false) };
        if proof.fork != head.fork || upgrade.start != 0 || upgrade.length > head.length {
            return Ok(false);
        }
        let prologue = verifier.manifest().prologue;
        let remote = verify_fully_remote(prologue, proof)?;
        if !verifier.verify(&remote, &remote.head.signature) {
            return Err(Error::InvalidSignature);
        }
        // Signed by the same, and one is no part of the other? The trees are compared, not what came on the wire: a proof may leave out
        // what one of its other parts shows.
        let length = if remote.head.length <= head.length { remote.head.length } else { upgrade.length };
        let mut differs = false;
        for root in crate::flat_tree::full_roots(length) {
            let there = remote.head.roots.iter().chain(&remote.nodes).find(|node| node.index == root);
            if let (Some(here), Some(there)) = (line.node(root)?, there) {
                differs |= here.hash != there.hash;
            }
        }
        if !differs {
            return Ok(false);
        }
        let _writer = line.store.writer.lock();
        let mut batch = Batch::new();
        let mut auth = core.auth.write();
        auth.frozen = true;
        core.put_auth(&auth, &mut batch);
        drop(auth);
        line.store.write_locked(batch, [(line.listeners.clone(), Event::Frozen)])?;
        Ok(true)
    }
}
