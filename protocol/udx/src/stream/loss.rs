//! Loss detection by time (RACK, RFC 8985): a packet is lost when one that was sent later arrived, and some time passed.

use super::Micros;
use super::send::{Outbox, Place, Sent};
use crate::congestion::Recovery;
use crate::packet::MAX_SACK_BLOCKS;

/// Out-of-order acknowledgements that make waiting for reordering pointless, while none was seen.
const SACKS_WITHOUT_WAIT: u64 = 3;
/// The reordering window grows with each retransmission that proves to have been needless, up to this many quarters of
/// the smallest round trip, and never beyond one smoothed round trip.
const MAX_REORDER_STEPS: u64 = 16;

/// What is known of the newest packet that arrived.
#[derive(Debug, Default)]
pub(super) struct Rack {
    /// Send time, number and round trip of the packet that was sent last of all that arrived.
    newest: Option<(Micros, u64)>,
    rtt: Micros,
    /// One above the highest number that arrived.
    highest: u64,
    /// The last report of packets out of order was full: of what is above `highest` it says nothing.
    cut: bool,
    reordering: bool,
    reorder_steps: u64,
}

impl Rack {
    /// A packet arrived.
    pub(super) fn on_delivered(&mut self, now: Micros, seq: u64, packet: &Sent, min_rtt: Option<Micros>) {
        let rtt = now.saturating_sub(packet.sent_at);
        if packet.retransmitted && min_rtt.is_some_and(|min| rtt < min) {
            // The acknowledgement is of an earlier transmission: the last one was needless.
            self.reordering = true;
            self.reorder_steps = (self.reorder_steps + 1).min(MAX_REORDER_STEPS);
            return;
        }
        if seq >= self.highest {
            self.highest = seq + 1;
        } else if !packet.retransmitted {
            self.reordering = true;
        }
        if self.newest.is_none_or(|newest| (packet.sent_at, seq) > newest) {
            self.newest = Some((packet.sent_at, seq));
            self.rtt = rtt;
        }
    }

    /// The peer listed this many ranges of packets out of order; `una` is the oldest packet that it misses.
    pub(super) fn on_report(&mut self, blocks: usize, una: u64) {
        if blocks > 0 || una >= self.highest {
            self.cut = blocks >= MAX_SACK_BLOCKS;
        }
    }

    /// How long a packet may be overtaken before it counts as lost.
    fn reorder_window(&self, recovery: Recovery, sacked: u64, min: Option<Micros>, srtt: Option<Micros>) -> Micros {
        if !self.reordering && (recovery != Recovery::Open || sacked >= SACKS_WITHOUT_WAIT) {
            return 0;
        }
        let quarter = min.unwrap_or(0) / 4;
        (quarter * (self.reorder_steps + 1)).min(srtt.unwrap_or(0))
    }

    /// Marks packets that are lost by now. Gives them, and when to look again if others may become so.
    pub(super) fn detect(
        &self,
        now: Micros,
        out: &mut Outbox,
        recovery: Recovery,
        min: Option<Micros>,
        srtt: Option<Micros>,
        lost: &mut Vec<u64>,
    ) -> Option<Micros> {
        let newest = self.newest?;
        let window = self.reorder_window(recovery, out.sacked_count(), min, srtt);
        let mut again = None;
        for seq in out.holes() {
            let Some(packet) = out.get(seq) else { break };
            if self.cut && seq >= self.highest {
                break;
            }
            let older = (packet.sent_at, seq) < newest;
            if !older && !packet.retransmitted {
                // Packets above were first sent even later, and any repetition of them later still.
                break;
            }
            if !older || packet.place != Place::InFlight {
                continue;
            }
            let deadline = packet.sent_at + self.rtt + window;
            if deadline <= now {
                lost.push(seq);
            } else {
                again = again.max(Some(deadline));
            }
        }
        for &seq in lost.iter() {
            out.mark_lost(seq);
        }
        again
    }

    /// Marks what the retransmission timer gives up: the oldest packet, and all that are overdue.
    pub(super) fn detect_timeout(&self, now: Micros, out: &mut Outbox, lost: &mut Vec<u64>) {
        let first = out.una();
        for seq in out.holes() {
            let overdue = out.get(seq).is_some_and(|packet| {
                packet.place == Place::InFlight && (seq == first || packet.sent_at + self.rtt < now)
            });
            if overdue {
                lost.push(seq);
            }
        }
        for &seq in lost.iter() {
            out.mark_lost(seq);
        }
    }
}
