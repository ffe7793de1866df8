//! How we look from outside: the address that most peers agree on.
//!
//! A ring of the last 16 observations, as in the JavaScript module `nat-sampler`.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

/// How many observations count.
const SAMPLES: usize = 16;

/// How many of the last observations a new one is compared with. An address that was not seen among them starts a count of
/// its own, so that a change of network is noticed quickly.
const COMPARED: usize = 4;

/// Counts observations of our own address and says what they agree on.
#[derive(Clone, Debug, Default)]
pub struct NatSampler {
    /// Which counter each observation belongs to: by host and port, and by host.
    ring: VecDeque<(usize, usize)>,
    full: Counters,
    hosts: Counters,
    agreed: Option<(Ipv4Addr, u16)>,
}

impl NatSampler {
    /// A sampler that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The host that the observations agree on.
    pub fn host(&self) -> Option<Ipv4Addr> {
        self.agreed.map(|(host, _)| host)
    }

    /// The port that they agree on; 0 when there is no agreement, which a NAT that picks a new port for each peer causes.
    pub fn port(&self) -> u16 {
        self.agreed.map_or(0, |(_, port)| port)
    }

    /// The host and the port, when both are agreed on.
    pub fn addr(&self) -> Option<SocketAddrV4> {
        self.agreed.filter(|(_, port)| *port != 0).map(|(host, port)| SocketAddrV4::new(host, port))
    }

    /// How many observations count now.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Counts one observation of our address and returns how often it was seen.
    pub fn add(&mut self, addr: SocketAddrV4) -> u32 {
        let recent = self.ring.iter().rev().take(COMPARED);
        let full = self.full.bump((*addr.ip(), addr.port()), recent.clone().map(|(full, _)| *full));
        let host = self.hosts.bump((*addr.ip(), 0), recent.map(|(_, host)| *host));

        self.ring.push_back((full, host));
        if self.ring.len() > SAMPLES
            && let Some((full, host)) = self.ring.pop_front()
        {
            self.full.slots[full].hits -= 1;
            self.hosts.slots[host].hits -= 1;
        }
        self.full.elect(full);
        self.hosts.elect(host);

        let n = self.ring.len() as u32;
        let threshold = n - [0, 1, 2, 3][(n as usize / 4).min(3)];
        self.agreed = [&self.full, &self.hosts]
            .into_iter()
            .find_map(|counters| counters.best().filter(|c| c.hits >= threshold).map(|c| c.addr));
        let hits = self.full.slots[full].hits;
        self.full.sweep();
        self.hosts.sweep();
        hits
    }
}

/// Counters that are addressed by their place.
#[derive(Clone, Debug, Default)]
struct Counters {
    slots: Vec<Counter>,
    /// The counter that leads. It stays so, even when its count fell, until another has more.
    leader: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    addr: (Ipv4Addr, u16),
    hits: u32,
}

impl Counters {
    fn bump(&mut self, addr: (Ipv4Addr, u16), mut recent: impl Iterator<Item = usize>) -> usize {
        if let Some(i) = recent.find(|i| self.slots[*i].addr == addr) {
            self.slots[i].hits += 1;
            return i;
        }
        let fresh = Counter { addr, hits: 1 };
        match self.slots.iter().position(|c| c.hits == 0) {
            Some(i) if self.leader != Some(i) => {
                self.slots[i] = fresh;
                i
            }
            _ => {
                self.slots.push(fresh);
                self.slots.len() - 1
            }
        }
    }

    fn elect(&mut self, candidate: usize) {
        if self.best().is_none_or(|best| best.hits < self.slots[candidate].hits) {
            self.leader = Some(candidate);
        }
    }

    fn best(&self) -> Option<Counter> {
        self.leader.map(|i| self.slots[i])
    }

    /// Drops unused counters from the end: at most one for each observation and the leader remain.
    fn sweep(&mut self) {
        while self.slots.last().is_some_and(|c| c.hits == 0) && self.leader != Some(self.slots.len() - 1) {
            self.slots.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(nat: &mut NatSampler, host: u8, port: u16) -> u32 {
        nat.add(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), port))
    }

    fn seen(nat: &NatSampler) -> Option<(u8, u16)> {
        nat.host().map(|host| (host.octets()[3], nat.port()))
    }

    #[test]
    fn few_consistent_samples() {
        let mut nat = NatSampler::new();
        for hits in 1..=3 {
            assert_eq!(add(&mut nat, 1, 9090), hits);
            assert_eq!(seen(&nat), Some((1, 9090)));
        }
    }

    #[test]
    fn few_samples_with_errors() {
        let mut nat = NatSampler::new();
        assert_eq!((add(&mut nat, 1, 9090), seen(&nat)), (1, Some((1, 9090))));
        assert_eq!((add(&mut nat, 1, 9091), seen(&nat)), (1, Some((1, 0))));
        assert_eq!((add(&mut nat, 1, 9090), seen(&nat)), (2, Some((1, 0))));
        assert_eq!((add(&mut nat, 1, 9090), seen(&nat)), (3, Some((1, 9090))));
        assert_eq!((add(&mut nat, 1, 9091), seen(&nat)), (2, Some((1, 0))));
    }

    #[test]
    fn hosts_that_disagree() {
        let mut nat = NatSampler::new();
        let hits: Vec<u32> = [1, 2, 1, 2].into_iter().map(|host| add(&mut nat, host, 9090)).collect();
        assert_eq!((hits, seen(&nat)), (vec![1, 1, 2, 2], None));
        for hits in 3..=5 {
            assert_eq!((add(&mut nat, 1, 9090), seen(&nat)), (hits, None));
        }
        assert_eq!((add(&mut nat, 1, 9091), seen(&nat)), (1, Some((1, 0))));
    }

    #[test]
    fn three_errors_are_forgiven() {
        let mut nat = NatSampler::new();
        for _ in 0..20 {
            add(&mut nat, 1, 9090);
        }
        for host in 1..=3 {
            assert_eq!(add(&mut nat, host, 9091), 1);
        }
        assert_eq!(seen(&nat), Some((1, 9090)));
        for _ in 0..5 {
            add(&mut nat, 1, 9090);
        }
        assert_eq!(seen(&nat), Some((1, 9090)));
        add(&mut nat, 1, 9095);
        assert_eq!(seen(&nat), Some((1, 0)));
        add(&mut nat, 2, 9095);
        assert_eq!(seen(&nat), Some((1, 0)));
        add(&mut nat, 2, 9095);
        assert_eq!(seen(&nat), None);
    }

    #[test]
    fn a_changing_address_does_not_grow_the_sampler() {
        let mut nat = NatSampler::new();
        for i in 0..10_000u16 {
            add(&mut nat, (i % 251) as u8, i);
        }
        assert!(nat.full.slots.len() <= SAMPLES + 2 && nat.hosts.slots.len() <= SAMPLES + 2);
    }
}
