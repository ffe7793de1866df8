//! Servers: peers that others connect to by their key.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use crypto::KeyPair;
use crypto::noise::Session;
use dht_rpc::{IncomingRequest, NodeId};
use parking_lot::Mutex;
use secret_stream::SecretStream;
use tokio::sync::{Notify, mpsc, watch};
use udx::{StreamOptions, UdxSocket, UdxStream, WeakUdxStream};

use crate::addresses::{is_private, match_address};
use crate::announcer::Announcer;
use crate::arrival::Arrival;
use crate::connection_pool::ConnectionPool;
use crate::constants::{code, firewall};
use crate::dht::{Connection, Inner, now};
use crate::error::{ConnectError, ListenError};
use crate::handshakes::{Handshakes, Known, Outcome, Slot};
use crate::holepunch::{HolepunchHook, Responder, Serving};
use crate::messages::{Handshake, Holepunch, HolepunchInfo, NoisePayload, PeerRecord, UdxInfo};
use crate::noise::{NoiseWrap, holepunch_secret};
use crate::relay::{self, Direct, Meeting, Opened, Place, Relays};
use crate::routes;
use crate::secure_payload::SecurePayload;
use crate::socket_pool::PoolSocket;
use crate::unproven::{Awaited, Unproven};

/// How long a client has to write to its stream after the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted; further ones are destroyed.
pub const ACCEPT_BACKLOG: usize = 1024;

/// Decides by the client's key, its payload and its address whether a handshake is ignored (`true`). It must not take long.
pub type Firewall = Arc<dyn Fn(&[u8; 32], &NoisePayload, SocketAddrV4) -> bool + Send + Sync>;

/// How a server treats its clients.
#[derive(Clone)]
pub struct ServerOptions {
    /// Decides whether a handshake is ignored; `None` lets everybody in.
    pub firewall: Option<Firewall>,
    /// Tells clients our addresses in local networks.
    pub share_local_address: bool,
    /// Decides whether to punch a hole for a client; `None` always does.
    pub holepunch: Option<HolepunchHook>,
    /// Keeps the route of a connection for later ones, when the client does so too; see [`ConnectOptions`](crate::ConnectOptions).
    pub reusable_socket: bool,
    /// Blind relays, one of which is picked for each client to meet it at while a direct way is being opened. A client that wants
    /// a relay is met at its one otherwise.
    pub relay_through: Relays,
    /// Takes the connections, instead of [`Server::accept`].
    pub pool: Option<ConnectionPool>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            firewall: None,
            share_local_address: true,
            holepunch: None,
            reusable_socket: false,
            relay_through: Relays::default(),
            pool: None,
        }
    }
}

impl std::fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerOptions").field("share_local_address", &self.share_local_address).finish_non_exhaustive()
    }
}

/// Accepts connections to a key. It stops listening when it is dropped; [`Server::close`] also tells the network so.
pub struct Server {
    dht: Arc<Inner>,
    options: ServerOptions,
    listening: Mutex<Option<Arc<Listening>>>,
    sender: Mutex<Option<mpsc::Sender<Connection>>>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Connection>>,
    /// Set when no connection will come any more.
    closed: watch::Sender<bool>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn new(dht: Arc<Inner>, options: ServerOptions) -> Self {
        let (sender, accepted) = mpsc::channel(ACCEPT_BACKLOG);
        Self {
            dht,
            options,
            listening: Mutex::new(None),
            sender: Mutex::new(Some(sender)),
            accepted: tokio::sync::Mutex::new(accepted),
            closed: watch::Sender::new(false),
        }
    }

    /// Announces the key and accepts connections to it. Returns when the nodes closest to it know.
    ///
    /// # Errors
    /// When the server listens already or was closed, another one of this node has the key, or the node was destroyed.
    pub async fn listen(&self, keys: KeyPair) -> Result<(), ListenError> {
        if self.dht.rpc.is_destroyed() {
            return Err(ListenError::NodeDestroyed);
        }
        let listening = {
            let Some(connections) = self.sender.lock().take() else { return Err(ListenError::AlreadyListening) };
            let target = crypto::hash(&[&keys.public_key]);
            let record = PeerRecord { public_key: keys.public_key, relay_addresses: Vec::new() };
            let state = &mut *self.dht.state.lock();
            if state.servers.get(&target).is_some_and(|server| server.strong_count() > 0) {
                *self.sender.lock() = Some(connections);
                return Err(ListenError::KeyPairAlreadyUsed);
            }
            let listening = Arc::new(Listening {
                announcer: Announcer::new(self.dht.clone(), keys.clone(), target),
                dht: self.dht.clone(),
                options: self.options.clone(),
                keys,
                target,
                handshakes: Mutex::default(),
                unproven: Mutex::default(),
                connections: Mutex::new(Some(connections)),
                stopped: self.closed.clone(),
            });
            state.forwards.retain(target, record.encode());
            state.servers.insert(target, Arc::downgrade(&listening));
            listening
        };
        *self.listening.lock() = Some(listening.clone());

        listening.announcer.update().await;
        if self.dht.rpc.is_destroyed() {
            return Err(ListenError::NodeDestroyed);
        }
        tokio::spawn(async move {
            let mut stopped = listening.stopped.subscribe();
            tokio::select! {
                () = listening.announcer.run() => {}
                () = listening.dht.rpc.closed() => listening.stop(),
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
        Ok(())
    }

    /// The next connection; `None` when the server is closed. With a pool there is none. Cancel-safe.
    pub async fn accept(&self) -> Option<Connection> {
        self.accepted.lock().await.recv().await
    }

    /// The key that the server listens at.
    pub fn public_key(&self) -> Option<[u8; 32]> {
        self.listening.lock().as_ref().map(|listening| listening.keys.public_key)
    }

    /// Nodes that forward handshakes to the server now.
    pub fn relay_addresses(&self) -> Vec<SocketAddrV4> {
        self.listening.lock().as_ref().map(|listening| listening.announcer.relay_addresses()).unwrap_or_default()
    }

    /// Announces the server anew, for instance because the machine's network has changed.
    pub fn refresh(&self) {
        if let Some(listening) = &*self.listening.lock() {
            listening.refresh();
        }
    }

    /// Stops listening and takes the announce back. Connections that were accepted stay.
    pub async fn close(&self) {
        let listening = self.listening.lock().clone();
        self.sender.lock().take();
        self.closed.send_replace(true);
        if let Some(listening) = listening {
            listening.close().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closed.send_replace(true);
        if let Some(listening) = self.listening.lock().take() {
            listening.stop();
        }
    }
}

/// A server that is known to the network.
pub(crate) struct Listening {
    dht: Arc<Inner>,
    options: ServerOptions,
    keys: KeyPair,
    target: NodeId,
    announcer: Announcer,
    handshakes: Mutex<Handshakes>,
    unproven: Mutex<Unproven>,
    connections: Mutex<Option<mpsc::Sender<Connection>>>,
    stopped: watch::Sender<bool>,
}

/// A handshake that was answered, and what is needed to connect.
struct Prepared {
    stream: UdxStream,
    session: Session,
    remote_id: u32,
    /// The host that the client says it is at.
    host: Ipv4Addr,
    /// Whether both sides keep the route for later connections.
    reusable: bool,
    /// Where to write to; otherwise the client writes first.
    connect_to: Option<(UdxSocket, SocketAddrV4)>,
    /// Punches a hole for the client, if there is one to be punched.
    serving: Option<Serving>,
    /// Where the client is met, if it cannot be written to.
    meeting: Option<Meeting>,
}

impl Listening {
    pub(crate) fn refresh(&self) {
        self.announcer.refresh();
    }

    /// How many handshakes are remembered.
    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.lock().len()
    }

    /// Takes no more connections.
    fn stop(&self) {
        self.stopped.send_replace(true);
        self.connections.lock().take();
        let state = &mut *self.dht.state.lock();
        state.forwards.release(&self.target);
        // Another server may listen with this key by now.
        let is_ours = |server: &std::sync::Weak<Self>| std::ptr::eq(server.as_ptr(), self);
        if state.servers.get(&self.target).is_some_and(is_ours) {
            state.servers.remove(&self.target);
        }
    }

    /// Takes the announce back for a while.
    pub(crate) async fn suspend(&self) {
        self.announcer.stop().await;
    }

    /// Forgets the handshakes that were answered, and the sockets that holes were punched from for them.
    pub(crate) fn forget_handshakes(&self) {
        self.handshakes.lock().clear();
    }

    pub(crate) async fn close(&self) {
        self.stop();
        tokio::select! {
            () = self.announcer.stop() => {}
            () = self.dht.rpc.closed() => {}
        }
    }

    /// Answers a handshake, or repeats the answer.
    pub(crate) fn on_handshake(self: Arc<Self>, message: &Handshake<'_>, request: &IncomingRequest) {
        if message.noise.is_empty() || *self.dht.suspended.borrow() {
            return;
        }
        let Some(arrival) = Arrival::of(message) else { return };
        // Only nodes that we are announced at forward to us. Others make something up, at the cost of whom they name.
        if arrival.is_forwarded() && !self.announcer.may_forward(request.from()) {
            tracing::debug!(from = %request.from(), "handshake from a node that does not know us");
            return;
        }
        // This must come before any waiting: a repeated handshake must find the first one.
        let known = self.handshakes.lock().slot(message.noise, now());
        let request = request.clone();
        match known {
            Known::Repeated(slot) => {
                let mut outcome = slot.outcome.subscribe();
                if let Some(outcome) = &*outcome.borrow_and_update() {
                    answer(arrival, &request, &slot, outcome);
                    return;
                }
                tokio::spawn(async move {
                    if let Ok(outcome) = outcome.wait_for(Option::is_some).await
                        && let Some(outcome) = &*outcome
                    {
                        answer(arrival, &request, &slot, outcome);
                    }
                });
            }
            Known::New(slot) => {
                let noise = message.noise.to_vec();
                tokio::spawn(async move { self.serve(&slot, &noise, arrival, &request).await });
            }
        }
    }

    async fn serve(&self, slot: &Slot, noise: &[u8], arrival: Arrival, request: &IncomingRequest) {
        let mut handshake = NoiseWrap::responder(self.keys.clone());
        let received = handshake
            .recv(noise)
            .inspect_err(|error| tracing::debug!(from = %request.from(), %error, "bad handshake"))
            .ok();
        let Some(remote) = received else {
            answer(arrival, request, slot, &Outcome::Ignored);
            slot.outcome.send_replace(Some(Outcome::Ignored));
            // Anybody can make these up: they must not take the place of others.
            self.handshakes.lock().forget(slot);
            return;
        };
        let (outcome, prepared) = match self.prepare(slot, handshake, &remote, arrival, request) {
            Some((reply, prepared)) => (Outcome::Reply(reply.into()), prepared),
            None => (Outcome::Ignored, None),
        };
        answer(arrival, request, slot, &outcome);
        slot.outcome.send_replace(Some(outcome));
        if let Some(prepared) = prepared {
            self.connect(prepared).await;
        }
        self.handshakes.lock().clear_later(slot, now());
    }

    /// The answer to a handshake, and what is needed to connect unless the answer refuses.
    fn prepare(
        &self,
        slot: &Slot,
        mut handshake: NoiseWrap,
        remote: &NoisePayload,
        arrival: Arrival,
        request: &IncomingRequest,
    ) -> Option<(Vec<u8>, Option<Prepared>)> {
        let client = arrival.client(request);

        let remote_key = *handshake.remote_public_key()?;
        if self.options.firewall.as_ref().is_some_and(|refuses| refuses(&remote_key, remote, client))
            || *self.dht.suspended.borrow()
        {
            return None;
        }

        let own = self.dht.rpc.remote_address();
        let local = if self.options.share_local_address { self.dht.local_addresses() } else { Vec::new() };
        let relay_addresses = self.announcer.relay_addresses();
        let meeting = Meeting::pick(&self.options.relay_through.keys(), &mut self.dht.state.lock().rng);
        let mut payload = NoisePayload {
            holepunch: own.is_none().then(|| HolepunchInfo { id: slot.id as u64, relays: self.announcer.relays() }),
            addresses4: own.into_iter().chain(local.iter().copied()).collect(),
            udx: Some(UdxInfo::new(0, self.options.reusable_socket)),
            secret_stream: Some(1),
            relay_through: meeting.as_ref().map(Meeting::invitation),
            relay_addresses: (!relay_addresses.is_empty()).then_some(relay_addresses),
            ..NoisePayload::new(code::NONE, if own.is_some() { firewall::OPEN } else { firewall::UNKNOWN })
        };
        let Ok(remote_id) = remote_stream(remote).inspect_err(|code| payload.error = *code) else {
            return Some((handshake.send(&payload).ok()?, None));
        };

        let options = StreamOptions { accept: true, ..StreamOptions::default() };
        let stream = self.dht.rpc.udx().create_stream(options).ok()?;
        payload.udx = Some(UdxInfo::new(stream.id(), self.options.reusable_socket));
        let reply = handshake.send(&payload).ok()?;
        let session = handshake.finish().ok()?;

        let connect_to = if !arrival.is_forwarded() {
            Some((self.dht.rpc.socket(request.socket())?, client))
        } else if remote.firewall == firewall::OPEN {
            Some((self.dht.rpc.socket(self.dht.rpc.request_socket())?, client))
        } else {
            None
        };
        let serving = if connect_to.is_none() && own.is_none() {
            // In the same network the client writes to our usual socket, and must not be told of another.
            let same_network = client.ip() == request.to().ip() && {
                let private: Vec<_> = remote.addresses4.iter().copied().filter(|addr| is_private(*addr.ip())).collect();
                match_address(&local, &private).is_some()
            };
            let secure = SecurePayload::new(holepunch_secret(&session), &mut self.dht.state.lock().rng);
            let hook = self.options.holepunch.clone();
            match Serving::new(&self.dht, *client.ip(), remote.firewall, secure, hook, !same_network) {
                Ok((responder, serving)) => {
                    // The slot is new, and so without a responder.
                    let _ = slot.responder.set(responder);
                    Some(serving)
                }
                Err(error) => {
                    tracing::debug!(%client, %error, "no socket for a hole");
                    None
                }
            }
        } else {
            None
        };
        let reusable = self.options.reusable_socket && remote.udx.is_some_and(|udx| udx.reusable_socket);
        // Who can be written to at once needs no relay, on either side.
        let needs_relay = connect_to.is_none() && own.is_none();
        let meeting = meeting.or(Meeting::invited(remote.relay_through)).filter(|_| needs_relay);
        let host = *client.ip();
        Some((reply, Some(Prepared { stream, session, remote_id, host, reusable, connect_to, serving, meeting })))
    }

    /// Connects the stream, once it is known where to, and hands it to whoever accepts.
    async fn connect(&self, prepared: Prepared) {
        let Prepared { stream, session, remote_id, host, reusable, connect_to, serving, meeting } = prepared;
        let written_to = connect_to.is_some();
        let awaited = Arc::new(());
        let outnumbered = Arc::new(Notify::new());
        let mut stopped = self.stopped.subscribe();
        let opened = match connect_to {
            Some((socket, addr)) => {
                self.dht.state.lock().punches.open += 1;
                let pooled = PoolSocket::lookup(&self.dht, &socket);
                Opened::Direct((socket, SocketAddr::V4(addr), pooled))
            }
            None => {
                let (awaited, outnumbered_by) = (Arc::downgrade(&awaited), outnumbered.clone());
                self.await_proof(
                    host,
                    Awaited {
                        settled: Box::new(move || awaited.strong_count() == 0),
                        end: Box::new(move || outnumbered_by.notify_one()),
                    },
                );
                let place = Place::default();
                let relayed = meeting.map(|meeting| meeting.meet(&self.dht, stream.id(), &place));
                let direct = Box::pin(await_client(self.dht.clone(), stream.downgrade(), serving, place));
                tokio::select! {
                    biased;
                    opened = relay::first(direct, relayed) => match opened {
                        Ok(opened) => opened,
                        Err(_) => return,
                    },
                    () = outnumbered.notified() => {
                        tracing::debug!(%host, "too many clients are awaited");
                        return;
                    }
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                }
            }
        };
        let connected = match &opened {
            Opened::Direct((socket, addr, _)) => stream.connect(socket, remote_id, *addr),
            Opened::Relayed(relayed, _) => relay::connect(&stream, relayed, false).await,
        };
        if let Err(error) = connected {
            tracing::debug!(%error, "stream not connected");
            return;
        }
        match opened {
            Opened::Direct((_, _, pooled)) if reusable => {
                routes::keep(&self.dht, session.remote_public_key, &stream, pooled);
            }
            Opened::Direct(_) => {}
            Opened::Relayed(relayed, direct) => relay::upgrade(&self.dht, &stream, relayed, remote_id, direct),
        }
        let options = self.dht.stream_options();
        let connection = SecretStream::from_session(stream, session, self.keys.public_key, options);
        drop(awaited);
        if written_to {
            let (monitor, stream) = (connection.monitor(), connection.transport().downgrade());
            let unwanted = stream.clone();
            self.await_proof(
                host,
                Awaited {
                    settled: Box::new(move || monitor.raw_bytes_read() > 0 || stream.upgrade().is_none()),
                    end: Box::new(move || unwanted.destroy()),
                },
            );
        }
        if let Some(pool) = &self.options.pool {
            pool.attach(connection);
            return;
        }
        let connections = self.connections.lock().clone();
        if let Some(connections) = connections
            && connections.try_send(connection).is_err()
        {
            tracing::warn!("connection dropped: nobody accepts");
        }
    }

    /// Counts a client that has not shown yet that it is at `host`.
    fn await_proof(&self, host: Ipv4Addr, client: Awaited) {
        let ended = self.unproven.lock().add(host, client, now());
        for client in ended {
            (client.end)();
        }
    }

    /// Answers a hole punching message.
    pub(crate) fn on_holepunch(&self, message: &Holepunch<'_>, request: &IncomingRequest) {
        let Some(client) = message.peer_address else { return };
        let Some(slot) = self.handshakes.lock().get(message.id) else { return };
        if let Some(responder) = slot.responder.get() {
            responder.on_message(message, client, request, self.announcer.is_relay(request.from()));
        }
    }
}

/// Waits for the client's first packet, and punches if that is necessary. Fails when there is no more hope.
async fn await_client(
    dht: Arc<Inner>,
    stream: WeakUdxStream,
    serving: Option<Serving>,
    place: Place,
) -> Result<Direct, ConnectError> {
    let punch = async {
        match serving {
            Some(serving) => serving.run(&place).await,
            None => tokio::time::sleep(CONNECT_TIMEOUT).await,
        }
    };
    tokio::select! {
        biased;
        first = place.first_direct(&dht, &stream) => first.map_err(|reason| udx::Error::from(reason).into()),
        () = punch => Err(ConnectError::HolepunchAborted),
    }
}

/// The stream that the client made, or the code of the error that answers it.
fn remote_stream(remote: &NoisePayload) -> Result<u32, u64> {
    if remote.version != 1 {
        return Err(code::VERSION_MISMATCH);
    }
    let udx = remote.udx.ok_or(code::ABORTED)?;
    u32::try_from(udx.id).map_err(|_| code::ABORTED)
}

/// Answers with what became of a handshake.
fn answer(arrival: Arrival, request: &IncomingRequest, slot: &Slot, outcome: &Outcome) {
    let Outcome::Reply(noise) = outcome else { return };
    arrival.answer(request, noise, slot.responder.get().and_then(Responder::reply_socket));
}
