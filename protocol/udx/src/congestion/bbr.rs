//! BBR version 1 (draft-cardwell-iccrg-bbr-congestion-control-00), counted in packets and microseconds.
//!
//! The model of the path is two numbers: the largest delivery rate of the last ten round trips, and the smallest round
//! trip time of the last ten seconds. What is in flight is held near their product, and packets are paced at the rate.
//! Parameters in the steady state are those of libudx, so that flows of both kinds share a link fairly; the start is our own.
//!
//! What version 1 and libudx do not have is an answer to loss: they keep two and more products in flight whatever is dropped,
//! and a receiver whose socket buffer holds less loses a fifth of the packets forever. As in version 2, a round that lost
//! more than random loss does sets a [cap](Cap) on what may be in flight, and ends the doubling of the start.

use super::{Cap, RateSample, WindowedMax};
use crate::stream::Micros;

/// 2 / ln 2: the smallest gain that doubles the rate each round trip.
const HIGH_GAIN: f64 = 2.885_39;
const DRAIN_GAIN: f64 = 1.0 / HIGH_GAIN;
const CWND_GAIN: f64 = 2.0;
const PROBE_GAINS: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// Where the cycle is entered: as in libudx, not at random.
const FIRST_PHASE: usize = 4;
/// As QUIC stacks begin; libudx and TCP begin with 10, and need two round trips more.
const INITIAL_CWND: usize = 32;
/// What a round trip must exceed the smallest by to show a queue: an eighth of it, within these bounds (RFC 9406). The flood of the
/// first rounds makes queues that mean nothing.
const LEAST_QUEUE: Micros = 4_000;
const MOST_QUEUE: Micros = 16_000;
const FIRST_ROUNDS: u64 = 3;
const QUEUED: u32 = 8;
const MIN_CWND: usize = 4;
/// The cap leaves a tenth more than the path holds, so that loss that has nothing to do with us does not shrink the estimate of the
/// bandwidth.
const CAP_FLOOR_GAIN: f64 = 1.1;
/// The window of the bandwidth filter, in round trips.
const BW_ROUNDS: u64 = 10;
const MIN_RTT_WINDOW: Micros = 10_000_000;
const PROBE_RTT_TIME: Micros = 200_000;
const FULL_BW_GROWTH: f64 = 1.25;
const FULL_BW_ROUNDS: u32 = 3;
const EXTRA_ACKED_ROUNDS: u32 = 5;
const EXTRA_ACKED_TIME: f64 = 100_000.0;
const PACING_MARGIN: f64 = 0.99;
/// The least round trip that the model believes. Below it, scheduling and batching of the two ends, not the path, decide
/// when an acknowledgement comes; a window of less would stop the sender between two batches.
const MIN_MODEL_RTT: Micros = 1_000;
/// More than any path needs, and a bound to what arithmetic on measurements can ask for.
const MAX_CWND: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Startup,
    Drain,
    ProbeBw,
    ProbeRtt,
}

/// The state of loss recovery, as far as congestion control cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Nothing is being repaired.
    Open,
    /// Lost packets are being repaired.
    Fast,
    /// The retransmission timer fired.
    Timeout,
}

/// What one batch of acknowledgements brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckEvent {
    pub(crate) now: Micros,
    pub(crate) sample: RateSample,
    /// Smallest round trip that this batch measured.
    pub(crate) rtt: Option<Micros>,
    /// Packets that were found lost.
    pub(crate) lost: usize,
    /// Packets in flight after all of it.
    pub(crate) in_flight: usize,
    /// Delivered packets in all.
    pub(crate) delivered: u64,
    pub(crate) recovery: Recovery,
}

/// The controller of one stream.
#[derive(Debug)]
pub(crate) struct Bbr {
    mode: Mode,
    cwnd: usize,
    prior_cwnd: usize,
    bw: WindowedMax,
    min_rtt: Option<Micros>,
    min_rtt_at: Micros,
    srtt: Micros,
    pacing_gain: f64,
    cwnd_gain: f64,
    /// Packets per microsecond; `None` until something is known.
    rate: Option<f64>,

    rounds: u64,
    round_start: bool,
    round_at: Micros,
    next_round_delivered: u64,

    full_bw: f64,
    full_bw_count: u32,
    full_bw_reached: bool,

    phase: usize,
    phase_at: Micros,

    probe_rtt_until: Option<Micros>,
    probe_rtt_round_done: bool,

    idle_restart: bool,
    recovery: Recovery,

    cap: Cap,
    /// Measurements in a row that show a queue.
    queued: u32,

    extra_acked: [f64; 2],
    extra_slot: usize,
    extra_rounds: u32,
    ack_epoch_at: Micros,
    ack_epoch_acked: f64,
}

impl Bbr {
    pub(crate) fn new() -> Self {
        Self {
            mode: Mode::Startup,
            cwnd: INITIAL_CWND,
            prior_cwnd: 0,
            bw: WindowedMax::new(BW_ROUNDS),
            min_rtt: None,
            min_rtt_at: 0,
            srtt: 0,
            pacing_gain: HIGH_GAIN,
            cwnd_gain: HIGH_GAIN,
            rate: None,
            rounds: 0,
            round_start: false,
            round_at: 0,
            next_round_delivered: 0,
            full_bw: 0.0,
            full_bw_count: 0,
            full_bw_reached: false,
            phase: FIRST_PHASE,
            phase_at: 0,
            probe_rtt_until: None,
            probe_rtt_round_done: false,
            idle_restart: false,
            recovery: Recovery::Open,
            cap: Cap::default(),
            queued: 0,
            extra_acked: [0.0; 2],
            extra_slot: 0,
            extra_rounds: 0,
            ack_epoch_at: 0,
            ack_epoch_acked: 0.0,
        }
    }

    /// Packets that may be in flight.
    pub(crate) fn cwnd(&self) -> usize {
        self.cwnd
    }

    /// Packets per microsecond to pace at; infinite before the first measurement.
    pub(crate) fn pacing_rate(&self) -> f64 {
        self.rate.unwrap_or(f64::INFINITY)
    }

    /// The bandwidth estimate, packets per microsecond.
    pub(crate) fn bandwidth(&self) -> f64 {
        self.bw.get()
    }

    /// Sending begins again after nothing was in flight.
    pub(crate) fn on_transmit_start(&mut self, now: Micros, app_limited: bool) {
        if !app_limited {
            return;
        }
        self.idle_restart = true;
        self.ack_epoch_at = now;
        self.ack_epoch_acked = 0.0;
        if self.mode == Mode::ProbeBw {
            self.set_rate(1.0);
        }
    }

    /// The retransmission timer fired and `in_flight` packets are still believed to be under way.
    pub(crate) fn on_timeout(&mut self, in_flight: usize) {
        self.save_cwnd();
        self.recovery = Recovery::Timeout;
        self.full_bw = 0.0;
        self.round_start = true;
        self.cwnd = (in_flight + 1).max(MIN_CWND);
    }

    /// A batch of acknowledgements arrived.
    pub(crate) fn on_ack(&mut self, event: &AckEvent, srtt: Micros) {
        self.srtt = srtt;
        self.update_bandwidth(event);
        self.update_cap(event);
        self.update_aggregation(event);
        self.update_phase(event);
        self.check_full_pipe(event);
        self.check_drain(event);
        self.update_min_rtt(event);
        self.watch_queue(event);
        self.update_gains();
        self.set_rate(self.pacing_gain);
        self.update_cwnd(event);
    }

    fn update_bandwidth(&mut self, event: &AckEvent) {
        self.round_start = false;
        let sample = &event.sample;
        if sample.interval == 0 {
            return;
        }
        let long_enough = event.now.saturating_sub(self.round_at) >= MIN_MODEL_RTT;
        if sample.prior_delivered >= self.next_round_delivered && long_enough {
            self.next_round_delivered = event.delivered;
            self.rounds += 1;
            self.round_at = event.now;
            self.round_start = true;
        }
        // A shorter interval than the path's round trip means compressed acknowledgements.
        if sample.interval < self.min_rtt.unwrap_or(1) {
            return;
        }
        let bw = sample.delivered as f64 / sample.interval as f64;
        if !sample.app_limited || bw >= self.bw.get() {
            self.bw.update(self.rounds, bw);
        }
    }

    fn update_cap(&mut self, event: &AckEvent) {
        self.cap.on_ack(event);
        if self.round_start && self.cap.end_round(event.now, self.bdp(CAP_FLOOR_GAIN)) {
            // Losing so much, the path is full.
            self.full_bw_reached = true;
        }
    }

    fn update_aggregation(&mut self, event: &AckEvent) {
        if self.round_start {
            self.extra_rounds += 1;
            if self.extra_rounds >= EXTRA_ACKED_ROUNDS {
                self.extra_rounds = 0;
                self.extra_slot ^= 1;
                self.extra_acked[self.extra_slot] = 0.0;
            }
        }
        let elapsed = event.now.saturating_sub(self.ack_epoch_at) as f64;
        let mut expected = self.bw.get() * elapsed;
        if self.ack_epoch_acked <= expected {
            self.ack_epoch_acked = 0.0;
            self.ack_epoch_at = event.now;
            expected = 0.0;
        }
        self.ack_epoch_acked += event.sample.acked as f64;
        let extra = (self.ack_epoch_acked - expected).min(self.cwnd as f64);
        let slot = &mut self.extra_acked[self.extra_slot];
        *slot = slot.max(extra);
    }

    fn update_phase(&mut self, event: &AckEvent) {
        if self.mode != Mode::ProbeBw {
            return;
        }
        let full_length = event.now.saturating_sub(self.phase_at) > self.model_rtt();
        let next = if self.pacing_gain > 1.0 {
            full_length && (event.lost > 0 || event.in_flight >= self.bdp(self.pacing_gain))
        } else if self.pacing_gain < 1.0 {
            full_length || event.in_flight <= self.bdp(1.0)
        } else {
            full_length
        };
        if next {
            self.phase = (self.phase + 1) % PROBE_GAINS.len();
            self.phase_at = event.now;
        }
    }

    fn check_full_pipe(&mut self, event: &AckEvent) {
        if self.full_bw_reached || !self.round_start || event.sample.app_limited {
            return;
        }
        if self.bw.get() >= self.full_bw * FULL_BW_GROWTH {
            self.full_bw = self.bw.get();
            self.full_bw_count = 0;
            return;
        }
        self.full_bw_count += 1;
        self.full_bw_reached = self.full_bw_count >= FULL_BW_ROUNDS;
    }

    /// The start also ends when round trips in a row show a queue of ours. Waiting until the rate stops growing, or for the loss,
    /// is one more doubling: as many packets lost as the path holds.
    fn watch_queue(&mut self, event: &AckEvent) {
        let (Some(rtt), Some(min)) = (event.rtt, self.min_rtt) else { return };
        let queue = rtt.saturating_sub(min) > (min / 8).clamp(LEAST_QUEUE, MOST_QUEUE);
        self.queued = if queue { self.queued + 1 } else { 0 };
        if self.mode == Mode::Startup && self.rounds >= FIRST_ROUNDS && self.queued >= QUEUED {
            self.full_bw_reached = true;
            self.mode = Mode::Drain;
        }
    }

    fn check_drain(&mut self, event: &AckEvent) {
        if self.mode == Mode::Startup && self.full_bw_reached {
            self.mode = Mode::Drain;
        }
        if self.mode == Mode::Drain && event.in_flight <= self.bdp(1.0) {
            self.enter_probe_bw(event.now);
        }
    }

    fn update_min_rtt(&mut self, event: &AckEvent) {
        let expired = event.now.saturating_sub(self.min_rtt_at) > MIN_RTT_WINDOW;
        if let Some(rtt) = event.rtt
            && (expired || self.min_rtt.is_none_or(|min| rtt <= min))
        {
            self.min_rtt = Some(rtt.max(1));
            self.min_rtt_at = event.now;
        }
        if expired && !self.idle_restart && self.mode != Mode::ProbeRtt && self.min_rtt.is_some() {
            self.mode = Mode::ProbeRtt;
            self.save_cwnd();
            self.probe_rtt_until = None;
        }
        if self.mode == Mode::ProbeRtt {
            match self.probe_rtt_until {
                None if event.in_flight <= MIN_CWND => {
                    self.probe_rtt_until = Some(event.now + PROBE_RTT_TIME);
                    self.probe_rtt_round_done = false;
                    self.next_round_delivered = event.delivered;
                }
                None => {}
                Some(until) => {
                    self.probe_rtt_round_done |= self.round_start;
                    if self.probe_rtt_round_done && event.now >= until {
                        self.min_rtt_at = event.now;
                        self.cwnd = self.cwnd.max(self.prior_cwnd);
                        self.leave_probe_rtt(event.now);
                    }
                }
            }
        }
        if event.sample.delivered > 0 {
            self.idle_restart = false;
        }
    }

    fn leave_probe_rtt(&mut self, now: Micros) {
        if self.full_bw_reached {
            self.enter_probe_bw(now);
        } else {
            self.mode = Mode::Startup;
        }
    }

    fn enter_probe_bw(&mut self, now: Micros) {
        self.mode = Mode::ProbeBw;
        self.phase = FIRST_PHASE;
        self.phase_at = now;
    }

    fn update_gains(&mut self) {
        (self.pacing_gain, self.cwnd_gain) = match self.mode {
            Mode::Startup => (HIGH_GAIN, HIGH_GAIN),
            Mode::Drain => (DRAIN_GAIN, HIGH_GAIN),
            Mode::ProbeBw => (PROBE_GAINS[self.phase], CWND_GAIN),
            Mode::ProbeRtt => (1.0, 1.0),
        };
    }

    fn set_rate(&mut self, gain: f64) {
        let bw = self.bw.get();
        let rate = if bw > 0.0 {
            bw * gain * PACING_MARGIN
        } else if self.min_rtt.is_some() {
            // No sample yet: the initial window over the first round trip.
            self.cwnd as f64 / self.srtt.max(MIN_MODEL_RTT) as f64 * HIGH_GAIN
        } else {
            return;
        };
        if self.full_bw_reached || self.rate.is_none_or(|old| rate > old) {
            self.rate = Some(rate);
        }
    }

    fn update_cwnd(&mut self, event: &AckEvent) {
        let acked = event.sample.acked as usize;
        if acked > 0 {
            self.move_cwnd(event, acked);
        }
        if self.mode == Mode::ProbeRtt {
            self.cwnd = self.cwnd.min(MIN_CWND);
        }
        self.cwnd = self.cwnd.min(self.cap.get()).min(MAX_CWND);
    }

    fn move_cwnd(&mut self, event: &AckEvent, acked: usize) {
        if event.lost > 0 {
            self.cwnd = self.cwnd.saturating_sub(event.lost).max(1);
        }
        let before = std::mem::replace(&mut self.recovery, event.recovery);
        if event.recovery == Recovery::Open && before != Recovery::Open {
            self.cwnd = self.cwnd.max(self.prior_cwnd);
        }
        let mut target = self.bdp(self.cwnd_gain);
        if self.full_bw_reached {
            let extra = self.extra_acked[0].max(self.extra_acked[1]);
            target += extra.min(self.bw.get() * EXTRA_ACKED_TIME) as usize;
            self.cwnd = (self.cwnd + acked).min(target);
        } else if self.cwnd < target || event.delivered < INITIAL_CWND as u64 {
            self.cwnd += acked;
        }
        if self.full_bw_reached && event.recovery != Recovery::Timeout {
            // Random loss is no reason to send less than the path carries; the cap answers to loss of our doing.
            self.cwnd = self.cwnd.max(self.bdp(1.0));
        }
        self.cwnd = self.cwnd.max(MIN_CWND);
    }

    /// Called when recovery begins, while the window is still that of the open state.
    pub(crate) fn save_cwnd(&mut self) {
        if self.recovery == Recovery::Open && self.mode != Mode::ProbeRtt {
            self.prior_cwnd = self.cwnd;
        } else {
            self.prior_cwnd = self.prior_cwnd.max(self.cwnd);
        }
    }

    fn model_rtt(&self) -> Micros {
        self.min_rtt.unwrap_or(0).max(MIN_MODEL_RTT)
    }

    fn bdp(&self, gain: f64) -> usize {
        if self.min_rtt.is_none() {
            return INITIAL_CWND;
        }
        (self.bw.get() * self.model_rtt() as f64 * gain).min(MAX_CWND as f64) as usize
    }

    #[cfg(test)]
    fn mode(&self) -> Mode {
        self.mode
    }
}

#[cfg(test)]
mod tests {
    use super::super::RateSampler;
    use super::*;
    use std::collections::VecDeque;

    /// A bottleneck of `per_ms` packets per millisecond and `delay` of round trip, with a deep queue.
    fn run(per_ms: u64, delay: Micros, time: Micros) -> (Bbr, u64) {
        let mut bbr = Bbr::new();
        let mut rate = RateSampler::default();
        let mut path: VecDeque<(Micros, SendStamp, Micros)> = VecDeque::new();
        let (mut free_at, mut budget, mut delivered) = (0u64, 0.0f64, 0u64);
        for now in (0..time).step_by(100) {
            let mut batch = 0;
            while path.front().is_some_and(|&(due, ..)| due <= now) {
                let (_, stamp, sent_at) = path.pop_front().unwrap();
                rate.on_delivered(now, stamp, sent_at);
                batch += 1;
                let rtt = now - sent_at;
                if let Some(sample) = rate.finish(now) {
                    let event = AckEvent {
                        now,
                        sample,
                        rtt: Some(rtt),
                        lost: 0,
                        in_flight: path.len(),
                        delivered: rate.delivered(),
                        recovery: Recovery::Open,
                    };
                    bbr.on_ack(&event, rtt);
                }
            }
            delivered += batch;
            budget = (budget + bbr.pacing_rate().min(1e3) * 100.0).min(64.0);
            while path.len() < bbr.cwnd() && budget > 0.0 {
                budget -= 1.0;
                let stamp = rate.on_send(now, path.is_empty());
                free_at = free_at.max(now) + 1000 / per_ms;
                path.push_back((free_at + delay, stamp, now));
            }
        }
        (bbr, delivered)
    }
    use super::super::SendStamp;

    #[test]
    fn fills_a_bottleneck_without_filling_its_queue() {
        let (bbr, delivered) = run(10, 20_000, 3_000_000);
        assert_eq!(bbr.mode(), Mode::ProbeBw);
        assert!(delivered > 27_000, "{delivered} of 30000");
        assert!((0.009..0.0115).contains(&bbr.bandwidth()), "{}", bbr.bandwidth());
        // Two bandwidth-delay products of 200 packets, and room for bunched acknowledgements.
        assert!((300..700).contains(&bbr.cwnd()), "{}", bbr.cwnd());
    }

    #[test]
    fn probes_the_round_trip_after_ten_seconds() {
        let (bbr, delivered) = run(5, 40_000, 25_000_000);
        assert!(delivered > 115_000, "{delivered} of 125000");
        assert!(bbr.min_rtt.unwrap() < 45_000, "{:?}", bbr.min_rtt);
    }

    #[test]
    fn a_timeout_shrinks_the_window_and_the_end_of_recovery_restores_it() {
        let (mut bbr, _) = run(10, 20_000, 1_000_000);
        let before = bbr.cwnd();
        bbr.on_timeout(0);
        assert_eq!(bbr.cwnd(), MIN_CWND);
        let event = AckEvent {
            now: 1_100_000,
            sample: RateSample { delivered: 1, interval: 30_000, prior_delivered: 0, app_limited: true, acked: 1 },
            rtt: None,
            lost: 0,
            in_flight: 3,
            delivered: 20_000,
            recovery: Recovery::Open,
        };
        bbr.on_ack(&event, 30_000);
        assert!(bbr.cwnd() * 2 > before, "{} of {before}", bbr.cwnd());
    }
}
