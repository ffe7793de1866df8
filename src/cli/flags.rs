//! Every flag of a peer: its name, its environment variables, what it means.
//!
//! One table feeds the reader of the configuration, the help text and the warning for a name that does not exist.

use std::fmt::Write as _;

/// How a flag's value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Free text.
    Text,
    /// On or off.
    Switch,
    /// An integer.
    Number,
    /// Comma-separated texts.
    List,
    /// Comma-separated `key:value`.
    Pairs,
}

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without the leading `--`.
    pub name: &'static str,
    /// Another name of the same flag, read where the first has no value.
    pub alias: Option<&'static str>,
    /// The environment variables that stand in for it, in the order in which they are asked.
    pub env: &'static [&'static str],
    /// How its value is read.
    pub kind: Kind,
    /// What the help calls its value.
    pub value: &'static str,
    /// One line for the help.
    pub help: &'static str,
}

/// A heading of the help and the flags below it.
pub type Group = (&'static str, &'static [Flag]);

const fn flag(
    name: &'static str,
    env: &'static [&'static str],
    kind: Kind,
    value: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, alias: None, env, kind, value, help }
}

const fn alias(alias: &'static str, flag: Flag) -> Flag {
    Flag { alias: Some(alias), ..flag }
}

use Kind::{List, Number, Pairs, Switch, Text};

/// All flags of a peer.
#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    ("Store", &[
        flag("peer-store-name", &["PEER_STORE_NAME"], Text, "NAME", "name of the peer's store [default: LABEL, else peer]"),
        flag("peer-stores-directory", &["PEER_STORES_DIRECTORY"], Text, "DIR", "folder of the peer's stores [default: stores/]"),
        flag("msb-store-name", &["MSB_STORE_NAME"], Text, "NAME", "name of the settlement store [default: <peer store>-msb]"),
        flag("msb-stores-directory", &["MSB_STORES_DIRECTORY"], Text, "DIR", "folder of the settlement stores [default: stores/]"),
    ]),
    ("Network", &[
        flag("subnet-channel", &["SUBNET_CHANNEL"], Text, "NAME", "name of the subnet [default: trac-peer-subnet]"),
        flag("subnet-bootstrap", &["SUBNET_BOOTSTRAP"], Text, "HEX", "writer key of the subnet's first peer, 64 hex digits"),
        alias("dht-bootstrap", flag("peer-dht-bootstrap", &["PEER_DHT_BOOTSTRAP", "DHT_BOOTSTRAP"], List, "HOST:PORT,..", "DHT nodes to start from [default: the public ones]")),
        flag("msb-dht-bootstrap", &["MSB_DHT_BOOTSTRAP"], List, "HOST:PORT,..", "DHT nodes of the settlement network"),
        flag("relay-through", &["RELAY_THROUGH"], List, "HEX,..", "public keys of blind relays, for peers that cannot be reached otherwise [default: none]"),
        flag("timer", &["INTERCOM_TIMER"], Switch, "0|1", "write the time into the subnet, where this peer is its admin: nothing yet, for there is no contract plane [default: 0]"),
    ]),
    ("Sidechannels", &[
        alias("sidechannel", flag("sidechannels", &["SIDECHANNELS"], List, "A,B", "channels to join beside 0000intercom")),
        flag("sidechannel-debug", &["SIDECHANNEL_DEBUG"], Switch, "0|1", "print why a message was sent, dropped or relayed [default: 0]"),
        flag("sidechannel-quiet", &["SIDECHANNEL_QUIET"], Switch, "0|1", "do not print received messages [default: 0]"),
        flag("sidechannel-max-bytes", &["SIDECHANNEL_MAX_BYTES"], Number, "N", "largest message to send, in bytes [default: 1000000]"),
        flag("sidechannel-allow-remote-open", &["SIDECHANNEL_ALLOW_REMOTE_OPEN"], Switch, "0|1", "hear requests to open a channel [default: 1]"),
        flag("sidechannel-auto-join", &["SIDECHANNEL_AUTO_JOIN"], Switch, "0|1", "join channels that peers ask for [default: 0]"),
        flag("sidechannel-pow", &["SIDECHANNEL_POW"], Switch, "0|1", "do and demand proof of work [default: 1]"),
        flag("sidechannel-pow-difficulty", &["SIDECHANNEL_POW_DIFFICULTY"], Number, "BITS", "leading zero bits of the proof [default: 12]"),
        flag("sidechannel-pow-entry", &["SIDECHANNEL_POW_ENTRY"], Switch, "0|1", "proof of work on 0000intercom only [default: 0]"),
        flag("sidechannel-pow-channels", &["SIDECHANNEL_POW_CHANNELS"], List, "A,B", "proof of work on these channels only"),
        flag("sidechannel-invite-required", &["SIDECHANNEL_INVITE_REQUIRED"], Switch, "0|1", "demand signed invites [default: 0]"),
        flag("sidechannel-invite-channels", &["SIDECHANNEL_INVITE_CHANNELS"], List, "A,B", "demand invites on these channels only"),
        flag("sidechannel-invite-prefixes", &["SIDECHANNEL_INVITE_PREFIXES"], List, "A,B", "demand invites on channels that begin so"),
        flag("sidechannel-inviter-keys", &["SIDECHANNEL_INVITER_KEYS"], List, "HEX,..", "public keys whose invites count"),
        flag("sidechannel-invite-ttl", &["SIDECHANNEL_INVITE_TTL"], Number, "SECONDS", "life of the invites made here [default: 604800]"),
        flag("sidechannel-owner", &["SIDECHANNEL_OWNER"], Pairs, "CHANNEL:HEX,..", "public key of each channel's owner"),
        flag("sidechannel-owner-write-only", &["SIDECHANNEL_OWNER_WRITE_ONLY"], Switch, "0|1", "only owners write, on every channel [default: 0]"),
        flag("sidechannel-owner-write-channels", &["SIDECHANNEL_OWNER_WRITE_CHANNELS"], List, "A,B", "only owners write, on these channels"),
        flag("sidechannel-welcome", &["SIDECHANNEL_WELCOME"], Pairs, "CHANNEL:WELCOME,..", "signed welcome of a channel: base64 or @FILE"),
        flag("sidechannel-welcome-required", &["SIDECHANNEL_WELCOME_REQUIRED"], Switch, "0|1", "drop messages of a channel without a welcome [default: 1]"),
        flag("sidechannel-rate-bytes", &["SIDECHANNEL_RATE_BYTES"], Number, "N", "bytes a second that one peer may send; 0 and below: no limit [default: 64000]"),
        flag("sidechannel-rate-burst", &["SIDECHANNEL_RATE_BURST"], Number, "N", "bytes that one peer may send at once [default: 256000]"),
        flag("sidechannel-max-strikes", &["SIDECHANNEL_MAX_STRIKES"], Number, "N", "times that a peer may exceed them before it is blocked [default: 3]"),
    ]),
    ("SC-Bridge", &[
        flag("sc-bridge", &["SC_BRIDGE"], Switch, "0|1", "serve sidechannels over WebSocket [default: 0]"),
        flag("sc-bridge-host", &["SC_BRIDGE_HOST"], Text, "HOST", "address to listen at [default: 127.0.0.1]"),
        flag("sc-bridge-port", &["SC_BRIDGE_PORT"], Number, "PORT", "port to listen at; 0: any free one [default: 49222]"),
        flag("sc-bridge-token", &["SC_BRIDGE_TOKEN"], Text, "TOKEN", "secret that a client must show; mandatory with --sc-bridge"),
        flag("sc-bridge-token-file", &["SC_BRIDGE_TOKEN_FILE"], Text, "FILE", "file that holds the token, so that it is on no command line"),
        flag("sc-bridge-allow-origin", &["SC_BRIDGE_ALLOW_ORIGIN"], List, "ORIGIN,..", "web pages of other machines that may connect: https://example.org"),
        flag("sc-bridge-filter", &["SC_BRIDGE_FILTER"], Text, "WORDS", "words that a message must have: a+b|c [default: none]"),
        flag("sc-bridge-filter-channel", &["SC_BRIDGE_FILTER_CHANNEL"], List, "A,B", "filter these channels only"),
        flag("sc-bridge-cli", &["SC_BRIDGE_CLI"], Switch, "0|1", "let clients run terminal commands [default: 0]"),
        flag("sc-bridge-debug", &["SC_BRIDGE_DEBUG"], Switch, "0|1", "log what the bridge forwards, on stderr [default: 0]"),
    ]),
    ("Expenses", &[
        flag("intersplit-verified-channels", &["INTERSPLIT_VERIFIED_CHANNELS"], List, "A,B", "count signed expenses only, and let only owners and authors clear; *: everywhere"),
    ]),
    ("Metrics", &[
        flag("metrics-port", &["INTERCOM_METRICS_PORT"], Number, "PORT", "serve figures for Prometheus at http://127.0.0.1:PORT/metrics; 0: any free port [default: off]"),
        flag("metrics-host", &["INTERCOM_METRICS_HOST"], Text, "HOST", "address to serve them at [default: 127.0.0.1]"),
    ]),
    ("Web page", &[
        flag("ui", &["INTERCOM_UI"], Switch, "0|1", "serve the web page, which talks to an SC-Bridge [default: 0]"),
        flag("ui-host", &["UI_HOST"], Text, "HOST", "address to serve it at [default: 127.0.0.1]"),
        flag("ui-port", &["UI_PORT"], Number, "PORT", "port to serve it at; 0: any free one [default: 5070]"),
    ]),
];

impl Flag {
    /// The flag as clap has it, for completions and manual pages. What reads it is the reader of the configuration.
    pub fn to_arg(&self) -> clap::Arg {
        let arg = clap::Arg::new(self.name).long(self.name).value_name(self.value).num_args(0..=1);
        let arg = if self.kind == Kind::Switch { arg.value_parser(["0", "1"]) } else { arg };
        let arg = arg.help(format!("{} [env: {}]", self.help, self.env.join(", "))).hide_possible_values(true);
        match self.alias {
            Some(alias) => arg.visible_alias(alias),
            None => arg,
        }
    }
}

/// All flags, without their headings.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|(_, flags)| flags.iter())
}

/// The flag of that name or alias.
pub fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name || flag.alias == Some(name))
}

/// The existing name that is most like `unknown`, if one is like it at all: at most a third of it has to change, or it is
/// the beginning of the name.
pub fn nearest(unknown: &str) -> Option<&'static str> {
    let length = unknown.chars().count();
    all()
        .flat_map(|flag| [Some(flag.name), flag.alias])
        .flatten()
        .filter_map(|name| {
            let distance = strsim::osa_distance(unknown, name);
            let begins = length >= MIN_PREFIX && name.starts_with(unknown);
            (begins || distance <= (length / 3).max(1)).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

/// Fewer characters than these say too little about what was meant.
const MIN_PREFIX: usize = 4;

/// The part of the help that lists the flags.
pub fn usage() -> String {
    let mut text = String::new();
    for (heading, flags) in GROUPS {
        let _ = writeln!(text, "{heading}:");
        for flag in *flags {
            let mut left = format!("--{} {}", flag.name, flag.value);
            if let Some(alias) = flag.alias {
                let _ = write!(left, " (or --{alias})");
            }
            let _ = writeln!(text, "  {left}\n        {} [env: {}]", flag.help, flag.env.join(", "));
        }
        text.push('\n');
    }
    text.push_str(
        "A flag is written --name value, --name=value, or --name alone, which means 1. The last of several wins.\n\
         A flag with a value goes before its environment variable.",
    );
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let mut seen = BTreeSet::new();
        for name in all().flat_map(|flag| [Some(flag.name), flag.alias]).flatten() {
            assert!(seen.insert(name), "{name} twice");
        }
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let cases = [
            ("sc-brigde", Some("sc-bridge")),
            ("sc-bridge-tokn", Some("sc-bridge-token")),
            ("sidechanel", Some("sidechannel")),
            ("peer-store", Some("peer-store-name")),
            ("dht-bootstrp", Some("dht-bootstrap")),
            ("rpc", None),
            ("completely-different", None),
            ("", None),
        ];
        for (unknown, expected) in cases {
            assert_eq!(nearest(unknown), expected, "{unknown}");
        }
    }

    #[test]
    fn the_help_names_every_flag_and_variable() {
        let usage = usage();
        for flag in all() {
            assert!(usage.contains(&format!("--{}", flag.name)));
            assert!(flag.env.iter().all(|name| usage.contains(name)));
        }
    }
}
