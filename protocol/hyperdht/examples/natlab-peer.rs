//! One end of a connection in a NAT laboratory: a server that echoes, or a client that connects to it and tells how that went.
//!
//! ```text
//! natlab-peer server          prints `LISTENING <key>`, then a line for each connection
//! natlab-peer client <key>    prints `OK ...` or `FAIL <code> ...`
//! ```
//!
//! Environment: `BOOTSTRAP`, nodes as `host:port` with commas between; `SEED`, the server's key as 64 digits of hex; `RELAY`, keys
//! of blind relays with commas between; `LINGER`,
//! milliseconds that the client stays; `HOST`, the address to bind; `LOCAL=0` uses no addresses of local networks,
//! `FAST_OPEN=0` asks before it writes, `QUICK_FIREWALL=0` believes in a firewall without a test.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crypto::KeyPair;
use hyperdht::{BootstrapNode, ConnectError, ConnectOptions, Connection, Dht, DhtOptions, ServerOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let nodes = std::env::var("BOOTSTRAP")?;
    let bootstrap: std::result::Result<Vec<BootstrapNode>, _> = nodes.split(',').map(str::parse).collect();
    let host = std::env::var("HOST").map_or(Ok(IpAddr::from(Ipv4Addr::UNSPECIFIED)), |host| host.parse())?;
    let options = DhtOptions {
        bootstrap: Some(bootstrap?),
        host,
        quick_firewall: wanted("QUICK_FIREWALL"),
        ..DhtOptions::default()
    };
    let dht = Dht::new(options).await?;
    dht.bootstrapped().await;
    match args[..] {
        ["server"] => server(&dht).await,
        ["client", key] => client(&dht, unhex(key)?).await,
        _ => Err("a mode is needed: server, or client and a key".into()),
    }
}

/// Whether a variable does not say no.
fn wanted(name: &str) -> bool {
    std::env::var(name).map_or(true, |value| value != "0")
}

/// The keys of relays to meet at.
fn relays() -> Result<Vec<[u8; 32]>> {
    let keys = std::env::var("RELAY").unwrap_or_default();
    keys.split(',').filter(|key| !key.is_empty()).map(unhex).collect()
}

async fn server(dht: &Dht) -> Result<()> {
    let keys = match std::env::var("SEED") {
        Ok(seed) => KeyPair::from_seed(&unhex(&seed)?),
        Err(_) => KeyPair::generate(),
    };
    let server = dht.create_server(ServerOptions {
        share_local_address: wanted("LOCAL"),
        relay_through: relays()?.into(),
        ..ServerOptions::default()
    });
    let key: String = keys.public_key.iter().map(|byte| format!("{byte:02x}")).collect();
    server.listen(keys).await?;
    println!("LISTENING {key} firewalled={}", dht.rpc().firewalled());
    while let Some(connection) = server.accept().await {
        println!("CONNECTION from {} {:?}", remote(&connection), dht.punch_stats());
        tokio::spawn(echo(connection));
    }
    Ok(())
}

fn remote(connection: &Connection) -> String {
    connection.transport().remote_addr().map_or_else(|| "nowhere".into(), |addr| addr.to_string())
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

async fn client(dht: &Dht, key: [u8; 32]) -> Result<()> {
    let began = Instant::now();
    let ms = || began.elapsed().as_millis();
    let options = ConnectOptions {
        local_connection: wanted("LOCAL"),
        fast_open: wanted("FAST_OPEN"),
        relay_through: relays()?,
        ..ConnectOptions::default()
    };
    let outcome = async {
        let mut connection = dht.connect(key, options).await?;
        let opened = ms();
        connection.send(b"hello").await?;
        if connection.recv().await?.as_deref() != Some(&b"hello"[..]) {
            return Err(ConnectError::PeerConnectionFailed);
        }
        Ok((connection, opened))
    };
    match outcome.await {
        Ok((connection, opened)) => {
            let echoed = ms();
            if let Ok(linger) = std::env::var("LINGER") {
                tokio::time::sleep(Duration::from_millis(linger.parse()?)).await;
            }
            let (remote, stats) = (remote(&connection), dht.punch_stats());
            println!("OK open={opened}ms echo={echoed}ms remote={remote} punches={stats:?}");
            Ok(())
        }
        Err(error) => {
            println!("FAIL {} {}ms {error} punches={:?}", error.code(), ms(), dht.punch_stats());
            std::process::exit(1);
        }
    }
}

fn unhex(text: &str) -> Result<[u8; 32]> {
    let bytes = (0..text.len())
        .step_by(2)
        .map(|i| Ok(u8::from_str_radix(text.get(i..i + 2).ok_or("odd hex")?, 16)?))
        .collect::<Result<Vec<u8>>>()?;
    Ok(bytes.try_into().map_err(|_| "32 bytes of hex are needed")?)
}
