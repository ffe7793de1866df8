//! Taking over the history of a higher fork.

use std::time::Duration;

use super::peer::PeerId;
use super::replicator::{ReorgState, Replicator, known};
use crate::proof::{NodeRequest, Proof, Request, UpgradeRequest};
use crate::{Error, Verified};

impl Replicator {
    /// A peer has a higher fork: asks for its proof, unless one at least as high is looked at already.
    pub(crate) fn update_fork(&mut self, id: PeerId, now: Duration) {
        let Some(peer) = self.peers.get(&id) else { return };
        let (fork, length) = (peer.remote.fork, peer.remote.length);
        let paused = peer.paused || !peer.is_rested(now);
        let busy = self.reorg.as_ref().is_some_and(|reorg| match (&reorg.found, reorg.inflight) {
            // A claim that is not proven holds up no other.
            (None, None) => false,
            _ => reorg.fork >= fork,
        });
        if paused || fork <= self.core.fork() || length == 0 || busy {
            return;
        }
        let upgrade = Some(UpgradeRequest { start: 0, length });
        let request = Request { upgrade, manifest: self.core.manifest().is_none(), ..Request::default() };
        let inflight = Some(self.ask(id, fork, request, 0, now));
        self.reorg = Some(ReorgState { fork, found: None, inflight });
    }

    /// Asks a peer of the fork for what is to be known next about it.
    pub(crate) fn ask_reorg(&mut self, id: PeerId, now: Duration) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        let Some(reorg) = &self.reorg else {
            // One that failed with another peer, or was overtaken.
            self.update_fork(id, now);
            return false;
        };
        if peer.remote.fork != reorg.fork || reorg.inflight.is_some() || !peer.is_rested(now) {
            return false;
        }
        let Some(found) = &reorg.found else {
            self.update_fork(id, now);
            return false;
        };
        let Some(want) = found.want() else { return false };
        let fork = reorg.fork;
        let index = peer.first(want.start, want.end);
        let Some(index) = index.or_else(|| (want.start < peer.remote.length).then_some(want.start)) else {
            return false;
        };
        let hash = Some(NodeRequest { index: 2 * index, nodes: want.nodes });
        let number = self.ask(id, fork, Request { hash, ..Request::default() }, 0, now);
        if let Some(reorg) = &mut self.reorg {
            reorg.inflight = Some(number);
        }
        true
    }

    /// A peer answered with something of a higher fork.
    pub(crate) fn on_reorg_data(&mut self, proof: &Proof, now: Duration) -> Result<(), Error> {
        // An answer about a history that was overtaken by a newer one says nothing about that.
        let Some(mut reorg) = self.reorg.take_if(|reorg| reorg.fork == proof.fork) else { return Ok(()) };
        let mut found = match reorg.found.take() {
            Some(found) => found,
            None if proof.upgrade.is_some() => self.core.begin_reorg(proof)?,
            None => return Err(Error::InvalidProof("an upgrade was expected")),
        };
        if found.want().is_some() && proof.hash.is_some() {
            self.core.continue_reorg(&mut found, proof)?;
        }
        if found.want().is_some() {
            reorg.found = Some(found);
            self.reorg = Some(reorg);
            return Ok(());
        }
        if let Verified::Stored(_) = self.core.reorg(found)? {
            if !self.core.is_writable() {
                self.known = known(&self.core);
            }
            self.wants.restart(0);
            self.signal_all();
            self.wants.resolve_local(&self.core);
        }
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.update_fork(id, now);
        }
        Ok(())
    }
}
