//! What peers owe for long.

use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::time::Duration;

use super::peer::{Peer, PeerId};
use super::replicator::{CONFLICT_TIMEOUT, Offence, Output, Replicator, STALLED};
use super::schedule::PRIORITY_WAITED_FOR;

/// A block is asked of another peer too when its answer takes so much longer than usual.
const SLOW: u32 = 4;

/// But not before this.
const SLOW_MIN: Duration = Duration::from_millis(250);

/// Nor later than this.
const SLOW_MAX: Duration = Duration::from_secs(3);

/// So many peers are asked for one block at most.
const MAX_ASKED: u32 = 3;

impl Replicator {
    /// Looks after what takes long. When to look again, if something is under way.
    pub(crate) fn tick(&mut self, now: Duration) -> Option<Duration> {
        for (&id, peer) in &mut self.peers {
            peer.is_late |= peer.inflight > 0 && now >= peer.heard + STALLED;
            if peer.is_late && peer.inflight > 0 && now >= peer.heard.max(peer.moved) + STALLED {
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
            self.seeks_from_another(now);
            self.ask_others(now);
        }
        // Where answers are to come, the search goes on with them.
        let looks_on = |peer: &Peer| peer.looks_on() && peer.inflight == 0 && peer.credit.is_left(now);
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
            self.look(id, now);
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

    /// The peers after one, in turn: those who hold things up together are asked once before all others were.
    fn others(&self, owes: PeerId) -> impl Iterator<Item = (PeerId, &Peer)> {
        let after = self.peers.range((Bound::Excluded(owes), Bound::Unbounded));
        after.chain(self.peers.range(..owes)).map(|(&id, peer)| (id, peer))
    }

    /// Takes a request back that another peer is asked instead.
    fn give_up(&mut self, number: u64, owes: PeerId) {
        self.cancel(number);
        if let Some(peer) = self.peers.get_mut(&owes) {
            peer.is_late = true;
            peer.given_up = Some(number);
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
        let other = self.others(owes).find(|(_, peer)| able(peer)).map(|(id, _)| id);
        if let Some(other) = other {
            self.give_up(number, owes);
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
        let other = self.others(owes).find(|(_, peer)| able(peer)).map(|(id, _)| id);
        if let Some(other) = other {
            self.give_up(number, owes);
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
        let other = self.others(owes).find(|(_, peer)| able(peer)).map(|(id, _)| id);
        if let Some(other) = other {
            self.give_up(number, owes);
            if found {
                self.ask_reorg(other, now);
            } else {
                self.update_fork(other, now);
            }
        }
    }

    /// Asks other peers for the seeks that one owes for long.
    fn seeks_from_another(&mut self, now: Duration) {
        for at in 0..self.wants.seeks.len() {
            let Some((number, owes)) = self.is_late(self.wants.seeks[at].inflight, now) else { continue };
            let others: Vec<PeerId> = self.others(owes).map(|(id, _)| id).collect();
            if others.into_iter().any(|id| self.ask_seek_at(id, at, now)) {
                self.give_up(number, owes);
            }
        }
    }

    /// Asks faster peers for the blocks that slow ones owe.
    fn ask_others(&mut self, now: Duration) {
        let mut slow = Vec::new();
        for asked in self.inflight.values() {
            let Some(block) = asked.request.block else { continue };
            let age = now.saturating_sub(asked.sent);
            if age >= SLOW_MIN {
                slow.push((asked.sent, block.index, asked.peer, age));
            }
        }
        if slow.is_empty() {
            return;
        }
        slow.sort_unstable();
        let block_bytes = self.average_block();
        let mut owed: HashSet<(PeerId, u64)> = HashSet::new();
        // Those who answer nothing do not count: together they could keep a block from all others.
        let mut asked_of: HashMap<u64, u32> = HashMap::new();
        for asked in self.inflight.values() {
            let Some(block) = asked.request.block else { continue };
            owed.insert((asked.peer, block.index));
            if self.peers.get(&asked.peer).is_some_and(|peer| !peer.is_late) {
                *asked_of.entry(block.index).or_default() += 1;
            }
        }
        for (_, index, owes, age) in slow {
            if asked_of.get(&index).is_some_and(|&peers| peers >= MAX_ASKED) {
                continue;
            }
            let other = self.peers.iter().find(|(id, peer)| {
                let late = age >= (peer.latency * SLOW).clamp(SLOW_MIN, SLOW_MAX);
                let free = !peer.paused && peer.inflight < peer.window(block_bytes);
                **id != owes && late && free && peer.has(index) && !owed.contains(&(**id, index))
            });
            if let Some((&id, _)) = other
                && self.ask_block(id, index, PRIORITY_WAITED_FOR, now)
            {
                owed.insert((id, index));
                *asked_of.entry(index).or_default() += 1;
            }
        }
    }
}
