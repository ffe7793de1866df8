//! A server that is told lies by somebody who has shaken hands with it.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;
use crypto::KeyPair;
use dht_rpc::{RequestError, RequestOptions};
use udx::network::sim::SimNetwork;

use crate::constants::{code, command, firewall};
use crate::dht::{ConnectOptions, Dht, DhtOptions};
use crate::messages::{Handshake, Holepunch, HolepunchInfo, HolepunchPayload, Mode, NoisePayload, UdxInfo};
use crate::noise::{NoiseWrap, holepunch_secret};
use crate::secure_payload::SecurePayload;
use crate::server::ServerOptions;

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
