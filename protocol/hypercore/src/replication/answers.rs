//! What peers answer, and what comes of those that answer wrong.

use std::time::Duration;

use tracing::debug;

use super::messages::Message;
use super::peer::PeerId;
use super::replicator::{Inflight, Known, Offence, Output, Replicator};
use crate::proof::{Proof, Request};
use crate::{Error, Fault, Node, Verified};

impl Replicator {
    pub(crate) fn on_refusal(&mut self, id: PeerId, request: u64, now: Duration) {
        let newest = self.core.fork();
        let Some(asked) = self.take_answer(id, request, now) else { return };
        if let Some(peer) = self.peers.get_mut(&id) {
            if peer.remote.fork == asked.fork {
                // What it has of another history than the one it was asked about, it said, or will.
                peer.refused(&asked.request);
            }
            let Request { hash, seek, .. } = asked.request;
            if hash.is_some() || seek.is_some() || asked.fork > newest {
                peer.rest(now);
            }
        }
        self.update_all(now);
    }

    /// The request that a peer answers.
    fn take_answer(&mut self, peer: PeerId, id: u64, now: Duration) -> Option<Inflight> {
        let Some(asked) = self.inflight.get(&id) else {
            // Its answer is not of use any more, but shows that it answers.
            let answers = self.peers.get_mut(&peer).filter(|peer| peer.given_up == Some(id));
            if let Some(peer) = answers {
                (peer.given_up, peer.is_late) = (None, false);
            }
            return None;
        };
        if asked.peer != peer {
            return None;
        }
        let asked = self.take_inflight(id)?;
        self.free_ids.push(id);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.answered(asked.sent, now);
        }
        Some(asked)
    }

    /// An answer of a peer. `leaf` is that of its block, if it is known.
    pub(crate) fn on_data(&mut self, id: PeerId, request: u64, proof: &Proof, leaf: Option<Node>, now: Duration) {
        if request == 0 && proof.upgrade.as_ref().is_some_and(|upgrade| upgrade.start == 0) {
            return self.on_conflict_proof(id, proof);
        }
        let Some(asked) = self.take_answer(id, request, now) else { return };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.gave();
        }
        if asked.fork != proof.fork {
            return self.update_all(now);
        }
        if proof.fork > self.core.fork() {
            match self.on_reorg_data(proof, now) {
                Ok(()) => {}
                Err(error) => self.offend(id, &error, now),
            }
            return self.update_all(now);
        }
        let before = self.known;
        let outcome = if matches(&asked.request, proof) {
            self.core.verify_later(proof, leaf)
        } else {
            Err(Error::InvalidProof("it is not what was asked for"))
        };
        match outcome {
            Ok(Verified::Stored(_)) => self.stored(proof, before),
            Ok(Verified::Stale) => {}
            Err(error) if error.fault() == Fault::Peer => self.offend(id, &error, now),
            Err(error) => {
                debug!(%error, "cannot store what a peer sent");
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.paused = true;
                }
            }
        }
        // What is left of the wants can be asked of this peer; of the others only after the state changed.
        if proof.upgrade.is_some() || self.peers.get(&id).is_none_or(|peer| peer.paused) {
            self.update_all(now);
        } else {
            self.update(id, now);
        }
    }

    fn stored(&mut self, proof: &Proof, before: Known) {
        self.learn(before);
        let now = self.known;
        if proof.upgrade.is_some() || now.has_manifest != before.has_manifest {
            if now.has_manifest != before.has_manifest {
                // JavaScript tells of the manifest before it tells of the length that came with it.
                self.known = Known { has_manifest: true, ..before };
                self.signal_all();
            }
            self.known = now;
            self.signal_all();
            self.wants.resolve_local(&self.core);
            self.wants.look_again();
        }
        if let Some(block) = &proof.block {
            self.wants.resolve(block.index, || Ok(Some(block.value.clone())));
        }
        if !self.wants.seeks.is_empty() {
            self.wants.resolve_seeks(&self.core);
        }
    }

    /// A peer sent what is not proven. The owner of the core may have signed two histories; if the peer cannot show that, it lied.
    fn offend(&mut self, id: PeerId, error: &Error, now: Duration) {
        debug!(%error, "a peer sent what is not proven");
        let local = self.core.length();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (fork, length) = (peer.remote.fork, peer.remote.length.min(local));
        if peer.paused || length == 0 {
            return self.outputs.push(Output::Drop(id, Offence::InvalidProof(error.to_string())));
        }
        peer.paused = true;
        peer.suspected = Some(now);
        let upgrade = Some(crate::proof::UpgradeRequest { start: 0, length });
        self.send(
            id,
            Message::Request { id: 0, fork, request: Request { upgrade, ..Request::default() }, priority: 0 },
        );
        let asked: Vec<u64> = self.inflight.iter().filter(|(_, asked)| asked.peer == id).map(|(&id, _)| id).collect();
        for asked in asked {
            self.cancel(asked);
        }
    }

    /// A peer shows what the owner of the core signed, because we asked for it or, as JavaScript's peers do, because it found two
    /// histories. That is safe: the core is frozen only by two signatures of its owner over trees of which one is no part of the
    /// other. It says so once before it closes the channel; who comes with more costs us signature checks for nothing.
    fn on_conflict_proof(&mut self, id: PeerId, proof: &Proof) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let suspected = peer.suspected.is_some();
        if !suspected && std::mem::replace(&mut peer.warned, true) {
            let reason = Offence::InvalidProof("it warns of other histories again and again".into());
            return self.outputs.push(Output::Drop(id, reason));
        }
        match self.core.check_conflict(proof) {
            Ok(true) => debug!("the owner of the core signed two histories"),
            Ok(false) if !suspected => {}
            Ok(false) => {
                let reason = Offence::InvalidProof("it sent what is not of the core".into());
                self.outputs.push(Output::Drop(id, reason));
            }
            Err(error) => self.outputs.push(Output::Drop(id, Offence::InvalidProof(error.to_string()))),
        }
    }
}

/// Whether the answer is one to the request, and to nothing more.
fn matches(request: &Request, proof: &Proof) -> bool {
    let same = |asked: Option<u64>, got: Option<u64>| got.is_none() || got == asked;
    same(request.block.map(|block| block.index), proof.block.as_ref().map(|block| block.index))
        && same(request.hash.map(|hash| hash.index), proof.hash.as_ref().map(|hash| hash.index))
        && same(request.seek.map(|seek| seek.bytes), proof.seek.as_ref().map(|seek| seek.bytes))
        && (proof.upgrade.is_none() || request.upgrade.is_some())
}
