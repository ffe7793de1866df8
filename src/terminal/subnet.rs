//! The commands of the contract plane and of the settlement plane, which this peer does not run.
//!
//! They answer as the original does of a peer that no plane is ready for: its view is empty, it is neither writer nor indexer nor
//! admin, and no validator is connected. What the original checks first is checked first here.

use data_encoding::HEXLOWER;
use encoding::json::{Object, Value, is_space};

use super::printed::Printed;
use crate::arguments::Arguments;
use crate::identity::Identity;

/// The bootstrap key of the settlement network (main_settlement_bus `src/config/env.js`).
pub const MSB_BOOTSTRAP: &str = "acbc3a4344d3a804101d40e53db1dda82b767646425af73599d4cd6577d69685";

/// Commands that only the admin may run.
const ADMIN: [&str; 10] = [
    "/add_indexer",
    "/add_writer",
    "/remove_writer",
    "/remove_indexer",
    "/update_admin",
    "/set_auto_add_writers",
    "/set_chat_status",
    "/set_mod",
    "/enable_whitelist",
    "/set_whitelist_status",
];

/// Only the writer whose key is the subnet's may name its first admin.
const NOT_BOOTSTRAP: &str = "Only the subnet bootstrap node may set the initial admin.";

/// What transactions of the settlement network refer to while nothing of it is known: BLAKE3 of nothing.
const EMPTY_TXV: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

/// Commands that only the admin and moderators may run.
const MODERATOR: [&str; 4] = ["/mute_status", "/pin_message", "/unpin_message", "/delete_message"];

/// The tree hash of a core without blocks, in hex: the view and the system of a peer that has nothing of its subnet.
const EMPTY_DAG: &str = "bb30a42c1e62f0afda5f0a4e8a562f7a13a24cea00ee81917b86b89e801314aa";

const NOT_ADMIN: &str = "Only admin may perform this operation.";
const NOT_MODERATOR: &str = "Only admin or mod may perform this operation.";

/// What Autobase throws when a peer appends that is no writer.
const NOT_WRITABLE: &str = "Not writable";

/// The network id of the settlement network (main_settlement_bus `src/config/env.js`).
const NETWORK_ID: f64 = 918.0;

/// What a transaction costs on the settlement network.
const FEE: &str = "0.03";

/// Runs a line if it is a command of these planes; `None` if it is not.
pub(super) fn run(line: &str, identity: &Identity, out: &mut Printed) -> Option<Result<(), String>> {
    let is = |name: &&str| line.starts_with(*name);
    let refused = |why: &str| Some(Err(why.to_owned()));
    // `/tx` before all others, as in the original; no other name here begins with that of another.
    if line.starts_with("/tx") {
        return refused("Peer is not writable.");
    }
    if ADMIN.iter().any(is) {
        return refused(NOT_ADMIN);
    }
    if MODERATOR.iter().any(is) {
        return refused(NOT_MODERATOR);
    }
    if line.starts_with("/add_admin") {
        return refused(NOT_BOOTSTRAP);
    }
    if line.starts_with("/enable_transactions") {
        return Some(Err(Arguments::parse(line).err().unwrap_or_else(|| NOT_WRITABLE.into())));
    }
    if line.starts_with("/post") {
        return Some(Err(post(line).unwrap_or_else(|error| error)));
    }
    if line.starts_with("/set_nick") {
        return Some(Err(set_nick(line, identity).unwrap_or_else(|error| error)));
    }
    if line.starts_with("/deploy_subnet") {
        return refused("Subnet deployment broadcast failed.");
    }
    if line.starts_with("/get") {
        if names_a_key(line) {
            out.value(&Value::Null);
        } else {
            out.line(r#"Usage: /get --key "<hyperbee-key>" [--confirmed true|false] [--unconfirmed 1]"#);
        }
        return Some(Ok(()));
    }
    if line.starts_with("/msb") {
        out.value(&settlement(identity));
        return Some(Ok(()));
    }
    None
}

/// What `/stats` says of a peer that has nothing of its subnet yet. An own subnet, which the original makes where none is named,
/// has keys that only its cores know: then the rest is left out.
pub(super) fn stats(identity: &Identity, subnet: Option<[u8; 32]>, connections: usize, out: &mut Printed) {
    out.line("--- Stats ---");
    out.line(format!("wallet.address: {}", identity.public_key_hex()));
    out.line("hypermall.writerKey: null");
    out.line("admin: unset");
    out.line("isIndexer: false");
    out.line("isWriter: false");
    out.line(format!("swarm.connections.size: {connections}"));
    let Some(subnet) = subnet else {
        out.line("Error during DAG monitoring: this peer runs no subnet.");
        return;
    };
    out.line("base.view.core.signedLength: 0");
    out.line("base.signedLength 0");
    out.line("base.indexedLength 0");
    out.line("base.linearizer.indexers.length 1");
    out.line(format!("base.key: {}", HEXLOWER.encode(&subnet)));
    out.line(format!("discoveryKey: {}", HEXLOWER.encode(&crypto::discovery_key(&subnet))));
    out.line(format!("VIEW Dag: {EMPTY_DAG} (length: 0)"));
    out.line(format!("SYSTEM Dag: {EMPTY_DAG} (length: 0)"));
    out.line("Total Registered Writers: 0");
}

fn post(line: &str) -> Result<String, String> {
    let message = Arguments::parse(line)?.pick(&["message"]).is_some();
    Ok(if message { "Chat is disabled." } else { "Empty message not allowed" }.into())
}

fn set_nick(line: &str, identity: &Identity) -> Result<String, String> {
    let arguments = Arguments::parse(line)?;
    let another = arguments.pick(&["user"]).is_some_and(|user| user.unwrap_or("null") != identity.public_key_hex());
    Ok(if another { NOT_MODERATOR } else { NOT_WRITABLE }.into())
}

/// Whether a line has `--key VALUE` or `--key=VALUE`.
fn names_a_key(line: &str) -> bool {
    line.match_indices("--key").any(|(at, name)| {
        let before = line[..at].chars().next_back().is_none_or(is_space);
        let after = &line[at + name.len()..];
        let value = after.strip_prefix('=').or_else(|| {
            let value = after.trim_start_matches(is_space);
            (value.len() < after.len()).then_some(value)
        });
        before && value.and_then(|value| value.chars().next()).is_some_and(|c| !is_space(c))
    })
}

fn settlement(identity: &Identity) -> Value {
    Object::new()
        .with("networkId", NETWORK_ID)
        .with("msbBootstrap", MSB_BOOTSTRAP)
        .with("txv", EMPTY_TXV)
        .with("msbSignedLength", 0.0)
        .with("msbUnsignedLength", 0.0)
        .with("connectedValidators", 0.0)
        .with("peerMsbAddress", identity.address())
        .with("peerMsbBalance", 0.0)
        .with("msbFee", FEE)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidechannel::Console;

    const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    fn run(line: &str) -> (Option<Result<(), String>>, Vec<String>) {
        let identity = Identity::from_mnemonic(WORDS, None).expect("valid words");
        let mut out = Printed::new(Console::new(|_| {}));
        (super::run(line, &identity, &mut out), out.finish())
    }

    #[test]
    fn what_needs_a_plane_answers_as_the_original_without_it() {
        let own = Identity::from_mnemonic(WORDS, None).expect("valid words").public_key_hex();
        let cases = [
            ("/tx --command x", "Peer is not writable."),
            ("/txyz", "Peer is not writable."),
            ("/add_indexer --key \"", NOT_ADMIN),
            ("/set_whitelist_status", NOT_ADMIN),
            ("/unpin_message --pin_id 1", NOT_MODERATOR),
            ("/add_admin --address 00", NOT_BOOTSTRAP),
            ("/enable_transactions", NOT_WRITABLE),
            ("/enable_transactions \"", "Cannot read properties of null (reading '1')"),
            ("/post", "Empty message not allowed"),
            ("/post --message", "Chat is disabled."),
            ("/post --message hi", "Chat is disabled."),
            ("/set_nick --nick a", NOT_WRITABLE),
            ("/set_nick --nick a --user b", NOT_MODERATOR),
            (&format!("/set_nick --user {own}"), NOT_WRITABLE),
            ("/deploy_subnet", "Subnet deployment broadcast failed."),
        ];
        for (line, expected) in cases {
            assert_eq!(run(line), (Some(Err(expected.to_owned())), Vec::new()), "{line}");
        }
        assert_eq!(run("/print --text x").0, None);
    }

    #[test]
    fn the_empty_view_has_no_value_for_any_key() {
        for line in ["/get --key a", "/get --key=a", "/get_keys --key  'a b'", "/get  --keys --key \"\""] {
            assert_eq!(run(line), (Some(Ok(())), vec!["null".to_owned()]), "{line}");
        }
        for line in ["/get", "/get a", "/get --key", "/get --key= ", "/get x--key a", "/get --keya"] {
            assert!(run(line).1[0].starts_with("Usage: /get --key"), "{line}");
        }
    }

    #[test]
    fn the_settlement_network_is_told_with_the_originals_keys() {
        let (_, lines) = run("/msb");
        assert!(
            lines[0].starts_with(r#"{"networkId":918,"msbBootstrap":"acbc3a43"#)
                && lines[0].contains(
                    r#""txv":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262","msbSignedLength":0,"msbUnsignedLength":0,"connectedValidators":0,"peerMsbAddress":"trac1"#
                )
                && lines[0].ends_with(r#","peerMsbBalance":0,"msbFee":"0.03"}"#),
            "{lines:?}"
        );
    }
}
