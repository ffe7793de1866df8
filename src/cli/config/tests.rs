use std::collections::BTreeMap;
use std::path::Path;

use super::*;

const KEY: &str = "c9c29cefe54eedc4bb0306d72b7c0997657e846e8be4cd4c8f926f35e7f7f6f5";

fn read(args: &[&str], env: &[(&str, &str)]) -> Result<PeerConfig, Failure> {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    PeerConfig::read(&Arguments::parse(args.iter().copied()), &env, &mut Vec::new())
}

fn config(args: &[&str]) -> PeerConfig {
    read(args, &[]).expect("valid flags")
}

fn refusal(args: &[&str]) -> String {
    match read(args, &[]) {
        Err(Failure::Usage(message)) => message,
        other => panic!("{args:?} should be refused as wrong usage: {other:?}"),
    }
}

#[test]
fn without_flags_everything_has_its_default() {
    let config = config(&[]);
    assert_eq!(config.peer_store, Path::new("stores/peer"));
    assert_eq!(config.msb_store, Path::new("stores/peer-msb"));
    assert_eq!(config.subnet_channel, "trac-peer-subnet");
    assert_eq!(config.subnet_bootstrap, None);
    assert_eq!(config.dht_bootstrap, DHT_BOOTSTRAP);
    assert_eq!(config.msb_dht_bootstrap, DHT_BOOTSTRAP);
    assert!(config.sidechannels.is_empty() && config.bridge.is_none() && !config.quiet && !config.timer);
    assert_eq!(
        config.sidechannel,
        SidechannelConfig {
            debug: false,
            max_message_bytes: None,
            allow_remote_open: true,
            auto_join_on_open: false,
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
            rate_bytes_per_second: None,
            rate_burst_bytes: None,
            max_strikes: None,
        }
    );
}

#[test]
fn a_flag_goes_before_its_variable_before_the_label_before_the_default() {
    let env: &[_] = &[("PEER_STORE_NAME", "env"), ("PEER_STORES_DIRECTORY", "/data")];
    let store = |args: &[&str], env: &[(&str, &str)]| read(args, env).expect("valid flags").peer_store;
    assert_eq!(store(&["label", "--peer-store-name", "flag"], env), Path::new("/data/flag"));
    assert_eq!(store(&["label", "--peer-store-name="], env), Path::new("/data/env"));
    assert_eq!(store(&["label"], env), Path::new("/data/env"));
    assert_eq!(store(&["label"], &[]), Path::new("stores/label"));
    assert_eq!(store(&["label"], &[("PEER_STORE_NAME", "")]), Path::new("stores/label"));
    assert_eq!(config(&["label"]).msb_store, Path::new("stores/label-msb"));
}

#[test]
fn an_alias_counts_where_the_name_has_no_value() {
    assert_eq!(config(&["--sidechannel", "a, b,0000intercom,"]).sidechannels, ["a", "b"]);
    assert_eq!(config(&["--sidechannel", "a", "--sidechannels", "b"]).sidechannels, ["b"]);
    assert_eq!(config(&["--sidechannel", "a", "--sidechannels="]).sidechannels, ["a"]);
    let args = ["--dht-bootstrap", "127.0.0.1:1"];
    assert_eq!(read(&args, &[("PEER_DHT_BOOTSTRAP", "127.0.0.1:2")]).expect("valid").dht_bootstrap, ["127.0.0.1:1"]);
    let env = [("DHT_BOOTSTRAP", "127.0.0.1:3, node.example:49737")];
    assert_eq!(read(&[], &env).expect("valid").dht_bootstrap, ["127.0.0.1:3", "node.example:49737"]);
}

#[test]
fn stores_are_folders_below_the_stores_directory() {
    for (folder, name, expected) in [
        ("stores", "/a/", "stores/a"),
        ("./stores//", "a/./b", "stores/a/b"),
        ("stores/x", "../a", "stores/a"),
        ("/abs/", "/a", "/abs/a"),
        ("..", "../a", "../../a"),
    ] {
        let args = ["--peer-stores-directory", folder, "--peer-store-name", name];
        assert_eq!(config(&args).peer_store, Path::new(expected), "{folder} {name}");
    }
    assert!(refusal(&["--peer-store-name", "/"]).contains("a store needs a name"));
}

#[test]
fn the_bridge_needs_a_token() {
    let mandatory = "SC-Bridge requires --sc-bridge-token (auth is mandatory).";
    assert_eq!(refusal(&["--sc-bridge", "1"]), mandatory);
    assert_eq!(refusal(&["--sc-bridge", "--sc-bridge-token="]), mandatory);
    assert_eq!(config(&["--sc-bridge", "0"]).bridge, None);
    let bridge = config(&["mystore", "--sc-bridge", "1", "--sc-bridge-token", "t"]).bridge.expect("is on");
    let expected = BridgeConfig {
        host: "127.0.0.1".into(),
        port: 49222,
        token: "t".into(),
        filter: String::new(),
        allow_origins: Vec::new(),
        filter_channels: None,
        cli: false,
        debug: false,
    };
    assert_eq!(bridge, expected);
}

#[test]
fn values_that_cannot_be_meant_are_refused_by_name() {
    let cases: &[(&[&str], &str)] = &[
        (&["--sc-bridge-port", "http"], "--sc-bridge-port: \"http\" is not a port, 0 to 65535"),
        (&["--sc-bridge-port", "65536"], "--sc-bridge-port: \"65536\" is not a port, 0 to 65535"),
        (&["--sc-bridge-port", "-1"], "--sc-bridge-port: \"-1\" is not a port, 0 to 65535"),
        (&["--sidechannel-max-bytes", "lots"], "--sidechannel-max-bytes: \"lots\" is not a number of bytes"),
        (&["--sidechannel-pow-difficulty", "hard"], "is not a number of bits"),
        (&["--sidechannel-pow-difficulty", "257"], "is not a number of bits"),
        (&["--sidechannel-invite-ttl", "soon"], "is not a number of seconds"),
        (&["--subnet-bootstrap", "abc"], "Invalid --subnet-bootstrap. Provide 32-byte hex (64 chars)."),
        (&["--subnet-bootstrap", MSB_BOOTSTRAP], "Subnet bootstrap cannot equal MSB bootstrap."),
        (&["--sidechannel-owner", "room"], "\"room\" is not of the form CHANNEL:PUBLIC_KEY"),
        (&["--sidechannel-owner", "room:abc"], "\"abc\" is not a public key (64 hex digits)"),
        (&["--sidechannel-inviter-keys", "abc"], "\"abc\" is not a public key (64 hex digits)"),
        (
            &["--sidechannel-welcome", "room:@/no/such/file"],
            "the welcome of \"room\" cannot be read from /no/such/file",
        ),
        (&["--sidechannel-welcome", "room:!!!"], "the welcome of \"room\" is not a welcome"),
        (&["--sidechannel-welcome", "room:NQ=="], "the welcome of \"room\" is not a welcome"),
        (&["--dht-bootstrap", "localhost"], "\"localhost\" is not of the form HOST:PORT"),
        (&["--dht-bootstrap", "localhost:0"], "\"localhost:0\" is not of the form HOST:PORT"),
        (&["--msb-dht-bootstrap", ":5"], "\":5\" is not of the form HOST:PORT"),
        (&["--sc-bridge-token-file", "/no/such/file"], "cannot read the token file /no/such/file"),
    ];
    for (args, expected) in cases {
        let message = refusal(args);
        assert!(message.contains(expected), "{args:?}: {message}");
        assert!(!message.contains('\n'), "{args:?}: one line");
    }
}

#[test]
fn numbers_that_the_original_reads_are_read() {
    let sidechannel = |args: &[&str]| config(args).sidechannel;
    assert_eq!(sidechannel(&["--sidechannel-max-bytes", "5000 bytes"]).max_message_bytes, Some(5000));
    assert_eq!(sidechannel(&["--sidechannel-pow-difficulty", "-3"]).pow_difficulty, 0);
    assert_eq!(sidechannel(&["--sidechannel-pow-difficulty=8.9"]).pow_difficulty, 8);
    assert_eq!(sidechannel(&["--sidechannel-invite-ttl", "-1"]).invite_ttl_ms, 0);
    assert_eq!(sidechannel(&["--sidechannel-rate-bytes", "0"]).rate_bytes_per_second, Some(None));
    assert_eq!(sidechannel(&["--sidechannel-rate-bytes", "9"]).rate_bytes_per_second, Some(Some(9)));
}

#[test]
fn keys_and_welcomes_are_read_by_channel() {
    let upper = KEY.to_uppercase();
    let owner = format!("room: {upper} ,b={KEY}");
    let welcomes = "room:eyJhIjoxfQ==,b:b64:eyJhIjoyfQ";
    let sidechannel = config(&["--sidechannel-owner", &owner, "--sidechannel-welcome", welcomes]).sidechannel;
    assert_eq!(sidechannel.owner_keys["room"], KEY);
    assert_eq!(sidechannel.owner_keys["b"], KEY);
    assert_eq!(sidechannel.welcomes["room"].to_string(), r#"{"a":1}"#);
    assert_eq!(sidechannel.welcomes["b"].to_string(), r#"{"a":2}"#);
    let bare_json = config(&["--sidechannel-welcome", r#"room:{"a":1}"#]).sidechannel;
    assert_eq!(bare_json.welcomes["room"].to_string(), r#"{"a":1}"#);
    assert_eq!(config(&["--sidechannel-inviter-keys", &upper]).sidechannel.inviter_keys, [KEY]);
    assert_eq!(config(&["--subnet-bootstrap", &upper]).subnet_bootstrap.as_deref(), Some(KEY));
}

#[test]
fn what_stops_nothing_is_said() {
    let warnings = |args: &[&str]| {
        let mut warnings = Vec::new();
        let _ = PeerConfig::read(&Arguments::parse(args.iter().copied()), &|_| None, &mut warnings);
        warnings.join("; ")
    };
    assert_eq!(warnings(&["--sc-brigde", "1"]), "unknown flag --sc-brigde is ignored; did you mean --sc-bridge?");
    assert!(warnings(&["--rpc", "1"]).contains("unknown flag --rpc is ignored; intercom --help"));
    assert!(warnings(&["store", "--sidechannel-quiet", "1", "x"]).contains("\"x\" is neither"));
    assert!(warnings(&["--sidechannel-quiet", "ture"]).contains("\"ture\" is read as off"));
    assert!(warnings(&["--sc-bridge-token"]).contains("--sc-bridge-token has no value and is read as \"true\""));
    assert!(warnings(&["--sc-bridge", "1", "--sc-bridge-tokn", "t"]).contains("did you mean --sc-bridge-token?"));
    assert_eq!(warnings(&["--sidechannel-quiet", "off", "--sc-bridge-debug"]), "");
}
