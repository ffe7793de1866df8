//! A JavaScript store of cores (corestore 7 on RocksDB) moved over to a [`hypercore::Store`].
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use corestore_import::import;
//! use hypercore::Store;
//!
//! # fn main() -> Result<(), corestore_import::ImportError> {
//! // The entries of a JavaScript store with a primary key and nothing else. With the feature `rocksdb`, `Database::open` reads them
//! // from the files of one.
//! let head: Vec<u8> = [&[2, 0, 0, 0, 1][..], &[7; 32]].concat();
//! let source: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::from([(vec![0], head)]);
//!
//! let target = Store::memory();
//! let report = import(&source, &target, &mut |_| ())?;
//! assert!(report.is_exact());
//! assert_eq!(target.primary_key(), Some([7; 32]));
//! # Ok(())
//! # }
//! ```
//!
//! # What is believed
//! Nothing: the store is read as if a peer had sent it. A core's key must be the hash of its manifest, its length and its tree must
//! be signed, each block must lead to a root of that tree; all of it goes through [`Hypercore::verify`](hypercore::Hypercore::verify),
//! as what comes over a connection does. A core whose signature does not hold is refused by name and the others go on; of a core
//! with damaged blocks those that hold are carried, and the others are named.
//!
//! A core that was refused keeps its place without its secret key: written again from the beginning, it would contradict what its
//! peers have, who would take that for fraud. What they have of it can be fetched from them.
//!
//! # What is carried
//! The primary key; names; of each core manifest, key pair, fork, length, signature, blocks, the hashes of blocks that are not here,
//! user data and local entries; drafts (named sessions) that share blocks with their core alone. Not carried, and said so:
//! groups, and encryption keys (JavaScript does not store them either; blocks stay as they are stored). Files of Hypercore 10 are
//! refused: JavaScript moves them to the newer format when it opens them.
//!
//! # Formats
//! hypercore-storage 1.18 (store version 1) and 3.3 (version 2): [`keys`] and [`records`] say what the entries are. They are in
//! RocksDB's files, as rocksdb-native 3.18 (RocksDB 10.5) writes them; the modules under `rocksdb` read these, and nothing else that
//! RocksDB could do. A wrong reading of them is found out by the hashes and signatures.

mod carry;
mod draft;
mod error;
mod folder;
mod import;
pub mod keys;
mod lock;
pub mod records;
mod report;
mod rocksdb;
mod source;
mod view;

pub use error::ImportError;
pub use folder::{Database, import_folder};
pub use import::import;
pub use report::{CoreReport, Outcome, Report};
pub use source::{Damaged, Source};
