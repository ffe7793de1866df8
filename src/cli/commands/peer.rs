//! `intercom`: the peer.

use std::process::ExitCode;

use hyperdht::BootstrapNode;
use hyperswarm::SwarmError;

use super::key::{Key, make_settlement_key};
use crate::bridge::{BridgeOptions, DEFAULT_MAX_FRAME_BYTES};
use crate::cli::banner::{self, Facts};
use crate::cli::config::{BridgeConfig, PeerConfig, SidechannelConfig, UiConfig};
use crate::cli::error::Failure;
use crate::cli::output;
use crate::cli::signals::{Continued, Signals, within_limits};
use crate::cli::store_lock::StoreLock;
use crate::identity::Identity;
use crate::intersplit::VerifiedRooms;
use crate::metrics::{self, Metrics, MetricsOptions};
use crate::peer::{NetworkOptions, Peer, PeerOptions, StartError, SwarmNetwork};
use crate::sidechannel::{ENTRY_CHANNEL, SidechannelOptions};
use crate::terminal::{Input, InputOptions};
use crate::ui::{Ui, UiOptions};

/// The file in a store that keeps what was typed.
const HISTORY: &str = "terminal.history";

/// Runs a peer until a signal comes.
pub(crate) async fn peer(config: PeerConfig) -> Result<ExitCode, Failure> {
    if config.sidechannel.welcome_required && !config.sidechannel.owner_keys.contains_key(ENTRY_CHANNEL) {
        output::error_line(&format!(
            "[sidechannel] welcome required for non-entry channels; entry \"{ENTRY_CHANNEL}\" is open and does not require \
             owner/welcome."
        ));
    }
    let _lock = StoreLock::take(&config.peer_store)?;
    let no_signals = |error| Failure::failed(format!("cannot listen for signals: {error}"));
    let mut signals = Signals::new().map_err(no_signals)?;
    let mut continued = Continued::new().map_err(no_signals)?;
    let key = Key::of(&config.peer_store)?;
    let identity = &key.identity;

    let bootstrap = bootstrap_nodes(&config.dht_bootstrap)?;
    let options = NetworkOptions::new(identity.key_pair().clone(), bootstrap);
    let network = SwarmNetwork::new(NetworkOptions { relay_through: config.relay_through.clone(), ..options }).await;
    let network = network.map_err(|error| network_failure(&error))?;
    let options = PeerOptions {
        subnet: config.subnet_key(),
        sidechannel: sidechannel_options(&config),
        bridge: config.bridge.as_ref().map(|bridge| bridge_options(bridge, &config, identity)),
        commands: config.bridge.as_ref().is_some_and(|bridge| bridge.cli),
        quiet: config.quiet,
        expenses: Some(config.peer_store.join(crate::intersplit::SNAPSHOT_FILE)),
        verified_rooms: VerifiedRooms::of(config.verified_channels.clone()),
        identity: identity.clone(),
    };
    let peer = Peer::start(options, key.guard(network.clone())).await;
    let peer = peer.map_err(|error| match error {
        StartError::Bridge(error) => bridge_failure(&config, &error),
        StartError::Expenses(error) => Failure::failed(error.to_string()),
    })?;
    let (public_key, address) = (identity.public_key_hex(), identity.address());
    let bridge_port = peer.bridge_addr().map(|addr| addr.port());
    let facts = Facts { public_key: &public_key, address: &address, bridge_port };
    banner::lines(&config, facts).iter().for_each(|line| output::line(line));
    let ui = match &config.ui {
        Some(ui) => Some(serve_ui(ui, &config, bridge_port).await?),
        None => None,
    };
    let _metrics = match &config.metrics {
        Some(options) => Some(serve_metrics(options, &peer, &network).await?),
        None => None,
    };

    // Until the end: then the screen is left as it was.
    let _input = output::writer().map(|writer| Input::start(peer.terminal(), writer, input_options(&config)));
    let running = async {
        key.saved().await?;
        let settlement = make_settlement_key(&config.msb_store);
        let ready = async {
            peer.ready().await;
            output::line("Sidechannel: ready");
        };
        tokio::join!(settlement, ready);
        std::future::pending().await
    };
    tokio::select! {
        failure = running => return failure,
        () = signals.next() => {}
        () = peer.exit_asked() => {}
        never = continued.each(|| network.network_changed()) => match never {},
    }
    let close = async {
        drop(ui);
        within_limits(async {
            peer.close().await;
            network.destroy().await;
        })
        .await;
        // What clients were told of the peer is to stay true, also if it ends at once. A failure has nobody to tell any more.
        let _ = key.saved().await;
    };
    Ok(signals.closing(close).await)
}

/// Serves the web page, and says where.
async fn serve_ui(ui: &UiConfig, config: &PeerConfig, bridge_port: Option<u16>) -> Result<Ui, Failure> {
    let bridge = config.bridge.as_ref().zip(bridge_port).map(|(bridge, port)| (bridge.host.clone(), port));
    let options = UiOptions { host: ui.host.clone(), port: ui.port, bridge };
    let served =
        Ui::listen(options).await.map_err(|error| cannot_listen("The web page", &ui.host, ui.port, "ui", &error))?;
    let addr = served.local_addr();
    output::line(&if addr.ip().is_unspecified() {
        format!("Web page: http://localhost:{}, and port {0} of every address of this machine", addr.port())
    } else {
        format!("Web page: http://{addr}")
    });
    Ok(served)
}

/// Serves the metrics, and says where.
async fn serve_metrics(options: &MetricsOptions, peer: &Peer, network: &SwarmNetwork) -> Result<Metrics, Failure> {
    let (above, swarm) = (peer.figures(), network.swarm().clone());
    let served = Metrics::listen(options.clone(), move || metrics::of_peer(&swarm, above()))
        .await
        .map_err(|error| cannot_listen("The server of the metrics", &options.host, options.port, "metrics", &error))?;
    output::line(&format!("Metrics: http://{}/metrics", served.local_addr()));
    Ok(served)
}

fn input_options(config: &PeerConfig) -> InputOptions {
    InputOptions {
        history: Some(config.peer_store.join(HISTORY)),
        secrets: config.bridge.iter().map(|bridge| bridge.token.clone()).collect(),
    }
}

pub(super) fn sidechannel_options(config: &PeerConfig) -> SidechannelOptions {
    let flags: SidechannelConfig = config.sidechannel.clone();
    let default = SidechannelOptions::default();
    SidechannelOptions {
        entry_channel: ENTRY_CHANNEL.to_owned(),
        channels: config.sidechannels.clone(),
        debug: flags.debug,
        max_message_bytes: flags.max_message_bytes.unwrap_or(default.max_message_bytes),
        allow_remote_open: flags.allow_remote_open,
        auto_join_on_open: flags.auto_join_on_open,
        pow_enabled: flags.pow_enabled,
        pow_difficulty: flags.pow_difficulty,
        pow_require_entry: flags.pow_require_entry,
        pow_channels: flags.pow_channels,
        invite_required: flags.invite_required,
        invite_channels: flags.invite_channels,
        invite_prefixes: flags.invite_prefixes,
        inviter_keys: flags.inviter_keys,
        invite_ttl_ms: flags.invite_ttl_ms,
        owner_keys: flags.owner_keys,
        owner_write_only: flags.owner_write_only,
        owner_write_channels: flags.owner_write_channels,
        welcomes: flags.welcomes,
        welcome_required: flags.welcome_required,
        rate_bytes_per_second: flags.rate_bytes_per_second.unwrap_or(default.rate_bytes_per_second),
        rate_burst_bytes: flags.rate_burst_bytes.unwrap_or(default.rate_burst_bytes),
        max_strikes: flags.max_strikes.unwrap_or(default.max_strikes),
        console: output::console(),
        ..default
    }
}

pub(super) fn bridge_options(bridge: &BridgeConfig, config: &PeerConfig, identity: &Identity) -> BridgeOptions {
    let (peer, address) = (identity.public_key_hex(), identity.address());
    // A character of a message may come as an escape of six.
    let largest = config.sidechannel.max_message_bytes.unwrap_or_default().saturating_mul(6);
    BridgeOptions {
        host: bridge.host.clone(),
        port: bridge.port,
        token: bridge.token.clone(),
        filter: bridge.filter.clone(),
        filter_channels: bridge.filter_channels.clone(),
        allow_origins: bridge.allow_origins.clone(),
        info: Some(banner::info(config, &peer, &address)),
        peer,
        address,
        max_frame_bytes: largest.max(DEFAULT_MAX_FRAME_BYTES),
        debug: bridge.debug,
    }
}

fn bridge_failure(config: &PeerConfig, error: &std::io::Error) -> Failure {
    let (host, port) = config.bridge.as_ref().map_or(("", 0), |bridge| (bridge.host.as_str(), bridge.port));
    cannot_listen("SC-Bridge", host, port, "sc-bridge", error)
}

/// Why `what`, whose flags begin with `flags`, does not listen, and what helps.
fn cannot_listen(what: &str, host: &str, port: u16, flags: &str, error: &std::io::Error) -> Failure {
    let (why, remedy) = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            ("the port is in use".to_owned(), format!("stop what listens there, or choose another with --{flags}-port"))
        }
        std::io::ErrorKind::PermissionDenied => {
            ("that is not permitted".to_owned(), format!("choose a port above 1023 with --{flags}-port"))
        }
        _ => (error.to_string(), format!("check --{flags}-host and --{flags}-port")),
    };
    Failure::failed(format!("{what} failed to start: cannot listen at {host}:{port}: {why}; {remedy}"))
}

/// Nodes of the DHT, which the configuration has checked.
pub(super) fn bootstrap_nodes(texts: &[String]) -> Result<Vec<BootstrapNode>, Failure> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|_| Failure::usage(format!("\"{text}\" is not of the form HOST:PORT"))))
        .collect()
}

/// Why there is no network: an error and, where it has one, its cause.
pub(super) fn network_failure(error: &SwarmError) -> Failure {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure::failed(format!("{error}{cause}; check that this machine has a network with IPv4"))
}
