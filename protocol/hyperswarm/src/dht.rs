//! HyperDHT as the network of a swarm.

use std::net::SocketAddrV4;
use std::sync::Arc;

use crypto::KeyPair;
use hyperdht::{
    AnnounceOptions, ConnectError, ConnectOptions, Connection, Dht, Relays, Server as DhtServer, ServerOptions,
};
use secret_stream::Monitor;
use tokio::sync::{mpsc, watch};
use udx::WeakUdxStream;

use crate::network::{FoundPeer, Link, Network, NetworkError, QueryKind, RefusePeer, RelayKeys, Server, TopicQuery};

impl Network for Dht {
    type Connection = Connection;
    type Link = DhtLink;
    type Server = DhtServer;
    type Node = SocketAddrV4;

    fn link(connection: &Connection) -> DhtLink {
        DhtLink {
            stream: connection.transport().downgrade(),
            monitor: connection.monitor(),
            remote_public_key: *connection.remote_public_key(),
            initiator: connection.is_initiator(),
        }
    }

    async fn connect(
        &self,
        remote_public_key: [u8; 32],
        relay_addresses: Vec<SocketAddrV4>,
        relay_through: Vec<[u8; 32]>,
        key_pair: KeyPair,
    ) -> Result<Connection, NetworkError> {
        let options =
            ConnectOptions { key_pair: Some(key_pair), relay_addresses, relay_through, ..ConnectOptions::default() };
        Ok(Self::connect(self, remote_public_key, options).await?)
    }

    fn needs_relay(error: &NetworkError) -> bool {
        // What JavaScript's swarm takes for that, as its names.
        let codes = ["HOLEPUNCH_ABORTED", "CANNOT_HOLEPUNCH"];
        error.downcast_ref::<ConnectError>().is_some_and(|error| codes.contains(&error.code()))
    }

    fn randomized(&self) -> bool {
        self.rpc().randomized()
    }

    async fn listen(
        &self,
        key_pair: KeyPair,
        refuse: RefusePeer,
        relay_through: RelayKeys,
    ) -> Result<DhtServer, NetworkError> {
        let firewall: hyperdht::Firewall = Arc::new(move |key, payload, _| refuse(key, payload));
        let relay_through = Relays::choose(move || relay_through());
        let options = ServerOptions { firewall: Some(firewall), relay_through, ..ServerOptions::default() };
        let server = self.create_server(options);
        server.listen(key_pair).await?;
        Ok(server)
    }

    async fn query(
        &self,
        query: TopicQuery<SocketAddrV4>,
        found: mpsc::Sender<FoundPeer>,
    ) -> Result<Vec<SocketAddrV4>, NetworkError> {
        let TopicQuery { kind, topic, key_pair, relay_addresses, closest_nodes } = query;
        let mut lookup = match kind {
            QueryKind::Lookup => self.lookup(topic, closest_nodes),
            QueryKind::LookupAndUnannounce => self.lookup_and_unannounce(topic, &key_pair, closest_nodes),
            QueryKind::Announce { clear } => {
                let options = AnnounceOptions { nodes: closest_nodes, clear, ..AnnounceOptions::default() };
                self.announce(topic, &key_pair, &relay_addresses, options)
            }
        };
        while let Some(answer) = lookup.next().await {
            for peer in answer.peers {
                let peer = FoundPeer { public_key: peer.public_key, relay_addresses: peer.relay_addresses };
                // Who withdraws an announcement does not care for peers.
                let _ = found.send(peer).await;
            }
        }
        Ok(lookup.finish().await?)
    }

    async fn unannounce(
        &self,
        topic: [u8; 32],
        key_pair: KeyPair,
        nodes: Vec<SocketAddrV4>,
    ) -> Result<(), NetworkError> {
        self.unannounce_from(topic, &key_pair, nodes).await;
        Ok(())
    }

    fn online(&self) -> watch::Receiver<bool> {
        Self::online(self)
    }

    fn network_changes(&self) -> watch::Receiver<u64> {
        Self::network_changes(self)
    }

    fn network_changed(&self) {
        Self::network_changed(self);
    }

    async fn suspend(&self) {
        Self::suspend(self).await;
    }

    async fn resume(&self) {
        if let Err(error) = Self::resume(self).await {
            tracing::warn!(%error, "no socket can be bound; this is tried again");
        }
    }

    async fn destroy(&self) {
        Self::destroy(self).await;
    }
}

impl Server for DhtServer {
    type Connection = Connection;

    async fn accept(&self) -> Option<Connection> {
        Self::accept(self).await
    }

    fn relay_addresses(&self) -> Vec<SocketAddrV4> {
        Self::relay_addresses(self)
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}

/// The swarm's handle of a connection over HyperDHT.
#[derive(Debug)]
pub struct DhtLink {
    stream: WeakUdxStream,
    monitor: Monitor,
    remote_public_key: [u8; 32],
    initiator: bool,
}

impl Link for DhtLink {
    fn remote_public_key(&self) -> [u8; 32] {
        self.remote_public_key
    }

    fn is_initiator(&self) -> bool {
        self.initiator
    }

    fn is_used(&self) -> bool {
        self.monitor.raw_bytes_read() > 0 && self.monitor.raw_bytes_written() > 0
    }

    fn send_keep_alive(&self) {
        self.monitor.send_keep_alive();
    }

    fn destroy(&self) {
        self.stream.destroy();
    }

    fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let stream = self.stream.clone();
        async move {
            // However it ended, it ended.
            let _ = stream.closed().await;
        }
    }
}
