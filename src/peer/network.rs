//! The sidechannel's network: a Hyperswarm, and Protomux on its connections.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use crypto::KeyPair;
use hyperdht::{BootstrapNode, DhtOptions};
use hyperswarm::{JoinOptions, RelayThrough, Swarm, SwarmError, SwarmOptions};
use protomux::{Channel, ChannelEvent, ChannelOptions, Mux, PairStream, Sender};

use crate::sidechannel::Network;
use crate::sidechannel::link::{Inlet, Link, LinkChannel, LinkEvent, Operation, Outlet, PairRequest, Pairing};

/// The type of a sidechannel's messages.
const MESSAGE: u64 = 0;

/// The type of asides.
const ASIDE: u64 = 1;

/// How a peer takes part in the network.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Who it is to others.
    pub key_pair: KeyPair,
    /// The nodes that it begins with.
    pub bootstrap: Vec<BootstrapNode>,
    /// The address that it binds.
    pub host: IpAddr,
    /// Public keys of blind relays that it meets peers at which it cannot reach otherwise.
    pub relay_through: Vec<[u8; 32]>,
    /// The port that it binds; another if it is taken, any if it is 0.
    pub port: u16,
}

impl NetworkOptions {
    /// A peer that begins with these nodes, and is as reachable as it can be.
    pub fn new(key_pair: KeyPair, bootstrap: Vec<BootstrapNode>) -> NetworkOptions {
        let default = DhtOptions::default();
        NetworkOptions { key_pair, bootstrap, host: default.host, relay_through: Vec::new(), port: default.port }
    }
}

/// A swarm for sidechannels. Clones are handles of the same.
#[derive(Debug, Clone)]
pub struct SwarmNetwork(Swarm);

impl SwarmNetwork {
    /// Binds, and begins to look for the network.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn new(options: NetworkOptions) -> Result<SwarmNetwork, SwarmError> {
        let dht_options = DhtOptions {
            bootstrap: Some(options.bootstrap),
            host: options.host,
            port: options.port,
            ..DhtOptions::default()
        };
        let relay_through = (!options.relay_through.is_empty()).then_some(RelayThrough::Keys(options.relay_through));
        let options =
            SwarmOptions { key_pair: Some(options.key_pair), dht_options, relay_through, ..SwarmOptions::default() };
        Ok(SwarmNetwork(Swarm::new(options).await?))
    }

    /// The machine's network changed, or the program was stopped for a while: announces itself anew, and looks whether connections
    /// still live.
    pub fn network_changed(&self) {
        self.0.dht().network_changed();
    }

    /// The swarm.
    pub fn swarm(&self) -> &Swarm {
        &self.0
    }

    /// Withdraws the announcements and ends the connections.
    pub async fn destroy(&self) {
        self.0.destroy().await;
    }
}

impl From<Swarm> for SwarmNetwork {
    /// A swarm that is set up otherwise.
    fn from(swarm: Swarm) -> SwarmNetwork {
        SwarmNetwork(swarm)
    }
}

impl Network for SwarmNetwork {
    fn bootstrapped(&self) -> Operation<'_, ()> {
        Box::pin(self.0.dht().bootstrapped())
    }

    fn join(&self, topic: [u8; 32]) {
        // The session lives until the topic is left; only the handle is dropped.
        drop(self.0.join(topic, JoinOptions::default()));
    }

    fn leave(&self, topic: [u8; 32]) -> Operation<'_, ()> {
        Box::pin(self.0.leave(topic))
    }

    fn flush(&self) -> Operation<'_, ()> {
        Box::pin(async {
            // A swarm that was destroyed has nothing left to flush.
            let _ = self.0.flush().await;
        })
    }

    fn next_link(&self) -> Operation<'_, Option<Arc<dyn Link>>> {
        Box::pin(async {
            let (connection, _) = self.0.next_connection().await?;
            Some(Arc::new(MuxLink(Mux::new(connection))) as Arc<dyn Link>)
        })
    }
}

/// A connection with channels on it.
struct MuxLink(Mux);

impl Link for MuxLink {
    fn remote_public_key(&self) -> [u8; 32] {
        *self.0.remote_public_key()
    }

    fn open(&self, protocol: &str) -> Option<LinkChannel> {
        let channel = self.0.open(ChannelOptions::new(protocol)).ok()?;
        let sender = channel.sender();
        Some((Box::new(MuxInlet(channel)), Arc::new(MuxOutlet(sender))))
    }

    fn pair(&self, protocol: &str) -> Box<dyn Pairing> {
        Box::new(MuxPairing(self.0.pair(protocol, None)))
    }

    fn closed(&self) -> Operation<'_, ()> {
        Box::pin(async { drop(self.0.closed().await) })
    }

    fn destroy(&self) {
        self.0.destroy();
    }
}

struct MuxPairing(PairStream);

impl Pairing for MuxPairing {
    fn next(&mut self) -> Operation<'_, Option<PairRequest>> {
        Box::pin(async { self.0.next().await.map(|request| PairRequest(Box::new(request))) })
    }
}

struct MuxInlet(Channel);

impl Inlet for MuxInlet {
    fn recv(&mut self) -> Operation<'_, Option<LinkEvent>> {
        Box::pin(async {
            loop {
                match self.0.recv().await? {
                    ChannelEvent::Open { .. } => return Some(LinkEvent::Open),
                    ChannelEvent::Message { kind: MESSAGE, body } => return Some(LinkEvent::Message(body)),
                    ChannelEvent::Message { kind: ASIDE, body } => return Some(LinkEvent::Aside(body)),
                    // Of a later version of the protocol.
                    ChannelEvent::Message { .. } => {}
                    ChannelEvent::Close { .. } => return None,
                }
            }
        })
    }
}

struct MuxOutlet(Sender);

impl Outlet for MuxOutlet {
    fn send(&self, body: Bytes) -> Operation<'_, bool> {
        Box::pin(async move { self.0.send(MESSAGE, &body).await.is_ok() })
    }

    fn send_aside(&self, body: Bytes) -> Operation<'_, bool> {
        Box::pin(async move { self.0.send(ASIDE, &body).await.is_ok() })
    }

    fn close(&self) {
        self.0.close();
    }
}
