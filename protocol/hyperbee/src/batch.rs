use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use crate::bee::{Hyperbee, Keys};
use crate::cache::Block;
use crate::messages::{Header, PROTOCOL};
use crate::range::{Range, RangeIterator};
use crate::reader::Reader;
use crate::tree::{Cas, Tree};
use crate::{Entry, Error, Log};

/// Changes that are appended together by [`flush`](Self::flush), and seen by this batch before.
///
/// The tree is locked against other writers from the first change until the batch is flushed or dropped.
#[derive(Debug)]
pub struct Batch<L: Log> {
    bee: Hyperbee<L>,
    tree: Tree,
    epoch: u64,
    lock: Option<OwnedMutexGuard<()>>,
    broken: bool,
}

impl<L: Log> Batch<L> {
    pub(crate) fn new(bee: Hyperbee<L>) -> Self {
        Self { bee, tree: Tree::default(), epoch: 0, lock: None, broken: false }
    }

    fn keys(&self) -> &Keys {
        self.bee.keys()
    }

    /// How many changes wait.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.tree.len() == 0
    }

    /// Locks the tree, and writes its first block if it has none.
    async fn begin(&mut self) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        let log = self.bee.log();
        if self.bee.is_snapshot() || !log.is_writable() {
            return Err(Error::NotWritable);
        }
        if self.lock.is_none() {
            self.lock = Some(self.bee.lock().await);
        }
        if self.is_empty() {
            if log.length() == 0 {
                let metadata = self.bee.metadata().cloned();
                log.append(vec![Header { protocol: PROTOCOL.into(), metadata }.encode()]).await?;
            }
            let (base, epoch) = (log.length(), log.epoch());
            // What was loaded for changes that came to nothing stays: nodes that they passed are to be written, as in JavaScript.
            if self.tree.base != base || self.epoch != epoch {
                (self.tree, self.epoch) = (Tree::new(base), epoch);
            }
        }
        Ok(())
    }

    async fn change(&mut self, key: Bytes, value: Option<Option<Bytes>>, cas: Cas<'_>) -> Result<bool, Error> {
        self.begin().await?;
        // An operation that stops half-way, also because nobody waits for it any more, leaves half a tree.
        self.broken = true;
        let duplicate = self.bee.options().always_duplicate;
        let Self { bee, tree, epoch, .. } = self;
        let reader = Reader { log: bee.log(), cache: bee.cache(), version: tree.base, epoch: *epoch, pending: None };
        // An operation of the tree sees its own changes.
        let changed = match value {
            Some(value) => tree.put(&reader, Entry { seq: 0, key, value }, duplicate, cas).await,
            None => tree.del(&reader, key, cas).await,
        }?;
        self.broken = false;
        Ok(changed)
    }

    /// Sets a key. `None` is a key without a value, which is there all the same. Whether something is to be written: with
    /// [`always_duplicate`](crate::Options::always_duplicate) off, not for the value that the key has already.
    ///
    /// # Errors
    /// [`Error::NotWritable`], [`Error::Broken`], and when a block cannot be read.
    pub async fn put(&mut self, key: impl AsRef<[u8]>, value: Option<impl AsRef<[u8]>>) -> Result<bool, Error> {
        let key = self.keys().encode(key.as_ref());
        self.change(key, Some(value.map(|value| Bytes::copy_from_slice(value.as_ref()))), None).await
    }

    /// Sets a key if it is not there, or if `cas` agrees: it is given what is there and what is to come in its place.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn put_cas(
        &mut self,
        key: impl AsRef<[u8]>,
        value: Option<impl AsRef<[u8]>>,
        mut cas: impl FnMut(&Entry, &Entry) -> bool + Send,
    ) -> Result<bool, Error> {
        let key = self.keys().encode(key.as_ref());
        let keys = self.keys().clone();
        let mut cas = |a: &Entry, b: &Entry| cas(&keys.strip(a.clone()), &keys.strip(b.clone()));
        self.change(key, Some(value.map(|value| Bytes::copy_from_slice(value.as_ref()))), Some(&mut cas)).await
    }

    /// Takes a key away. Whether it was there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn del(&mut self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let key = self.keys().encode(key.as_ref());
        self.change(key, None, None).await
    }

    /// Takes a key away if `cas` agrees.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn del_cas(
        &mut self,
        key: impl AsRef<[u8]>,
        mut cas: impl FnMut(&Entry, &Entry) -> bool + Send,
    ) -> Result<bool, Error> {
        let key = self.keys().encode(key.as_ref());
        let keys = self.keys().clone();
        let mut cas = |a: &Entry, b: &Entry| cas(&keys.strip(a.clone()), &keys.strip(b.clone()));
        self.change(key, None, Some(&mut cas)).await
    }

    fn reader(&self) -> Result<Reader<'_, L>, Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        let (version, epoch, pending) = match self.is_empty() {
            true => (self.bee.version(), self.bee.log().epoch(), None),
            false => (self.tree.base, self.epoch, Some(&self.tree)),
        };
        Ok(Reader { log: self.bee.log(), cache: self.bee.cache(), version, epoch, pending })
    }

    /// The entry of a key, with the changes of this batch.
    ///
    /// # Errors
    /// When a block cannot be read.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        let entry = self.reader()?.get(&self.keys().encode(key.as_ref())).await?;
        Ok(entry.map(|entry| self.keys().strip(entry)))
    }

    /// The entries of a range, with the changes of this batch.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn entries(&self, range: Range) -> Result<Vec<Entry>, Error> {
        let reader = self.reader()?;
        let mut iterator = RangeIterator::new(range, self.keys().clone());
        let mut entries = Vec::new();
        while let Some(entry) = iterator.step(&reader).await? {
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Appends the changes, all at once, as one block each. The tree's version afterwards.
    ///
    /// # Errors
    /// [`Error::Changed`] if someone else appended to the log or cut it, [`Error::Broken`], and when the log cannot be written.
    /// Nothing was changed then.
    pub async fn flush(self) -> Result<u64, Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        let Self { bee, tree, epoch, lock, .. } = self;
        let log = bee.log();
        if tree.len() == 0 {
            return Ok(bee.version());
        }
        let base = tree.base;
        if log.length() != base || log.epoch() != epoch {
            return Err(Error::Changed);
        }
        let blocks = tree.into_blocks();
        let version = base + blocks.len() as u64;
        log.append(blocks.clone()).await?;
        if log.epoch() == epoch {
            // They are read next: the root is in the last one.
            for (seq, block) in (base..).zip(&blocks) {
                bee.cache().insert(epoch, Arc::new(Block::decode(block, seq)?));
            }
        }
        drop(lock);
        Ok(version)
    }
}
