//! What happens to a message that comes in: the gates it passes, in the order in which JavaScript peers have them.

use std::{
    cell::LazyCell,
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use encoding::json::{
    JsonError, Value, parse, stable_stringify, stringified_len, stringify, to_js_string, trim, truthy,
};
use indexmap::IndexSet;
use parking_lot::Mutex;

use super::{
    SidechannelOptions,
    grants::Grants,
    keys,
    limiter::{Allowance, Limiter},
    payload::{is_auth, text_of},
    policy::Policy,
    refusal::Refusal,
    seen::{Seen, SeenKey},
    signature::{signature_base, signature_of, verify_payload},
};

/// How many channels there are at most. Each is opened on every connection.
pub const MAX_CHANNELS: usize = 1_024;

/// How many channels there may be for one more to be joined because a peer asked for it.
pub const MAX_CHANNELS_FOR_PEERS: usize = 128;

/// The longest name of a channel, in bytes of UTF-8, that is joined.
pub const MAX_CHANNEL_NAME: usize = 1_024;

/// How many channels the own peer may hold invites for.
const MAX_LOCAL_INVITES: usize = 4_096;

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For invites: milliseconds since 1970.
    pub wall: u64,
    /// For rates and expiry.
    pub instant: Instant,
}

/// A connected peer.
#[derive(Debug)]
pub struct Peer {
    /// The public key that its connection proved, in hex.
    pub key: String,
    limiter: Mutex<Limiter>,
}

impl Peer {
    /// How long it is still blocked for flooding.
    pub fn blocked_for(&self, now: Instant) -> Option<Duration> {
        self.limiter.lock().blocked_for(now)
    }
}

/// What became of a message.
#[derive(Debug)]
pub struct Received {
    /// The length of its JSON text as JavaScript writes it, once it was read.
    pub bytes: Option<usize>,
    /// What it leads to, or why it leads to nothing.
    pub verdict: Result<Accepted, Refusal>,
}

/// A message that passed all gates.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The message.
    pub payload: Value,
    /// What it leads to here. Unless it is [`Action::Authorized`], the message may also be relayed.
    pub action: Action,
}

/// What a message leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is handed to the application.
    Deliver,
    /// It only showed an invite.
    Authorized,
    /// It asks to open a channel.
    Open {
        /// The channel, trimmed.
        channel: String,
        /// Whether to join it.
        join: bool,
    },
    /// It leads to nothing here.
    Nothing,
}

/// What became of the wish to have a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// It is new.
    New,
    /// It was there.
    Known,
    /// It needs an invite that is not there.
    InviteRequired,
    /// There are too many channels, or its name is too long.
    Limit,
    /// It has no name.
    Nameless,
}

/// What is known of a channel.
pub(super) struct Standing {
    pub(super) registered: bool,
    /// When the own invite ends or has ended, in milliseconds since 1970.
    pub(super) invite_ends: Option<f64>,
    /// Whether its welcome is known and valid, or it is the own channel.
    pub(super) welcomed: bool,
    /// Its welcome, valid or not.
    pub(super) welcome: Option<Value>,
}

/// The gates and what they remember. Nothing in here waits, sends or looks at a clock.
#[derive(Debug)]
pub struct Pipeline {
    policy: Policy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    channels: IndexSet<String>,
    seen: Seen,
    grants: Grants,
    local_invites: HashMap<String, LocalInvite>,
    /// Bounded by the channels that have a configured owner.
    welcomed: HashSet<String>,
    /// Bounded likewise, and by the options.
    welcomes: HashMap<String, Value>,
}

#[derive(Debug)]
struct LocalInvite {
    invite: Value,
    expires_at: f64,
}

impl Pipeline {
    /// A pipeline for the peer with this key.
    pub fn new(options: &SidechannelOptions, public_key: &[u8; 32]) -> Self {
        let policy = Policy::new(options, public_key);
        let name = |channel: &str| keys::channel_name(channel).into_owned();
        let welcomes =
            options.welcomes.iter().filter(|(channel, welcome)| !name(channel).is_empty() && truthy(welcome));
        let welcomes: HashMap<_, _> = welcomes.map(|(channel, welcome)| (name(channel), welcome.clone())).collect();
        let valid = welcomes.iter().filter(|(channel, welcome)| policy.verify_welcome(welcome, channel));
        let welcomed = valid.map(|(channel, _)| channel.clone()).chain(policy.owned_channels().map(name)).collect();
        let state = State {
            channels: IndexSet::new(),
            seen: Seen::new(options.max_seen, options.seen_ttl),
            grants: Grants::default(),
            local_invites: HashMap::new(),
            welcomed,
            welcomes,
        };
        Self { policy, state: Mutex::new(state) }
    }

    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A peer that has just connected.
    pub fn peer(&self, public_key: &[u8; 32], now: Instant) -> Peer {
        Peer { key: keys::hex(public_key), limiter: Mutex::new(Limiter::new(&self.policy.limits, now)) }
    }

    /// The channels in the order of joining.
    pub fn channels(&self) -> Vec<String> {
        self.state.lock().channels.iter().cloned().collect()
    }

    /// Adds a channel, if that is allowed. `limit` is how many there may be with it.
    pub fn register(&self, channel: &str, limit: usize, now: Now) -> Registration {
        let channel = trim(channel);
        if channel.is_empty() {
            return Registration::Nameless;
        }
        let mut state = self.state.lock();
        if state.channels.contains(channel) {
            return Registration::Known;
        }
        if !self.may_join(&state, channel, now) {
            return Registration::InviteRequired;
        }
        if state.channels.len() >= limit || channel.len() > MAX_CHANNEL_NAME {
            return Registration::Limit;
        }
        state.channels.insert(channel.to_owned());
        Registration::New
    }

    /// Removes a channel and all that is known of it; `false` if there was none, or it is the entry channel.
    pub fn unregister(&self, channel: &str) -> bool {
        let channel = trim(channel);
        if self.policy.is_entry(channel) {
            return false;
        }
        let mut state = self.state.lock();
        if !state.channels.shift_remove(channel) {
            return false;
        }
        state.grants.forget(channel);
        state.local_invites.remove(channel);
        // What is known of an own channel did not come from others, and is needed when it is joined again.
        if !self.policy.owns(channel) {
            state.welcomes.remove(channel);
            state.welcomed.remove(channel);
        }
        true
    }

    /// Whether the own peer may take part in a channel.
    fn may_join(&self, state: &State, channel: &str, now: Now) -> bool {
        !self.policy.invite_required(channel)
            || self.policy.is_inviter(&self.policy.self_key)
            || state.local_invite(channel, now).is_some()
    }

    /// Takes an invite for the own peer, and the welcome within it; `false` if it is not valid.
    pub fn accept_invite(&self, invite: &Value, channel: &str, now: Now) -> bool {
        let channel = trim(channel);
        let Some(expires_at) = self.policy.verify_invite(invite, channel, &self.policy.self_key, now.wall) else {
            return false;
        };
        let mut state = self.state.lock();
        if state.local_invites.len() >= MAX_LOCAL_INVITES {
            state.local_invites.retain(|_, invite| invite.expires_at > now.wall as f64);
        }
        if state.local_invites.len() >= MAX_LOCAL_INVITES {
            return false;
        }
        state.local_invites.insert(channel.to_owned(), LocalInvite { invite: invite.clone(), expires_at });
        drop(state);
        if let Some(welcome) = invite.get("welcome").filter(|welcome| truthy(welcome)) {
            self.accept_welcome(welcome, channel);
        }
        true
    }

    /// Takes a channel's welcome; `false` if it is not its owner's word.
    pub fn accept_welcome(&self, welcome: &Value, channel: &str) -> bool {
        let valid = self.policy.verify_welcome(welcome, channel);
        if valid {
            let mut state = self.state.lock();
            state.welcomed.insert(trim(channel).to_owned());
            state.welcomes.insert(trim(channel).to_owned(), welcome.clone());
        }
        valid
    }

    /// The welcome of a channel, as far as it is known.
    pub fn welcome(&self, channel: &str) -> Option<Value> {
        self.state.lock().welcomes.get(trim(channel)).cloned()
    }

    /// What is known of a channel.
    pub(super) fn standing(&self, channel: &str) -> Standing {
        let state = self.state.lock();
        Standing {
            registered: state.channels.contains(channel),
            invite_ends: state.local_invites.get(channel).map(|invite| invite.expires_at),
            welcomed: state.welcomed.contains(channel),
            welcome: state.welcomes.get(channel).cloned(),
        }
    }

    /// The invite to show on a channel that needs one; `None` for an inviter.
    pub fn invite_to_show(&self, channel: &str, now: Now) -> Option<Value> {
        if !self.policy.invite_required(channel) || self.policy.is_inviter(&self.policy.self_key) {
            return None;
        }
        self.state.lock().local_invite(channel, now).cloned()
    }

    /// The welcome to send to a peer on a channel that belongs to the own key.
    pub fn welcome_to_send(&self, channel: &str, peer: &Peer, now: Now) -> Option<Value> {
        if !self.policy.owns(channel) || !self.is_authorized(channel, peer, now) {
            return None;
        }
        self.welcome(channel)
    }

    /// Whether a peer may get the messages of a channel.
    pub fn is_authorized(&self, channel: &str, peer: &Peer, now: Now) -> bool {
        !self.policy.invite_required(channel)
            || self.policy.is_inviter(&peer.key)
            || self.state.lock().grants.is_granted(channel, &peer.key, now.wall)
    }

    /// Whether the own peer may write `message` to a channel.
    pub fn may_write(&self, channel: &str, message: &Value) -> bool {
        !self.policy.owner_write_only(channel) || self.policy.owns(channel) || is_auth(message)
    }

    /// Remembers the id of an own message, so that it is not taken when it comes back.
    pub fn remember_own(&self, id: &str, now: Now) {
        self.state.lock().seen.insert(text_key(id.as_bytes()), now.instant);
    }

    /// Takes the body of a message that `peer` sent on `channel`.
    pub fn receive(&self, peer: &Peer, channel: &str, body: &[u8], now: Now) -> Received {
        let mut bytes = None;
        let verdict = self.judge(peer, channel, body, now, &mut bytes);
        Received { bytes, verdict }
    }

    fn judge(
        &self,
        peer: &Peer,
        channel: &str,
        body: &[u8],
        now: Now,
        bytes: &mut Option<usize>,
    ) -> Result<Accepted, Refusal> {
        if peer.limiter.lock().is_blocked(now.instant) {
            return Err(Refusal::Blocked);
        }
        let text = text_of(body).ok_or(Refusal::Malformed)?;
        if text.len() > self.policy.max_inbound_bytes() {
            return Err(self.refuse_unread(peer, Refusal::TooLarge { bytes: text.len() }, now));
        }
        if self.policy.limits.never_allows(text.len()) {
            *bytes = Some(text.len());
            self.take(peer, text.len(), now)?;
        }
        let payload = match parse(text) {
            Ok(payload) => payload,
            Err(JsonError::TooDeep) => return Err(self.refuse_unread(peer, Refusal::TooDeep, now)),
            Err(JsonError::Syntax { .. }) => return Err(Refusal::Malformed),
        };
        let length = stringified_len(&payload);
        *bytes = Some(length);

        if !self.check_invite(&payload, channel, peer, now) {
            return Err(Refusal::Invite);
        }
        let message = payload.get("message").unwrap_or(&Value::Null);
        let sorted = LazyCell::new(|| stable_stringify(message));
        if !self.policy.check_pow(&payload, channel, || sorted.as_str()) {
            return Err(Refusal::Pow);
        }
        self.take(peer, length, now)?;
        let control = message.get("control").and_then(Value::as_str);
        let exempt = matches!(control, Some("auth" | "welcome"));
        if self.policy.owner_write_only(channel) && !exempt {
            self.check_owner(&payload, channel, &sorted)?;
        }
        let id = MessageId::of(&payload, channel, &sorted);
        if !self.state.lock().seen.insert(id.key, now.instant) {
            return Err(Refusal::Duplicate { id: id.shown });
        }
        self.check_welcome(&payload, channel, control == Some("welcome"))?;
        let action = self.action(message, control, peer, now)?;
        Ok(Accepted { action, payload })
    }

    /// Whether a payload passes the gates that are about its author and its channel.
    pub fn would_deliver(&self, channel: &str, payload: &Value) -> bool {
        let sorted = stable_stringify(payload.get("message").unwrap_or(&Value::Null));
        let welcomed = !self.policy.welcome_required(channel) || self.state.lock().welcomed.contains(channel);
        let by_owner = !self.policy.owner_write_only(channel) || self.check_owner(payload, channel, &sorted).is_ok();
        welcomed && by_owner
    }

    /// Accounts for a message of this length.
    fn take(&self, peer: &Peer, length: usize, now: Now) -> Result<(), Refusal> {
        match peer.limiter.lock().take(&self.policy.limits, now.instant, length) {
            Allowance::Within => Ok(()),
            Allowance::Over => Err(Refusal::Rate { blocked: false }),
            Allowance::Blocked => Err(Refusal::Rate { blocked: true }),
        }
    }

    /// Counts a message that cost more than reading it should against the peer that sent it.
    fn refuse_unread(&self, peer: &Peer, refusal: Refusal, now: Now) -> Refusal {
        peer.limiter.lock().refuse(&self.policy.limits, now.instant);
        refusal
    }

    fn check_invite(&self, payload: &Value, channel: &str, peer: &Peer, now: Now) -> bool {
        if !self.policy.invite_required(channel) {
            return true;
        }
        if !self.may_join(&self.state.lock(), channel, now) {
            return false;
        }
        if self.is_authorized(channel, peer, now) {
            return true;
        }
        let invite = within(payload, &["invite"]).filter(|invite| truthy(invite));
        let invite = invite.or_else(|| within(payload, &["message", "invite"]));
        invite.is_some_and(|invite| self.admit(invite, channel, peer, now))
    }

    /// Lets a peer into a channel if its invite is valid.
    fn admit(&self, invite: &Value, channel: &str, peer: &Peer, now: Now) -> bool {
        let expires_at = self.policy.verify_invite(invite, channel, &peer.key, now.wall);
        if let Some(expires_at) = expires_at {
            self.state.lock().grants.grant(channel, &peer.key, expires_at, now.wall);
        }
        expires_at.is_some()
    }

    fn check_owner(&self, payload: &Value, channel: &str, sorted: &str) -> Result<(), Refusal> {
        let owner = self.policy.owner(channel);
        let author = keys::normalize_key(payload.get("from"));
        let base = signature_base(payload, sorted);
        let signed = owner.is_some_and(|owner| verify_payload(payload, &base, owner));
        let by_owner = author.as_ref().and_then(|author| author.as_str()) == owner;
        if owner.is_some() && by_owner && signed {
            return Ok(());
        }
        Err(Refusal::Owner {
            author: author.map(|author| author.to_string()),
            owner: owner.map(str::to_owned),
            signed,
            signature_len: signature_of(payload).map_or(0, |signature| signature.utf16_len()),
            base,
        })
    }

    fn check_welcome(&self, payload: &Value, channel: &str, is_welcome: bool) -> Result<(), Refusal> {
        let places: [&[&str]; 4] =
            [&["message", "welcome"], &["welcome"], &["invite", "welcome"], &["message", "invite", "welcome"]];
        let embedded = places.iter().filter_map(|place| within(payload, place)).find(|welcome| truthy(welcome));
        let valid = embedded.map(|welcome| self.accept_welcome(welcome, channel));
        match valid {
            Some(false) if is_welcome => Err(Refusal::InvalidWelcome),
            None if is_welcome => Err(Refusal::MissingWelcome),
            Some(true) => Ok(()),
            _ if self.policy.welcome_required(channel) && !self.state.lock().welcomed.contains(channel) => {
                Err(Refusal::AwaitingWelcome)
            }
            _ => Ok(()),
        }
    }

    fn action(&self, message: &Value, control: Option<&str>, peer: &Peer, now: Now) -> Result<Action, Refusal> {
        let target = match (control, message.get("channel")) {
            (Some("open_channel"), Some(Value::String(channel))) if self.policy.allow_remote_open => {
                channel.to_str_lossy()
            }
            (Some("auth"), _) => return Ok(Action::Authorized),
            _ => return Ok(Action::Deliver),
        };
        let target = trim(&target);
        if target.is_empty() {
            return Ok(Action::Nothing);
        }
        let invite = message.get("invite");
        let welcome = message.get("welcome").filter(|welcome| truthy(welcome));
        let welcome = welcome.or_else(|| invite?.get("welcome").filter(|welcome| truthy(welcome)));
        match welcome {
            Some(welcome) if !self.accept_welcome(welcome, target) => {
                return Err(Refusal::OpenWelcome { target: target.to_owned() });
            }
            None if self.policy.welcome_required(target) => {
                return Err(Refusal::OpenMissingWelcome { target: target.to_owned() });
            }
            _ => {}
        }
        if self.policy.invite_required(target) && !invite.is_some_and(|invite| self.admit(invite, target, peer, now)) {
            return Err(Refusal::OpenInvite { target: target.to_owned() });
        }
        Ok(Action::Open { channel: target.to_owned(), join: self.policy.auto_join_on_open })
    }
}

/// The value at the end of a path of properties.
fn within<'a>(payload: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(payload, |value, key| value.get(key))
}

impl State {
    fn local_invite(&self, channel: &str, now: Now) -> Option<&Value> {
        self.local_invites
            .get(channel)
            .filter(|invite| invite.expires_at > now.wall as f64)
            .map(|invite| &invite.invite)
    }
}

fn text_key(id: &[u8]) -> SeenKey {
    crypto::hash(&[b"text:", id])
}

/// By what a message is known.
struct MessageId {
    key: SeenKey,
    /// As it is printed.
    shown: String,
}

impl MessageId {
    /// In JavaScript an id may be any value. One that counts as false, or is an object, makes a message that is never taken for a
    /// duplicate, and goes round until its `ttl` ends; here such a message is known by what its author would sign.
    fn of(payload: &Value, channel: &str, sorted: &str) -> Self {
        let shown = |value: &Value| to_js_string(value).map(|text| text.to_string());
        let part = |key: &str, default: &str| match payload.get(key) {
            None | Some(Value::Null) => Some(default.to_owned()),
            Some(value) => shown(value),
        };
        let known = match payload.get("id") {
            Some(Value::String(id)) if !id.is_empty() => Some((text_key(id.as_wtf8()), id.to_string())),
            Some(id @ (Value::Number(_) | Value::Bool(_))) if truthy(id) => {
                let text = stringify(id);
                Some((crypto::hash(&[b"json:", text.as_bytes()]), text))
            }
            None | Some(Value::Null) => match (part("from", "unknown"), part("ts", "0"), part("channel", channel)) {
                (Some(from), Some(ts), Some(channel)) => {
                    let id = format!("{from}:{ts}:{channel}");
                    Some((text_key(id.as_bytes()), id))
                }
                _ => None,
            },
            Some(_) => None,
        };
        let (key, shown) = known.unwrap_or_else(|| {
            let content = signature_base(payload, sorted);
            let id = payload.get("id").and_then(shown).unwrap_or_default();
            (crypto::hash(&[b"content:", content.as_bytes()]), id)
        });
        Self { key, shown }
    }
}
