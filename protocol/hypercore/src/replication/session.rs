use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::entry::{Entry, ExtensionMessage};
use super::hub::Hub;
use super::wants::DownloadRange;
use crate::merkle::Seek;
use crate::{Error, Hash, Hypercore};

/// A core whose missing blocks come from peers. Clones are handles of the same; the core is downloaded as long as there is one.
pub struct Replicated {
    hub: Arc<Hub>,
    entry: Arc<Entry>,
    core: Hypercore,
}

impl std::fmt::Debug for Replicated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicated").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Clone for Replicated {
    fn clone(&self) -> Self {
        self.with_core(self.core.clone())
    }
}

impl Drop for Replicated {
    fn drop(&mut self) {
        if self.entry.sessions.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.hub.linger(&self.entry);
        }
    }
}

/// Takes requests back when nobody waits for their answers any more.
struct Waiting<'a>(&'a Entry);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with(|replicator, now| replicator.prune(now));
    }
}

impl Replicated {
    /// A session that [counts](Hub::add_session) already.
    pub(crate) fn new(hub: Arc<Hub>, entry: Arc<Entry>, core: Hypercore) -> Self {
        let began = entry.with(|replicator, now| {
            let began = !replicator.downloading;
            if began {
                replicator.set_downloading(true, now);
            }
            began
        });
        if began {
            hub.announce(&entry);
        }
        Self { hub, entry, core }
    }

    /// The session on the core.
    pub fn core(&self) -> &Hypercore {
        &self.core
    }

    /// The same core through another session: with its encryption, as a snapshot.
    pub fn with_core(&self, core: Hypercore) -> Self {
        // This one counts: the core is not being closed.
        self.entry.sessions.fetch_add(1, Ordering::AcqRel);
        Self::new(self.hub.clone(), self.entry.clone(), core)
    }

    /// How many peers the core is replicated with.
    pub fn peers(&self) -> usize {
        self.entry.peer_count()
    }

    /// The block. If it is not here, a peer is asked for it, as soon as one has it; give up waiting whenever it suits.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a block of a snapshot that can never come: it is beyond its length, or the core has another history
    /// now. When the disk fails.
    pub async fn get(&self, index: u64) -> Result<Bytes, Error> {
        loop {
            if let Some(block) = self.core.get(index)? {
                return Ok(block);
            }
            let mut gone = false;
            let receiver = self.entry.with(|replicator, now| {
                let receiver = replicator.wants.add_block(index);
                // A cut before this is seen here; of one after it the want is told.
                gone = self.core.is_gone(index);
                // It may have come in between.
                replicator.wants.resolve_local(&replicator.core);
                replicator.update_all(now);
                receiver
            });
            let waiting = Waiting(&self.entry);
            if gone {
                return Err(Error::NotFound);
            }
            let answer = receiver.await;
            std::mem::forget(waiting);
            match answer {
                Ok(Ok(_)) => {}
                Ok(Err(Error::NotFound)) | Err(_) => tokio::task::yield_now().await,
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// As [`get`](Self::get), for so long at most: then `None`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn get_within(&self, index: u64, timeout: Duration) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout(timeout, self.get(index)).await {
            Ok(block) => block.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Waits until no peer that is there has a longer core that it can prove. Without peers, at once.
    pub async fn update(&self) {
        loop {
            let mut progress = std::pin::pin!(self.entry.progress.notified());
            progress.as_mut().enable();
            if !self.entry.with_quietly(|replicator| replicator.is_behind()) {
                return;
            }
            progress.await;
        }
    }

    /// Waits until the core has so many blocks.
    pub async fn wait_for_length(&self, length: u64) {
        let mut events = self.core.subscribe();
        while self.core.length() < length {
            events.next().await;
        }
    }

    /// Downloads blocks, as long as the handle is there.
    pub fn download(&self, range: DownloadRange) -> Download {
        let (id, done) = self.entry.with(|replicator, now| {
            let added = replicator.wants.add_range(range);
            replicator.wants.advance_ranges(&replicator.core);
            replicator.update_all(now);
            added
        });
        Download { entry: self.entry.clone(), id, done }
    }

    /// The block that a byte of the core is in; peers are asked for the part of the tree that says so.
    ///
    /// # Errors
    /// When the disk fails, and for a byte beyond the core.
    pub async fn seek(&self, bytes: u64) -> Result<Seek, Error> {
        let padding = self.core.padding();
        let receiver = self.entry.with(|replicator, now| {
            let receiver = replicator.wants.add_seek(bytes, padding);
            replicator.wants.resolve_seeks(&replicator.core);
            replicator.update_all(now);
            receiver
        });
        let waiting = Waiting(&self.entry);
        let answer = receiver.await;
        std::mem::forget(waiting);
        answer.unwrap_or(Err(Error::Closed))
    }

    /// Messages of an extension, from now on. A later call for the same name takes the place of the former.
    pub fn listen(&self, extension: &str) -> mpsc::Receiver<ExtensionMessage> {
        self.entry.listen(extension)
    }

    /// Sends a message of an extension to all peers, or to one.
    pub fn send_extension(&self, extension: &str, message: &[u8], to: Option<&Hash>) {
        self.entry.extend(extension, message, to);
    }
}

/// A download. Dropping it ends it.
#[derive(Debug)]
pub struct Download {
    entry: Arc<Entry>,
    id: u64,
    done: oneshot::Receiver<()>,
}

impl Download {
    /// Waits until all its blocks are here. A download without an end has none.
    pub async fn done(&mut self) {
        // Once told, or with the core closed, there is nothing to wait for.
        let _ = (&mut self.done).await;
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.entry.with(|replicator, _| replicator.wants.remove_range(self.id));
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("peers", &self.peer_count()).finish_non_exhaustive()
    }
}
