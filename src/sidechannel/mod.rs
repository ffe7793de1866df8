//! Sidechannels: named channels on which peers exchange JSON messages.
//!
//! A channel's name gives a topic on the DHT, where its peers find each other, and a Protomux protocol, `sidechannel/<name>`, that
//! is opened on every connection. A message is one JSON object, with proof of work and signed by its author, and is passed on by
//! those who get it. Which messages are taken is decided by invites, welcomes and owners.
//!
//! ```no_run
//! use intercom::sidechannel::{SendOptions, Sidechannel, SidechannelOptions};
//! # async fn example(network: std::sync::Arc<dyn intercom::sidechannel::Network>) {
//! let keys = crypto::KeyPair::generate();
//! let sidechannel = Sidechannel::start(SidechannelOptions::default(), keys, network);
//! let mut messages = sidechannel.messages();
//! sidechannel.broadcast("0000intercom", "hello".into(), SendOptions::default()).await;
//! while let Ok(message) = messages.recv().await {
//!     println!("{}: {}", message.channel, message.payload);
//! }
//! sidechannel.shutdown().await;
//! # }
//! ```
//!
//! The parts: [`payload`] makes messages, with [`pow`] and [`signature`]; [`pipeline`] judges those that come in, by the rules of
//! [`policy`], with [`invite`], [`welcome`], [`limiter`], [`seen`] and [`grants`]; [`relay`] says what is passed on. None of these
//! does input or output or knows the time. The driver brings them to a [`Network`].
//!
//! The format and the rules are those of Intercom's `features/sidechannel/index.js`.

mod account;
pub mod aside;
mod driver;
pub mod drops;
mod error;
mod explain;
pub mod grants;
pub mod invite;
mod keys;
pub mod limiter;
pub mod link;
mod options;
pub mod outbox;
pub mod payload;
pub mod pipeline;
pub mod policy;
pub mod pow;
pub mod refusal;
pub mod relay;
pub mod seen;
mod session;
pub mod signature;
pub mod welcome;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crypto::KeyPair;
use encoding::json::{Object, Value, trim, truthy};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::identity::address;
pub use account::Tally;
use driver::{Job, Parts, Shared};
pub use error::SidechannelError;
pub use explain::{Explanation, Obstacle, Running, explain_options};
pub use link::Network;
pub use options::{Clock, Console, ENTRY_CHANNEL, SidechannelOptions};
use pipeline::{MAX_CHANNELS, Pipeline, Registration};

/// How many received messages are kept for a reader of [`Sidechannel::messages`] that is behind; it misses the oldest beyond.
pub const MAX_UNREAD: usize = 256;

/// How many messages may wait to be proven and signed. Beyond it, [`Sidechannel::broadcast`] waits.
const MAX_UNSEALED: usize = 64;

/// The topic on which the peers of a channel meet: SHA-256 of `sidechannel:` and its trimmed name.
pub fn topic_of(channel: &str) -> [u8; 32] {
    Sha256::new().chain_update("sidechannel:").chain_update(trim(channel)).finalize().into()
}

/// The Protomux protocol of a channel.
pub fn protocol_of(channel: &str) -> String {
    format!("sidechannel/{channel}")
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq)]
pub struct SidechannelMessage {
    /// The channel by which it came.
    pub channel: String,
    /// All of it: an object with `id`, `from`, `message` and more, as far as its sender kept to the form.
    pub payload: Value,
}

/// What may accompany a message.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// The invite that lets the own peer write to the channel. It is sent along.
    pub invite: Option<Value>,
    /// The channel's welcome. It is taken, not sent.
    pub welcome: Option<Value>,
}

/// A running sidechannel. Clones are handles of the same; it ends with [`shutdown`](Self::shutdown), or with the last of them.
#[derive(Clone)]
pub struct Sidechannel(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    invite_ttl_ms: u64,
}

impl Sidechannel {
    /// Starts a sidechannel on a network. It is at work at once; [`ready`](Self::ready) waits for its topics.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(options: SidechannelOptions, keys: KeyPair, network: Arc<dyn Network>) -> Self {
        let pipeline = Pipeline::new(&options, &keys.public_key);
        let shared = Shared::new(Parts {
            pipeline,
            keys,
            network,
            console: options.console,
            clock: options.clock,
            debug: options.debug,
            events: broadcast::Sender::new(MAX_UNREAD),
        });
        for channel in std::iter::once(&options.entry_channel).chain(&options.channels) {
            let registration = shared.pipeline.register(channel, MAX_CHANNELS, shared.now());
            shared.report_registration(registration, trim(channel));
        }
        let (jobs, queue) = mpsc::channel(MAX_UNSEALED);
        let tasks = vec![
            tokio::spawn(shared.clone().accept()),
            tokio::spawn(shared.clone().start()),
            tokio::spawn(shared.clone().send_all(queue)),
        ];
        Self(Arc::new(Handle { shared, jobs, tasks: Mutex::new(tasks), invite_ttl_ms: options.invite_ttl_ms }))
    }

    /// The channel on which all peers meet; empty if there is none.
    pub fn entry_channel(&self) -> &str {
        &self.0.shared.pipeline.policy().entry_channel
    }

    /// The channels, in the order of joining.
    pub fn channels(&self) -> Vec<String> {
        self.0.shared.pipeline.channels()
    }

    /// How many peers are connected.
    pub fn connection_count(&self) -> usize {
        self.0.shared.connection_count()
    }

    /// What became of messages since the start.
    pub fn tally(&self) -> Tally {
        self.0.shared.counters.read()
    }

    /// Whether the topics are joined.
    pub fn started(&self) -> bool {
        *self.0.shared.started.borrow()
    }

    /// Waits until the topics are joined, or the sidechannel is shut down.
    pub async fn ready(&self) {
        let mut started = self.0.shared.started.subscribe();
        tokio::select! {
            _ = started.wait_for(|started| *started) => {}
            () = self.0.shared.closing() => {}
        }
    }

    /// The messages received from now on.
    pub fn messages(&self) -> broadcast::Receiver<Arc<SidechannelMessage>> {
        self.0.shared.events.subscribe()
    }

    /// Tells that a peer or a channel came or went, or that the topics are joined: then [`channels`](Self::channels),
    /// [`connection_count`](Self::connection_count) and [`started`](Self::started) may say something else.
    pub fn presence(&self) -> watch::Receiver<()> {
        self.0.shared.presence.subscribe()
    }

    /// Joins a channel, and waits up to ten seconds for its topic. `false`: an invite is needed, or there is no name. What it
    /// does to the set of channels happens when the future is first polled.
    ///
    /// # Errors
    /// [`SidechannelError::Limit`] when there are too many channels.
    pub async fn add_channel(&self, channel: &str) -> Result<bool, SidechannelError> {
        let channel = trim(channel);
        if !self.register(channel)? {
            return Ok(false);
        }
        if self.0.shared.join(channel) {
            self.0.shared.flush().await;
        }
        Ok(true)
    }

    /// Leaves a channel, and waits up to ten seconds for the network to know. `false`: it was not joined, or is the entry
    /// channel. What it does to the set of channels happens when the future is first polled.
    ///
    /// # Errors
    /// [`SidechannelError::ShutDown`] when the sidechannel is shut down.
    pub async fn remove_channel(&self, channel: &str) -> Result<bool, SidechannelError> {
        self.check_open()?;
        let channel = trim(channel);
        if !self.0.shared.pipeline.unregister(channel) {
            return Ok(false);
        }
        self.0.shared.presence.send_replace(());
        self.0.shared.leave(channel).await;
        Ok(true)
    }

    /// Sends a message to the peers on a channel, which is registered if it was not. `false` if that is not allowed: without a
    /// name, on a channel where only another may write, without an invite that is needed, or when the message is too large.
    ///
    /// Messages leave in the order in which these futures were first polled.
    pub async fn broadcast(&self, channel: &str, message: Value, options: SendOptions) -> bool {
        self.broadcast_or_undefined(channel, Some(message), options).await
    }

    /// As [`broadcast`](Self::broadcast); `None` sends a payload without a message, as JavaScript does for `undefined`.
    pub async fn broadcast_or_undefined(&self, channel: &str, message: Option<Value>, options: SendOptions) -> bool {
        let shared = &self.0.shared;
        let channel = trim(channel);
        if channel.is_empty() || !shared.pipeline.may_write(channel, message.as_ref().unwrap_or(&Value::Null)) {
            return false;
        }
        let (invite, welcome) = (options.invite.filter(truthy), options.welcome.filter(truthy));
        self.accept(channel, invite.as_ref(), welcome.as_ref());
        if !self.register(channel).unwrap_or(false) {
            return false;
        }
        shared.open_everywhere(channel);
        let to_unauthorized = message.as_ref().is_some_and(payload::is_auth);
        let mut draft = shared.draft(channel, message, invite);
        draft.max_bytes = Some(shared.pipeline.policy().max_message_bytes);
        let (done, sent) = oneshot::channel();
        if self.0.jobs.send(Job { draft, to_unauthorized, done }).await.is_err() {
            return false;
        }
        sent.await.unwrap_or(false)
    }

    /// Asks the peers on `via` (the entry channel if that is `None` or empty) to open a channel.
    pub async fn request_open(
        &self,
        channel: &str,
        via: Option<&str>,
        invite: Option<Value>,
        welcome: Option<Value>,
    ) -> bool {
        let channel = trim(channel);
        let via = trim(via.filter(|via| !via.is_empty()).unwrap_or(self.entry_channel())).to_owned();
        if channel.is_empty() || via.is_empty() {
            return false;
        }
        let invite = invite.filter(truthy);
        let embedded = invite.as_ref().and_then(|invite| invite.get("welcome")).cloned();
        let welcome = welcome.filter(truthy).or(embedded.filter(truthy));
        self.accept(channel, invite.as_ref(), welcome.as_ref());
        let mut message = Object::new().with("control", "open_channel").with("channel", channel);
        // What is absent is left out, so that the proof of work is of the message as others read it.
        for (key, value) in [("invite", invite), ("welcome", welcome)] {
            if let Some(value) = value {
                message.insert(key, value);
            }
        }
        self.broadcast(&via, message.into(), SendOptions::default()).await
    }

    /// Takes an invite for the own peer, and a welcome; `false` if the invite is not valid.
    pub fn accept_invite(&self, channel: &str, invite: &Value, welcome: Option<&Value>) -> bool {
        self.accept(trim(channel), Some(invite), welcome)
    }

    /// Takes a channel's welcome; `false` if it is not its owner's word.
    pub fn accept_welcome(&self, channel: &str, welcome: &Value) -> bool {
        self.0.shared.pipeline.accept_welcome(welcome, channel)
    }

    /// The welcome of a channel, as far as it is known.
    pub fn welcome(&self, channel: &str) -> Option<Value> {
        self.0.shared.pipeline.welcome(channel)
    }

    /// Makes an invite for the peer with this public key (hex), valid for `ttl_ms` milliseconds (as long as the options say if
    /// that is `None`), with a welcome to be handed over along with it (the channel's if that is `None` and it is known). `None`
    /// when it would not be valid for any time.
    pub fn create_invite(
        &self,
        channel: &str,
        invitee: &str,
        ttl_ms: Option<u64>,
        welcome: Option<Value>,
    ) -> Option<Value> {
        let shared = &self.0.shared;
        let ttl_ms = ttl_ms.unwrap_or(self.0.invite_ttl_ms);
        let issued_at = shared.clock.now();
        (ttl_ms > 0).then(|| {
            let terms = invite::InviteTerms {
                channel,
                invitee,
                inviter_address: Some(&address::encode(address::MAINNET_PREFIX, &shared.keys.public_key)),
                issued_at,
                expires_at: issued_at.saturating_add(ttl_ms),
                nonce: &payload::random_text(),
                welcome: welcome.or_else(|| self.welcome(channel)),
            };
            invite::create_invite(&shared.keys, terms)
        })
    }

    /// Makes a welcome to a channel of the own peer, and takes it.
    pub fn create_welcome(&self, channel: &str, text: &str) -> Value {
        let shared = &self.0.shared;
        let welcome = welcome::create_welcome(&shared.keys, channel, text, shared.clock.now());
        self.accept_welcome(channel, &welcome);
        welcome
    }

    /// Why messages on a channel are not received or not sent, as of now.
    pub fn explain(&self, channel: &str) -> Explanation {
        self.0.shared.explain(channel)
    }

    /// Lets an application tell neighbours something, on channels that are opened from now on. Only the first one is.
    pub fn set_aside(&self, aside: Arc<dyn aside::Aside>) {
        let _ = self.0.shared.aside.set(aside);
    }

    /// Whether a payload that did not come by itself, but as part of an aside, would have been handed to applications: by its
    /// author if only the owner may write, and where a welcome is needed after it.
    pub fn would_deliver(&self, channel: &str, payload: &Value) -> bool {
        self.0.shared.pipeline.would_deliver(channel, payload)
    }

    /// Closes the channels and ends all tasks. The network, which may serve others, stays as it is.
    pub async fn shutdown(&self) {
        self.0.shared.close();
        let tasks = std::mem::take(&mut *self.0.tasks.lock());
        for task in tasks {
            // An error means that the task was aborted, which also ends it.
            let _ = task.await;
        }
    }

    /// Takes what was given for a channel; the result is that of the invite.
    fn accept(&self, channel: &str, invite: Option<&Value>, welcome: Option<&Value>) -> bool {
        let pipeline = &self.0.shared.pipeline;
        let embedded = invite.and_then(|invite| invite.get("welcome"));
        let valid = invite.is_some_and(|invite| pipeline.accept_invite(invite, channel, self.0.shared.now()));
        let welcomes: Vec<bool> = [embedded, welcome]
            .into_iter()
            .flatten()
            .map(|welcome| pipeline.accept_welcome(welcome, channel))
            .collect();
        self.0.shared.say_what_does_not_count(
            channel,
            invite.filter(|_| !valid),
            welcome.filter(|_| welcomes.contains(&false)),
        );
        valid
    }

    fn register(&self, channel: &str) -> Result<bool, SidechannelError> {
        self.check_open()?;
        let shared = &self.0.shared;
        let registration = shared.pipeline.register(channel, MAX_CHANNELS, shared.now());
        shared.report_registration(registration, channel);
        match registration {
            Registration::New => {
                shared.presence.send_replace(());
                Ok(true)
            }
            Registration::Known => Ok(true),
            Registration::InviteRequired | Registration::Nameless => Ok(false),
            Registration::Limit => Err(SidechannelError::Limit { channel: channel.to_owned() }),
        }
    }

    fn check_open(&self) -> Result<(), SidechannelError> {
        if *self.0.shared.closing.borrow() { Err(SidechannelError::ShutDown) } else { Ok(()) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}
