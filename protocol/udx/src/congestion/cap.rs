//! A cap on what may be in flight, set by rounds that lose too much (after BBR version 2's `inflight_hi`).

use super::bbr::AckEvent;
use crate::stream::Micros;

/// The share of a round's packets above which their loss is our doing: what radio links lose by themselves is less.
const TOO_MUCH: f64 = 0.05;
/// Fewer lost packets than this say nothing about the share.
const FEWEST: usize = 8;
/// What the cap becomes of what was in flight.
const CUT: f64 = 0.7;
/// How long the cap stays where it is after such a round; then each round adds an eighth, until there is loss again or
/// nobody needs the cap.
const HOLD: Micros = 1_000_000;
const GROWTH: usize = 8;
/// A cap that has grown to this many times what is in flight is none.
const LOOSE: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct Cap {
    packets: Option<usize>,
    set_at: Micros,
    /// The present round: packets lost and delivered, and the most that was in flight.
    lost: usize,
    delivered: u64,
    peak: usize,
}

impl Cap {
    /// Packets.
    pub(crate) fn get(&self) -> usize {
        self.packets.unwrap_or(usize::MAX)
    }

    /// Counts what a batch of acknowledgements told.
    pub(crate) fn on_ack(&mut self, event: &AckEvent) {
        self.lost += event.lost;
        self.delivered += event.sample.acked;
        self.peak = self.peak.max(event.in_flight + event.lost + event.sample.acked as usize);
    }

    /// A round is over. Says whether it lost too much. The cap does not go below `floor`.
    pub(crate) fn end_round(&mut self, now: Micros, floor: usize) -> bool {
        let Self { lost, delivered, peak, .. } = *self;
        (self.lost, self.delivered, self.peak) = (0, 0, 0);
        let too_much = lost >= FEWEST && lost as f64 > TOO_MUCH * (lost as f64 + delivered as f64);
        if too_much {
            let cut = (peak.min(self.get()) as f64 * CUT) as usize;
            self.packets = Some(cut.max(floor));
            self.set_at = now;
        } else if let Some(packets) = self.packets
            && now.saturating_sub(self.set_at) >= HOLD
        {
            self.packets = (packets <= LOOSE * peak).then_some(packets + packets / GROWTH + 1);
        }
        too_much
    }
}

#[cfg(test)]
mod tests {
    use super::super::RateSample;
    use super::super::bbr::Recovery;
    use super::*;

    fn round(cap: &mut Cap, now: Micros, lost: usize, acked: u64, in_flight: usize) -> bool {
        let sample = RateSample { delivered: acked, interval: 1000, prior_delivered: 0, app_limited: false, acked };
        let recovery = Recovery::Open;
        cap.on_ack(&AckEvent { now, sample, rtt: None, lost, in_flight, delivered: acked, recovery });
        cap.end_round(now, 20)
    }

    #[test]
    fn random_loss_sets_no_cap() {
        let mut cap = Cap::default();
        assert!(!round(&mut cap, 0, 7, 10, 100));
        assert!(!round(&mut cap, 0, 20, 500, 500));
        assert_eq!(cap.get(), usize::MAX);
    }

    #[test]
    fn heavy_loss_cuts_then_the_cap_grows_and_goes() {
        let mut cap = Cap::default();
        assert!(round(&mut cap, 0, 100, 400, 500));
        assert_eq!(cap.get(), 700);
        assert!(round(&mut cap, 1000, 100, 400, 500));
        assert_eq!(cap.get(), 489);
        assert!(!round(&mut cap, 900_000, 0, 400, 400));
        assert_eq!(cap.get(), 489);
        assert!(!round(&mut cap, 1_100_000, 0, 400, 400));
        assert_eq!(cap.get(), 551);
        for n in 0..100 {
            round(&mut cap, 1_200_000 + n, 0, 20, 20);
        }
        assert_eq!(cap.get(), usize::MAX);
        for n in 0..100 {
            round(&mut cap, 3_000_000 + n, 100, 100, 300);
        }
        assert_eq!(cap.get(), 20);
    }
}
