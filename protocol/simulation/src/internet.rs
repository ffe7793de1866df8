//! What stands between the hosts: NATs, a partition, and hosts whose cable was pulled.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use udx::network::nat::{MAPPING_LIFETIME, NatKind, Nats};
use udx::network::sim::{Middlebox, SimPacket};

/// A part of a parted internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// One part.
    Left,
    /// The other.
    Right,
}

struct State {
    nats: Nats,
    /// The side of each address that is seen from outside; none for those that both reach.
    sides: HashMap<IpAddr, Side>,
    parted: bool,
    dark: HashSet<IpAddr>,
}

/// All that a datagram meets on its way. Clones are handles of the same.
#[derive(Clone)]
pub struct Internet(Arc<Mutex<State>>);

impl Internet {
    /// An internet without NATs, in one part.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut nats = Nats::new(seed);
        nats.lifetime = Some(MAPPING_LIFETIME);
        let state = State { nats, sides: HashMap::new(), parted: false, dark: HashSet::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Puts a host behind a NAT of its own.
    pub fn add_nat(&self, kind: NatKind, outside: Ipv4Addr, inside: Ipv4Addr) {
        self.0.lock().nats.add(kind, outside, &[inside]);
    }

    /// Says on which side of a partition a host is.
    pub fn set_side(&self, host: Ipv4Addr, side: Side) {
        let mut state = self.0.lock();
        let public = state.nats.public(host.into());
        state.sides.insert(public, side);
    }

    /// Parts the two sides, or joins them again.
    pub fn part(&self, parted: bool) {
        self.0.lock().parted = parted;
    }

    /// Cuts a host off, or lets it back: what it sends is lost, and what is sent to it.
    pub fn set_dark(&self, host: Ipv4Addr, dark: bool) {
        let mut state = self.0.lock();
        if dark {
            state.dark.insert(host.into());
        } else {
            state.dark.remove(&host.into());
        }
    }
}

impl Middlebox for Internet {
    fn forward(&mut self, now: Instant, packet: &mut SimPacket) -> bool {
        let mut state = self.0.lock();
        if state.dark.contains(&packet.source.ip()) {
            return false;
        }
        let ends = [state.nats.public(packet.source.ip()), packet.destination.ip()];
        if !state.nats.forward(now, packet) {
            return false;
        }
        let [from, to] = ends.map(|end| state.sides.get(&end));
        let apart = state.parted && from.zip(to).is_some_and(|(from, to)| from != to);
        !apart && !state.dark.contains(&packet.destination.ip())
    }
}
