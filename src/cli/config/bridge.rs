//! The flags of the SC-Bridge.

use std::fs;

use encoding::json;

use super::inputs::Inputs;
use crate::cli::error::Failure;

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

impl BridgeConfig {
    pub(super) fn read(inputs: &mut Inputs<'_>) -> Result<Option<BridgeConfig>, Failure> {
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
