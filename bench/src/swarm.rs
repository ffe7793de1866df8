//! Swarms: listening, and finding each other by topic.

use hyperdht::Connection;
use hyperswarm::{JoinOptions, SwarmOptions};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::lines::{Answer, Failure};
use crate::{Lab, key, millis, options};

/// A swarm on HyperDHT.
pub(crate) type Swarm = hyperswarm::Swarm;

#[derive(Deserialize)]
pub(crate) struct Join {
    bootstrap: String,
    topic: Option<String>,
}

/// A swarm that is kept; see [`listening`].
pub(crate) async fn swarm(Join { bootstrap, topic }: Join, lab: &mut Lab) -> Answer {
    lab.swarms.push(listening(&bootstrap, topic.as_deref()).await?);
    Ok(json!({}))
}

/// A swarm that listens and, if there is a topic, has announced itself under it.
pub(crate) async fn listening(bootstrap: &str, topic: Option<&str>) -> Result<Swarm, Failure> {
    let swarm = new(bootstrap).await?;
    swarm.listen().await?;
    if let Some(topic) = topic {
        swarm.join(key(topic)?, JoinOptions::default()).flushed().await?;
    }
    // Who connects is kept, and not spoken to.
    let incoming = swarm.clone();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some((connection, _)) = incoming.next_connection().await {
            kept.push(tokio::spawn(hold(connection)));
        }
    });
    Ok(swarm)
}

/// From joining a topic to the first connection, by a new swarm.
pub(crate) async fn join(Join { bootstrap, topic }: Join) -> Answer {
    let swarm = new(&bootstrap).await?;
    let topic = key(&topic.ok_or("no topic")?)?;
    let from = Instant::now();
    swarm.join(topic, JoinOptions { server: false, client: true, limit: None });
    let (connection, _) = swarm.next_connection().await.ok_or("destroyed")?;
    let time = millis(from);
    drop(connection);
    swarm.destroy().await;
    Ok(time)
}

async fn new(bootstrap: &str) -> Result<Swarm, Failure> {
    let swarm = Swarm::new(SwarmOptions { dht_options: options(bootstrap)?, ..SwarmOptions::default() }).await?;
    swarm.dht().bootstrapped().await;
    Ok(swarm)
}

pub(crate) async fn hold(mut connection: Connection) {
    while let Ok(Some(_)) = connection.recv().await {}
}
