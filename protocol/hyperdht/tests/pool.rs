//! Connection pools, over a simulated network in virtual time.

mod common;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use common::{World, listen, start};
use crypto::KeyPair;
use hyperdht::connection_pool::{ConnectionPool, PoolEvent};
use hyperdht::{ConnectError, ConnectOptions, Dht, DhtOptions, Server, ServerOptions};
use parking_lot::Mutex;
use protomux::{ChannelEvent, ChannelOptions, Mux};
use tokio::time::{sleep, timeout};

const ALICE: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 1);
const BOB: Ipv4Addr = Ipv4Addr::new(47, 1, 1, 1);

/// How long it takes until everybody has heard of everything.
const SETTLED: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// With the hash of the handshake.
    Connection([u8; 64]),
    Duplicate([u8; 64]),
}

/// What happened in a pool.
fn log(pool: &ConnectionPool) -> Arc<Mutex<Vec<Seen>>> {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let log = seen.clone();
    pool.on_event(move |event| {
        log.lock().push(match event {
            PoolEvent::Connection(mux) => Seen::Connection(*mux.handshake_hash()),
            PoolEvent::Duplicate(mux) => Seen::Duplicate(*mux.handshake_hash()),
            other => panic!("unknown event {other:?}"),
        });
    });
    seen
}

fn pooled(pool: &ConnectionPool) -> ServerOptions {
    ServerOptions { pool: Some(pool.clone()), ..ServerOptions::default() }
}

async fn connect(pool: &ConnectionPool, key: [u8; 32]) -> Result<Mux, Arc<ConnectError>> {
    pool.connect(key, ConnectOptions::default()).await
}

/// A message to and fro over a channel that both open.
async fn talk(here: &Mux, there: &Mux) {
    let mut channels = [here, there].map(|mux| mux.open(ChannelOptions::new("test")).expect("opened"));
    for channel in &channels {
        channel.send(0, b"hello").await.expect("sent");
    }
    for channel in &mut channels {
        assert!(matches!(channel.recv().await, Some(ChannelEvent::Open { .. })));
        assert!(matches!(channel.recv().await, Some(ChannelEvent::Message { .. })));
    }
}

/// A node that has a server at its own key, which gives its connections to a pool.
struct Peer {
    dht: Dht,
    pool: ConnectionPool,
    seen: Arc<Mutex<Vec<Seen>>>,
    _server: Server,
}

impl Peer {
    async fn new(world: &mut World, host: Ipv4Addr, keys: KeyPair) -> Self {
        let options = DhtOptions { key_pair: Some(keys.clone()), ..world.options(host) };
        let dht = start(options).await;
        let pool = dht.pool();
        let seen = log(&pool);
        let server = dht.create_server(pooled(&pool));
        server.listen(keys).await.expect("listens");
        Self { dht, pool, seen, _server: server }
    }

    fn key(&self) -> [u8; 32] {
        self.dht.key_pair().public_key
    }
}

/// Two key pairs, the greater key first.
fn keys() -> (KeyPair, KeyPair) {
    let (a, b) = (KeyPair::generate(), KeyPair::generate());
    if a.public_key > b.public_key { (a, b) } else { (b, a) }
}

#[tokio::test(start_paused = true)]
async fn all_who_want_a_peer_share_a_connection() {
    let mut world = World::new(1, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let pool = bob.pool();
    let seen = log(&pool);
    assert!(!pool.has(&key));
    let one = connect(&pool, key);
    let other = async {
        assert_eq!((pool.connecting(), pool.has(&key), pool.get(&key).is_none()), (1, true, true));
        connect(&pool, key).await
    };
    let (one, other, accepted) = tokio::join!(one, other, server.accept());
    let (one, other) = (one.expect("connected"), other.expect("connected"));
    assert_eq!(one.handshake_hash(), other.handshake_hash());
    let later = connect(&pool, key).await.expect("connected");
    assert_eq!(one.handshake_hash(), later.handshake_hash());
    assert_eq!((pool.connecting(), pool.connections().len()), (0, 1));
    assert_eq!(*seen.lock(), [Seen::Connection(*one.handshake_hash())]);
    talk(&one, &Mux::new(accepted.expect("accepted"))).await;
    assert!(timeout(SETTLED, server.accept()).await.is_err(), "there is no other connection");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_comes_again_takes_the_place_of_itself() {
    let mut world = World::new(2, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let pool = alice.pool();
    let seen = log(&pool);
    let (_server, key) = listen(&alice, pooled(&pool)).await;
    let mut first = bob.connect(key, ConnectOptions::default()).await.expect("connected");
    sleep(SETTLED).await;
    let second = bob.connect(key, ConnectOptions::default()).await.expect("connected");
    assert!(first.recv().await.is_err(), "the first one is destroyed");
    let (first, second) = (*first.handshake_hash(), Mux::new(second));
    sleep(SETTLED).await;
    let expected = [Seen::Connection(first), Seen::Duplicate(first), Seen::Connection(*second.handshake_hash())];
    assert_eq!(*seen.lock(), expected);
    let [there] = &pool.connections()[..] else { panic!("one connection") };
    talk(&second, there).await;
}

#[tokio::test(start_paused = true)]
async fn peers_that_call_each_other_at_once_agree() {
    for seed in 0..20 {
        let mut world = World::new(100 + seed, 4).await;
        let (greater, lesser) = keys();
        let alice = Peer::new(&mut world, ALICE, greater).await;
        let bob = Peer::new(&mut world, BOB, lesser).await;
        let ahead = Duration::from_millis(seed * 2);
        let from_alice = async {
            sleep(if seed % 2 == 0 { ahead } else { Duration::ZERO }).await;
            connect(&alice.pool, bob.key()).await.expect("connected")
        };
        let from_bob = async {
            sleep(if seed % 2 == 0 { Duration::ZERO } else { ahead }).await;
            connect(&bob.pool, alice.key()).await.expect("connected")
        };
        tokio::join!(from_alice, from_bob);
        sleep(SETTLED).await;
        let here = alice.pool.get(&bob.key()).expect("a connection");
        let there = bob.pool.get(&alice.key()).expect("a connection");
        assert_eq!(here.handshake_hash(), there.handshake_hash());
        assert_eq!((alice.pool.connections().len(), bob.pool.connections().len()), (1, 1));
        talk(&here, &there).await;
        let stays = Seen::Connection(*here.handshake_hash());
        assert!(alice.seen.lock().contains(&stays) && bob.seen.lock().contains(&stays));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_connection_that_the_peer_began() {
    let mut world = World::new(3, 4).await;
    let (greater, lesser) = keys();
    let alice = Peer::new(&mut world, ALICE, greater).await;
    let bob = start(DhtOptions { key_pair: Some(lesser.clone()), ..world.options(BOB) }).await;
    // Bob lets nobody in.
    let options = ServerOptions { firewall: Some(Arc::new(|_, _, _| true)), ..ServerOptions::default() };
    let server = bob.create_server(options);
    server.listen(lesser.clone()).await.expect("listens");
    let waiting = connect(&alice.pool, lesser.public_key);
    let calling = async {
        assert_eq!(alice.pool.connecting(), 1);
        bob.connect(alice.key(), ConnectOptions::default()).await.expect("connected")
    };
    let (here, there) = tokio::join!(waiting, calling);
    let here = here.expect("connected");
    assert!(!here.is_initiator());
    talk(&here, &Mux::new(there)).await;
    assert_eq!(*alice.seen.lock(), [Seen::Connection(*here.handshake_hash())]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_the_lesser_key_is_not_replaced() {
    let mut world = World::new(4, 4).await;
    let (greater, lesser) = keys();
    let alice = Peer::new(&mut world, ALICE, lesser).await;
    let bob = start(DhtOptions { key_pair: Some(greater.clone()), ..world.options(BOB) }).await;
    let server = bob.create_server(ServerOptions::default());
    server.listen(greater.clone()).await.expect("listens");
    let (here, there, accepted) = tokio::join!(
        connect(&alice.pool, greater.public_key),
        bob.connect(alice.key(), ConnectOptions::default()),
        server.accept(),
    );
    let here = here.expect("connected");
    assert!(here.is_initiator());
    if let Ok(mut there) = there {
        assert!(there.recv().await.is_err(), "destroyed");
    }
    talk(&here, &Mux::new(accepted.expect("accepted"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_all_and_forgotten() {
    let mut world = World::new(5, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let pool = bob.pool();
    let keys = KeyPair::generate();
    let (one, other) = tokio::join!(connect(&pool, keys.public_key), connect(&pool, keys.public_key));
    for result in [one, other] {
        assert!(matches!(*result.expect_err("nobody is there"), ConnectError::PeerNotFound));
    }
    assert_eq!((pool.has(&keys.public_key), pool.connecting()), (false, 0));
    let server = alice.create_server(ServerOptions::default());
    server.listen(keys.clone()).await.expect("listens");
    connect(&pool, keys.public_key).await.expect("connected");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_nobody_waits_for_is_given_up() {
    let mut world = World::new(6, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let (server, key) = listen(&alice, ServerOptions::default()).await;
    let pool = bob.pool();
    let instant = Duration::from_millis(1);
    assert!(timeout(instant, connect(&pool, key)).await.is_err());
    assert_eq!((pool.has(&key), pool.connecting()), (false, 0));
    // One of two is enough.
    let (gone, stays) = tokio::join!(timeout(instant, connect(&pool, key)), connect(&pool, key));
    assert!(gone.is_err() && stays.is_ok());
    assert!(server.accept().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_is_made_again() {
    let mut world = World::new(7, 4).await;
    let (alice, bob) = (world.node(ALICE).await, world.node(BOB).await);
    let accepting = alice.pool();
    let (_server, key) = listen(&alice, pooled(&accepting)).await;
    let pool = bob.pool();
    let first = connect(&pool, key).await.expect("connected");
    first.destroy();
    // The very moment counts.
    let _ = first.closed().await;
    let second = connect(&pool, key).await.expect("connected");
    assert_ne!(first.handshake_hash(), second.handshake_hash());
    second.end();
    sleep(SETTLED).await;
    assert_eq!((pool.connections().len(), accepting.connections().len()), (0, 0));
    assert!(!pool.has(&key));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_pool() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut world = World::new(8, 4).await;
    let bob = world.node(BOB).await;
    sleep(Duration::from_secs(20)).await;
    let before = tasks();
    {
        let alice = world.node(ALICE).await;
        let (accepting, pool) = (alice.pool(), bob.pool());
        let (_server, key) = listen(&alice, pooled(&accepting)).await;
        connect(&pool, key).await.expect("connected");
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!((tasks(), bob.rpc().udx().stream_count()), (before, 0));
}
