//! Connecting to a peer: find a node that forwards to it, shake hands through that node, and choose the way.

use std::collections::{HashSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crypto::noise::Session;
use dht_rpc::{NodeId, Query, QueryOptions, RequestOptions, SocketId};
use futures_util::future::select_ok;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use secret_stream::SecretStream;
use udx::{StreamOptions, UdxSocket, WeakUdxStream};

use crate::constants::{code, command, firewall};
use crate::dht::{ConnectOptions, Connection, Inner, now};
use crate::error::ConnectError;
use crate::holepunch;
use crate::messages::{Handshake, Mode, NoisePayload, UdxInfo};
use crate::noise::{NoiseWrap, holepunch_secret};
use crate::path::{Path, View, select};
use crate::relay::{self, Direct, Meeting, Opened, Place};
use crate::routes::{self, Route};
use crate::secure_payload::SecurePayload;

/// Handshakes that are tried at once, through nodes that were known and as many through nodes that were found.
const MAX_PARALLEL: usize = 2;

/// How often the search for the peer writes to a node that does not answer.
const FIND_TRIES: u32 = 3;

/// How long the nodes that are known to forward to the peer are tried alone, before others are searched beside.
const HEAD_START: Duration = Duration::from_millis(250);

/// How long those nodes have when the search has ended and nobody else is left: as long as JavaScript asks them. Often one of them is
/// the peer itself, which took its announcement back and went.
const KNOWN_PATIENCE: Duration = Duration::from_secs(1);

/// How long an address in our own network is tried alone, before a hole is punched beside.
const LAN_HEAD_START: Duration = Duration::from_millis(200);

/// How long the server has to write to us.
const PASSIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer to a handshake, as it came back through a node.
struct Answer {
    /// The node that was asked.
    relay_address: SocketAddrV4,
    server_address: SocketAddrV4,
    client_address: SocketAddrV4,
    noise: Bytes,
}

/// How long a server that was not announced yet has to answer, before we shake hands anew: by then it is announced. (JavaScript fails
/// after 13 seconds. Two peers behind NATs that start, or have a network again, at the same moment do this to each other.)
const EARLY_PATIENCE: Duration = Duration::from_millis(1500);

/// A handshake that is complete.
struct Agreed {
    answer: Answer,
    payload: NoisePayload,
    session: Session,
    remote_id: u32,
    target: NodeId,
    /// The route that the handshake took, if it took none through nodes.
    route: Option<Route>,
}

/// Connects to the peer with this key.
pub(crate) async fn connect(
    dht: &Arc<Inner>,
    remote_public_key: [u8; 32],
    options: ConnectOptions,
) -> Result<Connection, ConnectError> {
    if let Some(connection) = attempt(dht, remote_public_key, options.clone(), Some(EARLY_PATIENCE)).await? {
        return Ok(connection);
    }
    tracing::debug!("the peer was not announced: another handshake");
    attempt(dht, remote_public_key, options, None).await?.ok_or(ConnectError::PeerConnectionFailed)
}

/// The same once. `None` when the server was not announced yet, and did not answer within `patience`.
async fn attempt(
    dht: &Arc<Inner>,
    remote_public_key: [u8; 32],
    options: ConnectOptions,
    patience: Option<Duration>,
) -> Result<Option<Connection>, ConnectError> {
    if *dht.suspended.borrow() {
        return Err(ConnectError::Suspended);
    }
    let keys = options.key_pair.clone().unwrap_or_else(|| dht.key_pair.clone());
    let public_key = keys.public_key;
    let stream = dht.rpc.udx().create_stream(StreamOptions { accept: true, ..StreamOptions::default() })?;

    let own = dht.rpc.remote_address();
    let meeting = Meeting::pick(&options.relay_through, &mut dht.state.lock().rng);
    let local = if options.local_connection { dht.local_addresses() } else { Vec::new() };
    let payload = NoisePayload {
        addresses4: own.into_iter().chain(local.iter().copied()).collect(),
        udx: Some(UdxInfo::new(stream.id(), options.reusable_socket)),
        secret_stream: Some(1),
        relay_through: meeting.as_ref().map(Meeting::invitation),
        ..NoisePayload::new(code::NONE, if own.is_some() { firewall::OPEN } else { firewall::UNKNOWN })
    };
    // One message for all attempts: the server answers the first, and repeats that answer to the others.
    let mut handshake = NoiseWrap::initiator(keys, remote_public_key);
    // This fails when the key is none: nobody can be there.
    let noise = Bytes::from(handshake.send(&payload).map_err(|_| ConnectError::PeerNotFound)?);

    let (agreed, tried) = tokio::select! {
        biased;
        error = dht.unusable() => return Err(error),
        found = reach(dht, &remote_public_key, &options, &noise, handshake) => found?,
    };
    let view = View {
        payload: &agreed.payload,
        relay_address: agreed.answer.relay_address,
        server_address: agreed.answer.server_address,
        client_address: agreed.answer.client_address,
        open: own.is_some(),
        local: &local,
    };
    let (path, patience) = (select(&view), patience.filter(|_| view.is_early()));
    let (agreed, place) = (Arc::new(agreed), Place::default());
    // Where the server can be written to at once there is no need to meet.
    let needs_relay = agreed.route.is_none() && !matches!(path, Path::Direct(_));
    let meeting = Meeting::invited(agreed.payload.relay_through).or(meeting).filter(|_| needs_relay);
    let relayed = meeting.map(|meeting| meeting.meet(dht, stream.id(), &place));
    let direct = open_way(dht.clone(), path, stream.downgrade(), agreed.clone(), options.clone(), place).boxed();
    let opened = tokio::select! {
        biased;
        opened = relay::first(direct, relayed) => opened?,
        error = dht.unusable() => return Err(error),
    };
    let relayed = matches!(opened, Opened::Relayed(..));
    match opened {
        Opened::Direct((socket, addr, pooled)) => {
            stream.connect(&socket, agreed.remote_id, addr)?;
            if options.reusable_socket && agreed.payload.udx.is_some_and(|udx| udx.reusable_socket) {
                routes::keep(dht, remote_public_key, &stream, pooled);
            }
        }
        Opened::Relayed(relayed, direct) => {
            relay::connect(&stream, &relayed, true).await?;
            relay::upgrade(dht, &stream, relayed, agreed.remote_id, direct);
        }
    }
    let options = dht.stream_options();
    let mut connection = SecretStream::from_session(stream, agreed.session.clone(), public_key, options);
    // Who meets at a relay is there. A relay of JavaScript may have lost the server's first frame, which is repeated after a second,
    // or as soon as the server says more: often that is an answer to us.
    if !relayed {
        match patience {
            None => connection.opened().await?,
            Some(patience) => match tokio::time::timeout(patience, connection.opened()).await {
                Ok(opened) => opened?,
                Err(_) => return Ok(None),
            },
        }
    }

    let relays = agreed.payload.relay_addresses.clone().filter(|relays| !relays.is_empty()).unwrap_or(tried);
    if !relays.is_empty() {
        dht.state.lock().relays.insert(remote_public_key, relays, now());
    }
    Ok(Some(connection))
}

type Way = Result<Direct, ConnectError>;

/// Opens the way, or waits until the server has found its own to us.
async fn open_way(
    dht: Arc<Inner>,
    path: Path,
    stream: WeakUdxStream,
    agreed: Arc<Agreed>,
    options: ConnectOptions,
    place: Place,
) -> Way {
    tokio::select! {
        biased;
        first = place.first_direct(&dht, &stream) => first.map_err(|reason| udx::Error::from(reason).into()),
        way = find_way(&dht, path, &agreed, &options, &place) => way,
    }
}

/// From which socket to which address the stream is to be connected.
async fn find_way(dht: &Arc<Inner>, path: Path, agreed: &Agreed, options: &ConnectOptions, place: &Place) -> Way {
    if let Some(route) = &agreed.route {
        return Ok((socket(dht, route.socket)?, SocketAddr::V4(route.addr), route.held()));
    }
    match path {
        Path::Direct(addr) => {
            dht.state.lock().punches.open += 1;
            Ok((socket(dht, dht.rpc.request_socket())?, SocketAddr::V4(addr), None))
        }
        Path::Passive => {
            tokio::time::sleep(PASSIVE_TIMEOUT).await;
            Err(ConnectError::HolepunchAborted)
        }
        Path::Lan(addr) => {
            let hole = async {
                tokio::time::sleep(LAN_HEAD_START).await;
                punch(dht, agreed, options, place).await
            };
            select_ok([lan(dht, addr).boxed(), hole.boxed()]).await.map(|(way, _)| way)
        }
        Path::Holepunch => punch(dht, agreed, options, place).await,
    }
}

fn socket(dht: &Inner, id: SocketId) -> Result<UdxSocket, ConnectError> {
    dht.rpc.socket(id).ok_or(ConnectError::NodeDestroyed)
}

async fn lan(dht: &Inner, addr: SocketAddrV4) -> Way {
    let pong = dht.rpc.ping(addr, RequestOptions::default()).await;
    pong.map_err(|_| ConnectError::HolepunchAborted)?;
    Ok((socket(dht, SocketId::SERVER)?, SocketAddr::V4(addr), None))
}

async fn punch(dht: &Arc<Inner>, agreed: &Agreed, options: &ConnectOptions, place: &Place) -> Way {
    let info = agreed.payload.holepunch.as_ref().ok_or(ConnectError::CannotHolepunch)?;
    let target = holepunch::Target {
        target: agreed.target,
        info,
        firewall: agreed.payload.firewall,
        relay_address: agreed.answer.relay_address,
        server_address: agreed.answer.server_address,
        secure: SecurePayload::new(holepunch_secret(&agreed.session), &mut dht.state.lock().rng),
        fast_open: options.fast_open,
        hook: options.holepunch.clone(),
        place: place.clone(),
    };
    let (pooled, addr) = holepunch::punch(dht, target).await?;
    Ok((pooled.socket().clone(), SocketAddr::V4(addr), Some(pooled)))
}

/// Shakes hands on the route of an earlier connection, or through nodes. Also returns the nodes that were tried.
async fn reach(
    dht: &Arc<Inner>,
    remote_public_key: &[u8; 32],
    options: &ConnectOptions,
    noise: &Bytes,
    handshake: NoiseWrap,
) -> Result<(Agreed, Vec<SocketAddrV4>), ConnectError> {
    let search = find_and_shake(dht, remote_public_key, &options.relay_addresses, noise, handshake.clone());
    let Some(route) = dht.route(remote_public_key).filter(|_| options.reusable_socket) else { return search.await };
    let target = crypto::hash(&[remote_public_key]);
    let direct = async {
        let Some(answer) = shake(dht, target, noise, route.addr, Some(route.socket)).await else {
            dht.route_failed(remote_public_key, &route);
            return Ok(None);
        };
        let agreed = agree(&handshake, target, answer)?;
        Ok(agreed.map(|agreed| (Agreed { route: Some(route), ..agreed }, Vec::new())))
    };
    routes::prefer(direct, search).await
}

/// Searches nodes that know the peer and shakes hands through the first that gets an answer. Also returns the nodes that were
/// tried.
async fn find_and_shake(
    dht: &Arc<Inner>,
    remote_public_key: &[u8; 32],
    given: &[SocketAddrV4],
    noise: &Bytes,
    handshake: NoiseWrap,
) -> Result<(Agreed, Vec<SocketAddrV4>), ConnectError> {
    let target = crypto::hash(&[remote_public_key]);
    let known = known_relays(dht, remote_public_key, &target, given);
    let mut seen: HashSet<SocketAddrV4> = known.iter().copied().collect();
    let mut known = Attempts::new(known);
    let mut found = Attempts::new(Vec::new());
    let mut head_start = pin!(tokio::time::sleep(HEAD_START));
    let mut patience = pin!(tokio::time::sleep(KNOWN_PATIENCE));
    let mut tried = Vec::new();
    let mut query: Option<Query> = None;
    let mut searched = false;
    let mut is_announced = false;

    loop {
        for attempts in [&mut known, &mut found] {
            attempts.start(&mut tried, |node| shake(dht, target, noise, node, None));
        }
        if query.is_none() && known.running.is_empty() && found.running.is_empty() {
            if searched {
                break;
            }
            query = Some(search(dht, target));
        }
        let answer = tokio::select! {
            Some(answer) = known.running.next(), if !known.running.is_empty() => answer,
            Some(answer) = found.running.next(), if !found.running.is_empty() => answer,
            reply = async { query.as_mut().expect("guarded").next().await }, if query.is_some() => {
                match reply {
                    Some(reply) => {
                        let node = Inner::found_peer(&reply).map(|peer| peer.from);
                        is_announced |= node.is_some();
                        found.waiting.extend(node.filter(|node| seen.insert(*node)));
                    }
                    None => (query, searched) = (None, true),
                }
                None
            }
            () = &mut head_start, if query.is_none() && !searched => {
                query = Some(search(dht, target));
                None
            }
            () = &mut patience, if searched && found.running.is_empty() => break,
        };
        if let Some(answer) = answer
            && let Some(agreed) = agree(&handshake, target, answer)?
        {
            return Ok((agreed, tried));
        }
    }
    // As in JavaScript, those that forwarded to the peer once say nothing about whether it is there now.
    Err(if is_announced { ConnectError::PeerConnectionFailed } else { ConnectError::PeerNotFound })
}

/// Handshakes through nodes of one origin; those that are silent do not hold up those of another origin.
struct Attempts<F> {
    waiting: VecDeque<SocketAddrV4>,
    running: FuturesUnordered<F>,
}

impl<F: Future> Attempts<F> {
    fn new(waiting: Vec<SocketAddrV4>) -> Self {
        Self { waiting: waiting.into(), running: FuturesUnordered::new() }
    }

    fn start(&mut self, tried: &mut Vec<SocketAddrV4>, shake: impl Fn(SocketAddrV4) -> F) {
        while self.running.len() < MAX_PARALLEL
            && let Some(node) = self.waiting.pop_front()
        {
            tried.push(node);
            self.running.push(shake(node));
        }
    }
}

fn search(dht: &Arc<Inner>, target: NodeId) -> Query {
    dht.find_peer(target, QueryOptions { tries: Some(FIND_TRIES), ..QueryOptions::default() })
}

/// Nodes that probably forward to the peer: it announced itself at this very node, or we are told so, or did connect by them.
fn known_relays(dht: &Inner, public_key: &[u8; 32], target: &NodeId, given: &[SocketAddrV4]) -> Vec<SocketAddrV4> {
    let state = &mut *dht.state.lock();
    if let Some(relay) = state.forwards.relay(target, now()) {
        return vec![relay];
    }
    if !given.is_empty() {
        return given.to_vec();
    }
    state.relays.get(public_key, now()).cloned().unwrap_or_default()
}

/// Sends the handshake through a node, or to the peer itself.
async fn shake(
    dht: &Inner,
    target: NodeId,
    noise: &Bytes,
    node: SocketAddrV4,
    socket: Option<SocketId>,
) -> Option<Answer> {
    let message = Handshake { mode: Mode::FromClient, noise, peer_address: None, relay_address: None };
    let value = Some(message.encode().into());
    let options = RequestOptions { target: Some(target), value, socket, ..RequestOptions::default() };
    let reply = dht.rpc.request(node, command::PEER_HANDSHAKE, options).await.ok()?;
    let value = reply.value?;
    let answer = Handshake::decode(&value).ok().filter(|m| m.mode == Mode::Reply && !m.noise.is_empty())?;
    Some(Answer {
        relay_address: node,
        server_address: answer.peer_address.unwrap_or(node),
        client_address: reply.to,
        noise: value.slice_ref(answer.noise),
    })
}

/// What the peer's answer says; `None` when it is not the peer's, in which case another node may bring the right one.
fn agree(handshake: &NoiseWrap, target: NodeId, answer: Answer) -> Result<Option<Agreed>, ConnectError> {
    let mut handshake = handshake.clone();
    let Ok(payload) = handshake.recv(&answer.noise) else {
        tracing::debug!(node = %answer.relay_address, "answer to a handshake is not the peer's");
        return Ok(None);
    };
    if payload.version != 1 {
        return Err(ConnectError::ServerIncompatible);
    }
    if payload.error != code::NONE {
        return Err(ConnectError::ServerError(payload.error));
    }
    let remote_id =
        payload.udx.and_then(|udx| u32::try_from(udx.id).ok()).ok_or(ConnectError::ServerError(code::NONE))?;
    let session = handshake.finish().map_err(|_| ConnectError::HandshakeInvalid)?;
    Ok(Some(Agreed { answer, payload, session, remote_id, target, route: None }))
}
