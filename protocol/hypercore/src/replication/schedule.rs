//! Who is asked for what, and when.

use std::time::Duration;

use super::messages::Message;
use super::peer::{Peer, PeerId, SEGMENT};
use super::queue::Can;
use super::replicator::Replicator;
use crate::Hypercore;
use crate::flat_tree::{Iter, depth};
use crate::merkle::Seek;
use crate::proof::{NodeRequest, Request, SeekRequest, UpgradeRequest};

/// As JavaScript: a block that someone waits for.
pub(crate) const PRIORITY_WAITED_FOR: u64 = 1;

/// So many blocks that a peer has are tried for one that it can prove.
const MAX_TRIES: usize = 64;

impl Replicator {
    pub(crate) fn average_block(&self) -> u64 {
        let (_, length, bytes) = self.core.signed_size();
        bytes / length.max(1)
    }

    pub(crate) fn update_all(&mut self, now: Duration) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.update(id, now);
        }
    }

    /// Searches, as far as it may, for what a peer says that it has, and asks it for that.
    pub(crate) fn look(&mut self, id: PeerId, now: Duration) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let may = peer.credit.is_left(now);
        let blocks = if may { peer.credit.take() } else { None };
        self.wants.take_words();
        if let Some((start, end)) = blocks {
            self.wants.look_at(id, start, end);
        }
        self.ask_for_more(id, may, now);
        let words = self.wants.take_words();
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.credit.spend(words, now);
        }
    }

    /// Asks a peer for as much as it may be asked for.
    pub(crate) fn update(&mut self, id: PeerId, now: Duration) {
        self.ask_for_more(id, true, now);
    }

    fn ask_for_more(&mut self, id: PeerId, search: bool, now: Duration) {
        if self.core.is_frozen() {
            return;
        }
        let block_bytes = self.average_block();
        loop {
            let Some(peer) = self.peers.get(&id) else { return };
            if peer.paused || peer.inflight >= peer.window(block_bytes) {
                return;
            }
            let asked = self.ask_manifest(id, now)
                || self.ask_seek(id, now)
                || search && self.ask_queued(id, now)
                || search && self.ask_range(id, now)
                || self.ask_reorg(id, now)
                || self.ask_upgrade(id, now);
            if !asked {
                return;
            }
        }
    }

    fn needs_manifest(&self) -> bool {
        self.core.verifier().is_none()
    }

    pub(crate) fn ask_manifest(&mut self, id: PeerId, now: Duration) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        let wanted = peer.remote.length == 0 && peer.remote.has_manifest;
        if !wanted || self.manifest.is_some() || !self.needs_manifest() {
            return false;
        }
        let request = Request { manifest: true, ..Request::default() };
        self.manifest = Some(self.ask(id, peer.remote.fork, request, 0, now));
        true
    }

    fn can_ask_upgrade(&self, peer: &Peer) -> bool {
        let length = self.core.length();
        self.upgrade.is_none()
            && peer.remote.can_upgrade
            && peer.remote.fork == self.core.fork()
            && peer.remote.length > length
            && peer.acked == length
    }

    /// A request to which the parts are added; `None` if the peer cannot answer it now.
    fn request(&self, peer: &Peer, needs_upgrade: bool, min_length: u64) -> Option<Request> {
        let can_upgrade = self.can_ask_upgrade(peer);
        if needs_upgrade && !can_upgrade || peer.remote.length < min_length {
            return None;
        }
        let length = self.core.length();
        let upgrade = can_upgrade.then(|| UpgradeRequest { start: length, length: peer.remote.length - length });
        let manifest = peer.remote.has_manifest && self.needs_manifest();
        Some(Request { upgrade, manifest, ..Request::default() })
    }

    fn ask_with_upgrade(&mut self, id: PeerId, request: Request, priority: u64, now: Duration) -> Option<u64> {
        let fork = self.peers.get(&id)?.remote.fork;
        let number = self.ask(id, fork, request, priority, now);
        if request.upgrade.is_some() {
            self.upgrade = Some(number);
        }
        Some(number)
    }

    pub(crate) fn ask_upgrade(&mut self, id: PeerId, now: Duration) -> bool {
        let request = self.peers.get(&id).and_then(|peer| self.request(peer, true, 0));
        request.is_some_and(|request| self.ask_with_upgrade(id, request, 0, now).is_some())
    }

    fn ask_seek(&mut self, id: PeerId, now: Duration) -> bool {
        (0..self.wants.seeks.len()).any(|at| self.wants.seeks[at].inflight.is_none() && self.ask_seek_at(id, at, now))
    }

    /// Asks a peer for one of the seeks, whoever was asked for it before.
    pub(crate) fn ask_seek_at(&mut self, id: PeerId, at: usize, now: Duration) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        let (bytes, padding) = (self.wants.seeks[at].bytes, self.wants.seeks[at].padding);
        if peer.paused || peer.remote.fork != self.core.fork() || !peer.is_rested(now) {
            return false;
        }
        let Ok(Seek::Between { start, end }) = self.core.seek_padded(bytes, padding) else { return false };
        let seek = Some(SeekRequest { bytes, padding });
        let request = if start >= self.core.length() {
            self.request(peer, true, 0).map(|request| Request { seek, ..request })
        } else {
            let index = self.seekable(peer, start, end);
            if index.is_none() {
                self.want(id, start);
            }
            let Some(peer) = self.peers.get(&id) else { return false };
            index.and_then(|index| {
                let nodes = u64::from(depth((start + end).saturating_sub(1)));
                let hash = Some(NodeRequest { index: 2 * index, nodes });
                self.request(peer, false, index + 1).map(|request| Request { hash, seek, ..request })
            })
        };
        let Some(request) = request else { return false };
        self.wants.seeks[at].inflight = self.ask_with_upgrade(id, request, 0, now);
        true
    }

    /// One of these blocks that a peer has and can prove to us. Only some are tried: a peer says what it has.
    fn seekable(&self, peer: &Peer, start: u64, end: u64) -> Option<u64> {
        let mut next = peer.first(start, end);
        for _ in 0..MAX_TRIES {
            let index = next?;
            if has_tree_parent(&self.core, peer, index) {
                return Some(index);
            }
            next = peer.first(index + 1, end);
        }
        None
    }

    fn ask_queued(&mut self, id: PeerId, now: Duration) -> bool {
        let mut not_told = Vec::new();
        let Some(peer) = self.peers.get(&id) else { return false };
        let (core, can_upgrade) = (&self.core, self.can_ask_upgrade(peer));
        let (index, more) = self.wants.next_queued(id, |index| {
            if !peer.has(index) {
                not_told.push(index);
                Can::Not
            } else if can_ask(core, peer, index, can_upgrade) {
                Can::Give
            } else {
                Can::GiveLater
            }
        });
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.looking_for_waiting = more;
        }
        for index in not_told {
            self.want(id, index);
        }
        let Some(index) = index else { return false };
        let asked = self.ask_block(id, index, PRIORITY_WAITED_FOR, now);
        if !asked {
            self.wants.put_back(index);
        }
        asked
    }

    fn ask_range(&mut self, id: PeerId, now: Duration) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        if peer.remote.fork != self.core.fork() {
            return false;
        }
        let can_upgrade = self.can_ask_upgrade(peer);
        let askable = |index| can_ask(&self.core, peer, index, can_upgrade);
        let look = self.wants.next_in_ranges(&self.core, (id, peer), askable);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.looking = look.more;
        }
        if let Some(index) = look.not_told {
            self.want(id, index);
        }
        look.found.is_some_and(|index| self.ask_block(id, index, 0, now))
    }

    pub(crate) fn ask_block(&mut self, id: PeerId, index: u64, priority: u64, now: Duration) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        let length = self.core.length();
        if !can_ask(&self.core, peer, index, self.can_ask_upgrade(peer)) {
            return false;
        }
        let Some(request) = self.request(peer, index >= length, index + 1) else { return false };
        let Ok(nodes) = (if index < length { self.core.missing_nodes(2 * index) } else { Ok(0) }) else { return false };
        let block = Some(NodeRequest { index, nodes });
        self.ask_with_upgrade(id, Request { block, ..request }, priority, now).is_some()
    }

    /// Asks which blocks of a segment a peer has, once.
    fn want(&mut self, id: PeerId, index: u64) {
        if let Some(start) = self.peers.get_mut(&id).and_then(|peer| peer.want(index)) {
            self.send(id, Message::Want { start, length: SEGMENT, any: false });
        }
    }

    /// Takes back what nobody waits for any more.
    pub(crate) fn prune(&mut self, now: Duration) {
        let gone = self.wants.prune();
        let asked = |request: &Request| request.block.is_some_and(|block| gone.contains(&block.index));
        let ids: Vec<u64> = self.inflight.iter().filter(|(_, a)| asked(&a.request)).map(|(&id, _)| id).collect();
        for id in ids {
            self.cancel(id);
        }
        self.update_all(now);
    }
}

/// Whether a peer that has a block can be asked for it now, which is part of an upgrade if it is beyond our core.
fn can_ask(core: &Hypercore, peer: &Peer, index: u64, can_upgrade: bool) -> bool {
    let needs_upgrade = index >= core.length();
    peer.remote.fork == core.fork() && (can_upgrade || !needs_upgrade) && has_tree_parent(core, peer, index)
}

/// Whether a peer with a shorter tree can prove the block to us: some tree over it is part of both.
fn has_tree_parent(core: &Hypercore, peer: &Peer, index: u64) -> bool {
    let length = core.length();
    if peer.remote.length >= length {
        return true;
    }
    let mut iter = Iter::new(2 * index);
    let mut span = 2;
    while iter.parent().is_some() {
        let left = (iter.index + 1 - iter.factor / 2) / 2;
        let end = left + span;
        if end > length {
            // They share the root.
            return end > peer.remote.length;
        }
        if end > peer.remote.length {
            return false;
        }
        span *= 2;
        if core.find_block(true, left, end).is_some() {
            return true;
        }
    }
    false
}
