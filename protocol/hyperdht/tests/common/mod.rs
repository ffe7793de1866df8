//! A simulated network of nodes, in virtual time.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crypto::KeyPair;
use hyperdht::{ConnectOptions, Connection, Dht, DhtOptions, Server, ServerOptions};
use udx::network::sim::{Link, SimNetwork};

/// The port of every node that has a host of its own.
pub(crate) const PORT: u16 = 49737;

/// A network with persistent nodes that have public addresses.
pub(crate) struct World {
    pub(crate) net: SimNetwork,
    pub(crate) nodes: Vec<Dht>,
    seed: u64,
}

/// The host of the persistent node `i`.
pub(crate) fn node_host(i: u8) -> Ipv4Addr {
    Ipv4Addr::new(45, 10, 0, i)
}

impl World {
    /// A network of `size` nodes, 10 ms apart.
    pub(crate) async fn new(seed: u64, size: u8) -> Self {
        let net = SimNetwork::new(seed);
        net.set_default_link(Link { delay: Duration::from_millis(5), ..Link::default() });
        let mut world = Self { net, nodes: Vec::new(), seed };
        for i in 0..size {
            let options = DhtOptions { ephemeral: Some(false), firewalled: false, ..world.options(node_host(i)) };
            let node = if i == 0 {
                Dht::bootstrapper(node_host(0), PORT, DhtOptions { bootstrap: None, ..options }).await
            } else {
                Dht::new(options).await
            };
            let node = node.expect("bound");
            node.bootstrapped().await;
            world.nodes.push(node);
        }
        world
    }

    /// Options of a node on `host`.
    pub(crate) fn options(&mut self, host: Ipv4Addr) -> DhtOptions {
        self.seed += 1;
        DhtOptions {
            bootstrap: Some(vec![SocketAddrV4::new(node_host(0), PORT).into()]),
            host: if host.is_loopback() { host } else { Ipv4Addr::UNSPECIFIED }.into(),
            network: Some(self.net.host(host.into())),
            local_addresses: Some(vec![host]),
            seed: Some(self.seed),
            ..DhtOptions::default()
        }
    }

    /// A node on `host` that is not persistent.
    pub(crate) async fn node(&mut self, host: Ipv4Addr) -> Dht {
        let options = self.options(host);
        start(options).await
    }

    /// The same, when it must believe in a firewall.
    pub(crate) async fn firewalled_node(&mut self, host: Ipv4Addr) -> Dht {
        let options = DhtOptions { quick_firewall: false, ..self.options(host) };
        start(options).await
    }
}

pub(crate) async fn start(options: DhtOptions) -> Dht {
    let node = Dht::new(options).await.expect("bound");
    node.bootstrapped().await;
    node
}

/// A server of `dht` that listens.
pub(crate) async fn listen(dht: &Dht, options: ServerOptions) -> (Server, [u8; 32]) {
    let server = dht.create_server(options);
    let keys = KeyPair::generate();
    let public_key = keys.public_key;
    server.listen(keys).await.expect("listens");
    (server, public_key)
}

/// Connects, and sends a message to and fro.
pub(crate) async fn talk(client: &Dht, server: &Server, key: [u8; 32]) -> (Connection, Connection) {
    let mut here = client.connect(key, ConnectOptions::default()).await.expect("connected");
    let mut there = server.accept().await.expect("accepted");
    assert_eq!((here.remote_public_key(), here.is_initiator()), (&key, true));
    assert_eq!((there.remote_public_key(), there.is_initiator()), (&client.key_pair().public_key, false));
    here.send(b"ping").await.expect("sent");
    assert_eq!(there.recv().await.expect("received").as_deref(), Some(&b"ping"[..]));
    there.send(b"pong").await.expect("sent");
    assert_eq!(here.recv().await.expect("received").as_deref(), Some(&b"pong"[..]));
    (here, there)
}
