//! What is known about one peer of one core.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::credit::Credit;
use super::messages::Sync;
use super::remote_wants::RemoteWants;
use crate::bitfield::Bitfield;
use crate::proof::Request;

/// The number of a peer, given by the driver.
pub(crate) type PeerId = u64;

/// So many requests wait for one peer's answers at most.
pub const MAX_INFLIGHT: usize = 512;

/// So many at least, however slow it answers.
pub const MIN_INFLIGHT: usize = 16;

/// So many bytes of blocks are asked for at once, by the average size of the core's blocks.
pub const MAX_INFLIGHT_BYTES: u64 = 8 << 20;

/// So many requests of a peer wait for our answers at most; one that asks for more loses the connection.
pub const MAX_PEER_REQUESTS: usize = 4096;

/// So many pages of 4096 blocks are remembered of what a peer has beyond what it has from the start. What is beyond is not asked of it.
pub const MAX_REMOTE_PAGES: usize = 8192;

/// A peer that refuses so often what it should know, of its tree or of a history that it told of, is not asked any more.
pub const MAX_REFUSALS: u32 = 32;

/// How many blocks a `want` is about.
pub(crate) const SEGMENT: u64 = 1 << 21;

/// So many segments are asked about at most.
const MAX_WANTED: usize = 8192;

const PAGE: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Peer {
    /// What it said last.
    pub(crate) remote: Sync,
    pub(crate) synced: bool,
    /// The length of ours that it knows.
    pub(crate) acked: u64,
    /// Whether we can prove an upgrade from its length.
    pub(crate) can_upgrade: bool,
    /// What we said last.
    pub(crate) sent: Option<Sync>,
    bits: Bitfield,
    wanted: HashSet<u64>,
    /// Of what it wants to hear.
    pub(crate) remote_wants: RemoteWants,
    /// It knows that all blocks below were here.
    pub(crate) told: u64,
    pub(crate) inflight: usize,
    window: usize,
    fastest: Duration,
    /// A smoothed time from request to answer.
    pub(crate) latency: Duration,
    /// When it last answered, or was first asked after it had answered all.
    pub(crate) heard: Duration,
    /// Bytes that came over its connection, and when the last did that we know of: a part of a large answer, or of one about another
    /// core before it.
    received: u64,
    pub(crate) moved: Duration,
    /// It has answered nothing for so long that nobody waits for it; it may be asked still.
    pub(crate) is_late: bool,
    /// The last request that another was asked instead.
    pub(crate) given_up: Option<u64>,
    /// Nothing is asked of it: what it sent was wrong.
    pub(crate) paused: bool,
    /// When it was paused.
    pub(crate) suspected: Option<Duration>,
    /// What it waits for.
    pub(crate) requests: VecDeque<(u64, u64, Request)>,
    pub(crate) invalid_requests: u32,
    /// It said unasked that there are two histories.
    pub(crate) warned: bool,
    refusals: u32,
    /// What it refused is not asked of it before.
    pub(crate) rests_until: Option<Duration>,
    /// It may have more of what is wanted than was looked at.
    pub(crate) looking: bool,
    /// As that, of what someone waits for.
    pub(crate) looking_for_waiting: bool,
    /// How much may be searched because of what it says.
    pub(crate) credit: Credit,
    pub(crate) last_extension: String,
    pub(crate) last_sent_extension: String,
}

impl Peer {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            remote: Sync { uploading: true, downloading: true, ..Sync::default() },
            synced: false,
            acked: 0,
            can_upgrade: true,
            sent: None,
            bits: Bitfield::default(),
            wanted: HashSet::new(),
            remote_wants: RemoteWants::default(),
            told: 0,
            inflight: 0,
            window: 64,
            fastest: Duration::MAX,
            latency: Duration::from_millis(50),
            heard: now,
            received: 0,
            moved: now,
            is_late: false,
            given_up: None,
            paused: false,
            suspected: None,
            requests: VecDeque::new(),
            invalid_requests: 0,
            warned: false,
            refusals: 0,
            rests_until: None,
            looking: false,
            looking_for_waiting: false,
            credit: Credit::new(now),
            last_extension: String::new(),
            last_sent_extension: String::new(),
        }
    }

    pub(crate) fn has(&self, index: u64) -> bool {
        index < self.remote.length && self.bits.get(index)
    }

    /// Which of 64 blocks it has.
    pub(crate) fn word(&self, word: u64) -> u64 {
        self.bits.word(word)
    }

    /// The first of these blocks that it has.
    pub(crate) fn first(&self, start: u64, end: u64) -> Option<u64> {
        self.bits.find(true, start, end.min(self.remote.length))
    }

    /// The first word from `word` on of which it may have a block.
    pub(crate) fn next_word(&self, word: u64) -> Option<u64> {
        self.bits.next_word(word)
    }

    pub(crate) fn has_all(&self, start: u64, end: u64) -> bool {
        self.bits.find(false, start, end).is_none()
    }

    pub(crate) fn set_range(&mut self, start: u64, length: u64, has: bool) {
        let end = start.saturating_add(length).min(encoding::MAX_SAFE_INTEGER);
        let room = (MAX_REMOTE_PAGES.saturating_sub(self.bits.pages()) as u64).saturating_mul(PAGE);
        let contiguous = self.bits.contiguous();
        if has && start <= contiguous {
            self.bits.set(start, end);
        } else if has {
            self.bits.set(start, end.min(start.saturating_add(room)));
        } else if start < contiguous && contiguous - start > room {
            // What is behind the gap does not fit: it is asked about anew.
            self.bits = Bitfield::new(start);
            self.wanted.clear();
        } else {
            self.bits.unset(start, end);
        }
        self.bits.forget_dirty();
    }

    /// It does not have what was asked for; it is not asked again before it says that it has.
    pub(crate) fn refused(&mut self, request: &Request) {
        if let Some(block) = request.block {
            self.set_range(block.index, 1, false);
        }
        if request.upgrade.is_some() {
            self.remote.can_upgrade = false;
        }
        if request.manifest {
            self.remote.has_manifest = false;
        }
    }

    /// It refused something about which nothing is known that would keep us from asking it again at once. It rests as JavaScript's
    /// do after what they cannot answer.
    pub(crate) fn rest(&mut self, now: Duration) {
        self.refusals += 1;
        self.paused |= self.refusals >= MAX_REFUSALS;
        let rest = match self.refusals {
            1 => 200,
            2..=4 => 500,
            _ => 1000,
        };
        self.rests_until = Some(now + Duration::from_millis(rest));
    }

    /// Whether it may be asked for what it may have refused before.
    pub(crate) fn is_rested(&self, now: Duration) -> bool {
        self.rests_until.is_none_or(|until| now >= until)
    }

    /// Whether a search for what it has is to go on.
    pub(crate) fn looks_on(&self) -> bool {
        (self.looking || self.looking_for_waiting || self.credit.owes()) && !self.paused
    }

    /// It sent what it was asked for.
    pub(crate) fn gave(&mut self) {
        self.refusals = 0;
        self.rests_until = None;
    }

    /// Takes a bitfield over: it is the truth about its blocks. As JavaScript, none that begins within a word.
    pub(crate) fn set_bits(&mut self, start: u64, words: &[u32]) {
        let end = start.saturating_add(32 * words.len() as u64);
        if end > encoding::MAX_SAFE_INTEGER || !start.is_multiple_of(32) {
            return;
        }
        self.set_range(start, end - start, false);
        self.bits.insert_words(start, words, MAX_REMOTE_PAGES);
        self.bits.forget_dirty();
    }

    /// The segment of a block that was not asked about yet, if there is one.
    pub(crate) fn want(&mut self, index: u64) -> Option<u64> {
        let segment = index / SEGMENT;
        (self.may_say_more(index) && self.wanted.insert(segment)).then_some(segment * SEGMENT)
    }

    /// Whether it was not asked yet about the segment of a block.
    pub(crate) fn may_say_more(&self, index: u64) -> bool {
        // Those far beyond its length say nothing.
        let known = index < self.bits.contiguous() || index >= self.remote.length;
        !known && self.wanted.len() < MAX_WANTED && !self.wanted.contains(&(index / SEGMENT))
    }

    /// It has another history: what it was asked about the former may be asked again.
    pub(crate) fn ask_anew(&mut self) {
        self.wanted.clear();
    }

    /// So many bytes came over its connection so far.
    pub(crate) fn received(&mut self, bytes: u64, now: Duration) {
        if bytes != self.received {
            (self.received, self.moved) = (bytes, now);
        }
    }

    /// How many requests may wait.
    pub(crate) fn window(&self, block_bytes: u64) -> usize {
        let by_bytes = usize::try_from(MAX_INFLIGHT_BYTES / block_bytes.max(1)).unwrap_or(usize::MAX);
        self.window.min(by_bytes.max(MIN_INFLIGHT))
    }

    /// Learns from an answer: more is asked at once as long as it does not make the answers late.
    pub(crate) fn answered(&mut self, sent: Duration, now: Duration) {
        let took = now.saturating_sub(sent);
        self.heard = now;
        self.is_late = false;
        self.fastest = self.fastest.min(took);
        self.latency = (self.latency * 7 + took) / 8;
        if took < self.fastest * 2 + Duration::from_millis(50) {
            self.window = (self.window + 1).min(MAX_INFLIGHT);
        } else {
            self.window = (self.window - self.window / 64).max(MIN_INFLIGHT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        let mut peer = Peer::new(Duration::ZERO);
        peer.remote.length = 1 << 40;
        peer
    }

    #[test]
    fn a_bitfield_is_the_truth_about_its_blocks() {
        let mut peer = peer();
        peer.set_range(0, 40, true);
        peer.set_bits(32, &[0b101, u32::MAX]);
        let has: Vec<u64> = (0..200).filter(|&index| peer.has(index)).collect();
        assert_eq!(has, (0..=32).chain([34]).chain(64..96).collect::<Vec<_>>());
        peer.set_bits(33, &[0]);
        assert!(peer.has(34));
        peer.set_bits(encoding::MAX_SAFE_INTEGER - 31, &[u32::MAX]);
        peer.set_bits(u64::MAX - 31, &[u32::MAX]);
    }

    #[test]
    fn what_a_bitfield_makes_us_remember_is_bounded() {
        let mut peer = peer();
        // As large as a message can be.
        let words = vec![0x5555_5555; 4 << 20];
        for part in 0..4 {
            peer.set_bits(part * 32 * words.len() as u64, &words);
        }
        assert_eq!(peer.bits.pages(), MAX_REMOTE_PAGES);
        assert!(peer.has(0) && !peer.has(1) && peer.has(PAGE * MAX_REMOTE_PAGES as u64 - 2));
        // All of it takes none.
        let words = vec![u32::MAX; 4 << 20];
        peer.set_bits(0, &words);
        assert_eq!(peer.bits.pages(), 0);
        assert!(peer.has(32 * words.len() as u64 - 1));
    }
}
