//! One end of a stream for the interoperability tests: does what its arguments say, and prints what happened as JSON.
//!
//! ```text
//! udx-peer --id 2 --remote-id 1 [--accept] [--seq N] [--ack N] [--send BYTES [--in-two]] [--echo] [--slow MS] [--hold]
//!          [--messages N] [--keepalive MS] [--destroy-after BYTES] [--move-after BYTES] [--linger MS]
//! udx-peer --relay LEGS
//! ```
//!
//! It prints `{"port":P}`. Without `--accept` it waits for a line `HOST:PORT` on standard input and connects to that;
//! with it, to where the first packet comes from. Bytes follow a pattern that the other side checks. Further lines:
//!
//! - `move HOST:PORT ID`: the peer is there now, under that id; `{"changed":true}` when it has what was sent before;
//! - `read`: with `--hold`, begin to read;
//! - `send`: with `--in-two`, send the second half.
//!
//! With `--relay` it joins streams in pairs: see `relay.rs`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use udx::{StreamOptions, Udx, UdxSocket, UdxStream};

mod relay;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Args(Vec<String>);

impl Args {
    fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|arg| arg == name)
    }

    fn number(&self, name: &str) -> Option<u64> {
        let at = self.0.iter().position(|arg| arg == name)?;
        self.0.get(at + 1)?.parse().ok()
    }
}

/// The byte at an offset of every test stream.
fn pattern(offset: usize) -> u8 {
    ((offset as u32).wrapping_mul(0x9e37_79b1) >> 24) as u8
}

/// The lines of standard input, as they come.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

fn tell(line: &serde_json::Value) {
    println!("{line}");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args(std::env::args().skip(1).collect());
    let mut lines = lines();
    if let Some(legs) = args.number("--relay") {
        return relay::run(legs as u32, lines).await;
    }
    let udx = Udx::new();
    let socket = udx.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let stream = udx.create_stream(StreamOptions {
        id: Some(args.number("--id").ok_or("--id")? as u32),
        accept: args.flag("--accept"),
        initial_seq: args.number("--seq").unwrap_or(0) as u32,
        initial_ack: args.number("--ack").unwrap_or(0) as u32,
    })?;
    tell(&serde_json::json!({ "port": socket.local_addr().port() }));
    let remote = if args.flag("--accept") {
        stream.first_packet().await?.1
    } else {
        lines.recv().await.ok_or("no address on standard input")?.trim().parse()?
    };
    stream.connect(&socket, args.number("--remote-id").ok_or("--remote-id")? as u32, remote)?;
    if let Some(idle) = args.number("--keepalive") {
        stream.set_keepalive(Some(Duration::from_millis(idle)));
    }

    let messages = async {
        for index in 0..args.number("--messages").unwrap_or(0) {
            let _ = stream.try_send_message(format!("message {index}").as_bytes());
        }
        while let Some(message) = stream.recv_message().await {
            tell(&serde_json::json!({ "message": String::from_utf8_lossy(&message) }));
        }
    };
    // Two gates that lines open.
    let ((read, reading), (go, second)) = (tokio::sync::oneshot::channel(), tokio::sync::oneshot::channel());
    let obeying = obey(&mut lines, &stream, &socket, read, go);
    let work =
        async { tokio::join!(messages, send(&args, &udx, &stream, remote, second), receive(&args, &stream, reading)) };
    let ((), sent, received) = tokio::select! {
        done = work => done,
        result = obeying => return result,
    };
    let reason = match stream.closed().await {
        Ok(()) => "finished".to_string(),
        Err(reason) => reason.to_string(),
    };
    let stats = stream.stats();
    tell(&serde_json::json!({
        "sent": sent.unwrap_or_else(|error| error.to_string()),
        "received": received.unwrap_or_else(|error| error.to_string()),
        "closed": reason,
        "mtu": stream.mtu(),
        "retransmits": stats.retransmits,
        "timeouts": stats.timeouts,
        "fast_recoveries": stats.fast_recoveries,
    }));
    // What lingers may still have to repeat its last acknowledgement.
    tokio::time::sleep(Duration::from_millis(args.number("--linger").unwrap_or(0))).await;
    Ok(())
}

type Gate = tokio::sync::oneshot::Sender<()>;

/// Does what further lines say; ends only when one cannot be read.
async fn obey(
    lines: &mut mpsc::UnboundedReceiver<String>,
    stream: &UdxStream,
    socket: &UdxSocket,
    read: Gate,
    go: Gate,
) -> Result<()> {
    let (mut read, mut go) = (Some(read), Some(go));
    while let Some(line) = lines.recv().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let gate = match words[..] {
            ["read"] => read.take(),
            ["send"] => go.take(),
            ["move", addr, id] => {
                stream.change_remote(socket, id.parse()?, addr.parse()?).await?;
                tell(&serde_json::json!({ "changed": true }));
                None
            }
            _ => return Err(format!("not a line for this end: {line}").into()),
        };
        if let Some(gate) = gate {
            let _ = gate.send(());
        }
    }
    std::future::pending().await
}

async fn send(
    args: &Args,
    udx: &Udx,
    stream: &UdxStream,
    remote: SocketAddr,
    second: tokio::sync::oneshot::Receiver<()>,
) -> std::io::Result<String> {
    let Some(total) = args.number("--send").map(|total| total as usize) else {
        if !args.flag("--echo") {
            stream.write_end();
        }
        return Ok("0".into());
    };
    let mut second = args.flag("--in-two").then_some(second);
    let mut sent = 0;
    let mut moved: Option<UdxSocket> = None;
    while sent < total {
        if sent >= total / 2
            && let Some(second) = second.take()
        {
            let _ = second.await;
        }
        let len = (total - sent).min(50_000);
        let block: Vec<u8> = (sent..sent + len).map(pattern).collect();
        stream.write(Bytes::from(block)).await?;
        sent += len;
        if args.number("--destroy-after").is_some_and(|after| sent as u64 >= after) {
            stream.destroy();
            break;
        }
        if moved.is_none() && args.number("--move-after").is_some_and(|after| sent as u64 >= after) {
            let socket = udx.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let id = stream.remote_id().unwrap_or_default();
            stream.change_remote(&socket, id, remote).await?;
            tell(&serde_json::json!({ "moved": socket.local_addr().port() }));
            moved = Some(socket);
        }
    }
    stream.write_end();
    Ok(sent.to_string())
}

async fn receive(
    args: &Args,
    stream: &UdxStream,
    reading: tokio::sync::oneshot::Receiver<()>,
) -> std::io::Result<String> {
    if args.flag("--hold") {
        let _ = reading.await;
    }
    let mut received = 0;
    while let Some(block) = stream.read_chunk().await? {
        if args.flag("--echo") {
            received += block.len();
            stream.write(block.freeze()).await?;
            continue;
        }
        if let Some(wrong) = block.iter().enumerate().find(|&(at, &byte)| byte != pattern(received + at)) {
            return Ok(format!("wrong byte at {}", received + wrong.0));
        }
        received += block.len();
        if let Some(pause) = args.number("--slow") {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
    if args.flag("--echo") {
        stream.write_end();
    }
    Ok(received.to_string())
}
