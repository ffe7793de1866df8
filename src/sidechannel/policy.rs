//! Which rules hold for which channel: what the options and the own key say, and nothing that changes.

use std::collections::{HashMap, HashSet};

use encoding::json::{Value, trim};

use super::{
    SidechannelOptions,
    invite::Invite,
    keys,
    limiter::Limits,
    options::DEFAULT_MAX_MESSAGE_BYTES,
    pow::{PowBase, leading_zero_bits},
    welcome::Welcome,
};

/// How much larger than others may send it a message may be when it comes in: what relays add to it.
const RELAY_ALLOWANCE: usize = 4096;

/// The rules of a sidechannel.
#[derive(Debug)]
pub struct Policy {
    /// The own public key in hex.
    pub self_key: String,
    /// The channel on which all peers meet; empty: none.
    pub entry_channel: String,
    /// The size of the largest message that is sent, in bytes of JSON.
    pub max_message_bytes: usize,
    /// The limits of each connection.
    pub limits: Limits,
    /// Whether peers may ask to open channels.
    pub allow_remote_open: bool,
    /// Whether such a channel is joined.
    pub auto_join_on_open: bool,
    /// Whether messages are passed on.
    pub relay: bool,
    /// How many times own messages are passed on.
    pub relay_ttl: u32,
    pow_difficulty: u32,
    pow_require_entry: bool,
    pow_channels: Option<HashSet<String>>,
    invite_required: bool,
    invite_channels: Option<HashSet<String>>,
    invite_prefixes: Option<Vec<String>>,
    inviter_keys: Option<HashSet<String>>,
    owner_keys: HashMap<String, String>,
    owner_write_only: bool,
    owner_write_channels: Option<HashSet<String>>,
    welcome_required: bool,
}

impl Policy {
    /// The rules that these options make for the peer with this key.
    pub fn new(options: &SidechannelOptions, public_key: &[u8; 32]) -> Self {
        let self_key = keys::hex(public_key);
        let set = |names: &Option<Vec<String>>| names.as_ref().map(|names| names.iter().cloned().collect());
        let key = |key: &String| trim(key).to_lowercase();
        let mut inviters: HashSet<String> =
            options.inviter_keys.iter().map(key).filter(|key| !key.is_empty()).collect();
        if options.invite_required && inviters.is_empty() {
            inviters.insert(self_key.clone());
        }
        let owners = options.owner_keys.iter().map(|(channel, owner)| (trim(channel).to_owned(), key(owner)));
        Self {
            self_key,
            entry_channel: trim(&options.entry_channel).to_owned(),
            max_message_bytes: options.max_message_bytes,
            limits: options.into(),
            allow_remote_open: options.allow_remote_open,
            auto_join_on_open: options.auto_join_on_open,
            relay: options.relay,
            relay_ttl: options.relay_ttl,
            pow_difficulty: if options.pow_enabled { options.pow_difficulty } else { 0 },
            pow_require_entry: options.pow_require_entry,
            pow_channels: set(&options.pow_channels),
            invite_required: options.invite_required,
            invite_channels: set(&options.invite_channels),
            invite_prefixes: options.invite_prefixes.clone(),
            inviter_keys: Some(inviters).filter(|keys| !keys.is_empty()),
            owner_keys: owners.filter(|(channel, owner)| !channel.is_empty() && !owner.is_empty()).collect(),
            owner_write_only: options.owner_write_only,
            owner_write_channels: options
                .owner_write_channels
                .as_ref()
                .map(|names| names.iter().map(|name| trim(name).to_owned()).collect()),
            welcome_required: options.welcome_required,
        }
    }

    /// The size of the largest message body that is read, in bytes as they came. `max_message_bytes` is of what is sent; it
    /// makes this larger, but not smaller: others send what their own limit allows, which is the default where nothing is said.
    pub fn max_inbound_bytes(&self) -> usize {
        self.max_message_bytes.max(DEFAULT_MAX_MESSAGE_BYTES).saturating_add(RELAY_ALLOWANCE)
    }

    /// Whether this is the channel on which all peers meet.
    pub fn is_entry(&self, channel: &str) -> bool {
        !self.entry_channel.is_empty() && trim(channel) == self.entry_channel
    }

    /// The zero bits that messages must show where they need a proof of work; 0: none do.
    pub fn difficulty(&self) -> u32 {
        self.pow_difficulty
    }

    /// The zero bits that a message on this channel must show; `None` where it needs no proof of work.
    pub fn pow_difficulty(&self, channel: &str) -> Option<u32> {
        let required = match &self.pow_channels {
            Some(channels) => channels.contains(channel),
            None => !self.pow_require_entry || channel == self.entry_channel,
        };
        (required && self.pow_difficulty > 0).then_some(self.pow_difficulty)
    }

    /// Whether the proof of work of a payload holds; `message` is the sorted text of its message.
    pub fn check_pow<'a>(&self, payload: &Value, channel: &str, message: impl FnOnce() -> &'a str) -> bool {
        let Some(difficulty) = self.pow_difficulty(channel) else { return true };
        let Some(nonce) = payload.get("pow").and_then(|pow| pow.get("nonce")).and_then(Value::as_f64) else {
            return false;
        };
        leading_zero_bits(&PowBase::new(payload, message()).hash(nonce)) >= difficulty
    }

    /// Whether who takes part in this channel needs an invite.
    pub fn invite_required(&self, channel: &str) -> bool {
        if self.is_entry(channel) || !self.invite_required {
            return false;
        }
        let listed = self.invite_channels.as_ref().is_some_and(|channels| channels.contains(channel));
        let prefixed = |prefixes: &Vec<String>| {
            prefixes.iter().any(|prefix| !prefix.is_empty() && channel.starts_with(prefix.as_str()))
        };
        let named = self.invite_channels.is_some() || self.invite_prefixes.is_some();
        !named || listed || self.invite_prefixes.as_ref().is_some_and(prefixed)
    }

    /// Whether this key is among the configured inviters.
    pub fn is_inviter(&self, key: &str) -> bool {
        self.inviter_keys.as_ref().is_some_and(|keys| keys.contains(key))
    }

    /// Whether `invite` lets `invitee` into `channel`; if so, until when.
    pub fn verify_invite(&self, invite: &Value, channel: &str, invitee: &str, now: u64) -> Option<f64> {
        self.check_invite(invite, channel, invitee, now).ok()
    }

    /// Until when `invite` lets `invitee` into `channel`, or what is wrong with it.
    pub fn check_invite(&self, invite: &Value, channel: &str, invitee: &str, now: u64) -> Result<f64, &'static str> {
        let may_invite = |inviter: &str| self.inviter_keys.as_ref().is_none_or(|keys| keys.contains(inviter));
        Invite::check(invite, channel, invitee, now, may_invite)
    }

    /// The keys of the inviters; `None` where everybody may invite.
    pub fn inviters(&self) -> Option<Vec<&str>> {
        let mut keys: Vec<&str> = self.inviter_keys.as_ref()?.iter().map(String::as_str).collect();
        keys.sort_unstable();
        Some(keys)
    }

    /// Whether only the owner may write to this channel.
    pub fn owner_write_only(&self, channel: &str) -> bool {
        if self.is_entry(channel) {
            return false;
        }
        self.owner_write_only
            || self.owner_write_channels.as_ref().is_some_and(|channels| channels.contains(trim(channel)))
    }

    /// The key of a channel's owner.
    pub fn owner(&self, channel: &str) -> Option<&str> {
        self.owner_keys.get(trim(channel)).map(String::as_str)
    }

    /// Whether the own key is that of a channel's owner.
    pub fn owns(&self, channel: &str) -> bool {
        self.owner(channel) == Some(&self.self_key)
    }

    /// The channels that belong to the own key.
    pub fn owned_channels(&self) -> impl Iterator<Item = &str> {
        self.owner_keys.iter().filter(|(_, owner)| **owner == self.self_key).map(|(channel, _)| channel.as_str())
    }

    /// Whether messages of this channel are dropped until its welcome is known.
    pub fn welcome_required(&self, channel: &str) -> bool {
        self.welcome_required && !self.is_entry(channel)
    }

    /// Whether `welcome` is its owner's word on `channel`.
    pub fn verify_welcome(&self, welcome: &Value, channel: &str) -> bool {
        self.check_welcome(welcome, channel).is_ok()
    }

    /// Whether `welcome` is its owner's word on `channel`, or what is wrong with it.
    pub fn check_welcome(&self, welcome: &Value, channel: &str) -> Result<(), &'static str> {
        let owner = self.owner(channel).ok_or("no owner is configured for the channel, so that none can be checked")?;
        Welcome::check(welcome, channel, owner)
    }
}
