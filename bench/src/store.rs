//! A store of cores on disk: appends, gets, many cores.

use std::hint::black_box;
use std::path::Path;

use hypercore::{Durability, NodeRequest, Request, Store, UpgradeRequest};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::lines::Answer;
use crate::{hex, key};

#[derive(Deserialize)]
pub(crate) struct Measure {
    /// An empty directory on the disk to measure.
    dir: String,
    /// How many blocks of 100 bytes to append one by one; ten times as many in batches of 100.
    blocks: u64,
}

#[derive(Deserialize)]
pub(crate) struct Many {
    dir: String,
    /// How many cores of one block.
    cores: u64,
}

#[derive(Deserialize)]
pub(crate) struct Hold {
    dir: String,
    /// Which cores, in hex.
    keys: Vec<String>,
}

const BLOCK: [u8; 100] = [7; 100];

fn rate(count: u64, from: Instant) -> f64 {
    count as f64 / from.elapsed().as_secs_f64()
}

/// Rates a second, milliseconds, bytes. `bench/js/ops/store.js` does the same.
///
/// What is not durable is written to a file, as by JavaScript: the operating system has it when `append` returns. Durable is after
/// `fdatasync`; JavaScript has no such append, and writes a table of its database there.
pub(crate) async fn measure(Measure { dir, blocks }: Measure) -> Answer {
    let store = Store::open(&dir, Durability::Disk)?;
    let one = store.create()?;
    let from = Instant::now();
    for _ in 0..blocks {
        one.append([BLOCK])?;
    }
    store.flush().await?;
    let append = rate(blocks, from);
    let from = Instant::now();
    let durable = (blocks / 100).max(1);
    for _ in 0..durable {
        one.append([BLOCK])?.durable().await?;
    }
    let durable = rate(durable, from);
    let from = Instant::now();
    for _ in 0..blocks {
        one.append([BLOCK])?;
        one.head();
    }
    let signed = rate(blocks, from);

    let many = store.create()?;
    let from = Instant::now();
    for _ in 0..blocks / 10 {
        many.append([BLOCK; 100])?;
    }
    store.flush().await?;
    let batch = rate(blocks * 10, from);
    let from = Instant::now();
    for _ in 0..100 {
        many.append([BLOCK; 100])?.durable().await?;
    }
    let durable_batch = rate(10_000, from);
    let (key, length, bytes) = (many.key(), many.length(), many.byte_length() + one.byte_length());
    drop((one, many, store));
    let disk = size(Path::new(&dir))? as f64 / bytes as f64;

    let store = Store::open(&dir, Durability::Disk)?;
    let many = store.get(&key)?;
    let (mut random, from) = (12345_u64, Instant::now());
    for _ in 0..blocks {
        random = (random * 1_103_515_245 + 12345) % (1 << 31);
        many.get(random % length)?.ok_or("a block is missing")?;
    }
    let get = rate(blocks, from);
    Ok(json!({
        "append": append, "durable": durable, "signed": signed, "batch": batch, "durableBatch": durable_batch,
        "get": get, "disk": disk,
    }))
}

/// Makes a store of many cores.
pub(crate) async fn fill(Many { dir, cores }: Many) -> Answer {
    let store = Store::open(&dir, Durability::Disk)?;
    let mut keys = Vec::new();
    for _ in 0..cores {
        let core = store.create()?;
        core.append([BLOCK])?;
        keys.push(hex(&core.key()));
    }
    store.flush().await?;
    Ok(json!({ "keys": keys }))
}

/// Opens a store, in a process that did nothing else, and holds these cores of it open.
pub(crate) fn hold(Hold { dir, keys }: Hold) -> Answer {
    let keys: Vec<_> = keys.iter().map(|hex| key(hex)).collect::<Result<_, _>>()?;
    let (from, before) = (Instant::now(), resident());
    let store = Store::open(&dir, Durability::Disk)?;
    let opened = from.elapsed().as_secs_f64() * 1000.0;
    let open: Vec<_> = keys.iter().map(|key| store.get(key)).collect::<Result<_, _>>()?;
    let memory = resident().saturating_sub(before) as f64 / open.len().max(1) as f64;
    Ok(json!({ "open": opened, "memory": memory }))
}

/// Microseconds for the check of a block with an upgrade of a core of 100,000 blocks, and for its hashes and signature alone.
pub(crate) async fn proof() -> Answer {
    const COUNT: u64 = 2000;
    let core = Store::memory().create()?;
    core.append(vec![BLOCK; 100_000])?;
    let request = Request {
        block: Some(NodeRequest { index: 12_345, nodes: 0 }),
        upgrade: Some(UpgradeRequest { start: 0, length: core.length() }),
        manifest: true,
        ..Request::default()
    };
    let proof = core.proof(&request).await?;
    let copies: Vec<_> = (0..COUNT).map(|_| Store::memory().get(&core.key())).collect::<Result<_, _>>()?;
    let from = Instant::now();
    for copy in &copies {
        copy.verify(&proof)?;
    }
    let micros = |from: Instant| from.elapsed().as_secs_f64() * 1e6 / COUNT as f64;
    let verify = micros(from);
    let keys = core.key_pair().ok_or("the core has no key pair")?;
    let signature = keys.sign(&BLOCK);
    let hashes = proof.block.as_ref().map_or(0, |block| block.nodes.len());
    let from = Instant::now();
    for _ in 0..COUNT {
        for _ in 0..hashes {
            black_box(crypto::hash(&[&[1], &[0; 8], black_box(&[1; 32]), &[2; 32]]));
        }
        black_box(crypto::verify(&keys.public_key, &BLOCK, &signature));
    }
    Ok(json!({ "verify": verify, "floor": micros(from), "hashes": hashes }))
}

/// What the files in a folder take of the disk: the B-tree's file is longer than that, with holes.
fn size(path: &Path) -> std::io::Result<u64> {
    #[cfg(unix)]
    let taken = |file: std::fs::Metadata| 512 * std::os::unix::fs::MetadataExt::blocks(&file);
    #[cfg(not(unix))]
    let taken = |file: std::fs::Metadata| file.len();
    std::fs::read_dir(path)?.map(|entry| Ok(taken(entry?.metadata()?))).sum()
}

/// Resident memory in bytes, where the system tells (Linux).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
