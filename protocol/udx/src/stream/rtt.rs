//! Round trip time and the retransmission timeout (RFC 6298), in microseconds.

use super::Micros;
use crate::congestion::WindowedMin;

/// Before anything is measured, and at least.
pub(super) const MIN_RTO: Micros = 1_000_000;
pub(super) const MAX_RTO: Micros = 30_000_000;
/// How long the smallest round trip is remembered.
const MIN_WINDOW: Micros = 300_000_000;
/// A longer sample is suspicious: the machine may have slept.
const SUSPICIOUS: Micros = 5_000_000;

/// The estimator of one stream.
#[derive(Debug)]
pub(super) struct Rtt {
    srtt: Option<Micros>,
    var: Micros,
    min: WindowedMin,
    rto: Micros,
}

impl Rtt {
    pub(super) fn new() -> Self {
        Self { srtt: None, var: 0, min: WindowedMin::new(MIN_WINDOW), rto: MIN_RTO }
    }

    /// Takes a measurement of a packet that was sent once.
    pub(super) fn update(&mut self, now: Micros, mut rtt: Micros) {
        match self.srtt {
            None => {
                self.srtt = Some(rtt);
                self.var = rtt / 2;
            }
            Some(srtt) => {
                let bound = srtt + 5 * self.var;
                if rtt > SUSPICIOUS && rtt > bound {
                    rtt = bound.min(MAX_RTO);
                }
                self.var = (3 * self.var + srtt.abs_diff(rtt)) / 4;
                self.srtt = Some((7 * srtt + rtt) / 8);
            }
        }
        self.min.update(now, rtt);
        self.rto = (self.srtt.unwrap_or(0) + 4 * self.var).clamp(MIN_RTO, MAX_RTO);
    }

    pub(super) fn smoothed(&self) -> Option<Micros> {
        self.srtt
    }

    pub(super) fn min(&self) -> Option<Micros> {
        self.min.get()
    }

    pub(super) fn rto(&self) -> Micros {
        self.rto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_rfc_6298() {
        let mut rtt = Rtt::new();
        assert_eq!(rtt.rto(), MIN_RTO);
        rtt.update(0, 400_000);
        assert_eq!((rtt.smoothed(), rtt.rto()), (Some(400_000), 1_200_000));
        rtt.update(1, 800_000);
        // var = (3 * 200 + 400) / 4 = 250 ms, srtt = (7 * 400 + 800) / 8 = 450 ms
        assert_eq!((rtt.smoothed(), rtt.rto()), (Some(450_000), 1_450_000));
        assert_eq!(rtt.min(), Some(400_000));
    }

    #[test]
    fn a_sleep_of_the_machine_does_not_spoil_the_estimate() {
        let mut rtt = Rtt::new();
        for at in 0..50 {
            rtt.update(at, 20_000);
        }
        rtt.update(60, 3_600_000_000);
        assert!(rtt.smoothed().unwrap() < 40_000, "{:?}", rtt.smoothed());
        assert_eq!(rtt.rto(), MIN_RTO);
    }
}
