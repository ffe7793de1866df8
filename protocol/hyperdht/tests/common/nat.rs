//! NATs for the simulated network.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use udx::network::sim::{Middlebox, SimPacket};

/// Probes that live no longer than this get lost behind the NAT that they leave, unless the world is a smaller one.
const HOPS: u32 = 5;

/// How a NAT gives ports, and whom it lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every socket has one port; only who was written to may write back.
    Cone,
    /// The ports of the inside; anybody may write.
    Full,
    /// A socket has another port for everybody; only who was written to may write back.
    Symmetric,
}

struct Mapping {
    inside: SocketAddr,
    partners: HashSet<SocketAddr>,
}

struct Nat {
    kind: Kind,
    outside: Ipv4Addr,
    /// By the socket inside, and the partner where that matters.
    ports: HashMap<(SocketAddr, Option<SocketAddr>), u16>,
    mappings: HashMap<u16, Mapping>,
}

impl Nat {
    /// How a datagram from `inside` looks to `to`.
    fn leave(&mut self, inside: SocketAddr, to: SocketAddr, rng: &mut StdRng) -> SocketAddr {
        let partner = (self.kind == Kind::Symmetric).then_some(to);
        let port = *self.ports.entry((inside, partner)).or_insert_with(|| match self.kind {
            Kind::Full => inside.port(),
            _ => loop {
                let port = rng.random_range(1024..=u16::MAX);
                if !self.mappings.contains_key(&port) {
                    break port;
                }
            },
        });
        let mapping = self.mappings.entry(port).or_insert_with(|| Mapping { inside, partners: HashSet::new() });
        mapping.partners.insert(to);
        SocketAddr::new(self.outside.into(), port)
    }

    /// Who gets a datagram from `from`.
    fn enter(&self, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        let mapping = self.mappings.get(&port)?;
        (self.kind == Kind::Full || mapping.partners.contains(&from)).then_some(mapping.inside)
    }
}

/// All NATs of a network; hosts that are behind none are reached by everybody.
pub(crate) struct Nats {
    nats: Vec<Nat>,
    /// The NAT of each host that has one.
    inside: HashMap<IpAddr, usize>,
    /// Whether hosts behind one NAT reach each other.
    pub(crate) lan: bool,
    /// Whether they reach each other by the outside of the NAT.
    pub(crate) hairpin: bool,
    /// How many routers there are between two networks.
    pub(crate) hops: u32,
    rng: StdRng,
}

impl Nats {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { nats: Vec::new(), inside: HashMap::new(), lan: true, hairpin: false, hops: HOPS, rng }
    }

    /// Puts hosts behind a NAT.
    pub(crate) fn add(&mut self, kind: Kind, outside: Ipv4Addr, inside: &[Ipv4Addr]) {
        self.inside.extend(inside.iter().map(|host| (IpAddr::V4(*host), self.nats.len())));
        self.nats.push(Nat { kind, outside, ports: HashMap::new(), mappings: HashMap::new() });
    }
}

impl Middlebox for Nats {
    fn forward(&mut self, _now: Instant, packet: &mut SimPacket) -> bool {
        let from = self.inside.get(&packet.source.ip()).copied();
        if let Some(nat) = from {
            if self.inside.get(&packet.destination.ip()) == Some(&nat) {
                return self.lan;
            }
            packet.source = self.nats[nat].leave(packet.source, packet.destination, &mut self.rng);
            if packet.ttl <= self.hops {
                return false;
            }
        }
        if self.inside.contains_key(&packet.destination.ip()) {
            // A private address means nothing outside.
            return false;
        }
        let to = packet.destination;
        let Some(nat) = self.nats.iter().position(|nat| IpAddr::V4(nat.outside) == to.ip()) else { return true };
        match self.nats[nat].enter(packet.source, to.port()) {
            Some(inside) if self.hairpin || from != Some(nat) => {
                packet.destination = inside;
                true
            }
            _ => false,
        }
    }
}
