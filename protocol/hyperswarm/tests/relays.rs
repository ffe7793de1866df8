//! When a swarm asks for a blind relay.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use fake::{App, World};
use hyperswarm::{JoinOptions, RelayThrough, SwarmOptions};
use tokio::time::sleep;

const TOPIC: [u8; 32] = [7; 32];
const RELAY: [u8; 32] = [9; 32];
const SERVER: JoinOptions = JoinOptions { server: true, client: false, limit: None };
const CLIENT: JoinOptions = JoinOptions { server: false, client: true, limit: None };

fn keys() -> SwarmOptions {
    SwarmOptions { relay_through: Some(RelayThrough::Keys(vec![RELAY])), ..SwarmOptions::default() }
}

/// A server and a client find each other in a world without holes. How many connections there are after ten seconds.
async fn meet(world: &World, server: SwarmOptions, client: SwarmOptions) -> usize {
    world.set_apart();
    let (server, client) = (world.swarm(1, server), world.swarm(2, client));
    let (_servers, clients) = (App::using(&server), App::using(&client));
    assert!(server.join(TOPIC, SERVER).flushed().await.unwrap());
    client.join(TOPIC, CLIENT);
    sleep(Duration::from_secs(10)).await;
    clients.open().len()
}

#[tokio::test(start_paused = true)]
async fn a_peer_to_whom_no_hole_leads_is_met_at_a_relay_soon() {
    let world = World::new(1);
    assert_eq!(meet(&world, SwarmOptions::default(), keys()).await, 1);
    assert_eq!(world.relays(), [vec![], vec![RELAY]]);
}

#[tokio::test(start_paused = true)]
async fn without_a_relay_it_is_not_met() {
    let world = World::new(2);
    assert_eq!(meet(&world, SwarmOptions::default(), SwarmOptions::default()).await, 0);
    assert!(world.relays().iter().all(Vec::is_empty));
}

#[tokio::test(start_paused = true)]
async fn behind_a_random_nat_relays_are_asked_for_at_once() {
    let world = World::new(3);
    world.set_randomized();
    assert_eq!(meet(&world, SwarmOptions::default(), keys()).await, 1);
    assert_eq!(world.relays(), [[RELAY]]);
    // A server does the same.
    let world = World::new(4);
    world.set_randomized();
    assert_eq!(meet(&world, keys(), SwarmOptions::default()).await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_application_may_choose() {
    let world = World::new(5);
    let choice = RelayThrough::Choose(Arc::new(|need| if need.forced { vec![] } else { vec![RELAY] }));
    let options = SwarmOptions { relay_through: Some(choice), ..SwarmOptions::default() };
    assert_eq!(meet(&world, SwarmOptions::default(), options.clone()).await, 1);
    assert_eq!(world.relays(), [[RELAY]]);
    let world = World::new(6);
    assert_eq!(meet(&world, options, SwarmOptions::default()).await, 1);
}
