//! Clients and pages that mean no good, or do not keep up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use intercom::bridge::{AUTH_TIMEOUT, Bridge, BridgeOptions, CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_UNAUTHENTICATED};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::setup::{Fake, Setup, error, options, setup, setup_with};

async fn http(setup: &Setup, request: &str) -> String {
    let mut stream = setup.tcp().await;
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}

#[tokio::test]
async fn plain_http_is_told_to_upgrade() {
    let setup = setup().await;
    let answer = http(&setup, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n") && answer.ends_with("\r\n\r\nUpgrade Required"));
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(40_000));
    assert!(http(&setup, &endless).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let setup = setup().await;
    let request = |origin: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n",
            setup.bridge.local_addr()
        )
    };
    assert!(http(&setup, &request("https://evil.example")).await.starts_with("HTTP/1.1 403 Forbidden\r\n"));
    let mut own = setup.tcp().await;
    own.write_all(request("http://localhost:5070").as_bytes()).await.expect("open");
    let mut answer = [0; 12];
    own.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[tokio::test]
async fn an_oversize_message_costs_its_sender_the_connection() {
    let setup = setup_with(BridgeOptions { max_frame_bytes: 100_000, ..options() }, None).await;
    let (mut hostile, mut other) = (setup.enter().await, setup.enter().await);
    hostile.tell(&"x".repeat(100_000)).await;
    assert!(hostile.next().await.contains("Invalid JSON."), "this long it may be");
    // Much more than the bridge reads, and than the system keeps for it.
    hostile.tell(&"x".repeat(8_000_000)).await;
    assert_eq!(hostile.closed().await, Some(CloseCode::Size));
    assert!(other.ask(r#"{"type":"ping"}"#).await.contains("pong"));
}

#[tokio::test]
async fn what_is_no_websocket_is_told_so_after_its_answers() {
    let setup = setup().await;
    let mut hostile = setup.enter().await;
    hostile.tell(r#"{"type":"stats"}"#).await;
    // A ping must not be longer than 125 bytes.
    hostile.0.get_mut().write_all(&[[0x89, 0xfe, 0, 126].as_slice(), &[0; 130]].concat()).await.expect("open");
    assert!(hostile.next().await.contains("stats"));
    assert_eq!(hostile.closed().await, Some(CloseCode::Protocol));
}

#[tokio::test]
async fn clients_that_come_at_once_all_enter() {
    let setup = setup().await;
    let all = (0..200).map(|_| setup.enter());
    let mut all = futures_util::future::join_all(all).await;
    for client in &mut all {
        assert!(client.ask(r#"{"type":"ping"}"#).await.contains("pong"));
    }
}

#[tokio::test]
async fn deeply_nested_json_is_only_invalid() {
    let setup = setup().await;
    let mut client = setup.enter().await;
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        assert_eq!(client.ask(&deep).await, error("Invalid JSON."));
    }
}

#[tokio::test]
async fn endless_subscriptions_and_filters_are_refused() {
    let setup = setup().await;
    let mut client = setup.enter().await;
    let names: Vec<String> = (0..20_000).map(|n| format!("\"{n}\"")).collect();
    let subscribe = format!(r#"{{"type":"subscribe","channels":[{}]}}"#, names.join(","));
    assert_eq!(client.ask(&subscribe).await, error("Too many channels."));
    let filter = format!(r#"{{"type":"set_filter","filter":"{}"}}"#, "a|".repeat(10_000));
    assert_eq!(client.ask(&filter).await, error("Filter too long."));
}

#[tokio::test]
async fn who_guesses_tokens_is_closed() {
    let setup = setup().await;
    let mut client = setup.connect().await;
    for guess in 0..1000 {
        let told = client.0.send(Message::text(format!(r#"{{"type":"auth","token":"{guess}"}}"#))).await;
        if told.is_err() {
            return;
        }
    }
    assert_eq!(client.closed().await, Some(CloseCode::Policy));
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_and_the_others_notice_nothing() {
    let setup = setup().await;
    let (idle, mut reader) = (setup.enter().await, setup.enter().await);
    let payload = format!(r#"{{"message":"{}"}}"#, "x".repeat(200_000));
    let mut sent = 0;
    while setup.bridge.client_count() == 2 {
        assert!(sent < 1000, "200 MB were queued for a client that does not read");
        setup.publish("room", &payload);
        sent += 1;
        assert!(reader.next().await.contains("sidechannel_message"));
    }
    assert!(reader.ask(r#"{"type":"ping"}"#).await.contains("pong"));
    drop(idle);
}

#[tokio::test]
async fn a_client_that_was_too_slow_is_told_so() {
    let setup = setup().await;
    let mut slow = setup.enter().await;
    let payload = format!(r#"{{"message":"{}"}}"#, "x".repeat(200_000));
    // More than its queue and both socket buffers hold; nothing is sent meanwhile, for the runtime has one thread.
    (0..100).for_each(|_| setup.publish("room", &payload));
    assert_eq!(slow.closed().await, Some(CloseCode::Policy));
}

#[tokio::test]
async fn a_client_that_stalled_reads_the_reason_when_it_comes_back() {
    let setup = setup().await;
    let (mut stalled, mut reader) = (setup.enter().await, setup.enter().await);
    let payload = format!(r#"{{"message":"{}"}}"#, "x".repeat(200_000));
    while setup.bridge.client_count() == 2 {
        setup.publish("room", &payload);
        assert!(reader.next().await.contains("sidechannel_message"));
    }
    stalled.tell(r#"{"type":"leave","channel":"room"}"#).await;
    tokio::time::pause();
    tokio::time::advance(20 * CLOSE_TIMEOUT).await;
    tokio::time::resume();
    assert!(reader.ask(r#"{"type":"ping"}"#).await.contains("pong"));
    assert_eq!(stalled.closed().await, Some(CloseCode::Policy));
    assert_eq!(setup.fake.take(), [""; 0], "what it still wanted was not done");
}

#[tokio::test]
async fn connections_without_a_token_make_room_for_newer_ones() {
    let setup = setup().await;
    let mut known = setup.enter().await;
    let mut oldest = setup.connect().await;
    let mut others = Vec::new();
    for _ in 1..MAX_UNAUTHENTICATED {
        others.push(setup.tcp().await);
    }
    let mut newest = setup.enter().await;
    let mut further = setup.connect().await;
    assert_eq!(oldest.closed().await, Some(CloseCode::Policy));
    for client in [&mut known, &mut newest] {
        assert!(client.ask(r#"{"type":"ping"}"#).await.contains("pong"));
    }
    assert_eq!(further.ask(r#"{"type":"ping"}"#).await, error("Unauthorized."));
}

#[tokio::test]
async fn connections_without_a_token_that_come_at_once_are_no_more_than_may_be() {
    let setup = setup().await;
    // They wait to be accepted, all of them in one go: this thread serves them later.
    let address = setup.bridge.local_addr();
    let connect = |_| std::net::TcpStream::connect(address).expect("the bridge listens");
    let crowd: Vec<_> = (0..2 * MAX_UNAUTHENTICATED).map(connect).collect();
    let mut newest = setup.connect().await;
    assert_eq!(setup.bridge.client_count(), MAX_UNAUTHENTICATED);
    assert_eq!(newest.ask(r#"{"type":"auth","token":"secret"}"#).await, r#"{"type":"auth_ok"}"#);
    drop(crowd);
}

#[tokio::test]
async fn half_open_connections_end_after_their_time() {
    let setup = setup().await;
    let (mut silent, mut partial) = (setup.tcp().await, setup.tcp().await);
    partial.write_all(b"GET / HTTP/1.1\r\nHost").await.expect("open");
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(partial.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(begun.elapsed() >= HANDSHAKE_TIMEOUT);
}

#[tokio::test]
async fn a_client_without_a_token_is_closed_after_its_time() {
    let setup = setup().await;
    let (mut known, mut client) = (setup.enter().await, setup.connect().await);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(client.closed().await, Some(CloseCode::Policy));
    assert!(begun.elapsed() >= AUTH_TIMEOUT / 2);
    tokio::time::resume();
    assert!(known.ask(r#"{"type":"ping"}"#).await.contains("pong"));
}

#[tokio::test]
async fn closing_says_goodbye_and_frees_the_port() {
    let setup = setup().await;
    let (mut client, mut idle) = (setup.enter().await, setup.tcp().await);
    let address = setup.bridge.local_addr();
    tokio::time::timeout(Duration::from_secs(5), setup.bridge.close()).await.expect("closing is bounded");
    assert_eq!(client.closed().await, Some(CloseCode::Away));
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(tokio::net::TcpListener::bind(address).await.is_ok());
}

#[tokio::test]
async fn a_bridge_without_a_token_does_not_start() {
    let started =
        Bridge::listen(BridgeOptions { token: String::new(), ..options() }, Arc::new(Fake::default()), None).await;
    assert_eq!(started.err().map(|error| error.kind()), Some(std::io::ErrorKind::InvalidInput));
}
