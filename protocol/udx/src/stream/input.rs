//! What packets do to the stream.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use super::recv::Insert;
use super::send::Sent;
use super::{End, LINGER_ANSWERS, Life, MAX_MESSAGES_IN, Micros, StreamState};
use crate::congestion::{AckEvent, Recovery};
use crate::error::CloseReason;
use crate::packet::{self, HEADER_LEN, Header, flags};

/// Idle time after which a receiver's spare buffer is given back.
const TRIM_AFTER: Micros = 2_000_000;

impl StreamState {
    /// Takes one packet for this stream. [`StreamState::end_batch`] must follow the last of a batch.
    pub fn handle_packet(&mut self, now: Instant, header: &Header, body: &[u8]) {
        let now = self.micros(now);
        self.stats.packets_received += 1;
        self.stats.bytes_received += (HEADER_LEN + body.len()) as u64;
        match self.life {
            Life::Open => {}
            Life::Lingering(reason, _) => return self.answer_late(reason, header),
            Life::Destroying | Life::Gone(_) => return,
        }
        let Some((extension, payload)) = header.split(body) else {
            self.stats.packets_dropped += 1;
            return;
        };
        self.last_received = Some(now);
        self.window_probes = 0;
        if header.has(flags::HEARTBEAT) {
            self.ack_owed = true;
            return;
        }
        let seq = packet::unwrap_seq(self.inbox.next(), header.seq);
        if header.flags & (flags::DATA | flags::END) != 0 {
            self.receive_numbered(now, seq, header.flags, payload);
        }
        if header.has(flags::DESTROY) && seq >= self.inbox.next() {
            return self.close(CloseReason::Reset, None);
        }
        if header.has(flags::MESSAGE) {
            self.receive_message_packet(payload);
        }
        let ack = packet::unwrap_seq(self.out.next(), header.ack);
        if ack > self.out.next() {
            return;
        }
        if ack >= self.out.una() {
            self.peer_window.update(ack, seq, header.window);
        }
        self.receive_ack(now, ack, extension);
    }

    fn receive_numbered(&mut self, now: Micros, seq: u64, packet_flags: u8, payload: &[u8]) {
        match self.inbox.insert(seq, packet_flags, payload) {
            Insert::Taken => {
                if self.trim_at.is_none() && self.inbox.will_spare() {
                    self.trim_at = Some(now + TRIM_AFTER);
                }
            }
            Insert::Duplicate => {}
            Insert::Refused => self.stats.packets_dropped += 1,
        }
        self.ack_owed = true;
    }

    fn receive_message_packet(&mut self, payload: &[u8]) {
        if self.messages_in.len() >= MAX_MESSAGES_IN {
            self.messages_in.pop_front();
            self.stats.messages_dropped += 1;
        }
        self.messages_in.push_back(Bytes::copy_from_slice(payload));
    }

    fn receive_ack(&mut self, now: Micros, ack: u64, extension: &[u8]) {
        if ack > self.out.una() {
            let Self { out, rack, rtt, rate, mtu, batch, paths, .. } = self;
            let min = rtt.min();
            let overhead = paths.back().map_or(28, |span| span.path.overhead());
            out.ack_to(ack, |seq, sent| {
                rack.on_delivered(now, seq, sent, min);
                rate.on_delivered(now, sent.stamp, sent.sent_at);
                on_delivered(batch, mtu, now, sent, overhead);
            });
            batch.acked_in_order = true;
            batch.delivered = true;
            self.mtu.on_ack();
            if let End::Sent(end) = self.end
                && ack > end
            {
                self.end = End::Acked;
            }
            self.forget_old_paths();
        }
        let blocks = packet::sack_blocks(extension).count();
        self.rack.on_report(blocks, self.out.una());
        for block in packet::sack_blocks(extension) {
            let Some(range) = self.valid_block(&block) else {
                self.stats.packets_dropped += 1;
                break;
            };
            let Self { out, rack, rtt, rate, mtu, batch, paths, .. } = self;
            let min = rtt.min();
            let overhead = paths.back().map_or(28, |span| span.path.overhead());
            out.sack(range, |seq, sent| {
                rack.on_delivered(now, seq, sent, min);
                rate.on_delivered(now, sent.stamp, sent.sent_at);
                on_delivered(batch, mtu, now, sent, overhead);
                batch.delivered = true;
            });
        }
    }

    /// A block that can be true: ascending, and of packets that were sent. What is below the cumulative acknowledgement
    /// is old news, and cut off.
    fn valid_block(&self, block: &Range<u32>) -> Option<Range<u64>> {
        let (una, next) = (self.out.una(), self.out.next());
        let start = packet::unwrap_seq(una, block.start);
        let end = packet::unwrap_seq(una, block.end);
        let range = start.max(una)..end;
        (start < end && end <= next && range.start < range.end).then_some(range)
    }

    /// Ends a receive batch: finds losses, measures, and sets the timers. [`StreamState::poll_transmit`] should follow.
    pub fn end_batch(&mut self, now: Instant) {
        if self.life != Life::Open {
            return;
        }
        let now = self.micros(now);
        if self.batch.delivered {
            self.after_delivery(now);
        }
        self.batch.delivered = false;
        self.batch.acked_in_order = false;
        self.batch.lost = 0;
        self.check_window_probe(now);
        self.close_if_finished(now);
    }

    fn after_delivery(&mut self, now: Micros) {
        let rtt = self.batch.rtt.take().map(|(_, rtt)| rtt);
        if let Some(rtt) = rtt {
            self.rtt.update(now, rtt);
            self.tail_permitted = true;
        }
        if self.tail_probe.is_some_and(|probe| probe < self.out.una()) {
            self.tail_probe = None;
        }
        if self.recovery != Recovery::Open && self.out.una() >= self.recovery_end {
            self.recovery = Recovery::Open;
        }
        self.detect_losses(now);
        self.rto_at = (self.out.outstanding() > 0).then(|| now + self.rtt.rto());
        if self.batch.acked_in_order {
            self.arm_tail_probe(now);
        }
        if let Some(sample) = self.rate.finish(now) {
            let event = AckEvent {
                now,
                sample,
                rtt,
                lost: self.batch.lost,
                in_flight: self.out.in_flight(),
                delivered: self.rate.delivered(),
                recovery: self.recovery,
            };
            self.bbr.on_ack(&event, self.rtt.smoothed().unwrap_or(0));
            self.set_pace(now);
        }
    }

    pub(super) fn set_pace(&mut self, now: Micros) {
        let packet = (self.max_payload() + HEADER_LEN) as f64;
        self.pacer.set_rate(now, self.bbr.pacing_rate() * packet);
    }

    /// Looks for packets that others overtook.
    pub(super) fn detect_losses(&mut self, now: Micros) {
        let mut lost = Vec::new();
        self.reorder_at =
            self.rack.detect(now, &mut self.out, self.recovery, self.rtt.min(), self.rtt.smoothed(), &mut lost);
        let probes = self.note_losses(&lost);
        if lost.len() > probes && self.recovery == Recovery::Open {
            self.recovery = Recovery::Fast;
            self.recovery_end = self.out.next();
            self.bbr.save_cwnd();
            self.stats.fast_recoveries += 1;
            self.tail_at = None;
            self.tail_probe = None;
        }
    }

    /// A lost probe says that the path does not carry its size, nothing about congestion. Gives the number of those.
    pub(super) fn note_losses(&mut self, lost: &[u64]) -> usize {
        let mut probes = 0;
        for &seq in lost {
            if let Some(packet) = self.out.get_mut(seq)
                && std::mem::take(&mut packet.padding) != 0
            {
                self.mtu.on_probe_lost();
                probes += 1;
            }
        }
        self.batch.lost += lost.len() - probes;
        probes
    }

    /// A stream that is over still helps a peer that missed the news.
    fn answer_late(&mut self, reason: CloseReason, header: &Header) {
        if packet::unwrap_seq(self.out.next(), header.ack) == self.out.next() {
            self.farewell_at = None;
        }
        match reason {
            CloseReason::Finished if header.flags & (flags::DATA | flags::END | flags::HEARTBEAT) != 0 => {
                self.ack_owed = true;
            }
            CloseReason::Destroyed if header.has(flags::DESTROY) => self.life = Life::Gone(reason),
            CloseReason::Destroyed if self.linger_answers < LINGER_ANSWERS => {
                self.linger_answers += 1;
                self.ack_owed = true;
            }
            _ => {}
        }
    }
}

/// What one newly acknowledged packet tells about round trip and path.
fn on_delivered(batch: &mut super::Batch, mtu: &mut super::MtuSearch, now: Micros, sent: &Sent, overhead: usize) {
    if !sent.retransmitted && batch.rtt.is_none_or(|(sent_at, _)| sent.sent_at >= sent_at) {
        batch.rtt = Some((sent.sent_at, now.saturating_sub(sent.sent_at)));
    }
    if sent.padding != 0 {
        mtu.on_probe_acked(overhead + HEADER_LEN + usize::from(sent.padding) + usize::from(sent.len));
    }
}
