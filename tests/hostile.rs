//! Peers that complete the handshake and then attack, against a whole peer on a private network. Whatever they send, it costs them
//! their connection or nothing at all; the victim's memory stays flat, and its friends notice nothing.

use std::alloc::System;
use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use cap::Cap;
use crypto::KeyPair;
use encoding::Encoder;
use hyperdht::testnet::Testnet;
use hyperdht::{ConnectOptions, Connection, Dht};
use intercom::peer::{NetworkOptions, SwarmNetwork};
use intercom::sidechannel::{Console, SendOptions, Sidechannel, SidechannelMessage, SidechannelOptions, protocol_of};
use protomux::{ChannelOptions, Mux};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::sync::{Mutex, MutexGuard, broadcast};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use udx::packet::{Header, flags};

/// Counts what all peers of a test hold, the attackers included: they run in this process.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// One test at a time: they count the same memory.
static ALONE: Mutex<()> = Mutex::const_new(());

/// By how much memory may grow while an attacker sends, in bytes: what the windows of its connection hold at both ends (4 MiB a
/// direction, and as much again while that is read), and not a multiple of what it sends.
const FLAT: usize = 24 << 20;

/// What a flood sends, in bytes.
const FLOOD: usize = 96 << 20;

/// Only so that a test that hangs says where.
const PATIENCE: Duration = Duration::from_secs(60);

/// A channel that all peers are on.
const CHANNEL: &str = "0000intercom";

struct Player {
    keys: KeyPair,
    network: SwarmNetwork,
    sidechannel: Sidechannel,
    messages: broadcast::Receiver<Arc<SidechannelMessage>>,
}

impl Player {
    async fn join(testnet: &Testnet) -> Self {
        let keys = KeyPair::generate();
        let options = NetworkOptions::new(keys.clone(), vec![testnet.bootstrap.into()]);
        let options = NetworkOptions { host: Ipv4Addr::LOCALHOST.into(), port: 0, ..options };
        let network = SwarmNetwork::new(options).await.expect("a free port");
        let options = SidechannelOptions {
            console: Console::new(|_| {}),
            pow_enabled: false,
            rate_bytes_per_second: None,
            ..SidechannelOptions::default()
        };
        let sidechannel = Sidechannel::start(options, keys.clone(), Arc::new(network.clone()));
        let messages = sidechannel.messages();
        timeout(PATIENCE, sidechannel.ready()).await.expect("the network is there");
        Self { keys, network, sidechannel, messages }
    }

    async fn say(&self, text: &str) {
        assert!(self.sidechannel.broadcast(CHANNEL, text.into(), SendOptions::default()).await);
    }

    async fn hear(&mut self, text: &str) {
        let heard = async {
            loop {
                match self.messages.recv().await {
                    Ok(message) if message.payload.get("message") == Some(&text.into()) => return,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("{text:?} is not heard"));
    }
}

/// A victim with a friend, and a place from where to attack it.
struct Stage {
    testnet: Testnet,
    victim: Player,
    friend: Player,
    attacker: Dht,
    round: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    async fn set() -> Self {
        let alone = ALONE.lock().await;
        let testnet = Testnet::new(3).await.expect("loopback");
        let (victim, friend) = (Player::join(&testnet).await, Player::join(&testnet).await);
        let attacker = Dht::new(testnet.options()).await.expect("a free port");
        attacker.bootstrapped().await;
        let mut stage = Self { testnet, victim, friend, attacker, round: 0, _alone: alone };
        timeout(PATIENCE, async {
            while stage.victim.sidechannel.connection_count() == 0 || stage.friend.sidechannel.connection_count() == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the friends meet");
        stage.friends_speak().await;
        stage
    }

    /// A connection of somebody new to the victim, with the handshake behind it.
    async fn connect(&self) -> Connection {
        let options = ConnectOptions { key_pair: Some(KeyPair::generate()), ..ConnectOptions::default() };
        let connection = self.attacker.connect(self.victim.keys.public_key, options);
        timeout(PATIENCE, connection).await.expect("in time").expect("a connection")
    }

    /// The friends hear each other, over the connection that they always had.
    async fn friends_speak(&mut self) {
        self.round += 1;
        let (there, back) = (format!("there {}", self.round), format!("back {}", self.round));
        self.friend.say(&there).await;
        self.victim.hear(&there).await;
        self.victim.say(&back).await;
        self.friend.hear(&back).await;
        assert!(self.friend.sidechannel.connection_count() == 1, "the friend lost its connection");
    }

    async fn clear(self) {
        self.attacker.destroy().await;
        for player in [self.friend, self.victim] {
            player.sidechannel.shutdown().await;
            player.network.destroy().await;
        }
        self.testnet.destroy().await;
    }
}

/// Watches how much memory is held, from now on.
struct Watch {
    before: usize,
    peak: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Watch {
    fn start() -> Self {
        let peak = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn({
            let peak = peak.clone();
            async move {
                loop {
                    peak.fetch_max(MEMORY.allocated(), Ordering::Relaxed);
                    sleep(Duration::from_millis(1)).await;
                }
            }
        });
        Self { before: MEMORY.allocated(), peak, task }
    }

    fn assert_flat(self) {
        self.task.abort();
        let growth = self.peak.load(Ordering::Relaxed).saturating_sub(self.before);
        assert!(growth <= FLAT, "memory grew by {} KiB", growth >> 10);
    }
}

/// Sends messages until the connection is lost (true), or nothing is taken any more or all is sent (false). What comes back is read
/// or not.
async fn flood(connection: &mut Connection, read: bool, mut next: impl FnMut() -> Vec<u8>) -> bool {
    let mut sent = 0;
    while sent < FLOOD {
        let message = next();
        sent += message.len() + 20;
        let step = poll_fn(|cx| {
            while let Poll::Ready(received) = if read { connection.poll_recv(cx) } else { Poll::Pending } {
                if !matches!(received, Ok(Some(_))) {
                    return Poll::Ready(false);
                }
            }
            connection.poll_ready(cx).map(|ready| ready.is_ok())
        });
        match timeout(Duration::from_secs(2), step).await {
            Ok(true) => {}
            Ok(false) => return true,
            Err(_) => return false,
        }
        if connection.start_send(&message).is_err() {
            return true;
        }
    }
    false
}

/// Waits until the victim has ended the connection.
async fn lost(mut connection: Connection) {
    let end = async { while let Ok(Some(_)) = connection.recv().await {} };
    timeout(PATIENCE, end).await.expect("the attacker keeps its connection");
}

fn random(rng: &mut StdRng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A frame that opens a channel.
fn open(id: u64, protocol: &str) -> Vec<u8> {
    let mut frame = Encoder::new();
    frame.uint(0).uint(1).uint(id).string(protocol).buffer(&[]);
    frame.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_below_the_encryption() {
    let mut stage = Stage::set().await;
    let mut rng = StdRng::seed_from_u64(1);
    for len in [1, 3, 59, 1000, 100_000] {
        let connection = stage.connect().await;
        let watch = Watch::start();
        let stream = connection.transport().clone();
        // A length that is complete, and then something that was not sealed. Short garbage announces more than it brings.
        let mut garbage = vec![40, 0, 0];
        garbage.extend(random(&mut rng, len.max(40)));
        stream.write(Bytes::from(garbage)).await.expect("the connection is open");
        stream.flush();
        lost(connection).await;
        watch.assert_flat();
        stage.friends_speak().await;
    }
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_announced_and_never_comes() {
    let mut stage = Stage::set().await;
    let mut connections = Vec::new();
    let watch = Watch::start();
    for _ in 0..50 {
        let connection = stage.connect().await;
        let stream = connection.transport().clone();
        stream.write(Bytes::from_static(&[0xff, 0xff, 0xff, 1, 2, 3])).await.expect("the connection is open");
        stream.flush();
        connections.push(connection);
    }
    stage.friends_speak().await;
    watch.assert_flat();
    drop(connections);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_within_the_encryption() {
    let mut stage = Stage::set().await;
    let mut rng = StdRng::seed_from_u64(2);
    for len in [5, 64, 2000] {
        let mut connection = stage.connect().await;
        let watch = Watch::start();
        assert!(flood(&mut connection, true, || random(&mut rng, len)).await, "{len}: it is still there");
        watch.assert_flat();
        stage.friends_speak().await;
    }
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_counts() {
    let mut stage = Stage::set().await;
    let frames: [&[u8]; 6] = [
        // open: the protocol's name is 2^53 - 1 bytes long
        &[0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0, b'a'],
        // open: the id is 4 GiB long
        &[0, 1, 1, 1, b'a', 0xfe, 0xff, 0xff, 0xff, 0xff, 1],
        // open: the channel is the 2^32nd
        &[0, 1, 0xfe, 0xff, 0xff, 0xff, 0xff, 1, b'a', 0],
        // batch: its first message is 2^64 - 1 bytes long
        &[0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        // reject: nobody asked
        &[0, 2, 0xfe, 0xff, 0xff, 0xff, 0x7f],
        // a control message that ends within its first number
        &[0, 0xff, 1],
    ];
    for frame in frames {
        let mut connection = stage.connect().await;
        let watch = Watch::start();
        connection.send(frame).await.expect("the connection is open");
        lost(connection).await;
        watch.assert_flat();
        stage.friends_speak().await;
    }
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_for_channels_that_nobody_opened() {
    let mut stage = Stage::set().await;
    let mut rng = StdRng::seed_from_u64(3);
    let mut connection = stage.connect().await;
    let watch = Watch::start();
    // JavaScript ignores them, and so the connection may live.
    flood(&mut connection, true, || {
        let mut frame = Encoder::new();
        frame.uint(rng.random_range(1..1_000_000)).uint(rng.random_range(0..5)).raw(&[7; 8000]);
        frame.finish()
    })
    .await;
    watch.assert_flat();
    stage.friends_speak().await;
    drop(connection);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_for_a_channel_that_was_refused() {
    let mut stage = Stage::set().await;
    let mut connection = stage.connect().await;
    let watch = Watch::start();
    connection.send(&open(1, "sidechannel/nobody-is-here")).await.expect("the connection is open");
    flood(&mut connection, false, || [&[1, 0][..], &[7; 8000]].concat()).await;
    watch.assert_flat();
    stage.friends_speak().await;
    drop(connection);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_opens_by_one_who_reads_the_answers() {
    let mut stage = Stage::set().await;
    let mut connection = stage.connect().await;
    let watch = Watch::start();
    let mut id = 0;
    let over = flood(&mut connection, true, || {
        id += 1;
        open(id, &format!("protocol {id}"))
    })
    .await;
    assert!(over, "{id} channels, and it is still there");
    watch.assert_flat();
    stage.friends_speak().await;
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_opens_by_one_who_never_reads() {
    let mut stage = Stage::set().await;
    let mut connection = stage.connect().await;
    let watch = Watch::start();
    let mut id = 0;
    flood(&mut connection, false, || {
        id += 1;
        open(id, &"x".repeat(1000))
    })
    .await;
    watch.assert_flat();
    stage.friends_speak().await;
    drop(connection);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_udx_packets() {
    let mut stage = Stage::set().await;
    let mut rng = StdRng::seed_from_u64(4);
    let connection = stage.connect().await;
    let stream = connection.transport().clone();
    let (socket, to) = (stream.socket().expect("connected"), stream.remote_addr().expect("connected"));
    let stream_id = stream.remote_id().expect("connected");
    let mux = Mux::new(connection);
    let channel = mux.open(ChannelOptions::new(protocol_of(CHANNEL))).expect("a channel");
    let watch = Watch::start();
    for round in 0..20_000 {
        let seq: u32 = match round % 4 {
            0 => rng.random(),
            1 => rng.random_range(0..64),
            2 => u32::MAX - rng.random_range(0..64),
            _ => rng.random_range(0..40_000),
        };
        let blocks: usize = rng.random_range(0..32);
        let header = Header {
            flags: rng.random::<u8>() & !(flags::DESTROY | flags::END),
            data_offset: if round % 3 == 0 { rng.random() } else { (blocks * 8) as u8 },
            stream_id,
            window: if round % 5 == 0 { 0 } else { rng.random() },
            seq,
            ack: if round % 2 == 0 { rng.random() } else { rng.random_range(0..64) },
        };
        let len = blocks * 8 + rng.random_range(0..64);
        let body = random(&mut rng, len);
        let packet = [&header.encode()[..], &body].concat();
        // What the system does not take is lost, as on any network.
        let _ = socket.try_send_to(&packet, to);
        if round % 1000 == 0 {
            // The victim has something under way to the attacker.
            stage.friends_speak().await;
        }
    }
    watch.assert_flat();
    stage.friends_speak().await;
    drop((channel, mux, stream));
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_is_not_waited_for() {
    let mut stage = Stage::set().await;
    let mut connection = stage.connect().await;
    connection.send(&open(1, &protocol_of(CHANNEL))).await.expect("the connection is open");
    let watch = Watch::start();
    let text = "a long message ".repeat(4_000);
    for round in 0..400 {
        let text = format!("{round} {text}");
        stage.friend.say(&text).await;
        stage.victim.hear(&text).await;
    }
    watch.assert_flat();
    stage.friends_speak().await;
    drop(connection);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_come_and_go() {
    let mut stage = Stage::set().await;
    drop(stage.connect().await);
    let watch = Watch::start();
    for _ in 0..60 {
        let connection = stage.connect().await;
        drop(connection);
    }
    stage.friends_speak().await;
    timeout(PATIENCE, async {
        while stage.victim.sidechannel.connection_count() > 1 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("their connections are forgotten");
    watch.assert_flat();
    stage.clear().await;
}
