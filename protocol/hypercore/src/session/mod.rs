//! A handle of a core: reading.

mod change;
mod commit;
mod draft;
mod replicate;
mod retired;

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use crypto::KeyPair;
use parking_lot::RwLock;
use tokio::sync::OwnedMutexGuard;

pub use change::MAX_BLOCK_BYTES;
pub(crate) use change::protect_drafts;
pub use commit::CommitOptions;
pub use draft::DraftOptions;
pub use replicate::Verified;

use crate::atom::Atom;
use crate::core::Core;
use crate::encryption::Encryption;
use crate::events::Events;
use crate::line::Line;
use crate::merkle::{NodeSource, Seek, TreeHead, roots, seek};
use crate::node::tree_hash;
use crate::snapshot::{Saved, SnapshotTree};
use crate::storage::{Batch, Key, Table};
use crate::store::Applied;
use crate::{Error, Hash, Manifest, Node, Prologue, verifier};

/// The history that a group of sessions is on.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) core: Arc<Core>,
    pub(crate) line: Arc<Line>,
}

/// A session on a core: on what is signed, on a draft of it, or on either as it was or as an atom changes it.
///
/// Clones are sessions on the same. The core stays open as long as there is one.
#[derive(Clone)]
pub struct Hypercore {
    place: Arc<RwLock<Place>>,
    atom: Option<(Atom, Place)>,
    snapshot: Option<(Place, Arc<Saved>)>,
    encryption: Option<Arc<dyn Encryption>>,
    key_pair: Option<KeyPair>,
    read_only: bool,
    /// Held by an exclusive session and its clones.
    exclusive: Option<Arc<OwnedMutexGuard<()>>>,
}

impl std::fmt::Debug for Hypercore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key: String = self.key()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        f.debug_struct("Hypercore")
            .field("key", &key)
            .field("length", &self.length())
            .field("fork", &self.fork())
            .finish()
    }
}

impl Hypercore {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let line = core.line.clone();
        Self::on(Place { core, line })
    }

    fn on(place: Place) -> Self {
        let place = Arc::new(RwLock::new(place));
        Self { place, atom: None, snapshot: None, encryption: None, key_pair: None, read_only: false, exclusive: None }
    }

    /// The core and the history that this session sees.
    fn place(&self) -> Place {
        if let Some((place, _)) = &self.snapshot {
            return place.clone();
        }
        match &self.atom {
            Some((_, place)) => place.clone(),
            None => self.place.read().clone(),
        }
    }

    /// The same session, with blocks encrypted: by [`BlockEncryption`](crate::BlockEncryption) or by another rule.
    pub fn with_encryption(mut self, encryption: Option<impl Encryption>) -> Self {
        self.encryption = encryption.map(|encryption| Arc::new(encryption) as Arc<dyn Encryption>);
        self
    }

    /// The same session as the only exclusive one of its core (`exclusive` of JavaScript's `hypercore`), once no other is: until it and
    /// all its clones are dropped, others wait here, in the order in which they came. Sessions that do not ask write as ever. One that
    /// cannot write does not wait. Whoever holds an exclusive session and waits for another one of the same core waits for ever.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), hypercore::Error> {
    /// let core = hypercore::Store::memory().create()?;
    /// let writer = core.clone().exclusive().await;
    /// let other = tokio::spawn(core.clone().exclusive());
    /// writer.append(["mine"])?;
    /// drop(writer);
    /// other.await.expect("no panic").append(["then the other's"])?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn exclusive(mut self) -> Self {
        if self.exclusive.is_none() && !self.read_only {
            let exclusive = self.place().core.exclusive.clone();
            self.exclusive = Some(Arc::new(exclusive.lock_owned().await));
        }
        self
    }

    /// The same session, writing with another key pair than the one in the store.
    pub fn with_key_pair(mut self, key_pair: KeyPair) -> Self {
        self.key_pair = Some(key_pair);
        self
    }

    /// The same session, unable to write.
    pub fn read_only(mut self) -> Self {
        (self.read_only, self.exclusive) = (true, None);
        self
    }

    /// This session as `atom` changes it: what is written is seen by sessions of this atom alone, until it is flushed.
    ///
    /// # Errors
    /// [`Error::BadArgument`] on a snapshot, in another atom, or with the atom of another store.
    pub fn in_atom(&self, atom: &Atom) -> Result<Self, Error> {
        if self.snapshot.is_some() || self.atom.is_some() {
            return Err(Error::BadArgument("a snapshot, or a session of an atom, cannot be in an atom"));
        }
        let place = self.place();
        let line = atom.line(&place.core, &place.line)?;
        Ok(Self { atom: Some((atom.clone(), Place { line, ..place })), ..self.clone() })
    }

    /// This session as it is now, whatever happens to the core. Blocks that are not here yet may still come.
    pub fn snapshot(&self) -> Self {
        if self.snapshot.is_some() {
            return self.clone();
        }
        let place = self.place();
        // Nothing can be cut, or appended unsigned, between the look at the head and the registration.
        let _writer = place.line.store.writer.lock();
        if self.has_signature(&place)
            && let Err(error) = place.core.sign_head()
        {
            tracing::error!(%error, "a head cannot be signed");
        }
        let saved = Arc::new(Saved::new(place.line.head.read().clone(), place.line.epoch()));
        place.line.snapshots.lock().push(Arc::downgrade(&saved));
        Self { snapshot: Some((place.clone(), saved)), ..self.clone() }.read_only()
    }

    /// Whether this is a snapshot.
    pub fn is_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether this session is on the signed history, not on a draft.
    pub fn is_signed(&self) -> bool {
        self.place().line.is_signed()
    }

    /// The core's key: who has it can read the core.
    pub fn key(&self) -> Hash {
        self.place().core.key
    }

    /// What peers name the core by without giving its key away.
    pub fn discovery_key(&self) -> Hash {
        self.place().core.discovery_key
    }

    /// Who may sign the core, if that is known already.
    pub fn manifest(&self) -> Option<Manifest> {
        self.place().core.auth.read().verifier.as_ref().map(|verifier| verifier.manifest().clone())
    }

    fn prologue(&self) -> Option<Prologue> {
        self.place().core.auth.read().verifier.as_ref().and_then(|verifier| verifier.manifest().prologue)
    }

    /// The rules of the manifest.
    pub fn verifier(&self) -> Option<Arc<verifier::Verifier>> {
        self.place().core.auth.read().verifier.clone()
    }

    /// The key pair that the core is written with, if it is here.
    pub fn key_pair(&self) -> Option<KeyPair> {
        self.key_pair.clone().or_else(|| self.place().core.auth.read().key_pair.clone())
    }

    /// Whether blocks can be appended.
    pub fn is_writable(&self) -> bool {
        let has_keys = || self.key_pair.is_some() || self.place().core.auth.read().key_pair.is_some();
        !self.read_only && (!self.is_signed() || has_keys())
    }

    /// Whether two signatures were seen that contradict one another.
    pub fn is_frozen(&self) -> bool {
        self.place().core.auth.read().frozen
    }

    /// The tree's head, signed if that is possible here. (Where the disk fails it is not, and every change will say so.)
    pub fn head(&self) -> TreeHead {
        self.looked_at(TreeHead::clone)
    }

    /// Fork and length, signed if that is possible here, and the bytes of all blocks as they are stored.
    pub(crate) fn signed_size(&self) -> (u64, u64, u64) {
        self.looked_at(|head| (head.fork, head.length, head.byte_length))
    }

    fn looked_at<T>(&self, read: impl Fn(&TreeHead) -> T) -> T {
        self.with_signed_head(&read).unwrap_or_else(|error| {
            tracing::error!(%error, "a head cannot be signed");
            self.with_head(read)
        })
    }

    /// Whether the head that is seen is the core's own, which is signed, and not that of a draft, an atom or a snapshot.
    fn has_signature(&self, place: &Place) -> bool {
        place.line.is_signed() && place.line.atom.is_none() && self.snapshot.is_none()
    }

    /// The head that is seen, with its signature.
    fn with_signed_head<T>(&self, read: impl FnOnce(&TreeHead) -> T) -> Result<T, Error> {
        let place = self.place();
        if self.has_signature(&place) { place.core.with_signed_head(read) } else { Ok(self.with_head(read)) }
    }

    fn with_head<T>(&self, read: impl FnOnce(&TreeHead) -> T) -> T {
        match &self.snapshot {
            Some((_, saved)) => read(&saved.head),
            None => read(&self.place().line.head.read()),
        }
    }

    /// How many blocks there are.
    pub fn length(&self) -> u64 {
        self.with_head(|head| head.length)
    }

    /// How often the history was cut.
    pub fn fork(&self) -> u64 {
        self.with_head(|head| head.fork)
    }

    /// While this stays the same, each block that was read stays what it is. Another number in each history, and after each cut or
    /// [move](Self::move_to), also where the fork is the same; never a lower one in one session. It means nothing to other processes.
    pub fn epoch(&self) -> u64 {
        match &self.snapshot {
            Some((_, saved)) => saved.epoch,
            None => self.place().line.epoch(),
        }
    }

    /// How many bytes all blocks have, without what encryption adds.
    pub fn byte_length(&self) -> u64 {
        self.with_head(|head| head.byte_length.saturating_sub(head.length.saturating_mul(self.padding())))
    }

    /// How many of the blocks are signed: all, but in a draft.
    pub fn signed_length(&self) -> u64 {
        let place = self.place();
        let length = self.length();
        if place.line.is_signed() { length } else { length.min(place.line.base_length()) }
    }

    /// How many bytes of each block are encryption's.
    pub fn padding(&self) -> u64 {
        self.encryption.as_ref().map_or(0, |encryption| encryption.padding() as u64)
    }

    /// All blocks below are here, and the next is not.
    pub fn contiguous_length(&self) -> u64 {
        let place = self.place();
        let contiguous = place.core.bitfield.read().contiguous();
        if place.line.is_signed() && place.line.atom.is_none() { contiguous.min(self.length()) } else { self.length() }
    }

    /// Whether the block is here.
    pub fn has(&self, index: u64) -> bool {
        let place = self.place();
        if index >= self.length() {
            return false;
        }
        match &place.line.atom {
            Some(link) if place.line.is_signed() && index >= link.kept() => true,
            _ if place.line.is_signed() || index < place.line.base_length() => place.core.bitfield.read().get(index),
            // A draft may have begun with a core of which not all was here.
            _ => self.get_raw(index).is_ok_and(|block| block.is_some()),
        }
    }

    /// Whether the block is of a snapshot, and will never be here: the core has another history now, or it is beyond its length.
    pub(crate) fn is_gone(&self, index: u64) -> bool {
        self.snapshot.as_ref().is_some_and(|(_, saved)| saved.is_gone(index))
    }

    /// The first block in `start..end` that is here (or, with `here` false, is not).
    pub fn find_block(&self, here: bool, start: u64, end: u64) -> Option<u64> {
        self.place().core.bitfield.read().find(here, start, end)
    }

    #[cfg(test)]
    pub(crate) fn line(&self) -> Arc<Line> {
        self.place().line
    }

    /// As if these blocks were here.
    #[cfg(test)]
    pub(crate) fn set_here(&self, start: u64, end: u64) {
        self.place().core.bitfield.write().set(start, end);
    }

    /// 64 blocks from `64 * word` on: which of them are here, the first in bit 0.
    pub fn bitfield_word(&self, word: u64) -> u64 {
        self.place().core.bitfield.read().word(word)
    }

    /// The block, if it is here. Empty blocks are blocks.
    ///
    /// # Errors
    /// When the disk fails or is damaged, and as [`Encryption::decrypt`] says.
    pub fn get(&self, index: u64) -> Result<Option<Bytes>, Error> {
        let Some(block) = self.get_raw(index)? else { return Ok(None) };
        match &self.encryption {
            Some(encryption) => Ok(Some(encryption.decrypt(index, &block)?.into())),
            None => Ok(Some(block)),
        }
    }

    /// The block as it is stored and sent, if it is here.
    ///
    /// # Errors
    /// When the disk fails or is damaged.
    pub fn get_raw(&self, index: u64) -> Result<Option<Bytes>, Error> {
        if index >= self.length() {
            return Ok(None);
        }
        match &self.snapshot {
            Some((place, saved)) => saved.block(&place.line, index),
            None => self.place().line.block(index),
        }
    }

    /// The node of the tree, if it is here.
    ///
    /// # Errors
    /// When the disk fails or is damaged.
    pub fn node(&self, index: u64) -> Result<Option<Node>, Error> {
        self.with_tree(|tree| tree.node(index))
    }

    fn with_tree<T>(&self, read: impl FnOnce(&Tree<'_>) -> T) -> T {
        match &self.snapshot {
            Some((place, saved)) => read(&Tree::Snapshot(SnapshotTree { saved, line: &place.line })),
            None => read(&Tree::Line(&self.place().line)),
        }
    }

    fn roots_at(&self, length: u64) -> Result<Vec<Node>, Error> {
        match length.cmp(&self.length()) {
            Ordering::Equal => Ok(self.with_head(|head| head.roots.clone())),
            Ordering::Greater => Err(Error::BadArgument("a length beyond that of the core")),
            Ordering::Less => self.with_tree(|tree| roots(tree, length)),
        }
    }

    /// The hash of the tree over the first `length` blocks.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for more blocks than there are, and when its nodes are not here.
    pub fn tree_hash(&self, length: u64) -> Result<Hash, Error> {
        Ok(tree_hash(&self.roots_at(length)?))
    }

    /// What signers of the core sign for the first `length` blocks.
    ///
    /// # Errors
    /// As [`tree_hash`](Self::tree_hash).
    pub fn signable(&self, length: u64, fork: u64) -> Result<Vec<u8>, Error> {
        Ok(verifier::signable(&self.key(), &self.tree_hash(length)?, length, fork))
    }

    /// The block that a byte is in.
    ///
    /// # Errors
    /// When the disk fails or is damaged.
    pub fn seek(&self, bytes: u64) -> Result<Seek, Error> {
        self.seek_padded(bytes, self.padding())
    }

    /// The block that a byte is in, `padding` bytes of each block not counted.
    pub(crate) fn seek_padded(&self, bytes: u64, padding: u64) -> Result<Seek, Error> {
        self.with_tree(|tree| seek(&self.with_head(TreeHead::clone), tree, bytes, padding))
    }

    /// The user data of the name.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn user_data(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let line = self.place().line;
        line.read(&Table::UserData.named(line.pointer, name.as_bytes()))
    }

    /// Sets (or removes) the user data of the name.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn set_user_data(&self, name: &str, value: Option<&[u8]>) -> Result<Applied, Error> {
        self.put(Table::UserData, &[(name.as_bytes(), value)])
    }

    /// Bytes that only the owner of the store sees, by key.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn local(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let line = self.place().line;
        line.read(&Table::Local.named(line.pointer, key))
    }

    /// All of [`local`](Self::local) with keys in `from..to`, in order.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn local_range(&self, from: &[u8], to: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, Error> {
        let line = self.place().line;
        let named = |key| Table::Local.named(line.pointer, key);
        let entries = line.read_range(&named(from), &named(to))?;
        let prefix = named(&[]).len();
        Ok(entries.into_iter().map(|(key, value): (Key, _)| (key[prefix..].to_vec(), value)).collect())
    }

    /// Sets (or removes) several of [`local`](Self::local) at once.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn set_local(&self, entries: &[(&[u8], Option<&[u8]>)]) -> Result<Applied, Error> {
        self.put(Table::Local, entries)
    }

    fn put(&self, table: Table, entries: &[(&[u8], Option<&[u8]>)]) -> Result<Applied, Error> {
        let line = self.place().line;
        let entry = |(name, value): &(&[u8], Option<&[u8]>)| {
            (table.named(line.pointer, name), value.map(Bytes::copy_from_slice))
        };
        let batch: Batch = entries.iter().map(entry).collect();
        let _writer = line.store.writer.lock();
        match &line.atom {
            Some(link) => link.stage(batch, false).map(|()| Applied::of(line.store.ticket())),
            None => line.store.write_locked(batch, []),
        }
    }

    /// What happens to this history from now on. In an atom, what happens to it there.
    pub fn subscribe(&self) -> Events {
        let stays = self.snapshot.is_some() || self.atom.is_some();
        // While this is locked the session does not move.
        let _here = self.place.read();
        let line = if stays { self.place().line } else { _here.line.clone() };
        line.listeners.subscribe(stays, line.store.clone())
    }
}

/// The tree that a session sees.
enum Tree<'a> {
    Line(&'a Line),
    Snapshot(SnapshotTree<'a>),
}

impl NodeSource for Tree<'_> {
    fn node(&self, index: u64) -> Result<Option<Node>, Error> {
        match self {
            Self::Line(line) => line.node(index),
            Self::Snapshot(tree) => tree.node(index),
        }
    }
}
