//! What a peer was asked to be, from its flags and environment.
//!
//! Everywhere a flag that is not empty goes before its environment variables, and these before the default. Where the original
//! silently takes another value for one that cannot be meant (text for a number, a key that is no key, a welcome
//! that cannot be read), this reader refuses with one line; every value that has a meaning there has the same here.
//!
//! [`PeerConfig`] is the result. `inputs` asks flags and environment for a value and reads it by its kind, `values` reads what has a
//! form of its own; `sidechannel`, `bridge`, `ui`, `metrics` and `stores` are the flags of each part. `flags`, beside this, is
//! the table of all of them.

mod bridge;
mod inputs;
mod metrics;
mod sidechannel;
mod stores;
mod ui;
mod values;

use std::fs;
use std::path::PathBuf;

use data_encoding::HEXLOWER;

use super::args::Arguments;
use super::error::Failure;
use super::flags;
use crate::metrics::MetricsOptions;
use inputs::Inputs;
use values::{key, relays};

pub use crate::sidechannel::ENTRY_CHANNEL;
pub use crate::terminal::MSB_BOOTSTRAP;
pub use bridge::BridgeConfig;
pub use sidechannel::SidechannelConfig;
pub use stores::{StoreNames, stores};
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

impl PeerConfig {
    /// The bootstrap key of the subnet, where one is configured or stored.
    pub fn subnet_key(&self) -> Option<[u8; 32]> {
        HEXLOWER.decode(self.subnet_bootstrap.as_ref()?.as_bytes()).ok()?.try_into().ok()
    }

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

#[cfg(test)]
mod tests;
