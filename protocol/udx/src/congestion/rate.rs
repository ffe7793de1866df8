//! Delivery rate estimation (draft-cheng-iccrg-delivery-rate-estimation): how many packets arrived per time, measured
//! from the stamps that each packet gets when it is sent.

use crate::stream::Micros;

/// What a packet remembers of the moment it was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SendStamp {
    /// Packets that had been delivered by then.
    pub(crate) delivered: u64,
    /// When the last of them was.
    pub(crate) delivered_at: Micros,
    /// Send time of the packet that began the sending interval.
    pub(crate) first_sent_at: Micros,
    /// The sender had less to send than it was allowed to.
    pub(crate) app_limited: bool,
}

/// One measurement, made from all that one batch of acknowledgements delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateSample {
    /// Packets delivered over `interval`.
    pub(crate) delivered: u64,
    /// The longer of the sending and the acknowledging interval.
    pub(crate) interval: Micros,
    /// Value of the delivered counter when the newest delivered packet was sent.
    pub(crate) prior_delivered: u64,
    /// The sample may understate the path.
    pub(crate) app_limited: bool,
    /// Packets delivered by this batch.
    pub(crate) acked: u64,
}

/// The running counters of one stream.
#[derive(Debug, Default)]
pub(crate) struct RateSampler {
    delivered: u64,
    delivered_at: Micros,
    first_sent_at: Micros,
    /// The sender is application limited until `delivered` passes this; zero when it is not.
    app_limited_until: u64,
    pending: Option<Pending>,
    acked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    stamp: SendStamp,
    sent_at: Micros,
}

impl RateSampler {
    /// Stamps a packet that is sent now.
    pub(crate) fn on_send(&mut self, now: Micros, nothing_in_flight: bool) -> SendStamp {
        if nothing_in_flight {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        SendStamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.app_limited_until != 0,
        }
    }

    /// Notes that a packet arrived.
    pub(crate) fn on_delivered(&mut self, now: Micros, stamp: SendStamp, sent_at: Micros) {
        self.delivered += 1;
        self.acked += 1;
        self.delivered_at = now;
        let newer =
            self.pending.is_none_or(|pending| (stamp.delivered, sent_at) >= (pending.stamp.delivered, pending.sent_at));
        if newer {
            self.pending = Some(Pending { stamp, sent_at });
        }
    }

    /// Notes that the application gave less than the path would take.
    pub(crate) fn set_app_limited(&mut self, in_flight: usize) {
        self.app_limited_until = (self.delivered + in_flight as u64).max(1);
    }

    /// Ends a batch of acknowledgements and gives its measurement.
    pub(crate) fn finish(&mut self, now: Micros) -> Option<RateSample> {
        if self.app_limited_until != 0 && self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        let acked = std::mem::take(&mut self.acked);
        let Pending { stamp, sent_at } = self.pending.take()?;
        self.first_sent_at = sent_at;
        let sending = sent_at.saturating_sub(stamp.first_sent_at);
        let acknowledging = now.saturating_sub(stamp.delivered_at);
        Some(RateSample {
            delivered: self.delivered - stamp.delivered,
            interval: sending.max(acknowledging),
            prior_delivered: stamp.delivered,
            app_limited: stamp.app_limited,
            acked,
        })
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(crate) fn is_app_limited(&self) -> bool {
        self.app_limited_until != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_a_steady_flow() {
        let mut rate = RateSampler::default();
        // One packet each millisecond, 10 ms of delay: 1 packet per millisecond is delivered.
        let mut flight = std::collections::VecDeque::new();
        for step in 0..100u64 {
            let now = step * 1000;
            if step >= 10 {
                let (stamp, sent_at) = flight.pop_front().unwrap();
                rate.on_delivered(now, stamp, sent_at);
                let sample = rate.finish(now).unwrap();
                if step > 30 {
                    assert_eq!(sample.delivered, 10, "a round trip of packets");
                    assert_eq!(sample.interval, 10_000);
                }
            }
            flight.push_back((rate.on_send(now, flight.is_empty()), now));
        }
    }

    #[test]
    fn app_limit_ends_when_that_flight_is_delivered() {
        let mut rate = RateSampler::default();
        rate.set_app_limited(1);
        let stamp = rate.on_send(5, true);
        assert!(stamp.app_limited);
        rate.on_delivered(10, stamp, 5);
        rate.on_delivered(10, stamp, 5);
        rate.finish(10);
        assert!(!rate.is_app_limited());
    }
}
