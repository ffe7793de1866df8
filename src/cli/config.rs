//! What a peer was asked to be, from its flags and environment.
//!
//! Everywhere a flag that is not empty goes before its environment variables, and these before the default. Where the original
//! silently takes another value for one that cannot be meant (text for a number, a key that is no key, a welcome
//! that cannot be read), this reader refuses with one line; every value that has a meaning there has the same here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use data_encoding::HEXLOWER;
use encoding::json::{self, Value};

use super::args::{self, Arguments, FlagValue};
use super::error::Failure;
use super::flags::{self, Flag, Kind};
use crate::bridge::parse_base64_json;
use crate::metrics::MetricsOptions;

mod metrics;
mod ui;

pub use crate::sidechannel::ENTRY_CHANNEL;
pub use crate::terminal::MSB_BOOTSTRAP;
pub use ui::UiConfig;

/// The channel of the settlement network.
pub const MSB_CHANNEL: &str = "0000trac0network0msb0mainnet0000";

/// The DHT nodes that peers start from where nothing else is asked for (trac-peer `src/config/env.js`).
pub const DHT_BOOTSTRAP: [&str; 5] = [
    "116.202.214.149:10001",
    "157.180.12.214:10001",
    "node1.hyperdht.org:49737",
    "node2.hyperdht.org:49737",
    "node3.hyperdht.org:49737",
];

/// The largest difficulty that a hash of 256 bits can have.
const MAX_POW_DIFFICULTY: f64 = 256.0;

/// The largest integer below which every integer is a number of its own in JavaScript.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// A peer as its flags and environment describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerConfig {
    /// Folder of the peer's store.
    pub peer_store: PathBuf,
    /// Folder of the settlement store.
    pub msb_store: PathBuf,
    /// Name of the subnet.
    pub subnet_channel: String,
    /// Bootstrap key of the subnet, 64 lowercase hex digits, where one is configured or stored.
    pub subnet_bootstrap: Option<String>,
    /// DHT nodes of the peer's network.
    pub dht_bootstrap: Vec<String>,
    /// Public keys of blind relays to meet peers at that cannot be reached otherwise.
    pub relay_through: Vec<[u8; 32]>,
    /// DHT nodes of the settlement network.
    pub msb_dht_bootstrap: Vec<String>,
    /// Write the time into the subnet.
    pub timer: bool,
    /// Channels to join beside the entry channel.
    pub sidechannels: Vec<String>,
    /// How sidechannels behave.
    pub sidechannel: SidechannelConfig,
    /// Rooms in which only expenses count whose author's signature holds.
    pub verified_channels: Vec<String>,
    /// Do not print received messages.
    pub quiet: bool,
    /// The bridge, where it is on.
    pub bridge: Option<BridgeConfig>,
    /// The web page, where it is on.
    pub ui: Option<UiConfig>,
    /// The metrics, where they are on.
    pub metrics: Option<MetricsOptions>,
}

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

/// The bridge flags.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the flag of its name, which the table of flags describes")]
pub struct BridgeConfig {
    pub host: String,
    pub port: u16,
    pub token: String,
    pub filter: String,
    pub filter_channels: Option<Vec<String>>,
    pub allow_origins: Vec<String>,
    pub cli: bool,
    pub debug: bool,
}

/// Flags and environment, asked by flag.
struct Inputs<'a> {
    arguments: &'a Arguments,
    env: &'a dyn Fn(&str) -> Option<String>,
    warnings: &'a mut Vec<String>,
}

/// A value that is not empty, and the name by which the user gave it.
struct Given {
    text: String,
    source: String,
}

impl Inputs<'_> {
    fn flag(&mut self, name: &str) -> Option<Given> {
        let value = self.arguments.flags.get(name).filter(|value| !value.as_str().is_empty())?;
        let needs_value = flags::find(name).is_some_and(|flag| flag.kind != Kind::Switch);
        if needs_value && *value == FlagValue::Bare {
            self.warnings.push(format!("--{name} has no value and is read as \"true\""));
        }
        Some(Given { text: value.as_str().to_owned(), source: format!("--{name}") })
    }

    fn variable(&self, name: &str) -> Option<Given> {
        let text = (self.env)(name).filter(|text| !text.is_empty())?;
        Some(Given { text, source: name.to_owned() })
    }

    /// The value of a flag: its own, its alias's, its variables'.
    fn given(&mut self, name: &'static str) -> Option<Given> {
        let flag: &Flag = flags::find(name).expect("every flag that is asked for is in the table");
        self.flag(flag.name)
            .or_else(|| flag.alias.and_then(|alias| self.flag(alias)))
            .or_else(|| flag.env.iter().find_map(|name| self.variable(name)))
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        self.given(name).map(|given| given.text)
    }

    fn switch(&mut self, name: &'static str, default: bool) -> bool {
        let Some(given) = self.given(name) else { return default };
        let on = args::parse_bool(&given.text).unwrap_or(default);
        if !on && !matches!(json::trim(&given.text).to_lowercase().as_str(), "0" | "false" | "no" | "off") {
            self.warnings
                .push(format!("{}: \"{}\" is read as off; on is 1, true, yes or on", given.source, given.text));
        }
        on
    }

    fn number(&mut self, name: &'static str, from: f64, to: f64, what: &str) -> Result<Option<f64>, Failure> {
        let Some(given) = self.given(name) else { return Ok(None) };
        match json::parse_int(&given.text, 10) {
            number if (from..=to).contains(&number) => Ok(Some(number)),
            _ => Err(Failure::usage(format!("{}: \"{}\" is not {what}", given.source, given.text))),
        }
    }

    fn list(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.given(name).map(|given| args::parse_list(&given.text))
    }

    fn pairs(&mut self, name: &'static str, form: &str) -> Result<Vec<(String, String, String)>, Failure> {
        let Some(given) = self.given(name) else { return Ok(Vec::new()) };
        args::parse_pairs(&given.text)
            .into_iter()
            .map(|pair| match pair {
                Ok((key, value)) => Ok((key, value, given.source.clone())),
                Err(entry) => Err(Failure::usage(format!("{}: \"{entry}\" is not of the form {form}", given.source))),
            })
            .collect()
    }

    fn nodes(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Failure> {
        let Some(given) = self.given(name) else { return Ok(None) };
        let nodes = args::parse_list(&given.text);
        match nodes.iter().find(|node| !is_node(node)) {
            Some(node) => Err(Failure::usage(format!(
                "{}: \"{node}\" is not of the form HOST:PORT, for example 127.0.0.1:49737",
                given.source
            ))),
            None => Ok(Some(nodes)),
        }
    }
}

impl PeerConfig {
    /// Reads a peer's configuration. `warnings` gets what the user should know although it stops nothing, one line each, also
    /// where reading fails: a flag that does not exist may be why.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for the first value that cannot be meant.
    pub fn read(
        arguments: &Arguments,
        env: &dyn Fn(&str) -> Option<String>,
        warnings: &mut Vec<String>,
    ) -> Result<PeerConfig, Failure> {
        warnings.extend(unknown(arguments));
        let mut inputs = Inputs { arguments, env, warnings };

        let label = arguments.store_label.clone().filter(|label| !label.is_empty());
        let names = StoreNames {
            peer_name: inputs.text("peer-store-name").or(label),
            peer_folder: inputs.text("peer-stores-directory"),
            msb_name: inputs.text("msb-store-name"),
            msb_folder: inputs.text("msb-stores-directory"),
        };
        let (peer_store, msb_store) = names.paths()?;

        let subnet_channel = inputs.text("subnet-channel").unwrap_or_else(|| "trac-peer-subnet".into());
        let sidechannels = inputs.list("sidechannels").unwrap_or_default();
        let sidechannels = sidechannels.into_iter().filter(|name| name != ENTRY_CHANNEL).collect();
        let sidechannel = SidechannelConfig::read(&mut inputs)?;
        let quiet = inputs.switch("sidechannel-quiet", false);
        let subnet_bootstrap = inputs.text("subnet-bootstrap");
        let bridge = BridgeConfig::read(&mut inputs)?;
        let ui = UiConfig::read(&mut inputs, bridge.is_some())?;
        let metrics = metrics::read(&mut inputs)?;
        let public = || DHT_BOOTSTRAP.map(str::to_owned).to_vec();
        let dht_bootstrap = inputs.nodes("peer-dht-bootstrap")?.unwrap_or_else(public);
        let msb_dht_bootstrap = inputs.nodes("msb-dht-bootstrap")?.unwrap_or_else(public);
        let relay_through = relays(&inputs.list("relay-through").unwrap_or_default())?;
        let timer = inputs.switch("timer", false);
        let subnet_bootstrap = match subnet_bootstrap {
            Some(text) => Some(
                key(&text)
                    .ok_or_else(|| Failure::usage("Invalid --subnet-bootstrap. Provide 32-byte hex (64 chars)."))?,
            ),
            None => fs::read_to_string(peer_store.join("subnet-bootstrap.hex")).ok().and_then(|text| key(&text)),
        };
        if subnet_bootstrap.as_deref() == Some(MSB_BOOTSTRAP) {
            return Err(Failure::usage("Subnet bootstrap cannot equal MSB bootstrap."));
        }

        Ok(PeerConfig {
            peer_store,
            msb_store,
            subnet_channel,
            subnet_bootstrap,
            dht_bootstrap,
            relay_through,
            msb_dht_bootstrap,
            timer,
            sidechannels,
            sidechannel,
            verified_channels: inputs.list("intersplit-verified-channels").unwrap_or_default(),
            quiet,
            bridge,
            ui,
            metrics,
        })
    }
}

/// Names and folders of a peer's stores, as far as they are given.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "each field is the flag of its name, which the table of flags describes")]
pub struct StoreNames {
    pub peer_name: Option<String>,
    pub peer_folder: Option<String>,
    pub msb_name: Option<String>,
    pub msb_folder: Option<String>,
}

impl StoreNames {
    /// The folders of the peer's store and of the settlement store.
    fn paths(self) -> Result<(PathBuf, PathBuf), Failure> {
        let peer_name = self.peer_name.unwrap_or_else(|| "peer".into());
        let msb_name = self.msb_name.unwrap_or_else(|| format!("{peer_name}-msb"));
        let folder = |folder: Option<String>| folder.unwrap_or_else(|| "stores/".into());
        let peer = store_path(&folder(self.peer_folder), &peer_name, "--peer-store-name")?;
        Ok((peer, store_path(&folder(self.msb_folder), &msb_name, "--msb-store-name")?))
    }
}

/// The folders of a peer's store and of its settlement store: by what is given, else by the environment, else by default.
///
/// # Errors
///
/// [`Failure::Usage`] for a name that is none.
pub fn stores(given: StoreNames, env: &dyn Fn(&str) -> Option<String>) -> Result<(PathBuf, PathBuf), Failure> {
    let or_env = |given: Option<String>, name: &'static str| {
        let variables = flags::find(name).into_iter().flat_map(|flag| flag.env);
        given
            .filter(|text| !text.is_empty())
            .or_else(|| variables.filter_map(|name| env(name)).find(|text| !text.is_empty()))
    };
    let names = StoreNames {
        peer_name: or_env(given.peer_name, "peer-store-name"),
        peer_folder: or_env(given.peer_folder, "peer-stores-directory"),
        msb_name: or_env(given.msb_name, "msb-store-name"),
        msb_folder: or_env(given.msb_folder, "msb-stores-directory"),
    };
    names.paths()
}

impl SidechannelConfig {
    fn read(inputs: &mut Inputs<'_>) -> Result<SidechannelConfig, Failure> {
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

impl BridgeConfig {
    fn read(inputs: &mut Inputs<'_>) -> Result<Option<BridgeConfig>, Failure> {
        let enabled = inputs.switch("sc-bridge", false);
        let host = inputs.text("sc-bridge-host").unwrap_or_else(|| "127.0.0.1".into());
        let port = inputs.number("sc-bridge-port", 0.0, f64::from(u16::MAX), "a port, 0 to 65535")?;
        let filter = inputs.text("sc-bridge-filter").unwrap_or_default();
        let filter_channels = inputs.list("sc-bridge-filter-channel");
        let allow_origins = inputs.list("sc-bridge-allow-origin").unwrap_or_default();
        let token = read_token(inputs)?;
        let cli = inputs.switch("sc-bridge-cli", false);
        let debug = inputs.switch("sc-bridge-debug", false);
        if !enabled {
            return Ok(None);
        }
        let Some(token) = token else {
            return Err(Failure::usage("SC-Bridge requires --sc-bridge-token (auth is mandatory)."));
        };
        Ok(Some(BridgeConfig {
            host,
            port: port.map_or(49222, |port| port as u16),
            token,
            filter,
            filter_channels,
            allow_origins,
            cli,
            debug,
        }))
    }
}

/// The token from its flag, the file that the flag names, or the same from the environment.
fn read_token(inputs: &mut Inputs<'_>) -> Result<Option<String>, Failure> {
    let given = inputs
        .flag("sc-bridge-token")
        .or_else(|| inputs.flag("sc-bridge-token-file"))
        .or_else(|| inputs.variable("SC_BRIDGE_TOKEN"))
        .or_else(|| inputs.variable("SC_BRIDGE_TOKEN_FILE"));
    let Some(given) = given else { return Ok(None) };
    if !matches!(given.source.as_str(), "--sc-bridge-token-file" | "SC_BRIDGE_TOKEN_FILE") {
        return Ok(Some(given.text));
    }
    let text = fs::read_to_string(&given.text).map_err(|error| {
        Failure::usage(format!("{}: cannot read the token file {}: {error}", given.source, given.text))
    })?;
    match json::trim(&text) {
        "" => Err(Failure::usage(format!("{}: the token file {} is empty", given.source, given.text))),
        token => Ok(Some(token.to_owned())),
    }
}

/// One warning for every flag that does not exist and every argument that nothing reads.
fn unknown(arguments: &Arguments) -> Vec<String> {
    let flags =
        arguments.flags.keys().filter(|name| flags::find(name).is_none()).map(|name| match flags::nearest(name) {
            Some(nearest) => format!("unknown flag --{name} is ignored; did you mean --{nearest}?"),
            None => format!("unknown flag --{name} is ignored; intercom --help lists the flags"),
        });
    let ignored =
        arguments.ignored.iter().map(|text| format!("\"{text}\" is neither a flag nor a flag's value and is ignored"));
    flags.chain(ignored).collect()
}

fn not_a_key(source: &str, text: &str) -> Failure {
    Failure::usage(format!("{source}: \"{text}\" is not a public key (64 hex digits)"))
}

/// 32 bytes in hex, in lower case.
fn key(text: &str) -> Option<String> {
    let text = json::trim(text).to_lowercase();
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

/// The keys of `--relay-through`.
fn relays(list: &[String]) -> Result<Vec<[u8; 32]>, Failure> {
    let key = |text: &String| HEXLOWER.decode(key(text)?.as_bytes()).ok()?.try_into().ok();
    let wrong = || Failure::usage("Invalid --relay-through. Provide 32-byte hex keys (64 chars).");
    list.iter().map(|text| key(text).ok_or_else(wrong)).collect()
}

/// `HOST:PORT`, or `IP@HOST:PORT` where the address of the host is known.
fn is_node(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// The folder of a store: name below folder, without the name's outer slashes and what `.` and `..` stand for.
fn store_path(folder: &str, name: &str, flag: &str) -> Result<PathBuf, Failure> {
    let name = name.trim_matches('/');
    if name.is_empty() {
        return Err(Failure::usage(format!("{flag}: a store needs a name")));
    }
    let mut path = PathBuf::new();
    for component in Path::new(folder).components().chain(Path::new(name).components()) {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(path.components().next_back(), Some(Component::Normal(_))) => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    Ok(path)
}

/// A welcome: base64 of its JSON (with or without `b64:` before it), its JSON, or `@` and a file with one of them.
fn parse_welcome(text: &str) -> Result<Value, String> {
    let from_file;
    let text = match text.strip_prefix('@') {
        Some(path) => {
            from_file = fs::read(path).map_err(|error| format!("cannot be read from {path}: {error}"))?;
            from_file
        }
        None => text.as_bytes().to_vec(),
    };
    let text = String::from_utf8_lossy(&text);
    let text = json::trim(&text);
    let text = text.strip_prefix("b64:").unwrap_or(text);
    let parsed = if text.starts_with('{') { json::parse(text).ok() } else { parse_base64_json(&text.into()) };
    parsed.filter(|value| matches!(value, Value::Object(_))).ok_or_else(|| "is not a welcome".into())
}

#[cfg(test)]
mod tests;
