//! The Rust side of `scripts/bench` and of the DHT scenarios of `interop-tests`: a process that reads requests as lines of JSON on
//! standard input and answers each with a line of JSON. `bench/js/worker.js` and `interop-tests/dht/node.js` are the same in
//! JavaScript and say what each request means. A new measurement is a file here with a line in [`perform`], a file in
//! `bench/js/ops`, and a file in `bench/js/measurements`.
//!
//! ```text
//! intercom-bench worker             measurements
//! intercom-bench startup HOST:PORT  prints a line once a swarm with that bootstrap node listens
//! intercom-bench node               a plain DHT node
//! ```

mod dht;
mod lines;
mod link;
mod load;
mod mux;
mod node;
mod pool;
mod pow;
mod quic;
mod serve;
mod store;
mod stream;
mod swarm;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;

use dht_rpc::BootstrapNode;
use hyperdht::{Connection, Dht, DhtOptions};
use serde::Deserialize;
use serde_json::{Value, from_value, json};

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

/// Performs what a worker is asked to do: one line for each operation, the same names as in `bench/js/ops`.
async fn perform(op: &str, request: Value, lab: &mut Lab) -> Answer {
    match op {
        "swarm" => swarm::swarm(from_value(request)?, lab).await,
        "join" => swarm::join(from_value(request)?).await,
        "serve" => serve::serve(from_value(request)?, lab).await,
        "stream" => stream::send(from_value(request)?, lab).await,
        "mux" => mux::send(from_value(request)?, lab).await,
        "pow" => pow::build(from_value(request)?),
        "store" => store::measure(from_value(request)?).await,
        "store_fill" => store::fill(from_value(request)?).await,
        "store_hold" => store::hold(from_value(request)?),
        "proof" => store::proof().await,
        "testnet" => dht::testnet(from_value(request)?, lab).await,
        "handshakes" => dht::handshakes(from_value(request)?, lab).await,
        "lookups" => dht::lookups(from_value(request)?, lab).await,
        "announces" => dht::announces(from_value(request)?, lab).await,
        "hold" => dht::hold(from_value(request)?, lab).await,
        "udx_create" => link::create(from_value(request)?, lab),
        "udx_take" => link::take(from_value(request)?, lab),
        "udx_taken" => link::taken(lab).await,
        "udx_send" => link::send(from_value(request)?, lab).await,
        "load" => load::load(from_value(request)?, lab).await,
        "link" => link::link(from_value(request)?).await,
        "quinn_serve" => quic::serve(lab),
        "quinn_send" => quic::send(from_value(request)?).await,
        _ => Err(format!("no operation {op}").into()),
    }
}

/// What the operations of one worker share.
#[derive(Default)]
struct Lab {
    dht: Option<Dht>,
    swarms: Vec<swarm::Swarm>,
    testnet: Option<hyperdht::testnet::Testnet>,
    held: Vec<tokio::task::JoinHandle<()>>,
    end: Option<link::End>,
    quic: Option<quinn::Endpoint>,
}

impl Lab {
    /// The one DHT node of this process.
    async fn node(&mut self, bootstrap: &str) -> Result<&Dht, Failure> {
        if self.dht.is_none() {
            self.dht = Some(start(bootstrap).await?);
        }
        self.dht.as_ref().ok_or_else(|| "no DHT node".into())
    }

    /// A connection by a new key pair to the peer with this key in hex.
    async fn connect(&mut self, bootstrap: &str, key: &str) -> Result<Connection, Failure> {
        node::connect(self.node(bootstrap).await?, key).await
    }
}

/// A request: its name, and the fields that its operation reads.
#[derive(Deserialize)]
struct Request {
    op: String,
    #[serde(flatten)]
    fields: Value,
}

async fn worker() -> Result<(), Failure> {
    let mut lines = lines::Lines::new();
    lines::say(&json!({ "ready": true }));
    let mut lab = Lab::default();
    while let Some((id, request)) = lines.next::<Request>().await? {
        let answer = perform(&request.op, request.fields, &mut lab).await;
        lines::answer(id, answer);
    }
    Ok(())
}

async fn startup(bootstrap: &str) -> Result<(), Failure> {
    let _swarm = swarm::listening(bootstrap, None).await?;
    lines::say(&json!({ "listening": true }));
    std::future::pending().await
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
        host: Ipv4Addr::LOCALHOST.into(),
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
    unhex(hex)?.try_into().map_err(|_| format!("{hex} is not 32 bytes of hex").into())
}

fn unhex(hex: &str) -> Result<Vec<u8>, Failure> {
    if !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return Err(format!("{hex} is not hex").into());
    }
    hex.as_bytes().chunks(2).map(|digits| Ok(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn millis(from: tokio::time::Instant) -> Value {
    json!({ "ms": from.elapsed().as_secs_f64() * 1000.0 })
}
