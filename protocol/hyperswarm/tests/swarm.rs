//! The swarm on a network in memory and in virtual time: who connects to whom, how often, and when no more.

mod fake;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fake::{App, World, key_pair};
use hyperswarm::network::QueryKind;
use hyperswarm::{JoinOptions, MAX_KNOWN_PEERS, SwarmError, SwarmEvent, SwarmOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

const TOPIC: [u8; 32] = [7; 32];
const SERVER: JoinOptions = JoinOptions { server: true, client: false, limit: None };
const CLIENT: JoinOptions = JoinOptions { server: false, client: true, limit: None };
const BOTH: JoinOptions = JoinOptions { server: true, client: true, limit: None };

fn options() -> SwarmOptions {
    SwarmOptions::default()
}

/// The short delays of JavaScript's own tests.
fn fast() -> SwarmOptions {
    let backoffs = [100, 200, 300, 400].map(Duration::from_millis);
    SwarmOptions { backoffs: Some(backoffs), jitter: Duration::ZERO, ..SwarmOptions::default() }
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_finds_a_server() {
    let world = World::new(1);
    let (server, client) = (world.swarm(1, options()), world.swarm(2, options()));
    let (servers, clients) = (App::using(&server), App::using(&client));
    assert!(server.join(TOPIC, SERVER).flushed().await.unwrap());
    assert!(world.is_announced(&TOPIC, &server.key_pair().public_key));
    client.join(TOPIC, CLIENT);
    assert!(client.flush().await);
    seconds(1).await;
    assert_eq!((servers.total(), clients.total()), (1, 1));
    assert_eq!((server.connections(), client.connections()), (1, 1));
    assert!(clients.open()[0].is_initiator());
    assert!(clients.peers()[0].is_client());
    assert!(!servers.peers()[0].is_client());
    assert_eq!(clients.peers()[0].topics(), [TOPIC]);
    assert_eq!(*servers.peers()[0].public_key(), client.key_pair().public_key);
    assert!(!world.is_announced(&TOPIC, &client.key_pair().public_key));
    let stats = client.stats();
    assert_eq!((stats.client_attempted, stats.client_opened, stats.client_closed), (1, 1, 0));
    assert_eq!(server.stats().server_opened, 1);
}

#[tokio::test(start_paused = true)]
async fn crossing_connections_leave_exactly_one_whoever_uses_them() {
    for seed in 0..60 {
        let world = World::new(seed);
        let (low, high) = (world.swarm(1, options()), world.swarm(200, options()));
        let using = seed % 2 == 0;
        let app = |swarm| if using { App::using(swarm) } else { App::idle(swarm) };
        let (lows, highs) = (app(&low), app(&high));
        low.listen().await.unwrap();
        high.listen().await.unwrap();
        low.join_peer(high.key_pair().public_key);
        sleep(Duration::from_millis(seed / 2)).await;
        high.join_peer(low.key_pair().public_key);
        seconds(60).await;
        assert_eq!((lows.open().len(), highs.open().len()), (1, 1), "seed {seed}");
        assert_eq!((low.connections(), high.connections()), (1, 1), "seed {seed}");
        let (total, later) = (lows.total() + highs.total(), Duration::from_secs(600));
        assert!(total <= 6, "seed {seed}: {total} connections for one pair");
        sleep(later).await;
        assert_eq!(lows.total() + highs.total(), total, "seed {seed}: they do not come to rest");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unused_crossing_is_won_by_the_greater_key() {
    let world = World::new(4);
    let (low, high) = (world.swarm(1, options()), world.swarm(200, options()));
    let (lows, highs) = (App::idle(&low), App::idle(&high));
    low.listen().await.unwrap();
    high.listen().await.unwrap();
    low.join_peer(high.key_pair().public_key);
    high.join_peer(low.key_pair().public_key);
    seconds(30).await;
    assert!(highs.open()[0].is_initiator());
    assert!(!lows.open()[0].is_initiator());
}

#[tokio::test(start_paused = true)]
async fn what_crossed_a_connection_does_not_replace_it_although_it_is_used() {
    let world = World::new(1);
    let (low, high) = (world.swarm(1, options()), world.swarm(200, options()));
    let (lows, highs) = (App::using(&low), App::using(&high));
    low.listen().await.unwrap();
    high.listen().await.unwrap();
    high.join_peer(low.key_pair().public_key);
    while !highs.open().first().is_some_and(|link| link.is_used()) {
        sleep(Duration::from_millis(1)).await;
    }
    // An attempt that the peer began before, and that arrives now.
    world.set_latency(0..1);
    let late = world.dial(1, high.key_pair().public_key).await;
    seconds(1).await;
    assert!(late.is_err() || late.is_ok_and(|late| late.is_closed()));
    assert_eq!((lows.total(), highs.total(), highs.open().len()), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_lost_its_connection_replaces_it() {
    let world = World::new(1);
    let server = world.swarm(200, options());
    let servers = App::using(&server);
    server.listen().await.unwrap();
    let first = world.dial(1, server.key_pair().public_key).await.unwrap();
    seconds(1).await;
    // The peer starts anew and knows nothing of its old connection. The server's key is the greater one, so only the rule that a
    // used connection is outdated lets the new one in.
    let second = world.dial(1, server.key_pair().public_key).await.unwrap();
    seconds(1).await;
    assert!(first.is_closed());
    assert!(!second.is_closed());
    assert_eq!((servers.total(), servers.open().len(), server.connections()), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_refused_duplicate_makes_the_other_prove_that_it_lives() {
    let world = World::new(1);
    let server = world.swarm(200, options());
    let servers = App::idle(&server);
    server.listen().await.unwrap();
    let first = world.dial(1, server.key_pair().public_key).await.unwrap();
    let second = world.dial(1, server.key_pair().public_key).await;
    seconds(1).await;
    assert!(second.is_err() || second.is_ok_and(|second| second.is_closed()));
    assert!(!first.is_closed());
    assert_eq!((servers.total(), first.keep_alives()), (1, 1));
    assert_eq!(server.stats().server_refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_is_opened_again_after_one_to_three_seconds() {
    let world = World::new(1);
    let (server, client) = (world.swarm(1, options()), world.swarm(2, options()));
    let (_servers, clients) = (App::using(&server), App::using(&client));
    server.join(TOPIC, SERVER).flushed().await.unwrap();
    client.join(TOPIC, CLIENT);
    client.flush().await;
    seconds(20).await;
    for round in 2..6 {
        let closed = Instant::now();
        clients.close_all();
        while clients.total() < round {
            sleep(Duration::from_millis(10)).await;
        }
        let waited = closed.elapsed();
        assert!(waited >= Duration::from_millis(600) && waited <= Duration::from_millis(2900), "{waited:?}");
        seconds(20).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_closes_at_once_is_tried_a_few_times_only() {
    let world = World::new(1);
    let (server, client) = (world.swarm(1, fast()), world.swarm(2, fast()));
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = count.clone();
    let _servers = App::idle(&server);
    let _clients = App::new(&client, move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        None
    });
    server.join(TOPIC, SERVER).flushed().await.unwrap();
    client.join(TOPIC, CLIENT);
    seconds(60).await;
    let count = count.load(Ordering::Relaxed);
    assert!(count > 1 && count < 5, "{count} connections");
    assert_eq!(client.known_peers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_banned_peer_is_not_tried_again() {
    let world = World::new(1);
    let (server, client) = (world.swarm(1, fast()), world.swarm(2, fast()));
    let _servers = App::idle(&server);
    let clients = App::new(&client, |connection, peer| {
        peer.ban(true);
        assert!(peer.is_banned());
        drop(connection);
        None
    });
    server.join(TOPIC, SERVER).flushed().await.unwrap();
    let discovery = client.join(TOPIC, CLIENT);
    seconds(5).await;
    discovery.refresh().await.unwrap();
    seconds(60).await;
    assert_eq!(client.stats().client_attempted, 1);
    assert_eq!(clients.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_ban_holds_against_incoming_connections_until_it_is_lifted() {
    let world = World::new(1);
    let server = world.swarm(200, options());
    let servers = App::using(&server);
    server.listen().await.unwrap();
    let first = world.dial(1, server.key_pair().public_key).await.unwrap();
    seconds(1).await;
    let peer = servers.peers()[0].clone();
    peer.ban(true);
    drop(first);
    assert!(world.dial(1, server.key_pair().public_key).await.is_err());
    peer.ban(false);
    assert!(world.dial(1, server.key_pair().public_key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn whom_the_servers_firewall_refuses_is_banned_and_told_of() {
    let world = World::new(1);
    let client = world.swarm(2, fast());
    let (banned, open) = (client.key_pair().public_key, Arc::new(AtomicBool::new(false)));
    let closed = open.clone();
    let firewall: hyperswarm::Firewall =
        Arc::new(move |key, payload| *key == banned && payload.is_some() && !closed.load(Ordering::Relaxed));
    let server = world.swarm(1, SwarmOptions { firewall: Some(firewall), ..fast() });
    let (servers, clients) = (App::idle(&server), App::idle(&client));
    let mut events = server.events();
    server.join(TOPIC, SERVER).flushed().await.unwrap();
    client.join(TOPIC, CLIENT);
    loop {
        if let SwarmEvent::Ban(peer) = events.recv().await.unwrap() {
            assert_eq!(*peer.public_key(), banned);
            break;
        }
    }
    seconds(60).await;
    // The firewall would let it in now, but the ban stands.
    open.store(true, Ordering::Relaxed);
    client.join([8; 32], BOTH).flushed().await.unwrap();
    server.join([8; 32], BOTH);
    seconds(60).await;
    assert_eq!((servers.total(), clients.total()), (0, 0));
    assert_eq!(server.stats().banned_peers, 1);
}

#[tokio::test(start_paused = true)]
async fn whom_the_clients_firewall_refuses_is_not_tried() {
    let world = World::new(1);
    let firewall: hyperswarm::Firewall = Arc::new(|_, payload| payload.is_none());
    let (server, client) =
        (world.swarm(1, options()), world.swarm(2, SwarmOptions { firewall: Some(firewall), ..options() }));
    let clients = App::idle(&client);
    let mut events = client.events();
    server.join(TOPIC, SERVER).flushed().await.unwrap();
    let discovery = client.join(TOPIC, CLIENT);
    assert!(matches!(events.recv().await.unwrap(), SwarmEvent::Ban(_)));
    assert!(client.flush().await);
    discovery.refresh().await.unwrap();
    seconds(60).await;
    assert_eq!((clients.total(), world.attempts.load(Ordering::Relaxed), client.stats().banned_peers), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_connects_to_itself() {
    let world = World::new(1);
    let swarm = world.swarm(1, options());
    let app = App::idle(&swarm);
    swarm.join(TOPIC, BOTH).flushed().await.unwrap();
    swarm.join_peer(swarm.key_pair().public_key);
    swarm.join(TOPIC, BOTH).refresh().await.unwrap();
    assert!(world.dial(1, swarm.key_pair().public_key).await.is_err());
    seconds(60).await;
    assert_eq!((app.total(), swarm.known_peers()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn two_topics_share_one_connection() {
    let world = World::new(1);
    let (server, client) = (world.swarm(1, options()), world.swarm(2, options()));
    let (_servers, clients) = (App::using(&server), App::using(&client));
    server.join([1; 32], SERVER).flushed().await.unwrap();
    server.join([2; 32], SERVER).flushed().await.unwrap();
    client.join([1; 32], CLIENT);
    client.join([2; 32], CLIENT);
    client.flush().await;
    seconds(5).await;
    assert_eq!(clients.total(), 1);
    assert_eq!(clients.peers()[0].topics().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_left_is_not_found_any_more() {
    let world = World::new(1);
    let (server, early, late) = (world.swarm(1, fast()), world.swarm(2, fast()), world.swarm(3, fast()));
    let (_servers, earlies, lates) = (App::using(&server), App::using(&early), App::using(&late));
    server.join(TOPIC, BOTH).flushed().await.unwrap();
    early.join(TOPIC, CLIENT);
    early.flush().await;
    server.leave(TOPIC).await;
    assert!(!world.is_announced(&TOPIC, &server.key_pair().public_key));
    late.join(TOPIC, CLIENT);
    assert!(late.flush().await);
    seconds(30).await;
    assert_eq!((early.connections(), late.connections()), (1, 0));
    assert_eq!((earlies.open().len(), lates.total()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_left_does_not_reconnect() {
    let world = World::new(1);
    let (server, client) = (world.swarm(1, fast()), world.swarm(2, fast()));
    let (_servers, clients) = (App::using(&server), App::using(&client));
    server.join(TOPIC, SERVER).flushed().await.unwrap();
    client.join(TOPIC, CLIENT);
    client.flush().await;
    seconds(1).await;
    clients.close_all();
    // It waits for its next attempt when the topic goes.
    sleep(Duration::from_millis(20)).await;
    client.leave(TOPIC).await;
    seconds(60).await;
    assert_eq!((clients.total(), client.known_peers(), client.stats().client_attempted), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_finds_who_came_later() {
    let world = World::new(1);
    let (first, second, client) = (world.swarm(1, options()), world.swarm(2, options()), world.swarm(3, options()));
    let clients = App::using(&client);
    let _others = (App::using(&first), App::using(&second));
    first.join(TOPIC, SERVER).flushed().await.unwrap();
    let discovery = client.join(TOPIC, CLIENT);
    client.flush().await;
    second.join(TOPIC, SERVER).flushed().await.unwrap();
    seconds(30).await;
    assert_eq!(clients.total(), 1);
    assert!(discovery.refresh().await.unwrap());
    client.flush().await;
    seconds(1).await;
    assert_eq!(clients.total(), 2);
}

#[tokio::test(start_paused = true)]
async fn topics_are_asked_for_again_every_ten_to_twelve_minutes() {
    let world = World::new(1);
    let swarm = world.swarm(1, options());
    swarm.join(TOPIC, BOTH).flushed().await.unwrap();
    assert_eq!(world.queries(), [QueryKind::Announce { clear: true }]);
    seconds(599).await;
    assert_eq!(world.queries()[1..], [QueryKind::Lookup]);
    seconds(124).await;
    assert_eq!(world.queries()[2..], [QueryKind::Announce { clear: false }]);
    seconds(3600).await;
    let queries = world.queries().len() - 1;
    assert!((6..=8).contains(&queries), "{queries} in 72 minutes");
}

#[tokio::test(start_paused = true)]
async fn all_who_join_at_the_same_moment_meet() {
    for seed in 0..20 {
        let world = World::new(seed);
        let apps: Vec<_> = (1..=6).map(|id| App::using(&world.swarm(30 * id, options()))).collect();
        for app in &apps {
            app.swarm.join(TOPIC, BOTH);
        }
        seconds(10).await;
        for app in &apps {
            assert_eq!(app.open().len(), 5, "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_swarm_that_starts_without_a_network_joins_when_it_comes() {
    let world = World::new(1);
    world.set_down(true);
    let (server, client) = (world.swarm(1, options()), world.swarm(2, options()));
    let (_servers, clients) = (App::using(&server), App::using(&client));
    let (announced, looked_up) = (server.join(TOPIC, SERVER), client.join(TOPIC, CLIENT));
    assert!(!announced.flushed().await.unwrap());
    assert!(!looked_up.flushed().await.unwrap());
    assert!(matches!(server.listen().await, Err(SwarmError::Listen(_))));
    seconds(30).await;
    world.set_down(false);
    seconds(120).await;
    assert_eq!(clients.open().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn peers_asked_for_by_key_leave_fewer_places_for_others() {
    let world = World::new(1);
    let servers: Vec<_> = (1..=14).map(|id| world.swarm(id, options())).collect();
    let _apps: Vec<_> = servers.iter().map(App::using).collect();
    for server in &servers {
        server.join(TOPIC, SERVER).flushed().await.unwrap();
    }
    for (explicit, places) in [(0, 12), (1, 6), (2, 4), (3, 4), (4, 3), (5, 3)] {
        let client = world.swarm(100, SwarmOptions { max_peers: 12, ..options() });
        let clients = App::using(&client);
        // They do not answer.
        (0..explicit).for_each(|id| client.join_peer([200 + id; 32]));
        client.join(TOPIC, CLIENT);
        seconds(60).await;
        assert_eq!(clients.open().len(), places, "{explicit} by key");
        client.destroy().await;
    }
}

#[tokio::test(start_paused = true)]
async fn limits_hold_and_flush_ends_all_the_same() {
    let world = World::new(1);
    let servers: Vec<_> = (1..=8).map(|id| world.swarm(id, options())).collect();
    let _apps: Vec<_> = servers.iter().map(App::using).collect();
    for server in &servers {
        server.join(TOPIC, SERVER).flushed().await.unwrap();
    }
    for (limit, parallel) in [
        (SwarmOptions { max_peers: 3, ..options() }, 3),
        (SwarmOptions { max_client_connections: 3, max_parallel: 2, ..options() }, 2),
    ] {
        let client = world.swarm(100, limit);
        let clients = App::using(&client);
        world.max_connecting.store(0, Ordering::Relaxed);
        client.join(TOPIC, CLIENT);
        assert!(client.flush().await);
        seconds(60).await;
        assert_eq!(clients.open().len(), 3);
        assert_eq!(world.max_connecting.load(Ordering::Relaxed), parallel);
        // A peer asked for by key comes on top.
        let reached: BTreeSet<_> = clients.open().iter().map(|connection| connection.remote()).collect();
        let another = servers.iter().map(|server| server.key_pair().public_key).find(|key| !reached.contains(key));
        client.join_peer(another.unwrap());
        seconds(5).await;
        assert_eq!(clients.open().len(), 4);
        client.destroy().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_limit_bounds_what_a_lookup_brings() {
    let world = World::new(1);
    let servers: Vec<_> = (1..=8).map(|id| world.swarm(id, options())).collect();
    let _apps: Vec<_> = servers.iter().map(App::using).collect();
    for server in &servers {
        server.join(TOPIC, SERVER).flushed().await.unwrap();
    }
    let client = world.swarm(100, options());
    let clients = App::using(&client);
    client.join(TOPIC, JoinOptions { limit: Some(2), ..CLIENT });
    client.flush().await;
    seconds(60).await;
    assert_eq!(clients.open().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn incoming_connections_beyond_the_limit_are_refused() {
    let world = World::new(1);
    let server = world.swarm(200, SwarmOptions { max_server_connections: 2, ..options() });
    let servers = App::using(&server);
    server.listen().await.unwrap();
    let mut kept = Vec::new();
    for id in 1..=5 {
        kept.extend(world.dial(id, server.key_pair().public_key).await);
    }
    seconds(1).await;
    assert_eq!((servers.total(), server.stats().server_refused), (2, 3));
    kept.clear();
    seconds(1).await;
    assert!(world.dial(6, server.key_pair().public_key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_peer_asked_for_by_key_is_kept_until_it_is_not_asked_for_any_more() {
    let world = World::new(1);
    let (server, client) = (world.swarm(1, options()), world.swarm(2, options()));
    let (_servers, clients) = (App::using(&server), App::using(&client));
    server.listen().await.unwrap();
    client.join_peer(server.key_pair().public_key);
    assert!(client.flush().await);
    seconds(1).await;
    for round in 2..8 {
        clients.close_all();
        seconds(20).await;
        assert_eq!(clients.total(), round);
    }
    client.leave_peer(server.key_pair().public_key);
    seconds(1).await;
    assert_eq!(clients.open().len(), 1);
    clients.close_all();
    seconds(60).await;
    assert_eq!((clients.total(), client.known_peers()), (7, 0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_asked_for_by_key_that_is_away_is_found_when_it_comes() {
    let world = World::new(1);
    let (server, client) = (world.swarm(1, options()), world.swarm(2, options()));
    let (_servers, clients) = (App::using(&server), App::using(&client));
    client.join_peer(server.key_pair().public_key);
    assert!(client.flush().await);
    seconds(1800).await;
    let attempts = client.stats().client_attempted;
    assert!((4..20).contains(&attempts), "{attempts} attempts in half an hour");
    server.listen().await.unwrap();
    seconds(960).await;
    assert_eq!(clients.open().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn sessions_add_up() {
    let world = World::new(1);
    let swarm = world.swarm(1, options());
    let key = swarm.key_pair().public_key;
    let client = swarm.join(TOPIC, CLIENT);
    let server = swarm.join(TOPIC, SERVER);
    assert!(server.flushed().await.unwrap());
    assert!(world.is_announced(&TOPIC, &key));
    server.destroy().await;
    assert!(!world.is_announced(&TOPIC, &key));
    assert!(matches!(server.refresh().await, Err(SwarmError::Left)));
    assert!(client.refresh().await.unwrap());
    assert!(client.set_options(BOTH).await.unwrap());
    assert!(world.is_announced(&TOPIC, &key));
    client.destroy().await;
    assert!(!world.is_announced(&TOPIC, &key));
    assert!(matches!(client.flushed().await, Err(SwarmError::Left)));
}

#[tokio::test(start_paused = true)]
async fn leaving_and_joining_again_ends_announced() {
    for pause in 0..120 {
        let world = World::new(pause);
        let swarm = world.swarm(1, options());
        let key = swarm.key_pair().public_key;
        swarm.join(TOPIC, BOTH);
        sleep(Duration::from_millis(pause)).await;
        let join_again = async {
            sleep(Duration::from_millis(pause % 7)).await;
            swarm.join(TOPIC, BOTH).flushed().await.unwrap()
        };
        let ((), joined) = tokio::join!(swarm.leave(TOPIC), join_again);
        assert!(joined);
        assert!(world.is_announced(&TOPIC, &key), "pause {pause}");
        swarm.leave(TOPIC).await;
        assert!(!world.is_announced(&TOPIC, &key), "pause {pause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroyed_swarm_leaves_nothing_behind() {
    for pause in 0..60 {
        let world = World::new(pause);
        let (server, client) = (world.swarm(1, options()), world.swarm(2, options()));
        let servers = App::using(&server);
        let discovery = server.join(TOPIC, BOTH);
        server.join([8; 32], SERVER);
        client.join(TOPIC, BOTH);
        sleep(Duration::from_millis(pause * 3)).await;
        tokio::join!(server.destroy(), server.destroy());
        let key = server.key_pair().public_key;
        assert!(!world.is_announced(&TOPIC, &key) && !world.is_announced(&[8; 32], &key), "pause {pause}");
        assert!(servers.open().is_empty());
        assert_eq!((server.connections(), server.connecting()), (0, 0));
        assert!(server.next_connection().await.is_none());
        assert!(matches!(discovery.flushed().await, Err(SwarmError::Destroyed | SwarmError::Left)));
        assert!(matches!(server.listen().await, Err(SwarmError::Destroyed)));
        assert!(!server.flush().await);
        server.leave(TOPIC).await;
        server.destroy().await;
        assert!(world.dial(9, key).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn destroy_ends_in_time_even_if_the_network_hangs() {
    let world = World::new(1);
    let swarm = world.swarm(1, options());
    swarm.join(TOPIC, BOTH).flushed().await.unwrap();
    let flushing = tokio::spawn({
        let swarm = swarm.clone();
        async move {
            world.set_hangs();
            swarm.join([8; 32], BOTH);
            swarm.flush().await
        }
    });
    seconds(1).await;
    let start = Instant::now();
    swarm.destroy().await;
    assert!(start.elapsed() <= Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(!flushing.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn connections_that_nobody_takes_do_not_pile_up() {
    let world = World::new(1);
    let server = world.swarm(200, options());
    server.listen().await.unwrap();
    let mut last = None;
    for _ in 0..200 {
        let connection = world.dial(1, server.key_pair().public_key).await.unwrap();
        connection.exchange();
        last = Some(connection);
    }
    seconds(1).await;
    assert_eq!(server.connections(), 1);
    let (taken, _) = server.next_connection().await.unwrap();
    assert!(!taken.is_closed() && !last.unwrap().is_closed());
    let more = tokio::time::timeout(Duration::from_secs(1), server.next_connection()).await;
    assert!(more.is_err(), "a connection that closed before it was taken is handed out");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_made_up_peers_costs_bounded_memory_and_hides_nobody() {
    let world = World::new(1);
    let server = world.swarm(1, options());
    server.join(TOPIC, SERVER).flushed().await.unwrap();
    let mut rng = StdRng::seed_from_u64(5);
    world.make_up((0..3 * MAX_KNOWN_PEERS).map(|_| rng.random()).collect());
    let client = world.swarm(2, options());
    let (_servers, clients) = (App::using(&server), App::using(&client));
    let discovery = client.join(TOPIC, CLIENT);
    discovery.flushed().await.unwrap();
    assert!(client.known_peers() <= MAX_KNOWN_PEERS);
    world.make_up(Vec::new());
    discovery.refresh().await.unwrap();
    seconds(600).await;
    assert_eq!(clients.open().len(), 1);
    assert!(client.known_peers() <= MAX_KNOWN_PEERS);
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_loses_nothing() {
    let world = World::new(1);
    let server = world.swarm(200, options());
    server.listen().await.unwrap();
    let mut taken = 0;
    let mut kept = Vec::new();
    for id in 1..=40 {
        kept.push(world.dial(id, server.key_pair().public_key).await.unwrap());
        // Asked for, and given up, at every phase of a connection's arrival.
        for _ in 0..id {
            tokio::select! {
                biased;
                Some(connection) = server.next_connection() => { taken += 1; std::mem::forget(connection); }
                () = tokio::task::yield_now() => {}
            }
        }
    }
    while let Ok(Some(connection)) = tokio::time::timeout(Duration::from_secs(1), server.next_connection()).await {
        taken += 1;
        std::mem::forget(connection);
    }
    assert_eq!(taken, 40);
}

/// Ten swarms in fifteen topics lose connections at random for ten seconds; in the end each is connected to all it shares a topic
/// with, exactly once.
#[tokio::test(start_paused = true)]
async fn chaos() {
    const SWARMS: usize = 10;
    for seed in 0..12 {
        let world = World::new(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        let backoffs = [100, 1000, 10_000, 10_000].map(Duration::from_millis);
        let options = SwarmOptions { backoffs: Some(backoffs), jitter: Duration::ZERO, ..options() };
        let apps: Vec<_> = (0..SWARMS).map(|id| App::using(&world.swarm(20 * id as u8 + 1, options.clone()))).collect();
        let mut expected = vec![BTreeSet::<usize>::new(); SWARMS];
        for topic in 0..15u8 {
            let members: BTreeSet<_> = (0..rng.random_range(0..SWARMS)).map(|_| rng.random_range(0..SWARMS)).collect();
            for &member in &members {
                expected[member].extend(members.iter().filter(|other| **other != member));
                apps[member].swarm.join([topic; 32], BOTH).flushed().await.unwrap();
            }
        }
        let check = |when: &str| {
            for (index, app) in apps.iter().enumerate() {
                let connected: BTreeSet<_> = app.open().iter().map(|connection| connection.remote()).collect();
                let keys: BTreeSet<_> =
                    expected[index].iter().map(|other| apps[*other].swarm.key_pair().public_key).collect();
                assert_eq!(connected, keys, "seed {seed}, swarm {index}, {when}");
                assert_eq!(app.open().len(), keys.len(), "seed {seed}, swarm {index}, {when}: duplicates");
                assert_eq!(app.swarm.connections(), keys.len(), "seed {seed}, swarm {index}, {when}");
            }
        };
        seconds(10).await;
        check("after the start");
        for _ in 0..30 {
            sleep(Duration::from_millis(rng.random_range(0..600))).await;
            let app = &apps[rng.random_range(0..SWARMS)];
            let open = app.open();
            if !open.is_empty() {
                let victim = open[rng.random_range(0..open.len())].remote();
                app.close(&victim);
            }
        }
        seconds(45).await;
        check("after the chaos");
        for app in &apps {
            app.swarm.destroy().await;
        }
    }
}

#[test]
fn test_keys_sort_as_their_ids() {
    assert!(key_pair(1).public_key < key_pair(2).public_key);
    assert!(key_pair(2).public_key < key_pair(200).public_key);
}
