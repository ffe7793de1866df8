//! One end of a connection in a NAT laboratory that a swarm makes: a server that echoes, or a client that finds it by a topic and
//! tells how that went.
//!
//! ```text
//! natlab-swarm swarm-server          prints `LISTENING <topic>`
//! natlab-swarm swarm-client <topic>  prints `OK ...` or `FAIL <reason> ...`
//! ```
//!
//! Environment: `BOOTSTRAP`, nodes as `host:port` with commas between; `RELAY`, the key of a blind relay as 64 digits of hex.

use std::error::Error;
use std::time::{Duration, Instant};

use hyperdht::{BootstrapNode, Connection, DhtOptions};
use hyperswarm::{JoinOptions, RelayThrough, Swarm, SwarmOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long a client has.
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let nodes = std::env::var("BOOTSTRAP")?;
    let bootstrap: std::result::Result<Vec<BootstrapNode>, _> = nodes.split(',').map(str::parse).collect();
    let relay = std::env::var("RELAY").ok().map(|key| unhex(&key)).transpose()?;
    let options = SwarmOptions {
        dht_options: DhtOptions { bootstrap: Some(bootstrap?), ..DhtOptions::default() },
        relay_through: relay.map(|key| RelayThrough::Keys(vec![key])),
        ..SwarmOptions::default()
    };
    let swarm = Swarm::new(options).await?;
    swarm.dht().bootstrapped().await;
    match args[..] {
        ["swarm-server"] => server(&swarm).await,
        ["swarm-client", topic] => client(&swarm, unhex(topic)?).await,
        _ => Err("a mode is needed: swarm-server, or swarm-client and a topic".into()),
    }
}

async fn server(swarm: &Swarm) -> Result<()> {
    let topic = swarm.key_pair().public_key;
    let joined = swarm.join(topic, JoinOptions { client: false, ..JoinOptions::default() });
    joined.flushed().await?;
    let hex: String = topic.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("LISTENING {hex} randomized={}", swarm.dht().rpc().randomized());
    while let Some((connection, _)) = swarm.next_connection().await {
        println!("CONNECTION {:?} {:?}", swarm.dht().relay_stats(), swarm.dht().punch_stats());
        tokio::spawn(echo(connection));
    }
    Ok(())
}

async fn echo(mut connection: Connection) {
    while let Ok(Some(message)) = connection.recv().await {
        if connection.send(&message).await.is_err() {
            return;
        }
    }
}

async fn client(swarm: &Swarm, topic: [u8; 32]) -> Result<()> {
    let began = Instant::now();
    let ms = || began.elapsed().as_millis();
    swarm.join(topic, JoinOptions { server: false, ..JoinOptions::default() });
    let talk = async {
        let (mut connection, _) = swarm.next_connection().await.ok_or("ended")?;
        let opened = ms();
        connection.send(b"hello").await?;
        let echo = connection.recv().await?;
        let remote = connection.transport().remote_addr();
        if echo.as_deref() == Some(&b"hello"[..]) {
            Ok((opened, remote))
        } else {
            Err::<_, Box<dyn Error>>("no echo".into())
        }
    };
    let outcome = tokio::time::timeout(TIMEOUT, talk).await;
    let stats = (swarm.stats().client_attempted, swarm.dht().relay_stats());
    match outcome {
        Ok(Ok((opened, remote))) => {
            println!("OK open={opened}ms echo={}ms remote={remote:?} {stats:?}", ms());
            Ok(())
        }
        failed => {
            println!("FAIL SWARM {}ms {failed:?} {stats:?}", ms());
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
