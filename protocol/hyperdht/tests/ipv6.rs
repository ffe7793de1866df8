//! A node that is bound to the addresses of both kinds. The network's messages carry IPv4 addresses only; the sockets need not.

mod common;

use std::io;
use std::net::Ipv6Addr;

use common::{listen, start, talk};
use hyperdht::testnet::Testnet;
use hyperdht::{Dht, DhtOptions, ServerOptions};

#[tokio::test]
async fn a_node_on_both_kinds_of_addresses_meets_those_on_one() {
    let network = Testnet::new(4).await.expect("bound");
    let both = DhtOptions { host: Ipv6Addr::UNSPECIFIED.into(), ..network.options() };
    let both = match Dht::new(both).await {
        Ok(dht) => dht,
        // A system without IPv6 says so, and there is nothing to meet.
        Err(error) => return assert_eq!(error.raw_os_error(), socket_error(), "{error}"),
    };
    both.bootstrapped().await;
    assert!(both.local_addr().is_some_and(|addr| addr.is_ipv6()));
    let one = start(network.options()).await;
    let (server, key) = listen(&both, ServerOptions::default()).await;
    let (here, _) = talk(&one, &server, key).await;
    assert!(here.transport().remote_addr().is_some_and(|addr| addr.is_ipv4()));
    let (server, key) = listen(&one, ServerOptions::default()).await;
    talk(&both, &server, key).await;
}

/// What this system says to a plain socket of that kind.
fn socket_error() -> Option<i32> {
    std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
        .map(drop)
        .map_err(|error: io::Error| error.raw_os_error())
        .err()?
}
