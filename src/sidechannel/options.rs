//! How a sidechannel behaves: what the flags say.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use encoding::json::Value;

/// The channel on which all peers of the network meet.
pub const ENTRY_CHANNEL: &str = "0000intercom";

/// How a [`Sidechannel`](super::Sidechannel) behaves. The defaults are those of the flags.
#[derive(Debug, Clone)]
pub struct SidechannelOptions {
    /// The channel on which all peers meet. It never needs an invite, a welcome or an owner, and is never left. Empty: none.
    pub entry_channel: String,
    /// The channels to join at the start, beside the entry channel.
    pub channels: Vec<String>,
    /// Print what is done with each message.
    pub debug: bool,
    /// The size in bytes of the largest JSON text of a message that is sent.
    pub max_message_bytes: usize,
    /// Heed peers that ask to open a channel.
    pub allow_remote_open: bool,
    /// Join the channel that a peer asks to open.
    pub auto_join_on_open: bool,
    /// Pass messages of one peer on to the others.
    pub relay: bool,
    /// How many times a message from here is passed on.
    pub relay_ttl: u32,
    /// How many message ids are remembered.
    pub max_seen: usize,
    /// How long a message id is remembered.
    pub seen_ttl: Duration,
    /// Bytes a second that are taken from one connection; `None` takes all.
    pub rate_bytes_per_second: Option<u64>,
    /// Bytes that are taken at once from a connection that was quiet.
    pub rate_burst_bytes: u64,
    /// How many messages over the rate block a connection.
    pub max_strikes: u32,
    /// The time in which these messages are counted.
    pub strike_window: Duration,
    /// How long a connection is blocked.
    pub block: Duration,
    /// Demand proof of work of messages, and do it.
    pub pow_enabled: bool,
    /// The leading zero bits that the proof's hash must have; 0 demands none.
    pub pow_difficulty: u32,
    /// Demand proof of work on the entry channel only.
    pub pow_require_entry: bool,
    /// Demand proof of work on these channels only.
    pub pow_channels: Option<Vec<String>>,
    /// Demand invites: on all channels but the entry channel, or on those named by the next two.
    pub invite_required: bool,
    /// Demand invites on these channels.
    pub invite_channels: Option<Vec<String>>,
    /// Demand invites on channels whose names begin with one of these.
    pub invite_prefixes: Option<Vec<String>>,
    /// The public keys, in hex, whose invites count. None: the own key where invites are demanded, else anyone's.
    pub inviter_keys: Vec<String>,
    /// How long an invite from here is valid, in milliseconds, where its maker does not say.
    pub invite_ttl_ms: u64,
    /// The owners of channels: public keys in hex, by channel.
    pub owner_keys: BTreeMap<String, String>,
    /// Take messages of a channel's owner only, on all channels but the entry channel.
    pub owner_write_only: bool,
    /// Take messages of the channel's owner only, on these channels.
    pub owner_write_channels: Option<Vec<String>>,
    /// Welcomes that are known from the start, by channel.
    pub welcomes: BTreeMap<String, Value>,
    /// Drop messages of a channel, other than the entry channel, until its owner's welcome is known.
    pub welcome_required: bool,
    /// Where lines for the user go.
    pub console: Console,
    /// The time of day.
    pub clock: Clock,
}

/// The size of the largest message that a peer sends where nothing else is said.
pub(super) const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_000_000;

impl Default for SidechannelOptions {
    fn default() -> Self {
        Self {
            entry_channel: ENTRY_CHANNEL.to_owned(),
            channels: Vec::new(),
            debug: false,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            allow_remote_open: true,
            auto_join_on_open: false,
            relay: true,
            relay_ttl: 3,
            max_seen: 5_000,
            seen_ttl: Duration::from_secs(120),
            rate_bytes_per_second: Some(64_000),
            rate_burst_bytes: 256_000,
            max_strikes: 3,
            strike_window: Duration::from_secs(5),
            block: Duration::from_secs(30),
            pow_enabled: true,
            pow_difficulty: 12,
            pow_require_entry: false,
            pow_channels: None,
            invite_required: false,
            invite_channels: None,
            invite_prefixes: None,
            inviter_keys: Vec::new(),
            invite_ttl_ms: 604_800_000,
            owner_keys: BTreeMap::new(),
            owner_write_only: false,
            owner_write_channels: None,
            welcomes: BTreeMap::new(),
            welcome_required: true,
            console: Console::default(),
            clock: Clock::default(),
        }
    }
}

/// Where lines for the user go: standard output, unless another place was given.
#[derive(Clone)]
pub struct Console(Arc<dyn Fn(&str) + Send + Sync>);

impl Console {
    /// A console that hands each line to `print`.
    pub fn new(print: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(print))
    }

    /// Prints a line. Control characters, which a peer may have sent, are replaced by U+FFFD.
    pub fn line(&self, line: &str) {
        if line.chars().any(char::is_control) {
            let clean: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            return (self.0)(&clean);
        }
        (self.0)(line);
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new(|line| println!("{line}"))
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Console")
    }
}

/// The time of day: milliseconds since 1970, as JavaScript's `Date.now()`.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that asks `now`, for simulations.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> u64 {
        (self.0)()
    }
}

/// The clock of the machine.
impl Default for Clock {
    fn default() -> Self {
        Self::new(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
