//! Raw UDX streams between two processes, for measurements; `udx-native` may be on the other side.
//!
//! ```text
//! udx-raw server [--port 0] [--echo]             stream 2, peer is stream 1; prints {"port":...}
//! udx-raw client PORT [--mb 1024] [--chunk 65536] one way; prints {"mb_per_s":...,"cpu_s_per_gb":...}
//! udx-raw ping PORT [--count 5000]               1-byte round trips against an echo server
//! ```
//!
//! `--threads 2` runs on the multi-thread runtime. The server learns the client's address from its first packet.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use udx::{StreamOptions, Udx, UdxStream};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Args(Vec<String>);

impl Args {
    fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|arg| arg == name)
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        let value = self.0.iter().position(|arg| arg == name).and_then(|at| self.0.get(at + 1));
        value.and_then(|value| value.parse().ok()).unwrap_or(default)
    }
}

fn main() -> Result<()> {
    let args = Args(std::env::args().skip(1).collect());
    let runtime = match args.number("--threads", 1) {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        threads => tokio::runtime::Builder::new_multi_thread().worker_threads(threads as usize).enable_all().build()?,
    };
    // A task of its own: the first task of a multi-thread runtime runs outside of its workers.
    runtime.block_on(async move {
        let run = async move {
            match args.0.first().map(String::as_str) {
                Some("server") => server(&args).await,
                Some("client") => client(&args).await,
                Some("ping") => ping(&args).await,
                _ => Err("usage: udx-raw server|client PORT|ping PORT".into()),
            }
            .map_err(|error| error.to_string())
        };
        tokio::spawn(run).await
    })??;
    Ok(())
}

async fn server(args: &Args) -> Result<()> {
    let udx = Udx::new();
    let socket = udx.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, args.number("--port", 0) as u16)))?;
    println!("{}", serde_json::json!({ "port": socket.local_addr().port() }));
    let stream = udx.create_stream(StreamOptions { id: Some(2), accept: true, ..StreamOptions::default() })?;
    let (_, from) = stream.first_packet().await?;
    stream.connect(&socket, 1, from)?;
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut bytes = 0;
    while let Some(block) = stream.read_chunk().await? {
        bytes += block.len();
        if args.flag("--echo") {
            stream.write(block.freeze()).await?;
            stream.flush();
        }
    }
    report("receive", bytes, started, cpu, &stream);
    stream.write_end();
    let _ = stream.closed().await;
    Ok(())
}

fn connect(args: &Args) -> Result<(Udx, UdxStream)> {
    let port: u16 = args.0.get(1).ok_or("which port?")?.parse()?;
    let udx = Udx::new();
    let socket = udx.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let stream = udx.create_stream(StreamOptions { id: Some(1), ..StreamOptions::default() })?;
    stream.connect(&socket, 2, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok((udx, stream))
}

async fn client(args: &Args) -> Result<()> {
    let (_udx, stream) = connect(args)?;
    let total = args.number("--mb", 1024) as usize * 1_000_000;
    let chunk = Bytes::from(vec![7; args.number("--chunk", 65_536) as usize]);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut bytes = 0;
    while bytes < total {
        stream.write(chunk.clone()).await?;
        bytes += chunk.len();
    }
    stream.write_end();
    std::future::poll_fn(|cx| stream.poll_shutdown(cx)).await?;
    report("send", bytes, started, cpu, &stream);
    while stream.read_chunk().await?.is_some() {}
    stream.closed().await?;
    Ok(())
}

async fn ping(args: &Args) -> Result<()> {
    let (_udx, stream) = connect(args)?;
    let mut times = Vec::new();
    for _ in 0..args.number("--count", 5000) {
        let started = Instant::now();
        stream.write(Bytes::from_static(b"x")).await?;
        stream.flush();
        stream.read_chunk().await?.ok_or("the server ended")?;
        times.push(started.elapsed().as_micros() as u64);
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied();
    println!(
        "{}",
        serde_json::json!({ "pingpong_p50_us": at(50), "pingpong_p90_us": at(90), "pingpong_p99_us": at(99) })
    );
    stream.write_end();
    while stream.read_chunk().await?.is_some() {}
    Ok(())
}

fn report(what: &str, bytes: usize, started: Instant, cpu: f64, stream: &UdxStream) {
    let seconds = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu;
    let stats = stream.stats();
    let line = serde_json::json!({
        "what": what,
        "mb": bytes / 1_000_000,
        "mb_per_s": (bytes as f64 / 1e6 / seconds).round(),
        "cpu_s": cpu,
        "cpu_s_per_gb": cpu * 1e9 / bytes.max(1) as f64,
        "mtu": stream.mtu(),
        "packets_sent": stats.packets_sent,
        "packets_received": stats.packets_received,
        "retransmits": stats.retransmits,
        "timeouts": stats.timeouts,
        "tail_probes": stats.tail_probes,
        "congestion_window": stats.congestion_window,
        "rtt_us": stream.rtt().map(|rtt| rtt.as_micros() as u64),
        "bandwidth": stats.bandwidth,
    });
    println!("{line}");
}

/// Processor time of this process, user and system, where the system tells it in `/proc`.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap_or("").split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    fields.get(11..13).map_or(0.0, |ticks| (ticks[0] + ticks[1]) / 100.0)
}
