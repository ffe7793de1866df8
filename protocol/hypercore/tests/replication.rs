//! Cores replicated between peers of one process.

mod common;

use std::time::Duration;

use common::connect;
use futures_util::FutureExt;
use hypercore::replication::{DownloadRange, Replicated, Replication};
use hypercore::{BlockEncryption, EncryptionMode, Error, Hypercore, NodeRequest, PADDING, Request, Seek, Store};

fn block(index: u64) -> Vec<u8> {
    format!("block {index} {}", "x".repeat((index % 50) as usize)).into_bytes()
}

fn fill(core: &Hypercore, count: u64) {
    let start = core.length();
    core.append((start..start + count).map(block)).expect("append");
}

fn copy_of(replication: &Replication, core: &Hypercore) -> Replicated {
    replication.add(&Store::memory().get(&core.key()).expect("core"))
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_download_then_live() {
    let (a, b) = (Replication::new(), Replication::new());
    let source = a.add(&Store::memory().create().expect("core"));
    fill(source.core(), 3000);
    let copy = copy_of(&b, source.core());
    let muxes = connect(&a, &b).await;
    let mut download = copy.download(DownloadRange { start: 0, end: Some(3500) });
    within("the length", copy.wait_for_length(3000)).await;
    fill(source.core(), 500);
    within("the blocks", download.done()).await;
    assert_eq!(copy.core().contiguous_length(), 3500);
    assert_eq!(copy.core().tree_hash(3500).expect("hash"), source.core().tree_hash(3500).expect("hash"));
    for index in [0, 1, 2999, 3499] {
        assert_eq!(copy.core().get(index).expect("get").expect("block"), block(index));
    }
    drop(muxes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sparse_reads_seeks_and_timeouts() {
    let (a, b) = (Replication::new(), Replication::new());
    let source = a.add(&Store::memory().create().expect("core"));
    fill(source.core(), 1000);
    source.core().clear(500, 510).expect("clear");
    let copy = copy_of(&b, source.core());
    let muxes = connect(&a, &b).await;
    for index in [999, 0, 317, 64, 63, 511] {
        assert_eq!(within("a block", copy.get(index)).await.expect("get"), block(index));
    }
    assert!(!copy.core().has(1));
    // Nobody has these, now or ever.
    assert_eq!(copy.get_within(505, Duration::from_millis(200)).await.expect("get"), None);
    assert_eq!(copy.get_within(5000, Duration::from_millis(200)).await.expect("get"), None);
    let bytes: u64 = (0..700).map(|index| block(index).len() as u64).sum();
    let found = within("the seek", copy.seek(bytes + 3)).await.expect("seek");
    assert_eq!(found, Seek::Found { block: 700, offset: 3 });
    assert!(!copy.core().has(700));
    drop(muxes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seek_counts_the_bytes_of_the_blocks_that_the_session_reads() {
    let (a, b) = (Replication::new(), Replication::new());
    let source = a.add(&Store::memory().create().expect("core"));
    let key = source.core().key();
    let rule = || Some(BlockEncryption::new(&[7; 32], &key, EncryptionMode::Core));
    fill(&source.core().clone().with_encryption(rule()), 100);
    let raw = copy_of(&b, source.core());
    let copy = raw.with_core(raw.core().clone().with_encryption(rule()));
    let muxes = connect(&a, &b).await;
    let bytes: u64 = (0..70).map(|index| block(index).len() as u64).sum();
    let found = within("the seek", copy.seek(bytes + 3)).await.expect("seek");
    assert_eq!(found, Seek::Found { block: 70, offset: 3 });
    assert_eq!(within("the block", copy.get(70)).await.expect("get"), block(70));
    // One that does not read them counts what is stored.
    let found = within("the seek", raw.seek(bytes + 70 * PADDING as u64 + 3)).await.expect("seek");
    assert_eq!(found, Seek::Found { block: 70, offset: 3 });
    drop(muxes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncation_is_followed() {
    let (a, b) = (Replication::new(), Replication::new());
    let source = a.add(&Store::memory().create().expect("core"));
    fill(source.core(), 100);
    let copy = copy_of(&b, source.core());
    let muxes = connect(&a, &b).await;
    let _all = copy.download(DownloadRange::default());
    within("block 99", copy.get(99)).await.expect("get");
    source.core().truncate(37).expect("truncate");
    source.core().append((0..80).map(|index| format!("other {index}"))).expect("append");
    within("the new history", async {
        while copy.core().fork() != 1 || copy.core().contiguous_length() != 117 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(copy.core().get(36).expect("get").expect("block"), block(36));
    assert_eq!(copy.core().get(37).expect("get").expect("block"), "other 0");
    assert_eq!(copy.core().tree_hash(117).expect("hash"), source.core().tree_hash(117).expect("hash"));
    drop(muxes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_a_snapshot_has_lost_is_not_waited_for() {
    for length in [70, 150] {
        let (a, b) = (Replication::new(), Replication::new());
        let source = a.add(&Store::memory().create().expect("core"));
        fill(source.core(), 100);
        source.core().clear(90, 91).expect("clear");
        let copy = copy_of(&b, source.core());
        let muxes = connect(&a, &b).await;
        within("block 99", copy.get(99)).await.expect("get");
        let snapshot = copy.with_core(copy.core().snapshot());
        let mut events = copy.core().subscribe();
        let cut = async {
            source.core().truncate(70).expect("truncate");
            source.core().append((70..length).map(|index| format!("other {index}"))).expect("append");
            while (copy.core().fork(), copy.core().length()) != (1, length) {
                events.next().await;
            }
        };
        // Nobody has it; the cut ends the wait.
        let (waited, ()) = within("the new history", async { tokio::join!(snapshot.get(90), cut) }).await;
        assert!(matches!(waited, Err(Error::NotFound)), "{waited:?}");
        for index in [80, 100] {
            let block = within("an answer", snapshot.get(index)).await;
            assert!(matches!(block, Err(Error::NotFound)), "{index} of {length}: {block:?}");
        }
        assert_eq!(within("block 20", snapshot.get(20)).await.expect("get"), block(20));
        drop(muxes);
    }
}

#[test]
fn an_answer_is_of_one_history() {
    const CUTS: u64 = 100_000;
    let core = Store::memory().create().expect("core");
    let write = |fork: u64| core.append([format!("fork {fork}")]).expect("append");
    write(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for fork in 1..=CUTS {
                core.truncate(0).expect("truncate");
                write(fork);
            }
        });
        let block = Some(NodeRequest { index: 0, nodes: 0 });
        let request = Request { block, ..Request::default() };
        while core.fork() < CUTS {
            // Between a cut and what follows there is no such block.
            let Ok(proof) = core.proof(&request).now_or_never().expect("memory") else { continue };
            let Some(block) = proof.block else { continue };
            assert_eq!(block.value, format!("fork {}", proof.fork));
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_cores_and_those_a_peer_announces() {
    let store = Store::memory();
    let cores: Vec<Hypercore> = (0..200).map(|_| store.create().expect("core")).collect();
    for (at, core) in (0..).zip(&cores) {
        core.append([format!("core {at}")]).expect("append");
    }
    let opener = store.clone();
    let a = Replication::with_opener(move |discovery_key| opener.find(discovery_key).expect("find"));
    let b = Replication::new();
    let muxes = connect(&a, &b).await;
    assert_eq!(a.open_cores(), 0);
    let copies: Vec<Replicated> = cores.iter().map(|core| copy_of(&b, core)).collect();
    for (at, copy) in copies.iter().enumerate() {
        assert_eq!(within("block 0", copy.get(0)).await.expect("get"), format!("core {at}"));
    }
    // One that is not in the store.
    let other = b.add(&Store::memory().create().expect("core"));
    assert_eq!(other.peers(), 0);
    drop(muxes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_again_and_again() {
    let (a, b) = (Replication::new(), Replication::new());
    let source = a.add(&Store::memory().create().expect("core"));
    fill(source.core(), 20_000);
    let copy = copy_of(&b, source.core());
    let mut download = copy.download(DownloadRange { start: 0, end: Some(20_000) });
    for cut in 1..=20 {
        let (left, _right) = connect(&a, &b).await;
        let reached = cut * 500;
        within("progress", async {
            while copy.core().contiguous_length() < reached {
                tokio::task::yield_now().await;
            }
        })
        .await;
        left.destroy();
    }
    let muxes = connect(&a, &b).await;
    within("the blocks", download.done()).await;
    assert_eq!(copy.core().contiguous_length(), 20_000);
    drop(muxes);
}

#[tokio::test]
async fn extensions_reach_the_peer() {
    let (a, b) = (Replication::new(), Replication::new());
    let source = a.add(&Store::memory().create().expect("core"));
    fill(source.core(), 1);
    let copy = copy_of(&b, source.core());
    let mut messages = copy.listen("greeting");
    let muxes = connect(&a, &b).await;
    within("a block", copy.get(0)).await.expect("get");
    source.send_extension("unknown", b"nobody listens", None);
    source.send_extension("greeting", b"hello", None);
    source.send_extension("greeting", b"again", Some(muxes.0.remote_public_key()));
    for expected in ["hello", "again"] {
        let message = within("a message", messages.recv()).await.expect("open");
        assert_eq!((message.message, message.from), (expected.into(), *muxes.1.remote_public_key()));
    }
}
