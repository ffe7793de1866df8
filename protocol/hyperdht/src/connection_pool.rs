//! One connection to each peer, whoever asks for it and whichever side began.
//!
//! A stream has one owner, and a connection of the pool has many users: it is handed out as a [`Mux`], whose clones are handles
//! of the same connection. Users take channels of it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use crypto::KeyPair;
//! use hyperdht::connection_pool::PoolEvent;
//! use hyperdht::testnet::Testnet;
//! use hyperdht::{ConnectOptions, Dht, ServerOptions};
//! use protomux::{ChannelEvent, ChannelOptions};
//! use tokio::sync::mpsc;
//!
//! let network = Testnet::new(4).await?;
//!
//! // Whoever connects to Alice gets an answer on the channel "greeting".
//! let alice = Dht::new(network.options()).await?;
//! let pool = alice.pool();
//! pool.on_event(|event| {
//!     if let PoolEvent::Connection(mux) = event
//!         && let Ok(channel) = mux.open(ChannelOptions::new("greeting"))
//!     {
//!         tokio::spawn(async move { channel.send(0, b"hello, this is Alice").await });
//!     }
//! });
//! let server = alice.create_server(ServerOptions { pool: Some(pool), ..ServerOptions::default() });
//! let keys = KeyPair::generate();
//! let public_key = keys.public_key;
//! server.listen(keys).await?;
//!
//! // Two parts of Bob's program want the same peer, and get the same connection.
//! let bob = Dht::new(network.options()).await?;
//! let pool = bob.pool();
//! let (one, other) = tokio::try_join!(
//!     pool.connect(public_key, ConnectOptions::default()),
//!     pool.connect(public_key, ConnectOptions::default()),
//! )?;
//! assert_eq!(one.handshake_hash(), other.handshake_hash());
//!
//! let mut channel = other.open(ChannelOptions::new("greeting"))?;
//! assert!(matches!(channel.recv().await, Some(ChannelEvent::Open { .. })));
//! assert_eq!(channel.recv().await, Some(ChannelEvent::Message { kind: 0, body: "hello, this is Alice".into() }));
//! # Ok(())
//! # }
//! ```
//!
//! The pool itself holds a handle: a connection stays until one side ends it ([`Mux::end`], [`Mux::destroy`]) or the pool and
//! all other handles are gone.
//!
//! # Two connections to one peer
//! Both sides may begin at once, or the peer may come again before the end of its former connection was noticed. The new one
//! stays if both were begun by the same side, or if our key is the greater one; the other is destroyed. Both sides come to the
//! same decision; JavaScript's `connection-pool.js` decides so too, and calls the reason `DUPLICATE_CONNECTION`. Who waits for
//! [`ConnectionPool::connect`] gets the connection that stays.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use parking_lot::Mutex;
use protomux::{Mux, MuxOptions};
use tokio::sync::{oneshot, watch};

use crate::dht::{ConnectOptions, Connection, Dht};
use crate::error::ConnectError;

/// Connections at which the pool takes no more from its servers: further ones are destroyed. It still connects to others.
pub const MAX_POOLED: usize = 4096;

/// How long a connection of the peer's is waited for when it has destroyed ours and its key is the lesser one: it does that when
/// it calls us at the same time.
const CALL_BACK: Duration = Duration::from_secs(2);

/// What happens in a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolEvent {
    /// A connection is open, begun by either side.
    Connection(Mux),
    /// A connection is destroyed because there is another one to the same peer.
    Duplicate(Mux),
}

type PublicKey = [u8; 32];
type Outcome = Result<Mux, Arc<ConnectError>>;
type Attempt = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Hook = Arc<dyn Fn(&PoolEvent) + Send + Sync>;

/// One connection to each peer. Clones are handles of the same pool; see the [module](self).
#[derive(Clone)]
pub struct ConnectionPool {
    dht: Dht,
    shared: Arc<PoolShared>,
}

struct PoolShared {
    peers: Mutex<Peers>,
    hooks: Mutex<Vec<Hook>>,
    /// Ends the tasks that watch connections, when it is dropped.
    alive: watch::Sender<()>,
}

#[derive(Default)]
struct Peers {
    entries: HashMap<PublicKey, Entry>,
    /// The number of the next entry.
    next: u64,
}

struct Entry {
    number: u64,
    state: State,
}

enum State {
    Connecting {
        /// Goes on for as long as somebody waits for it. Its last handle must not be dropped under the lock.
        attempt: WeakShared<Attempt>,
        /// Alive while the attempt is.
        waited: Weak<()>,
        /// Gives those who wait a connection that the peer began.
        replaced: oneshot::Sender<Mux>,
    },
    Open(Mux),
}

impl Entry {
    /// The connection, if it has not ended.
    fn open(&self) -> Option<&Mux> {
        match &self.state {
            State::Open(mux) if !mux.is_closed() => Some(mux),
            _ => None,
        }
    }

    fn attempt(&self) -> Option<Shared<Attempt>> {
        match &self.state {
            State::Connecting { attempt, .. } => attempt.upgrade(),
            State::Open(_) => None,
        }
    }

    fn is_connecting(&self) -> bool {
        matches!(&self.state, State::Connecting { waited, .. } if waited.strong_count() > 0)
    }
}

impl Peers {
    fn insert(&mut self, peer: PublicKey, state: State) -> u64 {
        let number = self.next;
        self.next += 1;
        self.entries.insert(peer, Entry { number, state });
        number
    }

    fn remove(&mut self, peer: PublicKey, number: u64) -> Option<Entry> {
        match self.entries.entry(peer) {
            MapEntry::Occupied(entry) if entry.get().number == number => Some(entry.remove()),
            _ => None,
        }
    }
}

/// What becomes of a new connection.
enum Verdict {
    /// It stays, with this number, and takes the place of an older one.
    Stays { number: u64, loser: Option<Mux> },
    /// There is another one, or too many.
    Goes,
}

impl std::fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let peers = self.shared.peers.lock().entries.len();
        f.debug_struct("ConnectionPool").field("peers", &peers).finish_non_exhaustive()
    }
}

impl ConnectionPool {
    pub(crate) fn new(dht: Dht) -> Self {
        let shared = PoolShared { peers: Mutex::default(), hooks: Mutex::default(), alive: watch::Sender::new(()) };
        Self { dht, shared: Arc::new(shared) }
    }

    /// Calls `hook` with everything that happens from now on. A connection is shown before anything is read from it: channels
    /// that the hook opens or pairs are there when the peer's first message comes. It must not take long, and not hold
    /// the pool: that would never be dropped.
    pub fn on_event(&self, hook: impl Fn(&PoolEvent) + Send + Sync + 'static) {
        self.shared.hooks.lock().push(Arc::new(hook));
    }

    /// The connection to a peer: the one that is there, the one that is being made, or a new one. In the first two cases the
    /// options have no effect. An attempt is given up when all futures that wait for it are dropped.
    ///
    /// # Errors
    /// As [`Dht::connect`]; all who wait for an attempt get the same error.
    pub async fn connect(
        &self,
        remote_public_key: PublicKey,
        options: ConnectOptions,
    ) -> Result<Mux, Arc<ConnectError>> {
        let attempt = {
            let peers = &mut *self.shared.peers.lock();
            let known = peers.entries.get(&remote_public_key);
            if let Some(mux) = known.and_then(Entry::open) {
                return Ok(mux.clone());
            }
            match known.and_then(Entry::attempt) {
                Some(attempt) => attempt,
                None => self.begin(peers, remote_public_key, options),
            }
        };
        attempt.await
    }

    fn begin(&self, peers: &mut Peers, peer: PublicKey, options: ConnectOptions) -> Shared<Attempt> {
        let number = peers.next;
        let (replaced, replacement) = oneshot::channel();
        let alive = Arc::new(());
        let waited = Arc::downgrade(&alive);
        let attempt = attempt(self.clone(), peer, number, options, replacement);
        let attempt = async move {
            let outcome = attempt.await;
            drop(alive);
            outcome
        };
        let attempt: Shared<Attempt> = (Box::pin(attempt) as Attempt).shared();
        if let Some(weak) = attempt.downgrade() {
            peers.insert(peer, State::Connecting { attempt: weak, waited, replaced });
        }
        attempt
    }

    /// Takes a connection that a peer began, as a server of the pool does; another one to the same peer may be destroyed by it, or
    /// it may be destroyed itself.
    pub fn attach(&self, connection: Connection) {
        self.admit(connection, None);
    }

    /// Whether there is a connection to a peer, or one is being made.
    pub fn has(&self, remote_public_key: &PublicKey) -> bool {
        let peers = self.shared.peers.lock();
        peers.entries.get(remote_public_key).is_some_and(|entry| entry.open().is_some() || entry.is_connecting())
    }

    /// The connection to a peer, if it is open.
    pub fn get(&self, remote_public_key: &PublicKey) -> Option<Mux> {
        self.shared.peers.lock().entries.get(remote_public_key)?.open().cloned()
    }

    /// The open connections.
    pub fn connections(&self) -> Vec<Mux> {
        self.shared.peers.lock().entries.values().filter_map(|entry| entry.open().cloned()).collect()
    }

    /// How many connections are being made.
    pub fn connecting(&self) -> usize {
        self.shared.peers.lock().entries.values().filter(|entry| entry.is_connecting()).count()
    }

    /// Makes a connection one of the pool, unless there is a better one; `attempt` is the number of the attempt that made it.
    fn admit(&self, connection: Connection, attempt: Option<u64>) -> Option<Mux> {
        let mut kept = false;
        let mux = Mux::prepared(connection, MuxOptions::default(), |mux| {
            let verdict = self.shared.peers.lock().judge(mux, attempt);
            match verdict {
                Verdict::Stays { number, loser } => {
                    kept = true;
                    if let Some(loser) = loser {
                        self.shared.destroy(loser);
                    }
                    self.shared.notify(&PoolEvent::Connection(mux.clone()));
                    tokio::spawn(watch(Arc::downgrade(&self.shared), mux.clone(), number));
                }
                Verdict::Goes => self.shared.destroy(mux.clone()),
            }
        });
        kept.then_some(mux)
    }
}

impl Peers {
    fn judge(&mut self, new: &Mux, attempt: Option<u64>) -> Verdict {
        let peer = *new.remote_public_key();
        let full = self.entries.len() >= MAX_POOLED;
        let mut loser = None;
        let mut waiting = None;
        match self.entries.remove(&peer) {
            // The attempt has come to its end.
            Some(entry) if attempt == Some(entry.number) => {}
            Some(entry) => {
                let existing_began = match entry.open() {
                    Some(open) => Some(open.is_initiator()),
                    // If it is neither, it has ended.
                    None => entry.is_connecting().then_some(true),
                };
                let stays = existing_began
                    .is_none_or(|began| began == new.is_initiator() || new.public_key() > new.remote_public_key());
                // An attempt that was replaced is over, whatever it brought.
                if !stays || attempt.is_some() {
                    self.entries.insert(peer, entry);
                    return Verdict::Goes;
                }
                match entry.state {
                    State::Open(mux) => loser = (!mux.is_closed()).then_some(mux),
                    State::Connecting { replaced, .. } => waiting = Some(replaced),
                }
            }
            None if attempt.is_none() && full => return Verdict::Goes,
            None => {}
        }
        let number = self.insert(peer, State::Open(new.clone()));
        if let Some(waiting) = waiting {
            // Nobody may wait any more.
            let _ = waiting.send(new.clone());
        }
        Verdict::Stays { number, loser }
    }
}

impl PoolShared {
    fn notify(&self, event: &PoolEvent) {
        let hooks = self.hooks.lock().clone();
        for hook in hooks {
            hook(event);
        }
    }

    fn destroy(&self, loser: Mux) {
        loser.destroy();
        self.notify(&PoolEvent::Duplicate(loser));
    }
}

/// Connects, until the peer does.
async fn attempt(
    pool: ConnectionPool,
    peer: PublicKey,
    number: u64,
    options: ConnectOptions,
    mut replacement: oneshot::Receiver<Mux>,
) -> Outcome {
    let _forget = Forget { shared: Arc::downgrade(&pool.shared), peer, number };
    let own_key = options.key_pair.as_ref().unwrap_or(pool.dht.key_pair()).public_key;
    let connected = tokio::select! {
        biased;
        Ok(mux) = &mut replacement => return Ok(mux),
        connected = pool.dht.connect(peer, options) => connected,
    };
    let connection = match connected {
        Ok(connection) => connection,
        Err(error @ (ConnectError::Stream(_) | ConnectError::Udx(_))) if own_key > peer => {
            return match tokio::time::timeout(CALL_BACK, replacement).await {
                Ok(Ok(mux)) => Ok(mux),
                _ => Err(Arc::new(error)),
            };
        }
        Err(error) => return Err(Arc::new(error)),
    };
    match pool.admit(connection, Some(number)) {
        Some(mux) => Ok(mux),
        // The peer was faster by a moment.
        None => replacement.await.map_err(|_| Arc::new(ConnectError::PeerConnectionFailed)),
    }
}

/// Removes the entry of an attempt that failed or was given up.
struct Forget {
    shared: Weak<PoolShared>,
    peer: PublicKey,
    number: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            let removed = shared.peers.lock().remove(self.peer, self.number);
            // What it holds must not be dropped under the lock.
            drop(removed);
        }
    }
}

/// Removes a connection that has ended.
async fn watch(shared: Weak<PoolShared>, mux: Mux, number: u64) {
    let Some(mut alive) = shared.upgrade().map(|shared| shared.alive.subscribe()) else { return };
    tokio::select! {
        _ = mux.closed() => {}
        // Nothing is ever sent: the pool is gone.
        _ = alive.changed() => return,
    }
    if let Some(shared) = shared.upgrade() {
        let removed = shared.peers.lock().remove(*mux.remote_public_key(), number);
        drop(removed);
    }
}
