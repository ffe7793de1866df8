//! Against live JavaScript peers, in both roles, over TCP.
//!
//! The installs are `interop-tests/{pinned,latest}/node_modules`, or what `INTEROP_NODE_MODULES` names.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crypto::KeyPair;
use protomux::{Channel, ChannelEvent, ChannelOptions, Mux, MuxOptions};
use secret_stream::{IoTransport, Options, SecretStream};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(60);

fn interop_tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop-tests")
}

/// The installs to run against.
fn installs() -> Vec<PathBuf> {
    let candidates = match std::env::var_os("INTEROP_NODE_MODULES") {
        Some(modules) => vec![PathBuf::from(modules)],
        None => ["pinned", "latest"].map(|name| interop_tests().join(name).join("node_modules")).to_vec(),
    };
    candidates.into_iter().filter(|modules| modules.join("protomux/package.json").exists()).collect()
}

fn node(modules: &Path, args: &[&str]) -> Option<Child> {
    let script = interop_tests().join("mux/peer.js");
    Command::new("node")
        .arg(script)
        .args(args)
        .env("NODE_PATH", modules)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .ok()
}

async fn next(channel: &mut Channel) -> ChannelEvent {
    let event = tokio::time::timeout(PATIENCE, channel.recv()).await;
    event.expect("an event in time").expect("an open channel")
}

async fn message(channel: &mut Channel) -> (u64, Vec<u8>) {
    match next(channel).await {
        ChannelEvent::Message { kind, body } => (kind, body.to_vec()),
        event => panic!("{event:?} is no message"),
    }
}

fn body(number: usize) -> Vec<u8> {
    let len = if number % 250 == 249 { 200_000 } else { number % 613 };
    (0..len).map(|index| (index ^ number) as u8).collect()
}

async fn converse(mux: Mux) {
    let options = ChannelOptions::new("echo").id([5; 32]).handshake(*b"\x09from rust");
    let mut echo = mux.open(options).unwrap();
    let hello = ChannelEvent::Open { handshake: b"\x0ffrom javascript".as_slice().into() };
    assert_eq!(next(&mut echo).await, hello);

    // One by one, with back-pressure.
    let sender = echo.sender();
    let send = tokio::spawn(async move {
        for number in 0..1000 {
            sender.send(0, &body(number)).await.unwrap();
        }
    });
    for number in 0..1000 {
        assert!(message(&mut echo).await == (1, body(number)), "echo {number}");
    }
    send.await.unwrap();

    // In one batch, which JavaScript answers by a batch.
    mux.cork();
    for number in 0..60 {
        echo.try_send(0, &body(number)).unwrap();
    }
    mux.uncork();
    for number in 0..60 {
        assert!(message(&mut echo).await == (1, body(number)), "batched echo {number}");
    }

    // Nobody wants it.
    let mut nobody = mux.open(ChannelOptions::new("nobody")).unwrap();
    assert_eq!(next(&mut nobody).await, ChannelEvent::Close { remote: true });
    assert_eq!(nobody.recv().await, None);

    // Opened over there when we ask for it; messages may come before the answer. Ids are used again.
    for number in 0..20u8 {
        let mut channel = mux.open(ChannelOptions::new("on-demand").id([number; 3])).unwrap();
        channel.send(0, b"early").await.unwrap();
        assert!(matches!(next(&mut channel).await, ChannelEvent::Open { .. }));
        assert_eq!(message(&mut channel).await, (0, vec![number; 3]));
        assert_eq!(message(&mut channel).await, (0, b"early".to_vec()));
    }

    // Opened here when the peer asks for it, closed by the peer.
    let mut pairing = mux.pair("called-back", None);
    for number in 0..20u8 {
        echo.send(2, &[number]).await.unwrap();
        let request = tokio::time::timeout(PATIENCE, pairing.next()).await.unwrap().unwrap();
        assert_eq!((request.protocol(), request.id()), ("called-back", &[number][..]));
        let mut channel = request.open([number]).unwrap();
        assert_eq!(next(&mut channel).await, ChannelEvent::Open { handshake: vec![number].into() });
        for expected in 0..3 {
            assert_eq!(message(&mut channel).await, (0, vec![expected]));
        }
        channel.send(0, &[1]).await.unwrap();
        assert_eq!(next(&mut channel).await, ChannelEvent::Close { remote: true });
    }

    // Not answered: rejected, and nothing breaks.
    drop(pairing);
    echo.send(2, &[99]).await.unwrap();
    echo.send(0, b"still here").await.unwrap();
    assert_eq!(message(&mut echo).await, (1, b"still here".to_vec()));

    mux.end();
    tokio::time::timeout(PATIENCE, mux.closed()).await.unwrap().unwrap();
    assert_eq!(next(&mut echo).await, ChannelEvent::Close { remote: true });
}

async fn exit(mut child: Child) {
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("JavaScript ends in time").unwrap();
    assert!(status.success(), "JavaScript: {status}");
}

fn options() -> Options {
    Options { keep_alive: Some(Duration::from_secs(5)), ..Options::default() }
}

async fn against(modules: &Path, mux_options: MuxOptions) -> bool {
    // JavaScript listens.
    let Some(mut child) = node(modules, &["listen"]) else { return false };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port: u16 = lines.next_line().await.unwrap().expect("a port").parse().unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let stream = SecretStream::connect(IoTransport::new(tcp), KeyPair::generate(), options()).await.unwrap();
    converse(Mux::with_options(stream, mux_options.clone())).await;
    exit(child).await;

    // JavaScript dials.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let child = node(modules, &["connect", &port]).expect("node ran before");
    let (tcp, _) = listener.accept().await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let stream = SecretStream::accept(IoTransport::new(tcp), KeyPair::generate(), options()).await.unwrap();
    converse(Mux::with_options(stream, mux_options)).await;
    exit(child).await;
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javascript_in_both_roles() {
    let installs = installs();
    if installs.is_empty() {
        eprintln!(
            "NOT RUN: no JavaScript install found; run `npm ci` in interop-tests/pinned and interop-tests/latest"
        );
    }
    for modules in installs {
        for pack in [false, true] {
            if !against(&modules, MuxOptions { pack }).await {
                eprintln!("NOT RUN: `node` cannot be started");
                return;
            }
        }
    }
}
