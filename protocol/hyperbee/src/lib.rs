//! Sorted keys and values in a log: JavaScript's `hyperbee`.
//!
//! ```
//! use hyperbee::{Hyperbee, MemoryLog, Range};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), hyperbee::Error> {
//! let bee = Hyperbee::new(MemoryLog::new());
//! bee.put("b", "2").await?;
//!
//! let mut batch = bee.batch();
//! batch.put("a", Some("1")).await?;
//! batch.put("c", Some("3")).await?;
//! batch.del("b").await?;
//! batch.flush().await?;
//!
//! assert_eq!(bee.get("a").await?.and_then(|entry| entry.value), Some("1".into()));
//! let keys: Vec<_> = bee.range(Range::default().gte("b")).await?.collect().await?;
//! assert_eq!(keys[0].key, "c");
//!
//! // Every version stays readable.
//! assert!(bee.checkout(2).get("b").await?.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! A tree is kept in anything that is a [`Log`]: a core of a store, one that is fetched from peers block by block, or a
//! [`MemoryLog`].
//!
//! # In the log
//! The first block is a [`Header`]. Every other block is one change: the key, its value (none if it was taken away), and the nodes
//! of the B-tree on the way from the root to the key, as they are after the change. A node refers to keys by the number of the
//! block that set them, and to nodes by the number of the block and their place in it. The root is in the last block. The blocks
//! are, byte for byte, those that JavaScript appends for the same calls.
//!
//! # Hostile input
//! Blocks of others are decoded with bounds checked; a tree that goes round in circles is refused at a depth that no honest one
//! has. What is kept decoded is bounded ([`MAX_CACHED_BLOCKS`], [`MAX_CACHED_BYTES`]).

mod batch;
mod bee;
mod cache;
mod core;
mod diff;
mod error;
mod history;
mod log;
mod memory;
mod messages;
mod range;
mod reader;
mod tree;
mod watch;

pub use batch::Batch;
pub use bee::{Entries, Entry, Hyperbee, Options};
pub use cache::{MAX_CACHED_BLOCKS, MAX_CACHED_BYTES};
pub use diff::{Diff, DiffEntry};
pub use error::Error;
pub use history::{History, HistoryEntry, HistoryOptions};
pub use log::Log;
pub use memory::MemoryLog;
pub use messages::{Header, Metadata, PROTOCOL};
pub use range::Range;
pub use watch::Watcher;
