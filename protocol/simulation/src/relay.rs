//! A blind relay on a public host, for peers between which no hole can be punched.

use blind_relay::{Limits, Server};
use crypto::KeyPair;
use hyperdht::{Dht, DhtOptions, ServerOptions};
use protomux::Mux;
use tokio::task::JoinHandle;

pub(crate) struct Relay {
    pub(crate) key: [u8; 32],
    node: Dht,
    server: Server,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn new(options: DhtOptions, keys: KeyPair) -> Self {
        let node = Dht::new(options).await.expect("a free port");
        node.bootstrapped().await;
        let server = Server::new(node.rpc().udx().clone(), Limits::default());
        let (key, clients) = (keys.public_key, node.create_server(ServerOptions::default()));
        clients.listen(keys).await.expect("the node is alive");
        let task = tokio::spawn({
            let server = server.clone();
            async move {
                while let Some(connection) = clients.accept().await {
                    let server = server.clone();
                    tokio::spawn(async move { server.serve(&Mux::new(connection)).await });
                }
            }
        });
        Self { key, node, server, task }
    }

    pub(crate) fn active(&self) -> usize {
        self.server.stats().active
    }

    pub(crate) async fn end(self) {
        self.node.destroy().await;
        self.task.abort();
    }
}
