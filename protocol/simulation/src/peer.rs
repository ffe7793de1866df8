//! A peer: a host, perhaps behind a NAT, with a swarm that greets everybody it is connected to.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crypto::KeyPair;
use hyperswarm::Swarm;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use udx::network::nat::NatKind;

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Everybody reaches it.
    Public,
    /// Behind a NAT of its own.
    Behind(NatKind),
}

impl Place {
    /// Whether two peers at these places can connect without a relay.
    #[must_use]
    pub fn can_connect(self, other: Place) -> bool {
        let symmetric = Place::Behind(NatKind::Symmetric);
        self != symmetric || other != symmetric
    }

    /// Whether that takes many sockets and guesses, of which a node does one lot at a time and not often. That holds for public
    /// hosts too, which take themselves for firewalled for their first 20 minutes if the quick test of that was lost.
    #[must_use]
    pub fn needs_luck(self, other: Place) -> bool {
        let symmetric = Place::Behind(NatKind::Symmetric);
        (self == symmetric) != (other == symmetric)
    }
}

/// Connections by the key of the peer at the other end, those alone over which its greeting came.
pub(crate) type Greeted = Arc<Mutex<HashMap<[u8; 32], usize>>>;

/// A peer of the simulation.
pub struct Peer {
    /// Its host.
    pub host: Ipv4Addr,
    /// Where that is.
    pub place: Place,
    /// The topics that it joins.
    pub topics: Vec<[u8; 32]>,
    pub(crate) keys: KeyPair,
    pub(crate) running: Option<Running>,
}

pub(crate) struct Running {
    pub(crate) swarm: Swarm,
    pub(crate) greeted: Greeted,
    pub(crate) rests: bool,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn new(swarm: Swarm) -> Self {
        let greeted = Greeted::default();
        let task = tokio::spawn(greet_all(swarm.clone(), greeted.clone()));
        Self { swarm, greeted, rests: false, task }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// Its key.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.keys.public_key
    }

    /// Its swarm, while it runs.
    #[must_use]
    pub fn swarm(&self) -> Option<&Swarm> {
        self.running.as_ref().map(|running| &running.swarm)
    }

    /// Whether it runs, and does not rest.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.rests)
    }

    /// Whether it has a connection to the peer with this key, and has heard from it.
    #[must_use]
    pub fn hears(&self, key: &[u8; 32]) -> bool {
        self.running.as_ref().is_some_and(|running| running.greeted.lock().contains_key(key))
    }
}

/// Takes every connection, says hello, and counts it from the other's hello to its end.
async fn greet_all(swarm: Swarm, greeted: Greeted) {
    let mut greetings = tokio::task::JoinSet::new();
    while let Some((mut connection, peer)) = swarm.next_connection().await {
        while greetings.try_join_next().is_some() {}
        let (greeted, key) = (greeted.clone(), *peer.public_key());
        greetings.spawn(async move {
            if connection.send(b"hello").await.is_err() || !matches!(connection.recv().await, Ok(Some(_))) {
                return;
            }
            let _counted = Counted::new(greeted, key);
            while let Ok(Some(_)) = connection.recv().await {}
        });
    }
}

/// One greeting, for as long as its connection lives.
struct Counted(Greeted, [u8; 32]);

impl Counted {
    fn new(greeted: Greeted, key: [u8; 32]) -> Self {
        *greeted.lock().entry(key).or_default() += 1;
        Self(greeted, key)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut greeted = self.0.lock();
        if let Some(count) = greeted.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                greeted.remove(&self.1);
            }
        }
    }
}
