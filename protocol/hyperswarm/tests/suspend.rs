//! A swarm that rests.

mod fake;

use std::time::Duration;

use fake::{App, World};
use hyperswarm::{JoinOptions, SwarmOptions};
use tokio::time::sleep;

const TOPIC: [u8; 32] = [7; 32];

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn who_rests_is_gone() {
    let world = World::new(1);
    let (alice, bob) = (world.swarm(1, SwarmOptions::default()), world.swarm(2, SwarmOptions::default()));
    let (alices, _bobs) = (App::using(&alice), App::using(&bob));
    alice.join(TOPIC, JoinOptions::default()).flushed().await.unwrap();
    bob.join(TOPIC, JoinOptions::default()).flushed().await.unwrap();
    // Somebody who is not there keeps being tried.
    alice.join_peer([99; 32]);
    seconds(5).await;
    assert_eq!((alice.connections(), bob.connections()), (1, 1));

    alice.suspend().await;
    assert_eq!(world.suspended(), 1);
    assert!(!world.is_announced(&TOPIC, &alice.key_pair().public_key), "withdrawn");
    assert!(world.is_announced(&TOPIC, &bob.key_pair().public_key));
    seconds(1).await;
    assert_eq!((alice.connections(), bob.connections(), alice.connecting()), (0, 0, 0));

    // It tries nobody, and lets nobody in.
    alice.network_changed();
    alice.join_peer([98; 32]);
    let dialed = world.dial(3, alice.key_pair().public_key).await;
    seconds(1).await;
    assert!(dialed.is_err(), "refused");
    assert_eq!(alices.open().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_swarm_ends_while_it_rests() {
    let world = World::new(2);
    let alice = world.swarm(1, SwarmOptions::default());
    alice.join(TOPIC, JoinOptions::default()).flushed().await.unwrap();
    alice.suspend().await;
    // A topic that is joined meanwhile is announced later.
    let another = alice.join([8; 32], JoinOptions::default());
    seconds(60).await;
    assert!(!world.is_announced(&[8; 32], &alice.key_pair().public_key));
    assert!(another.flushed().await.is_ok());
    alice.destroy().await;
    seconds(60).await;
    assert!(!world.is_announced(&TOPIC, &alice.key_pair().public_key));
}
