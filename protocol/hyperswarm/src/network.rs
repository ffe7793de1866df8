//! What a swarm needs below it. HyperDHT is that; tests put a network in memory in its place.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddrV4;
use std::sync::Arc;

use crypto::KeyPair;
use hyperdht::messages::NoisePayload;
use tokio::sync::{mpsc, watch};

pub use crate::discovery::QueryKind;

/// What went wrong in the network. The swarm logs it and tries again later.
pub type NetworkError = Box<dyn Error + Send + Sync>;

/// Decides at an incoming handshake, by the public key of the peer and what it says, whether to ignore it.
pub type RefusePeer = Arc<dyn Fn(&[u8; 32], &NoisePayload) -> bool + Send + Sync>;

/// Keys of blind relays to meet a peer at that connects now.
pub type RelayKeys = Arc<dyn Fn() -> Vec<[u8; 32]> + Send + Sync>;

/// A peer that a query found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPeer {
    /// Its key.
    pub public_key: [u8; 32],
    /// DHT nodes through which it says it can be reached.
    pub relay_addresses: Vec<SocketAddrV4>,
}

/// A question about one topic.
#[derive(Clone, Debug)]
pub struct TopicQuery<N> {
    /// What to do.
    pub kind: QueryKind,
    /// The topic.
    pub topic: [u8; 32],
    /// Who we are: the key that is announced or withdrawn, and that signs that.
    pub key_pair: KeyPair,
    /// Where our server can be reached through, for an announcement.
    pub relay_addresses: Vec<SocketAddrV4>,
    /// The closest nodes of an earlier query of this topic, to begin with. Empty: begin anew.
    pub closest_nodes: Vec<N>,
}

/// The network below a swarm. A future that is dropped gives up what it does.
pub trait Network: Clone + Send + Sync + 'static {
    /// An encrypted connection to a peer.
    type Connection: Send + 'static;
    /// What the swarm keeps of a connection that it handed out.
    type Link: Link;
    /// A server: the place where connections arrive.
    type Server: Server<Connection = Self::Connection>;
    /// A node of the DHT.
    type Node: Clone + Send + Sync + 'static;

    /// The handle by which the swarm stays in touch with `connection`.
    fn link(connection: &Self::Connection) -> Self::Link;

    /// Connects to a peer by its key, through nodes that are known to forward to it, and at one of the blind relays `relay_through`
    /// while no other way is open.
    fn connect(
        &self,
        remote_public_key: [u8; 32],
        relay_addresses: Vec<SocketAddrV4>,
        relay_through: Vec<[u8; 32]>,
        key_pair: KeyPair,
    ) -> impl Future<Output = Result<Self::Connection, NetworkError>> + Send;

    /// Whether an attempt failed for want of a way that a blind relay would give.
    fn needs_relay(error: &NetworkError) -> bool {
        let _ = error;
        false
    }

    /// Whether our NAT gives every partner another port.
    fn randomized(&self) -> bool {
        false
    }

    /// Lets peers connect to `key_pair`, but those that `refuse` does not want, and meets them at blind relays of `relay_through`.
    fn listen(
        &self,
        key_pair: KeyPair,
        refuse: RefusePeer,
        relay_through: RelayKeys,
    ) -> impl Future<Output = Result<Self::Server, NetworkError>> + Send;

    /// Runs a query to its end. Gives each peer to `found` as soon as it is seen, and in the end the closest nodes.
    fn query(
        &self,
        query: TopicQuery<Self::Node>,
        found: mpsc::Sender<FoundPeer>,
    ) -> impl Future<Output = Result<Vec<Self::Node>, NetworkError>> + Send;

    /// Withdraws an announcement at these nodes.
    fn unannounce(
        &self,
        topic: [u8; 32],
        key_pair: KeyPair,
        nodes: Vec<Self::Node>,
    ) -> impl Future<Output = Result<(), NetworkError>> + Send;

    /// Whether the network can be reached. When it can be reached again, connections may be dead and announcements forgotten.
    fn online(&self) -> watch::Receiver<bool> {
        watch::channel(true).1
    }

    /// Counts how often the machine's network has changed, or the machine woke up. Connections may be dead then, and announcements
    /// wrong.
    fn network_changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Tells that the machine has other addresses now: the servers are to be announced anew.
    fn network_changed(&self) {}

    /// The machine is about to sleep or the application to rest: nothing is to be sent or answered until [`Network::resume`].
    fn suspend(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Takes part again.
    fn resume(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Ends the network: called when a swarm that made it is destroyed.
    fn destroy(&self) -> impl Future<Output = ()> + Send;
}

/// Where the connections of others arrive.
pub trait Server: Send + Sync + 'static {
    /// What arrives.
    type Connection;

    /// The next connection; `None` when the server is closed. Cancel-safe.
    fn accept(&self) -> impl Future<Output = Option<Self::Connection>> + Send;

    /// DHT nodes through which the server can be reached now.
    fn relay_addresses(&self) -> Vec<SocketAddrV4>;

    /// Stops listening, and tells the DHT so.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A handle of a connection that somebody else owns. It does not keep the connection alive.
pub trait Link: Send + Sync + 'static {
    /// The peer's key.
    fn remote_public_key(&self) -> [u8; 32];

    /// Whether we opened the connection.
    fn is_initiator(&self) -> bool;

    /// Whether messages went both ways, keep-alives included.
    fn is_used(&self) -> bool;

    /// Writes an empty message.
    fn send_keep_alive(&self);

    /// Ends the connection at once.
    fn destroy(&self);

    /// Ready when the connection has ended, in whatever way.
    fn closed(&self) -> impl Future<Output = ()> + Send + 'static;
}
