//! Routes that are used again, over a simulated network in virtual time.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::{World, listen};
use crypto::KeyPair;
use hyperdht::{ConnectError, ConnectOptions, Connection, Dht, Server, ServerOptions};
use tokio::time::{Instant, sleep, timeout};
use udx::UdxSocket;
use udx::network::nat::{NatKind, Nats};

const NAT_A: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 1);
const NAT_B: Ipv4Addr = Ipv4Addr::new(47, 1, 1, 1);
const HOST_A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
const HOST_B: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 2);

/// Longer than any connecting takes.
const LONG: Duration = Duration::from_secs(60);

/// How long a socket is kept that no stream uses.
const LINGER: Duration = Duration::from_secs(3);

/// A server and a client, each behind a NAT of its own.
struct Pair {
    world: World,
    client: Dht,
    server_node: Dht,
    server: Server,
    key: [u8; 32],
}

fn reusable() -> ServerOptions {
    ServerOptions { reusable_socket: true, ..ServerOptions::default() }
}

async fn pair(seed: u64, server: NatKind, client: NatKind, options: ServerOptions) -> Pair {
    let mut world = World::new(seed, 12).await;
    let mut nats = Nats::new(seed);
    nats.add(client, NAT_A, &[HOST_A]);
    nats.add(server, NAT_B, &[HOST_B]);
    world.net.set_middlebox(nats);
    let client = world.node(HOST_A).await;
    let server_node = world.node(HOST_B).await;
    let (server, key) = listen(&server_node, options).await;
    Pair { world, client, server_node, server, key }
}

impl Pair {
    async fn connect(&self) -> Result<Connection, ConnectError> {
        let options = ConnectOptions { reusable_socket: true, ..ConnectOptions::default() };
        timeout(LONG, self.client.connect(self.key, options)).await.expect("in time")
    }

    /// Connects and sends a message to and fro. Also tells how long it took.
    async fn meet(&self) -> (Connection, Connection, Duration) {
        let began = Instant::now();
        let (here, there) = tokio::join!(self.connect(), timeout(LONG, self.server.accept()));
        let took = began.elapsed();
        let (mut here, mut there) = (here.expect("connected"), there.expect("in time").expect("accepted"));
        echo(&mut here, &mut there).await;
        (here, there, took)
    }

    /// From now on nobody finds anybody.
    async fn lose_network(&self) {
        for node in &self.world.nodes {
            node.destroy().await;
        }
    }
}

async fn echo(here: &mut Connection, there: &mut Connection) {
    here.send(b"ping").await.expect("sent");
    assert_eq!(there.recv().await.expect("received").as_deref(), Some(&b"ping"[..]));
    there.send(b"pong").await.expect("sent");
    assert_eq!(here.recv().await.expect("received").as_deref(), Some(&b"pong"[..]));
}

fn socket(connection: &Connection) -> UdxSocket {
    connection.transport().socket().expect("connected")
}

async fn close(mut here: Connection, mut there: Connection) {
    let (here, there) = tokio::join!(here.close(), there.close());
    assert!(here.is_ok() && there.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_used_again_and_needs_no_node() {
    let pair = pair(1, NatKind::Cone, NatKind::Cone, reusable()).await;
    let (here, there, _) = pair.meet().await;
    pair.lose_network().await;
    for _ in 0..20 {
        let (again, back, took) = pair.meet().await;
        // The handshake, and the server's first packet.
        assert!(took < Duration::from_millis(50), "{took:?}");
        assert_eq!((socket(&again), socket(&back)), (socket(&here), socket(&there)));
    }
}

#[tokio::test(start_paused = true)]
async fn random_ports_are_punched_once() {
    for (seed, server, client) in [(2, NatKind::Symmetric, NatKind::Cone), (3, NatKind::Cone, NatKind::Symmetric)] {
        let pair = pair(seed, server, client, reusable()).await;
        let (_here, _there, _) = pair.meet().await;
        let (.., took) = pair.meet().await;
        assert!(took < Duration::from_millis(50), "world {seed}: {took:?}");
        assert_eq!(pair.client.punch_stats().random, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_outlives_its_streams_a_little() {
    let pair = pair(4, NatKind::Cone, NatKind::Cone, reusable()).await;
    let (mut here, mut there, _) = pair.meet().await;
    let first = socket(&here).id();
    for _ in 0..5 {
        close(here, there).await;
        sleep(LINGER - Duration::from_millis(100)).await;
        (here, there, _) = pair.meet().await;
        assert_eq!(socket(&here).id(), first);
    }
    close(here, there).await;
    sleep(LINGER * 2).await;
    let (here, ..) = pair.meet().await;
    assert_ne!(socket(&here).id(), first);
}

#[tokio::test(start_paused = true)]
async fn a_destroyed_stream_leaves_the_route() {
    let pair = pair(5, NatKind::Cone, NatKind::Cone, reusable()).await;
    let (here, there, _) = pair.meet().await;
    let first = socket(&here).id();
    drop((here, there));
    let (here, ..) = pair.meet().await;
    assert_eq!(socket(&here).id(), first);
}

#[tokio::test(start_paused = true)]
async fn both_sides_have_to_want_it() {
    let pair = pair(6, NatKind::Cone, NatKind::Cone, ServerOptions::default()).await;
    let (here, _there, _) = pair.meet().await;
    let (again, ..) = pair.meet().await;
    assert_ne!(socket(&here).id(), socket(&again).id());
}

#[tokio::test(start_paused = true)]
async fn a_dead_route_costs_no_more_than_its_head_start() {
    let mut pair = pair(7, NatKind::Cone, NatKind::Cone, reusable()).await;
    let keys = KeyPair::generate();
    pair.key = keys.public_key;
    pair.server = pair.server_node.create_server(reusable());
    pair.server.listen(keys.clone()).await.expect("listens");
    let (here, ..) = pair.meet().await;
    let first = socket(&here).id();
    // The same peer, started again: its sockets are others.
    pair.server_node.destroy().await;
    pair.server_node = pair.world.node(HOST_B).await;
    pair.server = pair.server_node.create_server(reusable());
    pair.server.listen(keys).await.expect("listens");
    let (again, _there, took) = pair.meet().await;
    let expected = Duration::from_millis(250)..Duration::from_millis(600);
    assert!(expected.contains(&took), "{took:?}");
    assert_ne!(socket(&again).id(), first);
    // The new route is the one that is kept.
    let (once_more, _, took) = pair.meet().await;
    assert!(took < Duration::from_millis(50), "{took:?}");
    assert_eq!(socket(&once_more), socket(&again));
}

#[tokio::test(start_paused = true)]
async fn the_server_can_connect_back() {
    let pair = pair(8, NatKind::Cone, NatKind::Cone, reusable()).await;
    let server = pair.client.create_server(reusable());
    server.listen(pair.client.key_pair().clone()).await.expect("listens");
    let (here, there, _) = pair.meet().await;
    pair.lose_network().await;
    let options = ConnectOptions { reusable_socket: true, ..ConnectOptions::default() };
    let key = pair.client.key_pair().public_key;
    let (back, accepted) = tokio::join!(pair.server_node.connect(key, options), server.accept());
    let (mut back, mut accepted) = (back.expect("connected"), accepted.expect("accepted"));
    echo(&mut back, &mut accepted).await;
    assert_eq!((socket(&back), socket(&accepted)), (socket(&there), socket(&here)));
}

#[tokio::test(start_paused = true)]
async fn a_public_server_is_reached_without_nodes() {
    let mut world = World::new(9, 8).await;
    let (server_node, client) = (world.node(NAT_A).await, world.firewalled_node(NAT_B).await);
    let (server, key) = listen(&server_node, reusable()).await;
    let pair = Pair { world, client, server_node, server, key };
    let (here, there, _) = pair.meet().await;
    close(here, there).await;
    // The two sockets of a node are always there.
    sleep(LINGER * 10).await;
    pair.lose_network().await;
    let (.., took) = pair.meet().await;
    assert!(took < Duration::from_millis(50), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_routes() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let pair = pair(10, NatKind::Cone, NatKind::Cone, reusable()).await;
    sleep(Duration::from_secs(20)).await;
    let before = tasks();
    let (here, there, _) = pair.meet().await;
    let (again, back, _) = pair.meet().await;
    drop((here, there));
    close(again, back).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(tasks(), before);
    assert_eq!(pair.client.rpc().udx().stream_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_destroyed_although_its_routes_are_kept() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let Pair { mut world, client, server_node, server, .. } = pair(11, NatKind::Cone, NatKind::Cone, reusable()).await;
    drop((client, server, server_node));
    sleep(Duration::from_secs(60)).await;
    let before = tasks();
    let (client, server_node) = (world.node(HOST_A).await, world.node(HOST_B).await);
    let (server, key) = listen(&server_node, reusable()).await;
    let pair = Pair { world, client, server_node, server, key };
    let connections = pair.meet().await;
    let Pair { world: _world, client, server_node, server, .. } = pair;
    drop((client, server_node, server));
    sleep(Duration::from_secs(1)).await;
    drop(connections);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(tasks(), before);
}
