//! The one task of a swarm: it tells the [`Core`] what happens, and does what that says.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crypto::KeyPair;
use rand::rngs::StdRng;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::SwarmError;
use crate::bans::{Gate, Key, Verdict};
use crate::core::{Action, Core, LinkId};
use crate::discovery::Roles;
use crate::network::{Link, Network, RefusePeer, RelayKeys, Server};
use crate::relays::{RelayNeed, RelayThrough};
use crate::shared::{Shared, SwarmEvent};
use crate::topics::{Report, Topics};

/// Reports of tasks that wait for the driver. At the limit the tasks wait: a query reads no more replies, the server accepts no
/// more connections.
pub(crate) const MAX_REPORTS: usize = 64;

/// How long the end of the server may take when the swarm is destroyed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the handles of a swarm ask of its task.
pub(crate) enum Command {
    Join { topic: [u8; 32], session: u64, roles: Roles, limit: Option<usize> },
    SetSession { topic: [u8; 32], session: u64, roles: Roles, limit: Option<usize>, done: Done },
    Refresh { topic: [u8; 32], session: u64, done: Done },
    Flushed { topic: [u8; 32], session: u64, done: Done },
    CloseSession { topic: [u8; 32], session: u64, done: Done },
    Leave { topic: [u8; 32], done: Done },
    Flush { done: oneshot::Sender<bool> },
    Listen { done: oneshot::Sender<Result<(), SwarmError>> },
    JoinPeer { key: Key },
    LeavePeer { key: Key },
    Suspend { done: oneshot::Sender<()> },
    Resume { done: oneshot::Sender<()> },
    NetworkChanged,
    Destroy { done: oneshot::Sender<()> },
}

/// Told whether the refresh of a topic succeeded, or that there is no such topic any more.
pub(crate) type Done = oneshot::Sender<Result<bool, SwarmError>>;

/// What the tasks of the driver tell it.
pub(crate) enum Event<N: Network> {
    Connected {
        id: LinkId,
        connection: N::Connection,
    },
    Failed {
        id: LinkId,
        /// A blind relay might help.
        needs_relay: bool,
    },
    Closed {
        id: LinkId,
    },
    Incoming {
        connection: N::Connection,
    },
    Banned {
        key: Key,
    },
    Topic {
        topic: [u8; 32],
        instance: u64,
        report: Report<N::Node>,
    },
    /// The refreshes that a flush waits for are over.
    Refreshed {
        flush: u64,
    },
    /// The network takes part again.
    Resumed {
        done: oneshot::Sender<()>,
    },
    ServerClosed,
}

/// Whether the network below is to rest. A suspend that is undone before it came to the network must not come after the resume.
#[derive(Debug, Default)]
struct Rest {
    wanted: AtomicBool,
    turn: tokio::sync::Mutex<()>,
}

/// The state of the one server of a swarm.
#[derive(Debug)]
pub(crate) enum Listening<S> {
    Starting,
    Ready(Arc<S>),
    Failed(String),
}

impl<S> Clone for Listening<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Starting => Self::Starting,
            Self::Ready(server) => Self::Ready(server.clone()),
            Self::Failed(error) => Self::Failed(error.clone()),
        }
    }
}

/// Waits until the server listens.
pub(crate) async fn listening<S>(mut state: watch::Receiver<Listening<S>>) -> Result<Arc<S>, SwarmError> {
    let state = state.wait_for(|state| !matches!(state, Listening::Starting)).await;
    match state.as_deref() {
        Ok(Listening::Ready(server)) => Ok(server.clone()),
        Ok(Listening::Failed(error)) => Err(SwarmError::Listen(error.clone())),
        Ok(Listening::Starting) | Err(_) => Err(SwarmError::Destroyed),
    }
}

/// Where the end of the swarm has got to.
enum Phase {
    Running,
    /// Announcements are withdrawn.
    Leaving,
    /// The server is closed.
    Closing,
    Ended,
}

pub(crate) struct Driver<N: Network> {
    network: N,
    /// The network was made for this swarm, and ends with it.
    owns_network: bool,
    key_pair: KeyPair,
    relays: Option<RelayThrough>,
    gate: Gate,
    core: Core,
    rng: StdRng,
    shared: Arc<Shared<N::Connection>>,
    events: broadcast::Sender<SwarmEvent>,
    commands: mpsc::UnboundedReceiver<Command>,
    report: mpsc::Sender<Event<N>>,
    reports: mpsc::Receiver<Event<N>>,
    tasks: JoinSet<()>,
    attempts: HashMap<LinkId, AbortHandle>,
    /// Connections that were not handed out yet.
    connections: HashMap<LinkId, N::Connection>,
    links: HashMap<LinkId, N::Link>,
    topics: Topics<N>,
    listening: Option<watch::Sender<Listening<N::Server>>>,
    flushes: HashMap<u64, oneshot::Sender<bool>>,
    next_flush: u64,
    suspended: bool,
    /// What the network is to be, and the turn to make it so.
    rest: Arc<Rest>,
    phase: Phase,
    destroyed: Vec<oneshot::Sender<()>>,
}

/// What a driver begins with.
pub(crate) struct Start<C> {
    pub(crate) owns_network: bool,
    pub(crate) key_pair: KeyPair,
    pub(crate) relays: Option<RelayThrough>,
    pub(crate) gate: Gate,
    pub(crate) core: Core,
    pub(crate) rng: StdRng,
    pub(crate) shared: Arc<Shared<C>>,
    pub(crate) events: broadcast::Sender<SwarmEvent>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
}

impl<N: Network> Driver<N> {
    pub(crate) fn new(network: N, start: Start<N::Connection>) -> Self {
        let (report, reports) = mpsc::channel(MAX_REPORTS);
        Self {
            topics: Topics::new(network.clone(), start.key_pair.clone(), report.clone()),
            network,
            owns_network: start.owns_network,
            key_pair: start.key_pair,
            relays: start.relays,
            gate: start.gate,
            core: start.core,
            rng: start.rng,
            shared: start.shared,
            events: start.events,
            commands: start.commands,
            report,
            reports,
            tasks: JoinSet::new(),
            attempts: HashMap::new(),
            connections: HashMap::new(),
            links: HashMap::new(),
            listening: None,
            flushes: HashMap::new(),
            next_flush: 0,
            suspended: false,
            rest: Arc::default(),
            phase: Phase::Running,
            destroyed: Vec::new(),
        }
    }

    /// Runs until the swarm is destroyed or all its handles are gone.
    pub(crate) async fn run(mut self) {
        let mut online = self.network.online();
        let mut changes = self.network.network_changes();
        loop {
            self.act();
            self.publish();
            if self.advance_end().await {
                break;
            }
            let deadline = [self.core.deadline(), self.topics.deadline()].into_iter().flatten().min();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                Some(event) = self.reports.recv() => self.event(event),
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => reap(ended),
                () = sleep_until(deadline.map_or_else(Instant::now, Instant::from_std)), if deadline.is_some() => self.tick(),
                online = news(&mut online) => if online {
                    tracing::debug!("the network can be reached again");
                    self.look_around();
                },
                _ = news(&mut changes) => {
                    tracing::debug!("the network has changed");
                    self.look_around();
                }
            }
        }
        self.shared.close();
        for done in self.destroyed.drain(..) {
            let _ = done.send(());
        }
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }

    fn publish(&self) {
        self.shared.publish(&self.core);
    }

    fn tick(&mut self) {
        let now = self.now();
        self.core.tick(now);
        self.topics.tick(&self.core, now, &mut self.rng);
        self.start_queries();
    }

    fn command(&mut self, command: Command) {
        let running = matches!(self.phase, Phase::Running);
        match command {
            Command::Join { topic, session, roles, limit } => {
                if running {
                    self.core.join_topic(topic);
                    self.topics.join(&self.core, topic, session, roles, limit);
                }
            }
            Command::SetSession { topic, session, roles, limit, done } => {
                self.topics.set_session(&self.core, topic, session, roles, limit, done);
            }
            Command::Refresh { topic, session, done } => self.topics.refresh(&self.core, topic, session, done),
            Command::Flushed { topic, session, done } => self.topics.flushed(topic, session, done),
            Command::CloseSession { topic, session, done } => {
                self.topics.close_session(&mut self.core, &mut self.tasks, topic, session, done);
            }
            Command::Leave { topic, done } => self.topics.leave(&mut self.core, &mut self.tasks, topic, Some(done)),
            Command::Flush { done } => self.flush(done),
            Command::Listen { done } => {
                let state = self.listen();
                self.tasks.spawn(async move {
                    let _ = done.send(listening(state).await.map(|_| ()));
                });
            }
            Command::JoinPeer { key } => self.core.join_peer(key, self.now()),
            Command::LeavePeer { key } => self.core.leave_peer(&key),
            Command::Suspend { done } => self.suspend(done),
            Command::Resume { done } => self.resume(done),
            Command::NetworkChanged => {
                self.network.network_changed();
                self.look_around();
            }
            Command::Destroy { done } => self.destroy(done),
        }
        self.start_queries();
    }

    fn event(&mut self, event: Event<N>) {
        let now = self.now();
        match event {
            Event::Connected { id, connection } => {
                self.attempts.remove(&id);
                let link = N::link(&connection);
                if self.core.opened(id, now) {
                    self.keep(id, link, connection);
                } else {
                    link.destroy();
                }
            }
            Event::Failed { id, needs_relay } => {
                self.attempts.remove(&id);
                if needs_relay && self.relays.is_some() {
                    self.core.force_relaying(id);
                }
                self.core.closed(id, now);
            }
            Event::Closed { id } => {
                self.connections.remove(&id);
                self.links.remove(&id);
                self.shared.withdraw(id);
                self.core.closed(id, now);
            }
            Event::Incoming { connection } => {
                let link = N::link(&connection);
                let (id, key, initiator) = (self.core.next_id(), link.remote_public_key(), link.is_initiator());
                self.keep(id, link, connection);
                let links = &self.links;
                self.core.incoming(id, key, initiator, |id| links.get(&id).is_some_and(Link::is_used), now);
            }
            Event::Banned { key } => self.core.banned(key),
            Event::Topic { topic, instance, report } => {
                self.topics.report(&mut self.core, topic, instance, report, now, &mut self.rng);
                self.start_queries();
            }
            Event::Refreshed { flush } => self.core.flush(flush),
            Event::Resumed { done } => {
                if !self.suspended && matches!(self.phase, Phase::Running) {
                    self.core.resume(now);
                    self.topics.resume(&self.core);
                    self.start_queries();
                }
                let _ = done.send(());
            }
            Event::ServerClosed => self.phase = Phase::Ended,
        }
    }

    /// Takes charge of a connection until it is handed out, and of its end after that.
    fn keep(&mut self, id: LinkId, link: N::Link, connection: N::Connection) {
        let closed = link.closed();
        let report = self.report.clone();
        self.tasks.spawn(async move {
            closed.await;
            let _ = report.send(Event::Closed { id }).await;
        });
        self.links.insert(id, link);
        self.connections.insert(id, connection);
    }

    /// Does what the core asks for.
    fn act(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Connect { id, key, relay_addresses, force_relaying } => {
                    let need = RelayNeed { forced: force_relaying, randomized: self.network.randomized() };
                    let relays = self.relays.as_ref().map(|relays| relays.keys(need)).unwrap_or_default();
                    let (network, key_pair, report) =
                        (self.network.clone(), self.key_pair.clone(), self.report.clone());
                    let attempt = self.tasks.spawn(async move {
                        let event = match network.connect(key, relay_addresses, relays, key_pair).await {
                            Ok(connection) => Event::Connected { id, connection },
                            Err(error) => {
                                tracing::debug!(%error, "attempt failed");
                                Event::Failed { id, needs_relay: N::needs_relay(&error) }
                            }
                        };
                        let _ = report.send(event).await;
                    });
                    self.attempts.insert(id, attempt);
                }
                Action::Cancel { id } => {
                    if let Some(attempt) = self.attempts.remove(&id) {
                        attempt.abort();
                    }
                }
                Action::Destroy { id } => {
                    self.connections.remove(&id);
                    self.shared.withdraw(id);
                    if let Some(link) = self.links.get(&id) {
                        link.destroy();
                    }
                }
                Action::KeepAlive { id } => {
                    if let Some(link) = self.links.get(&id) {
                        link.send_keep_alive();
                    }
                }
                Action::Emit { id, peer } => {
                    if let Some(connection) = self.connections.remove(&id) {
                        // Who gets it finds it counted.
                        self.publish();
                        self.shared.offer(id, connection, peer);
                    }
                }
                // Nobody may listen.
                Action::Banned { peer } => drop(self.events.send(SwarmEvent::Ban(peer))),
                Action::Update => {
                    self.publish();
                    drop(self.events.send(SwarmEvent::Update));
                }
                Action::Flushed { flush, done } => {
                    if let Some(waiting) = self.flushes.remove(&flush) {
                        let _ = waiting.send(done);
                    }
                }
            }
        }
    }

    fn flush(&mut self, done: oneshot::Sender<bool>) {
        self.next_flush += 1;
        let flush = self.next_flush;
        self.flushes.insert(flush, done);
        let refreshes = self.topics.all_flushed();
        let report = self.report.clone();
        self.tasks.spawn(async move {
            for refresh in refreshes {
                let _ = refresh.await;
            }
            let _ = report.send(Event::Refreshed { flush }).await;
        });
    }

    /// Starts the server unless it was. One that failed is started again.
    fn listen(&mut self) -> watch::Receiver<Listening<N::Server>> {
        if let Some(state) = &self.listening
            && !matches!(*state.borrow(), Listening::Failed(_))
        {
            return state.subscribe();
        }
        let (state, receiver) = watch::channel(Listening::Starting);
        let (network, key_pair, refuse) = (self.network.clone(), self.key_pair.clone(), self.refuse());
        let (update, report) = (state.clone(), self.report.clone());
        let relays: RelayKeys = match self.relays.clone() {
            None => Arc::new(Vec::new),
            Some(relays) => {
                let network = network.clone();
                Arc::new(move || relays.keys(RelayNeed { forced: false, randomized: network.randomized() }))
            }
        };
        self.tasks.spawn(async move {
            match network.listen(key_pair, refuse, relays).await {
                Ok(server) => {
                    let server = Arc::new(server);
                    update.send_replace(Listening::Ready(server.clone()));
                    while let Some(connection) = server.accept().await {
                        if report.send(Event::Incoming { connection }).await.is_err() {
                            break;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot listen for connections");
                    update.send_replace(Listening::Failed(error.to_string()));
                }
            }
        });
        self.listening = Some(state);
        receiver
    }

    /// The firewall as the server asks it.
    fn refuse(&self) -> RefusePeer {
        let (gate, report) = (self.gate.clone(), self.report.clone());
        Arc::new(move |key, payload| match gate.check(key, Some(payload)) {
            Verdict::Welcome => false,
            Verdict::Refused => true,
            Verdict::Banned => {
                // The ban stands, even if there is no room to tell of it.
                let _ = report.try_send(Event::Banned { key: *key });
                true
            }
        })
    }

    fn start_queries(&mut self) {
        while let Some(query) = self.topics.next_query() {
            let server = query.announces().then(|| self.listen());
            self.topics.start(query, server, &mut self.tasks);
        }
    }

    /// Connections may be dead, and announcements forgotten or wrong.
    fn look_around(&mut self) {
        self.core.look_around(self.now());
        self.topics.refresh_all(&self.core);
        self.start_queries();
    }

    /// Ends connections and attempts, withdraws the announcements, then suspends the network.
    fn suspend(&mut self, done: oneshot::Sender<()>) {
        if !matches!(self.phase, Phase::Running) || std::mem::replace(&mut self.suspended, true) {
            let _ = done.send(());
            return;
        }
        self.core.suspend(self.now());
        let withdrawn = self.topics.suspend(&mut self.tasks);
        let (network, rest) = (self.network.clone(), self.rest.clone());
        rest.wanted.store(true, Ordering::Release);
        self.tasks.spawn(async move {
            for topic in withdrawn {
                let _ = topic.await;
            }
            let _turn = rest.turn.lock().await;
            if rest.wanted.load(Ordering::Acquire) {
                network.suspend().await;
            }
            let _ = done.send(());
        });
    }

    /// Lets the network take part again, then begins anew.
    fn resume(&mut self, done: oneshot::Sender<()>) {
        if !std::mem::replace(&mut self.suspended, false) {
            let _ = done.send(());
            return;
        }
        let (network, report, rest) = (self.network.clone(), self.report.clone(), self.rest.clone());
        rest.wanted.store(false, Ordering::Release);
        self.tasks.spawn(async move {
            let turn = rest.turn.lock().await;
            if !rest.wanted.load(Ordering::Acquire) {
                network.resume().await;
            }
            drop(turn);
            let _ = report.send(Event::Resumed { done }).await;
        });
    }

    fn destroy(&mut self, done: oneshot::Sender<()>) {
        self.destroyed.push(done);
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Leaving;
            self.core.destroy(self.now());
            self.topics.leave_all(&mut self.core, &mut self.tasks);
            for (_, flush) in self.flushes.drain() {
                let _ = flush.send(false);
            }
        }
    }

    /// Takes the next step towards the end, if it is time for it. True when the swarm has ended.
    async fn advance_end(&mut self) -> bool {
        match self.phase {
            Phase::Leaving if self.topics.is_empty() => {
                self.phase = Phase::Closing;
                let state = self.listening.as_ref().map(watch::Sender::subscribe);
                let report = self.report.clone();
                self.tasks.spawn(async move {
                    let close = async {
                        if let Some(state) = state
                            && let Ok(server) = listening(state).await
                        {
                            server.close().await;
                        }
                    };
                    if timeout(CLOSE_TIMEOUT, close).await.is_err() {
                        tracing::warn!("the server did not close in time");
                    }
                    let _ = report.send(Event::ServerClosed).await;
                });
                false
            }
            Phase::Ended => {
                self.links.values().for_each(Link::destroy);
                self.tasks.abort_all();
                if self.owns_network && timeout(CLOSE_TIMEOUT, self.network.destroy()).await.is_err() {
                    tracing::warn!("the DHT node did not end in time");
                }
                true
            }
            Phase::Running | Phase::Leaving | Phase::Closing => false,
        }
    }
}

/// The next state of the network. Cancel-safe.
async fn news<T: Copy>(state: &mut watch::Receiver<T>) -> T {
    match state.changed().await {
        Ok(()) => *state.borrow_and_update(),
        // Nobody tells any more.
        Err(_) => std::future::pending().await,
    }
}

/// Tasks report what they did themselves; only a panic is worth a word.
fn reap(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of the swarm panicked");
    }
}
