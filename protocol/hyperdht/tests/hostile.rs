//! What nobody who means well sends.

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;
use common::{World, listen, talk};
use crypto::KeyPair;
use crypto::noise::{Handshake as Noise, Pattern};
use dht_rpc::message::{Message, Request, Response};
use hyperdht::constants::{NS, code, command, firewall};
use hyperdht::messages::{Handshake, Holepunch, Mode, NoisePayload, UdxInfo};
use hyperdht::{ConnectOptions, MAX_HANDSHAKES, ServerOptions};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio::time::timeout;
use udx::Udx;
use udx::network::sim::SimPacket;

const ALICE: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 1);
const BOB: Ipv4Addr = Ipv4Addr::new(47, 1, 1, 1);
const MALLORY: Ipv4Addr = Ipv4Addr::new(66, 6, 6, 6);

/// Datagrams from noise to almost right requests for `target`.
fn datagram(target: [u8; 32]) -> impl Strategy<Value = Vec<u8>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
    let to = "46.1.1.1:49737".parse().expect("address");
    let request = (any::<u16>(), any::<bool>(), 0u64..12, any::<bool>(), proptest::option::of(bytes())).prop_map(
        move |(tid, internal, command, targeted, value)| {
            let request = Request::new(tid, to, internal, command);
            let target = targeted.then_some(target);
            Request { target, value: value.map(Bytes::from), ..request }.encode()
        },
    );
    let response = (any::<u16>(), bytes()).prop_map(move |(tid, value)| {
        let closer_nodes =
            (0..20).map(|i| (Ipv4Addr::new(66, 6, 6, i), 6)).map(|(ip, port)| SocketAddrV4::new(ip, port));
        Response { closer_nodes: closer_nodes.collect(), value: Some(value.into()), ..Response::new(tid, to) }.encode()
    });
    let wrapped = (any::<u16>(), 0u64..6, bytes(), any::<bool>()).prop_map(move |(tid, mode, noise, punch)| {
        let modes =
            [Mode::FromClient, Mode::FromServer, Mode::FromRelay, Mode::FromSecondRelay, Mode::Reply, Mode::Unknown(9)];
        let mode = modes[mode as usize];
        let peer_address = Some("66.6.6.6:6".parse().expect("address"));
        let (command, value) = if punch {
            (command::PEER_HOLEPUNCH, Holepunch { mode, id: tid.into(), payload: &noise, peer_address }.encode())
        } else {
            (
                command::PEER_HANDSHAKE,
                Handshake { mode, noise: &noise, peer_address, relay_address: peer_address }.encode(),
            )
        };
        let request = Request::new(tid, to, false, command);
        Request { target: Some(target), value: Some(value.into()), ..request }.encode()
    });
    prop_oneof![bytes(), request, response, wrapped]
}

#[tokio::test(start_paused = true)]
async fn any_datagram_is_survived() {
    let mut world = World::new(1, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let mallory =
        Udx::with_network(world.net.host(MALLORY.into())).bind("0.0.0.0:6".parse().expect("address")).expect("bound");
    let table = alice.rpc().table_len();

    let mut runner = TestRunner::deterministic();
    let strategy = datagram(crypto::hash(&[&key]));
    let targets = [
        alice.rpc().socket(dht_rpc::SocketId::SERVER).expect("bound").local_addr().port(),
        alice.rpc().socket(dht_rpc::SocketId::CLIENT).expect("bound").local_addr().port(),
    ];
    for i in 0..4000 {
        let datagram = strategy.new_tree(&mut runner).expect("a datagram").current();
        let to = (ALICE, targets[i % 2]).into();
        mallory.try_send_to(&datagram, to).expect("sent");
        mallory.try_send_to(&datagram, (common::node_host(1), common::PORT).into()).expect("sent");
        if i % 100 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    talk(&bob, &server, key).await;
    assert_eq!(alice.rpc().table_len(), table, "who shows no identifier is not remembered");
    assert!(alice.rpc().udx().stream_count() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lies_about_handshakes_does_not_keep_peers_apart() {
    let mut world = World::new(2, 8).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;

    // It answers every handshake at once, with garbage.
    let liar =
        Udx::with_network(world.net.host(MALLORY.into())).bind("0.0.0.0:6".parse().expect("address")).expect("bound");
    tokio::spawn(async move {
        while let Some(datagram) = liar.recv().await {
            let Some(dht_rpc::message::Message::Request(request)) = dht_rpc::message::Message::decode(&datagram.data)
            else {
                continue;
            };
            let std::net::SocketAddr::V4(from) = datagram.from else { continue };
            let value =
                Handshake { mode: Mode::Reply, noise: &[7; 64], peer_address: None, relay_address: None }.encode();
            let response = Response { value: Some(value.into()), ..Response::new(request.tid, from) };
            liar.try_send_to(&response.encode(), datagram.from).expect("sent");
        }
    });
    let relay_addresses = vec![SocketAddrV4::new(MALLORY, 6)];
    let options = hyperdht::ConnectOptions { relay_addresses, ..hyperdht::ConnectOptions::default() };
    let (connection, accepted) = tokio::join!(bob.connect(key, options), server.accept());
    assert!(connection.is_ok() && accepted.is_some());
}

/// A client that can be reached is written to at the address that its handshake names: a stranger must not choose whom.
#[tokio::test(start_paused = true)]
async fn a_handshake_from_a_node_that_does_not_know_the_server_is_ignored() {
    let mut world = World::new(3, 6).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    world.net.set_middlebox(|_, packet: &mut SimPacket| {
        let is_handshake = match Message::decode(&Bytes::copy_from_slice(&packet.data)) {
            Some(Message::Request(request)) => !request.internal && request.command == command::PEER_HANDSHAKE,
            _ => false,
        };
        if is_handshake && packet.destination.ip() == ALICE {
            packet.source.set_ip(MALLORY.into());
        }
        true
    });
    let refused = bob.connect(key, ConnectOptions::default()).await;
    assert_eq!(refused.err().map(|error| error.code()), Some("PEER_CONNECTION_FAILED"));
    assert!(timeout(Duration::from_secs(20), server.accept()).await.is_err(), "nobody came");
    world.net.set_middlebox(|_, _: &mut SimPacket| true);
    talk(&bob, &server, key).await;
}

/// A Noise message that the server at `key` accepts, of a client that says it is behind `firewall`.
fn hello(key: [u8; 32], firewall: u64) -> Vec<u8> {
    let mut noise = Noise::new(Pattern::IK, true, KeyPair::generate(), Some(key), &NS.peer_handshake);
    let payload = NoisePayload {
        udx: Some(UdxInfo::new(7, false)),
        secret_stream: Some(1),
        ..NoisePayload::new(code::NONE, firewall)
    };
    noise.send(&payload.encode()).expect("sealed")
}

/// The datagram of a handshake for the server at `key` on `to`.
fn handshake(to: SocketAddrV4, key: [u8; 32], message: &Handshake<'_>) -> Vec<u8> {
    let request = Request::new(1, to, false, command::PEER_HANDSHAKE);
    Request { target: Some(crypto::hash(&[&key])), value: Some(message.encode().into()), ..request }.encode()
}

#[tokio::test(start_paused = true)]
async fn nobody_is_written_to_whom_a_client_names() {
    let mut world = World::new(4, 6).await;
    let alice = world.node(ALICE).await;
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let bind = |host: Ipv4Addr| {
        Udx::with_network(world.net.host(host.into())).bind("0.0.0.0:6".parse().expect("address")).expect("bound")
    };
    let (mallory, victim) = (bind(MALLORY), bind(BOB));
    let named = Some(SocketAddrV4::new(BOB, 6));
    let port = alice.rpc().socket(dht_rpc::SocketId::SERVER).expect("bound").local_addr().port();
    let to = SocketAddrV4::new(ALICE, port);

    for (mode, peer_address, relay_address) in [
        (Mode::FromClient, named, None),
        (Mode::FromClient, None, named),
        (Mode::FromClient, named, named),
        (Mode::FromServer, named, None),
        (Mode::Reply, named, None),
        (Mode::Unknown(9), named, None),
    ] {
        let noise = hello(key, firewall::OPEN);
        let message = Handshake { mode, noise: &noise, peer_address, relay_address };
        mallory.try_send_to(&handshake(to, key, &message), to.into()).expect("sent");
        assert!(timeout(Duration::from_secs(20), victim.recv()).await.is_err(), "{message:?}");
        assert!(mallory.try_recv().is_none(), "{message:?}");
        assert_eq!((alice.rpc().udx().stream_count(), alice.gauges().handshakes), (0, 0), "{message:?}");
    }
    // The same from a client that names nobody is answered, and written to where it is.
    let noise = hello(key, firewall::OPEN);
    let message = Handshake { mode: Mode::FromClient, noise: &noise, peer_address: None, relay_address: None };
    mallory.try_send_to(&handshake(to, key, &message), to.into()).expect("sent");
    let accepted = timeout(Duration::from_secs(20), server.accept()).await;
    assert!(accepted.is_ok_and(|connection| connection.is_some()));
    assert!(timeout(Duration::from_secs(20), mallory.recv()).await.is_ok());
    assert!(victim.try_recv().is_none());
}

/// Addresses of many hosts that nobody has.
fn stranger(i: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(Ipv4Addr::new(100, 0, 0, 1).to_bits() + i), 6)
}

/// What a server can keep of handshakes is finite; whoever fills it must not keep others out. First from one host that can be
/// reached, then through a node that names another host in each.
#[tokio::test(start_paused = true)]
async fn a_flood_of_handshakes_keeps_nobody_out() {
    const BOUND: Duration = Duration::from_secs(3);
    let mut world = World::new(5, 6).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let server = std::sync::Arc::new(server);
    let mallory =
        Udx::with_network(world.net.host(MALLORY.into())).bind("0.0.0.0:6".parse().expect("address")).expect("bound");
    let port = alice.rpc().socket(dht_rpc::SocketId::SERVER).expect("bound").local_addr().port();
    let to = SocketAddrV4::new(ALICE, port);
    let relay = server.relay_addresses()[0];
    // Whoever accepts drops those who say nothing.
    let (sender, mut friends) = tokio::sync::mpsc::unbounded_channel();
    let (accepting, friend) = (server.clone(), bob.key_pair().public_key);
    tokio::spawn(async move {
        while let Some(connection) = accepting.accept().await {
            if connection.remote_public_key() == &friend {
                sender.send(connection).expect("is received");
            }
        }
    });

    let hellos: Vec<_> = (0..MAX_HANDSHAKES + 1).map(|_| hello(key, firewall::UNKNOWN)).collect();
    for forwarded in [false, true] {
        world.net.set_middlebox(move |_, packet: &mut SimPacket| {
            if forwarded && packet.source.ip() == MALLORY {
                packet.source = relay.into();
            }
            true
        });
        for (i, noise) in hellos.iter().enumerate() {
            let (mode, peer_address) =
                if forwarded { (Mode::FromRelay, Some(stranger(i as u32))) } else { (Mode::FromClient, None) };
            let message = Handshake { mode, noise, peer_address, relay_address: None };
            mallory.try_send_to(&handshake(to, key, &message), to.into()).expect("sent");
            if i % 32 == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let connected = timeout(BOUND, bob.connect(key, ConnectOptions::default())).await;
        let mut here = connected.expect("in time").expect("connected");
        let mut there = timeout(BOUND, friends.recv()).await.expect("in time").expect("accepted");
        here.send(b"ping").await.expect("sent");
        assert_eq!(there.recv().await.expect("received").as_deref(), Some(&b"ping"[..]));
        assert!(alice.gauges().handshakes <= MAX_HANDSHAKES);
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}
