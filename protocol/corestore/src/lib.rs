//! The cores of one store, by key and by name: JavaScript's `corestore`.
//!
//! ```
//! use corestore::Corestore;
//! use hypercore::Store;
//!
//! # fn main() -> Result<(), hypercore::Error> {
//! let store = Corestore::with_primary_key(Store::memory(), &[7; 32])?;
//! let core = store.get_named(b"local")?;
//! core.append(["hello"])?;
//! // The same name in another namespace is another core.
//! assert_ne!(store.namespace(b"chat").get_named(b"local")?.key(), core.key());
//! assert_eq!(store.get(&core.key())?.length(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Replication
//! [`Corestore::replicate`] offers every core of the store over a connection: those that are [open](Corestore::open) here are asked
//! for at once, the others are opened when the peer asks for them by their discovery key, and closed when neither side uses them.
//! An open core fetches what is missing from whatever peer has it. There is one task for each connection and one for the store,
//! however many cores there are. `examples/data-peer.rs` is a program on this.
//!
//! All key pairs come from the primary key, a namespace and a name, so that who has the primary key can make the store's cores
//! again.

use std::sync::{Arc, OnceLock};

use crypto::KeyPair;
use hypercore::replication::{Replicated, Replication};
use hypercore::{CoreOptions, Error, Hash, Hypercore, Manifest, Store};
use protomux::Mux;

/// The cores of a store, in one namespace of names.
#[derive(Clone, Debug)]
pub struct Corestore {
    store: Store,
    primary_key: Hash,
    namespace: Hash,
    replication: Arc<OnceLock<Replication>>,
}

/// The key pair of a name in a namespace, of the store with the primary key.
pub fn key_pair(primary_key: &Hash, namespace: &Hash, name: &[u8]) -> KeyPair {
    let context = crypto::namespace("corestore", 0);
    KeyPair::from_seed(&crypto::hash_keyed(primary_key, &[&context, namespace, name]))
}

impl Corestore {
    /// The cores of `store`. Its primary key is made if it has none.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn new(store: Store) -> Result<Self, Error> {
        let primary_key = store.primary_key().unwrap_or_else(|| *KeyPair::generate().seed());
        Self::with_primary_key(store, &primary_key)
    }

    /// The cores of `store`, with the primary key that is given.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the store has another one, and when the disk fails.
    pub fn with_primary_key(store: Store, primary_key: &Hash) -> Result<Self, Error> {
        store.set_primary_key(primary_key)?;
        Ok(Self { store, primary_key: *primary_key, namespace: [0; 32], replication: Arc::default() })
    }

    /// The store itself.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The same store with names of its own: those of the namespace `name` in this one.
    pub fn namespace(&self, name: &[u8]) -> Self {
        Self { namespace: crypto::hash(&[&self.namespace, name]), ..self.clone() }
    }

    /// What the names here are prefixed by.
    pub fn namespace_id(&self) -> &Hash {
        &self.namespace
    }

    /// The key pair of the name.
    pub fn key_pair(&self, name: &[u8]) -> KeyPair {
        key_pair(&self.primary_key, &self.namespace, name)
    }

    /// The core of the name, writable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn get_named(&self, name: &[u8]) -> Result<Hypercore, Error> {
        let alias = [&self.namespace[..], name].concat();
        if let Some(discovery_key) = self.store.discovery_key_of(&alias)?
            && let Some(core) = self.store.find(&discovery_key)?
        {
            return Ok(core);
        }
        let key_pair = Some(self.key_pair(name));
        self.store.core(CoreOptions { key_pair, alias: Some(alias), ..CoreOptions::default() })
    }

    /// The core of the key. It is writable if it was made here.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn get(&self, key: &Hash) -> Result<Hypercore, Error> {
        self.store.get(key)
    }

    /// The core of the manifest.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn get_manifest(&self, manifest: Manifest) -> Result<Hypercore, Error> {
        self.store.core(CoreOptions { manifest: Some(manifest), ..CoreOptions::default() })
    }

    /// What replicates the store's cores. Must be called within a tokio runtime.
    pub fn replication(&self) -> &Replication {
        self.replication.get_or_init(|| {
            let store = self.store.clone();
            Replication::with_opener(move |discovery_key| store.find(discovery_key).ok().flatten())
        })
    }

    /// Replicates over a connection until it ends: call it in [`Mux::prepared`], before anything is read. Must be called within a
    /// tokio runtime.
    pub fn replicate(&self, mux: &Mux) {
        self.replication().replicate(mux);
    }

    /// The core, with what is missing of it fetched from peers as long as the handle is there. Must be called within a tokio
    /// runtime.
    pub fn open(&self, core: &Hypercore) -> Replicated {
        self.replication().add(core)
    }

    /// The core of the key, as [`open`](Self::open).
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open_key(&self, key: &Hash) -> Result<Replicated, Error> {
        Ok(self.open(&self.get(key)?))
    }

    /// The core of the name, as [`open`](Self::open).
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open_named(&self, name: &[u8]) -> Result<Replicated, Error> {
        Ok(self.open(&self.get_named(name)?))
    }
}
