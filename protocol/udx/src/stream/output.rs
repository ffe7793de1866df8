//! What the stream sends.

use std::time::Instant;

use super::send::{MAX_OUTSTANDING, Place, Sent};
use super::{End, LINGER, Life, Micros, Path, StreamState};
use crate::congestion::Recovery;
use crate::error::CloseReason;
use crate::packet::{self, HEADER_LEN, Header, MAX_SACK_BLOCKS, flags};

/// Most bytes of one batch: what fits a UDP datagram before it is segmented.
const MAX_BATCH: usize = 65_000;

/// Packets of equal size for one path; the last may be shorter. The bytes are in the buffer given to `poll_transmit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where they go.
    pub path: Path,
    /// Size of each packet.
    pub segment_size: usize,
}

/// Why no numbered packet can be sent.
enum Blocked {
    Nothing,
    Congestion,
    Pacing,
    Peer,
}

impl StreamState {
    /// Fills `buffer` with the next packets to send, at most `max_segments`, or gives `None` when there are none now.
    /// What it gives counts as sent.
    pub fn poll_transmit(&mut self, now: Instant, max_segments: usize, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let path = self.path()?;
        let micros = self.micros(now);
        buffer.clear();
        let transmit = match self.life {
            Life::Open => self.transmit_open(micros, path, max_segments.max(1), buffer),
            Life::Destroying => {
                self.life = Life::Lingering(CloseReason::Destroyed, micros + LINGER);
                Some(self.put_plain(path, flags::DESTROY, buffer))
            }
            Life::Lingering(reason, _) if self.ack_owed => {
                self.ack_owed = false;
                let bits = if reason == CloseReason::Destroyed { flags::DESTROY } else { 0 };
                Some(self.put_plain(path, bits, buffer))
            }
            Life::Lingering(..) if self.farewell_at.is_some_and(|at| at <= micros) => {
                self.farewell_at = Some(micros + 2 * self.rtt.rto());
                let header = self.header(path.remote_id, flags::END, 0, self.out.next() - 1);
                buffer.extend_from_slice(&header.encode());
                Some(Transmit { path, segment_size: buffer.len() })
            }
            Life::Lingering(..) | Life::Gone(_) => None,
        };
        if transmit.is_some() {
            self.stats.bytes_sent += buffer.len() as u64;
        }
        transmit
    }

    fn transmit_open(
        &mut self,
        now: Micros,
        path: Path,
        max_segments: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if let Some(message) = self.messages_out.pop_front() {
            let transmit = self.put_plain(path, flags::MESSAGE, buffer);
            buffer.extend_from_slice(&message);
            return Some(Transmit { segment_size: buffer.len(), ..transmit });
        }
        if self.ack_owed && self.inbox.has_held() {
            return Some(self.put_ack(now, path, buffer));
        }
        if std::mem::take(&mut self.heartbeat_due) {
            return Some(self.put_plain(path, flags::HEARTBEAT, buffer));
        }
        if let Some(transmit) = self.put_numbered(now, max_segments, buffer) {
            // Data carries the acknowledgement too.
            self.ack_owed = false;
            self.close_if_finished(now);
            return Some(transmit);
        }
        if self.ack_owed {
            return Some(self.put_ack(now, path, buffer));
        }
        None
    }

    fn header(&mut self, remote_id: u32, bits: u8, data_offset: u8, seq: u64) -> Header {
        self.stats.packets_sent += 1;
        self.advertised = self.inbox.window();
        Header {
            flags: bits,
            data_offset,
            stream_id: remote_id,
            window: self.advertised,
            seq: seq as u32,
            ack: self.inbox.next() as u32,
        }
    }

    /// A packet without a number of its own.
    fn put_plain(&mut self, path: Path, bits: u8, buffer: &mut Vec<u8>) -> Transmit {
        let seq = self.out.next();
        let header = self.header(path.remote_id, bits, 0, seq);
        buffer.extend_from_slice(&header.encode());
        Transmit { path, segment_size: buffer.len() }
    }

    fn put_ack(&mut self, now: Micros, path: Path, buffer: &mut Vec<u8>) -> Transmit {
        self.ack_owed = false;
        let bits = if self.inbox.has_held() { flags::SACK } else { 0 };
        self.put_plain(path, bits, buffer);
        for range in self.inbox.held_ranges().iter().take(MAX_SACK_BLOCKS) {
            packet::push_sack_block(buffer, range.start as u32..range.end as u32);
        }
        self.close_if_finished(now);
        Transmit { path, segment_size: buffer.len() }
    }

    /// Lost packets first, then new ones; as many as fit the windows, the pace and one batch.
    fn put_numbered(&mut self, now: Micros, max_segments: usize, buffer: &mut Vec<u8>) -> Option<Transmit> {
        self.pace_at = None;
        if std::mem::take(&mut self.tail_due)
            && let Some(transmit) = self.put_tail_probe(now, buffer)
        {
            return Some(transmit);
        }
        // The path by its place in the list, and the size of a packet.
        let mut batch: Option<(usize, usize)> = None;
        let mut segments = 0;
        let stop = loop {
            if segments >= max_segments {
                break None;
            }
            let room = batch.map_or(usize::MAX, |(_, size)| size.min(MAX_BATCH.saturating_sub(buffer.len())));
            let before = buffer.len();
            let (path, whole) = match self.put_one(now, room, batch.map(|(path, _)| path), buffer) {
                Ok(Some(put)) => put,
                Ok(None) => break None,
                Err(blocked) => break Some(blocked),
            };
            let size = buffer.len() - before;
            segments += 1;
            let (_, full) = *batch.get_or_insert((path, size));
            if size < full || !whole {
                break None;
            }
        };
        match stop {
            Some(Blocked::Pacing) => self.pace_at = Some(self.pacer.next_send(now)),
            Some(Blocked::Nothing) => self.check_app_limited(),
            Some(Blocked::Peer) => {
                self.check_window_probe(now);
                self.check_app_limited();
            }
            Some(Blocked::Congestion) | None => {}
        }
        let (path, segment_size) = batch?;
        Some(Transmit { path: self.paths.get(path)?.path, segment_size })
    }

    /// One packet of at most `room` bytes on `path`. `Ok(None)` when the next one does not fit this batch. The flag says
    /// whether others may follow in the same batch. A path is named by its place in the list: comparing whole ones for
    /// each packet was 2 % of a transfer.
    fn put_one(
        &mut self,
        now: Micros,
        room: usize,
        path: Option<usize>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<(usize, bool)>, Blocked> {
        let lost = self.out.next_lost();
        if lost.is_none() && !self.has_new() {
            return Err(Blocked::Nothing);
        }
        if self.out.in_flight() >= self.bbr.cwnd() {
            return Err(Blocked::Congestion);
        }
        if !self.pacer.may_send(now) {
            return Err(Blocked::Pacing);
        }
        if let Some(seq) = lost {
            let to = self.path_index(seq);
            let fits = self.out.get(seq).is_some_and(|sent| HEADER_LEN + usize::from(sent.len) <= room);
            if !fits || path.is_some_and(|path| path != to) {
                return Ok(None);
            }
            self.put_again(now, seq, self.paths.get(to).ok_or(Blocked::Nothing)?.path.remote_id, buffer);
            return Ok(Some((to, true)));
        }
        let to = self.paths.len().checked_sub(1).ok_or(Blocked::Nothing)?;
        let len = self.new_payload().ok_or(Blocked::Peer)?;
        if HEADER_LEN + len > room || path.is_some_and(|path| path != to) {
            return Ok(None);
        }
        let padding = self.probe_padding(len);
        if padding != 0 && path.is_some() {
            // A probe is larger than the others and goes alone.
            return Ok(None);
        }
        self.put_new(now, self.paths.get(to).ok_or(Blocked::Nothing)?.path.remote_id, len, padding, buffer);
        Ok(Some((to, padding == 0)))
    }

    /// Whether new bytes or the end wait, and need not wait for more.
    fn has_new(&self) -> bool {
        let unsent = self.out.unsent();
        unsent >= self.max_payload() || (self.push && unsent > 0) || self.end == End::Queued
    }

    /// Length of the next new packet as far as the peer's window goes; `None` while it is closed.
    fn new_payload(&self) -> Option<usize> {
        if self.out.outstanding() >= MAX_OUTSTANDING {
            return None;
        }
        let len = self.out.unsent().min(self.max_payload());
        let window = self.peer_room();
        if len <= window {
            return Some(len);
        }
        // A window smaller than a packet is used only when nothing else keeps the stream going.
        (window > 0 && self.out.outstanding() == 0).then_some(window)
    }

    fn probe_padding(&self, len: usize) -> u8 {
        let probing = self.recovery == Recovery::Open && len == self.max_payload() && !self.path_changing();
        if probing { self.mtu.padding().unwrap_or(0) } else { 0 }
    }

    fn put_new(&mut self, now: Micros, remote_id: u32, len: usize, padding: u8, buffer: &mut Vec<u8>) {
        let idle = self.out.in_flight() == 0;
        let bits = if len > 0 { flags::DATA } else { flags::END };
        if len == self.out.unsent() {
            self.push = false;
        }
        if len == 0 {
            // The end goes alone, so that a doubt whether it arrived is not a doubt about bytes.
            self.end = End::Sent(self.out.next());
        }
        let sent = Sent {
            offset: 0,
            len: len as u16,
            padding,
            flags: bits,
            place: Place::InFlight,
            retransmitted: false,
            strikes: 0,
            sent_at: now,
            stamp: self.rate.on_send(now, idle),
        };
        if idle {
            self.bbr.on_transmit_start(now, self.rate.is_app_limited());
            self.set_pace(now);
        }
        let seq = self.out.push(sent);
        self.put_payload(seq, remote_id, buffer);
        if padding != 0 {
            self.mtu.on_probe_sent();
        }
        if self.rto_at.is_none() {
            self.rto_at = Some(now + self.rtt.rto());
        }
        self.arm_tail_probe(now);
    }

    fn put_again(&mut self, now: Micros, seq: u64, remote_id: u32, buffer: &mut Vec<u8>) {
        let idle = self.out.in_flight() == 0;
        let stamp = self.rate.on_send(now, idle);
        if let Some(sent) = self.out.get_mut(seq) {
            if std::mem::take(&mut sent.padding) != 0 {
                self.mtu.on_probe_lost();
            }
            sent.sent_at = now;
            sent.stamp = stamp;
        }
        self.out.mark_resent(seq);
        self.put_payload(seq, remote_id, buffer);
        self.stats.retransmits += 1;
        if self.rto_at.is_none() {
            self.rto_at = Some(now + self.rtt.rto());
        }
    }

    fn put_payload(&mut self, seq: u64, remote_id: u32, buffer: &mut Vec<u8>) {
        let Some(sent) = self.out.get(seq).copied() else { return };
        let header = self.header(remote_id, sent.flags, sent.padding, seq);
        let before = buffer.len();
        buffer.extend_from_slice(&header.encode());
        buffer.resize(buffer.len() + usize::from(sent.padding), 0);
        self.out.copy_payload(&sent, buffer);
        self.pacer.on_send(buffer.len() - before);
    }

    /// A new packet, or the last one again, whatever the congestion window says.
    fn put_tail_probe(&mut self, now: Micros, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let new = if self.has_new() { self.new_payload() } else { None };
        let (path, covers) = match (new, self.out.last_in_flight()) {
            (Some(len), _) => {
                let path = self.path()?;
                self.put_new(now, path.remote_id, len, 0, buffer);
                (path, self.out.next() - 1)
            }
            (None, Some(seq)) => {
                let path = self.paths.get(self.path_index(seq))?.path;
                self.put_again(now, seq, path.remote_id, buffer);
                (path, seq)
            }
            (None, None) => return None,
        };
        self.tail_at = None;
        self.tail_permitted = false;
        self.tail_probe = Some(covers);
        self.stats.tail_probes += 1;
        Some(Transmit { path, segment_size: buffer.len() })
    }

    fn check_app_limited(&mut self) {
        if self.out.lost_count() == 0 && self.out.in_flight() < self.bbr.cwnd() {
            self.rate.set_app_limited(self.out.in_flight());
        }
    }
}
