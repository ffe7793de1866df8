//! A network of nodes in this process, for tests and examples.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use dht_rpc::BootstrapNode;

use crate::dht::{Dht, DhtOptions};

/// Persistent nodes on the loopback interface.
#[derive(Debug)]
pub struct Testnet {
    /// The nodes; the first is the one that the others began with.
    pub nodes: Vec<Dht>,
    /// The first node's address.
    pub bootstrap: SocketAddrV4,
}

impl Testnet {
    /// Starts a network of at least one node.
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub async fn new(size: usize) -> io::Result<Self> {
        let options = DhtOptions { host: Ipv4Addr::LOCALHOST.into(), ..DhtOptions::default() };
        let first = Dht::bootstrapper(Ipv4Addr::LOCALHOST, 0, options.clone()).await?;
        first.bootstrapped().await;
        let port = first.local_addr().ok_or(io::ErrorKind::NotConnected)?.port();
        let bootstrap = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let mut nodes = vec![first];
        for _ in 1..size {
            let node = Dht::new(DhtOptions {
                bootstrap: Some(vec![bootstrap.into()]),
                port: 0,
                ephemeral: Some(false),
                firewalled: false,
                ..options.clone()
            })
            .await?;
            node.bootstrapped().await;
            nodes.push(node);
        }
        Ok(Self { nodes, bootstrap })
    }

    /// Options of a node that joins this network.
    pub fn options(&self) -> DhtOptions {
        DhtOptions {
            bootstrap: Some(vec![BootstrapNode::Addr(self.bootstrap)]),
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            ..DhtOptions::default()
        }
    }

    /// Destroys the nodes.
    pub async fn destroy(self) {
        for node in self.nodes.into_iter().rev() {
            node.destroy().await;
        }
    }
}
