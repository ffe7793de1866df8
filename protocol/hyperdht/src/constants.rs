//! Numbers and names of the protocol.

use std::sync::LazyLock;

/// Commands of HyperDHT.
pub mod command {
    /// A Noise message for the peer that listens at the target.
    pub const PEER_HANDSHAKE: u64 = 0;
    /// A sealed hole punching message for that peer.
    pub const PEER_HOLEPUNCH: u64 = 1;
    /// Who listens at the target?
    pub const FIND_PEER: u64 = 2;
    /// Who announced the target?
    pub const LOOKUP: u64 = 3;
    /// Remember that I am at the target.
    pub const ANNOUNCE: u64 = 4;
    /// Forget it.
    pub const UNANNOUNCE: u64 = 5;
    /// Store a signed value.
    pub const MUTABLE_PUT: u64 = 6;
    /// Read a signed value.
    pub const MUTABLE_GET: u64 = 7;
    /// Store a value under its hash.
    pub const IMMUTABLE_PUT: u64 = 8;
    /// Read a value by its hash.
    pub const IMMUTABLE_GET: u64 = 9;
}

/// Error codes of HyperDHT, in payloads and answers.
pub mod code {
    /// No error.
    pub const NONE: u64 = 0;
    /// The other side gave up.
    pub const ABORTED: u64 = 1;
    /// The other side does not speak this version.
    pub const VERSION_MISMATCH: u64 = 2;
    /// The other side is busy with another random NAT.
    pub const TRY_LATER: u64 = 3;
    /// A different value is stored under this sequence number.
    pub const SEQ_REUSED: u64 = 16;
    /// A newer value is stored.
    pub const SEQ_TOO_LOW: u64 = 17;
}

/// What a peer says of the NAT or firewall that it is behind.
pub mod firewall {
    /// It does not know yet.
    pub const UNKNOWN: u64 = 0;
    /// Anybody can write to it.
    pub const OPEN: u64 = 1;
    /// Its port is the same for everybody that it writes to.
    pub const CONSISTENT: u64 = 2;
    /// Its port is different for everybody that it writes to.
    pub const RANDOM: u64 = 3;
}

/// The public network's nodes to begin with.
pub const BOOTSTRAP_NODES: [&str; 3] = [
    "88.99.3.86@node1.hyperdht.org:49737",
    "142.93.90.113@node2.hyperdht.org:49737",
    "138.68.147.8@node3.hyperdht.org:49737",
];

/// The port that a node binds if it is free.
pub const DEFAULT_PORT: u16 = 49737;

/// What keeps signatures and hashes for one purpose from being used for another: BLAKE2b of the name and the command number.
#[derive(Debug)]
pub struct Namespaces {
    /// Of announces.
    pub announce: [u8; 32],
    /// Of unannounces.
    pub unannounce: [u8; 32],
    /// Of signed values.
    pub mutable_put: [u8; 32],
    /// The prologue of the handshake.
    pub peer_handshake: [u8; 32],
    /// Of hole punching messages.
    pub peer_holepunch: [u8; 32],
}

/// The namespaces of `hyperswarm/dht`.
pub static NS: LazyLock<Namespaces> = LazyLock::new(|| {
    let namespace = |command: u64| crypto::namespace("hyperswarm/dht", command as u8);
    Namespaces {
        announce: namespace(command::ANNOUNCE),
        unannounce: namespace(command::UNANNOUNCE),
        mutable_put: namespace(command::MUTABLE_PUT),
        peer_handshake: namespace(command::PEER_HANDSHAKE),
        peer_holepunch: namespace(command::PEER_HOLEPUNCH),
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_of_the_vectors() {
        for version in ["network/pinned.json", "network/latest.json"] {
            for (name, expected) in testing::vector_json(version)["ns"].as_object().expect("ns") {
                let namespace = match name.as_str() {
                    "ANNOUNCE" => NS.announce,
                    "UNANNOUNCE" => NS.unannounce,
                    "MUTABLE_PUT" => NS.mutable_put,
                    "PEER_HANDSHAKE" => NS.peer_handshake,
                    "PEER_HOLEPUNCH" => NS.peer_holepunch,
                    "PLUGIN" => crypto::namespace("hyperswarm/dht", 10),
                    other => panic!("unknown namespace {other}"),
                };
                assert_eq!(testing::hex(&namespace), expected.as_str().expect("hex"), "{name}");
            }
        }
    }
}
