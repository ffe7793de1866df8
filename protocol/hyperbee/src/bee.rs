use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::batch::Batch;
use crate::cache::Cache;
use crate::diff::Diff;
use crate::history::{History, HistoryOptions};
use crate::messages::{Header, Metadata};
use crate::range::{Bound, Range, RangeIterator};
use crate::reader::Reader;
use crate::watch::Watcher;
use crate::{Error, Log};

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The block that set it.
    pub seq: u64,
    /// The key, without the prefix of the sub-database.
    pub key: Bytes,
    /// The value; `None` where a key was set without one.
    pub value: Option<Bytes>,
}

/// How a tree is written.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether to write a block when a key is set to the value that it has (JavaScript's default).
    pub always_duplicate: bool,
    /// What the first block says about the tree, when it is written.
    pub metadata: Option<Metadata>,
}

impl Default for Options {
    fn default() -> Self {
        Self { always_duplicate: true, metadata: None }
    }
}

/// The keys of a sub-database: those with a prefix.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    prefix: Bytes,
}

impl Keys {
    pub(crate) fn encode(&self, key: &[u8]) -> Bytes {
        [&self.prefix, key].concat().into()
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix)
    }

    pub(crate) fn strip(&self, mut entry: Entry) -> Entry {
        entry.key = entry.key.slice(self.prefix.len().min(entry.key.len())..);
        entry
    }

    /// The bounds of a range. Without its own, a sub-database ranges from behind its prefix and a zero byte, as in JavaScript: the
    /// empty key is reached by `get` alone.
    pub(crate) fn bounds(&self, range: &Range) -> (Option<Bound>, Option<Bound>) {
        let bound = |key: &Bytes, inclusive| Bound { key: self.encode(key), inclusive };
        let lower = range.gt.as_ref().map(|key| bound(key, false));
        let lower = lower.or_else(|| range.gte.as_ref().map(|key| bound(key, true)));
        let upper = range.lt.as_ref().map(|key| bound(key, false));
        let upper = upper.or_else(|| range.lte.as_ref().map(|key| bound(key, true)));
        if self.prefix.is_empty() {
            return (lower, upper);
        }
        let lower = lower.or_else(|| Some(bound(&Bytes::from_static(&[0]), false)));
        (lower, upper.or_else(|| self.end().map(|key| Bound { key, inclusive: false })))
    }

    /// The first key after all that begin with the prefix.
    fn end(&self) -> Option<Bytes> {
        let last = self.prefix.iter().rposition(|&byte| byte < 0xff)?;
        let mut end = self.prefix[..=last].to_vec();
        end[last] += 1;
        Some(end.into())
    }
}

/// A B-tree of keys and values in a [`Log`]. Clones, sub-databases and snapshots share what is read.
///
/// Keys are ordered bytewise. Each change is one block of the log, and the tree can be read at each of its versions.
#[derive(Debug, Clone)]
pub struct Hyperbee<L: Log> {
    log: L,
    options: Arc<Options>,
    cache: Arc<Cache>,
    lock: Arc<Mutex<()>>,
    keys: Keys,
    checkout: Option<u64>,
}

impl<L: Log> Hyperbee<L> {
    /// The tree in `log`, which may be empty.
    pub fn new(log: L) -> Self {
        Self::with_options(log, Options::default())
    }

    /// As [`new`](Self::new), with options.
    pub fn with_options(log: L, options: Options) -> Self {
        let (options, keys) = (Arc::new(options), Keys::default());
        Self { log, options, cache: Arc::default(), lock: Arc::default(), keys, checkout: None }
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.log
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.options.metadata.as_ref()
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) async fn lock(&self) -> OwnedMutexGuard<()> {
        self.lock.clone().lock_owned().await
    }

    /// How many blocks the log has, or had at the snapshot; 1 for an empty tree.
    pub fn version(&self) -> u64 {
        self.checkout.unwrap_or_else(|| self.log.length()).max(1)
    }

    /// Whether this is the tree at a fixed version.
    pub fn is_snapshot(&self) -> bool {
        self.checkout.is_some()
    }

    /// The first block: that of a tree says so.
    ///
    /// # Errors
    /// When the block cannot be had, or is no header.
    pub async fn header(&self) -> Result<Header, Error> {
        Header::decode(&self.log.block(0).await?)
    }

    /// The keys that begin with `prefix` and a zero byte, as a tree of their own.
    pub fn sub(&self, prefix: impl AsRef<[u8]>) -> Self {
        self.sub_with(prefix, [0])
    }

    /// As [`sub`](Self::sub), with another separator.
    pub fn sub_with(&self, prefix: impl AsRef<[u8]>, separator: impl AsRef<[u8]>) -> Self {
        let prefix = [&self.keys.prefix, prefix.as_ref(), separator.as_ref()].concat().into();
        Self { keys: Keys { prefix }, ..self.clone() }
    }

    /// The tree as it is now, whatever happens to it.
    pub fn snapshot(&self) -> Self {
        self.checkout(self.version())
    }

    /// The tree as it was when the log had `version` blocks, or will be.
    pub fn checkout(&self, version: u64) -> Self {
        let version = version.max(1);
        let log = if version <= self.log.length() { self.log.snapshot() } else { self.log.clone() };
        Self { log, checkout: Some(version), ..self.clone() }
    }

    pub(crate) fn reader(&self) -> Reader<'_, L> {
        let (version, epoch) = (self.version(), self.log.epoch());
        Reader { log: &self.log, cache: &self.cache, version, epoch, pending: None }
    }

    pub(crate) async fn update(&self) -> Result<(), Error> {
        if self.is_snapshot() { Ok(()) } else { self.log.update().await }
    }

    /// The entry of a key.
    ///
    /// # Errors
    /// When a block cannot be had, or is none of a tree.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        let key = self.keys.encode(key.as_ref());
        self.update().await?;
        loop {
            let reader = self.reader();
            let entry = reader.get(&key).await;
            // What was read while the log was cut may be of two histories.
            if self.is_snapshot() || self.log.epoch() == reader.epoch {
                return Ok(entry?.map(|entry| self.keys.strip(entry)));
            }
        }
    }

    /// What a block set, whether or not it is still so.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_by_seq(&self, seq: u64) -> Result<Entry, Error> {
        let reader = Reader { version: self.log.length(), ..self.reader() };
        Ok(self.keys.strip(reader.entry(seq).await?))
    }

    /// Sets a key; see [`Batch::put`].
    ///
    /// # Errors
    /// As [`Batch::put`] and [`Batch::flush`].
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool, Error> {
        let mut batch = self.batch();
        let changed = batch.put(key, Some(value)).await?;
        batch.flush().await?;
        Ok(changed)
    }

    /// Sets a key if it is not there, or if `cas` agrees; see [`Batch::put_cas`].
    ///
    /// # Errors
    /// As [`Batch::put`] and [`Batch::flush`].
    pub async fn put_cas(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        cas: impl FnMut(&Entry, &Entry) -> bool + Send,
    ) -> Result<bool, Error> {
        let mut batch = self.batch();
        let changed = batch.put_cas(key, Some(value), cas).await?;
        batch.flush().await?;
        Ok(changed)
    }

    /// Takes a key away; see [`Batch::del`].
    ///
    /// # Errors
    /// As [`Batch::del`] and [`Batch::flush`].
    pub async fn del(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let mut batch = self.batch();
        let changed = batch.del(key).await?;
        batch.flush().await?;
        Ok(changed)
    }

    /// Takes a key away if `cas` agrees; see [`Batch::del_cas`].
    ///
    /// # Errors
    /// As [`Batch::del`] and [`Batch::flush`].
    pub async fn del_cas(
        &self,
        key: impl AsRef<[u8]>,
        cas: impl FnMut(&Entry, &Entry) -> bool + Send,
    ) -> Result<bool, Error> {
        let mut batch = self.batch();
        let changed = batch.del_cas(key, cas).await?;
        batch.flush().await?;
        Ok(changed)
    }

    /// Changes that are written together.
    pub fn batch(&self) -> Batch<L> {
        Batch::new(self.clone())
    }

    /// The entries of a range, as the tree is now.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn range(&self, range: Range) -> Result<Entries<L>, Error> {
        self.update().await?;
        Ok(Entries { iterator: RangeIterator::new(range, self.keys.clone()), bee: self.snapshot() })
    }

    /// The first entry of a range.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn peek(&self, range: Range) -> Result<Option<Entry>, Error> {
        self.range(range.limit(1)).await?.next().await
    }

    /// All changes, in the order in which they were made. Of a sub-database, its own.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn history(&self, options: HistoryOptions) -> Result<History<L>, Error> {
        self.update().await?;
        let bee = if options.live { self.clone() } else { self.snapshot() };
        Ok(History::new(bee, &options))
    }

    /// What differs between this tree and what it is at another version, in the order of the keys.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn diff(&self, version: u64, range: Range) -> Result<Diff<L>, Error> {
        self.update().await?;
        self.diff_with(&self.checkout(version), range).await
    }

    /// As [`diff`](Self::diff), with a snapshot of this tree.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn diff_with(&self, other: &Self, range: Range) -> Result<Diff<L>, Error> {
        Diff::open(self.snapshot(), other.snapshot(), &range).await
    }

    /// Tells of changes in a range, from now on.
    pub fn watch(&self, range: Range) -> Watcher<L> {
        Watcher::new(self.clone(), range)
    }
}

/// Entries one after the other.
#[derive(Debug)]
pub struct Entries<L: Log> {
    bee: Hyperbee<L>,
    iterator: RangeIterator,
}

impl<L: Log> Entries<L> {
    /// The next entry. Given up while it waits, it has skipped none.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        self.iterator.step(&self.bee.reader()).await
    }

    /// All that are left.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn collect(mut self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        while let Some(entry) = self.next().await? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
