//! Searches: who listens at a key, who announced a topic, and values.

use std::net::SocketAddrV4;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use crypto::KeyPair;
use dht_rpc::{NodeId, Query, QueryOptions, Reply, RequestOptions};
use encoding::Encoder;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::constants::command;
use crate::dht::{Dht, Inner};
use crate::error::QueryError;
use crate::messages::{Announce, LookupReply, MutableGet, MutablePut, PeerRecord};
use crate::signatures::{Place, sign_announce, sign_mutable, sign_unannounce, verify_mutable};
use crate::storage::MAX_LOOKUP_RECORDS;

/// A node's answer to a lookup.
#[derive(Clone, Debug)]
pub struct Found {
    /// The node.
    pub from: SocketAddrV4,
    /// We, as the node sees us.
    pub to: SocketAddrV4,
    /// The peers that announced themselves there.
    pub peers: Vec<PeerRecord>,
    /// Time of the last announce that asked for attention; see [`LookupReply::bump`].
    pub bump: u64,
}

/// A node's answer to the search for a peer.
#[derive(Clone, Debug)]
pub struct FoundPeer {
    /// The node, which forwards handshakes to the peer.
    pub from: SocketAddrV4,
    /// We, as the node sees us.
    pub to: SocketAddrV4,
    /// What the peer announced.
    pub peer: PeerRecord,
}

/// A value that its owner signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutableValue {
    /// Which of the owner's values.
    pub seq: u64,
    /// The value.
    pub value: Vec<u8>,
    /// The owner's signature.
    pub signature: [u8; 64],
}

/// How to announce.
#[derive(Clone, Debug, Default)]
pub struct AnnounceOptions {
    /// The closest nodes of an earlier query for this topic, to begin with.
    pub nodes: Vec<SocketAddrV4>,
    /// Takes back what nodes on the way still remember, before announcing to the closest.
    pub clear: bool,
    /// Asks for attention, with the time in milliseconds since 1970; zero for not.
    pub bump: u64,
}

type Commit = Pin<Box<dyn Future<Output = Result<(), QueryError>> + Send>>;

/// What is done at the closest nodes when a query has found them.
type Store = Box<dyn Fn(&Arc<Reply>) -> Option<Commit> + Send + Sync>;

/// What is taken back at a node on the way, by what it remembers.
type Clear = Box<dyn Fn(&Arc<Reply>, &LookupReply) -> Option<Commit> + Send + Sync>;

/// A query for a topic: a lookup, and an announce or unannounce with it. It ends when it is dropped.
pub struct Lookup {
    query: Query,
    clear: Option<Clear>,
    clearing: FuturesUnordered<Commit>,
    commits: Commits,
    searched: bool,
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").field("query", &self.query).finish_non_exhaustive()
    }
}

impl Lookup {
    /// The next answer with peers; `None` when the query is over and all is stored. Cancel-safe.
    pub async fn next(&mut self) -> Option<Found> {
        while !self.searched {
            tokio::select! {
                biased;
                // Failures to clear are no failures: the entries expire.
                Some(_) = self.clearing.next(), if !self.clearing.is_empty() => {}
                reply = self.query.next() => match reply {
                    Some(reply) => {
                        if let Some(found) = self.found(&reply) {
                            return Some(found);
                        }
                    }
                    None => self.searched = true,
                },
            }
        }
        while self.clearing.next().await.is_some() {}
        self.commits.begin(&self.query);
        self.commits.wait().await;
        None
    }

    fn found(&mut self, reply: &Arc<Reply>) -> Option<Found> {
        let lookup = LookupReply::decode(reply.value.as_ref()?).ok()?;
        if let Some(clear) = &self.clear {
            self.clearing.extend(clear(reply, &lookup));
        }
        Some(Found { from: reply.from, to: reply.to, peers: lookup.peers, bump: lookup.bump })
    }

    /// Waits for the end and returns the closest nodes.
    ///
    /// # Errors
    /// When something was to be stored and no node stored it.
    pub async fn finish(&mut self) -> Result<Vec<SocketAddrV4>, QueryError> {
        while self.next().await.is_some() {}
        self.commits.result().map(|()| self.query.closest_nodes())
    }

    /// The closest nodes, once the query is over; the next query for the topic can begin with them.
    pub fn closest_nodes(&self) -> Vec<SocketAddrV4> {
        self.query.closest_nodes()
    }
}

/// What is stored at the closest nodes, all at once.
struct Commits {
    store: Option<Store>,
    running: FuturesUnordered<Commit>,
    stored: bool,
    failure: Option<QueryError>,
}

impl Commits {
    fn new(store: Option<Store>) -> Self {
        Self { store, running: FuturesUnordered::new(), stored: false, failure: None }
    }

    fn begin(&mut self, query: &Query) {
        if let Some(store) = self.store.take() {
            self.failure = Some(QueryError::TooFewNodes);
            self.running.extend(query.closest_replies().iter().filter_map(store));
        }
    }

    async fn wait(&mut self) {
        while let Some(result) = self.running.next().await {
            match result {
                Ok(()) => self.stored = true,
                Err(error) => self.failure = Some(error),
            }
        }
    }

    fn result(&self) -> Result<(), QueryError> {
        match self.failure {
            Some(error) if !self.stored => Err(error),
            _ => Ok(()),
        }
    }
}

/// Runs a query and stores something at the closest nodes. Returns these.
async fn store_closest(mut query: Query, store: Store) -> Result<Vec<SocketAddrV4>, QueryError> {
    query.finish().await;
    let mut commits = Commits::new(Some(store));
    commits.begin(&query);
    commits.wait().await;
    commits.result().map(|()| query.closest_nodes())
}

/// A request that stores something at the node that answered; it needs the node's token.
fn put(inner: &Arc<Inner>, reply: &Reply, command: u64, target: NodeId, value: Bytes) -> Option<Commit> {
    let token = Some(reply.token?);
    let (rpc, to) = (inner.rpc.clone(), reply.from);
    Some(Box::pin(async move {
        let options = RequestOptions { token, target: Some(target), value: Some(value), ..RequestOptions::default() };
        match rpc.request(to, command, options).await?.error {
            0 => Ok(()),
            code => Err(QueryError::Refused(code)),
        }
    }))
}

/// Announces `peer` at the node that answered.
pub(crate) fn announce_at(
    inner: &Arc<Inner>,
    reply: &Reply,
    target: NodeId,
    keys: &KeyPair,
    peer: &PeerRecord,
    bump: u64,
) -> Option<Commit> {
    let place = Place { target: &target, node: reply.id.as_ref()?, token: reply.token.as_ref()? };
    let signature = Some(sign_announce(place, peer, None, keys));
    let announce = Announce { peer: Some(peer.clone()), refresh: None, signature, bump };
    put(inner, reply, command::ANNOUNCE, target, announce.encode().into())
}

/// Takes an announce back at the node that answered.
pub(crate) fn unannounce_at(inner: &Arc<Inner>, reply: &Reply, target: NodeId, keys: &KeyPair) -> Option<Commit> {
    let place = Place { target: &target, node: reply.id.as_ref()?, token: reply.token.as_ref()? };
    let peer = PeerRecord { public_key: keys.public_key, relay_addresses: Vec::new() };
    let signature = Some(sign_unannounce(place, &peer, keys));
    let announce = Announce { peer: Some(peer), refresh: None, signature, bump: 0 };
    put(inner, reply, command::UNANNOUNCE, target, announce.encode().into())
}

impl Inner {
    pub(crate) fn find_peer(&self, target: NodeId, options: QueryOptions) -> Query {
        self.rpc.query(target, command::FIND_PEER, options)
    }

    /// What a node says of a peer.
    pub(crate) fn found_peer(reply: &Reply) -> Option<FoundPeer> {
        let peer = PeerRecord::decode(reply.value.as_ref()?).ok()?;
        Some(FoundPeer { from: reply.from, to: reply.to, peer })
    }
}

impl Dht {
    fn topic(&self, target: NodeId, nodes: Vec<SocketAddrV4>, store: Option<Store>) -> Lookup {
        let query = self.inner.rpc.query(target, command::LOOKUP, QueryOptions { nodes, ..QueryOptions::default() });
        let clearing = FuturesUnordered::new();
        Lookup { query, clear: None, clearing, commits: Commits::new(store), searched: false }
    }

    /// Searches nodes that forward to the peer with this key.
    pub async fn find_peer(&self, public_key: &[u8; 32]) -> Vec<FoundPeer> {
        let mut query = self.inner.find_peer(crypto::hash(&[public_key]), QueryOptions::default());
        let mut found = Vec::new();
        while let Some(reply) = query.next().await {
            found.extend(Inner::found_peer(&reply));
        }
        found
    }

    /// Searches peers that announced `target`, beginning with `nodes`, those closest to it if they are known.
    pub fn lookup(&self, target: NodeId, nodes: Vec<SocketAddrV4>) -> Lookup {
        self.topic(target, nodes, None)
    }

    /// Announces at the nodes closest to `target` that the peer of `keys` is there and reached through `relay_addresses`, and
    /// searches other peers on the way.
    pub fn announce(
        &self,
        target: NodeId,
        keys: &KeyPair,
        relay_addresses: &[SocketAddrV4],
        options: AnnounceOptions,
    ) -> Lookup {
        let (inner, owner) = (self.inner.clone(), keys.clone());
        let peer = PeerRecord { public_key: keys.public_key, relay_addresses: relay_addresses.to_vec() };
        let bump = options.bump;
        let store: Store = Box::new(move |reply| announce_at(&inner, reply, target, &owner, &peer, bump));
        let mut lookup = self.topic(target, options.nodes, Some(store));
        if options.clear {
            self.clear(&mut lookup, target, keys);
        }
        lookup
    }

    /// Searches other peers at `target`, and takes back what the nodes on the way remember of `keys`.
    pub fn lookup_and_unannounce(&self, target: NodeId, keys: &KeyPair, nodes: Vec<SocketAddrV4>) -> Lookup {
        let mut lookup = self.topic(target, nodes, None);
        self.clear(&mut lookup, target, keys);
        lookup
    }

    fn clear(&self, lookup: &mut Lookup, target: NodeId, keys: &KeyPair) {
        self.inner.unannounce_here(&target, &keys.public_key);
        let (inner, keys) = (self.inner.clone(), keys.clone());
        lookup.clear = Some(Box::new(move |reply, lookup| {
            // A full answer may hide ours.
            let remembered = lookup.peers.len() >= MAX_LOOKUP_RECORDS
                || lookup.peers.iter().any(|peer| peer.public_key == keys.public_key);
            remembered.then(|| unannounce_at(&inner, reply, target, &keys)).flatten()
        }));
    }

    /// Takes an announce back, wherever it is found.
    ///
    /// # Errors
    /// None at present: a node that cannot be told forgets in time.
    pub async fn unannounce(&self, target: NodeId, keys: &KeyPair) -> Result<(), QueryError> {
        self.lookup_and_unannounce(target, keys, Vec::new()).finish().await.map(drop)
    }

    /// Takes an announce back at these nodes, those that it was made at, without a search.
    pub async fn unannounce_from(&self, target: NodeId, keys: &KeyPair, nodes: Vec<SocketAddrV4>) {
        self.inner.unannounce_here(&target, &keys.public_key);
        let options = QueryOptions { nodes, only_given: true, ..QueryOptions::default() };
        let mut query = self.inner.rpc.query(target, command::LOOKUP, options);
        let mut running: FuturesUnordered<Commit> = FuturesUnordered::new();
        while let Some(reply) = query.next().await {
            running.extend(unannounce_at(&self.inner, &reply, target, keys));
        }
        while running.next().await.is_some() {}
    }

    /// Stores a value under its hash, which is returned.
    ///
    /// # Errors
    /// When no node stored it.
    pub async fn immutable_put(&self, value: &[u8]) -> Result<NodeId, QueryError> {
        let target = crypto::hash(&[value]);
        let (inner, value) = (self.inner.clone(), Bytes::copy_from_slice(value));
        let query = self.inner.rpc.query(target, command::IMMUTABLE_GET, QueryOptions::default());
        let store: Store = Box::new(move |reply| put(&inner, reply, command::IMMUTABLE_PUT, target, value.clone()));
        store_closest(query, store).await.map(|_| target)
    }

    /// Reads the value with this hash; `None` if no node has it.
    pub async fn immutable_get(&self, target: NodeId) -> Option<Bytes> {
        let mut query = self.inner.rpc.query(target, command::IMMUTABLE_GET, QueryOptions::default());
        while let Some(reply) = query.next().await {
            if let Some(value) = reply.value.as_ref().filter(|value| crypto::hash(&[value]) == target) {
                return Some(value.clone());
            }
        }
        None
    }

    /// Stores a value that only the owner of `keys` can replace, by one with a higher `seq`.
    ///
    /// # Errors
    /// When no node stored it, for instance because a value with a higher `seq` is stored already.
    pub async fn mutable_put(&self, keys: &KeyPair, value: &[u8], seq: u64) -> Result<(), QueryError> {
        let target = crypto::hash(&[&keys.public_key]);
        let signature = sign_mutable(seq, value, keys);
        let request: Bytes = MutablePut { public_key: keys.public_key, seq, value, signature }.encode().into();
        let inner = self.inner.clone();
        let store: Store = Box::new(move |reply| put(&inner, reply, command::MUTABLE_PUT, target, request.clone()));
        store_closest(self.mutable_query(target, 0), store).await.map(drop)
    }

    /// Reads the value of this owner with the highest number, at least `seq`; `None` if no node has one. All nodes near it are
    /// asked if `latest`, otherwise the first answer is taken.
    pub async fn mutable_get(&self, public_key: &[u8; 32], seq: u64, latest: bool) -> Option<MutableValue> {
        let mut query = self.mutable_query(crypto::hash(&[public_key]), seq);
        let mut best: Option<MutableValue> = None;
        while let Some(reply) = query.next().await {
            let Some(Ok(found)) = reply.value.as_ref().map(|value| MutableGet::decode(value)) else { continue };
            let newer = found.seq >= seq && best.as_ref().is_none_or(|best| found.seq > best.seq);
            if newer && verify_mutable(found.seq, found.value, &found.signature, public_key) {
                best = Some(MutableValue { seq: found.seq, value: found.value.to_vec(), signature: found.signature });
                if !latest {
                    break;
                }
            }
        }
        best
    }

    fn mutable_query(&self, target: NodeId, seq: u64) -> Query {
        let mut value = Encoder::new();
        value.uint(seq);
        let options = QueryOptions { value: Some(value.finish().into()), ..QueryOptions::default() };
        self.inner.rpc.query(target, command::MUTABLE_GET, options)
    }
}
