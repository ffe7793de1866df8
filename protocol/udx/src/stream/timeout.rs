//! What time does to the stream.

use std::time::{Duration, Instant};

use super::{LINGER, Life, Micros, StreamState};
use crate::congestion::Recovery;
use crate::error::CloseReason;

/// The seventh time the timer finds the same packet unacknowledged, the peer is gone: 13 seconds on most paths.
const MAX_STRIKES: u8 = 7;
/// The same for a packet that says nothing but the end, to a peer that ended too and has every byte. Such a peer forgot
/// the stream and its last acknowledgement was lost (JavaScript peers do not linger).
const END_STRIKES: u8 = 3;
/// How long a receiver may take to acknowledge.
const MAX_ACK_DELAY: Micros = 2_000;
/// No tail probe is sent sooner than this: below it, scheduling decides when an acknowledgement comes.
const MIN_TAIL_TIME: Micros = 5_000;
/// The shortest idle time that is kept alive.
const MIN_KEEPALIVE: Micros = 10_000;

impl StreamState {
    /// When [`StreamState::handle_timeout`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if let Life::Lingering(_, until) = self.life {
            return Some(self.instant(self.farewell_at.map_or(until, |at| at.min(until))));
        }
        [self.rto_at, self.reorder_at, self.tail_at, self.probe_at, self.pace_at, self.trim_at, self.keepalive_at]
            .into_iter()
            .flatten()
            .min()
            .map(|at| self.instant(at))
    }

    /// Does what is due. [`StreamState::poll_transmit`] should follow.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.micros(now);
        if let Life::Lingering(reason, until) = self.life {
            if until <= now {
                self.life = Life::Gone(reason);
            }
            return;
        }
        let due = |timer: &mut Option<Micros>| timer.take_if(|at| *at <= now).is_some();
        if due(&mut self.pace_at) {
            // Looking at the bucket is all: transmitting follows.
        }
        if due(&mut self.trim_at) {
            self.on_idle(now);
        }
        if due(&mut self.reorder_at) {
            self.detect_losses(now);
            self.batch.lost = 0;
        }
        if due(&mut self.probe_at) {
            self.on_window_probe(now);
        }
        if due(&mut self.keepalive_at) {
            self.on_keepalive(now);
        }
        if due(&mut self.tail_at) {
            self.on_tail(now);
        }
        if due(&mut self.rto_at) {
            self.on_retransmission_timeout(now);
        }
    }

    /// Sends a `HEARTBEAT` each time that nothing was under way for `idle`, so that what is on the path (a NAT, a firewall)
    /// remembers the stream. That no answer comes is no failure: `libudx` before 1.20 knows no heartbeats. `None` stops it.
    pub fn set_keepalive(&mut self, now: Instant, idle: Option<Duration>) {
        self.keepalive = idle.map(|idle| (idle.as_micros() as Micros).max(MIN_KEEPALIVE));
        let open = self.life == Life::Open;
        self.keepalive_at = self.keepalive.filter(|_| open).map(|idle| self.micros(now) + idle);
    }

    fn on_keepalive(&mut self, now: Micros) {
        self.keepalive_at = self.keepalive.map(|idle| now + idle);
        self.heartbeat_due |= self.out.outstanding() == 0;
    }

    /// Gives an idle receiver's spare memory back.
    fn on_idle(&mut self, now: Micros) {
        const IDLE: Micros = 2_000_000;
        if !self.inbox.has_spare() {
            return;
        }
        match self.last_received {
            Some(last) if last + IDLE > now => self.trim_at = Some(last + IDLE),
            _ => self.inbox.trim(),
        }
    }

    fn on_retransmission_timeout(&mut self, now: Micros) {
        let Some(first) = self.out.get_mut(self.out.una()) else { return };
        first.strikes += 1;
        let strikes = first.strikes;
        if strikes >= END_STRIKES && self.only_end_unacked() {
            self.close(CloseReason::Finished, Some(now + LINGER));
            self.farewell_at = Some(now);
            return;
        }
        if strikes >= MAX_STRIKES {
            return self.close(CloseReason::TimedOut, None);
        }
        self.rto_at = Some(now + 2 * self.rtt.rto());
        self.tail_at = None;
        self.tail_probe = None;
        self.tail_due = false;
        let mut lost = Vec::new();
        self.rack.detect_timeout(now, &mut self.out, &mut lost);
        let probes = self.note_losses(&lost);
        self.batch.lost = 0;
        self.stats.timeouts += 1;
        if lost.len() > probes || self.out.lost_count() > 0 {
            self.recovery = Recovery::Timeout;
            self.recovery_end = self.out.next();
            self.bbr.on_timeout(self.out.in_flight());
        }
    }

    fn only_end_unacked(&self) -> bool {
        self.inbox.ended() && matches!(self.end, super::End::Sent(seq) if seq == self.out.una())
    }

    /// Sets the timer of the tail probe: when the last packets of a flight, or their acknowledgements, are lost, nothing
    /// else would tell before the retransmission timeout.
    pub(super) fn arm_tail_probe(&mut self, now: Micros) {
        self.tail_at = None;
        if self.recovery != Recovery::Open || self.out.has_sacked() || self.out.in_flight() == 0 {
            return;
        }
        let wait = match self.rtt.smoothed() {
            Some(srtt) => {
                let delay = if self.out.in_flight() == 1 { MAX_ACK_DELAY } else { 0 };
                (2 * srtt + delay).max(MIN_TAIL_TIME)
            }
            None => 1_000_000,
        };
        let at = now + wait;
        self.tail_at = Some(self.rto_at.map_or(at, |rto| at.min(rto)));
    }

    fn on_tail(&mut self, now: Micros) {
        // When the retransmission timer is due as well, it does more.
        if self.rto_at.is_some_and(|rto| rto <= now) || !self.tail_permitted || self.tail_probe.is_some() {
            return;
        }
        if self.recovery == Recovery::Open && self.out.in_flight() > 0 {
            self.tail_due = true;
        }
    }

    /// A closed window is probed while nothing else would bring an answer.
    pub(super) fn check_window_probe(&mut self, now: Micros) {
        let waiting = self.out.unsent() > 0 || self.end == super::End::Queued;
        let closed = self.peer_window.get() == 0 && self.out.outstanding() == 0 && waiting;
        if !closed {
            self.probe_at = None;
        } else if self.probe_at.is_none() {
            self.probe_at = Some(now + self.rtt.rto());
        }
    }

    fn on_window_probe(&mut self, now: Micros) {
        self.window_probes += 1;
        if self.window_probes > u32::from(MAX_STRIKES) {
            return self.close(CloseReason::TimedOut, None);
        }
        self.heartbeat_due = true;
        self.probe_at = Some(now + 2 * self.rtt.rto());
    }
}
