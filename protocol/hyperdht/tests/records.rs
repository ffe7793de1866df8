//! Announcing, looking up and storing, over a simulated network in virtual time.

mod common;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use common::World;
use crypto::KeyPair;
use hyperdht::{AnnounceOptions, Dht, Lookup, QueryError};
use udx::network::sim::{Link, SimPacket};

const ALICE: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 1);
const BOB: Ipv4Addr = Ipv4Addr::new(47, 1, 1, 1);
const TOPIC: [u8; 32] = [7; 32];

async fn keys(mut lookup: Lookup) -> BTreeSet<[u8; 32]> {
    let mut found = BTreeSet::new();
    while let Some(answer) = lookup.next().await {
        found.extend(answer.peers.iter().map(|peer| peer.public_key));
    }
    found
}

async fn announce(dht: &Dht, who: &KeyPair, options: AnnounceOptions) -> Vec<SocketAddrV4> {
    dht.announce(TOPIC, who, &[], options).finish().await.expect("announced")
}

#[tokio::test(start_paused = true)]
async fn an_announced_peer_is_found_until_it_is_taken_back() {
    let mut world = World::new(1, 25).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let [one, two] = [alice.key_pair().clone(), KeyPair::generate()];
    assert_eq!(announce(&alice, &one, AnnounceOptions::default()).await.len(), 20);
    announce(&alice, &two, AnnounceOptions::default()).await;
    assert_eq!(keys(bob.lookup(TOPIC, Vec::new())).await, BTreeSet::from([one.public_key, two.public_key]));

    alice.unannounce(TOPIC, &one).await.expect("unannounced");
    assert_eq!(keys(bob.lookup(TOPIC, Vec::new())).await, BTreeSet::from([two.public_key]));
    // Who announces also finds.
    assert_eq!(keys(bob.announce(TOPIC, bob.key_pair(), &[], AnnounceOptions::default())).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_announce_is_forgotten_in_time() {
    let mut world = World::new(2, 6).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    announce(&alice, alice.key_pair(), AnnounceOptions::default()).await;
    tokio::time::sleep(Duration::from_secs(13 * 60)).await;
    assert_eq!(keys(bob.lookup(TOPIC, Vec::new())).await.len(), 1);
    tokio::time::sleep(Duration::from_secs(15 * 60)).await;
    assert!(keys(bob.lookup(TOPIC, Vec::new())).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn closest_nodes_are_used_again() {
    let mut world = World::new(3, 25).await;
    let alice = world.node(ALICE).await;
    let nodes = announce(&alice, alice.key_pair(), AnnounceOptions::default()).await;
    let before = alice.rpc().stats().responses;
    let mut again = alice.lookup(TOPIC, nodes.clone());
    assert_eq!(again.finish().await.as_ref(), Ok(&nodes));
    assert!(alice.rpc().stats().responses - before <= 25);

    alice.unannounce_from(TOPIC, alice.key_pair(), nodes).await;
    assert!(keys(alice.lookup(TOPIC, Vec::new())).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_announce_can_clear_and_ask_for_attention() {
    let mut world = World::new(4, 6).await;
    let alice = world.node(ALICE).await;
    let bump = 1_700_000_000_000;
    announce(&alice, alice.key_pair(), AnnounceOptions { bump, ..AnnounceOptions::default() }).await;
    announce(&alice, alice.key_pair(), AnnounceOptions { clear: true, ..AnnounceOptions::default() }).await;
    let mut lookup = alice.lookup(TOPIC, Vec::new());
    let mut answers = 0;
    while let Some(answer) = lookup.next().await {
        assert_eq!((answer.peers.len(), answer.bump), (1, bump));
        answers += 1;
    }
    assert_eq!(answers, 6);
}

#[tokio::test(start_paused = true)]
async fn values_are_stored_and_read() {
    let mut world = World::new(5, 25).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let hash = alice.immutable_put(b"value").await.expect("stored");
    assert_eq!(bob.immutable_get(hash).await.as_deref(), Some(&b"value"[..]));
    assert_eq!(bob.immutable_get([1; 32]).await, None);

    let keys = KeyPair::generate();
    alice.mutable_put(&keys, b"one", 1).await.expect("stored");
    alice.mutable_put(&keys, b"two", 2).await.expect("stored");
    let found = bob.mutable_get(&keys.public_key, 0, true).await.expect("found");
    assert_eq!((found.seq, &found.value[..]), (2, &b"two"[..]));
    assert_eq!(bob.mutable_get(&keys.public_key, 3, true).await, None);
    assert!(bob.mutable_get(&keys.public_key, 1, false).await.is_some());
    assert_eq!(alice.mutable_put(&keys, b"old", 1).await, Err(QueryError::Refused(17)));
    assert_eq!(alice.mutable_put(&keys, b"2", 2).await, Err(QueryError::Refused(16)));
}

#[tokio::test(start_paused = true)]
async fn a_network_without_persistent_nodes_stores_nothing() {
    let mut world = World::new(6, 0).await;
    let alone = world.node(ALICE).await;
    assert_eq!(alone.immutable_put(b"value").await, Err(QueryError::TooFewNodes));
}

#[tokio::test(start_paused = true)]
async fn a_lossy_network_stores_as_well() {
    let mut world = World::new(7, 25).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let link = Link { delay: Duration::from_millis(20), loss: 0.2, duplicate: 0.1, reorder: 0.1, ..Link::default() };
    world.net.set_default_link(link);
    announce(&alice, alice.key_pair(), AnnounceOptions::default()).await;
    assert_eq!(keys(bob.lookup(TOPIC, Vec::new())).await, BTreeSet::from([alice.key_pair().public_key]));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_reachable_begins_to_store() {
    let mut world = World::new(8, 8).await;
    let alice = world.node(ALICE).await;
    assert_eq!(alice.rpc().id(), None);
    tokio::time::sleep(Duration::from_secs(21 * 60)).await;
    assert!(alice.rpc().id().is_some(), "it was stable for twenty minutes");

    let bob = world.firewalled_node(BOB).await;
    let closed = bob.rpc().socket(dht_rpc::SocketId::SERVER).expect("bound").local_addr();
    world.net.set_middlebox(move |_, packet: &mut SimPacket| {
        packet.destination.port() != closed.port() || packet.destination.ip() != BOB
    });
    tokio::time::sleep(Duration::from_secs(21 * 60)).await;
    assert_eq!(bob.rpc().id(), None, "a firewall is in the way");
}
