//! A network within the process: links between peers, with Protomux's rules for opening channels.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::sidechannel::link::{Inlet, Link, LinkChannel, LinkEvent, Network, Operation, Outlet, PairRequest, Pairing};

/// One peer's access to the network.
pub(super) struct MemoryNetwork {
    public_key: [u8; 32],
    topics: Mutex<HashSet<[u8; 32]>>,
    sender: mpsc::UnboundedSender<Arc<dyn Link>>,
    links: tokio::sync::Mutex<mpsc::UnboundedReceiver<Arc<dyn Link>>>,
}

impl MemoryNetwork {
    pub(super) fn new(public_key: [u8; 32]) -> Arc<Self> {
        let (sender, links) = mpsc::unbounded_channel();
        Arc::new(Self { public_key, topics: Mutex::default(), sender, links: tokio::sync::Mutex::new(links) })
    }

    pub(super) fn has_topic(&self, topic: &[u8; 32]) -> bool {
        self.topics.lock().contains(topic)
    }

    /// Connects two peers. The result is the connection as each of them has it.
    pub(super) fn connect(&self, other: &Self) -> [Arc<MemoryLink>; 2] {
        let wire = Arc::new(Wire { state: Mutex::default(), closed: watch::Sender::new(false) });
        let ends = [0, 1].map(|side| {
            let remote = [other.public_key, self.public_key][side];
            Arc::new(MemoryLink { wire: wire.clone(), side, remote })
        });
        let _ = self.sender.send(ends[0].clone());
        let _ = other.sender.send(ends[1].clone());
        ends
    }
}

impl Network for MemoryNetwork {
    fn bootstrapped(&self) -> Operation<'_, ()> {
        Box::pin(async {})
    }

    fn join(&self, topic: [u8; 32]) {
        assert!(self.topics.lock().insert(topic), "a topic is joined once at a time");
    }

    fn leave(&self, topic: [u8; 32]) -> Operation<'_, ()> {
        assert!(self.topics.lock().remove(&topic), "what was not joined is not left");
        Box::pin(async {})
    }

    fn flush(&self) -> Operation<'_, ()> {
        Box::pin(async {})
    }

    fn next_link(&self) -> Operation<'_, Option<Arc<dyn Link>>> {
        Box::pin(async { self.links.lock().await.recv().await })
    }
}

struct Wire {
    state: Mutex<WireState>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct WireState {
    next: u64,
    channels: HashMap<(usize, String), OpenChannel>,
    hooks: HashMap<(usize, String), mpsc::UnboundedSender<PairRequest>>,
}

struct OpenChannel {
    number: u64,
    open: bool,
    events: mpsc::UnboundedSender<LinkEvent>,
}

/// One side of a connection.
pub(super) struct MemoryLink {
    wire: Arc<Wire>,
    side: usize,
    remote: [u8; 32],
}

impl MemoryLink {
    /// How many times a channel was opened on this connection, by either side.
    pub(super) fn openings(&self) -> u64 {
        self.wire.state.lock().next
    }
}

impl Link for MemoryLink {
    fn remote_public_key(&self) -> [u8; 32] {
        self.remote
    }

    fn open(&self, protocol: &str) -> Option<LinkChannel> {
        let (here, there) = ((self.side, protocol.to_owned()), (1 - self.side, protocol.to_owned()));
        let mut state = self.wire.state.lock();
        if *self.wire.closed.borrow() || state.channels.contains_key(&here) {
            return None;
        }
        let (events, receiver) = mpsc::unbounded_channel();
        let number = state.next;
        state.next += 1;
        let mut channel = OpenChannel { number, open: false, events };
        if let Some(other) = state.channels.get_mut(&there).filter(|other| !other.open) {
            for side in [&mut channel, other] {
                side.open = true;
                let _ = side.events.send(LinkEvent::Open);
            }
        }
        let waits = !channel.open;
        let hook = state.hooks.get(&there).cloned();
        state.channels.insert(here.clone(), channel);
        drop(state);
        if waits {
            let refusal = Refusal { wire: self.wire.clone(), opener: here.clone(), number };
            // Without a hook the refusal is dropped, and so takes effect, at once.
            if let Some(hook) = hook {
                let _ = hook.send(PairRequest(Box::new(refusal)));
            }
        }
        let end = End { wire: self.wire.clone(), here, there, number };
        Some((Box::new(MemoryInlet(receiver)), Arc::new(end)))
    }

    fn pair(&self, protocol: &str) -> Box<dyn Pairing> {
        let (hook, requests) = mpsc::unbounded_channel();
        self.wire.state.lock().hooks.insert((self.side, protocol.to_owned()), hook);
        Box::new(MemoryPairing { requests, _link: self.wire.clone() })
    }

    fn closed(&self) -> Operation<'_, ()> {
        Box::pin(async {
            let _ = self.wire.closed.subscribe().wait_for(|closed| *closed).await;
        })
    }

    fn destroy(&self) {
        let mut state = self.wire.state.lock();
        self.wire.closed.send_replace(true);
        state.channels.clear();
        let hooks = std::mem::take(&mut state.hooks);
        drop(state);
        drop(hooks);
    }
}

/// Refuses a channel when it is dropped, unless the channel was opened.
struct Refusal {
    wire: Arc<Wire>,
    opener: (usize, String),
    number: u64,
}

impl Drop for Refusal {
    fn drop(&mut self) {
        let mut state = self.wire.state.lock();
        if state.channels.get(&self.opener).is_some_and(|channel| channel.number == self.number && !channel.open) {
            state.channels.remove(&self.opener);
        }
    }
}

struct MemoryPairing {
    requests: mpsc::UnboundedReceiver<PairRequest>,
    _link: Arc<Wire>,
}

impl Pairing for MemoryPairing {
    fn next(&mut self) -> Operation<'_, Option<PairRequest>> {
        Box::pin(self.requests.recv())
    }
}

struct MemoryInlet(mpsc::UnboundedReceiver<LinkEvent>);

impl Inlet for MemoryInlet {
    fn recv(&mut self) -> Operation<'_, Option<LinkEvent>> {
        Box::pin(self.0.recv())
    }
}

struct End {
    wire: Arc<Wire>,
    here: (usize, String),
    there: (usize, String),
    number: u64,
}

impl End {
    fn deliver(&self, event: LinkEvent) -> Operation<'_, bool> {
        let state = self.wire.state.lock();
        let mine = state.channels.get(&self.here).is_some_and(|channel| channel.number == self.number && channel.open);
        let other = state.channels.get(&self.there).filter(|_| mine);
        let sent = other.is_some_and(|other| other.events.send(event).is_ok());
        Box::pin(async move { sent })
    }
}

impl Outlet for End {
    fn send(&self, body: Bytes) -> Operation<'_, bool> {
        self.deliver(LinkEvent::Message(body))
    }

    fn send_aside(&self, body: Bytes) -> Operation<'_, bool> {
        self.deliver(LinkEvent::Aside(body))
    }

    fn close(&self) {
        let mut state = self.wire.state.lock();
        let Some(channel) = state.channels.get(&self.here).filter(|channel| channel.number == self.number) else {
            return;
        };
        if channel.open {
            state.channels.remove(&self.there);
        }
        state.channels.remove(&self.here);
    }
}
