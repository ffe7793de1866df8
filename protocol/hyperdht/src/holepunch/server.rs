//! The server's side: it answers the client's messages, each from the socket that the hole is punched for.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dht_rpc::{IncomingRequest, Probe, SocketId};
use tokio::sync::mpsc;

use super::limits::RandomPunch;
use super::nat::Firewall;
use super::puncher::Puncher;
use super::{HolepunchHook, PunchView};
use crate::constants::{code, firewall};
use crate::dht::Inner;
use crate::messages::{Holepunch, HolepunchPayload, Mode};
use crate::relay::Place;
use crate::secure_payload::SecurePayload;

/// How long a client has to say that it punches.
const INITIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the socket stays after an attempt was broken off, when a probe of either may have reached the other: that is a hole,
/// and the client may be on its way through.
const PROBED_GRACE: Duration = Duration::from_secs(2);

/// Messages of one client that wait for an answer; further ones are dropped, the client repeats itself.
const MAX_MESSAGES: usize = 8;

/// Where the messages for one handshake go.
pub(crate) struct Responder {
    puncher: Weak<Puncher>,
    messages: mpsc::Sender<Message>,
    reply_from_puncher: bool,
}

struct Message {
    sealed: Vec<u8>,
    client: SocketAddrV4,
    request: IncomingRequest,
    /// Whether the message came through a node that this server is announced at.
    own_relay: bool,
}

impl Responder {
    /// The socket that the handshake is answered from, if it is not the usual one: its address is what the client learns of us.
    pub(crate) fn reply_socket(&self) -> Option<SocketId> {
        self.puncher.upgrade().filter(|_| self.reply_from_puncher)?.socket_id()
    }

    /// Passes a message on to the attempt, if that is still going on.
    pub(crate) fn on_message(
        &self,
        message: &Holepunch<'_>,
        client: SocketAddrV4,
        request: &IncomingRequest,
        own_relay: bool,
    ) {
        let message = Message { sealed: message.payload.to_vec(), client, request: request.clone(), own_relay };
        // It is over, or overwhelmed.
        let _ = self.messages.try_send(message);
    }
}

/// The server's side of one attempt.
pub(crate) struct Serving {
    dht: Arc<Inner>,
    puncher: Arc<Puncher>,
    probes: mpsc::Receiver<Probe>,
    messages: mpsc::Receiver<Message>,
    secure: SecurePayload,
    hook: Option<HolepunchHook>,
}

impl Serving {
    /// Opens a socket for a client that says it is at `host`, behind `remote`. With `reply_from_puncher` the answer to the handshake leaves from it.
    pub(crate) fn new(
        dht: &Arc<Inner>,
        host: Ipv4Addr,
        remote: u64,
        secure: SecurePayload,
        hook: Option<HolepunchHook>,
        reply_from_puncher: bool,
    ) -> std::io::Result<(Responder, Self)> {
        let open = || Puncher::new(dht, false, Firewall::from_number(remote));
        let (puncher, probes) = dht.attempts.lock().begin(host, open)?;
        let (sender, messages) = mpsc::channel(MAX_MESSAGES);
        let responder = Responder { puncher: Arc::downgrade(&puncher), messages: sender, reply_from_puncher };
        Ok((responder, Self { dht: dht.clone(), puncher, probes, messages, secure, hook }))
    }

    /// Answers and punches; returns when nothing will come of it. The client's first packet, which is the success, is not
    /// seen here. At `place` the two may meet meanwhile.
    pub(crate) async fn run(self, place: &Place) {
        let Self { dht, puncher, mut probes, mut messages, secure, hook } = self;
        let probed = AtomicBool::new(false);
        let answer_probes = async {
            while let Some(probe) = probes.recv().await {
                probed.store(true, Ordering::Relaxed);
                puncher.hear();
                puncher.answer(probe);
            }
        };
        let answer_messages = async {
            let (dht, puncher, secure) = (&dht, &*puncher, &secure);
            let mut conversation = Conversation { dht, puncher, secure, hook, place, round: 0, tried_open: false };
            while let Some(message) = messages.recv().await {
                if conversation.answer(&message).await.is_err() {
                    if probed.load(Ordering::Relaxed) || conversation.tried_open {
                        tokio::time::sleep(PROBED_GRACE).await;
                    }
                    return;
                }
            }
        };
        let punch = async {
            if tokio::time::timeout(INITIAL_TIMEOUT, puncher.started()).await.is_err() {
                if !place.has_met() {
                    return;
                }
                // The relay carries the connection: there is time.
                puncher.started().await;
            }
            puncher.run().await;
        };
        tokio::select! {
            biased;
            () = puncher.given_up() => {}
            () = answer_probes => {}
            () = answer_messages => {}
            () = punch => {}
        }
    }
}

/// The attempt is over, and the client was told.
struct Aborted;

struct Conversation<'a> {
    dht: &'a Arc<Inner>,
    puncher: &'a Puncher,
    secure: &'a SecurePayload,
    hook: Option<HolepunchHook>,
    place: &'a Place,
    round: u64,
    /// Whether the client was written to as if it had no NAT.
    tried_open: bool,
}

impl Conversation<'_> {
    async fn answer(&mut self, message: &Message) -> Result<(), Aborted> {
        let Some(remote) = self.secure.open(&message.sealed) else { return Ok(()) };
        self.puncher.hear();
        let later = remote.round >= self.round;
        if later {
            self.round = remote.round;
        }
        if remote.error != code::NONE {
            return self.abort(message, code::ABORTED);
        }
        let token = self.secure.token(*message.client.ip());
        let echoed = message.own_relay && remote.remote_token == Some(token);
        if Some(message.request.socket()) == self.puncher.socket_id() {
            self.puncher.add_sample(message.request.to(), message.request.from());
        }
        if later {
            let firewall = Firewall::from_number(remote.firewall);
            let verified = echoed.then_some(*message.client.ip());
            self.puncher
                .update_remote(|known| known.update(firewall, remote.punching, remote.addresses.as_deref(), verified));
        }

        let stable = self.puncher.analyze(false).await;
        let punching = self.puncher.remote().punching;
        if !stable && !punching && !self.puncher.analyze(true).await {
            return self.abort(message, code::ABORTED);
        }
        let nat = self.puncher.nat();
        let opened = remote.remote_address;
        // The client has opened its NAT for the very address that we have. Or it may have none that we must pass, which it need not
        // know: one probe is less than the many that a random punch takes, and needs no turn.
        let expected = nat.firewall.is_consistent() && opened.is_some_and(|opened| nat.is_at(opened));
        if expected || (nat.firewall == Firewall::Random && !std::mem::replace(&mut self.tried_open, true)) {
            self.puncher.probe(message.client, false);
        }
        let error = if punching { self.punch(message)? } else { code::NONE };
        let nat = self.puncher.nat();
        if nat.firewall != Firewall::Unknown {
            self.puncher.freeze();
        }
        let payload = HolepunchPayload {
            error,
            firewall: nat.firewall.number(),
            round: self.round,
            punching: self.puncher.has_started(),
            addresses: nat.addresses,
            token: message.own_relay.then_some(token),
            remote_token: remote.token,
            ..HolepunchPayload::default()
        };
        self.send(message, &payload, self.puncher.socket_id());
        Ok(())
    }

    /// The client punches, or is willing to: so do we, or say when.
    fn punch(&self, message: &Message) -> Result<u64, Aborted> {
        if self.puncher.has_started() {
            return Ok(code::NONE);
        }
        if self.hook.as_ref().is_some_and(|hook| !hook.allows(&PunchView::of(self.puncher))) {
            return self.abort(message, code::ABORTED);
        }
        let random = if self.puncher.is_random() {
            match RandomPunch::begin(self.dht) {
                Some(random) => Some(random),
                None if self.place.is_hopeful() => return Ok(code::TRY_LATER),
                None => return self.abort(message, code::TRY_LATER),
            }
        } else {
            None
        };
        if self.puncher.start(random) { Ok(code::NONE) } else { self.abort(message, code::ABORTED) }
    }

    fn abort<T>(&self, message: &Message, error: u64) -> Result<T, Aborted> {
        tracing::debug!(client = %message.client, error, "hole punching aborted");
        let payload = aborted(error, self.round);
        self.send(message, &payload, Some(self.dht.rpc.request_socket()));
        Err(Aborted)
    }

    fn send(&self, message: &Message, payload: &HolepunchPayload, socket: Option<SocketId>) {
        let payload = self.secure.seal(payload, &mut self.dht.state.lock().rng);
        let peer_address = Some(message.client);
        let value = Holepunch { mode: Mode::FromServer, id: 0, payload: &payload, peer_address }.encode();
        message.request.relay(value.into(), message.request.from(), socket);
    }
}

fn aborted(error: u64, round: u64) -> HolepunchPayload {
    HolepunchPayload { error, firewall: firewall::UNKNOWN, round, ..HolepunchPayload::default() }
}
