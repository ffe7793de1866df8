//! What a node holds at a moment, for an operator and for tests that nothing grows.

use std::sync::Weak;

use crate::dht::Dht;

/// The sizes of a node's state, without those of [`dht_rpc::Gauges`] and [`udx::Gauges`] below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// Servers that listen.
    pub servers: usize,
    /// Handshakes that they remember.
    pub handshakes: usize,
    /// Peers that this node forwards to.
    pub forwards: usize,
    /// Announcements that it stores.
    pub records: usize,
    /// Values that it stores.
    pub values: usize,
    /// Peers whose relay addresses it remembers.
    pub remembered_relays: usize,
    /// Peers to whom it remembers a route.
    pub routes: usize,
    /// Sockets that punch holes or carry connections through them.
    pub pool_sockets: usize,
}

impl Dht {
    /// What it holds now.
    pub fn gauges(&self) -> Gauges {
        let routes = self.inner.routes.lock().len();
        let state = &*self.inner.state.lock();
        let servers: Vec<_> = state.servers.values().filter_map(Weak::upgrade).collect();
        Gauges {
            servers: servers.len(),
            handshakes: servers.iter().map(|server| server.handshakes()).sum(),
            forwards: state.forwards.len(),
            records: state.storage.as_ref().map_or(0, |storage| storage.records()),
            values: state.storage.as_ref().map_or(0, |storage| storage.values()),
            remembered_relays: state.relays.len(),
            routes,
            pool_sockets: state.pool_sockets.values().filter(|socket| socket.strong_count() > 0).count(),
        }
    }
}
