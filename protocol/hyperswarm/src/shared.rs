//! What the handles of a swarm see of it without asking its task.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::PeerInfo;
use crate::core::{Core, LinkId, Stats};

/// What happens in a swarm beside connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SwarmEvent {
    /// The connections or the attempts changed.
    Update,
    /// The firewall refused this peer, and it is banned.
    Ban(PeerInfo),
}

/// Connections that wait for [`Swarm::next_connection`](crate::Swarm::next_connection), and the figures of the swarm.
///
/// There is never more than one waiting connection a peer, and not more of them than the swarm's limits allow: one that closes
/// before somebody takes it is withdrawn.
pub(crate) struct Shared<C> {
    inner: Mutex<Inner<C>>,
    notify: Notify,
}

struct Inner<C> {
    ready: VecDeque<(LinkId, C, PeerInfo)>,
    closed: bool,
    figures: Figures,
}

/// What a swarm holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// Connections.
    pub connections: usize,
    /// Attempts that run.
    pub connecting: usize,
    /// Peers that are known: connected, waiting for an attempt, or asked for by key.
    pub known_peers: usize,
    /// Peers that wait for an attempt.
    pub queued: usize,
    /// Peers whose connection closed, and that wait to be tried again.
    pub waiting: usize,
    /// Topics that are joined.
    pub topics: usize,
}

/// The figures of a swarm.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) gauges: Gauges,
    pub(crate) stats: Stats,
}

impl<C> Default for Shared<C> {
    fn default() -> Self {
        let inner = Inner { ready: VecDeque::new(), closed: false, figures: Figures::default() };
        Self { inner: Mutex::new(inner), notify: Notify::new() }
    }
}

impl<C> Shared<C> {
    pub(crate) fn offer(&self, id: LinkId, connection: C, peer: PeerInfo) {
        self.inner.lock().ready.push_back((id, connection, peer));
        self.notify.notify_one();
    }

    /// The connection closed: if nobody took it, nobody shall.
    pub(crate) fn withdraw(&self, id: LinkId) {
        let mut inner = self.inner.lock();
        let position = inner.ready.iter().position(|(waiting, ..)| *waiting == id);
        let withdrawn = position.and_then(|position| inner.ready.remove(position));
        drop(inner);
        // A connection is dropped without the lock.
        drop(withdrawn);
    }

    pub(crate) async fn next(&self) -> Option<(C, PeerInfo)> {
        loop {
            let notified = self.notify.notified();
            {
                let mut inner = self.inner.lock();
                if let Some((_, connection, peer)) = inner.ready.pop_front() {
                    if !inner.ready.is_empty() {
                        self.notify.notify_one();
                    }
                    return Some((connection, peer));
                }
                if inner.closed {
                    self.notify.notify_one();
                    return None;
                }
            }
            notified.await;
        }
    }

    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let ready = std::mem::take(&mut inner.ready);
        inner.figures.gauges = Gauges::default();
        drop(inner);
        drop(ready);
        self.notify.notify_one();
    }

    pub(crate) fn publish(&self, core: &Core) {
        self.inner.lock().figures = Figures { gauges: core.gauges(), stats: core.stats() };
    }

    pub(crate) fn figures(&self) -> Figures {
        self.inner.lock().figures
    }
}
