//! Nodes that fall silent for a while.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::{World, listen, start, talk};
use hyperdht::{ConnectError, ConnectOptions, DhtOptions, ServerOptions};
use tokio::time::{Instant, sleep, timeout};

const SERVER: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 2);

#[tokio::test(start_paused = true)]
async fn a_server_that_rests_is_not_found_and_keeps_its_port_and_key() {
    let mut world = World::new(1, 8).await;
    let (here, there) = (world.node(SERVER).await, world.node(CLIENT).await);
    let (server, key) = listen(&here, ServerOptions { reusable_socket: true, ..ServerOptions::default() }).await;
    let port = here.local_addr();
    let (_near, mut far) = talk(&there, &server, key).await;

    here.suspend().await;
    assert!(here.is_suspended());
    assert_eq!((here.rpc().udx().gauges().sockets, here.local_addr()), (0, None));
    // The other side is told.
    assert!(!matches!(timeout(Duration::from_secs(1), far.recv()).await.expect("at once"), Ok(Some(_))));
    // The client remembers the server's own address among those that forwarded to it, and does not wait for it for long.
    let begun = Instant::now();
    let sought = there.connect(key, ConnectOptions::default()).await;
    assert!(matches!(sought, Err(ConnectError::PeerNotFound)), "{sought:?}");
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    let refused = here.connect(key, ConnectOptions::default()).await;
    assert!(matches!(refused, Err(ConnectError::Suspended)), "{refused:?}");

    sleep(Duration::from_secs(600)).await;
    here.resume().await.expect("bound");
    assert_eq!(here.local_addr(), port);
    sleep(Duration::from_secs(5)).await;
    drop(talk(&there, &server, key).await);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_taken_is_tried_until_it_is_free() {
    let mut world = World::new(2, 8).await;
    let options = DhtOptions { any_port: false, ..world.options(SERVER) };
    let here = start(options).await;
    let (server, key) = listen(&here, ServerOptions::default()).await;
    here.suspend().await;
    let thief = udx::Udx::with_network(world.net.host(SERVER.into()));
    let taken = thief.bind((SERVER, common::PORT).into()).expect("free");
    assert!(here.resume().await.is_err());
    sleep(Duration::from_secs(300)).await;
    assert!(here.is_suspended());
    taken.close();
    taken.closed().await;
    sleep(Duration::from_secs(65)).await;
    assert!(!here.is_suspended());
    let there = world.node(CLIENT).await;
    drop(talk(&there, &server, key).await);

    // Whoever wants to rest again is not woken by what was tried before.
    here.suspend().await;
    let taken = thief.bind((SERVER, common::PORT).into()).expect("free");
    assert!(here.resume().await.is_err());
    here.suspend().await;
    drop(taken);
    sleep(Duration::from_secs(300)).await;
    assert!(here.is_suspended());
}
