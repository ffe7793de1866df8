//! Streams over simulated links: whatever the link does, all bytes arrive in order and both sides close.

mod common;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use common::{A, B, Pair, block, millis, pair, receive, send};
use tokio::time::{Instant, timeout};
use udx::network::sim::Link;
use udx::stream::RECEIVE_WINDOW;
use udx::{CloseReason, Error, StreamOptions, UdxStream};

/// Runs transfers both ways at once and the closing; gives the (virtual) time it took.
async fn both_ways(seed: u64, link: Link, seqs: (u32, u32), bytes: usize) -> Duration {
    let Pair { net, udx, sockets, a, b } = pair(seed, link, seqs);
    let start = Instant::now();
    let all = async {
        let sizes = (1 + seed as usize * 977 % 60_000, 1 + seed as usize * 13 % 3_000);
        let (s1, s2, r1, r2) = tokio::join!(
            send(&a, bytes, sizes.0),
            send(&b, bytes / 2, sizes.1),
            receive(&a, Duration::ZERO),
            receive(&b, Duration::ZERO),
        );
        s1.unwrap();
        s2.unwrap();
        assert_eq!((r1.unwrap(), r2.unwrap()), (bytes / 2, bytes));
        a.closed().await.unwrap();
        b.closed().await.unwrap();
        start.elapsed()
    };
    let took = timeout(Duration::from_secs(600), all)
        .await
        .unwrap_or_else(|_| panic!("seed {seed} hangs: {link:?}\n{:?}\n{:?}\n{:?}", a.stats(), b.stats(), net.stats()));
    // Nothing stays behind once the streams have lingered.
    drop((a, b));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!((udx[0].stream_count(), udx[1].stream_count()), (0, 0));
    drop(sockets);
    took
}

/// A link of this seed: everything that can go wrong does, more or less.
fn bad_link(seed: u64) -> Link {
    let part = |of: u64, most: u64| (seed.wrapping_mul(of) >> 7) % (most + 1);
    Link {
        delay: millis(1 + part(0x9e37_79b9_7f4a_7c15, 80)),
        jitter: millis(part(0xbf58_476d_1ce4_e5b9, 10)),
        loss: part(0x94d0_49bb_1331_11eb, 10) as f64 / 100.0,
        duplicate: part(0xd6e8_feb8_6659_fd93, 5) as f64 / 100.0,
        reorder: part(0xa076_1d64_78bd_642f, 20) as f64 / 100.0,
        rate: (!seed.is_multiple_of(3)).then_some(200_000 + part(0xe703_7ed1_a0b4_28db, 4_000_000)),
        queue: 20_000 + part(0x8ebc_6af0_9c88_c6e3, 300_000) as usize,
        mtu: if seed.is_multiple_of(4) { 1280 } else { 1500 },
    }
}

#[tokio::test(start_paused = true)]
async fn bad_links_from_many_seeds() {
    for seed in 0..60 {
        both_ways(seed, bad_link(seed), (0, 0), 300_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn packet_numbers_wrap() {
    for seed in 0..10 {
        let seqs = (u32::MAX - seed as u32 * 7, u32::MAX - 50);
        both_ways(seed, bad_link(seed), seqs, 300_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_link_is_filled() {
    // 100 Mbit/s and 20 ms of round trip: 5 MB take 0.4 s at best.
    let link = Link { delay: millis(10), rate: Some(12_500_000), queue: 500_000, ..Link::default() };
    let Pair { a, b, .. } = pair(1, link, (0, 0));
    let start = Instant::now();
    let (sent, received) = tokio::join!(send(&a, 12_500_000, 65_536), receive(&b, Duration::ZERO));
    sent.unwrap();
    assert_eq!(received.unwrap(), 12_500_000);
    let took = start.elapsed();
    assert!(took < millis(1350), "{took:?} for a second's worth of bytes");
    assert_eq!(a.mtu(), 1500);
    assert_eq!(a.stats().timeouts, 0);
}

#[tokio::test(start_paused = true)]
async fn loss_costs_little_more_than_the_lost() {
    let link = Link { delay: millis(10), rate: Some(12_500_000), queue: 500_000, loss: 0.02, ..Link::default() };
    let Pair { a, b, .. } = pair(2, link, (0, 0));
    let start = Instant::now();
    let (sent, received) = tokio::join!(send(&a, 12_500_000, 65_536), receive(&b, Duration::ZERO));
    sent.unwrap();
    assert_eq!(received.unwrap(), 12_500_000);
    let took = start.elapsed();
    assert!(took < millis(1800), "{took:?} for a second's worth of bytes: {:?}", a.stats());
    let stats = a.stats();
    assert!(stats.retransmits < stats.packets_sent / 20, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn pacing_leaves_no_timers_behind() {
    let link = Link { delay: millis(10), rate: Some(1_250_000), queue: 500_000, ..Link::default() };
    let Pair { udx, a, b, .. } = pair(1, link, (0, 0));
    let watch = async {
        for _ in 0..20 {
            tokio::time::sleep(millis(100)).await;
            assert!(udx[0].gauges().deadlines <= 8, "{:?}", udx[0].gauges());
        }
    };
    let (sent, received, ()) = tokio::join!(send(&a, 2_500_000, 65_536), receive(&b, Duration::ZERO), watch);
    sent.unwrap();
    assert_eq!(received.unwrap(), 2_500_000);
}

#[tokio::test(start_paused = true)]
async fn a_shallow_queue_is_not_overfilled_for_long() {
    // A queue of a tenth of what the path holds, and acknowledgements in bunches, as a receiver with a small socket buffer has:
    // without an answer to loss a fifth of the packets are repeated.
    let link = Link { delay: millis(10), jitter: millis(4), rate: Some(25_000_000), queue: 50_000, ..Link::default() };
    let Pair { a, b, .. } = pair(1, link, (0, 0));
    let bytes = 40_000_000;
    let (sent, received) = tokio::join!(send(&a, bytes, 65_536), receive(&b, Duration::ZERO));
    sent.unwrap();
    assert_eq!(received.unwrap(), bytes);
    let stats = a.stats();
    assert!(stats.retransmits * 20 < stats.packets_sent, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_slows_the_writer_and_memory_stays_bounded() {
    let Pair { a, b, .. } = pair(3, Link { delay: millis(5), ..Link::default() }, (0, 0));
    let total = 3 * RECEIVE_WINDOW;
    let sending = tokio::spawn({
        let a = a.clone();
        async move { send(&a, total, 65_536).await }
    });
    // Nobody reads: the window closes, the sender stops, probes and lives.
    tokio::time::sleep(Duration::from_secs(120)).await;
    let stats = b.stats();
    assert!(stats.bytes_received < (RECEIVE_WINDOW + RECEIVE_WINDOW / 4) as u64, "{stats:?}");
    assert_eq!(a.stats().peer_window as usize / 4096, 0, "the window is closed");
    assert!(a.buffered() < 2 * RECEIVE_WINDOW);
    assert_eq!((a.close_reason(), b.close_reason()), (None, None));
    assert_eq!(receive(&b, millis(1)).await.unwrap(), total);
    sending.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_window_update_that_is_lost_is_asked_for() {
    let Pair { net, a, b, .. } = pair(4, Link::default(), (0, 0));
    let sending = tokio::spawn({
        let a = a.clone();
        async move { send(&a, 2 * RECEIVE_WINDOW, 65_536).await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    net.set_link(B, A, Link { loss: 1.0, ..Link::default() });
    let mut read = 0;
    while read < RECEIVE_WINDOW - 65_536 {
        read += b.read_chunk().await.unwrap().unwrap().len();
    }
    tokio::time::sleep(millis(100)).await;
    net.set_link(B, A, Link::default());
    while let Some(block) = b.read_chunk().await.unwrap() {
        read += block.len();
    }
    assert_eq!(read, 2 * RECEIVE_WINDOW);
    sending.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_stream_after_thirteen_seconds() {
    let Pair { net, a, b, .. } = pair(5, Link::default(), (0, 0));
    a.write(block(0, 1000)).await.unwrap();
    b.read_chunk().await.unwrap();
    tokio::time::sleep(millis(100)).await;
    net.set_default_link(Link { loss: 1.0, ..Link::default() });
    let start = Instant::now();
    a.write(block(1000, 1000)).await.unwrap();
    assert_eq!(a.closed().await, Err(CloseReason::TimedOut));
    let took = start.elapsed();
    assert!((millis(12_950)..millis(13_100)).contains(&took), "{took:?}");
    let error = a.write(Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(a.read_chunk().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    // The other side has nothing to send and cannot know.
    assert_eq!(b.close_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_short_blackout_is_survived() {
    let Pair { net, a, b, .. } = pair(6, Link { delay: millis(10), ..Link::default() }, (0, 0));
    let sending = tokio::spawn({
        let a = a.clone();
        async move { send(&a, 20_000_000, 65_536).await }
    });
    let reading = tokio::spawn({
        let b = b.clone();
        async move { receive(&b, Duration::ZERO).await }
    });
    tokio::time::sleep(millis(80)).await;
    net.set_default_link(Link { loss: 1.0, ..Link::default() });
    tokio::time::sleep(Duration::from_secs(8)).await;
    net.set_default_link(Link { delay: millis(10), ..Link::default() });
    sending.await.unwrap().unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), 20_000_000);
}

#[tokio::test(start_paused = true)]
async fn destroy_is_told_even_when_its_packet_is_lost() {
    let Pair { net, a, b, .. } = pair(7, Link::default(), (0, 0));
    a.write(block(0, 10)).await.unwrap();
    b.read_chunk().await.unwrap();
    net.set_link(A, B, Link { loss: 1.0, ..Link::default() });
    a.destroy();
    assert_eq!(a.closed().await, Err(CloseReason::Destroyed));
    tokio::time::sleep(millis(100)).await;
    assert_eq!(b.close_reason(), None);
    net.set_link(A, B, Link::default());
    b.write(block(0, 10)).await.unwrap();
    assert_eq!(b.closed().await, Err(CloseReason::Reset));
    assert_eq!(b.read_chunk().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// A peer that ended first and acknowledged everything but the end is taken for one that forgot the stream; when it did
/// not, it still hears the end.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_lost_for_seconds_arrives_from_a_finished_stream() {
    let Pair { net, a, b, .. } = pair(9, Link::default(), (0, 0));
    a.write(block(0, 10)).await.unwrap();
    b.write(block(0, 10)).await.unwrap();
    a.read_chunk().await.unwrap();
    b.read_chunk().await.unwrap();
    a.write_end();
    assert_eq!(b.read_chunk().await.unwrap(), None);
    net.set_link(B, A, Link { loss: 1.0, ..Link::default() });
    b.write_end();
    assert_eq!(b.closed().await, Ok(()));
    assert_eq!(a.close_reason(), None);
    net.set_link(B, A, Link::default());
    let end = tokio::time::timeout(Duration::from_secs(10), a.read_chunk()).await;
    assert_eq!(end.expect("the end is said again").unwrap(), None);
    assert_eq!(a.closed().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_last_acknowledgement_does_not_fail_the_close() {
    for (from, to) in [(A, B), (B, A)] {
        let Pair { net, a, b, .. } = pair(8, Link::default(), (0, 0));
        a.write_end();
        assert_eq!(b.read_chunk().await.unwrap(), None);
        tokio::time::sleep(millis(50)).await;
        net.set_link(from, to, Link { loss: 1.0, ..Link::default() });
        b.write_end();
        tokio::time::sleep(millis(500)).await;
        net.set_link(from, to, Link::default());
        a.closed().await.unwrap();
        b.closed().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_delivers_what_was_ended_and_destroys_what_was_not() {
    let Pair { udx, a, b, .. } = pair(9, Link { delay: millis(20), loss: 0.1, ..Link::default() }, (0, 0));
    a.write(block(0, 200_000)).await.unwrap();
    a.write_end();
    drop(a);
    assert_eq!(receive(&b, Duration::ZERO).await.unwrap(), 200_000);
    drop(b);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((udx[0].stream_count(), udx[1].stream_count()), (0, 0));

    let Pair { a, b, .. } = pair(10, Link::default(), (0, 0));
    a.write(block(0, 10)).await.unwrap();
    b.read_chunk().await.unwrap();
    drop(a);
    assert_eq!(b.closed().await, Err(CloseReason::Reset));
}

#[tokio::test(start_paused = true)]
async fn the_first_packet_tells_where_the_peer_is() {
    let Pair { udx, sockets, .. } = pair(11, Link::default(), (0, 0));
    let [near, far] = &udx;
    let caller = near.create_stream(StreamOptions::default()).unwrap();
    let waiting = far.create_stream(StreamOptions { accept: true, ..StreamOptions::default() }).unwrap();
    let closed = far.create_stream(StreamOptions::default()).unwrap();
    caller.connect(&sockets[0], waiting.id(), sockets[1].local_addr()).unwrap();
    caller.write(block(0, 5000)).await.unwrap();
    let (socket, from) = waiting.first_packet().await.unwrap();
    assert_eq!((&socket, from), (&sockets[1], sockets[0].local_addr()));
    waiting.connect(&socket, caller.id(), from).unwrap();
    assert!(matches!(waiting.connect(&socket, 1, from), Err(Error::Connected)));
    caller.write_end();
    assert_eq!(receive(&waiting, Duration::ZERO).await.unwrap(), 5000);
    // It arrived once: nothing had to be repeated.
    assert_eq!(caller.stats().timeouts, 0);

    // Without `accept` the packet is only reported.
    let second = near.create_stream(StreamOptions::default()).unwrap();
    second.connect(&sockets[0], closed.id(), sockets[1].local_addr()).unwrap();
    second.write(block(0, 10)).await.unwrap();
    closed.first_packet().await.unwrap();
    assert_eq!(closed.stats().packets_received, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_moves_and_nothing_is_lost() {
    for seed in 0..10 {
        let Pair { udx, sockets, a, b, .. } =
            pair(seed, Link { delay: millis(10), loss: 0.02, ..Link::default() }, (0, 0));
        let second = udx[0].bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let sending = tokio::spawn({
            let a = a.clone();
            async move { send(&a, 2_000_000, 10_000).await }
        });
        let reading = tokio::spawn({
            let b = b.clone();
            async move { receive(&b, Duration::ZERO).await }
        });
        tokio::time::sleep(millis(60)).await;
        a.change_remote(&second, 2, sockets[1].local_addr()).await.unwrap();
        assert_eq!(a.socket().as_ref(), Some(&second));
        b.change_remote(&sockets[1], 1, second.local_addr()).await.unwrap();
        sending.await.unwrap().unwrap();
        b.write_end();
        assert_eq!(reading.await.unwrap().unwrap(), 2_000_000);
        a.closed().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_moves_on_the_socket_that_it_has() {
    let Pair { udx, sockets, a, b, .. } = pair(3, Link { delay: millis(10), loss: 0.02, ..Link::default() }, (0, 0));
    let second = udx[1].bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let sending = tokio::spawn({
        let a = a.clone();
        async move { send(&a, 2_000_000, 10_000).await }
    });
    let reading = tokio::spawn({
        let b = b.clone();
        async move { receive(&b, Duration::ZERO).await }
    });
    tokio::time::sleep(millis(60)).await;
    let (here, there) = tokio::join!(
        timeout(Duration::from_secs(20), a.change_remote(&sockets[0], 2, second.local_addr())),
        timeout(Duration::from_secs(20), b.change_remote(&second, 1, sockets[0].local_addr())),
    );
    here.expect("it is told").unwrap();
    there.expect("it is told").unwrap();
    assert_eq!((a.remote_addr(), a.socket().as_ref()), (Some(second.local_addr()), Some(&sockets[0])));
    sending.await.unwrap().unwrap();
    b.write_end();
    assert_eq!(reading.await.unwrap().unwrap(), 2_000_000);
    a.closed().await.unwrap();
    // With nothing under way there is nothing to wait for.
    let Pair { sockets, a, .. } = pair(4, Link::default(), (0, 0));
    a.change_remote(&sockets[0], 2, sockets[1].local_addr()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_relay_passes_a_stream_on() {
    let Pair { net, udx, sockets, .. } = pair(12, Link { delay: millis(5), loss: 0.01, ..Link::default() }, (0, 0));
    let relay = udx::Udx::with_network(net.host("10.0.0.9".parse().unwrap()));
    let middle = relay.bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let ends: [UdxStream; 2] = [0, 1].map(|side| udx[side].create_stream(StreamOptions::default()).unwrap());
    let legs: [UdxStream; 2] = [0, 1].map(|side| {
        let leg = relay.create_stream(StreamOptions::default()).unwrap();
        leg.connect(&middle, ends[side].id(), sockets[side].local_addr()).unwrap();
        ends[side].connect(&sockets[side], leg.id(), middle.local_addr()).unwrap();
        leg
    });
    legs[0].relay_to(&legs[1]);
    legs[1].relay_to(&legs[0]);
    let (s1, s2, r1, r2) = tokio::join!(
        send(&ends[0], 400_000, 9_000),
        send(&ends[1], 300_000, 9_000),
        receive(&ends[0], Duration::ZERO),
        receive(&ends[1], Duration::ZERO),
    );
    s1.unwrap();
    s2.unwrap();
    assert_eq!((r1.unwrap(), r2.unwrap()), (300_000, 400_000));
    for end in &ends {
        end.closed().await.unwrap();
    }

    // A destroyed end ends its leg and, through it, the other end.
    let ends: [UdxStream; 2] = [0, 1].map(|side| udx[side].create_stream(StreamOptions::default()).unwrap());
    legs[0].destroy();
    let leg = relay.create_stream(StreamOptions::default()).unwrap();
    let other = relay.create_stream(StreamOptions::default()).unwrap();
    leg.connect(&middle, ends[0].id(), sockets[0].local_addr()).unwrap();
    other.connect(&middle, ends[1].id(), sockets[1].local_addr()).unwrap();
    leg.relay_to(&other);
    net.set_default_link(Link::default());
    ends[0].connect(&sockets[0], leg.id(), middle.local_addr()).unwrap();
    ends[1].connect(&sockets[1], other.id(), middle.local_addr()).unwrap();
    ends[0].destroy();
    assert_eq!(ends[1].closed().await, Err(CloseReason::Reset));
    assert_eq!(leg.closed().await, Err(CloseReason::Reset));
}

#[tokio::test(start_paused = true)]
async fn messages_and_datagrams_share_the_socket() {
    let Pair { sockets, a, b, .. } = pair(13, Link::default(), (0, 0));
    a.try_send_message(b"one").unwrap();
    a.try_send_message(b"").unwrap();
    sockets[0].try_send_to(b"not udx", sockets[1].local_addr()).unwrap();
    sockets[0]
        .try_send_to(&[0xff, 1, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], sockets[1].local_addr())
        .unwrap();
    assert_eq!(b.recv_message().await.unwrap(), "one");
    assert_eq!(b.recv_message().await.unwrap(), "");
    assert_eq!(&sockets[1].recv().await.unwrap().data[..], b"not udx");
    let unknown = sockets[1].recv().await.unwrap();
    assert_eq!((unknown.data.len(), unknown.from), (20, sockets[0].local_addr()), "an unknown id is not ours");
    assert!(matches!(a.try_send_message(&[0; 1500]), Err(Error::MessageRefused)));
    b.destroy();
    assert_eq!(b.recv_message().await, None);
}

#[tokio::test(start_paused = true)]
async fn closing_a_socket_ends_its_streams() {
    let Pair { udx, sockets, a, b, .. } = pair(14, Link::default(), (0, 0));
    let addr = sockets[0].local_addr();
    a.write(block(0, 10)).await.unwrap();
    b.read_chunk().await.unwrap();
    sockets[0].close();
    assert_eq!(a.closed().await, Err(CloseReason::SocketClosed));
    assert_eq!(b.closed().await, Err(CloseReason::Reset));
    assert_eq!(sockets[0].recv().await, None);
    sockets[0].closed().await;
    udx[0].bind(addr).expect("the address is free again");
}

#[tokio::test(start_paused = true)]
async fn ids_are_unique_while_in_use() {
    let Pair { udx, a, .. } = pair(15, Link::default(), (0, 0));
    let again = || udx[0].create_stream(StreamOptions { id: Some(1), ..StreamOptions::default() });
    assert!(matches!(again(), Err(Error::IdInUse(1))));
    a.destroy();
    again().expect("a stream that only lingers gives up its id");
}

#[tokio::test(start_paused = true)]
async fn idle_streams_cost_no_packets() {
    let Pair { net, a, b, .. } = pair(16, Link::default(), (0, 0));
    a.write(block(0, 100_000)).await.unwrap();
    let mut read = 0;
    while read < 100_000 {
        read += b.read_chunk().await.unwrap().unwrap().len();
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = net.stats().sent;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(net.stats().sent, before);
    drop((a, b));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_kept_alive_says_so_when_it_is_idle() {
    let Pair { net, a, b, .. } = pair(17, Link::default(), (0, 0));
    a.write(block(0, 1000)).await.unwrap();
    b.read_chunk().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    a.set_keepalive(Some(Duration::from_secs(20)));
    let mut before = net.stats().sent;
    let mut since = || {
        let now = net.stats().sent;
        now - std::mem::replace(&mut before, now)
    };
    // One and its answer each time, and nobody polls either stream.
    tokio::time::sleep(Duration::from_secs(3610)).await;
    assert_eq!(since(), 2 * 180);
    // That no answer comes is no failure: old peers give none.
    net.set_link(B, A, Link { loss: 1.0, ..Link::default() });
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((a.close_reason(), b.close_reason()), (None, None));
    net.set_link(B, A, Link::default());
    a.set_keepalive(None);
    since();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(since(), 0);
    // It ends with the stream.
    a.set_keepalive(Some(Duration::from_secs(20)));
    a.write_end();
    b.write_end();
    a.closed().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    since();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(since(), 0);
}
