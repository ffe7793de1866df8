//! What kind of NAT a socket is behind, from how several nodes see it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::constants::firewall;

/// Samples after which a NAT that showed no pattern counts as random.
pub(crate) const MIN_SAMPLES: usize = 4;

/// Nodes that are passed over when enough are known: those that were heard from last are the busiest.
const SKIP: usize = 5;

/// With fewer nodes than this none is passed over.
const SKIP_FROM: usize = 8;

/// Samples that are counted; what further nodes say changes nothing.
const MAX_SAMPLES: usize = 64;

/// What a peer is behind. The numbers on the wire are those of [`firewall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Firewall {
    /// It is not known yet.
    Unknown,
    /// Anybody can write to the peer.
    Open,
    /// Everybody sees the same address.
    Consistent,
    /// Everybody sees another port.
    Random,
}

impl Firewall {
    /// Numbers of later versions are taken for the hardest kind.
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            firewall::UNKNOWN => Self::Unknown,
            firewall::OPEN => Self::Open,
            firewall::CONSISTENT => Self::Consistent,
            _ => Self::Random,
        }
    }

    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Unknown => firewall::UNKNOWN,
            Self::Open => firewall::OPEN,
            Self::Consistent => firewall::CONSISTENT,
            Self::Random => firewall::RANDOM,
        }
    }

    /// Whether a peer behind it has one address that holes can be punched to.
    pub(crate) fn is_consistent(self) -> bool {
        matches!(self, Self::Open | Self::Consistent)
    }
}

/// What a socket tells the other side about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NatView {
    pub(crate) firewall: Firewall,
    /// How the socket looks from outside; the port is zero when it looks different to everybody.
    pub(crate) addresses: Option<Vec<SocketAddrV4>>,
}

impl NatView {
    /// Whether the socket looks so from outside.
    pub(crate) fn is_at(&self, addr: SocketAddrV4) -> bool {
        self.addresses.iter().flatten().any(|known| *known == addr)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visit {
    /// It was asked, and may be heard.
    Asked,
    /// It was heard; a node counts once.
    Counted,
}

/// Addresses, those seen most often first; of equals the one that was seen first.
#[derive(Debug, Default)]
struct Samples<T>(Vec<(T, usize)>);

impl<T: Copy + PartialEq> Samples<T> {
    fn add(&mut self, value: T) {
        let Some(mut i) = self.0.iter().position(|(known, _)| *known == value) else {
            self.0.push((value, 1));
            return;
        };
        self.0[i].1 += 1;
        while i > 0 && self.0[i - 1].1 < self.0[i].1 {
            self.0.swap(i - 1, i);
            i -= 1;
        }
    }

    fn hits(&self, place: usize) -> usize {
        self.0.get(place).map_or(0, |(_, hits)| *hits)
    }
}

/// The analysis of one socket. The rules are those of `lib/nat.js` of hyperdht, because both sides act on what one of them
/// concludes.
#[derive(Debug)]
pub(crate) struct Nat {
    hosts: Samples<Ipv4Addr>,
    full: Samples<SocketAddrV4>,
    visited: HashMap<SocketAddrV4, Visit>,
    sampled: usize,
    view: NatView,
    frozen: bool,
}

impl Nat {
    /// Nothing is known, unless the node is not `firewalled`.
    pub(crate) fn new(firewalled: bool) -> Self {
        let firewall = if firewalled { Firewall::Unknown } else { Firewall::Open };
        Self {
            hosts: Samples(Vec::new()),
            full: Samples(Vec::new()),
            visited: HashMap::new(),
            sampled: 0,
            view: NatView { firewall, addresses: None },
            frozen: false,
        }
    }

    /// What is known so far.
    pub(crate) fn view(&self) -> &NatView {
        &self.view
    }

    pub(crate) fn sampled(&self) -> usize {
        self.sampled
    }

    /// Changes the view no more: the other side was told.
    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Of `nodes`, the latest first, those to ask how they see the socket.
    pub(crate) fn ask(&mut self, nodes: &[SocketAddrV4], table_len: usize) -> Vec<SocketAddrV4> {
        let skip = if table_len >= SKIP_FROM { SKIP } else { 0 };
        let mut asked = Vec::new();
        for node in nodes.iter().skip(skip) {
            if self.sampled + asked.len() >= MIN_SAMPLES {
                break;
            }
            if !self.visited.contains_key(node) {
                self.visited.insert(*node, Visit::Asked);
                asked.push(*node);
            }
        }
        asked
    }

    /// The node `from` sees the socket at `addr`. Returns whether the analysis has come to a result.
    pub(crate) fn add(&mut self, addr: SocketAddrV4, from: SocketAddrV4, firewalled: bool) -> bool {
        if self.sampled < MAX_SAMPLES && self.visited.insert(from, Visit::Counted) != Some(Visit::Counted) {
            self.hosts.add(*addr.ip());
            self.full.add(addr);
            self.sampled += 1;
            if (self.sampled >= 3 || !firewalled) && !self.frozen {
                self.update(firewalled);
            }
        }
        self.view.firewall.is_consistent() || self.sampled >= MIN_SAMPLES
    }

    fn update(&mut self, firewalled: bool) {
        if firewalled && self.view.firewall == Firewall::Open {
            self.view.firewall = Firewall::Unknown;
        }
        self.view.firewall = self.classify(firewalled);
        match self.view.firewall {
            Firewall::Unknown => self.view.addresses = None,
            Firewall::Open => {}
            Firewall::Random => {
                self.view.addresses = self.hosts.0.first().map(|(host, _)| vec![SocketAddrV4::new(*host, 0)]);
            }
            Firewall::Consistent => {
                let mut addresses = Vec::new();
                for (addr, hits) in &self.full.0 {
                    if *hits >= 2 || addresses.len() < 2 {
                        addresses.push(*addr);
                    }
                }
                self.view.addresses = Some(addresses);
            }
        }
    }

    fn classify(&self, firewalled: bool) -> Firewall {
        if !firewalled {
            return Firewall::Open;
        }
        if self.sampled < 3 {
            return self.view.firewall;
        }
        match self.full.hits(0) {
            3.. => Firewall::Consistent,
            0 | 1 => Firewall::Random,
            // Twice the same, and more than one other.
            2 if self.hosts.0.len() == 1 && self.sampled > 3 => Firewall::Random,
            // A NAT with two addresses, each seen twice.
            2 if self.hosts.0.len() > 1 && self.full.hits(1) > 1 => Firewall::Consistent,
            2 if self.sampled > MIN_SAMPLES => Firewall::Random,
            _ => self.view.firewall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(host: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), port)
    }

    /// Adds what the node at each port sees, and tells the state after each.
    fn analyze(seen: &[(u8, u16)]) -> (Vec<Firewall>, Option<Vec<SocketAddrV4>>) {
        let mut nat = Nat::new(true);
        let mut states = Vec::new();
        for (i, (host, port)) in seen.iter().enumerate() {
            nat.add(addr(*host, *port), addr(1, 8080 + i as u16), true);
            states.push(nat.view().firewall);
        }
        (states, nat.view().addresses.clone())
    }

    use Firewall::{Consistent, Open, Random, Unknown};

    #[test]
    fn no_firewall_is_open() {
        let mut nat = Nat::new(false);
        assert_eq!((nat.sampled(), nat.view().firewall), (0, Open));
        assert!(nat.add(addr(1, 1), addr(1, 8080), false));
        assert_eq!(nat.view(), &NatView { firewall: Open, addresses: None });
        // A firewall was found in the meantime.
        for i in 1..4 {
            nat.add(addr(1, 1), addr(1, 8080 + i), true);
        }
        assert_eq!(nat.view().firewall, Consistent);
    }

    #[test]
    fn different_ports_are_random() {
        let (states, addresses) = analyze(&[(1, 8080), (1, 8081), (1, 8082)]);
        assert_eq!(states, [Unknown, Unknown, Random]);
        assert_eq!(addresses, Some(vec![addr(1, 0)]));
    }

    #[test]
    fn a_node_counts_once() {
        let mut nat = Nat::new(true);
        for _ in 0..5 {
            assert!(!nat.add(addr(1, 8080), addr(1, 8080), true));
        }
        assert_eq!((nat.sampled(), nat.view().firewall), (1, Unknown));
    }

    #[test]
    fn the_same_address_is_consistent() {
        let (states, addresses) = analyze(&[(1, 8080), (1, 8080), (1, 8080)]);
        assert_eq!(states, [Unknown, Unknown, Consistent]);
        assert_eq!(addresses, Some(vec![addr(1, 8080)]));
    }

    #[test]
    fn one_exception_is_still_consistent() {
        let (states, addresses) = analyze(&[(1, 8080), (1, 8081), (1, 8080), (1, 8080)]);
        assert_eq!(states, [Unknown, Unknown, Unknown, Consistent]);
        assert_eq!(addresses, Some(vec![addr(1, 8080), addr(1, 8081)]));
    }

    #[test]
    fn two_addresses_twice_are_consistent() {
        let (states, addresses) = analyze(&[(1, 8080), (2, 8081), (1, 8080), (2, 8081)]);
        assert_eq!(states, [Unknown, Unknown, Unknown, Consistent]);
        assert_eq!(addresses, Some(vec![addr(1, 8080), addr(2, 8081)]));
    }

    #[test]
    fn two_of_four_are_not_quite_consistent() {
        let (states, addresses) = analyze(&[(1, 8080), (1, 8080), (1, 8081), (1, 8082)]);
        assert_eq!(states, [Unknown, Unknown, Unknown, Random]);
        assert_eq!(addresses, Some(vec![addr(1, 0)]));
    }

    #[test]
    fn hosts_without_a_pattern_are_random_in_the_end() {
        let (states, _) = analyze(&[(1, 1), (1, 1), (2, 2), (3, 3), (4, 4)]);
        assert_eq!(states, [Unknown, Unknown, Unknown, Unknown, Random]);
    }

    #[test]
    fn a_frozen_view_stays() {
        let mut nat = Nat::new(true);
        for i in 0..3 {
            nat.add(addr(1, 8080 + i), addr(1, i), true);
        }
        nat.freeze();
        for i in 3..9 {
            assert!(nat.add(addr(1, 8080), addr(1, i), true), "enough is known");
        }
        assert_eq!(nat.view().firewall, Random);
    }

    #[test]
    fn four_nodes_are_asked_and_none_twice() {
        let nodes: Vec<_> = (0..16).map(|i| addr(1, i)).collect();
        let mut nat = Nat::new(true);
        assert_eq!(nat.ask(&nodes, 16), nodes[5..9]);
        nat.add(addr(1, 9), nodes[5], true);
        assert_eq!(nat.ask(&nodes, 16), nodes[9..12], "three more make four samples");
        assert_eq!(Nat::new(true).ask(&nodes[..7], 7), nodes[..4], "none is passed over when there are few");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut nat = Nat::new(true);
        for i in 0..1000 {
            nat.add(addr(1, i), addr(2, i), true);
        }
        assert_eq!((nat.sampled(), nat.visited.len(), nat.full.0.len()), (MAX_SAMPLES, MAX_SAMPLES, MAX_SAMPLES));
    }
}
