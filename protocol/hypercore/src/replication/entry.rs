//! A core that is replicated: its state machine, and where its messages go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protomux::{Mux, Sender};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tracing::debug;

use super::messages::Message;
use super::peer::PeerId;
use super::replicator::{Output, Replicator};
use crate::events::Events;
use crate::proof::Request;
use crate::sync::Ticket;
use crate::{Hash, Hypercore};

/// So many messages of an extension wait for who reads them; those after them are lost.
pub const MAX_EXTENSION_MESSAGES: usize = 64;

/// A message of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionMessage {
    /// The key of the peer that sent it.
    pub from: Hash,
    /// Its bytes.
    pub message: Bytes,
}

struct Link {
    sender: Sender,
    mux: Mux,
}

pub(crate) struct State {
    pub(crate) replicator: Replicator,
    links: HashMap<PeerId, Link>,
    /// The channel that looks after what is late.
    timer: Option<PeerId>,
    extensions: HashMap<String, mpsc::Sender<ExtensionMessage>>,
}

pub(crate) struct Entry {
    pub(crate) key: Hash,
    pub(crate) discovery_key: Hash,
    started: Instant,
    state: Mutex<State>,
    /// Handles of the user: as long as there is one, the core is downloaded.
    pub(crate) sessions: AtomicUsize,
    /// What peers are told is on disk.
    pub(crate) ready: AtomicBool,
    /// Woken when something is asked of a peer: its answer may be late.
    pub(crate) asked: Notify,
    /// Woken when anything may have changed.
    pub(crate) progress: Notify,
}

impl Entry {
    /// With the core's events, and what makes it ready.
    pub(crate) fn new(core: Hypercore, started: Instant) -> (Arc<Self>, Events, Ticket) {
        let (key, discovery_key) = (core.key(), core.discovery_key());
        let (replicator, events, ticket) = Replicator::follow(core);
        let state = State { replicator, links: HashMap::new(), timer: None, extensions: HashMap::new() };
        let entry = Arc::new(Self {
            key,
            discovery_key,
            started,
            state: Mutex::new(state),
            sessions: AtomicUsize::new(0),
            ready: AtomicBool::new(ticket.is_durable()),
            asked: Notify::new(),
            progress: Notify::new(),
        });
        (entry, events, ticket)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn core(&self) -> Hypercore {
        self.state.lock().replicator.core.clone()
    }

    /// Changes the state machine, and does what it says.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Replicator, Duration) -> T) -> T {
        let mut state = self.state.lock();
        let idle = !state.replicator.needs_tick();
        let result = change(&mut state.replicator, self.now());
        // What came together is written together.
        state.replicator.core.flush();
        let asked = idle && state.replicator.needs_tick();
        state.flush();
        drop(state);
        if asked {
            self.asked.notify_one();
        }
        self.progress.notify_waiters();
        result
    }

    /// Looks after what is late, unless the channel of another peer does: one of them has the timer. When to look again.
    pub(crate) fn look(&self, id: PeerId) -> Option<Duration> {
        let mut state = self.state.lock();
        if state.timer.is_some_and(|timer| timer != id) {
            return None;
        }
        let now = self.now();
        let State { replicator, links, timer, .. } = &mut *state;
        for (id, peer) in &mut replicator.peers {
            if let Some(link) = links.get(id) {
                peer.received(link.mux.bytes_received(), now);
            }
        }
        let next = replicator.tick(now);
        *timer = next.map(|_| id);
        replicator.core.flush();
        state.flush();
        drop(state);
        self.progress.notify_waiters();
        next
    }

    /// The next request of a peer, and the fork that it is told of.
    pub(crate) fn next_request(&self, id: PeerId) -> Option<((u64, u64, Request), u64)> {
        let replicator = &mut self.state.lock().replicator;
        let next = replicator.peers.get_mut(&id)?.requests.pop_front()?;
        Some((next, replicator.known.fork))
    }

    /// Looks at the state machine.
    pub(crate) fn with_quietly<T>(&self, look: impl FnOnce(&Replicator) -> T) -> T {
        look(&self.state.lock().replicator)
    }

    pub(crate) fn add_link(&self, id: PeerId, sender: Sender, mux: Mux) {
        self.state.lock().links.insert(id, Link { sender, mux });
    }

    pub(crate) fn remove_link(&self, id: PeerId) {
        let mut state = self.state.lock();
        state.links.remove(&id);
        let now = self.now();
        state.replicator.closed(id, now);
        let idle = state.timer.is_none_or(|timer| timer == id);
        if idle {
            state.timer = None;
        }
        let asked = idle && state.replicator.needs_tick();
        state.flush();
        drop(state);
        self.progress.notify_waiters();
        if asked {
            // Another channel is to look after what is late.
            self.asked.notify_one();
        }
    }

    pub(crate) fn peer_count(&self) -> usize {
        self.state.lock().replicator.peers.len()
    }

    pub(crate) fn listen(&self, extension: &str) -> mpsc::Receiver<ExtensionMessage> {
        let (sender, receiver) = mpsc::channel(MAX_EXTENSION_MESSAGES);
        self.state.lock().extensions.insert(extension.into(), sender);
        receiver
    }

    /// Sends to all peers, or to those with the key.
    pub(crate) fn extend(&self, extension: &str, message: &[u8], to: Option<&Hash>) {
        let mut state = self.state.lock();
        let is_meant = |link: &Link| to.is_none_or(|key| link.mux.remote_public_key() == key);
        let ids: Vec<PeerId> = state.links.iter().filter(|(_, link)| is_meant(link)).map(|(&id, _)| id).collect();
        for id in ids {
            let Some(peer) = state.replicator.peers.get_mut(&id) else { continue };
            let same = peer.last_sent_extension == extension;
            let name = if same { String::new() } else { extension.to_owned() };
            peer.last_sent_extension = extension.to_owned();
            state.replicator.send(id, Message::Extension { name, message: Bytes::copy_from_slice(message) });
        }
        state.flush();
    }
}

impl State {
    /// Sends what waits. All of one call goes out as one batch for each connection.
    fn flush(&mut self) {
        let outputs = std::mem::take(&mut self.replicator.outputs);
        let mut corked: Vec<PeerId> = Vec::new();
        let many = outputs.len() > 1;
        for output in outputs {
            match output {
                Output::Send(id, message) => {
                    let Some(link) = self.links.get(&id) else { continue };
                    if many && !corked.contains(&id) {
                        link.mux.cork();
                        corked.push(id);
                    }
                    let (kind, body) = message.encode();
                    match link.sender.try_send(kind, &body) {
                        Ok(_) | Err(protomux::Error::ChannelClosed | protomux::Error::Closed) => {}
                        Err(error) => {
                            debug!(%error, "a peer does not read what it is sent");
                            link.mux.destroy();
                        }
                    }
                }
                Output::Close(id) => {
                    if let Some(link) = self.links.get(&id) {
                        link.sender.close();
                    }
                }
                Output::Drop(id, offence) => {
                    if let Some(link) = self.links.get(&id) {
                        debug!(?offence, "a peer loses its connection");
                        link.mux.destroy();
                    }
                }
                Output::Extension(id, name, message) => {
                    let Some(link) = self.links.get(&id) else { continue };
                    let from = *link.mux.remote_public_key();
                    if let Some(listener) = self.extensions.get(&name) {
                        // Who does not read loses messages, as with any that is sent to nobody.
                        let _ = listener.try_send(ExtensionMessage { from, message });
                    }
                }
            }
        }
        for id in corked {
            if let Some(link) = self.links.get(&id) {
                link.mux.uncork();
            }
        }
    }
}
