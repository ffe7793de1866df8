//! What a persistent node stores for others.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use dht_rpc::{NodeId, Token};
use rand::Rng;

use crate::cache::{Cache, CacheOptions, RecordCache};
use crate::constants::{code, command};
use crate::forwards::Forwards;
use crate::messages::{Announce, LookupReply, MutableGet, MutablePut, PeerRecord};
use crate::signatures::{Place, verify_announce, verify_mutable, verify_unannounce};

/// Records in the answer to a lookup.
pub const MAX_LOOKUP_RECORDS: usize = 20;

/// Relay addresses of a record; further ones are cut off.
const MAX_RELAY_ADDRESSES: usize = 3;

/// The longest value that is stored, in bytes; the put of a longer one is not answered. JavaScript peers receive no datagram
/// that could carry more.
pub const MAX_VALUE: usize = 2048;

/// How far in the future the time of a bump may be.
const MAX_BUMP_DRIFT: Duration = Duration::from_secs(60);

/// Entries of a cache, and the age that announces reach.
const ANNOUNCES: CacheOptions = CacheOptions { max_size: 65_536, max_age: Some(Duration::from_secs(20 * 60)) };

/// The same for values.
const VALUES: CacheOptions = CacheOptions { max_size: 32_768, max_age: Some(Duration::from_secs(48 * 60 * 60)) };

/// How long and how much a node stores.
#[derive(Clone, Copy, Debug)]
pub struct StorageOptions {
    /// Announced peers, and where to forward to them.
    pub announces: CacheOptions,
    /// Mutable and immutable values.
    pub values: CacheOptions,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self { announces: ANNOUNCES, values: VALUES }
    }
}

/// A request as the storage sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) from: SocketAddrV4,
    pub(crate) command: u64,
    pub(crate) target: &'a NodeId,
    /// A token that was checked.
    pub(crate) token: Option<&'a Token>,
    pub(crate) value: Option<&'a [u8]>,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With a token and closer nodes.
    Value(Option<Vec<u8>>),
    /// Without.
    Done,
    Error(u64),
    /// Not at all: the request is invalid.
    Silence,
    /// Not a command of the storage.
    NotStored,
}

#[derive(Clone, Debug)]
struct Refresh {
    target: NodeId,
    record: Vec<u8>,
    announces_self: bool,
}

#[derive(Debug)]
pub(crate) struct Storage {
    /// Our own identifier, which announces are signed for.
    id: NodeId,
    records: RecordCache,
    bumps: Cache<NodeId, u64>,
    refreshes: Cache<[u8; 32], Refresh>,
    mutables: Cache<NodeId, Vec<u8>>,
    immutables: Cache<NodeId, Vec<u8>>,
}

impl Storage {
    pub(crate) fn new(id: NodeId, options: StorageOptions, now: Instant) -> Self {
        Self {
            id,
            records: RecordCache::new(options.announces, now),
            bumps: Cache::new(options.announces, now),
            refreshes: Cache::new(options.announces, now),
            mutables: Cache::new(options.values, now),
            immutables: Cache::new(options.values, now),
        }
    }

    /// How many announcements it holds.
    pub(crate) fn records(&self) -> usize {
        self.records.len() + self.refreshes.len() + self.bumps.len()
    }

    /// How many values it holds.
    pub(crate) fn values(&self) -> usize {
        self.mutables.len() + self.immutables.len()
    }

    /// The node's identifier has changed.
    pub(crate) fn set_id(&mut self, id: NodeId) {
        self.id = id;
    }

    /// Serves a request. `unix_time` is the time since 1970, which bumps are measured against.
    pub(crate) fn handle(
        &mut self,
        request: Stored<'_>,
        forwards: &mut Forwards,
        rng: &mut impl Rng,
        unix_time: Duration,
        now: Instant,
    ) -> Answer {
        match request.command {
            command::FIND_PEER => Answer::Value(forwards.record(request.target, now)),
            command::LOOKUP => self.lookup(request.target, forwards, rng, now),
            command::ANNOUNCE => self.announce(request, forwards, unix_time, now).unwrap_or(Answer::Silence),
            command::UNANNOUNCE => self.unannounce_signed(request, forwards).unwrap_or(Answer::Silence),
            command::MUTABLE_GET => self.mutable_get(request, now).unwrap_or(Answer::Silence),
            command::MUTABLE_PUT => self.mutable_put(request, now).unwrap_or(Answer::Silence),
            command::IMMUTABLE_GET => Answer::Value(self.immutables.get(request.target, now).cloned()),
            command::IMMUTABLE_PUT => self.immutable_put(request, now).unwrap_or(Answer::Silence),
            _ => Answer::NotStored,
        }
    }

    fn lookup(&mut self, target: &NodeId, forwards: &mut Forwards, rng: &mut impl Rng, now: Instant) -> Answer {
        let mut records = self.records.sample(target, MAX_LOOKUP_RECORDS, rng, now);
        if records.len() < MAX_LOOKUP_RECORDS {
            records.extend(forwards.record(target, now));
        }
        if records.is_empty() {
            return Answer::Value(None);
        }
        let bump = self.bumps.get(target, now).copied().unwrap_or(0);
        Answer::Value(Some(LookupReply::encode_raw(&records, bump)))
    }

    fn announce(
        &mut self,
        request: Stored<'_>,
        forwards: &mut Forwards,
        unix_time: Duration,
        now: Instant,
    ) -> Option<Answer> {
        let token = request.token?;
        let announce = Announce::decode(request.value?).ok()?;
        let Some(mut peer) = announce.peer else {
            return self.refresh(announce.refresh?, request.from, forwards, now);
        };
        let place = Place { target: request.target, node: &self.id, token };
        if !verify_announce(place, &peer, announce.refresh.as_ref(), &announce.signature?) {
            return None;
        }
        peer.relay_addresses.truncate(MAX_RELAY_ADDRESSES);
        let announces_self = crypto::hash(&[&peer.public_key]) == *request.target;
        let entry = Refresh { target: *request.target, record: peer.encode(), announces_self };

        if !announces_self {
            let newest = self.bumps.get(request.target, now).copied().unwrap_or(0);
            let latest = u64::try_from((unix_time + MAX_BUMP_DRIFT).as_millis()).unwrap_or(u64::MAX);
            if announce.bump > newest && announce.bump <= latest {
                self.bumps.insert(*request.target, announce.bump, now);
            }
        }
        self.store(&entry, &peer.public_key, request.from, forwards, now);
        if let Some(refresh) = announce.refresh {
            self.refreshes.insert(refresh, entry, now);
        }
        Some(Answer::Done)
    }

    fn store(
        &mut self,
        entry: &Refresh,
        public_key: &[u8; 32],
        from: SocketAddrV4,
        forwards: &mut Forwards,
        now: Instant,
    ) {
        if entry.announces_self {
            forwards.insert(entry.target, from, entry.record.clone(), now);
            self.records.remove(&entry.target, public_key);
        } else {
            self.records.insert(entry.target, *public_key, entry.record.clone(), now);
        }
    }

    /// Repeats an announce for whoever knows the preimage of the hash that came with it; the preimage is the next hash.
    fn refresh(
        &mut self,
        preimage: [u8; 32],
        from: SocketAddrV4,
        forwards: &mut Forwards,
        now: Instant,
    ) -> Option<Answer> {
        let entry = self.refreshes.remove(&crypto::hash(&[&preimage]))?;
        let public_key = PeerRecord::decode(&entry.record).ok()?.public_key;
        self.store(&entry, &public_key, from, forwards, now);
        self.refreshes.insert(preimage, entry, now);
        Some(Answer::Done)
    }

    fn unannounce_signed(&mut self, request: Stored<'_>, forwards: &mut Forwards) -> Option<Answer> {
        let token = request.token?;
        let announce = Announce::decode(request.value?).ok()?;
        let peer = announce.peer?;
        let place = Place { target: request.target, node: &self.id, token };
        if !verify_unannounce(place, &peer, announce.refresh.as_ref(), &announce.signature?) {
            return None;
        }
        self.unannounce(request.target, &peer.public_key, forwards);
        Some(Answer::Done)
    }

    /// Forgets that a peer is at `target`.
    pub(crate) fn unannounce(&mut self, target: &NodeId, public_key: &[u8; 32], forwards: &mut Forwards) {
        if crypto::hash(&[public_key]) == *target {
            forwards.remove(target);
        }
        self.records.remove(target, public_key);
    }

    fn mutable_get(&mut self, request: Stored<'_>, now: Instant) -> Option<Answer> {
        let wanted = encoding::Decoder::new(request.value?).uint().ok()?;
        let stored = self.mutables.get(request.target, now);
        let stored = stored.filter(|stored| MutableGet::decode(stored).is_ok_and(|m| m.seq >= wanted));
        Some(Answer::Value(stored.cloned()))
    }

    fn mutable_put(&mut self, request: Stored<'_>, now: Instant) -> Option<Answer> {
        request.token?;
        let put = MutablePut::decode(request.value?).ok()?;
        if crypto::hash(&[&put.public_key]) != *request.target
            || put.value.is_empty()
            || put.value.len() > MAX_VALUE
            || !verify_mutable(put.seq, put.value, &put.signature, &put.public_key)
        {
            return None;
        }
        if let Some(stored) = self.mutables.get(request.target, now)
            && let Ok(stored) = MutableGet::decode(stored)
        {
            if stored.seq == put.seq && stored.value != put.value {
                return Some(Answer::Error(code::SEQ_REUSED));
            }
            if put.seq < stored.seq {
                return Some(Answer::Error(code::SEQ_TOO_LOW));
            }
        }
        let value = MutableGet { seq: put.seq, value: put.value, signature: put.signature };
        self.mutables.insert(*request.target, value.encode(), now);
        Some(Answer::Value(None))
    }

    fn immutable_put(&mut self, request: Stored<'_>, now: Instant) -> Option<Answer> {
        request.token?;
        let value = request.value.filter(|value| value.len() <= MAX_VALUE)?;
        if crypto::hash(&[value]) != *request.target {
            return None;
        }
        self.immutables.insert(*request.target, value.to_vec(), now);
        Some(Answer::Value(None))
    }
}

#[cfg(test)]
mod tests {
    use crypto::KeyPair;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::signatures::{sign_announce, sign_mutable, sign_unannounce};

    const ID: NodeId = [5; 32];
    const TOKEN: Token = [4; 32];
    const TIME: Duration = Duration::from_millis(1_760_000_000_000);

    struct Node {
        storage: Storage,
        forwards: Forwards,
        now: Instant,
    }

    impl Node {
        fn new() -> Self {
            let now = Instant::now();
            let options = StorageOptions::default();
            Self { storage: Storage::new(ID, options, now), forwards: Forwards::new(options.announces, now), now }
        }

        fn ask(&mut self, command: u64, target: &NodeId, value: Option<&[u8]>) -> Answer {
            let from = SocketAddrV4::new([1, 2, 3, 4].into(), 5);
            let request = Stored { from, command, target, token: Some(&TOKEN), value };
            self.storage.handle(request, &mut self.forwards, &mut StdRng::seed_from_u64(1), TIME, self.now)
        }

        fn lookup(&mut self, target: &NodeId) -> Option<LookupReply> {
            match self.ask(command::LOOKUP, target, None) {
                Answer::Value(value) => value.map(|v| LookupReply::decode(&v).expect("reply")),
                other => panic!("{other:?}"),
            }
        }
    }

    fn announce(target: &NodeId, keys: &KeyPair, relays: usize, refresh: Option<[u8; 32]>, bump: u64) -> Vec<u8> {
        let relay_addresses = (0..relays).map(|i| SocketAddrV4::new([9, 9, 9, 9].into(), i as u16)).collect();
        let peer = PeerRecord { public_key: keys.public_key, relay_addresses };
        let place = Place { target, node: &ID, token: &TOKEN };
        let signature = Some(sign_announce(place, &peer, refresh.as_ref(), keys));
        Announce { peer: Some(peer), refresh, signature, bump }.encode()
    }

    fn unannounce(target: &NodeId, keys: &KeyPair) -> Vec<u8> {
        let peer = PeerRecord { public_key: keys.public_key, relay_addresses: Vec::new() };
        let signature = Some(sign_unannounce(Place { target, node: &ID, token: &TOKEN }, &peer, keys));
        Announce { peer: Some(peer), refresh: None, signature, bump: 0 }.encode()
    }

    #[test]
    fn a_topic_collects_peers() {
        let mut node = Node::new();
        let topic = [1; 32];
        assert_eq!(node.lookup(&topic), None);
        let keys: Vec<KeyPair> = (0..30).map(|i| KeyPair::from_seed(&[i; 32])).collect();
        for keys in &keys {
            let value = announce(&topic, keys, 5, None, 0);
            assert_eq!(node.ask(command::ANNOUNCE, &topic, Some(&value)), Answer::Done);
        }
        let reply = node.lookup(&topic).expect("peers");
        assert_eq!(reply.peers.len(), MAX_LOOKUP_RECORDS);
        assert!(reply.peers.iter().all(|peer| peer.relay_addresses.len() == 3));
        for keys in &keys {
            let value = unannounce(&topic, keys);
            assert_eq!(node.ask(command::UNANNOUNCE, &topic, Some(&value)), Answer::Done);
        }
        assert_eq!(node.lookup(&topic), None);
    }

    #[test]
    fn a_peer_at_its_own_key_is_forwarded_to() {
        let mut node = Node::new();
        let keys = KeyPair::from_seed(&[1; 32]);
        let target = crypto::hash(&[&keys.public_key]);
        let value = announce(&target, &keys, 0, None, 0);
        assert_eq!(node.ask(command::ANNOUNCE, &target, Some(&value)), Answer::Done);
        let record = PeerRecord { public_key: keys.public_key, relay_addresses: Vec::new() };
        assert_eq!(node.ask(command::FIND_PEER, &target, None), Answer::Value(Some(record.encode())));
        assert_eq!(node.lookup(&target).map(|reply| reply.peers), Some(vec![record]));
        assert_eq!(node.forwards.relay(&target, node.now), Some("1.2.3.4:5".parse().expect("address")));
        let value = unannounce(&target, &keys);
        assert_eq!(node.ask(command::UNANNOUNCE, &target, Some(&value)), Answer::Done);
        assert_eq!(node.ask(command::FIND_PEER, &target, None), Answer::Value(None));
    }

    #[test]
    fn what_is_not_signed_by_the_peer_is_not_answered() {
        let mut node = Node::new();
        let (topic, keys) = ([1; 32], KeyPair::from_seed(&[1; 32]));
        let good = announce(&topic, &keys, 0, None, 0);
        assert_eq!(node.ask(command::ANNOUNCE, &[2; 32], Some(&good)), Answer::Silence, "another topic");
        assert_eq!(node.ask(command::UNANNOUNCE, &topic, Some(&good)), Answer::Silence, "another command");
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert_eq!(node.ask(command::ANNOUNCE, &topic, Some(&bad)), Answer::Silence, "byte {i}");
        }
        // The pinned JavaScript versions crash on this.
        let only_refresh = Announce { peer: None, refresh: Some([3; 32]), signature: None, bump: 0 }.encode();
        assert_eq!(node.ask(command::ANNOUNCE, &topic, Some(&only_refresh)), Answer::Silence);
        assert_eq!(node.lookup(&topic), None);
    }

    #[test]
    fn a_chain_of_hashes_repeats_an_announce() {
        let mut node = Node::new();
        let (topic, keys) = ([1; 32], KeyPair::from_seed(&[1; 32]));
        let last = [7; 32];
        let middle = crypto::hash(&[&last]);
        let first = crypto::hash(&[&middle]);
        let value = announce(&topic, &keys, 1, Some(first), 0);
        assert_eq!(node.ask(command::ANNOUNCE, &topic, Some(&value)), Answer::Done);
        for (round, preimage) in [middle, last].into_iter().enumerate() {
            node.now += Duration::from_secs(20 * 60);
            assert!(round > 0 || node.lookup(&topic).is_some());
            let refresh = Announce { peer: None, refresh: Some(preimage), signature: None, bump: 0 }.encode();
            assert_eq!(node.ask(command::ANNOUNCE, &topic, Some(&refresh)), Answer::Done);
            assert_eq!(node.ask(command::ANNOUNCE, &topic, Some(&refresh)), Answer::Silence, "only once");
            assert!(node.lookup(&topic).is_some());
        }
    }

    #[test]
    fn bumps_grow_and_are_not_of_the_future() {
        let mut node = Node::new();
        let (topic, keys) = ([1; 32], KeyPair::from_seed(&[1; 32]));
        let now = TIME.as_millis() as u64;
        for (bump, stored) in [(0, 0), (now, now), (now - 5, now), (now + 70_000, now), (now + 59_000, now + 59_000)] {
            let value = announce(&topic, &keys, 0, None, bump);
            assert_eq!(node.ask(command::ANNOUNCE, &topic, Some(&value)), Answer::Done);
            assert_eq!(node.lookup(&topic).map(|reply| reply.bump), Some(stored));
        }
    }

    #[test]
    fn mutable_values_only_grow() {
        let mut node = Node::new();
        let keys = KeyPair::from_seed(&[1; 32]);
        let target = crypto::hash(&[&keys.public_key]);
        let put = |seq, value: &'static [u8]| {
            let signature = sign_mutable(seq, value, &keys);
            MutablePut { public_key: keys.public_key, seq, value, signature }.encode()
        };
        assert_eq!(node.ask(command::MUTABLE_GET, &target, Some(&[0])), Answer::Value(None));
        assert_eq!(node.ask(command::MUTABLE_GET, &target, None), Answer::Silence);
        assert_eq!(node.ask(command::MUTABLE_PUT, &target, Some(&put(2, b"two"))), Answer::Value(None));
        assert_eq!(node.ask(command::MUTABLE_PUT, &target, Some(&put(2, b"two"))), Answer::Value(None));
        assert_eq!(node.ask(command::MUTABLE_PUT, &target, Some(&put(2, b"2"))), Answer::Error(code::SEQ_REUSED));
        assert_eq!(node.ask(command::MUTABLE_PUT, &target, Some(&put(1, b"1"))), Answer::Error(code::SEQ_TOO_LOW));
        assert_eq!(node.ask(command::MUTABLE_PUT, &[9; 32], Some(&put(3, b"3"))), Answer::Silence);
        let mut forged = put(3, b"3");
        *forged.last_mut().expect("bytes") ^= 1;
        assert_eq!(node.ask(command::MUTABLE_PUT, &target, Some(&forged)), Answer::Silence);
        let Answer::Value(Some(value)) = node.ask(command::MUTABLE_GET, &target, Some(&[2])) else { panic!("stored") };
        assert_eq!(MutableGet::decode(&value).map(|m| (m.seq, m.value.to_vec())), Ok((2, b"two".to_vec())));
        assert_eq!(node.ask(command::MUTABLE_GET, &target, Some(&[3])), Answer::Value(None));
    }

    #[test]
    fn immutable_values_are_under_their_hash() {
        let mut node = Node::new();
        let target = crypto::hash(&[b"value"]);
        assert_eq!(node.ask(command::IMMUTABLE_PUT, &target, Some(b"other")), Answer::Silence);
        assert_eq!(node.ask(command::IMMUTABLE_PUT, &target, Some(b"value")), Answer::Value(None));
        assert_eq!(node.ask(command::IMMUTABLE_GET, &target, None), Answer::Value(Some(b"value".to_vec())));
        let long = vec![1; MAX_VALUE + 1];
        assert_eq!(node.ask(command::IMMUTABLE_PUT, &crypto::hash(&[&long]), Some(&long)), Answer::Silence);
    }

    /// Two thirds of the age at least, four thirds at most: as JavaScript's nodes, which turn over two generations.
    #[test]
    fn what_nobody_repeats_is_forgotten() {
        const HOUR: Duration = Duration::from_secs(3600);
        let keys = KeyPair::from_seed(&[1; 32]);
        let (topic, mutable, immutable) = ([1; 32], crypto::hash(&[&keys.public_key]), crypto::hash(&[b"value"]));
        let stored = |after: Duration| {
            let mut node = Node::new();
            node.ask(command::ANNOUNCE, &topic, Some(&announce(&topic, &keys, 0, None, 0)));
            let put = MutablePut {
                public_key: keys.public_key,
                seq: 1,
                value: b"1",
                signature: sign_mutable(1, b"1", &keys),
            };
            node.ask(command::MUTABLE_PUT, &mutable, Some(&put.encode()));
            node.ask(command::IMMUTABLE_PUT, &immutable, Some(b"value"));
            node.now += after;
            let kept = |answer: Answer| matches!(answer, Answer::Value(Some(_)));
            let values = kept(node.ask(command::MUTABLE_GET, &mutable, Some(&[0])));
            assert_eq!(kept(node.ask(command::IMMUTABLE_GET, &immutable, None)), values);
            (node.lookup(&topic).is_some(), values)
        };
        assert_eq!(stored(Duration::from_secs(13 * 60)), (true, true));
        assert_eq!(stored(Duration::from_secs(27 * 60)), (false, true));
        assert_eq!(stored(31 * HOUR), (false, true));
        assert_eq!(stored(65 * HOUR), (false, false));
    }

    proptest! {
        #[test]
        fn any_value_is_survived(command in 0u64..12, value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))) {
            let mut node = Node::new();
            let answer = node.ask(command, &[1; 32], value.as_deref());
            prop_assert!(!matches!(answer, Answer::Done));
        }
    }
}
