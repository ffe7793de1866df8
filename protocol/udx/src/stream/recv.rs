//! What arrived and was not read yet: bytes in order, and packets that wait for an earlier one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::window;
use crate::blocks;
use crate::packet::flags;

/// Packets further ahead of the expected one are dropped: more than any window of full packets, half of what fits the
/// senders' SACK scan.
pub(super) const MAX_AHEAD: u64 = 32_768;
/// What a packet out of order costs beyond its bytes.
pub(super) const HELD_OVERHEAD: usize = 96;
/// Smallest and largest block in which ordered bytes are collected.
const MIN_CHUNK: usize = 2 << 10;
const MAX_CHUNK: usize = 256 << 10;
/// Less room than this in a block is not kept for the next packet. What fits here and meets no block, a keep-alive on an idle stream,
/// gets one of its own size: then there is nothing to give back when the stream goes on being idle.
const MIN_SPARE: usize = 64;

#[derive(Debug)]
struct Held {
    flags: u8,
    data: Bytes,
}

/// The receiving half's memory.
#[derive(Debug)]
pub(super) struct Inbox {
    /// The next packet number that is expected.
    next: u64,
    /// Ordered bytes; packets are appended to the last block.
    ordered: VecDeque<BytesMut>,
    unread: usize,
    chunk_size: usize,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// Held packet numbers as ranges; sorted, disjoint, not touching.
    ranges: Vec<Range<u64>>,
    ended: bool,
    /// Nobody will read: bytes are acknowledged and dropped.
    discard: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Insert {
    /// In order, or held for later.
    Taken,
    /// Known already.
    Duplicate,
    /// Beyond a limit; to the peer it looks lost.
    Refused,
}

impl Inbox {
    pub(super) fn new(first: u64) -> Self {
        Self {
            next: first,
            ordered: VecDeque::new(),
            unread: 0,
            chunk_size: MIN_CHUNK,
            held: BTreeMap::new(),
            held_bytes: 0,
            ranges: Vec::new(),
            ended: false,
            discard: false,
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn set_next(&mut self, first: u64) {
        self.next = first;
    }

    /// All bytes up to the end are in order.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn unread(&self) -> usize {
        self.unread
    }

    /// The window to advertise: what the reader left free.
    pub(super) fn window(&self) -> u32 {
        window::advertised(self.unread)
    }

    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Ranges of packets held out of order, ascending.
    pub(super) fn held_ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Takes a numbered packet.
    pub(super) fn insert(&mut self, seq: u64, packet_flags: u8, payload: &[u8]) -> Insert {
        if seq < self.next || self.ended {
            return Insert::Duplicate;
        }
        let is_next = seq == self.next;
        let has_room =
            window::takes(self.memory(), payload.len()) || (is_next && window::promises(self.unread, payload.len()));
        if seq - self.next >= MAX_AHEAD || !has_room {
            return Insert::Refused;
        }
        if is_next {
            self.deliver(packet_flags, payload);
            self.next += 1;
            if !self.held.is_empty() {
                self.drain();
            }
            return Insert::Taken;
        }
        if self.held.contains_key(&seq) {
            return Insert::Duplicate;
        }
        self.held_bytes += payload.len() + HELD_OVERHEAD;
        self.held.insert(seq, Held { flags: packet_flags, data: Bytes::copy_from_slice(payload) });
        self.add_range(seq);
        Insert::Taken
    }

    fn memory(&self) -> usize {
        self.unread + self.held_bytes
    }

    fn deliver(&mut self, packet_flags: u8, payload: &[u8]) {
        if packet_flags & flags::DATA != 0 && !self.discard {
            self.append(payload);
        }
        self.ended |= packet_flags & flags::END != 0;
    }

    fn append(&mut self, mut payload: &[u8]) {
        self.unread += payload.len();
        while !payload.is_empty() {
            let room = self.ordered.back().map_or(0, |last| last.capacity() - last.len());
            if room == 0 {
                if self.ordered.back().is_some_and(|last| !last.is_empty()) {
                    // The reader did not come before the block was full.
                    self.chunk_size = (self.chunk_size * 2).min(MAX_CHUNK);
                } else {
                    self.ordered.pop_back();
                }
                let short = self.ordered.is_empty() && payload.len() < MIN_SPARE;
                let size = if short { payload.len() } else { self.chunk_size.max(payload.len()) };
                self.ordered.push_back(blocks::take(size));
                continue;
            }
            let (now, later) = payload.split_at(payload.len().min(room));
            if let Some(last) = self.ordered.back_mut() {
                last.extend_from_slice(now);
            }
            payload = later;
        }
    }

    fn drain(&mut self) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() != self.next || self.ended {
                break;
            }
            let held = entry.remove();
            self.held_bytes -= held.data.len() + HELD_OVERHEAD;
            self.deliver(held.flags, &held.data);
            self.next += 1;
        }
        if self.ended {
            self.held.clear();
            self.held_bytes = 0;
            self.ranges.clear();
            return;
        }
        let next = self.next;
        let gone = self.ranges.partition_point(|range| range.end <= next);
        self.ranges.drain(..gone);
    }

    fn add_range(&mut self, seq: u64) {
        let at = self.ranges.partition_point(|range| range.end < seq);
        let touches_left = self.ranges.get(at).is_some_and(|range| range.end == seq);
        let right = at + usize::from(touches_left);
        let touches_right = self.ranges.get(right).is_some_and(|range| range.start == seq + 1);
        match (touches_left, touches_right) {
            (true, true) => {
                self.ranges[at].end = self.ranges[right].end;
                self.ranges.remove(right);
            }
            (true, false) => self.ranges[at].end = seq + 1,
            (false, true) => self.ranges[at].start = seq,
            (false, false) => self.ranges.insert(at, seq..seq + 1),
        }
    }

    /// The next block of ordered bytes.
    ///
    /// Two blocks in a row often lie next to each other in memory, so that `BytesMut::unsplit` joins them for nothing.
    pub(super) fn read(&mut self) -> Option<BytesMut> {
        if self.unread == 0 {
            return None;
        }
        let block = if self.ordered.len() > 1 { self.ordered.pop_front()? } else { self.ordered.front_mut()?.split() };
        self.unread -= block.len();
        if self.unread == 0 && self.ordered.back().is_some_and(|last| last.capacity() < MIN_SPARE) {
            self.ordered.clear();
        }
        Some(block)
    }

    /// Copies ordered bytes out.
    pub(super) fn read_into(&mut self, out: &mut tokio::io::ReadBuf<'_>) -> usize {
        let before = out.remaining();
        while out.remaining() > 0 && self.unread > 0 {
            let Some(front) = self.ordered.front_mut() else { break };
            let len = front.len().min(out.remaining());
            out.put_slice(&front[..len]);
            front.advance(len);
            self.unread -= len;
            if front.is_empty() && self.ordered.len() > 1 {
                self.ordered.pop_front();
            }
        }
        before - out.remaining()
    }

    /// Gives spare memory back; called when a stream was idle for a while.
    pub(super) fn trim(&mut self) {
        if self.unread == 0 {
            self.ordered = VecDeque::new();
            self.chunk_size = MIN_CHUNK;
        }
    }

    /// Whether [`Inbox::trim`] would free anything.
    pub(super) fn has_spare(&self) -> bool {
        self.unread == 0 && !self.ordered.is_empty()
    }

    /// Whether there will be something to [`trim`](Inbox::trim) when all is read.
    pub(super) fn will_spare(&self) -> bool {
        self.ordered.back().is_some_and(|last| last.capacity() - last.len() >= MIN_SPARE)
    }

    /// Nobody will read any more.
    pub(super) fn discard(&mut self) {
        self.discard = true;
        self.ordered = VecDeque::new();
        self.unread = 0;
    }

    /// Drops what waits for earlier packets; what is in order stays readable.
    pub(super) fn drop_held(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::{RECEIVE_WINDOW, WINDOW_SLACK};
    use super::*;
    use proptest::prelude::*;

    fn all(inbox: &mut Inbox) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(block) = inbox.read() {
            bytes.extend_from_slice(&block);
        }
        bytes
    }

    #[test]
    fn orders_packets() {
        let mut inbox = Inbox::new(5);
        assert_eq!(inbox.insert(7, flags::DATA, b"c"), Insert::Taken);
        assert_eq!(inbox.insert(7, flags::DATA, b"c"), Insert::Duplicate);
        assert_eq!(inbox.insert(8, flags::END, b""), Insert::Taken);
        assert_eq!(inbox.held_ranges().iter().cloned().flatten().collect::<Vec<_>>(), [7, 8]);
        assert_eq!(inbox.held_ranges().len(), 1);
        assert_eq!(inbox.insert(5, flags::DATA, b"a"), Insert::Taken);
        assert_eq!(inbox.insert(4, flags::DATA, b"-"), Insert::Duplicate);
        assert!(!inbox.ended());
        assert_eq!(inbox.insert(6, flags::DATA, b"b"), Insert::Taken);
        assert!(inbox.ended() && !inbox.has_held());
        assert_eq!((inbox.next(), all(&mut inbox)), (9, b"abc".to_vec()));
    }

    #[test]
    fn refuses_what_is_far_ahead() {
        let mut inbox = Inbox::new(0);
        assert_eq!(inbox.insert(MAX_AHEAD, flags::DATA, b"x"), Insert::Refused);
        assert_eq!(inbox.insert(MAX_AHEAD - 1, flags::DATA, b"x"), Insert::Taken);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut inbox = Inbox::new(0);
        for seq in 0..100_000 {
            inbox.insert(seq + 1, flags::DATA, &[0; 1400]);
        }
        assert!(inbox.memory() <= RECEIVE_WINDOW + WINDOW_SLACK);
        let mut inbox = Inbox::new(0);
        for seq in 0..100_000 {
            inbox.insert(seq, flags::DATA, &[0; 1400]);
        }
        assert!(inbox.memory() <= RECEIVE_WINDOW + WINDOW_SLACK);
        assert_eq!(inbox.window(), 0);
        // Full behind a hole, and then what is missing, which nobody reads.
        let mut inbox = Inbox::new(0);
        for seq in (50_000 - MAX_AHEAD..50_000).chain(0..50_000) {
            inbox.insert(seq, flags::DATA, &[0; 1400]);
        }
        assert!(inbox.memory() <= 2 * RECEIVE_WINDOW + WINDOW_SLACK);
        assert_eq!(inbox.window(), 0);
    }

    #[test]
    fn what_is_missing_is_taken_however_much_waits_behind_it() {
        let mut inbox = Inbox::new(0);
        let refused = (2..).find(|seq| inbox.insert(*seq, flags::DATA, &[0; 1400]) == Insert::Refused);
        for seq in [0, 1] {
            assert_eq!(inbox.insert(seq, flags::DATA, &[0; 1400]), Insert::Taken);
        }
        assert_eq!(Some(inbox.next()), refused);
        assert_eq!(inbox.held_bytes, 0);
    }

    #[test]
    fn a_keep_alive_on_an_idle_stream_leaves_nothing_to_give_back() {
        let mut inbox = Inbox::new(0);
        for seq in 0..3 {
            inbox.insert(seq, flags::DATA, &[7; 20]);
            assert!(!inbox.will_spare());
            assert_eq!(all(&mut inbox).len(), 20);
            assert!(!inbox.has_spare());
        }
        // Two in a row are traffic, and so is what is longer.
        inbox.insert(3, flags::DATA, &[7; 20]);
        inbox.insert(4, flags::DATA, &[7; 20]);
        assert!(inbox.will_spare());
        assert_eq!(all(&mut inbox).len(), 40);
        assert!(inbox.has_spare());
        inbox.trim();
        inbox.insert(5, flags::DATA, &[7; 200]);
        assert!(inbox.will_spare());
    }

    #[test]
    fn blocks_follow_each_other_in_memory() {
        let mut inbox = Inbox::new(0);
        for seq in 0..1000 {
            inbox.insert(seq, flags::DATA, &[7; 1000]);
        }
        all(&mut inbox);
        inbox.insert(1000, flags::DATA, &[1; 10]);
        let mut first = inbox.read().unwrap();
        inbox.insert(1001, flags::DATA, &[2; 10]);
        let second = inbox.read().unwrap();
        let (at, next) = (first.as_ptr() as usize, second.as_ptr() as usize);
        assert_eq!(at + 10, next);
        first.unsplit(second);
        assert_eq!((first.len(), first.as_ptr() as usize), (20, at));
    }

    proptest! {
        #[test]
        fn any_order_gives_the_bytes_in_order(order in Just((0..200u64).collect::<Vec<_>>()).prop_shuffle(), twice in 0..200usize) {
            let mut inbox = Inbox::new(0);
            let mut bytes = Vec::new();
            for (index, &seq) in order.iter().enumerate() {
                let again = order[index.saturating_sub(twice)];
                inbox.insert(again, flags::DATA, &again.to_le_bytes());
                inbox.insert(seq, flags::DATA, &seq.to_le_bytes());
                let from_ranges: Vec<u64> = inbox.held_ranges().iter().cloned().flatten().collect();
                let held: Vec<u64> = inbox.held.keys().copied().collect();
                prop_assert_eq!(from_ranges, held);
                bytes.extend_from_slice(&all(&mut inbox));
            }
            let expected: Vec<u8> = (0..200u64).flat_map(u64::to_le_bytes).collect();
            prop_assert_eq!(bytes, expected);
            prop_assert_eq!(inbox.held_bytes, 0);
        }
    }
}
