//! Search for the largest packet that the path carries (after RFC 8899).
//!
//! A probe is an ordinary data packet with zero bytes between header and payload; their number must fit the one byte of
//! the data offset. A probe that is lost is sent again without the padding. Sizes here are whole IP packets, as in libudx.

/// Every path carries this, and the search begins here.
pub const BASE_MTU: usize = 1200;
/// Receivers read datagrams into 2048 bytes, and paths of the Internet carry no more.
pub const MAX_MTU: usize = 1500;
/// First steps go as far as the data offset reaches, so that most paths are known after two probes.
const LARGE_STEP: usize = 255;
/// After a large step failed.
const SMALL_STEP: usize = 32;
/// This many losses of one size end its trial.
const MAX_LOSSES: u32 = 3;

/// The search of one stream.
#[derive(Debug)]
pub(crate) struct MtuSearch {
    mtu: usize,
    limit: usize,
    step: usize,
    losses: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was acknowledged yet.
    Base,
    /// A probe may go out.
    Ready,
    /// A probe is under way.
    Probing,
    Complete,
}

impl MtuSearch {
    pub(crate) fn new(limit: usize) -> Self {
        Self { mtu: BASE_MTU, limit: limit.min(MAX_MTU), step: LARGE_STEP, losses: 0, state: State::Base }
    }

    /// The largest packet known to arrive.
    pub(crate) fn mtu(&self) -> usize {
        self.mtu
    }

    /// The path changed.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.limit);
    }

    /// The first acknowledgement of anything starts the search.
    pub(crate) fn on_ack(&mut self) {
        if self.state == State::Base {
            self.state = if self.limit > BASE_MTU { State::Ready } else { State::Complete };
        }
    }

    /// Padding for a full packet if one should be a probe now.
    pub(crate) fn padding(&self) -> Option<u8> {
        (self.state == State::Ready).then(|| (self.candidate() - self.mtu) as u8)
    }

    /// A packet with that padding was sent.
    pub(crate) fn on_probe_sent(&mut self) {
        self.state = State::Probing;
    }

    /// A probe of this padding arrived.
    pub(crate) fn on_probe_acked(&mut self, packet: usize) {
        if packet <= self.mtu || packet > self.limit {
            return;
        }
        self.mtu = packet;
        self.losses = 0;
        self.state = if self.mtu >= self.limit { State::Complete } else { State::Ready };
    }

    /// A probe was lost.
    pub(crate) fn on_probe_lost(&mut self) {
        if self.state != State::Probing {
            return;
        }
        self.losses += 1;
        self.state = State::Ready;
        if self.losses >= MAX_LOSSES {
            self.losses = 0;
            if self.candidate() - self.mtu > SMALL_STEP {
                self.step = SMALL_STEP;
            } else {
                self.state = State::Complete;
            }
        }
    }

    fn candidate(&self) -> usize {
        (self.mtu + self.step).min(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes until done over a path of `mtu`; says what was found and the number of probes.
    fn search(mtu: usize) -> (usize, usize) {
        let mut search = MtuSearch::new(MAX_MTU);
        assert_eq!(search.padding(), None);
        search.on_ack();
        let mut probes = 0;
        while let Some(padding) = search.padding() {
            probes += 1;
            let size = search.mtu() + usize::from(padding);
            search.on_probe_sent();
            assert_eq!(search.padding(), None);
            if size <= mtu { search.on_probe_acked(size) } else { search.on_probe_lost() }
        }
        (search.mtu(), probes)
    }

    #[test]
    fn finds_what_the_path_carries() {
        assert_eq!(search(1500), (1500, 2));
        assert_eq!(search(9000), (1500, 2));
        let (found, probes) = search(1420);
        assert!((1388..=1420).contains(&found), "{found}");
        assert!(probes <= 15);
        assert_eq!(search(1200).0, 1200);
        let (found, _) = search(1492);
        assert!(found >= 1455, "{found}");
    }

    #[test]
    fn one_lost_probe_is_not_the_end() {
        let mut search = MtuSearch::new(MAX_MTU);
        search.on_ack();
        search.on_probe_sent();
        search.on_probe_lost();
        assert_eq!(search.padding(), Some(255));
    }
}
