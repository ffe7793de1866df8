//! The flags of the sidechannels.

use std::collections::BTreeMap;

use encoding::json::Value;

use super::inputs::Inputs;
use super::values::{key, not_a_key, parse_welcome};
use crate::cli::args;
use crate::cli::error::Failure;

/// The largest difficulty that a hash of 256 bits can have.
const MAX_POW_DIFFICULTY: f64 = 256.0;

/// The largest integer below which every integer is a number of its own in JavaScript.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// The sidechannel flags. Times in milliseconds, sizes in bytes; `None` leaves the sidechannel's own default.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each field is the flag of its name, which the table of flags describes")]
pub struct SidechannelConfig {
    pub debug: bool,
    pub max_message_bytes: Option<usize>,
    pub allow_remote_open: bool,
    pub auto_join_on_open: bool,
    pub pow_enabled: bool,
    pub pow_difficulty: u32,
    pub pow_require_entry: bool,
    pub pow_channels: Option<Vec<String>>,
    pub invite_required: bool,
    pub invite_channels: Option<Vec<String>>,
    pub invite_prefixes: Option<Vec<String>>,
    pub inviter_keys: Vec<String>,
    pub invite_ttl_ms: u64,
    pub owner_keys: BTreeMap<String, String>,
    pub owner_write_only: bool,
    pub owner_write_channels: Option<Vec<String>>,
    pub welcomes: BTreeMap<String, Value>,
    pub welcome_required: bool,
    /// `Some(None)`: no limit.
    pub rate_bytes_per_second: Option<Option<u64>>,
    pub rate_burst_bytes: Option<u64>,
    pub max_strikes: Option<u32>,
}

impl SidechannelConfig {
    pub(super) fn read(inputs: &mut Inputs<'_>) -> Result<SidechannelConfig, Failure> {
        const SIZE: &str = "a number of bytes";
        let invite_ttl = inputs.number("sidechannel-invite-ttl", -MAX_SAFE_INTEGER, 1e12, "a number of seconds")?;
        let rate = inputs.number("sidechannel-rate-bytes", -MAX_SAFE_INTEGER, MAX_SAFE_INTEGER, SIZE)?;
        Ok(SidechannelConfig {
            debug: inputs.switch("sidechannel-debug", false),
            max_message_bytes: inputs
                .number("sidechannel-max-bytes", 1.0, f64::from(u32::MAX), SIZE)?
                .map(|bytes| bytes as usize),
            allow_remote_open: inputs.switch("sidechannel-allow-remote-open", true),
            auto_join_on_open: inputs.switch("sidechannel-auto-join", false),
            pow_enabled: inputs.switch("sidechannel-pow", true),
            pow_difficulty: inputs
                .number(
                    "sidechannel-pow-difficulty",
                    -MAX_SAFE_INTEGER,
                    MAX_POW_DIFFICULTY,
                    "a number of bits up to 256",
                )?
                .map_or(12, |bits| bits.max(0.0) as u32),
            pow_require_entry: inputs.switch("sidechannel-pow-entry", false),
            pow_channels: inputs.list("sidechannel-pow-channels"),
            invite_required: inputs.switch("sidechannel-invite-required", false),
            invite_channels: inputs.list("sidechannel-invite-channels"),
            invite_prefixes: inputs.list("sidechannel-invite-prefixes"),
            inviter_keys: read_inviter_keys(inputs)?,
            invite_ttl_ms: invite_ttl.unwrap_or(604_800.0).max(0.0) as u64 * 1000,
            owner_keys: read_owner_keys(inputs)?,
            owner_write_only: inputs.switch("sidechannel-owner-write-only", false),
            owner_write_channels: inputs.list("sidechannel-owner-write-channels"),
            welcomes: read_welcomes(inputs)?,
            welcome_required: inputs.switch("sidechannel-welcome-required", true),
            rate_bytes_per_second: rate.map(|bytes| (bytes > 0.0).then_some(bytes as u64)),
            rate_burst_bytes: inputs
                .number("sidechannel-rate-burst", 1.0, MAX_SAFE_INTEGER, SIZE)?
                .map(|bytes| bytes as u64),
            max_strikes: inputs
                .number("sidechannel-max-strikes", 1.0, f64::from(u32::MAX), "a number of strikes, at least 1")?
                .map(|strikes| strikes as u32),
        })
    }
}

fn read_inviter_keys(inputs: &mut Inputs<'_>) -> Result<Vec<String>, Failure> {
    let Some(given) = inputs.given("sidechannel-inviter-keys") else { return Ok(Vec::new()) };
    args::parse_list(&given.text)
        .into_iter()
        .map(|text| key(&text).ok_or_else(|| not_a_key(&given.source, &text)))
        .collect()
}

fn read_owner_keys(inputs: &mut Inputs<'_>) -> Result<BTreeMap<String, String>, Failure> {
    inputs
        .pairs("sidechannel-owner", "CHANNEL:PUBLIC_KEY")?
        .into_iter()
        .map(|(channel, text, source)| {
            let key = key(&text).ok_or_else(|| not_a_key(&source, &text))?;
            Ok((channel, key))
        })
        .collect()
}

fn read_welcomes(inputs: &mut Inputs<'_>) -> Result<BTreeMap<String, Value>, Failure> {
    inputs
        .pairs("sidechannel-welcome", "CHANNEL:WELCOME")?
        .into_iter()
        .map(|(channel, text, source)| {
            let welcome = parse_welcome(&text).map_err(|why| {
                Failure::usage(format!("{source}: the welcome of \"{channel}\" {why}; give it as base64 or as @FILE"))
            })?;
            Ok((channel, welcome))
        })
        .collect()
}
