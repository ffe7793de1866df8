//! Who is asked for what, and when.

use std::collections::HashSet;
use std::time::Duration;

use super::messages::Message;
use super::peer::{Peer, PeerId, SEGMENT};
use super::replicator::{CONFLICT_TIMEOUT, Inflight, Offence, Output, Replicator, STALLED};
use crate::Hypercore;
use crate::flat_tree::{Iter, depth};
use crate::merkle::Seek;
use crate::proof::{NodeRequest, Request, SeekRequest, UpgradeRequest};

/// As JavaScript: a block that someone waits for.
const PRIORITY_WAITED_FOR: u64 = 1;

/// A block is asked of another peer too when its answer takes so much longer than usual.
const SLOW: u32 = 4;

/// But not before this.
const SLOW_MIN: Duration = Duration::from_millis(250);

/// Nor later than this.
const SLOW_MAX: Duration = Duration::from_secs(3);

/// So many blocks that a peer has are tried for one that it can prove.
const MAX_TRIES: usize = 64;

/// So many peers are asked for one block at most.
const MAX_ASKED: u32 = 3;

impl Replicator {
    fn average_block(&self) -> u64 {
        let (_, length, bytes) = self.core.signed_size();
        bytes / length.max(1)
    }

    pub(crate) fn update_all(&mut self, now: Duration) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.update(id, now);
        }
    }

    /// Asks a peer for as much as it may be asked for.
    pub(crate) fn update(&mut self, id: PeerId, now: Duration) {
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
                || self.ask_queued(id, now)
                || self.ask_range(id, now)
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

    fn ask_manifest(&mut self, id: PeerId, now: Duration) -> bool {
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

    fn ask_upgrade(&mut self, id: PeerId, now: Duration) -> bool {
        let request = self.peers.get(&id).and_then(|peer| self.request(peer, true, 0));
        request.is_some_and(|request| self.ask_with_upgrade(id, request, 0, now).is_some())
    }

    fn ask_seek(&mut self, id: PeerId, now: Duration) -> bool {
        for at in 0..self.wants.seeks.len() {
            let Some(peer) = self.peers.get(&id) else { return false };
            let want = &self.wants.seeks[at];
            let bytes = want.bytes;
            if want.inflight.is_some() || peer.remote.fork != self.core.fork() || !peer.is_rested(now) {
                continue;
            }
            let Ok(Seek::Between { start, end }) = self.core.seek(bytes) else { continue };
            let seek = Some(SeekRequest { bytes, padding: self.core.padding() });
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
            if let Some(request) = request {
                let number = self.ask_with_upgrade(id, request, 0, now);
                self.wants.seeks[at].inflight = number;
                return true;
            }
        }
        false
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
        let usable = |index| peer.has(index) && can_ask(core, peer, index, can_upgrade);
        let not_there = |index| {
            if !peer.has(index) {
                not_told.push(index);
            }
        };
        let index = self.wants.next_queued(usable, not_there);
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

    fn ask_block(&mut self, id: PeerId, index: u64, priority: u64, now: Duration) -> bool {
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

    /// Looks after what takes long. When to look again, if something is under way.
    pub(crate) fn tick(&mut self, now: Duration) -> Option<Duration> {
        for (&id, peer) in &self.peers {
            let stalled = peer.inflight > 0 && now >= peer.heard + STALLED;
            if stalled {
                self.outputs.push(Output::Drop(id, Offence::Stalled));
            }
            if peer.suspected.is_some_and(|since| now >= since + CONFLICT_TIMEOUT) {
                self.outputs.push(Output::Drop(id, Offence::InvalidProof("it could not prove what it sent".into())));
            }
        }
        self.ask_rested(now);
        self.look_on(now);
        if self.peers.len() > 1 {
            self.manifest_from_another(now);
            self.upgrade_from_another(now);
            self.reorg_from_another(now);
            self.ask_others(now);
        }
        // Where answers are to come, the search goes on with them.
        let looks_on = |peer: &Peer| peer.looks_on() && peer.inflight == 0;
        let after = if self.peers.values().any(looks_on) { Duration::ZERO } else { SLOW_MIN };
        self.needs_tick().then_some(after)
    }

    /// Whether there is something to look after.
    pub(crate) fn needs_tick(&self) -> bool {
        let late = |peer: &Peer| peer.suspected.is_some() || peer.rests_until.is_some() || peer.looks_on();
        !self.inflight.is_empty() || self.peers.values().any(late)
    }

    /// Searches that were cut short go on.
    fn look_on(&mut self, now: Duration) {
        let ids: Vec<PeerId> = self.peers.iter().filter(|(_, peer)| peer.looks_on()).map(|(&id, _)| id).collect();
        for id in ids {
            self.update(id, now);
        }
    }

    /// Peers that refused something are asked again.
    fn ask_rested(&mut self, now: Duration) {
        let mut rested = Vec::new();
        for (&id, peer) in &mut self.peers {
            if peer.rests_until.is_some_and(|until| now >= until) {
                peer.rests_until = None;
                rested.push(id);
            }
        }
        for id in rested {
            self.update_fork(id, now);
            self.update(id, now);
        }
    }

    /// What one peer owes for long, if it may be asked of another.
    fn is_late(&self, number: Option<u64>, now: Duration) -> Option<(u64, PeerId)> {
        let number = number?;
        let asked = self.inflight.get(&number)?;
        (now.saturating_sub(asked.sent) >= SLOW_MAX).then_some((number, asked.peer))
    }

    /// Asks another peer for the manifest that one owes for long.
    fn manifest_from_another(&mut self, now: Duration) {
        let Some((number, owes)) = self.is_late(self.manifest, now) else { return };
        let able = |peer: &Peer| !peer.paused && peer.remote.length == 0 && peer.remote.has_manifest;
        let other = self.peers.iter().find(|(id, peer)| **id != owes && able(peer)).map(|(&id, _)| id);
        if let Some(other) = other {
            self.cancel(number);
            self.ask_manifest(other, now);
        }
    }

    /// Asks another peer for the upgrade that one owes for long.
    fn upgrade_from_another(&mut self, now: Duration) {
        let Some((number, owes)) = self.is_late(self.upgrade, now) else { return };
        let (length, fork) = (self.core.length(), self.core.fork());
        let able = |peer: &Peer| {
            let remote = &peer.remote;
            let longer = remote.fork == fork && remote.length > length && remote.can_upgrade;
            !peer.paused && longer && peer.acked == length
        };
        let other = self.peers.iter().find(|(id, peer)| **id != owes && able(peer)).map(|(&id, _)| id);
        if let Some(other) = other {
            self.cancel(number);
            self.ask_upgrade(other, now);
        }
    }

    /// Asks another peer for what one owes for long about a newer history.
    fn reorg_from_another(&mut self, now: Duration) {
        let Some(reorg) = &self.reorg else { return };
        let Some((number, owes)) = self.is_late(reorg.inflight, now) else { return };
        let (fork, found) = (reorg.fork, reorg.found.is_some());
        // A claim that is not proven yields to any; what is proven is of use to those who have it.
        let able = |peer: &Peer| {
            let remote = &peer.remote;
            let newer = if found { remote.fork == fork } else { remote.fork > self.core.fork() };
            !peer.paused && newer && remote.length > 0
        };
        let other = self.peers.iter().find(|(id, peer)| **id != owes && able(peer)).map(|(&id, _)| id);
        if let Some(other) = other {
            self.cancel(number);
            if found {
                self.ask_reorg(other, now);
            } else {
                self.update_fork(other, now);
            }
        }
    }

    /// Asks faster peers for the blocks that slow ones owe.
    fn ask_others(&mut self, now: Duration) {
        let mut slow = Vec::new();
        for asked in self.inflight.values() {
            let Some(block) = asked.request.block else { continue };
            let age = now.saturating_sub(asked.sent);
            if age < SLOW_MIN || self.wants.times_asked(block.index) >= MAX_ASKED {
                continue;
            }
            slow.push((asked.sent, block.index, asked.peer, age));
        }
        slow.sort_unstable();
        let block_bytes = self.average_block();
        let owed = |asked: &Inflight| Some((asked.peer, asked.request.block?.index));
        let mut owed: HashSet<(PeerId, u64)> = self.inflight.values().filter_map(owed).collect();
        for (_, index, owes, age) in slow {
            let other = self.peers.iter().find(|(id, peer)| {
                let late = age >= (peer.latency * SLOW).clamp(SLOW_MIN, SLOW_MAX);
                let free = !peer.paused && peer.inflight < peer.window(block_bytes);
                **id != owes && late && free && peer.has(index) && !owed.contains(&(**id, index))
            });
            if let Some((&id, _)) = other
                && self.ask_block(id, index, PRIORITY_WAITED_FOR, now)
            {
                owed.insert((id, index));
            }
        }
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
