//! Peers that meet at a blind relay, over a simulated network in virtual time.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use blind_relay::Limits;
use common::{World, listen};
use hyperdht::{ConnectOptions, Connection, Dht, HolepunchHook, Server, ServerOptions};
use protomux::Mux;
use tokio::time::timeout;
use udx::network::nat::{MAPPING_LIFETIME, NatKind, Nats};

const NAT_A: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 1);
const NAT_B: Ipv4Addr = Ipv4Addr::new(47, 1, 1, 1);
const HOST_A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
const HOST_B: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 2);
const RELAY: Ipv4Addr = Ipv4Addr::new(49, 1, 1, 1);
const OPEN: Ipv4Addr = Ipv4Addr::new(48, 1, 1, 1);

const LONG: Duration = Duration::from_secs(60);

/// Two peers behind NATs, and a relay in the open.
struct Trio {
    world: World,
    client: Dht,
    server_node: Dht,
    relay: blind_relay::Server,
    relay_key: [u8; 32],
}

impl Trio {
    async fn new(seed: u64, server: Option<NatKind>, client: NatKind) -> Self {
        let mut world = World::new(seed, 12).await;
        let mut nats = Nats::new(seed);
        nats.lifetime = Some(MAPPING_LIFETIME);
        nats.add(client, NAT_A, &[HOST_A]);
        if let Some(server) = server {
            nats.add(server, NAT_B, &[HOST_B]);
        }
        world.net.set_middlebox(nats);
        let node = world.node(RELAY).await;
        let relay = blind_relay::Server::new(node.rpc().udx().clone(), Limits::default());
        let (server_of_relay, relay_key) = listen(&node, ServerOptions::default()).await;
        tokio::spawn({
            let relay = relay.clone();
            async move {
                // The node lives as long as its server.
                let _node = node;
                while let Some(connection) = server_of_relay.accept().await {
                    let relay = relay.clone();
                    tokio::spawn(async move { relay.serve(&Mux::new(connection)).await });
                }
            }
        });
        let client = world.node(HOST_A).await;
        let server_node = world.node(if server.is_some() { HOST_B } else { OPEN }).await;
        Self { world, client, server_node, relay, relay_key }
    }

    fn wants(&self, relay: bool) -> Vec<[u8; 32]> {
        if relay { vec![self.relay_key] } else { Vec::new() }
    }

    async fn serve(&self, options: ServerOptions) -> (Server, [u8; 32]) {
        listen(&self.server_node, options).await
    }
}

async fn meet(trio: &Trio, server: &Server, key: [u8; 32], options: ConnectOptions) -> (Connection, Connection) {
    let connected = async { tokio::join!(trio.client.connect(key, options), server.accept()) };
    let (here, there) = timeout(LONG, connected).await.expect("in time");
    let (mut here, mut there) = (here.expect("connected"), there.expect("accepted"));
    talk(&mut here, &mut there).await;
    (here, there)
}

async fn talk(here: &mut Connection, there: &mut Connection) {
    here.send(b"ping").await.expect("sent");
    assert_eq!(there.recv().await.expect("received").as_deref(), Some(&b"ping"[..]));
    there.send(b"pong").await.expect("sent");
    assert_eq!(here.recv().await.expect("received").as_deref(), Some(&b"pong"[..]));
}

fn remote(connection: &Connection) -> IpAddr {
    connection.transport().remote_addr().expect("connected").ip()
}

/// Refuses to punch, so that the stream stays where it is.
fn never() -> Option<HolepunchHook> {
    Some(HolepunchHook::new(|_| false))
}

#[tokio::test(start_paused = true)]
async fn two_symmetric_peers_meet_at_the_relay_that_either_wants() {
    for (seed, server_wants, client_wants) in [(1, false, true), (2, true, false), (3, true, true)] {
        let trio = Trio::new(seed, Some(NatKind::Symmetric), NatKind::Symmetric).await;
        let options = ServerOptions { relay_through: trio.wants(server_wants).into(), ..ServerOptions::default() };
        let (server, key) = trio.serve(options).await;
        let options = ConnectOptions { relay_through: trio.wants(client_wants), ..ConnectOptions::default() };
        let (mut here, mut there) = meet(&trio, &server, key, options).await;
        assert_eq!((remote(&here), remote(&there)), (RELAY.into(), RELAY.into()));
        assert_eq!(trio.relay.stats().active, 1);

        // It stays, also when all hope for a hole is gone.
        // Nobody reads meanwhile, and the NATs remember the relay only by the keep-alives.
        tokio::time::sleep(LONG).await;
        talk(&mut here, &mut there).await;
        let relayed = |dht: &Dht| (dht.relay_stats().attempts, dht.relay_stats().successes, dht.relay_stats().upgrades);
        assert_eq!((relayed(&trio.client), relayed(&trio.server_node)), ((1, 1, 0), (1, 1, 0)));

        // The relay is left with the connection.
        drop((here, there));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((trio.relay.stats().active, trio.relay.stats().sessions), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_relayed_stream_moves_to_the_hole_when_there_is_one() {
    for (seed, idle) in [(10, false), (11, true)] {
        let trio = Trio::new(seed, Some(NatKind::Cone), NatKind::Cone).await;
        let (server, key) = trio.serve(ServerOptions::default()).await;
        // Both have to be asked what they are behind, which takes longer than to meet at the relay.
        let relay_through = trio.wants(true);
        let options = ConnectOptions { fast_open: false, relay_through, ..ConnectOptions::default() };
        let (mut here, mut there) = meet(&trio, &server, key, options).await;
        assert_eq!(remote(&here), RELAY, "relayed first");
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if !idle {
                talk(&mut here, &mut there).await;
            }
        }
        assert_eq!((remote(&here), remote(&there)), (NAT_B.into(), NAT_A.into()), "direct then");
        assert_eq!((trio.client.relay_stats().upgrades, trio.server_node.relay_stats().upgrades), (1, 1));
        talk(&mut here, &mut there).await;

        tokio::time::sleep(LONG).await;
        assert_eq!(trio.relay.stats().sessions, 0, "the relay is left");
        talk(&mut here, &mut there).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_relay_all_is_as_if_none_was_wanted() {
    let lost = vec![[7; 32]];
    let trio = Trio::new(20, Some(NatKind::Cone), NatKind::Cone).await;
    let (server, key) = trio.serve(ServerOptions::default()).await;
    let options = ConnectOptions { relay_through: lost.clone(), ..ConnectOptions::default() };
    let (here, _there) = meet(&trio, &server, key, options.clone()).await;
    assert_eq!(remote(&here), NAT_B);

    let trio = Trio::new(21, Some(NatKind::Symmetric), NatKind::Symmetric).await;
    let (_server, key) = trio.serve(ServerOptions::default()).await;
    let failed = timeout(LONG, trio.client.connect(key, options)).await.expect("in time");
    assert_eq!(failed.err().map(|error| error.code()), Some("HOLEPUNCH_ABORTED"));
    assert_eq!(trio.client.relay_stats().aborts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_hole_leaves_the_relay() {
    for (seed, server_refuses) in [(30, false), (31, true)] {
        let trio = Trio::new(seed, Some(NatKind::Cone), NatKind::Cone).await;
        let holepunch = if server_refuses { never() } else { None };
        let options = ServerOptions { holepunch, share_local_address: false, ..ServerOptions::default() };
        let (server, key) = trio.serve(options).await;
        let holepunch = if server_refuses { None } else { never() };
        let relay_through = trio.wants(true);
        let options = ConnectOptions { fast_open: false, holepunch, relay_through, ..ConnectOptions::default() };
        let (mut here, mut there) = meet(&trio, &server, key, options).await;
        tokio::time::sleep(LONG).await;
        talk(&mut here, &mut there).await;
        assert_eq!(remote(&here), RELAY);
    }
}

#[tokio::test(start_paused = true)]
async fn who_can_be_written_to_is_not_met_at_a_relay() {
    let trio = Trio::new(40, None, NatKind::Symmetric).await;
    let options = ServerOptions { relay_through: trio.wants(true).into(), ..ServerOptions::default() };
    let (server, key) = trio.serve(options).await;
    let options = ConnectOptions { relay_through: trio.wants(true), ..ConnectOptions::default() };
    let (here, _there) = meet(&trio, &server, key, options).await;
    assert_eq!(remote(&here), OPEN);
    assert_eq!((trio.client.relay_stats().attempts, trio.server_node.relay_stats().attempts), (0, 0));
}

/// One side punches for another peer, or has just done so: the relay carries the connection until there is a turn.
#[tokio::test(start_paused = true)]
async fn a_relayed_stream_waits_for_its_turn_to_punch_at_random() {
    for (seed, server, client) in [(50, NatKind::Cone, NatKind::Symmetric), (51, NatKind::Symmetric, NatKind::Cone)] {
        let mut trio = Trio::new(seed, Some(server), client).await;
        let (server, key) = trio.serve(ServerOptions::default()).await;
        meet(&trio, &server, key, ConnectOptions::default()).await;
        let options = || ConnectOptions { relay_through: trio.wants(true), ..ConnectOptions::default() };

        // The client had its turn, and so had the server.
        let (mut here, mut there) = meet(&trio, &server, key, options()).await;
        assert_eq!((remote(&here), remote(&there)), (RELAY.into(), RELAY.into()));
        // Another node of the same host has a turn of its own.
        let options = options();
        let next = trio.world.node(HOST_A).await;
        let _first = std::mem::replace(&mut trio.client, next);
        let (mut next_here, mut next_there) = meet(&trio, &server, key, options).await;
        assert_eq!(remote(&next_here), RELAY);

        // Each waits 20 s for the one before, asks every 10 to 20 s, and punches for up to 40 s.
        tokio::time::sleep(Duration::from_secs(200)).await;
        for (here, there) in [(&mut here, &mut there), (&mut next_here, &mut next_there)] {
            talk(here, there).await;
            assert_eq!((remote(here), remote(there)), (NAT_B.into(), NAT_A.into()), "direct at last");
        }
        assert_eq!(trio.server_node.relay_stats().upgrades, 2);
        assert_eq!(trio.server_node.punch_stats().random, 3);
    }
}
