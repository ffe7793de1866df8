use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use bytes::Bytes;
use crypto::KeyPair;
use encoding::{Decoder, Encoder};
use parking_lot::Mutex;

use crate::atom::Atom;
use crate::core::Core;
use crate::events::{Event, Listeners};
use crate::session::Hypercore;
use crate::storage::{Backend, Batch, Disk, Memory, keys};
use crate::sync::{Syncer, Ticket};
use crate::{Error, Hash, Manifest};

/// The format of the store.
const FORMAT: u64 = 2;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk: it is there after the power failed. Writes at about the same time share one synchronisation.
    #[default]
    Disk,
    /// When the operating system has it: it is there after the process was killed. A machine that fails may lose the last ones, and
    /// a writer then signs other blocks in their place: for tests, and cores of others.
    System,
}

/// What is written under [`Inner::writer`].
pub(crate) struct Writer {
    next_pointer: u32,
    primary_key: Option<Hash>,
}

pub(crate) struct Inner {
    pub(crate) backend: Box<dyn Backend>,
    /// Held while anything is changed: changes happen one after the other.
    pub(crate) writer: Mutex<Writer>,
    syncer: Arc<Syncer>,
    /// Whether something was written later.
    unflushed: AtomicBool,
    pub(crate) cores: Mutex<HashMap<Hash, Weak<Core>>>,
}

impl Inner {
    /// Writes, while the writer is locked by the caller. `events` are told when it is durable.
    pub(crate) fn write_locked(
        &self,
        batch: Batch,
        events: impl IntoIterator<Item = (Arc<Listeners>, Event)>,
    ) -> Result<Applied, Error> {
        let written = self.usable().and_then(|()| self.backend.write(batch));
        let applied = self.wrote(written, events)?;
        self.syncer.wake();
        Ok(applied)
    }

    /// Writes as one of several, while the writer is locked by the caller: [`flush`](Self::flush) is to follow.
    pub(crate) fn write_later_locked(
        &self,
        batch: Batch,
        events: impl IntoIterator<Item = (Arc<Listeners>, Event)>,
    ) -> Result<Applied, Error> {
        if self.syncer.is_immediate() {
            return self.write_locked(batch, events);
        }
        let written = self.usable().and_then(|()| self.backend.write_later(batch));
        let applied = self.wrote(written, events)?;
        self.unflushed.store(true, Ordering::Release);
        Ok(applied)
    }

    /// Lets go what was written later. Who waits for it learns of errors.
    pub(crate) fn flush(&self) {
        if self.unflushed.swap(false, Ordering::AcqRel) {
            if let Err(error) = self.backend.flush() {
                tracing::error!(%error, "the store cannot be written");
                self.syncer.fail(error);
            }
            self.syncer.wake();
        }
    }

    /// The core, if it is in the store, while the writer is locked.
    pub(crate) fn open_locked(self: &Arc<Self>, discovery_key: &Hash) -> Result<Option<Arc<Core>>, Error> {
        let open = self.cores.lock().get(discovery_key).and_then(Weak::upgrade);
        if open.is_some() {
            return Ok(open);
        }
        let Some(core) = Core::load(self, discovery_key)? else { return Ok(None) };
        let mut batch = Batch::new();
        core.sweep(&mut batch)?;
        if !batch.is_empty() {
            self.write_locked(batch, [])?;
        }
        Ok(Some(self.register(core)))
    }

    fn register(&self, core: Core) -> Arc<Core> {
        let core = Arc::new(core);
        let mut cores = self.cores.lock();
        if cores.len() == cores.capacity() {
            cores.retain(|_, core| core.strong_count() > 0);
        }
        cores.insert(core.discovery_key, Arc::downgrade(&core));
        core
    }

    fn usable(&self) -> Result<(), Error> {
        self.syncer.failed().map_or(Ok(()), Err)
    }

    fn wrote(
        &self,
        written: Result<(), Error>,
        events: impl IntoIterator<Item = (Arc<Listeners>, Event)>,
    ) -> Result<Applied, Error> {
        if let Err(error) = written {
            self.syncer.fail(error.clone());
            return Err(error);
        }
        let number = self.syncer.written(events);
        Ok(Applied { ticket: Ticket::new(&self.syncer, number) })
    }

    /// A pointer that nobody has, to be used by the next write of `batch`.
    pub(crate) fn new_pointer(&self, writer: &mut Writer, batch: &mut Batch) -> Result<u32, Error> {
        let pointer = writer.next_pointer;
        writer.next_pointer = pointer.checked_add(1).ok_or(Error::BadArgument("the store has no more pointers"))?;
        batch.insert(keys::store(), Some(writer.encode()));
        Ok(pointer)
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.syncer.ticket()
    }
}

impl Writer {
    fn encode(&self) -> Bytes {
        let mut out = Encoder::new();
        out.uint(FORMAT).uint(self.next_pointer.into()).optional_buffer(self.primary_key.as_ref().map(|key| &key[..]));
        out.finish().into()
    }

    fn decode(value: &[u8]) -> Result<Self, Error> {
        let damaged = |_| Error::Corrupt("the store's own entry".into());
        let mut from = Decoder::new(value);
        let format = from.uint().map_err(damaged)?;
        if format != FORMAT {
            return Err(Error::Corrupt(format!("the store has format {format}, this program knows {FORMAT}")));
        }
        let mut decode = || -> Result<Self, encoding::DecodeError> {
            let next_pointer = from.uint()?.try_into().map_err(|_| encoding::DecodeError::Invalid("a pointer"))?;
            let primary_key = from.optional_buffer()?.map(<Hash>::try_from).transpose();
            let primary_key = primary_key.map_err(|_| encoding::DecodeError::Invalid("a key"))?;
            Ok(Self { next_pointer, primary_key })
        };
        decode().map_err(damaged)
    }
}

/// A change that was made. It is seen at once; [`durable`](Self::durable) tells when it would survive a crash.
#[derive(Clone)]
pub struct Applied {
    ticket: Ticket,
}

impl std::fmt::Debug for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Applied")
    }
}

impl Applied {
    /// Waits until the change, and all before it, is as durable as the store makes it.
    ///
    /// # Errors
    /// When the disk failed. The store then refuses all further changes.
    pub async fn durable(&self) -> Result<(), Error> {
        self.ticket.durable().await
    }

    pub(crate) fn of(ticket: Ticket) -> Self {
        Self { ticket }
    }
}

/// Which core to open, and what is known of it.
#[derive(Debug, Clone, Default)]
pub struct CoreOptions {
    /// Its key. Not needed with a manifest or a key pair.
    pub key: Option<Hash>,
    /// Who may sign it. Not needed for a core of others: they send it.
    pub manifest: Option<Manifest>,
    /// What it is written with.
    pub key_pair: Option<KeyPair>,
    /// A name under which it is found again ([`Store::discovery_key_of`]).
    pub alias: Option<Vec<u8>>,
    /// Fail if the core is not in the store yet.
    pub must_exist: bool,
}

struct Shared {
    inner: Arc<Inner>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inner.syncer.close();
        if let Some(committer) = self.committer.lock().take() {
            // A panic there was told when it happened.
            let _ = committer.join();
        }
    }
}

/// A store of cores: a directory of one process, or memory.
///
/// What is written is on disk before it is announced to anyone, and all of a call, or of an [`Atom`], is there after a crash or
/// nothing of it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("open_cores", &self.shared.inner.cores.lock().len()).finish()
    }
}

impl Store {
    /// A store that ends with the process.
    pub fn memory() -> Self {
        match Self::on(Box::new(Memory::default()), Durability::System) {
            Ok(store) => store,
            Err(error) => unreachable!("an empty store opens: {error}"),
        }
    }

    /// Whether there is a store in the directory.
    pub fn exists(directory: impl AsRef<Path>) -> bool {
        Disk::exists(directory.as_ref())
    }

    /// Whether everything in the directory is what a store leaves there, whole or not: what was to become a store, or was being
    /// removed, when a process was killed. So is an empty directory.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn is_remnant(directory: impl AsRef<Path>) -> Result<bool, Error> {
        Ok(Disk::is_remnant(directory.as_ref())?)
    }

    /// The store in the directory, which is made if there is none.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process has it open, [`Error::Corrupt`] if it is damaged or of a newer format, [`Error::Io`].
    pub fn open(directory: impl AsRef<Path>, durability: Durability) -> Result<Self, Error> {
        Self::on(Box::new(Disk::open(directory.as_ref())?), durability)
    }

    fn on(backend: Box<dyn Backend>, durability: Durability) -> Result<Self, Error> {
        let store = Self::without_thread(backend, durability)?;
        if durability == Durability::Disk {
            let inner = store.shared.inner.clone();
            let run = move || inner.syncer.run(&*inner.backend);
            let committer = std::thread::Builder::new().name("hypercore-sync".into()).spawn(run)?;
            *store.shared.committer.lock() = Some(committer);
        }
        Ok(store)
    }

    /// A store of a test that [synchronises](Self::synchronise) it.
    #[cfg(test)]
    pub(crate) fn on_synced_by_hand(backend: Box<dyn Backend>) -> Result<Self, Error> {
        Self::without_thread(backend, Durability::Disk)
    }

    #[cfg(test)]
    pub(crate) fn synchronise(&self) -> Result<(), Error> {
        self.shared.inner.syncer.synchronise(&*self.shared.inner.backend)
    }

    fn without_thread(backend: Box<dyn Backend>, durability: Durability) -> Result<Self, Error> {
        let writer = match backend.get(&keys::store())? {
            Some(value) => Writer::decode(&value)?,
            None => Writer { next_pointer: 0, primary_key: None },
        };
        let syncer = Syncer::new(durability == Durability::System);
        let (unflushed, cores) = (AtomicBool::new(false), Mutex::default());
        let inner = Inner { backend, writer: Mutex::new(writer), syncer, unflushed, cores };
        let inner = Arc::new(inner);
        let committer = Mutex::default();
        Ok(Self { shared: Arc::new(Shared { inner, committer }) })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.shared.inner
    }

    /// A new core with a new key pair.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn create(&self) -> Result<Hypercore, Error> {
        self.core(CoreOptions { key_pair: Some(KeyPair::generate()), ..CoreOptions::default() })
    }

    /// The core of `key`, of this store or of others.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn get(&self, key: &Hash) -> Result<Hypercore, Error> {
        self.core(CoreOptions { key: Some(*key), ..CoreOptions::default() })
    }

    /// Opens a core, or makes it.
    ///
    /// # Errors
    /// [`Error::BadArgument`] if key, manifest and key pair contradict one another, [`Error::NotFound`] if it must exist and does
    /// not, and when the disk fails or is damaged.
    pub fn core(&self, options: CoreOptions) -> Result<Hypercore, Error> {
        let inner = &self.shared.inner;
        let (key, manifest) = Core::identify(&options)?;
        let discovery_key = crypto::discovery_key(&key);
        // The lock makes sure that there is one object for a core.
        let mut writer = inner.writer.lock();
        let core = match inner.open_locked(&discovery_key)? {
            Some(core) => core,
            None if options.must_exist => return Err(Error::NotFound),
            None => inner.register(Core::create(inner, &mut writer, key, manifest.clone(), &options)?),
        };
        core.learn(manifest, options.key_pair)?;
        Ok(Hypercore::new(core))
    }

    /// The core of `discovery_key`, if it is in the store.
    ///
    /// # Errors
    /// When the disk fails or is damaged.
    pub fn find(&self, discovery_key: &Hash) -> Result<Option<Hypercore>, Error> {
        match Core::stored_key(&self.shared.inner, discovery_key)? {
            Some(key) => self.get(&key).map(Some),
            None => Ok(None),
        }
    }

    /// The discovery keys of all cores in the store.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn discovery_keys(&self) -> Result<Vec<Hash>, Error> {
        let (from, to) = keys::prefixed(keys::Key::from_slice(&[1]));
        let mut found = Vec::new();
        self.shared.inner.backend.range(&from, &to, &mut |key, _| {
            found.extend(key.get(1..).and_then(|key| Hash::try_from(key).ok()));
            true
        })?;
        Ok(found)
    }

    /// The core that was given the name ([`CoreOptions::alias`]).
    ///
    /// # Errors
    /// When the disk fails.
    pub fn discovery_key_of(&self, alias: &[u8]) -> Result<Option<Hash>, Error> {
        let value = self.shared.inner.backend.get(&keys::alias(alias))?;
        value.map(|value| Hash::try_from(&value[..]).map_err(|_| Error::Corrupt("an alias".into()))).transpose()
    }

    /// The key that corestore derives all others from, once it was [set](Self::set_primary_key).
    pub fn primary_key(&self) -> Option<Hash> {
        self.shared.inner.writer.lock().primary_key
    }

    /// Sets the key that corestore derives all others from, once.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is set to another one, and when the disk fails.
    pub fn set_primary_key(&self, key: &Hash) -> Result<Applied, Error> {
        let mut writer = self.shared.inner.writer.lock();
        if writer.primary_key.is_some_and(|known| known != *key) {
            return Err(Error::Conflict);
        }
        writer.primary_key = Some(*key);
        let batch = Batch::from([(keys::store(), Some(writer.encode()))]);
        self.shared.inner.write_locked(batch, [])
    }

    /// Changes of several cores that happen together or not at all.
    pub fn atom(&self) -> Atom {
        Atom::new(self.shared.inner.clone())
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// When the disk failed.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared.inner.ticket().durable().await
    }
}
