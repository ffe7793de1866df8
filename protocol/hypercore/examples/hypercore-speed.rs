//! How fast a store is: appends, gets, many cores, bytes on disk, a proof.
//!
//! ```text
//! cargo run --release -p hypercore --example hypercore-speed [DIRECTORY [answers]]
//! ```

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use hypercore::{Durability, Hypercore, NodeRequest, Request, Store, UpgradeRequest};

type Failure = Box<dyn std::error::Error>;

fn rate(what: &str, count: u64, from: Instant) {
    println!("{what}: {:.0}/s", count as f64 / from.elapsed().as_secs_f64());
}

fn size(path: &Path) -> std::io::Result<u64> {
    let sizes = std::fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len()));
    sizes.sum()
}

/// Resident memory in kB, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn append(core: &Hypercore, count: u64, batch: u64) -> Result<(), Failure> {
    let blocks = vec![[7; 100]; batch as usize];
    for _ in 0..count / batch {
        core.append(&blocks)?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let folder = match std::env::args().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let store = Store::open(folder.path(), Durability::Disk)?;
    if std::env::args().nth(2).as_deref() == Some("answers") {
        return beside_a_writer(&store);
    }

    let one = store.create()?;
    let from = Instant::now();
    append(&one, 100_000, 1)?;
    rate("append 100 B one by one, not awaited", 100_000, from);
    one.append([[7; 100]])?.durable().await?;
    rate("the same, durable at the end", 100_000, from);

    let from = Instant::now();
    for _ in 0..300 {
        one.append([[7; 100]])?.durable().await?;
    }
    rate("append 100 B one by one, each durable before the next", 300, from);

    let many = store.create()?;
    let from = Instant::now();
    append(&many, 1_000_000, 100)?;
    rate("append 100 B in batches of 100", 1_000_000, from);
    store.flush().await?;
    rate("the same, durable at the end", 1_000_000, from);
    let from = Instant::now();
    for _ in 0..300 {
        many.append([[7; 100]; 100])?.durable().await?;
    }
    rate("append 100 B in batches of 100, each durable before the next", 30_000, from);
    let bytes = many.byte_length() + one.byte_length();

    let (key, length) = (many.key(), many.length());
    drop((one, many, store));
    println!("disk: {:.2} bytes for each byte of 100 B blocks", size(folder.path())? as f64 / bytes as f64);
    let from = Instant::now();
    let store = Store::open(folder.path(), Durability::Disk)?;
    println!("open a store of 1.1 million blocks: {:.1} ms", from.elapsed().as_secs_f64() * 1e3);
    let many = store.get(&key)?;
    let mut random = 12345_u64;
    let from = Instant::now();
    for _ in 0..200_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        black_box(many.get((random >> 20) % length)?.ok_or("a block is missing")?);
    }
    rate("random get", 200_000, from);
    drop(many);

    let from = Instant::now();
    let before = resident();
    let mut cores = Vec::new();
    for _ in 0..10_000 {
        let core = store.create()?;
        core.append([[7; 100]])?;
        cores.push(core);
    }
    store.flush().await?;
    rate("make a core with one block", 10_000, from);
    println!("memory: {:.2} kB for each of 10,000 open cores", (resident() - before) as f64 / 10_000.0);
    let keys: Vec<_> = cores.iter().map(Hypercore::key).collect();
    drop((cores, store));
    let from = Instant::now();
    let store = Store::open(folder.path(), Durability::Disk)?;
    println!("open the store of 10,000 cores: {:.1} ms", from.elapsed().as_secs_f64() * 1e3);
    let cores: Vec<_> = keys.iter().map(|key| store.get(key)).collect::<Result<_, _>>()?;
    println!("open all of them: {:.0} ms", from.elapsed().as_secs_f64() * 1e3);
    drop(cores);

    let large = store.create()?;
    let block = vec![7; 65536];
    let from = Instant::now();
    for _ in 0..4000 {
        large.append([&block])?;
    }
    store.flush().await?;
    println!("append 64 kB: {:.0} MB/s", 4000.0 * 0.065536 / from.elapsed().as_secs_f64());

    beside_a_writer(&store)?;
    proofs().await
}

/// How long answers take while another core of the store is written.
fn beside_a_writer(store: &Store) -> Result<(), Failure> {
    use futures_util::FutureExt;
    let (read, written) = (store.create()?, store.create()?);
    append(&read, 1 << 16, 256)?;
    let blocks = vec![vec![7; 65536]; 16];
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut times = Vec::new();
    std::thread::scope(|scope| -> Result<(), Failure> {
        let writer = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                written.append(&blocks)?;
            }
            Ok::<_, hypercore::Error>(())
        });
        let began = Instant::now();
        while began.elapsed().as_secs() < 2 {
            let index = times.len() as u64 * 7919 % read.length();
            let request = Request { block: Some(NodeRequest { index, nodes: 0 }), ..Request::default() };
            let from = Instant::now();
            // Whether it is on disk is not waited for.
            let _ = black_box(read.proof(&request).now_or_never());
            times.push(from.elapsed().as_secs_f64() * 1e3);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(writer.join().map_err(|_| "the writer failed")??)
    })?;
    times.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "answers beside a writer of 1 MiB batches: {:.0}/s, p50 {:.3} ms, p99 {:.3} ms, slowest {:.1} ms",
        times.len() as f64 / 2.0,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

/// What it costs to verify an upgrade, and a block in it, beside the hashes and the signature alone.
async fn proofs() -> Result<(), Failure> {
    let core = Store::memory().create()?;
    append(&core, 1 << 16, 256)?;
    let length = core.length();
    let request = Request {
        block: Some(NodeRequest { index: 12345, nodes: 0 }),
        upgrade: Some(UpgradeRequest { start: 0, length }),
        manifest: true,
        ..Request::default()
    };
    let proof = core.proof(&request).await?;
    let copies: Vec<_> = (0..2000).map(|_| Store::memory().get(&core.key())).collect::<Result<_, _>>()?;
    let from = Instant::now();
    for copy in &copies {
        copy.verify(&proof)?;
    }
    println!("verify a block and an upgrade: {:.1} us", from.elapsed().as_secs_f64() * 1e6 / 2000.0);
    let nodes = proof.block.as_ref().map_or(0, |block| block.nodes.len());
    let signature = core.key_pair().ok_or("no key")?.sign(b"text");
    let public_key = core.key_pair().ok_or("no key")?.public_key;
    let from = Instant::now();
    for _ in 0..2000 {
        for _ in 0..nodes {
            black_box(crypto::hash(&[&[1], &[0; 8], black_box(&[1; 32]), &[2; 32]]));
        }
        black_box(crypto::verify(&public_key, b"text", &signature));
    }
    let floor = from.elapsed().as_secs_f64() * 1e6 / 2000.0;
    println!("its {nodes} hashes and one signature alone: {floor:.1} us");
    Ok(())
}
