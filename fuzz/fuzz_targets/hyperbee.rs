//! Blocks that are said to be a tree: reading them ends, and says what it found or what is wrong.
#![no_main]

use bytes::Bytes;
use hyperbee::{HistoryOptions, Hyperbee, Log, MemoryLog, Range};
use libfuzzer_sys::fuzz_target;

/// A tree that leads round in circles is endless within its depth.
const MAX_ENTRIES: usize = 1000;

async fn read(log: MemoryLog) {
    let bee = Hyperbee::new(log);
    let _ = bee.header().await;
    let _ = bee.get("key").await;
    for range in [Range::default(), Range::default().gte("k").reverse()] {
        let Ok(mut entries) = bee.range(range).await else { continue };
        for _ in 0..MAX_ENTRIES {
            let Ok(Some(_)) = entries.next().await else { break };
        }
    }
    let mut keys = vec![Bytes::from_static(b"k1")];
    if let Ok(history) = bee.history(HistoryOptions::default()).await {
        keys.extend(history.collect().await.unwrap_or_default().into_iter().map(|change| change.entry.key));
    }
    if let Ok(mut diff) = bee.diff(bee.version() / 2, Range::default()).await {
        for _ in 0..MAX_ENTRIES {
            let Ok(Some(_)) = diff.next().await else { break };
        }
    }
    for end in (1..=bee.version()).rev().take(16) {
        let Ok(diff) = bee.checkout(end).diff(bee.version(), Range::default()).await else { continue };
        let _ = diff.collect().await;
    }
    let _ = bee.put("key", "value").await;
    // Nodes that a batch has changed meet those that are stored.
    let mut batch = bee.batch();
    for (at, key) in keys.iter().take(64).enumerate() {
        let _ = batch.del(key).await;
        let _ = batch.put([&key[..], b"!"].concat::<u8>(), Some("value")).await;
        let _ = batch.get(key).await;
        if at % 3 == 2 && batch.entries(Range::default()).await.is_ok() {
            let _ = std::mem::replace(&mut batch, bee.batch()).flush().await;
        }
    }
    let _ = batch.flush().await;
}

fuzz_target!(|data: &[u8]| {
    use std::task::{Context, Waker};
    let log = MemoryLog::new();
    let mut blocks = vec![Bytes::from_static(b"\x0a\x08hyperbee")];
    let mut rest = data;
    while let Some((&length, after)) = rest.split_first() {
        let (block, after) = after.split_at(usize::from(length).min(after.len()));
        blocks.push(Bytes::copy_from_slice(block));
        rest = after;
    }
    let mut context = Context::from_waker(Waker::noop());
    // A log in memory is never waited for.
    assert!(Box::pin(log.append(blocks)).as_mut().poll(&mut context).is_ready());
    assert!(Box::pin(read(log.clone())).as_mut().poll(&mut context).is_ready());
});
