//! The tasks of a sidechannel: one that starts it, one that takes connections, one for each of these, and one that seals what is
//! sent, in order.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    convert::Infallible,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use crypto::KeyPair;
use encoding::json::Value;
use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, broadcast, mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{
    Clock, Console, SidechannelMessage,
    account::{Counters, tally},
    aside::Aside,
    drops::Drops,
    link::{Link, Network},
    outbox::{Outbox, Waiting, outbox},
    payload::{Draft, SealError, Sealed, body_of, new_id},
    pipeline::{Action, MAX_CHANNELS_FOR_PEERS, Now, Peer, Pipeline, Received, Registration},
    refusal::Refusal,
    relay::relayed,
    session::{Session, Standing, StandingCell},
    topic_of,
};

/// How long joining waits for the network.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages of this many bytes and more are read off the threads that serve the network.
const LONG_MESSAGE: usize = 64 << 10;

/// How many long messages are read at a time. What they take of memory while they are read is bounded by this.
const LONG_MESSAGES_AT_A_TIME: usize = 4;

/// A connection, by the order of connecting.
pub(super) type LinkId = u64;

/// What all tasks of a sidechannel share.
pub(super) struct Shared {
    pub(super) pipeline: Pipeline,
    pub(super) keys: Arc<KeyPair>,
    pub(super) network: Arc<dyn Network>,
    pub(super) console: Console,
    pub(super) clock: Clock,
    pub(super) debug: bool,
    pub(super) events: broadcast::Sender<Arc<SidechannelMessage>>,
    pub(super) started: watch::Sender<bool>,
    /// Tells that a peer or a channel came or went.
    pub(super) presence: watch::Sender<()>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) aside: OnceLock<Arc<dyn Aside>>,
    /// Ends a proof of work that is under way.
    pub(super) stop: Arc<AtomicBool>,
    long_messages: Semaphore,
    topics: Mutex<Topics>,
    pub(super) drops: Mutex<Drops>,
    pub(super) counters: Counters,
    links: Mutex<Links>,
}

/// The joined topics.
#[derive(Default)]
struct Topics {
    /// Whether topics may be joined yet.
    ready: bool,
    joined: HashSet<[u8; 32]>,
}

#[derive(Default)]
struct Links {
    next: LinkId,
    open: BTreeMap<LinkId, LinkRecord>,
}

struct LinkRecord {
    peer: Arc<Peer>,
    waiting: Waiting,
    channels: HashMap<Arc<str>, ChannelRecord>,
    /// New sessions for the connection's task. There are at most as many as channels.
    sessions: mpsc::UnboundedSender<Session>,
    link: Arc<dyn Link>,
}

struct ChannelRecord {
    outbox: Outbox,
    standing: Arc<StandingCell>,
    /// Tells the session, when it is dropped, that the channel is left.
    _wanted: oneshot::Sender<Infallible>,
}

/// A message to be sealed and sent to all.
pub(super) struct Job {
    pub(super) draft: Draft,
    /// Whether it also goes to peers that have shown no invite.
    pub(super) to_unauthorized: bool,
    pub(super) done: oneshot::Sender<bool>,
}

/// What a sidechannel is put together from.
pub(super) struct Parts {
    pub(super) pipeline: Pipeline,
    pub(super) keys: KeyPair,
    pub(super) network: Arc<dyn Network>,
    pub(super) console: Console,
    pub(super) clock: Clock,
    pub(super) debug: bool,
    pub(super) events: broadcast::Sender<Arc<SidechannelMessage>>,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            pipeline: parts.pipeline,
            keys: Arc::new(parts.keys),
            network: parts.network,
            console: parts.console,
            clock: parts.clock,
            debug: parts.debug,
            events: parts.events,
            started: watch::Sender::new(false),
            presence: watch::Sender::new(()),
            closing: watch::Sender::new(false),
            aside: OnceLock::new(),
            stop: Arc::default(),
            long_messages: Semaphore::new(LONG_MESSAGES_AT_A_TIME),
            topics: Mutex::default(),
            drops: Mutex::default(),
            counters: Counters::default(),
            links: Mutex::default(),
        })
    }

    pub(super) fn now(&self) -> Now {
        Now { wall: self.clock.now(), instant: tokio::time::Instant::now().into_std() }
    }

    pub(super) fn debug(&self, line: impl FnOnce() -> String) {
        if self.debug {
            self.console.line(&line());
        }
    }

    pub(super) fn connection_count(&self) -> usize {
        self.links.lock().open.len()
    }

    /// Waits until the sidechannel is to end.
    pub(super) async fn closing(&self) {
        let mut closing = self.closing.subscribe();
        // The sender is in `self`, so there is no error to come.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// Begins to end: nothing new is sent or joined, and the channels are closed.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
        self.stop.store(true, Ordering::Relaxed);
        self.links.lock().open.values_mut().for_each(|record| record.channels.clear());
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Joins the topics and takes connections, until the sidechannel is closed.
    pub(super) async fn start(self: Arc<Self>) {
        self.debug(|| "[sidechannel] waiting for DHT bootstrap...".to_owned());
        tokio::select! {
            () = self.closing() => return,
            () = self.network.bootstrapped() => {}
        }
        self.topics.lock().ready = true;
        for channel in self.pipeline.channels() {
            self.join_topic(&channel);
        }
        tokio::select! {
            () = self.closing() => return,
            () = self.flush() => {}
        }
        self.started.send_replace(true);
        self.presence.send_replace(());
    }

    /// Waits for what was joined, but not for long: the network may be slow or away.
    pub(super) async fn flush(&self) {
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, self.network.flush()).await;
    }

    /// Joins the topic of a channel if it is time and it is not joined yet.
    fn join_topic(&self, channel: &str) -> bool {
        let topic = topic_of(channel);
        let mut topics = self.topics.lock();
        let ready = topics.ready;
        let new = ready && topics.joined.insert(topic);
        drop(topics);
        if new {
            self.network.join(topic);
        }
        ready
    }

    /// Joins a registered channel: its topic, and on all connections. Says whether the network is there to wait for.
    pub(super) fn join(self: &Arc<Self>, channel: &str) -> bool {
        let ready = self.join_topic(channel);
        self.open_everywhere(channel);
        ready
    }

    /// Leaves an unregistered channel.
    pub(super) async fn leave(&self, channel: &str) {
        for record in self.links.lock().open.values_mut() {
            record.channels.remove(channel);
        }
        let topic = topic_of(channel);
        if self.topics.lock().joined.remove(&topic) {
            let leave = async {
                self.network.leave(topic).await;
                self.network.flush().await;
            };
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, leave).await;
        }
    }

    /// Opens a channel on all connections that do not have it.
    pub(super) fn open_everywhere(self: &Arc<Self>, channel: &str) {
        let channel: Arc<str> = channel.into();
        let mut links = self.links.lock();
        if !self.is_closing() {
            links.open.iter_mut().for_each(|(id, record)| self.open_on(*id, record, &channel));
        }
    }

    fn open_on(self: &Arc<Self>, link_id: LinkId, record: &mut LinkRecord, channel: &Arc<str>) {
        if record.channels.contains_key(channel) {
            return;
        }
        let (outbox, queue) = outbox(&record.waiting);
        let (wanted, removed) = oneshot::channel();
        let standing = Arc::<StandingCell>::default();
        let channel_record = ChannelRecord { outbox, standing: standing.clone(), _wanted: wanted };
        record.channels.insert(channel.clone(), channel_record);
        let session = Session {
            shared: self.clone(),
            link: record.link.clone(),
            link_id,
            peer: record.peer.clone(),
            channel: channel.clone(),
            queue,
            standing,
            removed,
        };
        // An error means that the connection has just ended.
        let _ = record.sessions.send(session);
    }

    /// Takes connections until the sidechannel is closed.
    pub(super) async fn accept(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = self.closing() => break,
                Some(_) = tasks.join_next() => {}
                link = self.network.next_link() => match link {
                    Some(link) => drop(tasks.spawn(self.clone().attend(link))),
                    None => break,
                },
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Serves a connection until it ends.
    async fn attend(self: Arc<Self>, link: Arc<dyn Link>) {
        let (sender, mut new_sessions) = mpsc::unbounded_channel();
        let id = self.register_link(link.clone(), sender);
        let mut sessions = FuturesUnordered::new();
        let mut closing = std::pin::pin!(self.closing());
        let mut ending = false;
        loop {
            tokio::select! {
                Some(session) = new_sessions.recv() => sessions.push(Session::run(session)),
                Some(()) = sessions.next() => {}
                () = link.closed() => break,
                () = &mut closing, if !ending => ending = true,
            }
            if ending && sessions.is_empty() {
                break;
            }
        }
        self.links.lock().open.remove(&id);
        self.presence.send_replace(());
    }

    fn register_link(self: &Arc<Self>, link: Arc<dyn Link>, sessions: mpsc::UnboundedSender<Session>) -> LinkId {
        let peer = Arc::new(self.pipeline.peer(&link.remote_public_key(), self.now().instant));
        let channels = self.pipeline.channels();
        let mut links = self.links.lock();
        let id = links.next;
        links.next += 1;
        let mut record = LinkRecord { peer, waiting: Waiting::default(), channels: HashMap::new(), sessions, link };
        if !self.is_closing() {
            channels.into_iter().for_each(|channel| self.open_on(id, &mut record, &channel.into()));
        }
        links.open.insert(id, record);
        drop(links);
        self.presence.send_replace(());
        id
    }

    /// Takes a message; `false` when the connection that it came by is to be ended.
    pub(super) async fn receive(
        self: &Arc<Self>,
        from: LinkId,
        peer: &Arc<Peer>,
        channel: &Arc<str>,
        body: Bytes,
    ) -> bool {
        let now = self.now();
        let received = if body.len() < LONG_MESSAGE {
            self.pipeline.receive(peer, channel, &body, now)
        } else {
            let (shared, peer, channel) = (self.clone(), peer.clone(), channel.clone());
            // The semaphore is never closed, so that there is a permit in the result.
            let _permit = self.long_messages.acquire().await;
            let work = move || shared.pipeline.receive(&peer, &channel, &body, now);
            match tokio::task::spawn_blocking(work).await {
                Ok(received) => received,
                // The runtime is going down.
                Err(_) => return true,
            }
        };
        self.act(from, peer, channel, received)
    }

    fn act(self: &Arc<Self>, from: LinkId, peer: &Peer, channel: &str, received: Received) -> bool {
        if let Some(bytes) = received.bytes {
            self.debug(|| format!("[sidechannel:{channel}] recv {bytes} bytes from {}", peer.key));
        }
        let accepted = match received.verdict {
            Ok(accepted) => accepted,
            Err(refusal) => {
                self.report(&refusal, channel, peer);
                self.account(&refusal, channel, peer);
                return refusal != Refusal::Malformed;
            }
        };
        match &accepted.action {
            Action::Authorized => return true,
            Action::Open { channel, join: true } => self.join_for_peer(channel),
            Action::Open { channel, join: false } => {
                self.console.line(&format!("[sidechannel] channel request received: {channel}"));
            }
            Action::Deliver | Action::Nothing => {}
        }
        let policy = self.pipeline.policy();
        if let Some(copy) = relayed(&accepted.payload, &policy.self_key).filter(|_| policy.relay) {
            tally(&self.counters.relayed);
            self.distribute(channel, &body_of(&copy), Some(from), false);
        }
        if accepted.action == Action::Deliver {
            tally(&self.counters.delivered);
            // An error means that nobody listens.
            let _ = self
                .events
                .send(Arc::new(SidechannelMessage { channel: channel.to_owned(), payload: accepted.payload }));
        }
        true
    }

    fn report(&self, refusal: &Refusal, channel: &str, peer: &Peer) {
        if !self.debug {
            return;
        }
        if let Refusal::Rate { blocked: true } = refusal {
            let block = self.pipeline.policy().limits.block.as_millis();
            self.console.line(&format!("[sidechannel] rate-limit block {} for {block}ms", peer.key));
        }
        if let Some(line) = refusal.line(channel, &peer.key) {
            self.console.line(&line);
        }
    }

    fn join_for_peer(self: &Arc<Self>, channel: &str) {
        match self.pipeline.register(channel, MAX_CHANNELS_FOR_PEERS, self.now()) {
            Registration::New => {
                self.join(channel);
                self.presence.send_replace(());
            }
            Registration::Known => drop(self.join(channel)),
            refused => {
                self.report_registration(refused, channel);
                if refused == Registration::Limit {
                    return;
                }
            }
        }
        self.console.line(&format!("[sidechannel] auto-joined channel: {channel}"));
    }

    /// Says why a channel is not joined.
    pub(super) fn report_registration(&self, registration: Registration, channel: &str) {
        match registration {
            Registration::InviteRequired => {
                self.console.line(&format!("[sidechannel:{channel}] join denied (invite required)."));
            }
            Registration::Limit => {
                self.console
                    .line(&format!("[sidechannel] join denied (too many channels, or too long a name): {channel}"));
            }
            Registration::New | Registration::Known | Registration::Nameless => {}
        }
    }

    /// The draft of an own message, as of now.
    pub(super) fn draft(&self, channel: &str, message: Option<Value>, invite: Option<Value>) -> Draft {
        let policy = self.pipeline.policy();
        let ts = self.clock.now();
        Draft {
            channel: channel.to_owned(),
            message,
            invite,
            id: new_id(&policy.self_key, ts),
            ts,
            ttl: policy.relay_ttl,
            difficulty: policy.pow_difficulty(channel),
            max_bytes: None,
            report_hash: self.debug,
        }
    }

    /// Seals an own message, off the threads that serve the network, and remembers its id.
    pub(super) async fn seal(&self, draft: Draft) -> Result<Sealed, SealError> {
        let (keys, stop) = (self.keys.clone(), self.stop.clone());
        let (id, channel) = (draft.id.clone(), draft.channel.clone());
        let control = draft.message.as_ref().and_then(|message| message.get("control")).and_then(Value::as_str);
        let quiet = matches!(control, Some("auth" | "welcome"));
        let sealing = tokio::task::spawn_blocking(move || draft.seal(&keys, &stop));
        let sealed = sealing.await.unwrap_or(Err(SealError::NoProof))?;
        if let Some(hash) = sealed.signed_hash.as_ref().filter(|_| !quiet) {
            self.debug(|| format!("[sidechannel:{channel}] sign hash={hash} sigLen=128"));
        }
        self.pipeline.remember_own(&id, self.now());
        Ok(sealed)
    }

    /// Seals and sends own messages in order, until there can be none any more.
    pub(super) async fn send_all(self: Arc<Self>, mut jobs: mpsc::Receiver<Job>) {
        loop {
            let job = tokio::select! {
                () = self.closing() => return,
                job = jobs.recv() => job,
            };
            let Some(job) = job else { return };
            let channel = job.draft.channel.clone();
            let sealed = self.seal(job.draft).await;
            let sent = match &sealed {
                Ok(sealed) => {
                    let count = self.connection_count();
                    self.debug(|| format!("[sidechannel:{channel}] sending to {count} connections"));
                    tally(&self.counters.sent);
                    self.distribute(&channel, &sealed.body, None, job.to_unauthorized);
                    true
                }
                Err(error) => {
                    self.console.line(&format!("[sidechannel:{channel}] {error}"));
                    false
                }
            };
            // An error means that nobody waits for the answer.
            let _ = job.done.send(sent);
        }
    }

    /// The connected peers, and for each whether it has the channel open.
    pub(super) fn peers_on(&self, channel: &str) -> Vec<(Arc<Peer>, bool)> {
        let is_open = |record: &LinkRecord| {
            record.channels.get(channel).is_some_and(|channel| channel.standing.get() == Standing::Open)
        };
        self.links.lock().open.values().map(|record| (record.peer.clone(), is_open(record))).collect()
    }

    /// Puts a message into the outbox of each peer that has the channel and may get it.
    fn distribute(&self, channel: &str, body: &Bytes, except: Option<LinkId>, to_unauthorized: bool) {
        let now = self.now();
        let own = except.is_none();
        for (id, record) in &self.links.lock().open {
            if Some(*id) == except {
                continue;
            }
            let peer = &record.peer;
            if !to_unauthorized && !self.pipeline.is_authorized(channel, peer, now) {
                if own {
                    self.debug(|| format!("[sidechannel:{channel}] skip (unauthorized) {}", peer.key));
                }
                continue;
            }
            match record.channels.get(channel) {
                // What others say is not said to who has not joined, as in JavaScript; what this peer says asks it once more.
                Some(record) if !own && record.standing.get() == Standing::Refused => {}
                Some(record) if !record.outbox.push(body.clone()) => {
                    tracing::debug!(channel, peer = &peer.key[..8], "a slow peer misses a message");
                }
                Some(_) => {}
                None if own => {
                    self.debug(|| format!("[sidechannel:{channel}] no message session for connection."));
                }
                None => {}
            }
        }
    }
}
