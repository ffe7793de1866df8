//! Messages a second through protomux, between two processes on loopback:
//!
//! ```text
//! cargo run --release -p protomux --example messages -- [messages] [bytes] [tcp|udx]
//! ```
//!
//! Prints one JSON line for each way of sending: one by one, packed by the mux, and corked by 32.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

use crypto::KeyPair;
use protomux::{Channel, ChannelEvent, ChannelOptions, Mux, MuxOptions};
use secret_stream::{IoTransport, Options, SecretStream};
use tokio::net::{TcpListener, TcpStream};
use udx::{StreamOptions, Udx};

const WAYS: [&str; 3] = ["single", "packed", "cork32"];

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let arg = |index: usize, default: &str| args.get(index).cloned().unwrap_or_else(|| default.to_owned());
    if arg(1, "") == "receive" {
        return receive(&arg(2, "tcp"), arg(3, "1").parse()?).await;
    }
    let (count, bytes, transport) = (arg(1, "1000000").parse()?, arg(2, "200").parse()?, arg(3, "tcp"));
    for way in WAYS {
        send(count, bytes, &transport, way).await?;
    }
    Ok(())
}

async fn receive(transport: &str, count: u64) -> Result<()> {
    let localhost: SocketAddr = "127.0.0.1:0".parse()?;
    let mux = if transport == "udx" {
        let udx = Udx::new();
        let socket = udx.bind(localhost)?;
        let stream = udx.create_stream(StreamOptions::default())?;
        println!("{} {}", socket.local_addr(), stream.id());
        let mut peer = String::new();
        std::io::stdin().read_line(&mut peer)?;
        let (addr, id) = peer.trim().split_once(' ').ok_or("an address and an id")?;
        stream.connect(&socket, id.parse()?, addr.parse()?)?;
        Mux::new(SecretStream::accept(stream, KeyPair::generate(), Options::default()).await?)
    } else {
        let listener = TcpListener::bind(localhost).await?;
        println!("{} 0", listener.local_addr()?);
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        Mux::new(SecretStream::accept(IoTransport::new(tcp), KeyPair::generate(), Options::default()).await?)
    };
    let mut channel = mux.open(ChannelOptions::new("bench"))?;
    let mut received = 0;
    while let Some(event) = channel.recv().await {
        received += u64::from(matches!(event, ChannelEvent::Message { .. }));
        if received == count {
            channel.send(0, b"all").await?;
            received = 0;
        }
    }
    mux.closed().await?;
    Ok(())
}

async fn send(count: u64, bytes: usize, transport: &str, way: &str) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["receive", transport, &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("its output")?).read_line(&mut line)?;
    let (addr, id) = line.trim().split_once(' ').ok_or("an address and an id")?;
    let addr: SocketAddr = addr.parse()?;
    let options = MuxOptions { pack: way == "packed" };
    let mux = if transport == "udx" {
        let udx = Udx::new();
        let socket = udx.bind("127.0.0.1:0".parse()?)?;
        let stream = udx.create_stream(StreamOptions::default())?;
        stream.connect(&socket, id.parse()?, addr)?;
        writeln!(child.stdin.take().ok_or("its input")?, "{} {}", socket.local_addr(), stream.id())?;
        Mux::with_options(SecretStream::connect(stream, KeyPair::generate(), Options::default()).await?, options)
    } else {
        let tcp = TcpStream::connect(addr).await?;
        tcp.set_nodelay(true)?;
        let stream = SecretStream::connect(IoTransport::new(tcp), KeyPair::generate(), Options::default()).await?;
        Mux::with_options(stream, options)
    };
    let mut channel = mux.open(ChannelOptions::new("bench"))?;
    while !matches!(channel.recv().await, Some(ChannelEvent::Open { .. })) {}
    let start = Instant::now();
    run(&mux, &channel, count, &vec![b'x'; bytes], way).await?;
    while !matches!(channel.recv().await, Some(ChannelEvent::Message { .. })) {}
    let seconds = start.elapsed().as_secs_f64();
    println!(
        r#"{{"bench":"protomux","transport":"{transport}","way":"{way}","bytes":{bytes},"messages":{count},"msg_per_s":{:.0}}}"#,
        count as f64 / seconds
    );
    mux.end();
    mux.closed().await?;
    child.wait()?;
    Ok(())
}

async fn run(mux: &Mux, channel: &Channel, count: u64, body: &[u8], way: &str) -> Result<()> {
    let sender = channel.sender();
    for number in 0..count {
        if way == "cork32" && number % 32 == 0 {
            mux.cork();
        }
        let drained = sender.try_send(0, body)?;
        if way == "cork32" && (number % 32 == 31 || number + 1 == count) {
            mux.uncork();
        }
        if !drained && (way != "cork32" || number % 32 == 31) {
            sender.drained().await;
        }
    }
    Ok(())
}
