//! A server that is told lies by somebody who has shaken hands with it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;
use crypto::KeyPair;
use dht_rpc::message::Request;
use dht_rpc::{RequestError, RequestOptions, SocketId};
use udx::network::sim::SimNetwork;

use super::attempts::MAX_ATTEMPTS;
use super::strategy::BIRTHDAY_SOCKETS;
use crate::constants::{code, command, firewall};
use crate::dht::{ConnectOptions, Dht, DhtOptions};
use crate::messages::{Handshake, Holepunch, HolepunchInfo, HolepunchPayload, Mode, NoisePayload, UdxInfo};
use crate::noise::{NoiseWrap, holepunch_secret};
use crate::secure_payload::SecurePayload;
use crate::server::ServerOptions;
use crate::socket_pool::PoolSocket;
use crate::unproven::MAX_UNPROVEN_PER_HOST;

const PORT: u16 = 49737;

async fn node(net: &SimNetwork, host: u8, options: DhtOptions) -> Dht {
    let ip = Ipv4Addr::new(45, 10, 0, host);
    let bootstrap = SocketAddrV4::new(Ipv4Addr::new(45, 10, 0, 1), PORT);
    let options = DhtOptions {
        bootstrap: Some(vec![bootstrap.into()]),
        network: Some(net.host(ip.into())),
        local_addresses: Some(vec![ip]),
        seed: Some(host.into()),
        ..options
    };
    let dht = match host {
        1 => Dht::bootstrapper(ip, PORT, DhtOptions { bootstrap: None, ..options }).await,
        _ => Dht::new(options).await,
    };
    let dht = dht.expect("bound");
    dht.bootstrapped().await;
    dht
}

/// A client that has shaken hands, and says what it likes.
struct Liar {
    dht: Dht,
    target: [u8; 32],
    relay: SocketAddrV4,
    info: HolepunchInfo,
    secure: SecurePayload,
}

impl Liar {
    async fn meet(dht: &Dht, key: [u8; 32], relay: SocketAddrV4) -> Self {
        let target = crypto::hash(&[&key]);
        let mut noise = NoiseWrap::initiator(KeyPair::generate(), key);
        let payload = NoisePayload {
            udx: Some(UdxInfo::new(7, false)),
            secret_stream: Some(1),
            ..NoisePayload::new(code::NONE, firewall::UNKNOWN)
        };
        let message = noise.send(&payload).expect("sealed");
        let message =
            Handshake { mode: Mode::FromClient, noise: &message, peer_address: None, relay_address: None }.encode();
        let options = RequestOptions { target: Some(target), value: Some(message.into()), ..RequestOptions::default() };
        let reply = dht.rpc().request(relay, command::PEER_HANDSHAKE, options).await.expect("answered");
        let value = reply.value.expect("an answer");
        let answer = Handshake::decode(&value).expect("decoded");
        let payload = noise.recv(answer.noise).expect("opened");
        let secret = holepunch_secret(&noise.finish().expect("complete"));
        let secure = SecurePayload::new(secret, &mut rand::rng());
        Self { dht: dht.clone(), target, relay, info: payload.holepunch.expect("a way to punch"), secure }
    }

    async fn send(&self, sealed: &[u8]) -> Result<HolepunchPayload, RequestError> {
        let peer = self.info.relays.iter().find(|relay| relay.relay_address == self.relay).expect("the relay");
        let message = Holepunch {
            mode: Mode::FromClient,
            id: self.info.id,
            payload: sealed,
            peer_address: Some(peer.peer_address),
        };
        let value: Bytes = message.encode().into();
        let options = RequestOptions { target: Some(self.target), value: Some(value), ..RequestOptions::default() };
        let reply = self.dht.rpc().request(self.relay, command::PEER_HOLEPUNCH, options).await?;
        let value = reply.value.expect("an answer");
        let answer = Holepunch::decode(&value).expect("decoded");
        Ok(self.secure.open(answer.payload).expect("opened"))
    }

    async fn say(&self, payload: HolepunchPayload) -> Result<HolepunchPayload, RequestError> {
        self.send(&self.secure.seal(&payload, &mut rand::rng())).await
    }
}

#[tokio::test(start_paused = true)]
async fn lies_cost_the_liar_its_connection() {
    let net = SimNetwork::new(1);
    let mut nodes = Vec::new();
    for host in 1..=6 {
        nodes.push(
            node(&net, host, DhtOptions { ephemeral: Some(false), firewalled: false, ..DhtOptions::default() }).await,
        );
    }
    let hidden = DhtOptions { quick_firewall: false, ..DhtOptions::default() };
    let (alice, mallory) = (node(&net, 66, hidden.clone()).await, node(&net, 67, hidden).await);
    let server = alice.create_server(ServerOptions { share_local_address: false, ..ServerOptions::default() });
    let keys = KeyPair::generate();
    let key = keys.public_key;
    server.listen(keys).await.expect("listens");
    let relay = server.relay_addresses()[0];

    let liar = Liar::meet(&mallory, key, relay).await;
    assert_eq!(liar.send(b"").await.err(), Some(RequestError::Timeout), "nothing");
    assert_eq!(liar.send(&[7; 200]).await.err(), Some(RequestError::Timeout), "noise");

    // Everybody's address, and a kind of NAT that does not exist.
    let everybody: Vec<_> = (0..180).map(|i| SocketAddrV4::new(Ipv4Addr::from_bits(i << 24), i as u16)).collect();
    let lie = HolepunchPayload {
        firewall: 99,
        round: (1 << 53) - 1,
        addresses: Some(everybody),
        remote_address: Some(relay),
        token: Some([1; 32]),
        remote_token: Some([2; 32]),
        ..HolepunchPayload::default()
    };
    let answer = liar.say(lie.clone()).await.expect("answered");
    assert_eq!((answer.error, answer.firewall, answer.punching), (code::NONE, firewall::CONSISTENT, false));
    assert_eq!(answer.remote_token, Some([1; 32]));

    // Nobody is shot at who has not shown that it wants that.
    let answer = liar.say(HolepunchPayload { punching: true, ..lie }).await.expect("answered");
    assert_eq!((answer.error, answer.punching), (code::ABORTED, false));
    assert_eq!(alice.punch_stats(), super::PunchStats::default());
    assert_eq!(liar.say(HolepunchPayload::default()).await.err(), Some(RequestError::Timeout), "it is over");

    // A client that gives up is told that the server does too.
    let quitter = Liar::meet(&mallory, key, relay).await;
    let gone = HolepunchPayload { error: code::ABORTED, ..HolepunchPayload::default() };
    assert_eq!(quitter.say(gone).await.expect("answered").error, code::ABORTED);
    assert_eq!(alice.rpc().udx().stream_count(), 0);

    let (connection, accepted) = tokio::join!(mallory.connect(key, ConnectOptions::default()), server.accept());
    assert!(connection.is_ok() && accepted.is_some(), "who says the truth is let in");
}

/// Handshakes that a node of the network forwards, of clients that are not there.
async fn flood(node: &Dht, to: SocketAddrV4, key: [u8; 32], hosts: impl Iterator<Item = Ipv4Addr>) {
    let socket = node.rpc().socket(SocketId::SERVER).expect("bound");
    for (i, host) in hosts.enumerate() {
        let mut noise = NoiseWrap::initiator(KeyPair::generate(), key);
        let payload = NoisePayload { udx: Some(UdxInfo::new(7, false)), ..NoisePayload::new(0, firewall::UNKNOWN) };
        let noise = &noise.send(&payload).expect("sealed");
        let peer_address = Some(SocketAddrV4::new(host, 6));
        let message = Handshake { mode: Mode::FromRelay, noise, peer_address, relay_address: None };
        let request = Request::new(1, to, false, command::PEER_HANDSHAKE);
        let request = Request { target: Some(crypto::hash(&[&key])), value: Some(message.encode().into()), ..request };
        socket.try_send_to(&request.encode(), to.into()).expect("sent");
        if i % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_are_not_there_do_not_take_the_sockets_of_others() {
    let net = SimNetwork::new(2);
    let mut nodes = Vec::new();
    for host in 1..=6 {
        nodes.push(
            node(&net, host, DhtOptions { ephemeral: Some(false), firewalled: false, ..DhtOptions::default() }).await,
        );
    }
    let hidden = DhtOptions { quick_firewall: false, ..DhtOptions::default() };
    let (alice, bob) = (node(&net, 66, hidden.clone()).await, node(&net, 67, hidden).await);
    let server = alice.create_server(ServerOptions { share_local_address: false, ..ServerOptions::default() });
    let keys = KeyPair::generate();
    let key = keys.public_key;
    server.listen(keys).await.expect("listens");
    let relay = *server.relay_addresses()[0].ip();
    let relay = nodes.iter().find(|node| node.rpc().remote_address().is_some_and(|addr| *addr.ip() == relay));
    let alice_at = SocketAddrV4::new(Ipv4Addr::new(45, 10, 0, 66), alice.local_addr().expect("bound").port());
    flood(relay.expect("one of them"), alice_at, key, (0..800).map(|i| Ipv4Addr::new(6, 6, 6, (i % 4) as u8))).await;
    assert_eq!(alice.gauges().pool_sockets, MAX_ATTEMPTS, "each attempt has one");

    // As many as a random punch of our own takes.
    let (probes, _arrived) = tokio::sync::mpsc::channel(1);
    let own: Result<Vec<_>, _> =
        (0..=BIRTHDAY_SOCKETS).map(|_| PoolSocket::acquire(&alice.inner, probes.clone(), false)).collect();
    assert!(own.is_ok());
    let (connection, accepted) = tokio::join!(bob.connect(key, ConnectOptions::default()), server.accept());
    assert!(connection.is_ok() && accepted.is_some(), "who is there is let in");

    // What was acquired is given back.
    drop((own, connection, accepted));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!((alice.gauges().pool_sockets, alice.inner.state.lock().served_sockets), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_others_name_is_not_locked_out() {
    let net = SimNetwork::new(3);
    let mut nodes = Vec::new();
    for host in 1..=6 {
        nodes.push(
            node(&net, host, DhtOptions { ephemeral: Some(false), firewalled: false, ..DhtOptions::default() }).await,
        );
    }
    let (alice, bob) = (node(&net, 66, DhtOptions::default()).await, node(&net, 67, DhtOptions::default()).await);
    let server = alice.create_server(ServerOptions::default());
    let keys = KeyPair::generate();
    let key = keys.public_key;
    server.listen(keys).await.expect("listens");
    let alice_at = SocketAddrV4::new(Ipv4Addr::new(45, 10, 0, 66), alice.local_addr().expect("bound").port());
    let relay = nodes.iter().find(|node| {
        node.rpc().remote_address().is_some_and(|addr| addr != alice_at && server.relay_addresses().contains(&addr))
    });
    let named = std::iter::repeat_n(Ipv4Addr::new(45, 10, 0, 67), MAX_UNPROVEN_PER_HOST + 40);
    flood(relay.expect("one of them"), alice_at, key, named).await;
    assert_eq!(alice.rpc().udx().stream_count(), MAX_UNPROVEN_PER_HOST, "the oldest are ended");
    let (connection, accepted) = tokio::join!(bob.connect(key, ConnectOptions::default()), server.accept());
    assert!(connection.is_ok() && accepted.is_some());
}
