//! All connections and all cores that are replicated over them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use protomux::Mux;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connection::{self, Opens};
use super::entry::Entry;
use super::messages::{ALIAS, PROTOCOL};
use super::session::Replicated;
use crate::events::{Event, Events};
use crate::sync::Ticket;
use crate::{Hash, Hypercore};

/// A core that nobody uses here is told to peers as wanted for so long still: it may be used again.
pub const LINGER: Duration = Duration::from_secs(20);

/// Finds the core that a peer announces, if it is here.
pub type Opener = dyn Fn(&Hash) -> Option<Hypercore> + Send + Sync;

type Happening = Pin<Box<dyn Future<Output = (Weak<Entry>, Option<(Event, Events)>)> + Send>>;

enum Command {
    /// Tell of the events of this core from now on, and of what it is when the ticket is durable.
    Follow(Arc<Entry>, Events, Ticket),
    /// Nobody uses the core any more.
    Linger(Weak<Entry>),
}

pub(crate) struct Hub {
    started: Instant,
    entries: Mutex<HashMap<Hash, Arc<Entry>>>,
    connections: Mutex<Vec<Opens>>,
    commands: mpsc::UnboundedSender<Command>,
    opener: Option<Box<Opener>>,
    peers: AtomicU64,
}

impl Hub {
    pub(crate) fn next_peer(&self) -> u64 {
        self.peers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn entry(&self, discovery_key: &Hash) -> Option<Arc<Entry>> {
        self.entries.lock().get(discovery_key).cloned()
    }

    /// The core that a peer opened, which may have to be opened here for it.
    pub(crate) fn find(self: &Arc<Self>, discovery_key: &Hash) -> Option<Arc<Entry>> {
        if let Some(entry) = self.entry(discovery_key) {
            return Some(entry);
        }
        let core = self.opener.as_ref()?(discovery_key)?;
        Some(self.add(&core))
    }

    pub(crate) fn add(self: &Arc<Self>, core: &Hypercore) -> Arc<Entry> {
        self.add_to(&mut self.entries.lock(), core)
    }

    /// The core for a new session, which counts from now on: what is about to be closed stays open.
    pub(crate) fn add_session(self: &Arc<Self>, core: &Hypercore) -> Arc<Entry> {
        let mut entries = self.entries.lock();
        let entry = self.add_to(&mut entries, core);
        entry.sessions.fetch_add(1, Ordering::AcqRel);
        entry
    }

    fn add_to(&self, entries: &mut HashMap<Hash, Arc<Entry>>, core: &Hypercore) -> Arc<Entry> {
        let discovery_key = core.discovery_key();
        if let Some(entry) = entries.get(&discovery_key) {
            return entry.clone();
        }
        // What was appended before must be on disk before anyone is told.
        let (entry, events, ticket) = Entry::new(core.clone(), self.started);
        entries.insert(discovery_key, entry.clone());
        let _ = self.commands.send(Command::Follow(entry.clone(), events, ticket));
        entry
    }

    /// Opens the core's channel on every connection.
    pub(crate) fn announce(&self, entry: &Arc<Entry>) {
        if entry.is_ready() {
            self.connections.lock().retain(|opens| opens.send(entry.clone()).is_ok());
        }
    }

    pub(crate) fn linger(&self, entry: &Arc<Entry>) {
        let _ = self.commands.send(Command::Linger(Arc::downgrade(entry)));
    }

    /// Nobody used the core for a while: if that is so still, it is downloaded no more, and closed if no peer uses it.
    fn rest(&self, entry: &Arc<Entry>) {
        // A session counts under the same lock: one that comes now starts the download again, or finds the core closed.
        let entries = self.entries.lock();
        if entry.sessions.load(Ordering::Acquire) == 0 {
            entry.with(|replicator, now| replicator.set_downloading(false, now));
            drop(entries);
            self.release(&entry.discovery_key);
        }
    }

    /// Closes the core if neither we nor a peer use it.
    pub(crate) fn release(&self, discovery_key: &Hash) {
        let mut entries = self.entries.lock();
        let unused = |entry: &Arc<Entry>| {
            entry.sessions.load(Ordering::Acquire) == 0
                && entry.peer_count() == 0
                && !entry.with_quietly(|replicator| replicator.downloading)
        };
        if entries.get(discovery_key).is_some_and(unused) {
            entries.remove(discovery_key);
        }
    }
}

/// Replicates cores with peers: any number of cores over any number of connections. Clones are handles of the same.
///
/// A task for each connection, and one for all cores.
#[derive(Clone)]
pub struct Replication {
    hub: Arc<Hub>,
}

impl std::fmt::Debug for Replication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cores = self.hub.entries.lock().len();
        f.debug_struct("Replication").field("cores", &cores).finish_non_exhaustive()
    }
}

impl Default for Replication {
    fn default() -> Self {
        Self::new()
    }
}

impl Replication {
    /// Replicates the cores that are [added](Self::add). Must be called within a tokio runtime.
    pub fn new() -> Self {
        Self::start(None)
    }

    /// As [`new`](Self::new), and cores that a peer asks for are opened by `opener` if it finds them.
    pub fn with_opener(opener: impl Fn(&Hash) -> Option<Hypercore> + Send + Sync + 'static) -> Self {
        Self::start(Some(Box::new(opener)))
    }

    fn start(opener: Option<Box<Opener>>) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let hub = Arc::new(Hub {
            started: Instant::now(),
            entries: Mutex::default(),
            connections: Mutex::default(),
            commands,
            opener,
            peers: AtomicU64::new(1),
        });
        tokio::spawn(follow(Arc::downgrade(&hub), receiver));
        Self { hub }
    }

    /// Replicates over a connection, until it ends. Call it before anything is read, in [`Mux::prepared`]: what a peer opens
    /// before is refused.
    pub fn replicate(&self, mux: &Mux) {
        let pairs = [mux.pair(PROTOCOL, None), mux.pair(ALIAS, None)];
        let (opens, receiver) = mpsc::unbounded_channel();
        let entries: Vec<Arc<Entry>> = self.hub.entries.lock().values().cloned().collect();
        for entry in entries {
            if entry.is_ready() && entry.with_quietly(|replicator| replicator.downloading) {
                let _ = opens.send(entry);
            }
        }
        let mut connections = self.hub.connections.lock();
        connections.retain(|opens| !opens.is_closed());
        connections.push(opens);
        drop(connections);
        tokio::spawn(connection::run(self.hub.clone(), mux.clone(), receiver, pairs));
    }

    /// Replicates a core, as long as the handle is there.
    pub fn add(&self, core: &Hypercore) -> Replicated {
        let entry = self.hub.add_session(core);
        Replicated::new(self.hub.clone(), entry, core.clone())
    }

    /// How many cores are open, by us or for a peer.
    pub fn open_cores(&self) -> usize {
        self.hub.entries.lock().len()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        let mut connections = self.hub.connections.lock();
        connections.retain(|opens| !opens.is_closed());
        connections.len()
    }
}

fn happening(entry: Weak<Entry>, mut events: Events) -> Happening {
    async move {
        let event = events.next().await;
        (entry, Some((event, events)))
    }
    .boxed()
}

type Settling = Pin<Box<dyn Future<Output = (Weak<Entry>, bool)> + Send>>;

/// Tells the peers of what happens to the cores.
async fn follow(hub: Weak<Hub>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut happenings: FuturesUnordered<Happening> = FuturesUnordered::new();
    let mut lingering: FuturesUnordered<Pin<Box<dyn Future<Output = Weak<Entry>> + Send>>> = FuturesUnordered::new();
    let mut settling: FuturesUnordered<Settling> = FuturesUnordered::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Follow(entry, events, ticket)) => {
                    let weak = Arc::downgrade(&entry);
                    if !entry.is_ready() {
                        let weak = weak.clone();
                        // A disk that fails says so to whoever writes.
                        settling.push(async move { (weak, ticket.durable().await.is_ok()) }.boxed());
                    }
                    happenings.push(happening(weak, events));
                }
                Some(Command::Linger(entry)) => lingering.push(async move {
                    tokio::time::sleep(LINGER).await;
                    entry
                }.boxed()),
                None => return,
            },
            Some((entry, happened)) = happenings.next(), if !happenings.is_empty() => {
                let (Some(strong), Some((event, events))) = (entry.upgrade(), happened) else { continue };
                strong.with(|replicator, now| replicator.on_event(&event, now));
                happenings.push(happening(entry, events));
            }
            Some((entry, on_disk)) = settling.next(), if !settling.is_empty() => {
                let (Some(hub), Some(entry)) = (hub.upgrade(), entry.upgrade()) else { continue };
                if on_disk {
                    entry.with(|replicator, _| replicator.settle());
                }
                entry.ready.store(true, Ordering::Release);
                hub.announce(&entry);
            }
            Some(entry) = lingering.next(), if !lingering.is_empty() => {
                let (Some(hub), Some(entry)) = (hub.upgrade(), entry.upgrade()) else { continue };
                hub.rest(&entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[tokio::test]
    async fn a_core_that_is_about_to_be_closed_stays_open_for_who_comes() {
        let hub = Replication::new().hub;
        let core = Store::memory().create().expect("core");
        // Counted, and not yet the session that downloads.
        let entry = hub.add_session(&core);
        hub.release(&core.discovery_key());
        assert!(hub.entry(&core.discovery_key()).is_some_and(|open| Arc::ptr_eq(&open, &entry)));
        let session = Replicated::new(hub.clone(), entry.clone(), core.clone());
        // The former session's time is over now.
        hub.rest(&entry);
        assert!(entry.with_quietly(|replicator| replicator.downloading));
        // Clones count too.
        let clone = session.clone();
        drop(session);
        hub.rest(&entry);
        assert!(entry.with_quietly(|replicator| replicator.downloading));
        drop(clone);
        hub.rest(&entry);
        assert!(hub.entry(&core.discovery_key()).is_none());
    }
}
