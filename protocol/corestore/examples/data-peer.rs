//! A peer with a store of cores, driven by lines of JSON on standard input, one answer a line: `{"id":1,"op":"create","name":"a"}`.
//!
//! ```text
//! cargo run -p corestore --example data-peer            # a store in memory
//! cargo run -p corestore --example data-peer -- DIR     # a store in a directory
//! ```
//!
//! Operations: `listen` (TCP; tells the port), `connect` (`port`), `swarm` (`bootstrap`, `topic`), `cut` (ends all connections);
//! `create` (`name`) and `open` (`key`) of cores, with an `encryption` of their blocks or none: a `key` and a `rule`, which is `core` or
//! `block` of hypercore, or `keys`, one of our own with keys that change, as Autobase's do; `seek` (`key`, `bytes`); `append` (`key`, `count`, `size`, `tag`), `truncate` (`key`, `length`), `info`,
//! `wait` (`key`, `length`, `fork`), `get` (`index`, `timeout`), `download` and `digest` (`start`, `end`); `bee` (`key`, `ops`:
//! a batch of `["put", key, value]` and `["del", key]`) and `entries` (`key`) of the tree in a core; and, for benchmarks of a tree,
//! `plant` (`keys`, in their order), `load` (`count` of `keys`, with a `tail`, in batches of 100) and `read` (`count` of `keys`), of
//! which the last two tell how many `ms` they took.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use corestore::Corestore;
use crypto::KeyPair;
use hyperbee::{Hyperbee, Range};
use hypercore::replication::{DownloadRange, Replicated};
use hypercore::{BlockEncryption, Durability, Encryption, EncryptionMode, Error, Hash, Seek, Store};
use hyperswarm::{JoinOptions, Swarm, SwarmOptions};
use parking_lot::Mutex;
use protomux::{Mux, MuxOptions};
use secret_stream::{IoTransport, Options, SecretStream, Transport};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

struct Peer {
    store: Corestore,
    cores: Mutex<HashMap<Hash, Replicated>>,
    muxes: Mutex<Vec<Mux>>,
    swarm: Mutex<Option<Arc<Swarm>>>,
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn block(tag: &str, index: u64, size: usize) -> Vec<u8> {
    let mut block = format!("{tag} {index} ").into_bytes();
    block.resize(size.max(block.len()), b'x');
    block
}

/// The first of eight bytes before a block says which key it is under; with a key, index and these, each block has 32 bytes that it is
/// combined with again and again. It hides little, but all that a rule has to do is there.
struct Keys(Hash);

impl Keys {
    /// So many blocks are under one key.
    const BLOCKS: u64 = 64;

    fn apply(&self, index: u64, padding: &[u8], block: &mut [u8]) {
        let key = crypto::hash(&[&self.0, &padding[..1]]);
        let mask = crypto::hash(&[&key, padding, &index.to_le_bytes()]);
        block.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

impl Encryption for Keys {
    fn padding(&self) -> usize {
        8
    }

    fn encrypt(&self, index: u64, fork: u64, block: &[u8]) -> Result<Vec<u8>, Error> {
        let mut stored = [&[(index / Self::BLOCKS) as u8, fork as u8, 0, 0, 0, 0, 0, 0], block].concat();
        let (padding, body) = stored.split_at_mut(8);
        self.apply(index, padding, body);
        Ok(stored)
    }

    fn decrypt(&self, index: u64, stored: &[u8]) -> Result<Vec<u8>, Error> {
        let (padding, body) = stored.split_at_checked(8).ok_or(Error::InvalidBlock("it is too short"))?;
        let mut block = body.to_vec();
        self.apply(index, padding, &mut block);
        Ok(block)
    }
}

fn encryption(core_key: &Hash, request: &Value) -> Result<Option<Arc<dyn Encryption>>> {
    let wanted = &request["encryption"];
    if wanted.is_null() {
        return Ok(None);
    }
    let key = key(wanted)?;
    Ok(Some(match text(wanted, "rule")? {
        "core" => Arc::new(BlockEncryption::new(&key, core_key, EncryptionMode::Core)),
        "block" => Arc::new(BlockEncryption::new(&key, core_key, EncryptionMode::Block)),
        "keys" => Arc::new(Keys(key)),
        other => bail!("unknown rule {other}"),
    }))
}

impl Peer {
    fn replicate<T: Transport>(&self, stream: SecretStream<T>) {
        let mux = Mux::prepared(stream, MuxOptions::default(), |mux| self.store.replicate(mux));
        let mut muxes = self.muxes.lock();
        muxes.retain(|mux| !mux.is_closed());
        muxes.push(mux);
    }

    async fn attach(&self, stream: TcpStream, initiator: bool) -> Result<()> {
        stream.set_nodelay(true)?;
        let (transport, options) = (IoTransport::new(stream), Options::default());
        self.replicate(match initiator {
            true => SecretStream::connect(transport, KeyPair::generate(), options).await?,
            false => SecretStream::accept(transport, KeyPair::generate(), options).await?,
        });
        Ok(())
    }

    fn keep(&self, core: Replicated, request: &Value) -> Result<Value> {
        let key = core.core().key();
        let core = core.with_core(core.core().clone().with_encryption(encryption(&key, request)?));
        let answer = json!({ "key": hex(&key), "length": core.core().length() });
        self.cores.lock().insert(key, core);
        Ok(answer)
    }

    fn core(&self, request: &Value) -> Result<Replicated> {
        let core = self.cores.lock().get(&key(request)?).cloned();
        core.context("no such core is open")
    }

    async fn swarm(self: &Arc<Self>, request: &Value) -> Result<Value> {
        let mut options = SwarmOptions::default();
        options.dht_options.bootstrap = Some(vec![text(request, "bootstrap")?.parse()?]);
        options.dht_options.host = std::net::Ipv4Addr::LOCALHOST.into();
        let swarm = Arc::new(Swarm::new(options).await?);
        *self.swarm.lock() = Some(swarm.clone());
        let topic = crypto::hash(&[text(request, "topic")?.as_bytes()]);
        let peer = self.clone();
        let connections = swarm.clone();
        tokio::spawn(async move {
            while let Some((connection, _)) = connections.next_connection().await {
                peer.replicate(connection);
            }
        });
        swarm.join(topic, JoinOptions::default()).flushed().await?;
        Ok(json!({}))
    }

    async fn run(self: Arc<Self>, request: &Value) -> Result<Value> {
        let number = |name: &str| request[name].as_u64();
        let (start, end) = (number("start").unwrap_or(0), number("end"));
        Ok(match text(request, "op")? {
            "listen" => {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
                let port = listener.local_addr()?.port();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let peer = self.clone();
                        // A connection that fails is told to the other side by its end.
                        tokio::spawn(async move { peer.attach(stream, false).await.ok() });
                    }
                });
                json!({ "port": port })
            }
            "connect" => {
                let port = number("port").and_then(|port| port.try_into().ok()).context("a port")?;
                self.attach(TcpStream::connect(("127.0.0.1", port)).await?, true).await?;
                json!({})
            }
            "swarm" => self.swarm(request).await?,
            "cut" => {
                let muxes = std::mem::take(&mut *self.muxes.lock());
                muxes.iter().for_each(Mux::destroy);
                json!({ "connections": muxes.len() })
            }
            "create" => self.keep(self.store.open_named(text(request, "name")?.as_bytes())?, request)?,
            "open" => self.keep(self.store.open_key(&key(request)?)?, request)?,
            "append" => {
                let core = self.core(request)?;
                let size = usize::try_from(number("size").unwrap_or(100))?;
                let (count, tag) = (number("count").unwrap_or(1), text(request, "tag").unwrap_or("block"));
                let first = core.core().length();
                core.core().append((first..first + count).map(|index| block(tag, index, size)))?.durable().await?;
                json!({ "length": core.core().length() })
            }
            "truncate" => {
                let core = self.core(request)?;
                core.core().truncate(number("length").context("a length")?)?.durable().await?;
                json!({ "fork": core.core().fork() })
            }
            "info" => {
                let core = self.core(request)?;
                // Of one moment: another history may come between two looks, and with it other nodes.
                let now = core.core().snapshot();
                json!({
                    "length": now.length(),
                    "fork": now.fork(),
                    "contiguous": core.core().contiguous_length(),
                    "peers": core.peers(),
                    "treeHash": hex(&now.tree_hash(now.length())?),
                })
            }
            "wait" => {
                let core = self.core(request)?;
                let mut events = core.core().subscribe();
                let (length, fork) = (number("length").unwrap_or(0), number("fork").unwrap_or(0));
                while core.core().length() < length || core.core().fork() < fork {
                    events.next().await;
                }
                json!({ "length": core.core().length(), "fork": core.core().fork() })
            }
            "get" => {
                let core = self.core(request)?;
                let timeout = Duration::from_millis(number("timeout").unwrap_or(60_000));
                let block = core.get_within(number("index").context("an index")?, timeout).await?;
                json!({ "hash": block.map(|block| hex(&crypto::hash(&[&block]))) })
            }
            "seek" => {
                let core = self.core(request)?;
                match core.seek(number("bytes").context("bytes")?).await? {
                    Seek::Found { block, offset } => json!({ "block": block, "offset": offset }),
                    other => bail!("not found: {other:?}"),
                }
            }
            "download" => {
                let core = self.core(request)?;
                core.download(DownloadRange { start, end }).done().await;
                json!({})
            }
            "digest" => {
                let core = self.core(request)?;
                let blocks = (start..end.unwrap_or_else(|| core.core().length())).map(|index| core.core().get(index));
                let blocks: Vec<_> = blocks.collect::<Result<Option<Vec<_>>, _>>()?.context("a block is missing")?;
                let parts: Vec<&[u8]> = blocks.iter().map(|block| &block[..]).collect();
                json!({ "digest": hex(&crypto::hash(&parts)) })
            }
            "bee" => {
                let mut batch = Hyperbee::new(self.core(request)?).batch();
                for op in request["ops"].as_array().context("ops")? {
                    let key = op[1].as_str().context("a key")?;
                    match op[2].as_str() {
                        Some(value) => batch.put(key, Some(value)).await?,
                        None => batch.del(key).await?,
                    };
                }
                json!({ "version": batch.flush().await? })
            }
            "entries" => {
                let entries = Hyperbee::new(self.core(request)?).range(Range::default()).await?.collect().await?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let entries = entries.iter().map(|entry| (text(&entry.key), entry.value.as_deref().map(text)));
                json!({ "entries": entries.collect::<Vec<_>>() })
            }
            "plant" => {
                let bee = Hyperbee::new(self.core(request)?);
                let keys = number("keys").context("keys")?;
                for first in (0..keys).step_by(1000) {
                    let mut batch = bee.batch();
                    for index in first..keys.min(first + 1000) {
                        batch.put(plain_key(index), Some(format!("value {index}"))).await?;
                    }
                    batch.flush().await?;
                }
                self.store.store().flush().await?;
                json!({ "version": bee.version() })
            }
            "load" => {
                let bee = Hyperbee::new(self.core(request)?);
                let keys = number("keys").context("keys")?;
                let (count, tail) = (number("count").unwrap_or(keys), text(request, "tail").unwrap_or(""));
                let from = Instant::now();
                for first in (0..count).step_by(100) {
                    let mut batch = bee.batch();
                    for index in first..count.min(first + 100) {
                        let key = tree_key(index, keys) + tail;
                        batch.put(key, Some(format!("value {index}"))).await?;
                    }
                    batch.flush().await?;
                }
                self.store.store().flush().await?;
                json!({ "ms": from.elapsed().as_secs_f64() * 1000.0 })
            }
            "read" => {
                let bee = Hyperbee::new(self.core(request)?);
                let (keys, count) = (number("keys").context("keys")?, number("count").context("a count")?);
                let from = Instant::now();
                for n in 0..count {
                    bee.get(tree_key(n * 7919, keys)).await?.context("a key is missing")?;
                }
                json!({ "ms": from.elapsed().as_secs_f64() * 1000.0 })
            }
            other => bail!("unknown operation {other}"),
        })
    }
}

/// Keys of a benchmark, in order.
fn plain_key(index: u64) -> String {
    format!("key {index:08}")
}

/// The same in an order that jumps.
fn tree_key(index: u64, keys: u64) -> String {
    plain_key(index.wrapping_mul(2_654_435_761) % keys)
}

fn text<'a>(request: &'a Value, name: &str) -> Result<&'a str> {
    request[name].as_str().with_context(|| format!("{name} is missing"))
}

fn key(request: &Value) -> Result<Hash> {
    let bytes = data_encoding::HEXLOWER.decode(text(request, "key")?.as_bytes())?;
    Hash::try_from(&bytes[..]).context("a key has 32 bytes")
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let store = match std::env::args().nth(1) {
        Some(directory) => Store::open(directory, Durability::Disk)?,
        None => Store::memory(),
    };
    let (cores, muxes, swarm) = (Mutex::default(), Mutex::default(), Mutex::default());
    let peer = Arc::new(Peer { store: Corestore::new(store)?, cores, muxes, swarm });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let request: Value = serde_json::from_str(&line)?;
        let peer = peer.clone();
        tokio::spawn(async move {
            let mut answer = match peer.run(&request).await {
                Ok(answer) => answer,
                Err(error) => json!({ "error": format!("{error:#}") }),
            };
            answer["id"] = request["id"].clone();
            println!("{answer}");
        });
    }
    let swarm = peer.swarm.lock().take();
    if let Some(swarm) = swarm {
        swarm.destroy().await;
    }
    Ok(())
}
