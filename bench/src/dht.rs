//! What a DHT node does all day, as often as asked: see `bench/js/ops/dht.js`.

use crypto::KeyPair;
use hyperdht::AnnounceOptions;
use hyperdht::testnet::Testnet;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::lines::{Answer, Failure};
use crate::{Lab, millis, node};

#[derive(Deserialize)]
pub(crate) struct Nodes {
    nodes: usize,
}

/// A DHT in this process.
pub(crate) async fn testnet(Nodes { nodes }: Nodes, lab: &mut Lab) -> Answer {
    let testnet = lab.testnet.insert(Testnet::new(nodes).await?);
    Ok(json!({ "bootstrap": testnet.bootstrap.to_string() }))
}

#[derive(Deserialize)]
pub(crate) struct Many {
    bootstrap: String,
    #[serde(default)]
    key: String,
    count: usize,
    concurrency: usize,
}

/// `count` times `work`, `concurrency` of them at once: how long it took.
async fn timed<F>(count: usize, concurrency: usize, work: impl Fn() -> F) -> Answer
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let from = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..count {
        if running.len() >= concurrency {
            running.join_next().await.ok_or("nothing runs")???;
        }
        running.spawn(work());
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(millis(from))
}

/// Connects and lets go of the connection when it is open.
pub(crate) async fn handshakes(Many { bootstrap, key, count, concurrency }: Many, lab: &mut Lab) -> Answer {
    let dht = lab.node(&bootstrap).await?.clone();
    timed(count, concurrency, || {
        let (dht, key) = (dht.clone(), key.clone());
        async move {
            let mut connection = node::connect(&dht, &key).await?;
            connection.opened().await?;
            connection.destroy();
            Ok(())
        }
    })
    .await
}

/// Looks random topics up, to the end of each query.
pub(crate) async fn lookups(Many { bootstrap, count, concurrency, .. }: Many, lab: &mut Lab) -> Answer {
    let dht = lab.node(&bootstrap).await?.clone();
    timed(count, concurrency, || {
        let dht = dht.clone();
        async move {
            let mut lookup = dht.lookup(KeyPair::generate().public_key, Vec::new());
            while lookup.next().await.is_some() {}
            Ok(())
        }
    })
    .await
}

/// Announces itself under random topics.
pub(crate) async fn announces(Many { bootstrap, count, concurrency, .. }: Many, lab: &mut Lab) -> Answer {
    let dht = lab.node(&bootstrap).await?.clone();
    let keys = KeyPair::generate();
    timed(count, concurrency, || {
        let (dht, keys) = (dht.clone(), keys.clone());
        async move {
            dht.announce(KeyPair::generate().public_key, &keys, &[], AnnounceOptions::default()).finish().await?;
            Ok(())
        }
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct Hold {
    bootstrap: String,
    key: String,
    total: usize,
}

/// Holds connections that say nothing.
pub(crate) async fn hold(Hold { bootstrap, key, total }: Hold, lab: &mut Lab) -> Answer {
    let dht = lab.node(&bootstrap).await?.clone();
    let mut running = JoinSet::new();
    for _ in lab.held.len()..total {
        if running.len() >= 16 {
            lab.held.push(running.join_next().await.ok_or("nothing runs")???);
        }
        let (dht, key) = (dht.clone(), key.clone());
        running.spawn(async move {
            let mut connection = node::connect(&dht, &key).await?;
            connection.opened().await?;
            Ok::<_, Failure>(tokio::spawn(crate::swarm::hold(connection)))
        });
    }
    while let Some(held) = running.join_next().await {
        lab.held.push(held??);
    }
    Ok(json!({}))
}
