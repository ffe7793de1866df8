//! The pool operations of a plain DHT node: what `interop-tests/dht/pool.js` does.

use std::sync::Arc;

use crypto::KeyPair;
use hyperdht::connection_pool::{ConnectionPool, PoolEvent};
use hyperdht::{ConnectOptions, Connection, Dht, Server, ServerOptions};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use crate::lines::{Answer, Failure};
use crate::{hex, key};

/// What a pool is asked to do; see `interop-tests/dht/pool.js`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Op {
    Pool {},
    PoolListen { seed: String },
    PoolConnect { seed: String, key: String },
    PoolOpened { count: u64 },
    Hold { seed: String, key: String },
    Ended { held: usize },
    PoolClose {},
}

/// A pool, its server, and connections that are in no pool.
pub(crate) struct Pooled {
    pool: ConnectionPool,
    /// Connections that the pool has told of.
    opened: Arc<watch::Sender<u64>>,
    server: Option<Server>,
    held: Vec<Connection>,
}

pub(crate) async fn perform(op: Op, dht: &Dht, pooled: &mut Option<Pooled>) -> Answer {
    if let Op::Pool {} = op {
        *pooled = Some(Pooled::new(dht));
        return Ok(json!({}));
    }
    let pooled = pooled.as_mut().ok_or("no pool")?;
    match op {
        Op::Pool {} => {}
        Op::PoolListen { seed } => {
            let keys = pair(&seed)?;
            let public_key = hex(&keys.public_key);
            let options = ServerOptions { pool: Some(pooled.pool.clone()), ..ServerOptions::default() };
            let server = dht.create_server(options);
            server.listen(keys).await?;
            pooled.server = Some(server);
            return Ok(json!({ "key": public_key }));
        }
        Op::PoolConnect { seed, key: remote } => {
            let (remote, options) = (key(&remote)?, options(&seed)?);
            let pool = &pooled.pool;
            let (one, other) = tokio::join!(pool.connect(remote, options.clone()), pool.connect(remote, options));
            let same = one?.handshake_hash() == other?.handshake_hash();
            return Ok(json!({ "same": same }));
        }
        Op::PoolOpened { count } => {
            let opened = *pooled.opened.subscribe().wait_for(|opened| *opened >= count).await?;
            return Ok(json!({ "opened": opened, "connections": pooled.pool.connections().len() }));
        }
        Op::Hold { seed, key: remote } => {
            pooled.held.push(dht.connect(key(&remote)?, options(&seed)?).await?);
            return Ok(json!({ "held": pooled.held.len() - 1 }));
        }
        Op::Ended { held } => {
            let connection = pooled.held.get_mut(held).ok_or("nothing of that number is held")?;
            while let Ok(Some(_)) = connection.recv().await {}
        }
        Op::PoolClose {} => {
            for mux in pooled.pool.connections() {
                mux.destroy();
            }
            pooled.held.clear();
            if let Some(server) = pooled.server.take() {
                server.close().await;
            }
        }
    }
    Ok(json!({}))
}

impl Pooled {
    fn new(dht: &Dht) -> Self {
        let pool = dht.pool();
        let opened = Arc::new(watch::Sender::new(0));
        let count = Arc::clone(&opened);
        pool.on_event(move |event| {
            if let PoolEvent::Connection(_) = event {
                count.send_modify(|opened| *opened += 1);
            }
        });
        Self { pool, opened, server: None, held: Vec::new() }
    }
}

fn pair(seed: &str) -> Result<KeyPair, Failure> {
    Ok(KeyPair::from_seed(&key(seed)?))
}

fn options(seed: &str) -> Result<ConnectOptions, Failure> {
    Ok(ConnectOptions { key_pair: Some(pair(seed)?), ..ConnectOptions::default() })
}
