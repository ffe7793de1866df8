//! A core of a store: its keys, its signed history, which blocks of it are here.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use crypto::KeyPair;
use encoding::{DecodeError, Decoder, Encoder};
use parking_lot::{Mutex, RwLock};

use crate::bitfield::Bitfield;
use crate::cuts::Cuts;
use crate::events::Event;
use crate::line::{Line, decode_head, encode_head};
use crate::merkle::{TreeBatch, TreeHead, roots};
use crate::storage::{Batch, Table, keys};
use crate::store::{CoreOptions, Inner, Writer};
use crate::verifier::Verifier;
use crate::{Error, Hash, Manifest};

const MANIFEST: u64 = 1;
const KEY_PAIR: u64 = 2;
const FROZEN: u64 = 4;

/// What is known about who writes the core.
#[derive(Clone, Default)]
pub(crate) struct Auth {
    pub(crate) verifier: Option<Arc<Verifier>>,
    pub(crate) key_pair: Option<KeyPair>,
    pub(crate) frozen: bool,
}

pub(crate) struct Core {
    pub(crate) key: Hash,
    pub(crate) discovery_key: Hash,
    pub(crate) auth: RwLock<Auth>,
    pub(crate) bitfield: RwLock<Bitfield>,
    /// The signed history.
    pub(crate) line: Arc<Line>,
    /// Those that are open.
    pub(crate) drafts: Mutex<HashMap<String, Weak<Line>>>,
    /// Those that others of the same name replaced, but that somebody still reads.
    pub(crate) replaced: Mutex<Vec<Weak<Line>>>,
    pub(crate) cuts: Cuts,
    /// Held by the one exclusive session.
    pub(crate) exclusive: Arc<tokio::sync::Mutex<()>>,
}

impl Core {
    /// The key, and what the manifest is as far as the caller knows.
    pub(crate) fn identify(options: &CoreOptions) -> Result<(Hash, Option<Manifest>), Error> {
        let pair = options.key_pair.as_ref().map(|pair| pair.public_key);
        let manifest = match (&options.manifest, pair, options.key) {
            (Some(manifest), ..) => {
                manifest.validate()?;
                Some(manifest.clone())
            }
            (None, Some(public_key), None) => Some(Manifest::single(public_key)),
            // The key itself, as before Hypercore 11, or that of the usual manifest.
            (None, Some(public_key), Some(key)) => Some(Manifest::single(public_key)).filter(|known| known.is_of(&key)),
            (None, None, _) => None,
        };
        let key = match (options.key, &manifest) {
            (Some(key), Some(manifest)) if !manifest.is_of(&key) => {
                return Err(Error::BadArgument("the manifest is not that of the key"));
            }
            (Some(key), _) => key,
            (None, Some(manifest)) => manifest.key(),
            (None, None) => return Err(Error::BadArgument("a core has a key, a manifest or a key pair")),
        };
        Ok((key, manifest))
    }

    pub(crate) fn create(
        store: &Arc<Inner>,
        writer: &mut Writer,
        key: Hash,
        manifest: Option<Manifest>,
        options: &CoreOptions,
    ) -> Result<Self, Error> {
        let discovery_key = crypto::discovery_key(&key);
        let mut batch = Batch::new();
        let pointer = store.new_pointer(writer, &mut batch)?;
        let verifier = manifest.map(|manifest| Verifier::new(key, manifest)).transpose()?.map(Arc::new);
        let auth = Auth { verifier, key_pair: options.key_pair.clone(), frozen: false };
        batch.insert(keys::core(&discovery_key), Some(encode_core(&key, pointer, &auth)));
        if let Some(alias) = &options.alias {
            batch.insert(keys::alias(alias), Some(Bytes::copy_from_slice(&discovery_key)));
        }
        store.write_locked(batch, [])?;
        let line = Line::new(store.clone(), pointer, None, TreeHead::default(), None);
        Ok(Self {
            key,
            discovery_key,
            auth: RwLock::new(auth),
            bitfield: RwLock::default(),
            line: Arc::new(line),
            drafts: Mutex::default(),
            replaced: Mutex::default(),
            cuts: Cuts::default(),
            exclusive: Arc::default(),
        })
    }

    pub(crate) fn stored_key(store: &Inner, discovery_key: &Hash) -> Result<Option<Hash>, Error> {
        let value = store.backend.get(&keys::core(discovery_key))?;
        value.map(|value| decode_core(&value).map(|(key, ..)| key)).transpose()
    }

    pub(crate) fn load(store: &Arc<Inner>, discovery_key: &Hash) -> Result<Option<Self>, Error> {
        let Some(value) = store.backend.get(&keys::core(discovery_key))? else { return Ok(None) };
        let (key, pointer, auth) = decode_core(&value)?;
        let (head, contiguous) = match store.backend.get(&Table::Head.only(pointer))? {
            Some(value) => decode_head(&value)?,
            None => Default::default(),
        };
        let mut bitfield = Bitfield::new(contiguous);
        let mut damaged = false;
        store.backend.range(&Table::Bitfield.only(pointer), &Table::Bitfield.end(pointer), &mut |key, page| {
            damaged |= !Table::index(key).is_some_and(|index| bitfield.load(index, &page));
            !damaged
        })?;
        if damaged {
            return Err(Error::Corrupt("the bitfield of a core".into()));
        }
        let line = Line::new(store.clone(), pointer, None, head, None);
        line.load_roots()?;
        Ok(Some(Self {
            key,
            discovery_key: *discovery_key,
            auth: RwLock::new(auth),
            bitfield: RwLock::new(bitfield),
            line: Arc::new(line),
            drafts: Mutex::default(),
            replaced: Mutex::default(),
            cuts: Cuts::default(),
            exclusive: Arc::default(),
        }))
    }

    /// Takes what a caller knows and the store does not, while the writer is locked.
    pub(crate) fn learn(&self, manifest: Option<Manifest>, key_pair: Option<KeyPair>) -> Result<(), Error> {
        let mut auth = self.auth.read().clone();
        let has_manifest = auth.verifier.is_some();
        if let (None, Some(manifest)) = (&auth.verifier, manifest) {
            auth.verifier = Some(Arc::new(Verifier::new(self.key, manifest)?));
        }
        if auth.key_pair.is_none() {
            auth.key_pair = key_pair;
        }
        if auth.verifier.is_some() == has_manifest && auth.key_pair == self.auth.read().key_pair {
            return Ok(());
        }
        let mut batch = Batch::new();
        self.put_auth(&auth, &mut batch);
        let event = (!has_manifest && auth.verifier.is_some()).then(|| (self.line.listeners.clone(), Event::Manifest));
        self.line.store.write_locked(batch, event)?;
        *self.auth.write() = auth;
        Ok(())
    }

    /// The head, signed if that can be done here. Blocks that are appended one by one share the signature that is made when somebody
    /// looks; and what somebody gets is signed also while others append.
    pub(crate) fn with_signed_head<T>(&self, read: impl FnOnce(&TreeHead) -> T) -> Result<T, Error> {
        {
            let head = self.line.head.read();
            if self.signer(&head).is_none() {
                return Ok(read(&head));
            }
        }
        let _writer = self.line.store.writer.lock();
        self.sign_head()?;
        Ok(read(&self.line.head.read()))
    }

    /// Signs the head if it is not signed and that can be done here, while the writer is locked.
    pub(crate) fn sign_head(&self) -> Result<(), Error> {
        let head = self.line.head.read().clone();
        let Some((verifier, keys)) = self.signer(&head) else { return Ok(()) };
        let mut tree = TreeBatch::new(head, None);
        tree.head.signature = verifier.sign(&tree, &keys)?;
        let mut batch = Batch::new();
        self.put_head(&tree.head, &mut self.bitfield.write(), &mut batch);
        self.line.store.write_locked(batch, [])?;
        self.line.head.write().signature = tree.head.signature;
        Ok(())
    }

    /// What to sign the head with, if it has no signature and needs one.
    fn signer(&self, head: &TreeHead) -> Option<(Arc<Verifier>, KeyPair)> {
        if head.length == 0 || !head.signature.is_empty() {
            return None;
        }
        let auth = self.auth.read();
        let (verifier, keys) = auth.verifier.as_ref().zip(auth.key_pair.as_ref())?;
        verifier.signs_alone(keys, head.length).then(|| (verifier.clone(), keys.clone()))
    }

    pub(crate) fn put_auth(&self, auth: &Auth, batch: &mut Batch) {
        batch.insert(keys::core(&self.discovery_key), Some(encode_core(&self.key, self.line.pointer, auth)));
    }

    pub(crate) fn put_bitfield(&self, bitfield: &mut Bitfield, batch: &mut Batch) {
        for (page, bytes) in bitfield.take_dirty() {
            batch.insert(Table::Bitfield.at(self.line.pointer, page), bytes);
        }
    }

    pub(crate) fn put_head(&self, head: &TreeHead, bitfield: &mut Bitfield, batch: &mut Batch) {
        self.put_bitfield(bitfield, batch);
        batch.insert(Table::Head.only(self.line.pointer), Some(encode_head(head, bitfield.contiguous())));
    }
}

impl Line {
    /// Reads the roots of a head that was just read.
    pub(crate) fn load_roots(&self) -> Result<(), Error> {
        let length = self.head.read().length;
        let damaged = |error| match error {
            Error::InvalidRequest(_) => Error::Corrupt("a root of a tree is missing".into()),
            error => error,
        };
        let roots = roots(self, length).map_err(damaged)?;
        self.head.write().roots = roots;
        Ok(())
    }
}

/// The entry of a core: `key ‖ uint pointer ‖ uint flags ‖ [buffer manifest] ‖ [seed]`.
fn encode_core(key: &Hash, pointer: u32, auth: &Auth) -> Bytes {
    let mut flags = if auth.frozen { FROZEN } else { 0 };
    flags |= if auth.verifier.is_some() { MANIFEST } else { 0 };
    flags |= if auth.key_pair.is_some() { KEY_PAIR } else { 0 };
    let mut out = Encoder::new();
    out.fixed(key).uint(pointer.into()).uint(flags);
    if let Some(verifier) = &auth.verifier {
        out.buffer(&verifier.manifest().encode());
    }
    if let Some(pair) = &auth.key_pair {
        out.fixed(pair.seed());
    }
    out.finish().into()
}

fn decode_core(value: &[u8]) -> Result<(Hash, u32, Auth), Error> {
    let decode = || -> Result<_, DecodeError> {
        let mut from = Decoder::new(value);
        let key: Hash = from.fixed()?;
        let pointer = from.uint()?.try_into().map_err(|_| DecodeError::Invalid("a pointer"))?;
        let flags = from.uint()?;
        let manifest =
            if flags & MANIFEST != 0 { Some(Manifest::decode(&mut Decoder::new(from.buffer()?))?) } else { None };
        let key_pair = if flags & KEY_PAIR != 0 { Some(KeyPair::from_seed(&from.fixed()?)) } else { None };
        Ok((key, pointer, manifest, key_pair, flags & FROZEN != 0))
    };
    let damaged = |_| Error::Corrupt("the entry of a core".into());
    let (key, pointer, manifest, key_pair, frozen) = decode().map_err(damaged)?;
    let verifier = manifest.map(|manifest| Verifier::new(key, manifest)).transpose();
    let verifier = verifier.map_err(|_| Error::Corrupt("the manifest of a core".into()))?.map(Arc::new);
    Ok((key, pointer, Auth { verifier, key_pair, frozen }))
}
