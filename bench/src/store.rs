//! A store of cores on disk: appends, gets, many cores.

use std::path::Path;

use hypercore::{Durability, Hypercore, Store};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::lines::Answer;

#[derive(Deserialize)]
pub(crate) struct Measure {
    /// An empty directory on the disk to measure.
    dir: String,
    /// How many blocks of 100 bytes to append one by one; ten times as many in batches of 100.
    blocks: u64,
    /// How many cores of one block to hold open.
    cores: u64,
}

const BLOCK: [u8; 100] = [7; 100];

fn rate(count: u64, from: Instant) -> f64 {
    count as f64 / from.elapsed().as_secs_f64()
}

/// Rates a second, milliseconds, bytes. `bench/js/ops/store.js` does the same; durable appends are here only: JavaScript has none.
pub(crate) async fn measure(Measure { dir, blocks, cores }: Measure) -> Answer {
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

    let many = store.create()?;
    let from = Instant::now();
    for _ in 0..blocks / 10 {
        many.append([BLOCK; 100])?;
    }
    store.flush().await?;
    let batch = rate(blocks * 10, from);
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
    drop(many);

    let mut open = Vec::new();
    for _ in 0..cores {
        let core = store.create()?;
        core.append([BLOCK])?;
        open.push(core);
    }
    store.flush().await?;
    let keys: Vec<_> = open.iter().map(Hypercore::key).collect();
    drop((open, store));
    let (from, before) = (Instant::now(), resident());
    let store = Store::open(&dir, Durability::Disk)?;
    let opened = from.elapsed().as_secs_f64() * 1000.0;
    let open: Vec<_> = keys.iter().map(|key| store.get(key)).collect::<Result<_, _>>()?;
    let memory = resident().saturating_sub(before) as f64 / open.len().max(1) as f64;
    Ok(
        json!({ "append": append, "durable": durable, "batch": batch, "get": get, "disk": disk, "open": opened, "memory": memory }),
    )
}

fn size(path: &Path) -> std::io::Result<u64> {
    std::fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// Resident memory in bytes, where the system tells (Linux).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
