//! What was written and is not acknowledged yet: the bytes, and a record of each packet that carries some of them.
//!
//! Bytes are kept as they were given and are copied once, into the packet that carries them (and once more for each
//! retransmission). A packet record is a few words, without payload.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::Micros;
use crate::congestion::SendStamp;

/// Writes up to this size are copied together, so that many tiny writes do not cost an entry each.
const SMALL_WRITE: usize = 512;
/// Size of the blocks in which they are.
const SMALL_BLOCK: usize = 4096;
/// Most packets between the oldest unacknowledged one and the newest, acknowledged out of order or not. Half of what
/// receivers scan when they build SACK blocks (65,536). At the limit nothing new is sent until the oldest arrives.
pub(super) const MAX_OUTSTANDING: usize = 32_768;

/// Where a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    InFlight,
    /// Acknowledged out of order.
    Sacked,
    /// Waits for retransmission.
    Lost,
}

/// A packet with a number, from when it is first sent to its cumulative acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Stream offset of its first byte.
    pub(super) offset: u64,
    pub(super) len: u16,
    /// Zero bytes before the payload, when it was (and still is) an MTU probe.
    pub(super) padding: u8,
    pub(super) flags: u8,
    pub(super) place: Place,
    pub(super) retransmitted: bool,
    /// How often the retransmission timer found it.
    pub(super) strikes: u8,
    pub(super) sent_at: Micros,
    pub(super) stamp: SendStamp,
}

#[derive(Debug)]
enum Block {
    Whole(Bytes),
    Open(BytesMut),
}

impl Block {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Open(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    block: Block,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.block.as_slice().len() as u64
    }
}

/// The sending half's memory.
#[derive(Debug)]
pub(super) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// The chunk from which the packet came that was sent last as a new one: the next one begins there or in the next.
    newest: usize,
    /// Bytes below are acknowledged in order.
    acked: u64,
    /// Bytes below were sent at least once.
    sent: u64,
    /// Bytes below were written.
    written: u64,

    packets: VecDeque<Sent>,
    /// Most packets there were at a time since the last time there were none.
    most: usize,
    /// Number of the first packet in `packets`.
    una: u64,
    in_flight: usize,
    /// Ranges of packets acknowledged out of order; sorted, disjoint, not touching.
    sacked: Vec<Range<u64>>,
    sacked_bytes: usize,
    /// Numbers of lost packets in the order of detection; stale entries are skipped.
    lost: VecDeque<u64>,
    lost_count: usize,
}

impl Outbox {
    pub(super) fn new(first: u64) -> Self {
        Self {
            chunks: VecDeque::new(),
            newest: 0,
            acked: 0,
            sent: 0,
            written: 0,
            packets: VecDeque::new(),
            most: 0,
            una: first,
            in_flight: 0,
            sacked: Vec::new(),
            sacked_bytes: 0,
            lost: VecDeque::new(),
            lost_count: 0,
        }
    }

    /// Oldest unacknowledged packet.
    pub(super) fn una(&self) -> u64 {
        self.una
    }

    /// Number of the next new packet.
    pub(super) fn next(&self) -> u64 {
        self.una + self.packets.len() as u64
    }

    pub(super) fn outstanding(&self) -> usize {
        self.packets.len()
    }

    /// Packets believed to be on the path.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn lost_count(&self) -> usize {
        self.lost_count
    }

    pub(super) fn has_sacked(&self) -> bool {
        !self.sacked.is_empty()
    }

    pub(super) fn sacked_count(&self) -> u64 {
        self.sacked.iter().map(|range| range.end - range.start).sum()
    }

    /// Bytes written and not yet acknowledged in order.
    pub(super) fn buffered(&self) -> usize {
        (self.written - self.acked) as usize
    }

    /// Bytes that were never sent.
    pub(super) fn unsent(&self) -> usize {
        (self.written - self.sent) as usize
    }

    /// Bytes sent and not acknowledged in order.
    pub(super) fn unacked(&self) -> usize {
        (self.sent - self.acked) as usize
    }

    /// Bytes acknowledged out of order.
    pub(super) fn sacked_bytes(&self) -> usize {
        self.sacked_bytes
    }

    /// Takes bytes to send.
    pub(super) fn write(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let start = self.written;
        self.written += data.len() as u64;
        if data.len() > SMALL_WRITE {
            self.chunks.push_back(Chunk { start, block: Block::Whole(data) });
            return;
        }
        if let Some(Chunk { block: Block::Open(tail), .. }) = self.chunks.back_mut()
            && tail.capacity() - tail.len() >= data.len()
        {
            tail.extend_from_slice(&data);
            return;
        }
        // The first small write of an idle stream stays what it is: most of the time it is alone.
        let block = if matches!(self.chunks.back(), Some(Chunk { block: Block::Whole(last), .. }) if last.len() <= SMALL_WRITE)
        {
            let mut open = BytesMut::with_capacity(SMALL_BLOCK);
            open.extend_from_slice(&data);
            Block::Open(open)
        } else {
            Block::Whole(data)
        };
        self.chunks.push_back(Chunk { start, block });
    }

    /// Appends the payload of a packet to `out`.
    pub(super) fn copy_payload(&self, packet: &Sent, out: &mut Vec<u8>) {
        let mut at = packet.offset;
        let end = at + u64::from(packet.len);
        let mut index = match self.chunks.get(self.newest) {
            Some(chunk) if chunk.start <= at && at < chunk.end() => self.newest,
            _ => self.chunks.partition_point(|chunk| chunk.end() <= at),
        };
        while at < end {
            let Some(chunk) = self.chunks.get(index) else { return };
            let slice = chunk.block.as_slice();
            let from = (at - chunk.start) as usize;
            let to = slice.len().min((end - chunk.start) as usize);
            out.extend_from_slice(&slice[from..to]);
            at = chunk.start + to as u64;
            index += 1;
        }
    }

    /// Records a new packet of the next `len` unsent bytes.
    pub(super) fn push(&mut self, mut packet: Sent) -> u64 {
        packet.offset = self.sent;
        packet.place = Place::InFlight;
        while self.chunks.get(self.newest).is_some_and(|chunk| chunk.end() <= self.sent) {
            self.newest += 1;
        }
        self.sent += u64::from(packet.len);
        self.in_flight += 1;
        self.packets.push_back(packet);
        self.most = self.most.max(self.packets.len());
        self.next() - 1
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Sent> {
        self.packets.get(usize::try_from(seq.checked_sub(self.una)?).ok()?)
    }

    /// No packet that is under way counts as an MTU probe any more.
    pub(super) fn forget_probes(&mut self) {
        self.packets.iter_mut().for_each(|packet| packet.padding = 0);
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Sent> {
        self.packets.get_mut(usize::try_from(seq.checked_sub(self.una)?).ok()?)
    }

    /// The lost packet that is to be sent again first.
    pub(super) fn next_lost(&mut self) -> Option<u64> {
        while let Some(&seq) = self.lost.front() {
            if self.get(seq).is_some_and(|packet| packet.place == Place::Lost) {
                return Some(seq);
            }
            self.lost.pop_front();
        }
        None
    }

    /// Marks a packet as lost. Says whether it was in flight.
    pub(super) fn mark_lost(&mut self, seq: u64) -> bool {
        match self.get_mut(seq) {
            Some(packet) if packet.place == Place::InFlight => {
                packet.place = Place::Lost;
                self.in_flight -= 1;
                self.lost_count += 1;
                self.lost.push_back(seq);
                true
            }
            _ => false,
        }
    }

    /// A packet is on the path again.
    pub(super) fn mark_resent(&mut self, seq: u64) {
        let mut was_lost = false;
        if let Some(packet) = self.get_mut(seq) {
            was_lost = packet.place == Place::Lost;
            packet.retransmitted = true;
            if was_lost {
                packet.place = Place::InFlight;
            }
        }
        if was_lost {
            self.in_flight += 1;
            self.lost_count -= 1;
        }
    }

    /// The highest packet in flight, for a tail probe.
    pub(super) fn last_in_flight(&self) -> Option<u64> {
        let back = self.packets.iter().rev().position(|packet| packet.place == Place::InFlight)?;
        Some(self.next() - 1 - back as u64)
    }

    /// Packets that are neither acknowledged nor above the highest acknowledged one, oldest first. Without any
    /// out-of-order acknowledgement these are all packets.
    pub(super) fn holes(&self) -> impl Iterator<Item = u64> + '_ {
        let mut from = self.una;
        let holes = self.sacked.iter().flat_map(move |range| {
            let hole = from..range.start;
            from = range.end;
            hole
        });
        let rest = self.sacked.last().map_or(self.una, |range| range.end)..self.next();
        holes.chain(rest)
    }

    /// Removes packets below `ack`; those that were not acknowledged before go to `delivered`.
    pub(super) fn ack_to(&mut self, ack: u64, mut delivered: impl FnMut(u64, &Sent)) {
        while self.una < ack {
            let Some(packet) = self.packets.pop_front() else { break };
            match packet.place {
                Place::InFlight => self.in_flight -= 1,
                Place::Lost => self.lost_count -= 1,
                Place::Sacked => self.sacked_bytes -= usize::from(packet.len),
            }
            if packet.place != Place::Sacked {
                delivered(self.una, &packet);
            }
            self.una += 1;
            self.acked = packet.offset + u64::from(packet.len);
        }
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= self.acked) {
            self.chunks.pop_front();
            self.newest = self.newest.saturating_sub(1);
        }
        let una = self.una;
        let gone = self.sacked.partition_point(|range| range.end <= una);
        self.sacked.drain(..gone);
        if let Some(first) = self.sacked.first_mut() {
            first.start = first.start.max(una);
        }
        if self.packets.is_empty() {
            self.lost.clear();
            self.shrink();
        }
    }

    /// Gives back memory that was not needed since the last time that everything had arrived, unless it is little. So a busy
    /// stream keeps it, and an idle one gives it back with its next keep-alive.
    fn shrink(&mut self) {
        let needed = std::mem::take(&mut self.most);
        let too_large = |capacity: usize| capacity > 64 && capacity / 8 > needed;
        if too_large(self.packets.capacity()) {
            self.packets.shrink_to(16);
        }
        if self.chunks.is_empty() && too_large(self.chunks.capacity()) {
            self.chunks.shrink_to(16);
        }
    }

    /// Marks a range as received out of order; the newly acknowledged ones go to `delivered`. The range must lie within
    /// the packets outstanding.
    pub(super) fn sack(&mut self, range: Range<u64>, mut delivered: impl FnMut(u64, &Sent)) {
        debug_assert!(range.start >= self.una && range.end <= self.next() && range.start < range.end);
        // All ranges from `first` to `last` touch or overlap the new one and are merged into it.
        let first = self.sacked.partition_point(|known| known.end < range.start);
        let last = self.sacked.partition_point(|known| known.start <= range.end);
        let mut merged = range.clone();
        let mut at = range.start;
        for index in first..=last {
            let known = self.sacked.get(index).filter(|_| index < last).cloned();
            let until = known.as_ref().map_or(range.end, |known| known.start.min(range.end));
            while at < until {
                self.mark_sacked(at, &mut delivered);
                at += 1;
            }
            if let Some(known) = known {
                at = at.max(known.end);
                merged.start = merged.start.min(known.start);
                merged.end = merged.end.max(known.end);
            }
        }
        self.sacked.splice(first..last, [merged]);
    }

    fn mark_sacked(&mut self, seq: u64, delivered: &mut impl FnMut(u64, &Sent)) {
        let Some(packet) = self.get_mut(seq) else { return };
        let before = std::mem::replace(&mut packet.place, Place::Sacked);
        let copy = *packet;
        match before {
            Place::InFlight => self.in_flight -= 1,
            Place::Lost => self.lost_count -= 1,
            Place::Sacked => return,
        }
        self.sacked_bytes += usize::from(copy.len);
        delivered(seq, &copy);
    }

    /// Forgets everything: the stream is over.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.next());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(len: u16) -> Sent {
        Sent {
            offset: 0,
            len,
            padding: 0,
            flags: 1,
            place: Place::InFlight,
            retransmitted: false,
            strikes: 0,
            sent_at: 0,
            stamp: SendStamp::default(),
        }
    }

    #[test]
    fn payloads_cross_writes() {
        let mut out = Outbox::new(10);
        out.write(Bytes::from_static(b"ab"));
        out.write(Bytes::from_static(b"cd"));
        out.write(Bytes::from(vec![b'x'; 600]));
        out.write(Bytes::from_static(b"end"));
        assert_eq!(out.unsent(), 607);
        out.push(packet(3));
        out.push(packet(604));
        let mut bytes = Vec::new();
        out.copy_payload(out.get(10).unwrap(), &mut bytes);
        assert_eq!(bytes, b"abc");
        bytes.clear();
        out.copy_payload(out.get(11).unwrap(), &mut bytes);
        assert_eq!(bytes[0], b'd');
        assert_eq!(&bytes[601..], b"end");
        out.ack_to(11, |_, _| {});
        bytes.clear();
        out.copy_payload(out.get(11).unwrap(), &mut bytes);
        assert_eq!(bytes.len(), 604);
        out.ack_to(12, |_, _| {});
        assert_eq!((out.buffered(), out.outstanding()), (0, 0));
    }

    #[test]
    fn memory_of_a_burst_is_given_back_once_a_stream_is_idle() {
        let mut out = Outbox::new(0);
        let burst = |out: &mut Outbox, packets: u64| {
            for _ in 0..packets {
                out.write(Bytes::from(vec![0; SMALL_WRITE + 1]));
                out.push(packet(SMALL_WRITE as u16 + 1));
            }
            out.ack_to(out.next(), |_, _| {});
        };
        burst(&mut out, 1000);
        let capacity = (out.packets.capacity(), out.chunks.capacity());
        burst(&mut out, 500);
        assert_eq!((out.packets.capacity(), out.chunks.capacity()), capacity, "busy");
        burst(&mut out, 1);
        assert!(out.packets.capacity() <= 64 && out.chunks.capacity() <= 64, "idle");
    }

    proptest! {
        /// Any order of acknowledgements and losses delivers each packet once and keeps the counters true.
        #[test]
        fn counters_agree_with_a_plain_model(ops in proptest::collection::vec((0u8..4, 0u64..40, 1u64..12), 1..200)) {
            let mut out = Outbox::new(100);
            let mut seen = std::collections::BTreeSet::new();
            for (kind, at, len) in ops {
                let start = out.una() + at;
                let end = (start + len).min(out.next());
                match kind {
                    0 => for _ in 0..len {
                        out.write(Bytes::from_static(b"x"));
                        out.push(packet(1));
                    },
                    1 if start < end => out.sack(start..end, |seq, _| assert!(seen.insert(seq))),
                    2 => { out.mark_lost(start.min(out.next().saturating_sub(1))); }
                    _ if start <= out.next() => out.ack_to(start, |seq, _| assert!(seen.insert(seq))),
                    _ => {}
                }
                let places = |place| out.packets.iter().filter(|packet| packet.place == place).count();
                prop_assert_eq!(places(Place::InFlight), out.in_flight());
                prop_assert_eq!(places(Place::Lost), out.lost_count());
                prop_assert_eq!(places(Place::Sacked) as u64, out.sacked_count());
                let sacked = out.packets.iter().filter(|packet| packet.place == Place::Sacked);
                prop_assert_eq!(sacked.map(|packet| usize::from(packet.len)).sum::<usize>(), out.sacked_bytes());
                let holes: Vec<u64> = out.holes().collect();
                let open: Vec<u64> = (out.una()..out.next()).filter(|&seq| out.get(seq).unwrap().place != Place::Sacked).collect();
                prop_assert_eq!(holes, open);
                prop_assert!(out.sacked.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
