//! A swarm that rests and returns.

mod fake;

use std::sync::atomic::Ordering;
use std::time::Duration;

use fake::{App, World, key_pair};
use hyperswarm::{JoinOptions, SwarmOptions};
use tokio::time::sleep;

const TOPIC: [u8; 32] = [7; 32];

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn who_rests_is_gone_and_comes_back() {
    let world = World::new(1);
    let (alice, bob) = (world.swarm(1, SwarmOptions::default()), world.swarm(2, SwarmOptions::default()));
    let (alices, bobs) = (App::using(&alice), App::using(&bob));
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
    let (attempts, queries) = (world.attempts.load(Ordering::Relaxed), world.queries().len());
    alice.network_changed();
    alice.join_peer([98; 32]);
    let dialed = world.dial(3, alice.key_pair().public_key).await;
    seconds(1).await;
    assert!(dialed.is_err(), "refused");
    assert!(alice.flush().await, "there is nothing to wait for");
    seconds(3600).await;
    assert_eq!(alices.open().len(), 0);
    assert!(world.queries().len() > queries, "bob looks up every ten minutes");
    assert!(world.attempts.load(Ordering::Relaxed) >= attempts);
    assert!(!world.is_announced(&TOPIC, &alice.key_pair().public_key));

    // Twice is as good as once.
    alice.suspend().await;
    alice.resume().await;
    assert_eq!(world.suspended(), 0);
    seconds(5).await;
    assert!(world.is_announced(&TOPIC, &alice.key_pair().public_key));
    assert_eq!((alices.open().len(), bobs.open().len()), (1, 1));
    assert_eq!(alices.open()[0].remote(), key_pair(2).public_key);
    alice.resume().await;
    alice.destroy().await;
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

#[tokio::test(start_paused = true)]
async fn who_rests_right_after_it_announced_announces_again() {
    let world = World::new(3);
    let alice = world.swarm(1, SwarmOptions::default());
    assert!(alice.join(TOPIC, JoinOptions::default()).flushed().await.unwrap());
    // A second look, which announces nothing, was due in a second.
    alice.suspend().await;
    assert!(!world.is_announced(&TOPIC, &alice.key_pair().public_key));
    alice.resume().await;
    seconds(5).await;
    assert!(world.is_announced(&TOPIC, &alice.key_pair().public_key));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_network_is_heard_of_and_looked_into() {
    let world = World::new(4);
    let alice = world.swarm(1, SwarmOptions::default());
    assert!(alice.join(TOPIC, JoinOptions::default()).flushed().await.unwrap());
    seconds(5).await;
    let before = world.queries().len();
    world.change_network();
    seconds(1).await;
    assert_eq!(world.queries().len(), before + 1, "announced anew");
}
