//! Peers that fall silent and come back.

use std::collections::BTreeSet;
use std::time::Duration;

use hyperdht::{ConnectError, ConnectOptions};
use hyperswarm::Swarm;
use simulation::{Place, World, WorldOptions, virtual_time};
use udx::network::nat::NatKind;

const SOON: Duration = Duration::from_secs(60);

async fn world(seed: u64) -> (World, [u8; 32]) {
    let world = World::new(seed, WorldOptions { dht_nodes: 8, ..WorldOptions::default() }).await;
    let room = world.topic("room");
    (world, room)
}

fn swarm(world: &World, peer: usize) -> Swarm {
    world.peers[peer].swarm().expect("it runs").clone()
}

/// Who is announced under a topic.
async fn announced(world: &World, topic: [u8; 32]) -> BTreeSet<[u8; 32]> {
    let mut lookup = world.dht[1].lookup(topic, Vec::new());
    let mut found = BTreeSet::new();
    while let Some(answer) = lookup.next().await {
        found.extend(answer.peers.into_iter().map(|peer| peer.public_key));
    }
    found
}

#[test]
fn a_suspended_peer_is_gone_and_comes_back() {
    virtual_time(async {
        for (seed, place) in [(1, Place::Public), (2, Place::Behind(NatKind::Cone))] {
            let (mut world, room) = world(seed).await;
            let alice = world.add_peer(place, &[room]).await;
            let bob = world.add_peer(Place::Behind(NatKind::Full), &[room]).await;
            world.until_connected(SOON).await.expect("they meet");
            let [alice_key, bob_key] = [alice, bob].map(|peer| *world.peers[peer].public_key());
            let swarm = swarm(&world, alice);

            swarm.suspend().await;
            // Bob is told, and need not find out.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!world.peers[bob].hears(&alice_key));
            assert_eq!((swarm.gauges().connections, swarm.gauges().connecting, swarm.gauges().topics), (0, 0, 1));
            assert_eq!(swarm.dht().rpc().udx().gauges().sockets, 0);
            assert_eq!(announced(&world, room).await, BTreeSet::from([bob_key]));
            let refused = swarm.dht().connect(bob_key, ConnectOptions::default()).await;
            assert!(matches!(refused, Err(ConnectError::Suspended)), "{refused:?}");

            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert_eq!((swarm.gauges().connections, swarm.dht().rpc().gauges().requests), (0, 0));
            swarm.resume().await;
            world.until_connected(SOON).await.expect("they meet again");
            tokio::time::sleep(SOON).await;
            assert_eq!(announced(&world, room).await, BTreeSet::from([alice_key, bob_key]));
            world.end().await;
        }
    });
}

#[test]
fn suspend_and_resume_follow_each_other_in_any_order() {
    virtual_time(async {
        let (mut world, room) = world(3).await;
        let (alice, _) = (world.add_peer(Place::Public, &[room]).await, world.add_peer(Place::Public, &[room]).await);
        let swarm = swarm(&world, alice);
        // In the middle of the first bootstrap, twice at once, and undone before it is done.
        let (first, second, undone) = tokio::join!(swarm.suspend(), swarm.suspend(), swarm.resume());
        assert_eq!((first, second, undone), ((), (), ()));
        swarm.resume().await;
        world.until_connected(SOON).await.expect("they meet");
        for _ in 0..5 {
            swarm.suspend().await;
            swarm.resume().await;
        }
        world.until_connected(SOON).await.expect("they meet again");
        swarm.suspend().await;
        swarm.destroy().await;
        // A handle keeps the task of the node's UDX.
        drop(swarm);
        assert_eq!(world.end().await, 0, "nothing outlives it");
    });
}

#[test]
fn without_a_network_it_is_silent_in_time() {
    virtual_time(async {
        let (mut world, room) = world(4).await;
        let alice = world.add_peer(Place::Public, &[room]).await;
        world.add_peer(Place::Public, &[room]).await;
        world.until_connected(SOON).await.expect("they meet");
        world.internet.set_dark(world.peers[alice].host, true);
        let begun = tokio::time::Instant::now();
        swarm(&world, alice).suspend().await;
        assert!(begun.elapsed() <= Duration::from_secs(15), "{:?}", begun.elapsed());
        world.internet.set_dark(world.peers[alice].host, false);
        swarm(&world, alice).resume().await;
        world.until_connected(Duration::from_secs(120)).await.expect("they meet again");
    });
}
