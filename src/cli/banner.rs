//! What a peer prints when it starts.
//!
//! Lines and their order are the original's, for agents read keys and addresses from them. Of the two planes that the original
//! starts first, this peer prints what is known without them: constants, paths and keys. A value that only a plane has (the
//! subnet's writer key, its bootstrap key where none was given) is `null`, as JavaScript prints what is not there; the block about
//! the settlement network (`# MSB Address` ...) and the lines `isIndexer` and `isWriter` are left out.

use encoding::json::{Object, Value};

use super::config::{ENTRY_CHANNEL, MSB_BOOTSTRAP, MSB_CHANNEL, PeerConfig};

/// What the banner says beside the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The peer's public key in hex.
    pub public_key: &'a str,
    /// Its address.
    pub address: &'a str,
    /// The port that the bridge listens at, where it is on.
    pub bridge_port: Option<u16>,
}

/// The width of the frame around the peer's keys.
const FRAME: usize = 86;

/// The lines that a peer prints when it starts.
pub fn lines(config: &PeerConfig, facts: Facts<'_>) -> Vec<String> {
    let frame = "#".repeat(FRAME);
    let mut lines = vec![
        "=============== STARTING PEER ===============".into(),
        String::new(),
        frame.clone(),
        format!("# Peer Address:     {} #", facts.public_key),
        frame,
        String::new(),
        String::new(),
        "====================INTERCOM ====================".into(),
        format!("MSB network bootstrap: {MSB_BOOTSTRAP}"),
        format!("MSB channel: {MSB_CHANNEL}"),
        format!("MSB store: {}", config.msb_store.display()),
        format!("Peer store: {}", config.peer_store.display()),
    ];
    for (plane, nodes) in [("MSB", &config.msb_dht_bootstrap), ("Peer", &config.dht_bootstrap)] {
        if !nodes.is_empty() {
            lines.push(format!("{plane} DHT bootstrap nodes: {}", nodes.join(", ")));
        }
    }
    lines.extend([
        format!("Peer subnet bootstrap: {}", config.subnet_bootstrap.as_deref().unwrap_or("null")),
        format!("Peer subnet channel: {}", config.subnet_channel),
        format!("Peer pubkey (hex): {}", facts.public_key),
        format!("Peer trac address (bech32m): {}", facts.address),
        "Peer writer key (hex): null".into(),
        format!("Sidechannel entry: {ENTRY_CHANNEL}"),
    ]);
    if !config.sidechannels.is_empty() {
        lines.push(format!("Sidechannel extras: {}", config.sidechannels.join(", ")));
    }
    if let (Some(bridge), Some(port)) = (&config.bridge, facts.bridge_port) {
        lines.push(format!("SC-Bridge: ws://{}:{port}", bridge.host));
    }
    lines.extend(["=".repeat(64), String::new()]);
    lines
}

/// What SC-Bridge answers to `info`.
pub fn info(config: &PeerConfig, public_key: &str, address: &str) -> Value {
    Object::new()
        .with("msbBootstrap", MSB_BOOTSTRAP)
        .with("msbChannel", MSB_CHANNEL)
        .with("msbStore", config.msb_store.display().to_string())
        .with("msbDhtBootstrap", config.msb_dht_bootstrap.clone())
        .with("peerStore", config.peer_store.display().to_string())
        .with("peerDhtBootstrap", config.dht_bootstrap.clone())
        .with("subnetBootstrap", config.subnet_bootstrap.clone())
        .with("subnetChannel", config.subnet_channel.as_str())
        .with("peerPubkey", public_key)
        .with("peerTracAddress", address)
        .with("peerWriterKey", Value::Null)
        .with("sidechannelEntry", ENTRY_CHANNEL)
        .with("sidechannelExtras", config.sidechannels.clone())
        .into()
}

#[cfg(test)]
mod tests {
    use std::path::MAIN_SEPARATOR;

    use super::*;
    use crate::cli::args::Arguments;

    fn config(args: &[&str]) -> PeerConfig {
        PeerConfig::read(&Arguments::parse(args.iter().copied()), &|_| None, &mut Vec::new()).expect("valid flags")
    }

    #[test]
    fn the_banner_has_the_originals_lines_in_order() {
        let config = config(&[
            "mine",
            "--sidechannels=a,b",
            "--sc-bridge",
            "--sc-bridge-token=t",
            "--dht-bootstrap=127.0.0.1:1,127.0.0.1:2",
            "--msb-dht-bootstrap=127.0.0.1:3",
        ]);
        let facts = Facts { public_key: "c9c2", address: "trac1x", bridge_port: Some(5) };
        let hashes = "#".repeat(86);
        let expected = [
            "=============== STARTING PEER ===============",
            "",
            &hashes,
            "# Peer Address:     c9c2 #",
            &hashes,
            "",
            "",
            "====================INTERCOM ====================",
            "MSB network bootstrap: acbc3a4344d3a804101d40e53db1dda82b767646425af73599d4cd6577d69685",
            "MSB channel: 0000trac0network0msb0mainnet0000",
            &format!("MSB store: stores{MAIN_SEPARATOR}mine-msb"),
            &format!("Peer store: stores{MAIN_SEPARATOR}mine"),
            "MSB DHT bootstrap nodes: 127.0.0.1:3",
            "Peer DHT bootstrap nodes: 127.0.0.1:1, 127.0.0.1:2",
            "Peer subnet bootstrap: null",
            "Peer subnet channel: trac-peer-subnet",
            "Peer pubkey (hex): c9c2",
            "Peer trac address (bech32m): trac1x",
            "Peer writer key (hex): null",
            "Sidechannel entry: 0000intercom",
            "Sidechannel extras: a, b",
            "SC-Bridge: ws://127.0.0.1:5",
            "================================================================",
            "",
        ];
        assert_eq!(lines(&config, facts), expected);
    }

    #[test]
    fn info_has_the_originals_keys_in_order() {
        let config = config(&["mine", "--dht-bootstrap=127.0.0.1:1", "--msb-dht-bootstrap=127.0.0.1:3"]);
        let expected = concat!(
            r#"{"msbBootstrap":"acbc3a4344d3a804101d40e53db1dda82b767646425af73599d4cd6577d69685","#,
            r#""msbChannel":"0000trac0network0msb0mainnet0000","msbStore":"stores/mine-msb","#,
            r#""msbDhtBootstrap":["127.0.0.1:3"],"peerStore":"stores/mine","peerDhtBootstrap":["127.0.0.1:1"],"#,
            r#""subnetBootstrap":null,"subnetChannel":"trac-peer-subnet","peerPubkey":"c9c2","peerTracAddress":"trac1x","#,
            r#""peerWriterKey":null,"sidechannelEntry":"0000intercom","sidechannelExtras":[]}"#,
        );
        // JSON doubles the separator of Windows.
        let expected = if cfg!(windows) { expected.replace("stores/", r"stores\\") } else { expected.into() };
        assert_eq!(info(&config, "c9c2", "trac1x").to_string(), expected);
    }
}
