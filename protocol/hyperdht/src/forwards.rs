//! Which peers a node forwards to, and where a message on its way goes next.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use dht_rpc::NodeId;

use crate::cache::{Cache, CacheOptions};
use crate::messages::{Handshake, Holepunch, Mode};

/// Messages that a node forwards in one second; further ones are dropped. The sender chooses where a hole punching message
/// goes, so without a limit a node could be used to hide the origin of a flood.
const MAX_FORWARDS_PER_SECOND: u32 = 5000;

/// Those of them from one host: it alone does not keep the messages of others from their way.
const MAX_FORWARDS_PER_HOST: u32 = 500;

/// Peers that announced themselves here, and those that listen in this process.
#[derive(Debug)]
pub(crate) struct Forwards {
    announced: Cache<NodeId, Forward>,
    /// The records of own servers, which do not expire.
    own: HashMap<NodeId, Vec<u8>>,
    second: Instant,
    forwarded: u32,
    /// By the hosts that they were from. As long as the second, and so not longer than the limit of all.
    forwarded_from: HashMap<Ipv4Addr, u32>,
}

#[derive(Debug)]
struct Forward {
    relay: SocketAddrV4,
    record: Vec<u8>,
}

impl Forwards {
    pub(crate) fn new(options: CacheOptions, now: Instant) -> Self {
        Self {
            announced: Cache::new(options, now),
            own: HashMap::new(),
            second: now,
            forwarded: 0,
            forwarded_from: HashMap::new(),
        }
    }

    /// How many peers are forwarded to.
    pub(crate) fn len(&self) -> usize {
        self.announced.len()
    }

    /// A peer announced itself from `relay`.
    pub(crate) fn insert(&mut self, target: NodeId, relay: SocketAddrV4, record: Vec<u8>, now: Instant) {
        if !self.own.contains_key(&target) {
            self.announced.insert(target, Forward { relay, record }, now);
        }
    }

    pub(crate) fn remove(&mut self, target: &NodeId) {
        self.announced.remove(target);
    }

    /// A server of our own listens.
    pub(crate) fn retain(&mut self, target: NodeId, record: Vec<u8>) {
        self.announced.remove(&target);
        self.own.insert(target, record);
    }

    pub(crate) fn release(&mut self, target: &NodeId) {
        self.own.remove(target);
    }

    /// The record of the peer at `target`.
    pub(crate) fn record(&mut self, target: &NodeId, now: Instant) -> Option<Vec<u8>> {
        if let Some(record) = self.own.get(target) {
            return Some(record.clone());
        }
        self.announced.get(target, now).map(|forward| forward.record.clone())
    }

    /// Where to forward what is for `target`.
    pub(crate) fn relay(&mut self, target: &NodeId, now: Instant) -> Option<SocketAddrV4> {
        self.announced.get(target, now).map(|forward| forward.relay)
    }

    /// Counts a message of this host that is to be forwarded; `false` when there are too many.
    pub(crate) fn may_forward(&mut self, from: Ipv4Addr, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.forwarded = 0;
            self.forwarded_from.clear();
        }
        if self.forwarded >= MAX_FORWARDS_PER_SECOND {
            return false;
        }
        let of_host = self.forwarded_from.entry(from).or_default();
        if *of_host >= MAX_FORWARDS_PER_HOST {
            return false;
        }
        *of_host += 1;
        self.forwarded += 1;
        true
    }
}

/// What a node that is not the server does with a message on its way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Names closer nodes to the sender.
    CloserNodes,
    /// Passes the request on with this value.
    Forward(Vec<u8>, SocketAddrV4),
    /// Answers the one that the request was first from.
    Reply(Vec<u8>, SocketAddrV4),
    Drop,
}

/// Routes a handshake from `from`, when `relay` is where the peer announced itself from.
pub(crate) fn route_handshake(message: &Handshake<'_>, from: SocketAddrV4, relay: Option<SocketAddrV4>) -> Route {
    if message.noise.is_empty() {
        return Route::Drop;
    }
    let next = |mode, peer_address, relay_address| {
        Handshake { mode, noise: message.noise, peer_address, relay_address }.encode()
    };
    match (message.mode, message.relay_address.or(relay), relay, message.peer_address) {
        (Mode::FromClient, None, ..) => Route::CloserNodes,
        (Mode::FromClient, Some(to), ..) => Route::Forward(next(Mode::FromRelay, Some(from), None), to),
        (Mode::FromRelay, _, Some(to), peer) => Route::Forward(next(Mode::FromSecondRelay, peer, Some(from)), to),
        (Mode::FromServer, .., Some(client)) => Route::Reply(next(Mode::Reply, Some(from), None), client),
        _ => Route::Drop,
    }
}

/// Routes a hole punching message; see [`route_handshake`].
pub(crate) fn route_holepunch(message: &Holepunch<'_>, from: SocketAddrV4, relay: Option<SocketAddrV4>) -> Route {
    let next = |mode| Holepunch { mode, id: message.id, payload: message.payload, peer_address: Some(from) }.encode();
    match (message.mode, message.peer_address) {
        (Mode::FromClient, peer) => match peer.or(relay) {
            Some(to) => Route::Forward(next(Mode::FromRelay), to),
            None => Route::Drop,
        },
        (Mode::FromServer, Some(client)) => Route::Reply(next(Mode::Reply), client),
        _ => Route::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new([1, 1, 1, 1].into(), port)
    }

    const CLIENT: u16 = 1;
    const SERVER: u16 = 2;
    const OTHER: u16 = 3;

    fn handshake(mode: Mode, peer: Option<u16>, relay: Option<u16>) -> Handshake<'static> {
        Handshake { mode, noise: b"noise", peer_address: peer.map(addr), relay_address: relay.map(addr) }
    }

    #[test]
    fn handshakes_go_to_the_server_and_back() {
        let route =
            |message: &Handshake<'_>, from, relay: Option<u16>| route_handshake(message, addr(from), relay.map(addr));
        let client = handshake(Mode::FromClient, None, None);
        assert_eq!(route(&client, CLIENT, None), Route::CloserNodes);
        let forwarded = handshake(Mode::FromRelay, Some(CLIENT), None);
        assert_eq!(route(&client, CLIENT, Some(SERVER)), Route::Forward(forwarded.encode(), addr(SERVER)));
        let second = handshake(Mode::FromSecondRelay, Some(CLIENT), Some(OTHER));
        assert_eq!(route(&forwarded, OTHER, Some(SERVER)), Route::Forward(second.encode(), addr(SERVER)));
        assert_eq!(route(&forwarded, OTHER, None), Route::Drop);
        let back = handshake(Mode::FromServer, Some(CLIENT), None);
        let reply = handshake(Mode::Reply, Some(SERVER), None);
        assert_eq!(route(&back, SERVER, None), Route::Reply(reply.encode(), addr(CLIENT)));
        assert_eq!(route(&handshake(Mode::FromServer, None, None), SERVER, None), Route::Drop);
        assert_eq!(route(&handshake(Mode::Reply, Some(CLIENT), None), SERVER, Some(SERVER)), Route::Drop);
        assert_eq!(route(&Handshake { noise: b"", ..client }, CLIENT, Some(SERVER)), Route::Drop);
    }

    #[test]
    fn hole_punching_messages_go_where_the_client_says_and_back() {
        let message =
            |mode, peer: Option<u16>| Holepunch { mode, id: 7, payload: b"sealed", peer_address: peer.map(addr) };
        let forwarded = Route::Forward(message(Mode::FromRelay, Some(CLIENT)).encode(), addr(SERVER));
        let route =
            |message: &Holepunch<'_>, from, relay: Option<u16>| route_holepunch(message, addr(from), relay.map(addr));
        assert_eq!(route(&message(Mode::FromClient, Some(SERVER)), CLIENT, None), forwarded);
        assert_eq!(route(&message(Mode::FromClient, None), CLIENT, Some(SERVER)), forwarded);
        assert_eq!(route(&message(Mode::FromClient, None), CLIENT, None), Route::Drop);
        let reply = Route::Reply(message(Mode::Reply, Some(SERVER)).encode(), addr(CLIENT));
        assert_eq!(route(&message(Mode::FromServer, Some(CLIENT)), SERVER, None), reply);
        assert_eq!(route(&message(Mode::FromRelay, Some(CLIENT)), OTHER, None), Route::Drop);
    }

    #[test]
    fn forwarding_is_limited() {
        let now = Instant::now();
        let mut forwards = Forwards::new(CacheOptions { max_size: 10, max_age: None }, now);
        let host = |i: u32| Ipv4Addr::from_bits(i + 1);
        let mut allowed = |from: fn(u32) -> Ipv4Addr, messages: u32, at| {
            (0..messages).filter(|i| forwards.may_forward(from(*i), at)).count() as u32
        };
        let one = |_: u32| Ipv4Addr::LOCALHOST;
        assert_eq!(allowed(one, MAX_FORWARDS_PER_SECOND * 2, now), MAX_FORWARDS_PER_HOST);
        let rest = MAX_FORWARDS_PER_SECOND - MAX_FORWARDS_PER_HOST;
        assert_eq!(allowed(host, MAX_FORWARDS_PER_SECOND * 2, now), rest, "the others have what it left");
        let later = now + Duration::from_secs(1);
        assert_eq!(allowed(one, 1, later), 1);
        assert_eq!(forwards.forwarded_from.len(), 1);
    }

    #[test]
    fn own_servers_are_not_replaced_by_announces() {
        let now = Instant::now();
        let mut forwards = Forwards::new(CacheOptions { max_size: 10, max_age: None }, now);
        forwards.retain([1; 32], vec![1]);
        forwards.insert([1; 32], addr(OTHER), vec![2], now);
        assert_eq!((forwards.record(&[1; 32], now), forwards.relay(&[1; 32], now)), (Some(vec![1]), None));
        forwards.release(&[1; 32]);
        assert_eq!(forwards.record(&[1; 32], now), None);
    }
}
