//! The sockets of one attempt to punch, what is known of either side, and the sending of probes.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dht_rpc::{Probe, RequestOptions, SocketId};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use super::limits::RandomPunch;
use super::nat::{Firewall, MIN_SAMPLES, Nat, NatView};
use super::strategy::{BIRTHDAY_SOCKETS, Remote, Schedule, Strategy, choose};
use crate::dht::Inner;
use crate::socket_pool::PoolSocket;

/// How often a socket whose NAT looks bad is exchanged for another, in the hope of a better one.
const MAX_REOPENS: usize = 3;

/// Probes that wait to be answered; further ones are dropped, the other side sends more.
const MAX_PROBES: usize = 64;

/// Nodes that are considered for sampling, those heard from last.
const SAMPLE_NODES: usize = 16;

/// After so many new sockets other tasks run.
const OPEN_TOGETHER: usize = 16;

/// One side of an attempt. Dropping it releases the sockets.
pub(crate) struct Puncher {
    dht: Arc<Inner>,
    initiator: bool,
    probes: mpsc::Sender<Probe>,
    state: Mutex<State>,
    strategy: watch::Sender<Option<Strategy>>,
    /// Whether anything came from the other side.
    heard: AtomicBool,
    given_up: Notify,
}

struct State {
    /// The first is the one that messages are exchanged by.
    sockets: Vec<Arc<PoolSocket>>,
    sampler: Arc<Sampler>,
    remote: Remote,
    reopened: bool,
    random: Option<RandomPunch>,
}

impl Puncher {
    /// Opens a socket and begins to look at its NAT. Also returns the probes that arrive.
    pub(crate) fn new(
        dht: &Arc<Inner>,
        initiator: bool,
        remote: Firewall,
    ) -> io::Result<(Arc<Self>, mpsc::Receiver<Probe>)> {
        let (probes, arrived) = mpsc::channel(MAX_PROBES);
        let socket = PoolSocket::acquire(dht, probes.clone(), !initiator)?;
        let state = State {
            sampler: Sampler::start(dht, socket.id()),
            sockets: vec![socket],
            remote: Remote::new(remote),
            reopened: false,
            random: None,
        };
        let puncher = Self {
            dht: dht.clone(),
            initiator,
            probes,
            state: Mutex::new(state),
            strategy: watch::Sender::new(None),
            heard: AtomicBool::new(false),
            given_up: Notify::new(),
        };
        Ok((Arc::new(puncher), arrived))
    }

    /// The socket that messages are exchanged by.
    pub(crate) fn socket_id(&self) -> Option<SocketId> {
        self.state.lock().sockets.first().map(|socket| socket.id())
    }

    /// One of the sockets.
    pub(crate) fn socket(&self, id: SocketId) -> Option<Arc<PoolSocket>> {
        self.state.lock().sockets.iter().find(|socket| socket.id() == id).cloned()
    }

    /// Sends a probe from the first socket.
    pub(crate) fn probe(&self, to: SocketAddrV4, low_ttl: bool) {
        if let Some(socket) = self.state.lock().sockets.first() {
            socket.probe(to, low_ttl);
        }
    }

    /// Answers a probe from the socket that it came to.
    pub(crate) fn answer(&self, probe: Probe) {
        if let Some(socket) = self.state.lock().sockets.iter().find(|socket| socket.id() == probe.socket) {
            socket.probe(probe.from, false);
        }
    }

    /// The other side has shown that it is there.
    pub(crate) fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Releases the sockets, and has whoever runs the attempt end it.
    pub(crate) fn give_up(&self) {
        let released = std::mem::take(&mut self.state.lock().sockets);
        self.given_up.notify_one();
        // Each of them locks the node.
        drop(released);
    }

    /// Waits for [`Puncher::give_up`].
    pub(crate) async fn given_up(&self) {
        self.given_up.notified().await;
    }

    // ---- what is known

    /// What is known of our side.
    pub(crate) fn nat(&self) -> NatView {
        self.sampler().nat.lock().view().clone()
    }

    /// The node `from` sees the first socket at `addr`.
    pub(crate) fn add_sample(&self, addr: SocketAddrV4, from: SocketAddrV4) {
        self.sampler().add(&self.dht, addr, from);
    }

    /// Our side stays what it is now: the other side was told.
    pub(crate) fn freeze(&self) {
        self.sampler().nat.lock().freeze();
    }

    fn sampler(&self) -> Arc<Sampler> {
        self.state.lock().sampler.clone()
    }

    /// What is known of the other side.
    pub(crate) fn remote(&self) -> Remote {
        self.state.lock().remote.clone()
    }

    /// Takes note of what the other side says; see [`Remote::update`].
    pub(crate) fn update_remote(&self, update: impl FnOnce(&mut Remote)) {
        update(&mut self.state.lock().remote);
    }

    /// Waits until our side is known, and says whether it is good enough for the other one. With `reopen` other sockets are
    /// tried, once.
    pub(crate) async fn analyze(&self, reopen: bool) -> bool {
        self.sampler().done().await;
        if !self.is_unstable() {
            return true;
        }
        if !reopen {
            return false;
        }
        if !std::mem::replace(&mut self.state.lock().reopened, true) {
            for _ in 0..MAX_REOPENS {
                if !self.is_unstable() || self.has_started() || self.reopen().is_err() {
                    break;
                }
                self.sampler().done().await;
            }
        }
        self.nat().firewall.is_consistent()
    }

    /// Whether nothing is known of our side, or both are random.
    fn is_unstable(&self) -> bool {
        let state = self.state.lock();
        let local = state.sampler.nat.lock().view().firewall;
        local == Firewall::Unknown || (local == Firewall::Random && state.remote.firewall == Firewall::Random)
    }

    /// Exchanges the socket.
    fn reopen(&self) -> io::Result<()> {
        let socket = PoolSocket::acquire(&self.dht, self.probes.clone(), !self.initiator)?;
        let sampler = Sampler::start(&self.dht, socket.id());
        let old = {
            let state = &mut *self.state.lock();
            state.sampler = sampler;
            std::mem::replace(&mut state.sockets, vec![socket])
        };
        tracing::debug!(sockets = old.len(), "unstable NAT: trying another socket");
        Ok(())
    }

    // ---- punching

    /// Whether one of the sides needs many packets.
    pub(crate) fn is_random(&self) -> bool {
        self.nat().firewall == Firewall::Random || self.state.lock().remote.firewall == Firewall::Random
    }

    /// Whether [`Puncher::start`] has found a way.
    pub(crate) fn has_started(&self) -> bool {
        self.strategy.borrow().is_some()
    }

    /// Chooses how to punch. `false` when there is no way. `random` is needed where one of the sides is random.
    pub(crate) fn start(&self, random: Option<RandomPunch>) -> bool {
        if self.has_started() {
            return true;
        }
        let local = self.nat().firewall;
        let state = &mut *self.state.lock();
        let Some(strategy) = choose(local, &state.remote) else { return false };
        if strategy.is_random() {
            let Some(mut random) = random else { return false };
            random.commit();
            state.random = Some(random);
        }
        tracing::debug!(?strategy, ?local, remote = ?state.remote.firewall, "punching");
        self.strategy.send_replace(Some(strategy));
        true
    }

    /// Waits for [`Puncher::start`].
    pub(crate) async fn started(&self) {
        // The sender is part of what we borrow.
        let _ = self.strategy.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits for [`Puncher::start`], then sends probes, and returns when it is time to give up.
    pub(crate) async fn run(&self) {
        self.started().await;
        let Some(strategy) = *self.strategy.borrow() else { return };
        {
            let punches = &mut self.dht.state.lock().punches;
            let count = if strategy.is_random() { &mut punches.random } else { &mut punches.consistent };
            *count += 1;
        }
        if let Strategy::Birthday(to) = strategy {
            self.open_many(to).await;
        }
        let mut schedule = Schedule::new(strategy, self.initiator);
        loop {
            let turn = {
                let state = self.state.lock();
                schedule.next(&state.remote, state.sockets.len(), &mut self.dht.state.lock().rng)
            };
            let Some(turn) = turn else { return };
            {
                let state = self.state.lock();
                for shot in turn.shots {
                    if let Some(socket) = state.sockets.get(shot.socket) {
                        socket.probe(shot.to, shot.low_ttl);
                    }
                }
            }
            tokio::time::sleep(turn.pause).await;
        }
    }

    /// Opens as many sockets as a guess of the other side should have to choose from.
    async fn open_many(&self, to: SocketAddrV4) {
        for opened in 1.. {
            if self.state.lock().sockets.len() >= BIRTHDAY_SOCKETS {
                return;
            }
            match PoolSocket::acquire(&self.dht, self.probes.clone(), !self.initiator) {
                Ok(socket) => {
                    socket.probe(to, true);
                    self.state.lock().sockets.push(socket);
                }
                Err(error) => {
                    tracing::debug!(%error, opened, "no more sockets");
                    return;
                }
            }
            if opened % OPEN_TOGETHER == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Looks at the NAT of one socket, in a task of its own.
struct Sampler {
    nat: Mutex<Nat>,
    done: watch::Sender<bool>,
    task: Mutex<Option<AbortHandle>>,
}

impl Sampler {
    fn start(dht: &Arc<Inner>, socket: SocketId) -> Arc<Self> {
        let sampler = Arc::new(Self {
            nat: Mutex::new(Nat::new(dht.rpc.firewalled())),
            done: watch::Sender::new(false),
            task: Mutex::default(),
        });
        let task = tokio::spawn(sample(Arc::downgrade(&sampler), dht.clone(), socket));
        *sampler.task.lock() = Some(task.abort_handle());
        sampler
    }

    fn add(&self, dht: &Inner, addr: SocketAddrV4, from: SocketAddrV4) {
        if self.nat.lock().add(addr, from, dht.rpc.firewalled()) {
            self.done.send_replace(true);
        }
    }

    /// Waits until no more is to be learned.
    async fn done(&self) {
        // The sender is part of what we borrow.
        let _ = self.done.subscribe().wait_for(|done| *done).await;
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

/// Asks nodes how they see the socket; those that do not answer are replaced once.
async fn sample(sampler: std::sync::Weak<Sampler>, dht: Arc<Inner>, socket: SocketId) {
    for _ in 0..2 {
        let nodes = dht.rpc.nodes(SAMPLE_NODES);
        let Some(asked) = sampler.upgrade().map(|sampler| sampler.nat.lock().ask(&nodes, dht.rpc.table_len())) else {
            return;
        };
        let options = || RequestOptions { socket: Some(socket), tries: Some(1), ..RequestOptions::default() };
        let mut pings: FuturesUnordered<_> = asked.into_iter().map(|node| dht.rpc.ping(node, options())).collect();
        while let Some(pong) = pings.next().await {
            let Some(sampler) = sampler.upgrade() else { return };
            if let Ok(pong) = pong {
                sampler.add(&dht, pong.to, pong.from);
            }
        }
        let Some(sampler) = sampler.upgrade() else { return };
        if sampler.nat.lock().sampled() >= MIN_SAMPLES {
            break;
        }
    }
    if let Some(sampler) = sampler.upgrade() {
        sampler.done.send_replace(true);
    }
}
