//! Peers behind NATs, over a simulated network in virtual time.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::{World, listen};
use hyperdht::testnet::Testnet;
use hyperdht::{
    ConnectError, ConnectOptions, Connection, Dht, DhtOptions, HolepunchHook, PunchError, Server, ServerOptions,
};
use tokio::time::{Instant, timeout};
use udx::network::nat::{NatKind, Nats};
use udx::network::sim::Link;

const NAT_A: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 1);
const NAT_B: Ipv4Addr = Ipv4Addr::new(47, 1, 1, 1);
const HOST_A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
const HOST_A2: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 3);
const HOST_B: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 2);
const OPEN: Ipv4Addr = Ipv4Addr::new(48, 1, 1, 1);

/// Longer than any punch takes.
const LONG: Duration = Duration::from_secs(60);

/// Where a peer is.
#[derive(Clone, Copy)]
enum Place {
    Behind(NatKind),
    Public,
}

struct Pair {
    world: World,
    client: Dht,
    server_node: Dht,
    server: Server,
    key: [u8; 32],
}

/// A server and a client that know the network.
async fn pair(seed: u64, server: Place, client: Place, options: ServerOptions) -> Pair {
    let mut world = World::new(seed, 12).await;
    let mut nats = Nats::new(seed);
    let mut place = |place, nat, host| match place {
        Place::Behind(kind) => {
            nats.add(kind, nat, &[host]);
            host
        }
        Place::Public => OPEN,
    };
    let (client, server) = (place(client, NAT_A, HOST_A), place(server, NAT_B, HOST_B));
    world.net.set_middlebox(nats);
    let client = world.node(client).await;
    let server_node = world.node(server).await;
    let (server, key) = listen(&server_node, options).await;
    Pair { world, client, server_node, server, key }
}

/// Connects and sends a message to and fro. Also tells how long it took.
async fn meet(pair: &Pair, options: ConnectOptions) -> (Connection, Connection, Duration) {
    let began = Instant::now();
    let connected = async { tokio::join!(pair.client.connect(pair.key, options), pair.server.accept()) };
    let (here, there) = timeout(LONG, connected).await.expect("in time");
    let took = began.elapsed();
    let (mut here, mut there) = (here.expect("connected"), there.expect("accepted"));
    here.send(b"ping").await.expect("sent");
    assert_eq!(there.recv().await.expect("received").as_deref(), Some(&b"ping"[..]));
    there.send(b"pong").await.expect("sent");
    assert_eq!(here.recv().await.expect("received").as_deref(), Some(&b"pong"[..]));
    (here, there, took)
}

async fn refusal(pair: &Pair, options: ConnectOptions) -> PunchError {
    match timeout(LONG, pair.client.connect(pair.key, options)).await.expect("in time") {
        Err(error @ ConnectError::Holepunch(_)) => {
            assert_eq!(error.code(), "HOLEPUNCH_ABORTED");
            let ConnectError::Holepunch(reason) = error else { unreachable!() };
            reason
        }
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("connected"),
    }
}

#[tokio::test(start_paused = true)]
async fn two_cones_meet_without_waiting() {
    let pair = pair(1, Place::Behind(NatKind::Cone), Place::Behind(NatKind::Cone), ServerOptions::default()).await;
    assert!(pair.client.rpc().firewalled() && pair.server_node.rpc().firewalled());
    let (here, there, took) = meet(&pair, ConnectOptions::default()).await;
    assert!(took < Duration::from_millis(200), "no timeout was waited for: {took:?}");
    let seen = |connection: &Connection| connection.transport().remote_addr().map(|addr| addr.ip());
    assert_eq!((seen(&here), seen(&there)), (Some(NAT_B.into()), Some(NAT_A.into())));
}

#[tokio::test(start_paused = true)]
async fn without_fast_open_both_are_asked_first() {
    let pair = pair(2, Place::Behind(NatKind::Cone), Place::Behind(NatKind::Cone), ServerOptions::default()).await;
    let options = ConnectOptions { fast_open: false, ..ConnectOptions::default() };
    let (.., took) = meet(&pair, options).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(pair.client.punch_stats().consistent, 1);
    assert_eq!(pair.server_node.punch_stats().consistent, 1);
}

#[tokio::test(start_paused = true)]
async fn open_and_full_peers_are_reached_by_all() {
    let cone = Place::Behind(NatKind::Cone);
    let symmetric = Place::Behind(NatKind::Symmetric);
    for (seed, server, client) in [
        (3, Place::Public, cone),
        (4, cone, Place::Public),
        (5, Place::Behind(NatKind::Full), cone),
        (6, cone, Place::Behind(NatKind::Full)),
        (7, Place::Public, symmetric),
        (8, symmetric, Place::Public),
    ] {
        let pair = pair(seed, server, client, ServerOptions::default()).await;
        let (.., took) = meet(&pair, ConnectOptions::default()).await;
        assert!(took < Duration::from_millis(300), "world {seed}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_with_random_ports_opens_many_sockets() {
    let pair = pair(9, Place::Behind(NatKind::Symmetric), Place::Behind(NatKind::Cone), ServerOptions::default()).await;
    let (here, there, took) = meet(&pair, ConnectOptions::default()).await;
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert_eq!((pair.client.punch_stats().random, pair.server_node.punch_stats().random), (1, 1));
    drop((here, there));
}

#[tokio::test(start_paused = true)]
async fn a_client_with_random_ports_opens_many_sockets() {
    let pair =
        pair(10, Place::Behind(NatKind::Cone), Place::Behind(NatKind::Symmetric), ServerOptions::default()).await;
    let (here, _there, took) = meet(&pair, ConnectOptions::default()).await;
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert_eq!((pair.client.punch_stats().random, pair.server_node.punch_stats().random), (1, 1));

    // Another one at once would be too much for the NAT.
    assert!(matches!(refusal(&pair, ConnectOptions::default()).await, PunchError::Busy));
    drop(here);
    tokio::time::sleep(Duration::from_secs(20)).await;
    meet(&pair, ConnectOptions::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_punches_for_one_random_client_at_a_time() {
    let mut pair =
        pair(11, Place::Behind(NatKind::Cone), Place::Behind(NatKind::Symmetric), ServerOptions::default()).await;
    meet(&pair, ConnectOptions::default()).await;
    // Another node of the same host has limits of its own, the server has not.
    pair.client = pair.world.node(HOST_A).await;
    assert!(matches!(refusal(&pair, ConnectOptions::default()).await, PunchError::RemoteAborted(3)), "try later");
    assert_eq!(pair.server_node.punch_stats().refused, 1);
}

/// A peer without a firewall that does not know it: one probe of the other, who is random, finds a way, and no turn is needed.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_under_way_comes_before_many() {
    for (seed, client_is_random, hops) in [(19, true, 0), (22, true, 5), (23, false, 5)] {
        let mut world = World::new(seed, 12).await;
        let mut nats = Nats::new(seed);
        nats.add(NatKind::Symmetric, NAT_A, &[HOST_A]);
        nats.hops = hops;
        world.net.set_middlebox(nats);
        let (random, open) = (world.node(HOST_A).await, world.firewalled_node(OPEN).await);
        let (client, server_node) = if client_is_random { (random, open) } else { (open, random) };
        let (server, key) = listen(&server_node, ServerOptions::default()).await;
        // The answer to a question comes back before the answer to a probe.
        let link = Link { delay: Duration::from_millis(40), ..Link::default() };
        world.net.set_link(NAT_A.into(), OPEN.into(), link);
        world.net.set_link(OPEN.into(), HOST_A.into(), link);
        let pair = Pair { world, client, server_node, server, key };
        // A random punch would not be allowed twice.
        for _ in 0..2 {
            let (here, _there, took) = meet(&pair, ConnectOptions::default()).await;
            assert!(took < Duration::from_millis(500), "world {seed}: {took:?}");
            let other = if client_is_random { OPEN } else { NAT_A };
            assert_eq!(here.transport().remote_addr().map(|addr| addr.ip()), Some(other.into()));
        }
        assert_eq!((pair.client.punch_stats().random, pair.server_node.punch_stats().random), (0, 0));
    }
}

/// The server has no turn for another random punch, and says so while its answer to the client's probe is on its way.
#[tokio::test(start_paused = true)]
async fn a_hole_that_was_refused_meanwhile_is_still_one() {
    let mut world = World::new(20, 12).await;
    let mut nats = Nats::new(20);
    nats.add(NatKind::Symmetric, NAT_A, &[HOST_A]);
    nats.add(NatKind::Symmetric, NAT_B, &[HOST_B]);
    nats.hops = 0;
    world.net.set_middlebox(nats);
    let (client, server_node) = (world.node(HOST_A).await, world.firewalled_node(OPEN).await);
    let (server, key) = listen(&server_node, ServerOptions::default()).await;
    // A little longer than the client's patience.
    let link = Link { delay: Duration::from_millis(130), ..Link::default() };
    for (nat, host) in [(NAT_A, HOST_A), (NAT_B, HOST_B)] {
        world.net.set_link(OPEN.into(), host.into(), link);
        world.net.set_link(nat.into(), OPEN.into(), Link::default());
    }
    let other = world.node(HOST_B).await;
    let mut pair = Pair { world, client: other, server_node, server, key };
    meet(&pair, ConnectOptions::default()).await;
    assert_eq!(pair.server_node.punch_stats().random, 1, "it has had its turn");
    pair.client = client;
    meet(&pair, ConnectOptions::default()).await;
    assert_eq!((pair.server_node.punch_stats().random, pair.server_node.punch_stats().refused), (1, 1));
}

/// Somebody writes to all ports of the client, without a pause.
#[tokio::test(start_paused = true)]
async fn probes_of_strangers_open_no_way() {
    let mut world = World::new(21, 12).await;
    let mut nats = Nats::new(21);
    nats.add(NatKind::Cone, NAT_B, &[HOST_B]);
    world.net.set_middlebox(nats);
    let (client, server_node) = (world.firewalled_node(OPEN).await, world.node(HOST_B).await);
    let (server, key) = listen(&server_node, ServerOptions::default()).await;
    let stranger = world.nodes[5].rpc().udx().bind("0.0.0.0:0".parse().expect("address")).expect("bound");
    let noise = tokio::spawn(async move {
        loop {
            for port in 49_152..49_184 {
                // One that does not leave is no loss.
                let _ = stranger.try_send_to(&[0], (OPEN, port).into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let pair = Pair { world, client, server_node, server, key };
    let (here, ..) = meet(&pair, ConnectOptions::default()).await;
    assert_eq!(here.transport().remote_addr().map(|addr| addr.ip()), Some(NAT_B.into()));
    noise.abort();
}

#[tokio::test(start_paused = true)]
async fn two_random_peers_give_up_at_once() {
    let symmetric = Place::Behind(NatKind::Symmetric);
    let pair = pair(12, symmetric, symmetric, ServerOptions::default()).await;
    let began = Instant::now();
    let reason = refusal(&pair, ConnectOptions::default()).await;
    assert!(matches!(reason, PunchError::DoubleRandomizedNats | PunchError::RemoteAborted(1)), "{reason}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_hooks_can_refuse() {
    let refuses = || {
        Some(HolepunchHook::new(|view| {
            let firewalls = (view.local_firewall, view.remote_firewall);
            assert_eq!(
                firewalls,
                (hyperdht::constants::firewall::CONSISTENT, hyperdht::constants::firewall::CONSISTENT)
            );
            assert_eq!((view.local_addresses.len(), view.remote_addresses.len()), (1, 1));
            false
        }))
    };
    let cone = Place::Behind(NatKind::Cone);
    // With a fast open there is a hole before anybody is asked.
    let slow = ConnectOptions { fast_open: false, ..ConnectOptions::default() };
    let options = ServerOptions { holepunch: refuses(), ..ServerOptions::default() };
    let server_refuses = pair(13, cone, cone, options).await;
    assert!(matches!(refusal(&server_refuses, slow.clone()).await, PunchError::RemoteAborted(1)));

    let client_refuses = pair(14, cone, cone, ServerOptions::default()).await;
    let options = ConnectOptions { holepunch: refuses(), ..slow };
    assert!(matches!(refusal(&client_refuses, options).await, PunchError::Refused));
}

/// Two hosts behind one NAT, which reach each other inside or by the outside.
async fn neighbours(seed: u64, lan: bool, hairpin: bool) -> (World, Dht, Server, [u8; 32]) {
    let mut world = World::new(seed, 12).await;
    let mut nats = Nats::new(seed);
    nats.add(NatKind::Cone, NAT_A, &[HOST_A, HOST_A2]);
    (nats.lan, nats.hairpin) = (lan, hairpin);
    world.net.set_middlebox(nats);
    let (client, server_node) = (world.node(HOST_A).await, world.node(HOST_A2).await);
    let (server, key) = listen(&server_node, ServerOptions::default()).await;
    (world, client, server, key)
}

#[tokio::test(start_paused = true)]
async fn neighbours_meet_inside_their_network() {
    let (_world, client, server, key) = neighbours(15, true, false).await;
    let began = Instant::now();
    let (here, there) = tokio::join!(client.connect(key, ConnectOptions::default()), server.accept());
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(there.is_some());
    let here = here.expect("connected");
    assert_eq!(here.transport().remote_addr().map(|addr| addr.ip()), Some(HOST_A2.into()));
}

#[tokio::test(start_paused = true)]
async fn neighbours_that_cannot_meet_are_told_so() {
    let (_world, client, _server, key) = neighbours(16, false, false).await;
    let refused = timeout(LONG, client.connect(key, ConnectOptions::default())).await.expect("in time");
    assert_eq!(refused.expect_err("no way").code(), "HOLEPUNCH_ABORTED");
}

#[tokio::test(start_paused = true)]
async fn neighbours_that_are_kept_apart_punch_a_hole() {
    let (_world, client, server, key) = neighbours(18, false, true).await;
    let began = Instant::now();
    let (here, there) = tokio::join!(client.connect(key, ConnectOptions::default()), server.accept());
    assert!(began.elapsed() < Duration::from_secs(2), "the ping inside was not waited for: {:?}", began.elapsed());
    let outside = |connection: &Connection| connection.transport().remote_addr().map(|addr| addr.ip());
    assert_eq!(outside(&here.expect("connected")), Some(NAT_A.into()));
    assert_eq!(outside(&there.expect("accepted")), Some(NAT_A.into()));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_punch() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let pair =
        pair(17, Place::Behind(NatKind::Symmetric), Place::Behind(NatKind::Cone), ServerOptions::default()).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = tasks();
    let (here, there, _) = meet(&pair, ConnectOptions::default()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(tasks() < before + 20, "256 sockets were released: {} tasks more", tasks() - before);
    drop((here, there));
    tokio::time::sleep(LONG).await;
    assert_eq!(tasks(), before);
    assert_eq!(pair.client.rpc().udx().stream_count(), 0);
}

#[tokio::test]
async fn sockets_of_the_system_meet_without_local_addresses() {
    let network = Testnet::new(4).await.expect("started");
    let options = || DhtOptions { quick_firewall: false, ..network.options() };
    let (alice, bob) = (common::start(options()).await, common::start(options()).await);
    let options = ServerOptions { share_local_address: false, ..ServerOptions::default() };
    let (server, key) = listen(&alice, options).await;
    for fast_open in [true, false] {
        let options = ConnectOptions { local_connection: false, fast_open, ..ConnectOptions::default() };
        let connected = async { tokio::join!(bob.connect(key, options), server.accept()) };
        let (here, there) = timeout(LONG, connected).await.expect("in time");
        let (mut here, mut there) = (here.expect("connected"), there.expect("accepted"));
        here.send(b"ping").await.expect("sent");
        assert_eq!(there.recv().await.expect("received").as_deref(), Some(&b"ping"[..]));
        // Neither is the socket that the nodes know.
        let usual = alice.local_addr().map(|addr| addr.port());
        assert_ne!(here.transport().remote_addr().map(|addr| addr.port()), usual);
    }
    server.close().await;
    network.destroy().await;
}
