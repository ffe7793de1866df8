//! A plain DHT node that does what `interop-tests/dht/node.js` does.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crypto::KeyPair;
use hyperdht::{AnnounceOptions, ConnectOptions, Connection, Dht, Server, ServerOptions};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::lines::{Answer, Failure, Lines, answer};
use crate::{hex, key, pool, start};

/// What a node is asked to do; see `interop-tests/dht/node.js`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Op {
    Start { bootstrap: String },
    Key { seed: String },
    MutablePut { seed: String, value: String, seq: u64 },
    MutableGet { key: String, seq: u64 },
    ImmutablePut { value: String },
    ImmutableGet { hash: String },
    Announce { topic: String, seed: String },
    Unannounce { topic: String, seed: String },
    Lookup { topic: String },
    Listen { seed: String },
    Unlisten { key: String },
    Echo { key: String, count: usize, size: usize },
    Suspend {},
    Resume {},
    Destroy {},
}

/// The same for what has a file of its own.
#[derive(Deserialize)]
#[serde(untagged)]
enum Request {
    Node(Op),
    Pool(pool::Op),
}

pub(crate) async fn run() -> Result<(), Failure> {
    let mut lines = Lines::new();
    let mut node = None;
    let mut servers = HashMap::new();
    let mut pooled = None;
    while let Some((id, request)) = lines.next::<Request>().await? {
        if let Request::Node(Op::Start { bootstrap }) = &request {
            node = Some(start(bootstrap).await?);
        }
        let done = match (request, &node) {
            (Request::Node(op), Some(dht)) => perform(op, dht, &mut servers).await,
            (Request::Pool(op), Some(dht)) => pool::perform(op, dht, &mut pooled).await,
            (_, None) => Err("not started".into()),
        };
        answer(id, done);
    }
    Ok(())
}

async fn perform(op: Op, dht: &Dht, servers: &mut HashMap<String, Arc<Server>>) -> Answer {
    let pair = |seed: &str| key(seed).map(|seed| KeyPair::from_seed(&seed));
    match op {
        Op::Start { .. } => {}
        Op::Key { seed } => return Ok(json!({ "key": hex(&pair(&seed)?.public_key) })),
        Op::MutablePut { seed, value, seq } => {
            let keys = pair(&seed)?;
            dht.mutable_put(&keys, value.as_bytes(), seq).await?;
            return Ok(json!({ "key": hex(&keys.public_key) }));
        }
        Op::MutableGet { key: public_key, seq } => {
            return Ok(match dht.mutable_get(&key(&public_key)?, seq, true).await {
                Some(found) => json!({ "seq": found.seq, "value": String::from_utf8(found.value)? }),
                None => json!({ "value": null }),
            });
        }
        Op::ImmutablePut { value } => {
            return Ok(json!({ "hash": hex(&dht.immutable_put(value.as_bytes()).await?) }));
        }
        Op::ImmutableGet { hash } => {
            let found = dht.immutable_get(key(&hash)?).await;
            return Ok(json!({ "value": found.map(|value| String::from_utf8(value.to_vec())).transpose()? }));
        }
        Op::Announce { topic, seed } => {
            dht.announce(key(&topic)?, &pair(&seed)?, &[], AnnounceOptions::default()).finish().await?;
        }
        Op::Unannounce { topic, seed } => dht.unannounce(key(&topic)?, &pair(&seed)?).await?,
        Op::Lookup { topic } => {
            let mut lookup = dht.lookup(key(&topic)?, Vec::new());
            let mut keys = BTreeSet::new();
            while let Some(found) = lookup.next().await {
                keys.extend(found.peers.iter().map(|peer| hex(&peer.public_key)));
            }
            return Ok(json!({ "keys": keys }));
        }
        Op::Listen { seed } => {
            let (server, public_key) = listen(dht, pair(&seed)?).await?;
            servers.insert(public_key.clone(), server.clone());
            tokio::spawn(async move {
                while let Some(connection) = server.accept().await {
                    tokio::spawn(send_back(connection));
                }
            });
            return Ok(json!({ "key": public_key }));
        }
        Op::Unlisten { key } => servers.remove(&key).ok_or("no such server")?.close().await,
        Op::Echo { key, count, size } => return echo(connect(dht, &key).await?, count, size).await,
        Op::Suspend {} => dht.suspend().await,
        Op::Resume {} => dht.resume().await?,
        Op::Destroy {} => dht.destroy().await,
    }
    Ok(json!({}))
}

/// A server under this key, and the key in hex.
pub(crate) async fn listen(dht: &Dht, keys: KeyPair) -> Result<(Arc<Server>, String), Failure> {
    let public_key = hex(&keys.public_key);
    let server = dht.create_server(ServerOptions::default());
    server.listen(keys).await?;
    Ok((Arc::new(server), public_key))
}

/// A connection to the peer with this key, by a peer with a new one.
pub(crate) async fn connect(dht: &Dht, remote: &str) -> Result<Connection, Failure> {
    let options = ConnectOptions { key_pair: Some(KeyPair::generate()), ..ConnectOptions::default() };
    // With JavaScript's name of the error, by which tests compare them.
    Ok(dht.connect(key(remote)?, options).await.map_err(|error| format!("{}: {error}", error.code()))?)
}

async fn send_back(mut connection: Connection) -> Result<(), Failure> {
    while let Some(message) = connection.recv().await? {
        connection.send(&message).await?;
    }
    connection.close().await?;
    Ok(())
}

/// Sends `count` messages of `size` bytes, waits until all came back, closes.
async fn echo(mut connection: Connection, count: usize, size: usize) -> Answer {
    let (mut sent, mut got) = (Sha256::new(), Sha256::new());
    for n in 0..count {
        let message = vec![n as u8; size];
        note(&mut sent, &message);
        connection.send(&message).await?;
    }
    for left in (0..count).rev() {
        let message = connection.recv().await?.ok_or_else(|| format!("closed with {} messages missing", left + 1))?;
        note(&mut got, &message);
    }
    connection.close().await?;
    Ok(json!({ "same": sent.finalize() == got.finalize() }))
}

/// Boundaries of messages count too.
fn note(hash: &mut Sha256, message: &[u8]) {
    hash.update(message.len().to_string());
    hash.update(message);
}
