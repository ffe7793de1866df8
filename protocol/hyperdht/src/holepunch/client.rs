//! The client's side: it asks the server through a node what it is behind, tells what itself is behind, and both punch.

use std::net::SocketAddrV4;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dht_rpc::{NodeId, Reply, RequestError, RequestOptions};
use rand::Rng;
use tokio::time::Instant;

use super::limits::RandomPunch;
use super::nat::Firewall;
use super::puncher::Puncher;
use super::{HolepunchHook, PunchError, PunchView};
use crate::constants::{code, command};
use crate::dht::Inner;
use crate::messages::{Holepunch, HolepunchInfo, HolepunchPayload, Mode, RelayInfo};
use crate::relay::Place;
use crate::secure_payload::SecurePayload;
use crate::socket_pool::PoolSocket;

/// How long a server has to find out what it is behind, when it did not know.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(1);

/// How long a probe that may be under way is waited for before many are sent: as long as so many questions took, within these bounds.
/// A punch with a random NAT costs both sides 20 seconds in which they punch no other, and a server that has just punched for
/// somebody else refuses and closes the very socket that our first probe went to, while its answer is on its way to us. JavaScript's
/// clients are slow enough not to notice.
const PROBE_PATIENCE: u32 = 2;
const PROBE_PATIENCE_MIN: Duration = Duration::from_millis(100);
const PROBE_PATIENCE_MAX: Duration = Duration::from_secs(1);

/// How long a probe from a host that the server has not named waits for one from a host that it has. A probe is one byte that anybody
/// can send, and the first one decides where the stream goes; but a NAT with several addresses may write from one that is not known.
const STRAY_PATIENCE: Duration = Duration::from_secs(1);

/// How long a random punch is put off that cannot be made now, when a relay carries the connection meanwhile; and as much again at
/// most, at random.
const TRY_LATER: Duration = Duration::from_secs(10);

/// Questions at most, however the server changes what it says.
const MAX_PROBE_ROUNDS: usize = 4;

/// What the handshake has told about the server.
pub(crate) struct Target<'a> {
    /// The hash of the server's key.
    pub(crate) target: NodeId,
    /// Its answer to the question of how to punch.
    pub(crate) info: &'a HolepunchInfo,
    pub(crate) firewall: u64,
    /// The node that the handshake went through.
    pub(crate) relay_address: SocketAddrV4,
    /// The server's puncher, as that node sees it.
    pub(crate) server_address: SocketAddrV4,
    pub(crate) secure: SecurePayload,
    /// Opens our NAT for the server before the first question, so that its first probe arrives.
    pub(crate) fast_open: bool,
    pub(crate) hook: Option<HolepunchHook>,
    /// Where the two may meet meanwhile: then there is time for another try.
    pub(crate) place: Place,
}

/// Opens a way to the server, and says from which socket to which address.
pub(crate) async fn punch(dht: &Arc<Inner>, target: Target<'_>) -> Result<(Arc<PoolSocket>, SocketAddrV4), PunchError> {
    let (puncher, mut probes) = Puncher::new(dht, true, Firewall::from_number(target.firewall))?;
    let mut rounds = Rounds { dht, target: &target, puncher: &puncher, round: 0, round_trip: Duration::ZERO };
    let rounds = async {
        rounds.run().await?;
        puncher.run().await;
        Err(PunchError::Exhausted)
    };
    let hit = async {
        let mut stray = None;
        let mut patience = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            tokio::select! {
                Some(probe) = probes.recv() => {
                    let Some(socket) = puncher.socket(probe.socket) else { continue };
                    let server = target.server_address.ip() == probe.from.ip();
                    if server || puncher.remote().addresses().any(|addr| addr.ip() == probe.from.ip()) {
                        return (socket, probe.from);
                    }
                    if stray.is_none() {
                        patience.as_mut().reset(Instant::now() + STRAY_PATIENCE);
                        stray = Some((socket, probe.from));
                    }
                }
                () = &mut patience, if stray.is_some() => if let Some(way) = stray.take() {
                    return way;
                },
            }
        }
    };
    tokio::select! {
        biased;
        way = hit => {
            tracing::debug!(to = %way.1, "hole punched");
            Ok(way)
        }
        failed = rounds => failed,
    }
}

/// An answer of the server.
struct Answer {
    payload: HolepunchPayload,
    /// The server, as the node sees it.
    peer_address: SocketAddrV4,
}

/// The exchange with the server.
struct Rounds<'a> {
    dht: &'a Arc<Inner>,
    target: &'a Target<'a>,
    puncher: &'a Puncher,
    round: u64,
    /// How long the last question took to be answered.
    round_trip: Duration,
}

impl Rounds<'_> {
    /// Ends when both sides punch.
    async fn run(&mut self) -> Result<(), PunchError> {
        let Some(server_relay) = pick_relay(&self.target.info.relays, self.target.relay_address) else {
            return Err(PunchError::NotHolepunchable);
        };
        let (token, peer_address) = match self.probe(server_relay).await {
            Err(error @ (PunchError::ProbeTimeout | PunchError::DoubleRandomizedNats)) => {
                self.abort(server_relay).await;
                return Err(error);
            }
            result => result?,
        };
        let mut server_address = self.target.server_address;
        // The server has exchanged its socket since the handshake. Only that node can write to the new one.
        if server_relay.relay_address == self.target.relay_address && peer_address != server_address {
            server_address = peer_address;
            self.puncher.probe(server_address, true);
        }
        if let Some(hook) = &self.target.hook
            && !hook.allows(&PunchView::of(self.puncher))
        {
            self.abort(server_relay).await;
            return Err(PunchError::Refused);
        }
        self.punch(server_address, server_relay, token).await
    }

    /// Asks the server what it is behind, until either side knows.
    async fn probe(&mut self, relay: RelayInfo) -> Result<(Option<[u8; 32]>, SocketAddrV4), PunchError> {
        let server = self.target.fast_open.then_some(self.target.server_address);
        let mut retry = true;
        for _ in 0..MAX_PROBE_ROUNDS {
            if let Some(server) = server {
                self.puncher.probe(server, true);
            }
            let question = HolepunchPayload { remote_address: server, ..self.payload() };
            let answer = self.exchange(relay.peer_address, relay.relay_address, question).await?;

            let unknown = || self.puncher.remote().firewall == Firewall::Unknown;
            if unknown() {
                tokio::time::sleep(UNKNOWN_PAUSE).await;
            }
            if !self.puncher.analyze(false).await && self.puncher.analyze(true).await {
                // We have another socket now, which the server does not know.
                retry = false;
                continue;
            }
            if (unknown() || answer.payload.token.is_none()) && std::mem::take(&mut retry) {
                continue;
            }
            let (local, remote) = (self.puncher.nat().firewall, self.puncher.remote().firewall);
            return match (local, remote) {
                (Firewall::Unknown, _) | (_, Firewall::Unknown) => Err(PunchError::ProbeTimeout),
                (Firewall::Random, Firewall::Random) => Err(PunchError::DoubleRandomizedNats),
                _ => Ok((answer.payload.token, answer.peer_address)),
            };
        }
        Err(PunchError::ProbeTimeout)
    }

    /// Tells the server that we punch, and does so when it does. Where a relay helps, a random punch waits for its turn on both
    /// sides.
    async fn punch(
        &mut self,
        server: SocketAddrV4,
        server_relay: RelayInfo,
        remote_token: Option<[u8; 32]>,
    ) -> Result<(), PunchError> {
        self.puncher.freeze();
        let token = Some(self.target.secure.token(*server.ip()));
        let is_random = self.puncher.is_random();
        if is_random && self.target.fast_open {
            // If the server has no NAT that we must pass, which it need not know, it answers.
            if self.puncher.nat().firewall == Firewall::Random {
                self.puncher.probe(server, false);
            }
            let patience = self.round_trip * PROBE_PATIENCE;
            tokio::time::sleep(patience.clamp(PROBE_PATIENCE_MIN, PROBE_PATIENCE_MAX)).await;
        }
        let mut delayed = false;
        loop {
            let mut random = None;
            while is_random && random.is_none() {
                random = RandomPunch::begin(self.dht);
                if random.is_none() {
                    if !self.target.place.is_hopeful() {
                        return Err(PunchError::Busy);
                    }
                    if !std::mem::replace(&mut delayed, true) {
                        // The two tokens are exchanged while the first node still serves.
                        let message = HolepunchPayload { token, remote_token, ..self.payload() };
                        self.exchange(server, self.target.relay_address, message).await?;
                    }
                    self.wait_for_a_turn().await?;
                }
            }
            // By the time of a second try the server has left the socket that the first node knows, but not its own nodes.
            let (peer, relay, token) = match delayed {
                true => (server_relay.peer_address, server_relay.relay_address, None),
                false => (server, self.target.relay_address, token),
            };
            let message = HolepunchPayload { punching: true, token, remote_token, ..self.payload() };
            match self.exchange(peer, relay, message).await {
                Err(PunchError::RemoteAborted(code::TRY_LATER)) if self.target.place.is_hopeful() => {
                    drop(random);
                    delayed = true;
                    self.wait_for_a_turn().await?;
                    continue;
                }
                answer => answer?,
            };
            if !self.puncher.remote().punching {
                return Err(PunchError::NotHolepunching);
            }
            return if self.puncher.start(random) { Ok(()) } else { Err(PunchError::NotHolepunchable) };
        }
    }

    /// Waits before another try of a random punch; fails when no relay helps any more.
    async fn wait_for_a_turn(&self) -> Result<(), PunchError> {
        let more = self.dht.state.lock().rng.random_range(0..=TRY_LATER.as_millis() as u64);
        tokio::time::sleep(TRY_LATER + Duration::from_millis(more)).await;
        if self.target.place.is_hopeful() { Ok(()) } else { Err(PunchError::Busy) }
    }

    /// Tells the server that nothing will come of it.
    async fn abort(&mut self, relay: RelayInfo) {
        let message =
            HolepunchPayload { error: code::ABORTED, round: self.next_round(), ..HolepunchPayload::default() };
        // It gives up by itself if it does not hear of it.
        let _ = self.send(relay.peer_address, relay.relay_address, &message).await;
    }

    fn next_round(&mut self) -> u64 {
        self.round += 1;
        self.round - 1
    }

    /// A message that tells what we are behind.
    fn payload(&mut self) -> HolepunchPayload {
        let nat = self.puncher.nat();
        HolepunchPayload {
            firewall: nat.firewall.number(),
            round: self.next_round(),
            addresses: nat.addresses,
            ..HolepunchPayload::default()
        }
    }

    /// Sends a message to the server at `peer` through `relay`, and takes note of the answer.
    async fn exchange(
        &mut self,
        peer: SocketAddrV4,
        relay: SocketAddrV4,
        message: HolepunchPayload,
    ) -> Result<Answer, PunchError> {
        let asked = Instant::now();
        let reply = self.send(peer, relay, &message).await?;
        self.round_trip = asked.elapsed();
        let value = reply.value.unwrap_or_default();
        let answer = Holepunch::decode(&value).ok().filter(|answer| answer.mode == Mode::Reply);
        let answer = answer.ok_or(PunchError::BadReply)?;
        let payload = self.target.secure.open(answer.payload).ok_or(PunchError::Invalid)?;
        // A server that puts off tells what it knows, beside that.
        let puts_off = payload.error == code::TRY_LATER && self.target.place.is_hopeful();
        if payload.error != code::NONE && !puts_off {
            return Err(PunchError::RemoteAborted(payload.error));
        }
        let echoed = message.token.is_some() && payload.remote_token == message.token;
        let firewall = Firewall::from_number(payload.firewall);
        self.puncher.update_remote(|remote| {
            remote.update(firewall, payload.punching, payload.addresses.as_deref(), echoed.then_some(*peer.ip()));
        });
        // The node's answer came to the puncher's socket.
        self.puncher.add_sample(reply.to, reply.from);
        if puts_off {
            return Err(PunchError::RemoteAborted(payload.error));
        }
        Ok(Answer { payload, peer_address: answer.peer_address.unwrap_or(relay) })
    }

    async fn send(
        &self,
        peer: SocketAddrV4,
        relay: SocketAddrV4,
        message: &HolepunchPayload,
    ) -> Result<Reply, RequestError> {
        let payload = self.target.secure.seal(message, &mut self.dht.state.lock().rng);
        let id = self.target.info.id;
        let value = Holepunch { mode: Mode::FromClient, id, payload: &payload, peer_address: Some(peer) }.encode();
        let options = RequestOptions {
            target: Some(self.target.target),
            value: Some(value.into()),
            socket: self.puncher.socket_id(),
            ..RequestOptions::default()
        };
        self.dht.rpc.request(relay, command::PEER_HOLEPUNCH, options).await
    }
}

/// The node of the server's that the client has used already, else the first.
fn pick_relay(relays: &[RelayInfo], used: SocketAddrV4) -> Option<RelayInfo> {
    relays.iter().find(|relay| relay.relay_address == used).or(relays.first()).copied()
}
