//! Logs whose writer means no good: every call on them ends, and says what is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyperbee::{Error, HistoryOptions, Hyperbee, Log, MemoryLog, Range};

/// Calls look at the log at each step: after so many looks at a few blocks a call is one that does not end.
const MAX_LOOKS: u64 = 100_000;

/// A log that counts how often it is looked at.
#[derive(Debug, Clone, Default)]
struct Counted(MemoryLog, Arc<AtomicU64>);

impl Log for Counted {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn epoch(&self) -> u64 {
        assert!(self.1.fetch_add(1, Ordering::Relaxed) < MAX_LOOKS, "the call does not end");
        self.0.epoch()
    }

    fn is_writable(&self) -> bool {
        self.0.is_writable()
    }

    fn snapshot(&self) -> Self {
        Self(self.0.snapshot(), self.1.clone())
    }

    async fn block(&self, seq: u64) -> Result<Bytes, Error> {
        self.0.block(seq).await
    }

    async fn append(&self, blocks: Vec<Bytes>) -> Result<(), Error> {
        self.0.append(blocks).await
    }

    async fn changed(&self, length: u64, epoch: u64) {
        self.0.changed(length, epoch).await;
    }
}

async fn tree(blocks: impl IntoIterator<Item = Vec<u8>>) -> Hyperbee<Counted> {
    let log = Counted::default();
    let header = Bytes::from_static(b"\x0a\x08hyperbee");
    log.append([header].into_iter().chain(blocks.into_iter().map(Bytes::from)).collect()).await.expect("append");
    Hyperbee::new(log)
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

/// A block that sets `key`, with nodes of keys and children, each of a block and a level.
fn block(key: &str, nodes: &[(&[u8], &[[u8; 2]])]) -> Vec<u8> {
    let node =
        |(keys, children): &(&[u8], &[[u8; 2]])| field(1, &[field(1, keys), field(2, &children.concat())].concat());
    let index: Vec<u8> = nodes.iter().flat_map(node).collect();
    [field(1, &index), field(2, key.as_bytes()), field(3, b"value")].concat()
}

/// What is wrong with the block that a call failed at.
fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    match result {
        Err(Error::InvalidBlock { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// A node without keys whose only child is itself, as fuzzing found it.
const DOES_NOT_END: &[u8] =
    b"\x0a\x12\x0a\x0a\x00\x2d\x00\x2d02\x12\x02\x01\x00\x00\x2d\x12\x00\x00\x3d\x12\x00\x00\x00";

#[tokio::test]
async fn a_node_that_is_its_own_child_is_refused_by_every_call() {
    let bee = tree([DOES_NOT_END.to_vec()]).await;
    assert_eq!(reason(bee.get("key").await), "the tree has no end");
    for range in [Range::default(), Range::default().reverse(), Range::default().gt("k").lt("l")] {
        assert_eq!(reason(bee.peek(range.clone()).await), "the tree has no end");
        let changes = bee.diff(0, range).await.expect("nothing was read yet");
        assert_eq!(reason(changes.collect().await), "the tree has no end");
    }
    let history = bee.history(HistoryOptions::default()).await.expect("history").collect().await.expect("one block");
    assert_eq!(history.len(), 1);
    assert_eq!(reason(bee.put("key", "value").await), "the tree has no end");
    assert_eq!(reason(bee.del("key").await), "the tree has no end");
}

#[tokio::test]
async fn a_node_refers_to_nothing_that_came_after_it() {
    let leaf = block("a", &[(&[1], &[])]);
    let child = block("b", &[(&[1], &[[3, 0], [1, 0]])]);
    let key = block("b", &[(&[3], &[])]);
    for second in [child, key] {
        let third = block("c", &[(&[1], &[[2, 0], [2, 0]])]);
        let bee = tree([leaf.clone(), second, third]).await;
        assert_eq!(reason(bee.get("Z").await), "it points at what came after it");
        assert_eq!(reason(bee.peek(Range::default()).await), "it points at what came after it");
        assert_eq!(reason(bee.put("Z", "value").await), "it points at what came after it");
    }
}

/// Two trees, of the even and of the odd blocks, that share their only key: each node is both children of the next one.
fn doubled() -> Vec<Vec<u8>> {
    let inner = |seq: u8| block("a", &[(&[1], &[[seq - 2, 0], [seq - 2, 0]])]);
    let leaf = block("a", &[(&[1], &[])]);
    [leaf.clone(), leaf].into_iter().chain((3..=62).map(inner)).collect()
}

#[tokio::test]
async fn a_tree_has_no_more_keys_than_its_log_has_blocks() {
    let bee = tree(doubled()).await;
    for range in [Range::default(), Range::default().reverse()] {
        let entries = bee.range(range.clone()).await.expect("range");
        assert_eq!(reason(entries.collect().await), "the tree has more keys than blocks");
    }
    // The only key is the same in both: nothing is found, and the walk goes on.
    for (from, to) in [(63, 62), (62, 63)] {
        let changes = bee.checkout(from).diff(to, Range::default()).await.expect("diff");
        assert_eq!(reason(changes.collect().await), "the tree has more keys than blocks");
    }
}

#[tokio::test]
async fn leaves_of_different_depths_are_not_merged() {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let leaves = keys.iter().map(|key| block(key, &[]));
    let nodes: [(&[u8], &[[u8; 2]]); 4] =
        [(&[5], &[[10, 1], [10, 2]]), (&[1, 2, 3, 4], &[]), (&[6, 7, 8, 9, 10], &[[10, 3]; 6]), (&[10], &[])];
    let bee = tree(leaves.chain([block("j", &nodes)])).await;
    let mut batch = bee.batch();
    assert_eq!(reason(batch.del("a").await), "leaves of different depths");
    assert!(matches!(batch.put("c2", Some("value")).await, Err(Error::Broken)));
}
