//! Keeps a server known: at the three nodes closest to its key, which forward handshakes to it.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use crypto::KeyPair;
use dht_rpc::{NodeId, QueryOptions, RequestOptions};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::constants::command;
use crate::dht::Inner;
use crate::messages::{PeerRecord, RelayInfo};
use crate::queries::{announce_at, unannounce_at};

/// Nodes that a server announces itself at.
const RELAYS: usize = 3;

/// How often these are asked whether they are there, which also keeps the way open that they write to us by.
const PING_INTERVAL: Duration = Duration::from_secs(3);

/// After so many times the server announces itself anew: about five minutes.
const PINGS: u32 = 100;

/// Nodes that are remembered to have been asked: what one stored it forgets after at most 27 minutes, about five announces.
const MAX_ASKED: usize = 6 * RELAYS;

/// Announces one server, again and again.
pub(crate) struct Announcer {
    dht: Arc<Inner>,
    keys: KeyPair,
    target: NodeId,
    state: Mutex<State>,
    refresh: Notify,
}

#[derive(Default)]
struct State {
    relays: Vec<RelayInfo>,
    relay_addresses: Vec<SocketAddrV4>,
    /// The nodes of this announce, the last one and the one before.
    generations: [HashSet<SocketAddrV4>; 3],
    /// Nodes that an announce is on its way to; they may have stored it.
    storing: Vec<SocketAddrV4>,
    /// All nodes that were asked to store the announce lately, whatever they answered; the last ones are at the end.
    asked: VecDeque<SocketAddrV4>,
    closest: Vec<SocketAddrV4>,
}

impl Announcer {
    pub(crate) fn new(dht: Arc<Inner>, keys: KeyPair, target: NodeId) -> Self {
        Self { dht, keys, target, state: Mutex::default(), refresh: Notify::new() }
    }

    /// Nodes that forward to the server, and the server as they see it.
    pub(crate) fn relays(&self) -> Vec<RelayInfo> {
        self.state.lock().relays.clone()
    }

    /// Nodes that forward to the server, and the server itself if anybody can reach it; at most three.
    pub(crate) fn relay_addresses(&self) -> Vec<SocketAddrV4> {
        self.state.lock().relay_addresses.clone()
    }

    /// Whether the server is announced at this node, or was a short time ago.
    pub(crate) fn is_relay(&self, node: SocketAddrV4) -> bool {
        self.state.lock().generations.iter().any(|nodes| nodes.contains(&node))
    }

    /// Whether this node may know the server, and so has a reason to forward to it.
    pub(crate) fn may_forward(&self, node: SocketAddrV4) -> bool {
        self.state.lock().asked.contains(&node)
    }

    /// Announces now rather than in its time: the network has changed.
    pub(crate) fn refresh(&self) {
        self.refresh.notify_one();
    }

    fn record(&self) -> PeerRecord {
        PeerRecord { public_key: self.keys.public_key, relay_addresses: Vec::new() }
    }

    /// Searches the closest nodes and announces there.
    pub(crate) async fn update(&self) {
        let nodes = {
            let state = &mut *self.state.lock();
            state.generations.rotate_right(1);
            state.generations[0].clear();
            state.closest.clone()
        };
        let mut query = self.dht.find_peer(self.target, QueryOptions { nodes, ..QueryOptions::default() });
        query.finish().await;

        let record = self.record();
        {
            let state = &mut *self.state.lock();
            state.storing = query.closest_replies().iter().take(RELAYS).map(|reply| reply.from).collect();
            for node in state.storing.clone() {
                state.asked.retain(|asked| *asked != node);
                state.asked.push_back(node);
            }
            let forgotten = state.asked.len().saturating_sub(MAX_ASKED);
            state.asked.drain(..forgotten);
        }
        let commits = query.closest_replies().iter().take(RELAYS).filter_map(|reply| {
            let commit = announce_at(&self.dht, reply, self.target, &self.keys, &record, 0)?;
            Some(async move { commit.await.is_ok().then_some(reply) })
        });
        let stored: Vec<_> = join_all(commits).await.into_iter().flatten().collect();

        let own = self.dht.rpc.remote_address();
        let dropped: Vec<SocketAddrV4> = {
            let state = &mut *self.state.lock();
            state.storing.clear();
            state.closest = query.closest_nodes();
            state.relays =
                stored.iter().map(|reply| RelayInfo { relay_address: reply.from, peer_address: reply.to }).collect();
            state.relay_addresses = own.into_iter().chain(stored.iter().map(|reply| reply.from)).take(RELAYS).collect();
            let [current, last, _] = &mut state.generations;
            current.extend(stored.iter().map(|reply| reply.from));
            last.difference(current).copied().collect()
        };
        tracing::debug!(relays = stored.len(), "announced");
        self.unannounce(dropped).await;
    }

    /// Keeps the server announced, for ever.
    pub(crate) async fn run(&self) {
        let mut suspended = self.dht.suspended.subscribe();
        let mut watch = true;
        loop {
            // The sender is part of the node, which we hold.
            let _ = suspended.wait_for(|suspended| !*suspended).await;
            tokio::select! {
                biased;
                _ = suspended.wait_for(|suspended| *suspended) => watch = false,
                () = self.round(watch) => watch = true,
            }
        }
    }

    /// Announces once, when it is time or at once, and again only when the network can be reached or is another.
    async fn round(&self, watch: bool) {
        if watch {
            self.watch().await;
        }
        self.update().await;
        let mut online = self.dht.online.subscribe();
        if *online.borrow() {
            return;
        }
        tokio::select! {
            biased;
            _ = online.wait_for(|online| *online) => {}
            () = self.refresh.notified() => {}
        }
        // At once: clients that find us before we are announced cannot reach us behind a NAT.
        self.refresh();
    }

    /// Watches the nodes that we are announced at, until it is time for others.
    async fn watch(&self) {
        for _ in 0..PINGS {
            let nodes = self.current();
            let pings = nodes.iter().map(|node| self.dht.rpc.ping(*node, RequestOptions::default()));
            let alive = join_all(pings).await.iter().filter(|reply| reply.is_ok()).count();
            if alive < nodes.len().min(RELAYS) {
                return;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(PING_INTERVAL) => {}
                () = self.refresh.notified() => return,
            }
            // Nobody was there: there may be somebody by now.
            if nodes.is_empty() {
                return;
            }
        }
    }

    fn current(&self) -> Vec<SocketAddrV4> {
        self.state.lock().generations[0].iter().copied().collect()
    }

    /// Takes the announce back.
    pub(crate) async fn stop(&self) {
        let nodes: HashSet<SocketAddrV4> = {
            let state = &*self.state.lock();
            // An update that was cut short may have begun the newest generation and left all in the one before.
            let [current, last, _] = &state.generations;
            current.iter().chain(last).chain(&state.storing).copied().collect()
        };
        self.unannounce(nodes.into_iter().collect()).await;
    }

    async fn unannounce(&self, nodes: Vec<SocketAddrV4>) {
        join_all(nodes.into_iter().map(|node| self.unannounce_one(node))).await;
    }

    async fn unannounce_one(&self, node: SocketAddrV4) {
        let options = RequestOptions { target: Some(self.target), ..RequestOptions::default() };
        let Ok(reply) = self.dht.rpc.request(node, command::FIND_PEER, options).await else { return };
        if reply.value.is_some()
            && let Some(unannounce) = unannounce_at(&self.dht, &reply, self.target, &self.keys)
        {
            // The entry expires if this fails.
            let _ = unannounce.await;
        }
    }
}
