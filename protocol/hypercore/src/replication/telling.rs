//! What peers are told about the blocks that are here.

use tracing::debug;

use super::messages::{Message, Sync};
use super::peer::{Peer, PeerId, SEGMENT};
use super::remote_wants::LAST_BLOCKS;
use super::replicator::{Known, Replicator};
use crate::proof::{Request, UpgradeRequest};

/// Blocks that were appended with gaps are told of in so many ranges at most, else as a bitfield.
const MAX_RUNS: usize = 64;

/// Bitfields for all but small wishes are whole pages of so many blocks.
const PAGE: u64 = 32_768;

impl Replicator {
    pub(crate) fn told_contiguous(&self) -> u64 {
        self.core.contiguous_length().min(self.known.length)
    }

    /// Tells a peer, that knows nothing yet, of what is here from the start.
    pub(crate) fn tell_contiguous(&mut self, id: PeerId) {
        let contiguous = self.told_contiguous();
        if contiguous > 0 {
            self.set_told(id, contiguous);
            self.send(id, Message::Range { drop: false, start: 0, length: contiguous });
        }
    }

    fn set_told(&mut self, id: PeerId, told: u64) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.told = told;
        }
    }

    /// Tells of what came or went, as JavaScript does: of what came far from the end only those who want to hear of it, and all when
    /// everything is here.
    pub(crate) fn tell_range(&mut self, start: u64, length: u64, drop: bool) {
        if length == 0 {
            return;
        }
        let (end, known) = (start + length, self.known.length);
        let whole = !drop && self.told_contiguous() == known;
        let everywhere = drop || whole || start + LAST_BLOCKS >= known;
        let tell = |peer: &Peer| {
            let wanted = everywhere || peer.remote_wants.has_range(start, length);
            let first = if whole { peer.told.min(start) } else { start };
            !peer.paused && wanted && (drop || !peer.has_all(first, end))
        };
        let ids: Vec<PeerId> = self.peers.iter().filter(|(_, peer)| tell(peer)).map(|(&id, _)| id).collect();
        for id in ids {
            let told = self.peers.get(&id).map_or(0, |peer| peer.told);
            // It was not told of all that is before.
            let start = if whole && told < start { 0 } else { start };
            let end = if whole { known } else { end };
            if whole {
                self.set_told(id, end);
            } else if drop {
                self.set_told(id, told.min(start));
            } else if start <= told {
                self.set_told(id, told.max(end));
            }
            self.send(id, Message::Range { drop, start, length: end - start });
        }
    }

    /// Tells of blocks that were appended here. Some may have been cleared since: of each of the others is told, because nobody
    /// will say it again.
    pub(crate) fn tell_appended(&mut self, before: u64, length: u64) {
        if before >= length {
            return;
        }
        if self.core.find_block(false, before, length).is_none() {
            return self.tell_range(before, length - before, false);
        }
        if !self.core.is_writable() {
            // What is appended by others comes block by block, and is told of so.
            return;
        }
        let mut at = before;
        for _ in 0..MAX_RUNS {
            let Some(start) = self.core.find_block(true, at, length) else { return };
            at = self.core.find_block(false, start, length).unwrap_or(length);
            self.tell_range(start, at - start, false);
        }
        if at < length {
            let ids: Vec<PeerId> = self.peers.keys().copied().collect();
            for id in ids {
                self.tell_bitfield(id, at / PAGE * PAGE, length);
            }
        }
    }

    /// The core is frozen, and stays as it is: a peer is shown what the owner signed here. Whoever has the other history learns
    /// by that what happened.
    pub(crate) fn tell_conflict(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let Sync { fork, length: theirs, .. } = peer.remote;
        let Known { fork: ours, length, .. } = self.known;
        // What is not on disk yet is told to nobody.
        if theirs == 0 || fork != ours || self.core.length() != length {
            return;
        }
        let upgrade = Some(UpgradeRequest { start: 0, length: length.min(theirs) });
        match self.core.proof_now(&Request { upgrade, ..Request::default() }) {
            Ok(proof) => self.send(id, Message::Data { request: 0, proof: Box::new(proof) }),
            Err(error) => debug!(%error, "cannot show what was signed"),
        }
    }

    pub(crate) fn on_want(&mut self, id: PeerId, start: u64, length: u64, any: bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.remote_wants.add(start, length, any) {
            return;
        }
        let (local, contiguous) = (self.known.length, self.told_contiguous());
        let end = start.saturating_add(length);
        if end < contiguous || local == contiguous || any && start < contiguous {
            return self.send(id, Message::Range { drop: false, start: 0, length: contiguous });
        }
        let end = end.min(local);
        if !any {
            self.tell_bitfield(id, start, if length < PAGE { end } else { end.max(start + 1).next_multiple_of(PAGE) });
        } else if let Some(start) = self.core.find_block(true, start, end) {
            self.send(id, Message::Range { drop: false, start, length: 1 });
        }
    }

    /// Which blocks are here, in segments.
    fn tell_bitfield(&mut self, id: PeerId, start: u64, end: u64) {
        let mut at = start / 32 * 32;
        while at < end.min(self.known.length) {
            let to = (at + SEGMENT).min(end.next_multiple_of(32));
            let words = (at..to).step_by(32).map(|block| {
                let word = self.core.bitfield_word(block / 64);
                (if block % 64 == 0 { word } else { word >> 32 }) as u32
            });
            let words = words.collect();
            self.send(id, Message::Bitfield { start: at, words });
            at = to;
        }
    }
}
