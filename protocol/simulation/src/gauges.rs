//! What all nodes of a world hold together, layer by layer.

use std::collections::BTreeMap;
use std::fmt;

use hyperdht::Dht;
use hyperswarm::Swarm;

/// Sizes by name. Each is a sum over all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges(BTreeMap<&'static str, u64>);

impl Gauges {
    /// Adds to one of them.
    pub fn add(&mut self, name: &'static str, value: usize) {
        *self.0.entry(name).or_default() += value as u64;
    }

    /// One of them; 0 if it was never added to.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The greater of each.
    pub fn raise(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            let own = self.0.entry(name).or_default();
            *own = (*own).max(*value);
        }
    }

    /// Those that are greater than `earlier` by more than a quarter, and by more than `slack`, with both values.
    #[must_use]
    pub fn grown(&self, earlier: &Self, slack: u64) -> Vec<(&'static str, u64, u64)> {
        let before = |name: &str| earlier.get(name);
        let grown = self.0.iter().filter(|(name, value)| **value > before(name) + before(name) / 4 + slack);
        grown.map(|(name, value)| (*name, before(name), *value)).collect()
    }

    pub(crate) fn add_dht(&mut self, dht: &Dht) {
        let (udx, rpc, own) = (dht.rpc().udx().gauges(), dht.rpc().gauges(), dht.gauges());
        for (name, value) in [
            ("udx sockets", udx.sockets),
            ("udx streams", udx.streams),
            ("udx deadlines", udx.deadlines),
            ("rpc nodes", rpc.nodes),
            ("rpc requests", rpc.requests),
            ("rpc queries", rpc.queries),
            ("rpc delayed answers", rpc.delayed_answers),
            ("rpc address samples", rpc.address_samples),
            ("dht servers", own.servers),
            ("dht handshakes", own.handshakes),
            ("dht forwards", own.forwards),
            ("dht records", own.records),
            ("dht values", own.values),
            ("dht remembered relays", own.remembered_relays),
            ("dht routes", own.routes),
            ("dht pool sockets", own.pool_sockets),
        ] {
            self.add(name, value);
        }
    }

    pub(crate) fn add_swarm(&mut self, swarm: &Swarm) {
        let own = swarm.gauges();
        for (name, value) in [
            ("swarm connections", own.connections),
            ("swarm attempts", own.connecting),
            ("swarm known peers", own.known_peers),
            ("swarm queued peers", own.queued),
            ("swarm waiting peers", own.waiting),
            ("swarm topics", own.topics),
        ] {
            self.add(name, value);
        }
        self.add_dht(swarm.dht());
    }
}

impl fmt::Display for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name} {value}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
