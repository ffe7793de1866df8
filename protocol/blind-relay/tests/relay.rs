//! Peers and a relay in a simulated network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use blind_relay::{Client, Error, Limits, PAIR, PROTOCOL, Server, UNPAIR, token};
use bytes::Bytes;
use crypto::KeyPair;
use protomux::{ChannelEvent, ChannelOptions, Mux};
use secret_stream::{IoTransport, Options, SecretStream};
use tokio::task::JoinHandle;
use udx::network::sim::{Link, SimNetwork};
use udx::{CloseReason, StreamOptions, Udx, UdxSocket, UdxStream};

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

struct Relay {
    net: SimNetwork,
    server: Server,
    socket: UdxSocket,
}

impl Relay {
    fn new(limits: Limits) -> Self {
        let net = SimNetwork::new(7);
        net.set_default_link(Link { delay: Duration::from_millis(10), ..Link::default() });
        let udx = Udx::with_network(net.host([10, 0, 0, 1].into()));
        let socket = udx.bind(ANY).unwrap();
        Self { net, server: Server::new(udx, limits), socket }
    }

    /// A peer's end of a connection to the relay, and how the relay's end ends.
    async fn connect(&self) -> (Mux, JoinHandle<Result<(), Error>>) {
        let (here, there) = tokio::io::duplex(4096);
        let here = SecretStream::connect(IoTransport::new(here), KeyPair::generate(), Options::default());
        let there = SecretStream::accept(IoTransport::new(there), KeyPair::generate(), Options::default());
        let (here, there) = tokio::try_join!(here, there).unwrap();
        let (server, there) = (self.server.clone(), Mux::new(there));
        let served = tokio::spawn(async move { server.serve(&there).await });
        (Mux::new(here), served)
    }

    async fn peer(&self, host: u8) -> Peer {
        let (mux, served) = self.connect().await;
        let udx = Udx::with_network(self.net.host([10, 0, 1, host].into()));
        let socket = udx.bind(ANY).unwrap();
        let stream = udx.create_stream(StreamOptions { accept: true, ..StreamOptions::default() }).unwrap();
        Peer { client: Client::new(&mux).unwrap(), mux, served, udx, socket, stream }
    }

    /// Two peers with streams through the relay.
    async fn pair(&self) -> [Peer; 2] {
        let (a, b) = (self.peer(1).await, self.peer(2).await);
        let token = token();
        let ids =
            tokio::try_join!(a.client.pair(true, token, a.stream.id()), b.client.pair(false, token, b.stream.id()));
        let ids = ids.unwrap();
        a.stream.connect(&a.socket, ids.0, self.socket.local_addr()).unwrap();
        b.stream.connect(&b.socket, ids.1, self.socket.local_addr()).unwrap();
        [a, b]
    }

    async fn until(&self, done: impl Fn(blind_relay::Stats) -> bool) {
        while !done(self.server.stats()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

struct Peer {
    mux: Mux,
    client: Client,
    served: JoinHandle<Result<(), Error>>,
    udx: Udx,
    socket: UdxSocket,
    stream: UdxStream,
}

/// The relay knows where the peers are when each has sent something.
async fn introduce(a: &Peer, b: &Peer) {
    for peer in [a, b] {
        peer.stream.write(Bytes::from_static(b"hello")).await.unwrap();
    }
    let hellos = tokio::join!(read(&a.stream, 5), read(&b.stream, 5));
    assert_eq!(hellos, (b"hello".to_vec(), b"hello".to_vec()));
}

async fn read(stream: &UdxStream, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        all.extend_from_slice(&stream.read_chunk().await.unwrap().expect("more bytes"));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn streams_go_through_the_relay() {
    let relay = Relay::new(Limits::default());
    let [a, b] = relay.pair().await;
    let content: Vec<u8> = (0..300_000u32).map(|i| (i * 7) as u8).collect();
    let (at_a, at_b, sent_a, sent_b) = tokio::join!(
        read(&a.stream, content.len()),
        read(&b.stream, content.len()),
        a.stream.write(content.clone().into()),
        b.stream.write(content.clone().into()),
    );
    assert!(at_a == content && at_b == content);
    sent_a.and(sent_b).unwrap();
    // The first packets came before the relay knew where the other peer is, and were not lost.
    assert_eq!((a.stream.stats().timeouts, b.stream.stats().timeouts), (0, 0));

    a.stream.write_end();
    b.stream.write_end();
    a.stream.closed().await.unwrap();
    b.stream.closed().await.unwrap();
    assert_eq!(relay.server.stats().active, 1);
    drop((a.client, a.mux, b.client, b.mux));
    relay.until(|stats| stats.sessions == 0).await;
    assert_eq!(relay.server.stats(), blind_relay::Stats { matched: 1, ..Default::default() });
    a.served.await.unwrap().unwrap();
    b.served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_destroyed_stream_ends_the_pair_and_the_other_stream() {
    let relay = Relay::new(Limits::default());
    let [a, b] = relay.pair().await;
    introduce(&a, &b).await;
    a.stream.destroy();
    assert_eq!(b.stream.closed().await, Err(CloseReason::Reset));
    relay.until(|stats| stats.active == 0).await;
    assert_eq!(relay.server.stats().sessions, 2, "the connections stay");
}

#[tokio::test(start_paused = true)]
async fn who_moved_to_a_direct_way_does_not_notice_the_end_of_the_pair() {
    let relay = Relay::new(Limits::default());
    let [a, b] = relay.pair().await;
    introduce(&a, &b).await;
    // As after hole punching: through other sockets.
    let (near, far) = (a.udx.bind(ANY).unwrap(), b.udx.bind(ANY).unwrap());
    let at = |host: u8, socket: &UdxSocket| SocketAddr::from(([10, 0, 1, host], socket.local_addr().port()));
    let (at_a, at_b) = (at(1, &near), at(2, &far));
    let moved = a.stream.change_remote(&near, b.stream.id(), at_b);
    let other = b.stream.change_remote(&far, a.stream.id(), at_a);
    a.stream.write(Bytes::from_static(b"direct")).await.unwrap();
    assert_eq!(read(&b.stream, 6).await, b"direct");
    moved.await.unwrap();
    other.await.unwrap();

    drop((a.client, a.mux, b.client, b.mux));
    relay.until(|stats| stats.sessions == 0).await;
    relay.server.close();
    tokio::time::sleep(Duration::from_secs(1)).await;
    b.stream.write(Bytes::from_static(b"still here")).await.unwrap();
    assert_eq!(read(&a.stream, 10).await, b"still here");
}

#[tokio::test(start_paused = true)]
async fn either_peer_can_give_the_pair_up() {
    let relay = Relay::new(Limits::default());
    for initiator_leaves in [true, false] {
        let (a, b) = (relay.peer(1).await, relay.peer(2).await);
        let token = token();
        let paired = tokio::try_join!(a.client.pair(true, token, 1), b.client.pair(false, token, 2));
        paired.unwrap();
        assert_eq!(relay.server.stats().active, 1);
        if initiator_leaves {
            a.client.unpair(&token)
        } else {
            b.client.unpair(&token)
        }
        relay.until(|stats| stats.active == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_is_taken_back() {
    let relay = Relay::new(Limits::default());
    let a = relay.peer(1).await;
    let token = token();
    let waiting = tokio::time::timeout(Duration::from_secs(5), a.client.pair(true, token, 1));
    assert!(waiting.await.is_err());
    relay.until(|stats| stats.waiting == 0).await;

    // Asked for twice: the second fails, the first is not disturbed.
    let client = a.client.clone();
    let first = tokio::spawn(async move { client.pair(true, token, 1).await });
    relay.until(|stats| stats.waiting == 1).await;
    assert!(matches!(a.client.pair(true, token, 1).await, Err(Error::AlreadyPairing)));
    let b = relay.peer(2).await;
    b.client.pair(false, token, 2).await.unwrap();
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn requests_end_with_the_connection() {
    let relay = Relay::new(Limits::default());
    let a = relay.peer(1).await;
    let client = a.client.clone();
    let waiting = tokio::spawn(async move { client.pair(true, token(), 1).await });
    relay.until(|stats| stats.waiting == 1).await;
    relay.server.close();
    assert!(matches!(waiting.await.unwrap(), Err(Error::ChannelClosed)));
    assert!(matches!(a.client.pair(true, token(), 1).await, Err(Error::ChannelClosed)));
    assert!(matches!(a.served.await.unwrap(), Err(Error::ServerClosed)));
    let (_mux, served) = relay.connect().await;
    assert!(matches!(served.await.unwrap(), Err(Error::ServerClosed)));
}

#[tokio::test(start_paused = true)]
async fn bad_messages_cost_the_connection_and_no_other() {
    let relay = Relay::new(Limits::default());
    let [a, b] = relay.pair().await;
    for (kind, body) in [(PAIR, vec![]), (PAIR, vec![0xff; 200]), (UNPAIR, vec![1; 32])] {
        let (mux, served) = relay.connect().await;
        let mut channel = mux.open(ChannelOptions::new(PROTOCOL).id(*mux.public_key())).unwrap();
        channel.send(99, b"of a later version").await.unwrap();
        channel.send(kind, &body).await.unwrap();
        assert!(matches!(served.await.unwrap(), Err(Error::Malformed(_))));
        while let Some(event) = channel.recv().await {
            assert!(matches!(event, ChannelEvent::Open { .. } | ChannelEvent::Close { remote: true }));
        }
    }
    introduce(&a, &b).await;
    assert_eq!(relay.server.stats().sessions, 2);
}

#[tokio::test(start_paused = true)]
async fn sessions_and_pairs_are_limited() {
    let limits = Limits { max_sessions: 2, max_pairs: 8, max_pairs_per_session: 3, ..Limits::default() };
    let relay = Relay::new(limits);
    let (a, _b) = (relay.peer(1).await, relay.peer(2).await);
    relay.until(|stats| stats.sessions == 2).await;
    let (_mux, served) = relay.connect().await;
    assert!(matches!(served.await.unwrap(), Err(Error::TooManySessions)));
    for _ in 0..5 {
        let client = a.client.clone();
        tokio::spawn(async move { client.pair(true, token(), 1).await });
    }
    relay.until(|stats| stats.waiting == 3 && stats.refused == 3).await;
    tokio::time::sleep(limits.pair_timeout).await;
    assert_eq!(relay.server.stats().waiting, 0, "forgotten");
}
