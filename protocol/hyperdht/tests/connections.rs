//! Connecting and listening, over a simulated network in virtual time.

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{World, listen, talk};
use crypto::KeyPair;
use hyperdht::{ConnectError, ConnectOptions, Dht, ListenError, ServerOptions};
use tokio::time::Instant;
use udx::network::sim::Link;

const ALICE: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 1);
const BOB: Ipv4Addr = Ipv4Addr::new(47, 1, 1, 1);

async fn refusal(client: &Dht, key: [u8; 32]) -> ConnectError {
    client.connect(key, ConnectOptions::default()).await.expect_err("no connection")
}

#[tokio::test(start_paused = true)]
async fn an_open_server_is_reached_through_the_nodes_that_know_it() {
    let mut world = World::new(1, 8).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    assert_eq!(server.relay_addresses().len(), 3);
    let began = Instant::now();
    let (mut here, mut there) = talk(&bob, &server, key).await;
    assert!(began.elapsed() < Duration::from_millis(100), "no timeout was waited for: {:?}", began.elapsed());
    assert_eq!(here.handshake_hash(), there.handshake_hash());

    here.close().await.expect("closed");
    assert_eq!(there.recv().await.expect("the end"), None);
    there.close().await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn an_open_client_waits_for_the_server_to_write() {
    let mut world = World::new(2, 8).await;
    let (alice, bob) = (world.firewalled_node(ALICE).await, world.node(BOB).await);
    assert!(alice.rpc().firewalled() && !bob.rpc().firewalled());
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    talk(&bob, &server, key).await;
}

#[tokio::test(start_paused = true)]
async fn two_peers_of_one_network_meet_inside_it() {
    let mut world = World::new(3, 8).await;
    // One host: the nodes see the same address for both.
    let (alice, bob) = (world.firewalled_node(ALICE).await, world.firewalled_node(ALICE).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let (here, _there) = talk(&bob, &server, key).await;
    assert_eq!(here.transport().remote_addr(), alice.local_addr().map(|addr| (ALICE, addr.port()).into()));
}

#[tokio::test(start_paused = true)]
async fn two_firewalled_peers_punch_a_hole() {
    let mut world = World::new(4, 8).await;
    let (alice, bob) = (world.firewalled_node(ALICE).await, world.firewalled_node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let (here, there) = talk(&bob, &server, key).await;
    let remote = |peer: &hyperdht::Connection| peer.transport().remote_addr().map(|addr| addr.ip());
    assert_eq!((remote(&here), remote(&there)), (Some(ALICE.into()), Some(BOB.into())));
}

#[tokio::test(start_paused = true)]
async fn a_persistent_server_is_reached_directly() {
    let mut world = World::new(5, 4).await;
    let (server, key) = listen(&world.nodes[2].clone(), ServerOptions::default()).await;
    let bob = world.node(BOB).await;
    talk(&bob, &server, key).await;
    let other = world.nodes[1].clone();
    talk(&other, &server, key).await;
}

#[tokio::test(start_paused = true)]
async fn a_lossy_network_only_takes_longer() {
    let mut world = World::new(6, 12).await;
    let (alice, bob) = (world.node(ALICE).await, world.firewalled_node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let link = Link { delay: Duration::from_millis(20), loss: 0.2, duplicate: 0.1, reorder: 0.1, ..Link::default() };
    world.net.set_default_link(link);
    for _ in 0..10 {
        talk(&bob, &server, key).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_not_found() {
    let mut world = World::new(7, 4).await;
    let bob = world.node(BOB).await;
    assert!(matches!(refusal(&bob, KeyPair::generate().public_key).await, ConnectError::PeerNotFound));
    assert!(matches!(refusal(&bob, [0; 32]).await, ConnectError::PeerNotFound), "not even a key");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_vanished_does_not_answer() {
    let mut world = World::new(8, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    drop((server, alice));
    assert!(matches!(refusal(&bob, key).await, ConnectError::PeerConnectionFailed));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closed_is_forgotten() {
    let mut world = World::new(9, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    assert_eq!(bob.find_peer(&key).await.len(), 3);
    server.close().await;
    assert!(server.accept().await.is_none());
    assert!(bob.find_peer(&key).await.is_empty());
    assert!(matches!(refusal(&bob, key).await, ConnectError::PeerNotFound));
    assert_eq!(server.listen(KeyPair::generate()).await, Err(ListenError::AlreadyListening));
}

#[tokio::test(start_paused = true)]
async fn a_key_has_one_server() {
    let mut world = World::new(10, 4).await;
    let alice = world.node(ALICE).await;
    let keys = KeyPair::generate();
    let (first, second) =
        (alice.create_server(ServerOptions::default()), alice.create_server(ServerOptions::default()));
    assert_eq!(first.listen(keys.clone()).await, Ok(()));
    assert_eq!(second.listen(keys.clone()).await, Err(ListenError::KeyPairAlreadyUsed));
    first.close().await;
    assert_eq!(second.listen(keys).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_firewall_keeps_peers_out() {
    let mut world = World::new(11, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let unwanted = bob.key_pair().public_key;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let options = ServerOptions {
        firewall: Some(Arc::new(move |key, payload, address| {
            assert_eq!((payload.version, *address.ip()), (1, BOB));
            count.fetch_add(1, Ordering::Relaxed);
            *key == unwanted
        })),
        ..ServerOptions::default()
    };
    let (server, key) = listen(&alice, options).await;
    assert!(matches!(refusal(&bob, key).await, ConnectError::PeerConnectionFailed));
    assert_eq!(asked.load(Ordering::Relaxed), 1, "a repeated handshake is the same handshake");

    let options = ConnectOptions { key_pair: Some(KeyPair::generate()), ..ConnectOptions::default() };
    let (connection, accepted) = tokio::join!(bob.connect(key, options), server.accept());
    assert!(connection.is_ok() && accepted.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_through_several_nodes_is_one_connection() {
    let mut world = World::new(12, 8).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    // Every datagram comes twice.
    world.net.set_default_link(Link { duplicate: 1.0, ..Link::default() });
    let _connections = talk(&bob, &server, key).await;
    let another = tokio::time::timeout(Duration::from_secs(30), server.accept()).await;
    assert!(another.is_err(), "no second connection");
}

#[tokio::test(start_paused = true)]
async fn relay_addresses_save_the_search() {
    let mut world = World::new(13, 8).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let before = bob.rpc().stats().responses;
    let options = ConnectOptions { relay_addresses: server.relay_addresses(), ..ConnectOptions::default() };
    bob.connect(key, options).await.expect("connected");
    assert!(bob.rpc().stats().responses - before <= 2, "at most two handshakes");
    // They are remembered.
    let before = bob.rpc().stats().responses;
    bob.connect(key, ConnectOptions::default()).await.expect("connected");
    assert!(bob.rpc().stats().responses - before <= 2, "at most two handshakes");
}

#[tokio::test(start_paused = true)]
async fn wrong_relay_addresses_do_not_keep_a_peer_away() {
    let mut world = World::new(14, 8).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (_server, key) = listen(&alice, ServerOptions::default()).await;
    let dead = (0..3).map(|i| SocketAddrV4::new(Ipv4Addr::new(48, 0, 0, i), 1)).collect();
    let options = ConnectOptions { relay_addresses: dead, ..ConnectOptions::default() };
    let began = Instant::now();
    bob.connect(key, options).await.expect("connected");
    assert!(began.elapsed() < Duration::from_secs(1), "the others are asked beside: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_stays_reachable_when_its_nodes_die() {
    let mut world = World::new(15, 12).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let relays = server.relay_addresses();
    for node in &world.nodes {
        if node.rpc().remote_address().is_some_and(|addr| relays.contains(&addr)) && node.local_addr().is_some() {
            node.destroy().await;
        }
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let now = server.relay_addresses();
    assert!(now.len() == 3 && now.iter().skip(1).all(|addr| !relays.contains(addr) || *addr == relays[0]), "{now:?}");
    talk(&bob, &server, key).await;
}

/// What nodes store of a server is forgotten after 27 minutes at the latest.
#[tokio::test(start_paused = true)]
async fn a_server_stays_announced_for_as_long_as_it_listens() {
    let mut world = World::new(18, 12).await;
    let (alice, bob) = (world.firewalled_node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(40 * 60)).await;
        talk(&bob, &server, key).await;
    }
    server.close().await;
    assert!(bob.find_peer(&key).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn destroying_a_node_ends_everything() {
    let mut world = World::new(16, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let (_here, mut there) = talk(&bob, &server, key).await;
    let pending = bob.clone();
    let connecting =
        tokio::spawn(async move { pending.connect(KeyPair::generate().public_key, ConnectOptions::default()).await });
    bob.destroy().await;
    assert!(connecting.await.expect("no panic").is_err());
    assert!(there.recv().await.is_err(), "the peer is told");
    assert!(matches!(refusal(&bob, key).await, ConnectError::NodeDestroyed));
    let server = bob.create_server(ServerOptions::default());
    assert_eq!(server.listen(KeyPair::generate()).await, Err(ListenError::NodeDestroyed));
}

#[tokio::test(start_paused = true)]
async fn dropped_handles_leave_nothing_behind() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut world = World::new(17, 4).await;
    let bob = world.node(BOB).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = tasks();
    for _ in 0..3 {
        let alice = world.node(ALICE).await;
        let (server, key) = listen(&alice, ServerOptions::default()).await;
        drop(talk(&bob, &server, key).await);
        drop(bob.lookup([1; 32], Vec::new()));
        drop((alice, server));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(tasks(), before);
    assert_eq!(bob.rpc().udx().stream_count(), 0);
}
