//! A peer for tests and measurements: it takes its mode from the command line and speaks lines of JSON.
//!
//! ```text
//! hyperdht-peer bootstrap [PORT]              a node that a network begins with
//! hyperdht-peer node BOOTSTRAP [COUNT]        persistent nodes
//! hyperdht-peer server BOOTSTRAP [SEED]       a server that echoes what it receives
//! hyperdht-peer client BOOTSTRAP              commands on standard input
//! ```
//!
//! `BOOTSTRAP` is `[{"host":"127.0.0.1","port":1}]`. The commands of a client, one object a line, and their answers:
//!
//! ```text
//! {"connect":"<key>","send":"text","times":1} {"ev":"echo","ms":1.5}   or {"ev":"error","code":"PEER_NOT_FOUND"}
//! {"findPeer":"<key>"}                        {"ev":"peers","nodes":3}
//! {"announce":"<topic>"}                      {"ev":"announced","nodes":9}
//! {"unannounce":"<topic>"}                    {"ev":"unannounced"}
//! {"lookup":"<topic>"}                        {"ev":"found","keys":["<key>"]}
//! {"immutablePut":"text"}                     {"ev":"stored","hash":"<hash>"}
//! {"immutableGet":"<hash>"}                   {"ev":"value","value":"text"}
//! {"mutablePut":"text","seq":1}               {"ev":"stored","key":"<key>"}
//! {"mutableGet":"<key>","seq":0}              {"ev":"value","value":"text","seq":1}
//! ```

use std::error::Error;
use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Instant;

use crypto::KeyPair;
use hyperdht::{AnnounceOptions, BootstrapNode, ConnectOptions, Connection, Dht, DhtOptions, ServerOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(env_filter()).init();
    let started = Instant::now();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |i: usize| args.get(i).map(String::as_str);
    match arg(0) {
        Some("bootstrap") => bootstrap(arg(1).unwrap_or("0").parse()?).await,
        Some("node") => node(options(arg(1))?, arg(2).unwrap_or("1").parse()?).await,
        Some("server") => server(options(arg(1))?, arg(2), started).await,
        Some("client") => client(options(arg(1))?, started).await,
        _ => Err("a mode is needed: bootstrap, node, server or client".into()),
    }
}

fn env_filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::from_default_env()
}

fn say(value: &Value) {
    println!("{value}");
    // Whoever reads has gone when this fails.
    let _ = std::io::stdout().flush();
}

fn options(bootstrap: Option<&str>) -> Result<DhtOptions> {
    let nodes: Vec<Value> = serde_json::from_str(bootstrap.ok_or("bootstrap nodes are needed")?)?;
    let parse = |node: &Value| -> Result<BootstrapNode> {
        let host = node["host"].as_str().ok_or("host")?;
        let port = node["port"].as_u64().ok_or("port")?;
        Ok(format!("{host}:{port}").parse()?)
    };
    let bootstrap = Some(nodes.iter().map(parse).collect::<Result<Vec<_>>>()?);
    Ok(DhtOptions { bootstrap, host: Ipv4Addr::LOCALHOST.into(), ..DhtOptions::default() })
}

async fn bootstrap(port: u16) -> Result<()> {
    let options = DhtOptions { host: Ipv4Addr::LOCALHOST.into(), ..DhtOptions::default() };
    let dht = Dht::bootstrapper(Ipv4Addr::LOCALHOST, port, options).await?;
    dht.bootstrapped().await;
    let addr = dht.local_addr().ok_or("not bound")?;
    say(&json!([{ "host": addr.ip().to_string(), "port": addr.port() }]));
    wait_for_end().await;
    dht.destroy().await;
    Ok(())
}

async fn node(options: DhtOptions, count: usize) -> Result<()> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        let options = DhtOptions { ephemeral: Some(false), firewalled: false, ..options.clone() };
        let dht = Dht::new(options).await?;
        dht.bootstrapped().await;
        nodes.push(dht);
    }
    let persistent = nodes.iter().filter(|dht| dht.rpc().id().is_some()).count();
    say(&json!({ "ev": "ready", "nodes": nodes.len(), "persistent": persistent }));
    wait_for_end().await;
    Ok(())
}

async fn wait_for_end() {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while matches!(lines.next_line().await, Ok(Some(_))) {}
}

async fn server(options: DhtOptions, seed: Option<&str>, started: Instant) -> Result<()> {
    let dht = Dht::new(options).await?;
    let server = dht.create_server(ServerOptions::default());
    let keys = match seed {
        Some(seed) => KeyPair::from_seed(&unhex(seed)?),
        None => KeyPair::generate(),
    };
    server.listen(keys.clone()).await?;
    let relays: Vec<Value> = server
        .relay_addresses()
        .iter()
        .map(|addr| json!({ "host": addr.ip().to_string(), "port": addr.port() }))
        .collect();
    say(&json!({ "key": hex(&keys.public_key), "relays": relays, "ms": ms(started) }));

    let accept = async {
        while let Some(connection) = server.accept().await {
            tokio::spawn(echo(connection));
        }
    };
    tokio::select! {
        () = accept => {}
        () = wait_for_end() => {}
    }
    server.close().await;
    dht.destroy().await;
    say(&json!({ "ev": "closed" }));
    Ok(())
}

async fn echo(mut connection: Connection) {
    while let Ok(Some(message)) = connection.recv().await {
        if connection.send(&message).await.is_err() {
            return;
        }
    }
    // The other side may be gone.
    let _ = connection.close().await;
}

async fn client(options: DhtOptions, started: Instant) -> Result<()> {
    let dht = Dht::new(options).await?;
    dht.bootstrapped().await;
    say(&json!({ "ev": "ready", "ms": ms(started), "firewalled": dht.rpc().firewalled() }));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command: Value = serde_json::from_str(&line)?;
        match run(&dht, &command).await {
            Ok(answer) => say(&answer),
            Err(error) => say(&json!({ "ev": "error", "message": error.to_string(), "code": code(&*error) })),
        }
    }
    dht.destroy().await;
    Ok(())
}

fn code(error: &(dyn Error + 'static)) -> Option<&'static str> {
    error.downcast_ref::<hyperdht::ConnectError>().map(hyperdht::ConnectError::code)
}

async fn run(dht: &Dht, command: &Value) -> Result<Value> {
    let began = Instant::now();
    let text = |name: &str| command[name].as_str();
    let keys = dht.key_pair();
    if let Some(key) = text("connect") {
        let message = text("send").unwrap_or("hello");
        let times = command["times"].as_u64().unwrap_or(1);
        for _ in 0..times {
            let mut connection = dht.connect(unhex(key)?, ConnectOptions::default()).await?;
            connection.send(message.as_bytes()).await?;
            let echoed = connection.recv().await?.ok_or("ended")?;
            if echoed != message.as_bytes() {
                return Err("another message came back".into());
            }
            connection.close().await?;
        }
        return Ok(json!({ "ev": "echo", "ms": ms(began) / times as f64 }));
    }
    if let Some(key) = text("findPeer") {
        return Ok(json!({ "ev": "peers", "nodes": dht.find_peer(&unhex(key)?).await.len(), "ms": ms(began) }));
    }
    if let Some(topic) = text("announce") {
        let options = AnnounceOptions { clear: true, ..AnnounceOptions::default() };
        let nodes = dht.announce(unhex(topic)?, keys, &[], options).finish().await?;
        return Ok(json!({ "ev": "announced", "nodes": nodes.len(), "key": hex(&keys.public_key), "ms": ms(began) }));
    }
    if let Some(topic) = text("unannounce") {
        dht.unannounce(unhex(topic)?, keys).await?;
        return Ok(json!({ "ev": "unannounced", "ms": ms(began) }));
    }
    if let Some(topic) = text("lookup") {
        let mut lookup = dht.lookup(unhex(topic)?, Vec::new());
        let mut found = std::collections::BTreeSet::new();
        while let Some(answer) = lookup.next().await {
            found.extend(answer.peers.iter().map(|peer| hex(&peer.public_key)));
        }
        return Ok(json!({ "ev": "found", "keys": found, "ms": ms(began) }));
    }
    if let Some(value) = text("immutablePut") {
        let hash = dht.immutable_put(value.as_bytes()).await?;
        return Ok(json!({ "ev": "stored", "hash": hex(&hash), "ms": ms(began) }));
    }
    if let Some(hash) = text("immutableGet") {
        let value = dht.immutable_get(unhex(hash)?).await;
        return Ok(json!({ "ev": "value", "value": value.map(|v| String::from_utf8_lossy(&v).into_owned()) }));
    }
    let seq = command["seq"].as_u64().unwrap_or(0);
    if let Some(value) = text("mutablePut") {
        dht.mutable_put(keys, value.as_bytes(), seq).await?;
        return Ok(json!({ "ev": "stored", "key": hex(&keys.public_key), "ms": ms(began) }));
    }
    if let Some(key) = text("mutableGet") {
        let found = dht.mutable_get(&unhex(key)?, seq, true).await;
        let value = found.as_ref().map(|found| String::from_utf8_lossy(&found.value).into_owned());
        return Ok(json!({ "ev": "value", "value": value, "seq": found.map(|found| found.seq), "ms": ms(began) }));
    }
    Err("unknown command".into())
}

fn ms(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e5).round() / 100.0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<[u8; 32]> {
    let bytes = (0..text.len())
        .step_by(2)
        .map(|i| Ok(u8::from_str_radix(text.get(i..i + 2).ok_or("odd hex")?, 16)?))
        .collect::<Result<Vec<u8>>>()?;
    Ok(bytes.try_into().map_err(|_| "32 bytes of hex are needed")?)
}
