//! All topics of a swarm: their [`Discovery`], the queries that run for them, and those who wait for the results.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::KeyPair;
use rand::Rng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::SwarmError;
use crate::core::Core;
use crate::discovery::{Discovery, QueryKind, Refresh, Remaining, Roles};
use crate::driver::{Done, Event, Listening, listening};
use crate::network::{FoundPeer, Network, NetworkError, Server, TopicQuery};

/// How long it may take to withdraw an announcement. Nodes that did not answer by then forget it by themselves in about 20 minutes.
const UNANNOUNCE_TIMEOUT: Duration = Duration::from_secs(8);

/// Found peers that wait until the driver has time for them. At the limit the query waits.
const MAX_FOUND: usize = 64;

/// What the tasks of a topic tell.
#[derive(Debug)]
pub(crate) enum Report<N> {
    /// The announcement begins.
    Announcing { clock: u64 },
    /// The query found a peer.
    Found { clock: u64, peer: FoundPeer },
    /// The query ended: the closest nodes, or nothing if it failed.
    Finished { clock: u64, closest: Option<Vec<N>> },
    /// A topic that was left is not announced any more.
    Left,
}

/// A query that has to be started.
#[derive(Debug)]
pub(crate) struct Query {
    topic: [u8; 32],
    instance: u64,
    refresh: Refresh,
}

impl Query {
    /// Whether the server has to listen first.
    pub(crate) fn announces(&self) -> bool {
        matches!(self.refresh.kind, QueryKind::Announce { .. })
    }
}

struct Topic<N> {
    /// Tells this stay at the topic from earlier ones.
    instance: u64,
    discovery: Discovery<N>,
    task: Option<AbortHandle>,
    /// Those who wait for the refresh that runs.
    waiting: Vec<Done>,
    /// Whether the last refresh succeeded.
    succeeded: bool,
}

pub(crate) struct Topics<N: Network> {
    network: N,
    key_pair: KeyPair,
    report: mpsc::Sender<Event<N>>,
    joined: HashMap<[u8; 32], Topic<N::Node>>,
    /// Topics whose announcement is being withdrawn, with those who wait for that.
    leaving: HashMap<[u8; 32], Vec<Done>>,
    queries: VecDeque<Query>,
    next_instance: u64,
    suspended: bool,
}

impl<N: Network> Topics<N> {
    pub(crate) fn new(network: N, key_pair: KeyPair, report: mpsc::Sender<Event<N>>) -> Self {
        Self {
            network,
            key_pair,
            report,
            joined: HashMap::new(),
            leaving: HashMap::new(),
            queries: VecDeque::new(),
            next_instance: 0,
            suspended: false,
        }
    }

    /// Whether no topic is joined, and none is being left.
    pub(crate) fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.leaving.is_empty()
    }

    /// When [`Topics::tick`] is next due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.joined.values().filter_map(|topic| topic.discovery.deadline()).min()
    }

    /// The next query to start.
    pub(crate) fn next_query(&mut self) -> Option<Query> {
        self.queries.pop_front()
    }

    pub(crate) fn join(&mut self, core: &Core, topic: [u8; 32], session: u64, roles: Roles, limit: Option<usize>) {
        let held = self.leaving.contains_key(&topic);
        let next_instance = &mut self.next_instance;
        let joined = self.joined.entry(topic).or_insert_with(|| {
            *next_instance += 1;
            let discovery = Discovery::new(held);
            Topic { instance: *next_instance, discovery, task: None, waiting: Vec::new(), succeeded: true }
        });
        joined.discovery.set_session(session, roles, limit);
        self.begin_refresh(core, topic);
    }

    pub(crate) fn set_session(
        &mut self,
        core: &Core,
        topic: [u8; 32],
        session: u64,
        roles: Roles,
        limit: Option<usize>,
        done: Done,
    ) {
        if let Some(joined) = self.with_session(&topic, session) {
            joined.discovery.set_session(session, roles, limit);
        }
        self.refresh(core, topic, session, done);
    }

    pub(crate) fn refresh(&mut self, core: &Core, topic: [u8; 32], session: u64, done: Done) {
        if self.with_session(&topic, session).is_some() {
            self.begin_refresh(core, topic);
        }
        self.flushed(topic, session, done);
    }

    /// Answers `done` when no refresh of the topic runs.
    pub(crate) fn flushed(&mut self, topic: [u8; 32], session: u64, done: Done) {
        // If nobody waits for the answer, it was not wanted.
        let _ = match self.with_session(&topic, session) {
            None => done.send(Err(SwarmError::Left)),
            Some(joined) if !joined.discovery.is_busy() => done.send(Ok(joined.succeeded)),
            Some(joined) => {
                joined.waiting.push(done);
                Ok(())
            }
        };
    }

    /// What to wait for until no refresh runs.
    pub(crate) fn all_flushed(&mut self) -> Vec<oneshot::Receiver<Result<bool, SwarmError>>> {
        let busy = self.joined.values_mut().filter(|topic| topic.discovery.is_busy());
        busy.map(|topic| {
            let (done, receiver) = oneshot::channel();
            topic.waiting.push(done);
            receiver
        })
        .collect()
    }

    pub(crate) fn close_session(
        &mut self,
        core: &mut Core,
        tasks: &mut JoinSet<()>,
        topic: [u8; 32],
        session: u64,
        done: Done,
    ) {
        let remaining = self.with_session(&topic, session).map(|joined| joined.discovery.close_session(session));
        match remaining {
            Some(Remaining::Nobody) => self.leave(core, tasks, topic, Some(done)),
            Some(Remaining::Changed) => {
                self.begin_refresh(core, topic);
                if let Some(joined) = self.joined.get_mut(&topic) {
                    joined.waiting.push(done);
                }
            }
            Some(Remaining::Same) | None => drop(done.send(Ok(true))),
        }
    }

    /// Leaves a topic, whoever else joined it, and answers `done` when it is not announced any more.
    pub(crate) fn leave(&mut self, core: &mut Core, tasks: &mut JoinSet<()>, topic: [u8; 32], done: Option<Done>) {
        if let Some(left) = self.joined.remove(&topic) {
            core.leave_topic(&topic);
            if let Some(task) = &left.task {
                task.abort();
            }
            for waiting in left.waiting {
                let _ = waiting.send(Err(SwarmError::Left));
            }
            if left.discovery.needs_unannounce() {
                self.leaving.entry(topic).or_default();
                tasks.spawn(self.unannounce(topic, left.instance, left.discovery.closest().to_vec()));
            }
        }
        match (self.leaving.get_mut(&topic), done) {
            (Some(waiting), Some(done)) => waiting.push(done),
            (None, Some(done)) => drop(done.send(Ok(true))),
            (_, None) => {}
        }
    }

    pub(crate) fn leave_all(&mut self, core: &mut Core, tasks: &mut JoinSet<()>) {
        let topics: Vec<_> = self.joined.keys().copied().collect();
        for topic in topics {
            self.leave(core, tasks, topic, None);
        }
        self.queries.clear();
    }

    /// Withdraws what was announced at `nodes`. A refresh that was cut short had no nodes to give yet: then the announcement is
    /// looked for.
    fn unannounce(
        &self,
        topic: [u8; 32],
        instance: u64,
        nodes: Vec<N::Node>,
    ) -> impl Future<Output = ()> + Send + use<N> {
        let (network, key_pair, report) = (self.network.clone(), self.key_pair.clone(), self.report.clone());
        async move {
            let unannounce = async {
                if !nodes.is_empty() {
                    return network.unannounce(topic, key_pair, nodes).await;
                }
                let query = TopicQuery {
                    kind: QueryKind::LookupAndUnannounce,
                    topic,
                    key_pair,
                    relay_addresses: Vec::new(),
                    closest_nodes: nodes,
                };
                let (found, _) = mpsc::channel(1);
                network.query(query, found).await.map(|_| ())
            };
            match timeout(UNANNOUNCE_TIMEOUT, unannounce).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the announcement was not withdrawn"),
                Err(_) => tracing::debug!("withdrawing the announcement took too long"),
            }
            let _ = report.send(Event::Topic { topic, instance, report: Report::Left }).await;
        }
    }

    /// Withdraws all announcements, and asks for no topic any more. Gives what to wait for until that is done.
    pub(crate) fn suspend(&mut self, tasks: &mut JoinSet<()>) -> Vec<oneshot::Receiver<Result<bool, SwarmError>>> {
        self.suspended = true;
        self.queries.clear();
        let mut withdrawals = Vec::new();
        for (topic, joined) in &mut self.joined {
            if let Some(task) = joined.task.take() {
                task.abort();
            }
            for waiting in joined.waiting.drain(..) {
                let _ = waiting.send(Ok(false));
            }
            if joined.discovery.suspend() {
                withdrawals.push((*topic, joined.instance, joined.discovery.closest().to_vec()));
            }
        }
        for (topic, instance, nodes) in withdrawals {
            self.leaving.entry(topic).or_default();
            tasks.spawn(self.unannounce(topic, instance, nodes));
        }
        let leaving = self.leaving.values_mut();
        leaving
            .map(|waiting| {
                let (done, receiver) = oneshot::channel();
                waiting.push(done);
                receiver
            })
            .collect()
    }

    /// Asks for all topics again.
    pub(crate) fn resume(&mut self, core: &Core) {
        self.suspended = false;
        self.refresh_all(core);
    }

    /// Asks anew for every topic.
    pub(crate) fn refresh_all(&mut self, core: &Core) {
        let topics: Vec<_> = self.joined.keys().copied().collect();
        topics.into_iter().for_each(|topic| self.begin_refresh(core, topic));
    }

    /// Asks anew for the topics whose time has come.
    pub(crate) fn tick(&mut self, core: &Core, now: Instant, rng: &mut impl Rng) {
        let joined = self.joined.iter_mut();
        let due: Vec<_> =
            joined.filter_map(|(topic, state)| state.discovery.is_due(now, rng).then_some(*topic)).collect();
        due.into_iter().for_each(|topic| self.begin_refresh(core, topic));
    }

    pub(crate) fn report(
        &mut self,
        core: &mut Core,
        topic: [u8; 32],
        instance: u64,
        report: Report<N::Node>,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        if matches!(report, Report::Left) {
            for done in self.leaving.remove(&topic).unwrap_or_default() {
                let _ = done.send(Ok(true));
            }
            if let Some(joined) = self.joined.get_mut(&topic) {
                joined.discovery.release();
                self.begin_refresh(core, topic);
            }
            return;
        }
        let Some(joined) = self.joined.get_mut(&topic).filter(|joined| joined.instance == instance) else { return };
        match report {
            Report::Announcing { clock } => joined.discovery.announcing(clock),
            Report::Found { clock, peer } => {
                let connected = core.is_connected(&peer.public_key);
                if joined.discovery.found(clock, &peer.public_key, connected) {
                    core.discovered(peer.public_key, &peer.relay_addresses, topic, now);
                }
            }
            Report::Finished { clock, closest } => {
                let succeeded = closest.is_some();
                if joined.discovery.finished(clock, closest, now, rng) {
                    joined.task = None;
                    joined.succeeded = succeeded;
                    for done in joined.waiting.drain(..) {
                        let _ = done.send(Ok(succeeded));
                    }
                }
            }
            Report::Left => {}
        }
    }

    fn with_session(&mut self, topic: &[u8; 32], session: u64) -> Option<&mut Topic<N::Node>> {
        self.joined.get_mut(topic).filter(|joined| joined.discovery.has_session(session))
    }

    /// Begins a refresh, in place of one that runs with other roles.
    fn begin_refresh(&mut self, core: &Core, topic: [u8; 32]) {
        let Some(joined) = self.joined.get_mut(&topic).filter(|_| !self.suspended) else { return };
        if let Some(refresh) = joined.discovery.refresh(|key| core.is_connected(key)) {
            if let Some(task) = joined.task.take() {
                task.abort();
            }
            self.queries.push_back(Query { topic, instance: joined.instance, refresh });
        }
    }

    /// Starts a query. An announcement waits for `server` to listen.
    pub(crate) fn start(
        &mut self,
        query: Query,
        server: Option<watch::Receiver<Listening<N::Server>>>,
        tasks: &mut JoinSet<()>,
    ) {
        let Query { topic, instance, refresh } = query;
        let Some(joined) = self.joined.get_mut(&topic).filter(|joined| joined.instance == instance) else { return };
        let (network, report) = (self.network.clone(), self.report.clone());
        let mut query = TopicQuery {
            kind: refresh.kind,
            topic,
            key_pair: self.key_pair.clone(),
            relay_addresses: Vec::new(),
            closest_nodes: joined.discovery.closest().to_vec(),
        };
        let clock = refresh.clock;
        let task = tasks.spawn(async move {
            let tell = async |event| drop(report.send(Event::Topic { topic, instance, report: event }).await);
            let run = async {
                if let Some(server) = server {
                    let server: Arc<N::Server> = listening(server).await?;
                    query.relay_addresses = server.relay_addresses();
                    tell(Report::Announcing { clock }).await;
                }
                let (found, mut peers) = mpsc::channel(MAX_FOUND);
                let running = network.query(query, found);
                tokio::pin!(running);
                loop {
                    tokio::select! {
                        biased;
                        Some(peer) = peers.recv() => tell(Report::Found { clock, peer }).await,
                        result = &mut running => {
                            while let Ok(peer) = peers.try_recv() {
                                tell(Report::Found { clock, peer }).await;
                            }
                            return result;
                        }
                    }
                }
            };
            let result: Result<_, NetworkError> = run.await;
            let closest = result.inspect_err(|error| tracing::debug!(%error, "the refresh of a topic failed")).ok();
            tell(Report::Finished { clock, closest }).await;
        });
        joined.task = Some(task);
    }
}
