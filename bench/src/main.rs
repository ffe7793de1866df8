//! The Rust side of `scripts/bench` and of the DHT scenarios of `interop-tests`: a process that reads requests as lines of JSON on
//! standard input and answers each with a line of JSON. `bench/js/worker.js` and `interop-tests/dht/node.js` are the same in
//! JavaScript and say what each request means.
//!
//! ```text
//! intercom-bench worker             measurements
//! intercom-bench startup HOST:PORT  prints a line once a swarm with that bootstrap node listens
//! intercom-bench node               a plain DHT node
//! ```

mod lines;
mod mux;
mod node;
mod pow;
mod stream;
mod swarm;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;

use dht_rpc::BootstrapNode;
use hyperdht::{Dht, DhtOptions};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::lines::{Answer, Failure};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let done = runtime.block_on(async {
        match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["worker"] => worker().await,
            ["startup", bootstrap] => startup(bootstrap).await,
            ["node"] => node::run().await,
            _ => Err("usage: intercom-bench worker | startup HOST:PORT | node".into()),
        }
    });
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}

/// What a worker is asked to do; see `bench/js/worker.js`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Op {
    Swarm { bootstrap: String, topic: Option<String> },
    Join { bootstrap: String, topic: String },
    Serve { bootstrap: String, mode: Mode, kind: Option<mux::Kind> },
    Stream { bootstrap: String, key: String, total: u64, chunk: usize },
    Mux { bootstrap: String, key: String, count: u64, batch: u64, kind: mux::Kind },
    Pow { bytes: usize, count: usize, difficulty: u32 },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Stream,
    Mux,
}

async fn worker() -> Result<(), Failure> {
    let mut lines = lines::Lines::new();
    lines::say(&json!({ "ready": true }));
    let mut dht = None;
    let mut swarms = Vec::new();
    while let Some((id, op)) = lines.next::<Op>().await? {
        let answer = run(op, &mut dht, &mut swarms).await;
        lines::answer(id, answer);
    }
    Ok(())
}

async fn run(op: Op, dht: &mut Option<Dht>, swarms: &mut Vec<swarm::Swarm>) -> Answer {
    match op {
        Op::Swarm { bootstrap, topic } => {
            swarms.push(swarm::listening(&bootstrap, topic.as_deref()).await?);
            Ok(json!({}))
        }
        Op::Join { bootstrap, topic } => swarm::time_to_connection(&bootstrap, &topic).await,
        Op::Serve { bootstrap, mode, kind } => {
            let dht = node(dht, &bootstrap).await?;
            let (server, key) = node::listen(dht, crypto::KeyPair::generate()).await?;
            tokio::spawn(async move {
                while let Some(connection) = server.accept().await {
                    match mode {
                        Mode::Stream => drop(tokio::spawn(stream::take(connection))),
                        Mode::Mux => drop(tokio::spawn(mux::take(connection, kind.unwrap_or(mux::Kind::Raw)))),
                    }
                }
            });
            Ok(json!({ "key": key }))
        }
        Op::Stream { bootstrap, key, total, chunk } => {
            let connection = node::connect(node(dht, &bootstrap).await?, &key).await?;
            stream::send(connection, total, chunk).await
        }
        Op::Mux { bootstrap, key, count, batch, kind } => {
            let connection = node::connect(node(dht, &bootstrap).await?, &key).await?;
            mux::send(connection, count, batch, kind).await
        }
        Op::Pow { bytes, count, difficulty } => pow::build(bytes, count, difficulty),
    }
}

async fn startup(bootstrap: &str) -> Result<(), Failure> {
    let _swarm = swarm::listening(bootstrap, None).await?;
    lines::say(&json!({ "listening": true }));
    std::future::pending().await
}

/// The one DHT node of this process.
async fn node<'a>(dht: &'a mut Option<Dht>, bootstrap: &str) -> Result<&'a Dht, Failure> {
    if dht.is_none() {
        *dht = Some(start(bootstrap).await?);
    }
    dht.as_ref().ok_or_else(|| "no DHT node".into())
}

/// A bootstrapped node on loopback.
async fn start(bootstrap: &str) -> Result<Dht, Failure> {
    let dht = Dht::new(options(bootstrap)?).await?;
    dht.bootstrapped().await;
    Ok(dht)
}

fn options(bootstrap: &str) -> Result<DhtOptions, Failure> {
    Ok(DhtOptions {
        bootstrap: Some(vec![BootstrapNode::from(address(bootstrap)?)]),
        host: Ipv4Addr::LOCALHOST,
        ..DhtOptions::default()
    })
}

fn address(text: &str) -> Result<SocketAddrV4, Failure> {
    match text.parse() {
        Ok(SocketAddr::V4(address)) => Ok(address),
        _ => Err(format!("{text} is not HOST:PORT").into()),
    }
}

/// 32 bytes from hex.
fn key(hex: &str) -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(format!("{hex} is not 32 bytes of hex").into());
    }
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits)?, 16)?;
    }
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn millis(from: tokio::time::Instant) -> Value {
    json!({ "ms": from.elapsed().as_secs_f64() * 1000.0 })
}
