//! `intercom`: the peer.

use std::process::ExitCode;

use crate::cli::config::{ENTRY_CHANNEL, PeerConfig};
use crate::cli::error::Failure;
use crate::cli::signals::Signals;
use crate::cli::store_lock::StoreLock;

/// Runs a peer until a signal comes.
pub(crate) async fn peer(config: PeerConfig) -> Result<ExitCode, Failure> {
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    if config.sidechannel.welcome_required && !config.sidechannel.owner_keys.contains_key(ENTRY_CHANNEL) {
        eprintln!(
            "[sidechannel] welcome required for non-entry channels; entry \"{ENTRY_CHANNEL}\" is open and does not require \
             owner/welcome."
        );
    }
    let mut signals = Signals::new().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let _lock = StoreLock::take(&config.peer_store)?;
    signals.next().await;
    Ok(ExitCode::SUCCESS)
}
