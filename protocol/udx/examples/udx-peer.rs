//! One end of a stream for the interoperability tests: does what its arguments say, and prints what happened as JSON.
//!
//! ```text
//! udx-peer --id 2 --remote-id 1 [--accept] [--seq N] [--ack N] [--send BYTES] [--echo] [--slow MS] [--messages N]
//!          [--destroy-after BYTES] [--move-after BYTES]
//! ```
//!
//! It prints `{"port":P}`. Without `--accept` it waits for a line `HOST:PORT` on standard input and connects to that;
//! with it, to where the first packet comes from. Bytes follow a pattern that the other side checks.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use udx::{StreamOptions, Udx, UdxSocket, UdxStream};

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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args(std::env::args().skip(1).collect());
    let udx = Udx::new();
    let socket = udx.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let stream = udx.create_stream(StreamOptions {
        id: Some(args.number("--id").ok_or("--id")? as u32),
        accept: args.flag("--accept"),
        initial_seq: args.number("--seq").unwrap_or(0) as u32,
        initial_ack: args.number("--ack").unwrap_or(0) as u32,
    })?;
    println!("{}", serde_json::json!({ "port": socket.local_addr().port() }));
    let remote = if args.flag("--accept") {
        stream.first_packet().await?.1
    } else {
        let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next()).await?;
        line.ok_or("no address on standard input")??.trim().parse()?
    };
    stream.connect(&socket, args.number("--remote-id").ok_or("--remote-id")? as u32, remote)?;

    let messages = async {
        for index in 0..args.number("--messages").unwrap_or(0) {
            let _ = stream.try_send_message(format!("message {index}").as_bytes());
        }
        while let Some(message) = stream.recv_message().await {
            println!("{}", serde_json::json!({ "message": String::from_utf8_lossy(&message) }));
        }
    };
    let ((), sent, received) = tokio::join!(messages, send(&args, &udx, &stream, remote), receive(&args, &stream));
    let reason = match stream.closed().await {
        Ok(()) => "finished".to_string(),
        Err(reason) => reason.to_string(),
    };
    let stats = stream.stats();
    let line = serde_json::json!({
        "sent": sent.unwrap_or_else(|error| error.to_string()),
        "received": received.unwrap_or_else(|error| error.to_string()),
        "closed": reason,
        "mtu": stream.mtu(),
        "retransmits": stats.retransmits,
        "timeouts": stats.timeouts,
        "fast_recoveries": stats.fast_recoveries,
    });
    println!("{line}");
    // What lingers may still have to repeat its last acknowledgement.
    tokio::time::sleep(Duration::from_millis(args.number("--linger").unwrap_or(0))).await;
    Ok(())
}

async fn send(args: &Args, udx: &Udx, stream: &UdxStream, remote: SocketAddr) -> std::io::Result<String> {
    let Some(total) = args.number("--send").map(|total| total as usize) else {
        if !args.flag("--echo") {
            stream.write_end();
        }
        return Ok("0".into());
    };
    let mut sent = 0;
    let mut moved: Option<UdxSocket> = None;
    while sent < total {
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
            println!("{}", serde_json::json!({ "moved": socket.local_addr().port() }));
            moved = Some(socket);
        }
    }
    stream.write_end();
    Ok(sent.to_string())
}

async fn receive(args: &Args, stream: &UdxStream) -> std::io::Result<String> {
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
