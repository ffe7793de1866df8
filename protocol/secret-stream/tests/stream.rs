//! The driver over in-memory pipes and UDX.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use crypto::KeyPair;
use crypto::noise::{Handshake, Pattern};
use secret_stream::{
    Core, Entropy, Error, IoTransport, Options, SecretStream, Transport, WRITE_HIGH_WATER, WRITE_TIMEOUT,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use udx::{StreamOptions, Udx, UdxStream};

type Pipe = SecretStream<IoTransport<DuplexStream>>;

async fn pipe(buffer: usize, options: Options) -> (Pipe, Pipe) {
    let (a, b) = tokio::io::duplex(buffer);
    let a = SecretStream::connect(IoTransport::new(a), KeyPair::generate(), options.clone());
    let b = SecretStream::accept(IoTransport::new(b), KeyPair::generate(), options);
    tokio::try_join!(a, b).unwrap()
}

fn udx_pair() -> (UdxStream, UdxStream) {
    let localhost = "127.0.0.1:0".parse().unwrap();
    let (here, there) = (Udx::new(), Udx::new());
    let (socket_a, socket_b) = (here.bind(localhost).unwrap(), there.bind(localhost).unwrap());
    let a = here.create_stream(StreamOptions::default()).unwrap();
    let b = there.create_stream(StreamOptions::default()).unwrap();
    a.connect(&socket_a, b.id(), socket_b.local_addr()).unwrap();
    b.connect(&socket_b, a.id(), socket_a.local_addr()).unwrap();
    (a, b)
}

/// Sends `messages` one way while the other side reads, ends, and compares.
async fn transfer<T: Transport>(mut from: SecretStream<T>, mut to: SecretStream<T>, messages: Vec<Vec<u8>>) {
    let expected = messages.clone();
    let send = async {
        for message in &messages {
            from.send(message).await.unwrap();
        }
        from.close().await.unwrap();
        assert_eq!(from.recv().await.unwrap(), None);
    };
    let recv = async {
        for message in &expected {
            assert_eq!(to.recv().await.unwrap().as_deref(), Some(&message[..]));
        }
        assert_eq!(to.recv().await.unwrap(), None);
        to.close().await.unwrap();
    };
    tokio::join!(send, recv);
}

fn messages() -> Vec<Vec<u8>> {
    let sizes = [0, 1, 200, 70_000, 3, 1_000_000, 0, 16_384].into_iter().chain((0..500).map(|size| size % 97));
    sizes.enumerate().map(|(index, size)| (0..size).map(|byte| (byte + index) as u8).collect()).collect()
}

#[tokio::test]
async fn messages_arrive_whole_and_in_order_over_a_pipe() {
    let (a, b) = pipe(1000, Options::default()).await;
    assert_eq!(a.remote_public_key(), b.public_key());
    assert_eq!(b.remote_public_key(), a.public_key());
    assert_eq!(a.handshake_hash(), b.handshake_hash());
    assert!(a.is_initiator() && !b.is_initiator());
    transfer(a, b, messages()).await;
}

#[tokio::test]
async fn messages_arrive_whole_and_in_order_over_udx() {
    let (a, b) = udx_pair();
    let a = SecretStream::connect(a, KeyPair::generate(), Options::default());
    let b = SecretStream::accept(b, KeyPair::generate(), Options::default());
    let (a, b) = tokio::try_join!(a, b).unwrap();
    transfer(a, b, messages()).await;
}

#[tokio::test]
async fn unordered_messages_pass_beside_the_stream() {
    let (a, b) = udx_pair();
    let a = SecretStream::connect(a, KeyPair::generate(), Options::default());
    let b = SecretStream::accept(b, KeyPair::generate(), Options::default());
    let (mut a, mut b) = tokio::try_join!(a, b).unwrap();
    a.send_unordered(b"beside").unwrap();
    let got = std::future::poll_fn(|cx| b.poll_recv_unordered(cx)).await;
    assert_eq!(got.as_deref(), Some(&b"beside"[..]));
    // A pipe has none.
    let (mut a, _b) = pipe(1000, Options::default()).await;
    assert!(matches!(a.send_unordered(b""), Err(Error::Transport(_))));
    a.send(b"still usable").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_empty_messages() {
    let keep_alive = Some(Duration::from_secs(5));
    let (mut a, mut b) = pipe(1000, Options { keep_alive, ..Options::default() }).await;
    let start = tokio::time::Instant::now();
    {
        // Both wait for a message for three periods.
        let both = async { tokio::join!(a.recv(), b.recv()) };
        assert!(tokio::time::timeout(Duration::from_millis(15_100), both).await.is_err());
    }
    assert_eq!(start.elapsed().as_secs(), 15);
    assert_eq!((a.raw_bytes_written(), b.raw_bytes_written()), (60, 60));
    assert_eq!((a.raw_bytes_read(), b.raw_bytes_read()), (51, 51), "delivered, but not as messages");
    // A message postpones the next.
    a.send(b"x").await.unwrap();
    assert_eq!(b.recv().await.unwrap().as_deref(), Some(&b"x"[..]));
    assert!(tokio::time::timeout(Duration::from_millis(4_800), a.recv()).await.is_err());
    assert_eq!(a.raw_bytes_written(), 81);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_times_out() {
    let (mut a, mut b) = pipe(1000, Options::default()).await;
    a.set_timeout(Some(Duration::from_secs(3)));
    assert!(matches!(a.recv().await, Err(Error::TimedOut)));
    assert!(matches!(a.recv().await, Err(Error::Closed)));
    // The transport is gone for the peer too.
    assert!(!matches!(b.recv().await, Ok(Some(_))));
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_felt_by_the_writer() {
    let (mut a, mut b) = pipe(1000, Options::default()).await;
    let message = vec![7; 10_000];
    let mut accepted = 0;
    while std::future::poll_fn(|cx| Poll::Ready(a.poll_ready(cx))).await.is_ready() {
        a.start_send(&message).unwrap();
        accepted += 1;
        assert!(accepted < 20, "the backlog is bounded");
    }
    assert!(a.backlog() >= WRITE_HIGH_WATER && a.backlog() < WRITE_HIGH_WATER + 2 * message.len());
    // Nothing is lost by the futures that were given up.
    let read = async {
        for _ in 0..accepted {
            assert_eq!(b.recv().await.unwrap().as_deref(), Some(&message[..]));
        }
    };
    let flush = std::future::poll_fn(|cx| a.poll_flush(cx));
    let (flushed, ()) = tokio::join!(flush, read);
    flushed.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_loses_the_connection() {
    // With the keep-alive, which must not count as progress, and without.
    for keep_alive in [None, Some(Duration::from_secs(5))] {
        let (a, b) = tokio::io::duplex(1000);
        let options = Options { keep_alive, ..Options::default() };
        let a = SecretStream::connect(IoTransport::new(a), KeyPair::generate(), options);
        // Without clocks, and so without a task that takes anything.
        let b = SecretStream::accept(IoTransport::new(b), KeyPair::generate(), Options::default());
        let (mut a, _b) = tokio::try_join!(a, b).unwrap();
        let begin = tokio::time::Instant::now();
        let error = a.send(&[7; 10_000]).await.unwrap_err();
        assert!(matches!(error, Error::Stuck), "{error}");
        assert!(begin.elapsed() >= WRITE_TIMEOUT && begin.elapsed() < WRITE_TIMEOUT + Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_keeps_the_connection() {
    let (mut a, mut b) = pipe(100, Options::default()).await;
    let message = [7; 900];
    let read = async {
        loop {
            tokio::time::sleep(WRITE_TIMEOUT / 2).await;
            // Takes what the pipe holds, and no more.
            if let Poll::Ready(received) = std::future::poll_fn(|cx| Poll::Ready(b.poll_recv(cx))).await {
                return received.unwrap();
            }
        }
    };
    let (sent, received) = tokio::join!(a.send(&message), read);
    sent.unwrap();
    assert_eq!(received.as_deref(), Some(&message[..]));
}

#[tokio::test]
async fn a_future_that_is_given_up_loses_nothing() {
    let (mut a, mut b) = pipe(64, Options::default()).await;
    let sender = tokio::spawn(async move {
        for number in 0..200u32 {
            a.send(&[number as u8; 100]).await.unwrap();
        }
        a
    });
    let mut received = 0u32;
    while received < 200 {
        tokio::select! {
            biased;
            message = b.recv() => {
                assert_eq!(message.unwrap().as_deref(), Some(&[received as u8; 100][..]));
                received += 1;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    sender.await.unwrap();
}

#[tokio::test]
async fn a_message_above_the_maximum_is_refused_and_nothing_else() {
    let (mut a, mut b) = pipe(1 << 20, Options::default()).await;
    let error = a.start_send(&vec![0; secret_stream::MAX_MESSAGE + 1]).unwrap_err();
    assert!(matches!(error, Error::MessageTooLarge(_)));
    a.send(b"next").await.unwrap();
    assert_eq!(b.recv().await.unwrap().as_deref(), Some(&b"next"[..]));
}

/// What `b` says of bytes that come after a proper handshake.
async fn after_handshake(bytes: &[u8], end: bool) -> Error {
    let (near, far) = tokio::io::duplex(1 << 20);
    let options = Options { max_message: 5000, ..Options::default() };
    let peer = async {
        // The handshake by our own core, the rest by hand.
        let (mut io, mut core) = (far, {
            let entropy = secret_stream::Entropy { header: [3; 24], counter: 0 };
            secret_stream::Core::handshake(true, KeyPair::generate(), entropy).unwrap()
        });
        io.write_all(&core.take_outgoing()).await.unwrap();
        let mut buffer = bytes::BytesMut::new();
        while core.handshake_hash().is_none() {
            io.read_buf(&mut buffer).await.unwrap();
            core.input(buffer.split());
            core.poll_event().unwrap();
        }
        io.write_all(&core.take_outgoing()).await.unwrap();
        io.write_all(bytes).await.unwrap();
        if end {
            io.shutdown().await.unwrap();
        }
        io
    };
    let stream = SecretStream::accept(IoTransport::new(near), KeyPair::generate(), options);
    let (stream, _io) = tokio::join!(stream, peer);
    let mut stream = stream.unwrap();
    let error = stream.recv().await.unwrap_err();
    assert!(matches!(stream.recv().await, Err(Error::Closed)));
    assert!(matches!(stream.start_send(b""), Err(Error::Closed)));
    error
}

#[tokio::test]
async fn hostile_frames_cost_the_connection() {
    assert!(matches!(
        after_handshake(&[17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8], false).await,
        Error::Authentication
    ));
    assert!(matches!(
        after_handshake(&[16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7], false).await,
        Error::Authentication
    ));
    assert!(matches!(after_handshake(&[0, 0, 0], false).await, Error::Authentication));
    assert!(matches!(
        after_handshake(&[255, 255, 255], false).await,
        Error::FrameTooLarge { announced: 0xff_ffff, limit: 5017 }
    ));
    assert!(matches!(after_handshake(&[20, 0, 0, 1], true).await, Error::Truncated));
}

#[tokio::test]
async fn a_wrong_handshake_is_refused() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[32, 0, 0], &[0, 0, 0], &[0xff; 300]] {
        for is_initiator in [true, false] {
            let (near, mut far) = tokio::io::duplex(1 << 17);
            far.write_all(bytes).await.unwrap();
            far.shutdown().await.unwrap();
            let near = IoTransport::new(near);
            let result = if is_initiator {
                SecretStream::connect(near, KeyPair::generate(), Options::default()).await
            } else {
                SecretStream::accept(near, KeyPair::generate(), Options::default()).await
            };
            assert!(result.is_err());
        }
    }
}

#[tokio::test]
async fn a_header_of_the_wrong_role_or_length_is_refused() {
    let session = |is_initiator| crypto::noise::Session {
        tx: [1; 32],
        rx: [1; 32],
        hash: [2; 64],
        remote_public_key: [3; 32],
        is_initiator,
    };
    // Both claim to have begun the connection: each sees the id of its own role.
    let (near, far) = tokio::io::duplex(1 << 17);
    let mut a = SecretStream::from_session(IoTransport::new(near), session(true), [0; 32], Options::default());
    let mut b = SecretStream::from_session(IoTransport::new(far), session(true), [0; 32], Options::default());
    assert!(matches!(a.recv().await, Err(Error::Header)));
    assert!(b.recv().await.is_err());
    for length in [0u8, 55, 57] {
        let (near, mut far) = tokio::io::duplex(1 << 17);
        let mut stream = SecretStream::from_session(IoTransport::new(near), session(true), [0; 32], Options::default());
        far.write_all(&[length, 0, 0]).await.unwrap();
        far.write_all(&vec![0; length.into()]).await.unwrap();
        assert!(matches!(stream.recv().await, Err(Error::Header | Error::FrameTooLarge { .. })), "{length}");
    }
}

#[tokio::test]
async fn the_header_is_written_without_being_polled() {
    let (near, mut far) = tokio::io::duplex(1000);
    let session = crypto::noise::Session {
        tx: [1; 32],
        rx: [1; 32],
        hash: [2; 64],
        remote_public_key: [3; 32],
        is_initiator: true,
    };
    let _stream = SecretStream::from_session(IoTransport::new(near), session, [0; 32], Options::default());
    let mut first = [0; 59];
    far.read_exact(&mut first).await.unwrap();
    assert_eq!(Bytes::copy_from_slice(&first[..3]), Bytes::from_static(&[56, 0, 0]));
}

/// A peer that sends keep-alives without end.
struct Flood {
    peer: Core,
    chunks: Arc<AtomicUsize>,
}

impl Transport for Flood {
    fn poll_read_chunk(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<Option<BytesMut>>> {
        if self.chunks.fetch_add(1, Ordering::Relaxed) > 10_000 {
            return Poll::Pending;
        }
        self.peer.send(&[]).unwrap();
        Poll::Ready(Ok(Some(BytesMut::from(&self.peer.take_outgoing()[..]))))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &mut Bytes) -> Poll<std::io::Result<()>> {
        bytes.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn destroy(&mut self) {}
}

#[tokio::test]
async fn endless_keep_alives_let_other_tasks_run() {
    let (ours, theirs) = (KeyPair::generate(), KeyPair::generate());
    let mut a = Handshake::new(Pattern::XX, true, ours.clone(), None, &[]);
    let mut b = Handshake::new(Pattern::XX, false, theirs, None, &[]);
    b.recv(&a.send(&[]).unwrap()).unwrap();
    a.recv(&b.send(&[]).unwrap()).unwrap();
    b.recv(&a.send(&[]).unwrap()).unwrap();
    let peer = Core::from_session(b.finish().unwrap(), [0; 32], Entropy::generate());
    let options = Options { filter_empty: true, ..Options::default() };
    let chunks = Arc::new(AtomicUsize::new(0));
    let flood = Flood { peer, chunks: chunks.clone() };
    let mut stream = SecretStream::from_session(flood, a.finish().unwrap(), ours.public_key, options);
    for turn in 1..10 {
        std::future::poll_fn(|cx| {
            let before = chunks.load(Ordering::Relaxed);
            assert!(stream.poll_recv(cx).is_pending());
            assert!(chunks.load(Ordering::Relaxed) - before < 1000, "turn {turn}");
            Poll::Ready(())
        })
        .await;
    }
}

#[tokio::test]
async fn bytes_of_a_message_count_before_it_is_whole() {
    let (mut a, mut b) = pipe(1024, Options::default()).await;
    let before = (b.bytes_received(), b.raw_bytes_read());
    let cx = &mut Context::from_waker(std::task::Waker::noop());
    a.start_send(&[7; 10_000]).unwrap();
    assert!(a.poll_flush(cx).is_pending());
    assert!(b.poll_recv(cx).is_pending());
    assert_eq!((b.bytes_received(), b.raw_bytes_read()), (before.0 + 1024, before.1));
}
