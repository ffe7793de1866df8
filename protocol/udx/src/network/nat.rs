//! NATs for the simulated network.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use udx::network::nat::{NatKind, Nats};
//! use udx::network::sim::SimNetwork;
//! use udx::Udx;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (outside, inside, server) = (Ipv4Addr::new(46, 1, 1, 1), Ipv4Addr::new(192, 168, 1, 2), Ipv4Addr::new(45, 1, 1, 1));
//! let net = SimNetwork::new(7);
//! let mut nats = Nats::new(7);
//! nats.add(NatKind::Cone, outside, &[inside]);
//! net.set_middlebox(nats);
//!
//! let (peer, node) = (Udx::with_network(net.host(inside.into())), Udx::with_network(net.host(server.into())));
//! let (peer, node) = (peer.bind("0.0.0.0:5000".parse()?)?, node.bind("0.0.0.0:6000".parse()?)?);
//! peer.try_send_to(b"hello", "45.1.1.1:6000".parse()?)?;
//! let seen = node.recv().await.expect("a datagram").from;
//! assert_eq!(seen.ip(), outside);
//! // Who was written to may answer.
//! node.try_send_to(b"hello yourself", seen)?;
//! assert_eq!(peer.recv().await.expect("an answer").from.port(), 6000);
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::sim::{Middlebox, SimPacket};

/// Datagrams that live no longer than this get lost between two NATs, unless [`Nats::hops`] says otherwise.
const HOPS: u32 = 5;

/// What [`Nats::lifetime`] is for NATs as they are: the least that RFC 4787 allows.
pub const MAPPING_LIFETIME: Duration = Duration::from_secs(120);

/// After how many datagrams a NAT looks for mappings that are over.
const SWEEP_INTERVAL: u32 = 4096;

/// How a NAT gives ports, and whom it lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// Every socket has one port; only who was written to may write back.
    Cone,
    /// The ports of the inside; anybody may write.
    Full,
    /// A socket has another port for everybody; only who was written to may write back.
    Symmetric,
}

/// A socket inside, and the partner where that matters.
type Inside = (SocketAddr, Option<SocketAddr>);

struct Mapping {
    inside: Inside,
    used: Instant,
    /// When each was last written to.
    partners: HashMap<SocketAddr, Instant>,
}

struct Nat {
    kind: NatKind,
    outside: Ipv4Addr,
    ports: HashMap<Inside, u16>,
    mappings: HashMap<u16, Mapping>,
    sent: u32,
    rng: StdRng,
}

/// A moment of the network, and how long what nothing was sent for is remembered.
#[derive(Clone, Copy)]
struct Time {
    now: Instant,
    lifetime: Option<Duration>,
}

impl Time {
    fn is_over(self, used: Instant) -> bool {
        self.lifetime.is_some_and(|lifetime| self.now.saturating_duration_since(used) > lifetime)
    }
}

impl Nat {
    /// How a datagram from `inside` looks to `to`.
    fn leave(&mut self, inside: SocketAddr, to: SocketAddr, time: Time) -> SocketAddr {
        self.sweep(time);
        let inside = (inside, (self.kind == NatKind::Symmetric).then_some(to));
        if let Some(port) = self.ports.get(&inside)
            && self.kind != NatKind::Full
            && self.mappings.get(port).is_some_and(|mapping| time.is_over(mapping.used))
        {
            self.mappings.remove(port);
            self.ports.remove(&inside);
        }
        let port = *self.ports.entry(inside).or_insert_with(|| match self.kind {
            NatKind::Full => inside.0.port(),
            _ => loop {
                let port = self.rng.random_range(1024..=u16::MAX);
                if !self.mappings.contains_key(&port) {
                    break port;
                }
            },
        });
        let fresh = || Mapping { inside, used: time.now, partners: HashMap::new() };
        let mapping = self.mappings.entry(port).or_insert_with(fresh);
        mapping.used = time.now;
        mapping.partners.insert(to, time.now);
        SocketAddr::new(self.outside.into(), port)
    }

    /// Who gets a datagram from `from`. It does not make the mapping live longer.
    fn enter(&self, from: SocketAddr, port: u16, time: Time) -> Option<SocketAddr> {
        let mapping = self.mappings.get(&port)?;
        let invited = mapping.partners.get(&from).is_some_and(|used| !time.is_over(*used));
        (self.kind == NatKind::Full || invited).then_some(mapping.inside.0)
    }

    /// Forgets what is over, now and then. The mappings of a full cone are for ever, like forwarded ports.
    fn sweep(&mut self, time: Time) {
        self.sent = (self.sent + 1) % SWEEP_INTERVAL;
        if self.sent != 0 {
            return;
        }
        let keep = self.kind == NatKind::Full;
        self.mappings.retain(|_, mapping| {
            mapping.partners.retain(|_, used| !time.is_over(*used));
            keep || !time.is_over(mapping.used)
        });
        let mappings = &self.mappings;
        self.ports.retain(|_, port| mappings.contains_key(port));
    }
}

/// All NATs of a network; hosts that are behind none are reached by everybody.
pub struct Nats {
    nats: Vec<Nat>,
    /// The NAT of each host that has one.
    inside: HashMap<IpAddr, usize>,
    outside: HashMap<IpAddr, usize>,
    /// Whether hosts behind one NAT reach each other.
    pub lan: bool,
    /// Whether they reach each other by the outside of the NAT.
    pub hairpin: bool,
    /// How long a NAT remembers a socket, or a partner, that nothing was sent for; `None` for ever.
    pub lifetime: Option<Duration>,
    /// Routers behind each NAT: datagrams that live no longer get lost.
    pub hops: u32,
    seed: u64,
}

impl Nats {
    /// None yet. Hosts behind one NAT reach each other, and not by its outside.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            nats: Vec::new(),
            inside: HashMap::new(),
            outside: HashMap::new(),
            lan: true,
            hairpin: false,
            lifetime: None,
            hops: HOPS,
            seed,
        }
    }

    /// Puts hosts behind a new NAT.
    pub fn add(&mut self, kind: NatKind, outside: Ipv4Addr, inside: &[Ipv4Addr]) {
        self.inside.extend(inside.iter().map(|host| (IpAddr::V4(*host), self.nats.len())));
        self.outside.insert(outside.into(), self.nats.len());
        // Each has its own chance, so that nothing depends on who of several hosts sends first.
        // And not that of a node which was given a number near ours as its seed.
        let number = (self.nats.len() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let rng = StdRng::seed_from_u64(self.seed.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ number);
        self.nats.push(Nat { kind, outside, ports: HashMap::new(), mappings: HashMap::new(), sent: 0, rng });
    }

    /// How `host` looks from outside: the NAT in front of it, or itself.
    #[must_use]
    pub fn public(&self, host: IpAddr) -> IpAddr {
        self.inside.get(&host).map_or(host, |nat| self.nats[*nat].outside.into())
    }
}

impl Middlebox for Nats {
    fn forward(&mut self, now: Instant, packet: &mut SimPacket) -> bool {
        let time = Time { now, lifetime: self.lifetime };
        let from = self.inside.get(&packet.source.ip()).copied();
        if let Some(nat) = from {
            if self.inside.get(&packet.destination.ip()) == Some(&nat) {
                return self.lan;
            }
            packet.source = self.nats[nat].leave(packet.source, packet.destination, time);
            if packet.ttl <= self.hops {
                return false;
            }
        }
        if self.inside.contains_key(&packet.destination.ip()) {
            // A private address means nothing outside.
            return false;
        }
        let to = packet.destination;
        let Some(nat) = self.outside.get(&to.ip()).copied() else { return true };
        match self.nats[nat].enter(packet.source, to.port(), time) {
            Some(inside) if self.hairpin || from != Some(nat) => {
                packet.destination = inside;
                true
            }
            _ => false,
        }
    }
}
