//! Random operations, against the digests of what JavaScript appended for them (`interop-tests/data/bee-digests.js`), and against a
//! map.
//!
//! `BEE_SEEDS=200 cargo test -p hyperbee --test random` checks all that was recorded; the default are a few of each size.

use std::collections::BTreeMap;

use hyperbee::{DiffEntry, HistoryOptions, Hyperbee, MemoryLog, Options, Range};
use testing::{Mulberry, vector_json};

/// How many seeds without `BEE_SEEDS`.
const SEEDS: usize = 20;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a run does: as `bee-digests.js`.
#[derive(Clone, Copy)]
struct Kind {
    /// Whether many operations change nothing.
    refusing: bool,
    operations: u64,
}

/// The tree after the operations of `seed`, what must be in it, and what was in it at some versions.
async fn run(seed: u32, kind: Kind) -> (Hyperbee<MemoryLog>, Model, Vec<(u64, Model)>) {
    let Kind { refusing, operations } = kind;
    let options = Options { always_duplicate: !refusing || seed.is_multiple_of(2), ..Options::default() };
    let (longest, deleted, values) = if refusing { (6.0, 0.15, 2.0) } else { (60.0, 0.4, 1e6) };
    let bee = Hyperbee::with_options(MemoryLog::new(), options);
    let mut model = Model::new();
    let mut versions = Vec::new();
    let mut random = Mulberry(seed);
    let keys = 20.0 * 4f64.powi((seed % 5) as i32);
    let mut done = 0;
    while done < operations {
        let single = random.fraction() < 0.2;
        let count = if single { 1 } else { 1 + random.below(longest) }.min(operations - done);
        let mut batch = bee.batch();
        for _ in 0..count {
            let key = format!("k{}", random.below(keys));
            let refused = refusing && random.fraction() < 0.3;
            if refusing && random.fraction() < 0.1 {
                let entry = batch.get(&key).await.expect("get");
                let value = entry.map(|entry| entry.value.expect("value").to_vec());
                assert_eq!(value.as_ref(), model.get(key.as_bytes()));
            }
            let was_there = model.contains_key(key.as_bytes());
            if random.fraction() < deleted {
                let gone = batch.del_cas(&key, |_, _| !refused).await.expect("del");
                assert_eq!(gone, was_there && !refused);
                if gone {
                    model.remove(key.as_bytes());
                }
            } else {
                let value = format!("v{}", random.below(values));
                batch.put_cas(&key, Some(&value), |_, _| !refused).await.expect("put");
                if !was_there || !refused {
                    model.insert(key.into(), value.into());
                }
            }
        }
        let version = batch.flush().await.expect("flush");
        done += count;
        if done % 7 == 0 {
            versions.push((version, model.clone()));
        }
    }
    (bee, model, versions)
}

async fn entries(bee: &Hyperbee<MemoryLog>, range: Range) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = bee.range(range).await.expect("range").collect().await.expect("entries");
    entries.into_iter().map(|entry| (entry.key.to_vec(), entry.value.expect("value").to_vec())).collect()
}

/// Checks the trees of all seeds against the digests that are recorded as `list`.
async fn check(list: &str, refusing: bool, operations: &str) {
    let file = vector_json("data/bee-digests.json");
    let digests = file[list].as_array().expect("digests");
    let operations = file[operations].as_u64().expect("operations");
    let seeds = std::env::var("BEE_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
    assert!(seeds > 0 && digests.len() >= seeds);
    for (seed, digest) in (1..).zip(digests).take(seeds) {
        let (bee, model, _) = run(seed, Kind { refusing, operations }).await;
        let hashes: Vec<[u8; 32]> = bee.log().blocks().iter().map(|block| crypto::hash(&[block])).collect();
        let parts: Vec<&[u8]> = hashes.iter().map(|hash| &hash[..]).collect();
        assert_eq!(testing::hex(&crypto::hash(&parts)), digest.as_str().expect("hex"), "seed {seed}");
        // A tree that knows nothing but the blocks.
        let fresh = Hyperbee::new(bee.log().clone());
        assert_eq!(entries(&fresh, Range::default()).await, model.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
}

#[tokio::test]
async fn vector_random_operations() {
    check("digests", false, "operations").await;
}

#[tokio::test]
async fn vector_random_operations_that_may_change_nothing() {
    check("refusing", true, "refusingOperations").await;
}

#[tokio::test]
async fn vector_a_refused_change_has_the_nodes_that_it_passed_written() {
    let last = |refused: bool| async move {
        let bee = Hyperbee::new(MemoryLog::new());
        let mut batch = bee.batch();
        for index in 0..400 {
            batch.put(format!("{index:04}"), Some("v")).await.expect("put");
        }
        batch.flush().await.expect("flush");
        let mut batch = bee.batch();
        if refused {
            assert!(!batch.put_cas("0003", Some("x"), |_, _| false).await.expect("put"));
        }
        batch.put("0390", Some("y")).await.expect("put");
        batch.flush().await.expect("flush");
        testing::hex(bee.log().blocks().last().expect("a block"))
    };
    let file = vector_json("data/bee-digests.json");
    assert_eq!(last(false).await, file["lastBlock"]["alone"].as_str().expect("hex"));
    assert_eq!(last(true).await, file["lastBlock"]["behindRefused"].as_str().expect("hex"));
}

#[tokio::test]
async fn ranges_versions_and_differences_are_those_of_a_map() {
    for seed in 1..=10 {
        let (bee, model, versions) = run(seed, Kind { refusing: false, operations: 1500 }).await;
        let mut random = Mulberry(seed);
        for _ in 0..40 {
            let bound = |random: &mut Mulberry| format!("k{}", random.below(400.0)).into_bytes();
            let (low, high) = (bound(&mut random), bound(&mut random));
            let (from, to) = (random.fraction() < 0.5, random.fraction() < 0.5);
            let mut expected: Vec<_> = model
                .iter()
                .filter(|(key, _)| if from { **key >= low } else { **key > low })
                .filter(|(key, _)| if to { **key <= high } else { **key < high })
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let range = if from { Range::default().gte(&low) } else { Range::default().gt(&low) };
            let range = if to { range.lte(&high) } else { range.lt(&high) };
            assert_eq!(entries(&bee, range.clone()).await, expected, "seed {seed} {range:?}");
            expected.reverse();
            expected.truncate(5);
            assert_eq!(
                entries(&bee, range.clone().reverse().limit(5)).await,
                expected,
                "seed {seed} {range:?} reversed"
            );
        }
        for (version, then) in versions.iter().take(20) {
            let old = bee.checkout(*version);
            assert_eq!(entries(&old, Range::default()).await, then.clone().into_iter().collect::<Vec<_>>());
            let diff = bee.diff(*version, Range::default()).await.expect("diff").collect().await.expect("entries");
            let mut from_diff = then.clone();
            for DiffEntry { left, right } in diff {
                if let Some(right) = &right {
                    let was = from_diff.remove(&right.key[..]);
                    assert_eq!(was.as_deref(), right.value.as_deref());
                }
                if let Some(left) = left {
                    assert!(right.is_none_or(|right| right.key == left.key && right.seq != left.seq));
                    from_diff.insert(left.key.to_vec(), left.value.expect("value").to_vec());
                }
            }
            assert_eq!(from_diff, model, "seed {seed}, version {version}");
        }
        let mut replayed = Model::new();
        for change in bee.history(HistoryOptions::default()).await.expect("history").collect().await.expect("changes") {
            let key = change.entry.key.to_vec();
            if change.is_deletion {
                replayed.remove(&key);
            } else {
                replayed.insert(key, change.entry.value.expect("value").to_vec());
            }
        }
        assert_eq!(replayed, model);
    }
}

#[tokio::test]
async fn compare_and_swap_subs_watch_and_truncation() {
    let bee = Hyperbee::new(MemoryLog::new());
    assert!(bee.put("a", "1").await.expect("put"));
    assert!(!bee.put_cas("a", "2", |was, _| was.value.as_deref() == Some(b"9")).await.expect("put"));
    assert!(bee.put_cas("a", "2", |was, new| was.seq == 1 && new.seq == 2).await.expect("put"));
    assert!(!bee.del_cas("a", |was, _| was.value.as_deref() == Some(b"1")).await.expect("del"));
    let sub = bee.sub("s");
    sub.put("x", "in the sub").await.expect("put");
    assert_eq!(bee.get("s\0x").await.expect("get").expect("entry").value.as_deref(), Some(&b"in the sub"[..]));
    assert_eq!(entries(&sub, Range::default()).await, [(b"x".to_vec(), b"in the sub".to_vec())]);

    let mut watcher = sub.watch(Range::default());
    bee.put("elsewhere", "1").await.expect("put");
    sub.put("x", "changed").await.expect("put");
    let (now, before) = watcher.next().await.expect("next");
    let value = async |bee: &Hyperbee<MemoryLog>| bee.get("x").await.expect("get").expect("entry").value;
    assert_eq!((value(&now).await, value(&before).await), (Some("changed".into()), Some("in the sub".into())));

    let snapshot = bee.snapshot();
    let stale = {
        let mut batch = bee.batch();
        batch.put("lost", Some("1")).await.expect("put");
        batch
    };
    bee.log().truncate(2);
    assert!(matches!(stale.flush().await, Err(hyperbee::Error::Changed)));
    assert_eq!(bee.get("a").await.expect("get").expect("entry").value.as_deref(), Some(&b"1"[..]));
    assert!(bee.get("elsewhere").await.expect("get").is_none());
    assert!(snapshot.get("elsewhere").await.expect("get").is_some());
    assert!(matches!(snapshot.put("a", "3").await, Err(hyperbee::Error::NotWritable)));
}

#[tokio::test]
async fn hostile_blocks_are_refused() {
    let bee = Hyperbee::new(MemoryLog::new());
    for index in 0..50 {
        bee.put(format!("k{index}"), "v").await.expect("put");
    }
    let blocks = bee.log().blocks();
    let mut refused = 0;
    for at in 1..blocks.len() {
        for cut in [0, 1, blocks[at].len() / 2, blocks[at].len() - 1] {
            let log = MemoryLog::new();
            let mut altered = blocks.clone();
            altered[at] = altered[at].slice(..cut);
            hyperbee::Log::append(&log, altered).await.expect("append");
            refused +=
                usize::from(Hyperbee::new(log).range(Range::default()).await.expect("range").collect().await.is_err());
        }
    }
    assert!(refused > 50, "{refused}");
    // A root that is its own child.
    let log = MemoryLog::new();
    let endless = b"\x0a\x0b\x0a\x09\x0a\x01\x01\x12\x04\x01\x00\x01\x00\x12\x01k".to_vec();
    hyperbee::Log::append(&log, vec![blocks[0].clone(), endless.into()]).await.expect("append");
    assert!(Hyperbee::new(log).get("a").await.is_err());
}
