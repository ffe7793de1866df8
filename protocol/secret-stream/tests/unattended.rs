//! Streams that somebody holds and neither reads nor writes: their clocks run all the same.

use std::task::Poll;
use std::time::Duration;

use crypto::KeyPair;
use secret_stream::{Error, IoTransport, Options, SecretStream, WRITE_TIMEOUT};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};

type Pipe = SecretStream<IoTransport<DuplexStream>>;

const PERIOD: Duration = Duration::from_secs(5);

async fn pipe(buffer: usize, options: Options) -> (Pipe, Pipe) {
    let (a, b) = tokio::io::duplex(buffer);
    let a = SecretStream::connect(IoTransport::new(a), KeyPair::generate(), options.clone());
    let b = SecretStream::accept(IoTransport::new(b), KeyPair::generate(), options);
    tokio::try_join!(a, b).unwrap()
}

fn keep_alive() -> Options {
    Options { keep_alive: Some(PERIOD), ..Options::default() }
}

#[tokio::test(start_paused = true)]
async fn keep_alives_are_said_and_taken() {
    // Room for three: more come, and none may be in the way of the next.
    let (a, b) = pipe(60, keep_alive()).await;
    sleep(PERIOD * 100 + PERIOD / 2).await;
    assert_eq!((a.raw_bytes_written(), b.raw_bytes_written()), (100 * 20, 100 * 20));
    assert!(a.raw_bytes_read() >= 99 * 17 && b.raw_bytes_read() >= 99 * 17);
}

#[tokio::test(start_paused = true)]
async fn messages_wait_in_order_and_hold_their_sender_up() {
    let (mut a, mut b) = pipe(60, keep_alive()).await;
    let said: Vec<[u8; 20]> = (0..10).map(|n| [n; 20]).collect();
    let send = tokio::spawn(async move {
        for message in (0..10).map(|n| [n; 20]) {
            a.send(&message).await.unwrap();
        }
        a
    });
    sleep(PERIOD * 4 + PERIOD / 2).await;
    assert!(!send.is_finished());
    for message in &said {
        assert_eq!(b.recv().await.unwrap().as_deref(), Some(&message[..]));
    }
    send.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_for_what_was_taken_meanwhile() {
    let (mut a, mut b) = pipe(1000, keep_alive()).await;
    // It looked once, long ago, and waits for another thing now.
    assert!(std::future::poll_fn(|cx| Poll::Ready(b.poll_recv(cx))).await.is_pending());
    a.send(b"hello").await.unwrap();
    sleep(PERIOD * 3).await;
    let before = Instant::now();
    assert_eq!(b.recv().await.unwrap().as_deref(), Some(&b"hello"[..]));
    assert_eq!(before.elapsed(), Duration::ZERO);
    // The next message finds its reader although it was another task's.
    let reading = tokio::spawn(async move { b.recv().await });
    sleep(PERIOD * 3).await;
    a.send(b"again").await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap().as_deref(), Some(&b"again"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_given_up() {
    let (mut a, mut b) = pipe(1000, Options::default()).await;
    a.start_send(&[7; 10_000]).unwrap();
    assert!(std::future::poll_fn(|cx| Poll::Ready(a.poll_flush(cx))).await.is_pending());
    sleep(WRITE_TIMEOUT + Duration::from_secs(1)).await;
    // The other side sees it without our looking.
    assert!(matches!(b.recv().await, Err(Error::Truncated)));
    assert!(matches!(a.recv().await, Err(Error::Stuck)));
    assert!(matches!(a.recv().await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed() {
    let (mut a, mut b) = pipe(1000, Options::default()).await;
    a.set_timeout(Some(Duration::from_secs(3)));
    sleep(Duration::from_secs(4)).await;
    assert!(!matches!(b.recv().await, Ok(Some(_))));
    assert!(matches!(a.start_send(b"late"), Err(Error::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn nothing_stays_of_a_stream() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let (a, mut b) = pipe(1000, keep_alive()).await;
    sleep(PERIOD).await;
    assert_eq!(tasks(), before + 2);
    drop(a);
    b.destroy();
    tokio::task::yield_now().await;
    assert_eq!(tasks(), before);
}
