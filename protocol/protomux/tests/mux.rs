//! The driver: two muxes over a pipe or UDX.

use std::time::Duration;

use crypto::KeyPair;
use protomux::{
    CHANNEL_HIGH_WATER, Channel, ChannelEvent, ChannelOptions, EVENT_OVERHEAD, Error, MAX_OUTGOING, Mux, MuxOptions,
    READ_AHEAD, SEND_HIGH_WATER,
};
use secret_stream::{IoTransport, Options, SecretStream, WRITE_HIGH_WATER};
use tokio::io::DuplexStream;
use udx::{StreamOptions, Udx, UdxStream};

type Pipe = SecretStream<IoTransport<DuplexStream>>;

async fn pipe(buffer: usize) -> (Pipe, Pipe) {
    let (a, b) = tokio::io::duplex(buffer);
    let a = SecretStream::connect(IoTransport::new(a), KeyPair::generate(), Options::default());
    let b = SecretStream::accept(IoTransport::new(b), KeyPair::generate(), Options::default());
    tokio::try_join!(a, b).unwrap()
}

async fn muxes(pack: bool) -> (Mux, Mux) {
    let (a, b) = pipe(4096).await;
    (Mux::with_options(a, MuxOptions { pack }), Mux::with_options(b, MuxOptions { pack }))
}

async fn opened(a: &Mux, b: &Mux, protocol: &str) -> (Channel, Channel) {
    // A channel that the peer hears of before it opened it itself is rejected, unless it asked to be told.
    let mut asked = b.pair(protocol, None);
    let mut here = a.open(ChannelOptions::new(protocol)).unwrap();
    let mut there = asked.next().await.unwrap().open(*b"").unwrap();
    assert!(matches!(here.recv().await, Some(ChannelEvent::Open { .. })));
    assert!(matches!(there.recv().await, Some(ChannelEvent::Open { .. })));
    (here, there)
}

async fn body(channel: &mut Channel) -> Vec<u8> {
    match channel.recv().await {
        Some(ChannelEvent::Message { body, .. }) => body.to_vec(),
        event => panic!("{event:?} is no message"),
    }
}

/// Both sides send `count` messages of up to `max` bytes on each of three channels and read those of the other.
async fn exchange(a: Mux, b: Mux, count: usize, max: usize) {
    let content = move |channel: usize, number: usize| -> Vec<u8> {
        let len = (number * 7919 + channel) % max;
        (0..len).map(|index| (index + number) as u8).collect()
    };
    let mut senders = Vec::new();
    let mut readers = Vec::new();
    for channel in 0..3 {
        let (here, there) = opened(&a, &b, &format!("protocol {channel}")).await;
        for mut end in [here, there] {
            let sender = end.sender();
            senders.push(tokio::spawn(async move {
                for number in 0..count {
                    sender.send(0, &content(channel, number)).await.unwrap();
                }
            }));
            readers.push(tokio::spawn(async move {
                for number in 0..count {
                    assert!(body(&mut end).await == content(channel, number), "message {number} of {channel}");
                }
                end
            }));
        }
    }
    for sender in senders {
        sender.await.unwrap();
    }
    // Dropping a channel closes it: they are kept until all is read.
    let mut channels = Vec::new();
    for reader in readers {
        channels.push(reader.await.unwrap());
    }
}

#[tokio::test]
async fn three_channels_both_ways_on_one_thread() {
    for pack in [false, true] {
        let (a, b) = muxes(pack).await;
        exchange(a, b, 2000, 700).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_channels_both_ways_on_two_threads() {
    for pack in [false, true] {
        let (a, b) = muxes(pack).await;
        exchange(a, b, 5000, 400).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_over_udx() {
    let localhost = "127.0.0.1:0".parse().unwrap();
    let (here, there) = (Udx::new(), Udx::new());
    let (socket_a, socket_b) = (here.bind(localhost).unwrap(), there.bind(localhost).unwrap());
    let a: UdxStream = here.create_stream(StreamOptions::default()).unwrap();
    let b = there.create_stream(StreamOptions::default()).unwrap();
    a.connect(&socket_a, b.id(), socket_b.local_addr()).unwrap();
    b.connect(&socket_b, a.id(), socket_a.local_addr()).unwrap();
    let a = SecretStream::connect(a, KeyPair::generate(), Options::default());
    let b = SecretStream::accept(b, KeyPair::generate(), Options::default());
    let (a, b) = tokio::try_join!(a, b).unwrap();
    exchange(Mux::new(a), Mux::new(b), 60, 300_000).await;
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_sender() {
    let (a, b) = muxes(false).await;
    let (here, mut there) = opened(&a, &b, "chat").await;
    let message = vec![1; 1000];
    let mut sent = 0;
    loop {
        let send = here.send(0, &message);
        // On one thread: when the runtime has nothing else to do, nothing moves any more.
        tokio::select! {
            biased;
            result = send => { result.unwrap(); sent += 1; }
            () = quiet() => break,
        }
        assert!(sent < 10_000, "memory grows without a reader");
    }
    let most = (CHANNEL_HIGH_WATER + 2 * (SEND_HIGH_WATER + WRITE_HIGH_WATER) + 256 * 1024) / message.len();
    assert!(sent <= most, "{sent} messages were taken, {most} have a place");
    assert!(!here.try_send(0, &message).unwrap(), "not drained");
    // Reading sets it going, and nothing is lost.
    for _ in 0..=sent {
        assert_eq!(body(&mut there).await, message);
    }
    here.send(0, b"end").await.unwrap();
    assert_eq!(body(&mut there).await, b"end");
}

#[tokio::test]
async fn what_is_read_ahead_has_one_limit_for_all_channels() {
    let (a, b) = muxes(false).await;
    let (first, mut one) = opened(&a, &b, "one").await;
    let (second, mut two) = opened(&a, &b, "two").await;
    one.read_ahead();
    two.read_ahead();
    let message = vec![1; 50_000];
    let mut sent = [0_usize; 2];
    loop {
        let turn = usize::from(sent[0] > sent[1]);
        let send = [&first, &second][turn].send(0, &message);
        tokio::select! {
            biased;
            result = send => { result.unwrap(); sent[turn] += 1; }
            () = quiet() => break,
        }
        assert!(sent[0] < 10_000, "memory grows without a reader");
    }
    let bytes = (sent[0] + sent[1]) * message.len();
    assert!(bytes > READ_AHEAD, "{bytes} bytes were taken");
    let most = READ_AHEAD + 2 * (SEND_HIGH_WATER + WRITE_HIGH_WATER) + 8 * message.len() + 256 * 1024;
    assert!(bytes <= most, "{bytes} bytes were taken, {most} have a place");
    // Either reader sets it going, and nothing is lost.
    for _ in 0..sent[0] {
        assert_eq!(body(&mut one).await, message);
    }
    second.send(0, b"end").await.unwrap();
    for _ in 0..sent[1] {
        assert_eq!(body(&mut two).await, message);
    }
    assert_eq!(body(&mut two).await, b"end");
    first.send(0, b"end").await.unwrap();
    assert_eq!(body(&mut one).await, b"end");
}

/// Ready when all other tasks have had their turn many times.
async fn quiet() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_sender_that_ignores_back_pressure_is_stopped() {
    let (a, b) = muxes(false).await;
    let (here, _there) = opened(&a, &b, "chat").await;
    let message = vec![1; 1 << 20];
    let refused = (0..100).find_map(|count| here.try_send(0, &message).err().map(|error| (count, error)));
    let (count, error) = refused.unwrap();
    assert!(matches!(error, Error::Full));
    assert!(count <= MAX_OUTGOING / message.len());
}

#[tokio::test]
async fn a_batch_of_tiny_messages_does_not_swamp_a_slow_reader() {
    let (a, mut b) = pipe(1 << 16).await;
    let mux = Mux::new(a);
    let mut channel = mux.open(ChannelOptions::new("chat")).unwrap();
    b.send(b"\x00\x01\x01\x04chat\x00").await.unwrap();
    let count = 1_000_000;
    let mut batch = vec![0, 0, 1];
    batch.extend(std::iter::repeat_n([1, 0], count).flatten());
    let writer = tokio::spawn(async move {
        b.send(&batch).await.unwrap();
        b
    });
    assert!(matches!(channel.recv().await, Some(ChannelEvent::Open { .. })));
    let bound = CHANNEL_HIGH_WATER / EVENT_OVERHEAD + 1;
    let mut most = 0;
    let mut got = 0;
    while got < count {
        assert!(matches!(channel.recv().await, Some(ChannelEvent::Message { .. })));
        got += 1;
        most = most.max(channel.buffered());
    }
    assert!(most <= bound, "{most} events were queued");
    writer.await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_peer_closes_the_channels_after_what_it_sent() {
    let (a, b) = muxes(false).await;
    let (here, mut there) = opened(&a, &b, "chat").await;
    for number in 0..300u32 {
        here.send(0, &number.to_le_bytes()).await.unwrap();
    }
    drop(here);
    drop(a);
    for number in 0..300u32 {
        assert_eq!(body(&mut there).await, number.to_le_bytes());
    }
    assert_eq!(there.recv().await, Some(ChannelEvent::Close { remote: true }));
    assert_eq!(there.recv().await, None);
    assert!(matches!(there.try_send(0, b"late"), Err(Error::ChannelClosed)));
    b.closed().await.unwrap();
    assert!(matches!(b.open(ChannelOptions::new("late")), Err(Error::Closed)));
}

#[tokio::test]
async fn destroying_is_noticed_at_once_here_and_there() {
    let (a, b) = muxes(false).await;
    let (mut here, mut there) = opened(&a, &b, "chat").await;
    let mut pairs = b.pair("other", None);
    a.destroy();
    assert!(matches!(a.closed().await, Err(Error::Closed)));
    assert_eq!(here.recv().await, Some(ChannelEvent::Close { remote: true }));
    assert_eq!(there.recv().await, Some(ChannelEvent::Close { remote: true }));
    assert!(pairs.next().await.is_none());
    assert!(b.is_closed());
}

#[tokio::test]
async fn closing_and_dropping_channels() {
    let (a, b) = muxes(false).await;
    let (mut here, mut there) = opened(&a, &b, "chat").await;
    here.send(7, b"before").await.unwrap();
    here.close();
    assert_eq!(here.recv().await, Some(ChannelEvent::Close { remote: false }));
    assert_eq!(body(&mut there).await, b"before");
    assert_eq!(there.recv().await, Some(ChannelEvent::Close { remote: true }));
    for round in 0..50 {
        let (here, mut there) = opened(&a, &b, "chat").await;
        assert!(matches!(a.open(ChannelOptions::new("chat")), Err(Error::Duplicate)));
        assert!(here.is_open() && there.is_open() && a.opened("chat", None), "{round}");
        drop(here);
        assert_eq!(there.recv().await, Some(ChannelEvent::Close { remote: true }));
    }
}

#[tokio::test]
async fn pairing_on_demand_and_its_rejection() {
    let (a, b) = muxes(false).await;
    let mut hook = b.pair("chat", None);
    let mut exact = b.pair("chat", Some(b"two"));
    let mut one = a.open(ChannelOptions::new("chat").id(*b"one")).unwrap();
    let mut two = a.open(ChannelOptions::new("chat").id(*b"two")).unwrap();
    let mut three = a.open(ChannelOptions::new("chat").id(*b"three")).unwrap();
    one.send(0, b"early").await.unwrap();
    let mut there = hook.next().await.unwrap().open(*b"hello").unwrap();
    assert_eq!(one.recv().await, Some(ChannelEvent::Open { handshake: "hello".into() }));
    assert!(matches!(there.recv().await, Some(ChannelEvent::Open { .. })));
    assert_eq!(body(&mut there).await, b"early");
    assert_eq!(exact.next().await.unwrap().id(), b"two", "and it was dropped");
    assert_eq!(two.recv().await, Some(ChannelEvent::Close { remote: true }));
    // A request that nobody takes is rejected with its stream.
    drop(hook);
    assert_eq!(three.recv().await, Some(ChannelEvent::Close { remote: true }));
}

#[tokio::test]
async fn garbage_costs_the_connection_and_says_why() {
    for (garbage, text) in [
        (&b"\x00"[..], "malformed frame"),
        (b"\x00\x01\x05\x04chat\x00", "invalid open message"),
        (b"\x00\x02\x09", "invalid reject message"),
        (b"\x00\x00\x00\x01\xfd", "malformed frame"),
    ] {
        let (a, mut b) = pipe(4096).await;
        let mux = Mux::new(a);
        let mut channel = mux.open(ChannelOptions::new("chat")).unwrap();
        b.send(garbage).await.unwrap();
        let error = mux.closed().await.unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!(channel.recv().await, Some(ChannelEvent::Close { remote: true }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_ends_its_side_is_given_up() {
    let (a, mut b) = pipe(4096).await;
    let mux = Mux::new(a);
    mux.end();
    let start = tokio::time::Instant::now();
    mux.closed().await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(5));
    assert!(matches!(b.recv().await, Ok(None)));
}

#[tokio::test]
async fn corked_messages_come_in_order_with_the_rest() {
    let (a, b) = muxes(false).await;
    let (here, mut there) = opened(&a, &b, "chat").await;
    here.send(0, b"1").await.unwrap();
    a.cork();
    here.send(0, b"2").await.unwrap();
    here.send(0, b"3").await.unwrap();
    a.uncork();
    here.send(0, b"4").await.unwrap();
    for expected in [b"1", b"2", b"3", b"4"] {
        assert_eq!(body(&mut there).await, expected);
    }
}

#[tokio::test]
async fn bytes_of_a_frame_count_before_it_is_whole() {
    let (mut a, b) = pipe(1024).await;
    let b = Mux::new(b);
    let before = b.bytes_received();
    a.start_send(&[7; 10_000]).unwrap();
    let flush = std::future::poll_fn(|cx| a.poll_flush(cx));
    let half = async {
        while b.bytes_received() < before + 5000 {
            tokio::task::yield_now().await;
        }
    };
    // The frame is not whole when half of it is seen.
    tokio::select! {
        biased;
        () = half => {}
        flushed = flush => panic!("{flushed:?} before half was seen"),
    }
    assert!(b.bytes_received() < before + 10_000);
}
