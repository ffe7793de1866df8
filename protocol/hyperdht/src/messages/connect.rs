//! Messages that connect two peers.

use std::net::{SocketAddrV4, SocketAddrV6};

use encoding::{DecodeError, Decoder, Encoder};

use super::{addresses, decode, flag, put_addresses, when};

/// The version of the payload, and of what it says of streams.
const VERSION: u64 = 1;

/// How far a handshake or a hole punching message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the client to a node that knows the server.
    FromClient,
    /// From the server back to that node.
    FromServer,
    /// From that node to the server.
    FromRelay,
    /// As `FromRelay`, when the node that the client asked was itself told by another node.
    FromSecondRelay,
    /// From the node to the client.
    Reply,
    /// One of a later version.
    Unknown(u64),
}

impl Mode {
    fn number(self) -> u64 {
        match self {
            Self::FromClient => 0,
            Self::FromServer => 1,
            Self::FromRelay => 2,
            Self::FromSecondRelay => 3,
            Self::Reply => 4,
            Self::Unknown(number) => number,
        }
    }

    fn from_number(number: u64) -> Self {
        match number {
            0 => Self::FromClient,
            1 => Self::FromServer,
            2 => Self::FromRelay,
            3 => Self::FromSecondRelay,
            4 => Self::Reply,
            other => Self::Unknown(other),
        }
    }
}

/// The value of PEER_HANDSHAKE: a Noise message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// How far it has come.
    pub mode: Mode,
    /// The Noise message; empty when there is none.
    pub noise: &'a [u8],
    /// The client as the node saw it, or in a reply the server as the node saw it.
    pub peer_address: Option<SocketAddrV4>,
    /// The first of two nodes.
    pub relay_address: Option<SocketAddrV4>,
}

impl<'a> Handshake<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        decode(bytes, |d| {
            let flags = d.uint()?;
            Ok(Self {
                mode: Mode::from_number(d.uint()?),
                noise: d.buffer()?,
                peer_address: when(flags, 1, || d.ipv4())?,
                relay_address: when(flags, 2, || d.ipv4())?,
            })
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(self.noise.len() + 20);
        e.uint(flag(self.peer_address.is_some(), 1) | flag(self.relay_address.is_some(), 2));
        e.uint(self.mode.number()).buffer(self.noise);
        for addr in [self.peer_address, self.relay_address].into_iter().flatten() {
            e.ipv4(addr);
        }
        e.finish()
    }
}

/// The value of PEER_HOLEPUNCH: a sealed [`HolepunchPayload`] on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holepunch<'a> {
    /// How far it has come.
    pub mode: Mode,
    /// Which of the server's handshakes it belongs to.
    pub id: u64,
    /// The sealed payload; empty when there is none.
    pub payload: &'a [u8],
    /// Where to forward it, or whom it came from.
    pub peer_address: Option<SocketAddrV4>,
}

impl<'a> Holepunch<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        decode(bytes, |d| {
            let flags = d.uint()?;
            Ok(Self {
                mode: Mode::from_number(d.uint()?),
                id: d.uint()?,
                payload: d.buffer()?,
                peer_address: when(flags, 1, || d.ipv4())?,
            })
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(self.payload.len() + 24);
        e.uint(flag(self.peer_address.is_some(), 1)).uint(self.mode.number()).uint(self.id).buffer(self.payload);
        if let Some(addr) = self.peer_address {
            e.ipv4(addr);
        }
        e.finish()
    }
}

/// A node that forwards to a server, and the server as that node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayInfo {
    /// The node.
    pub relay_address: SocketAddrV4,
    /// The server.
    pub peer_address: SocketAddrV4,
}

/// How to punch a hole to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolepunchInfo {
    /// Which of the server's handshakes this is.
    pub id: u64,
    /// Nodes that forward hole punching messages.
    pub relays: Vec<RelayInfo>,
}

/// The stream that the sender of a payload has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdxInfo {
    /// Version of this part.
    pub version: u64,
    /// Whether the socket may be used for further connections.
    pub reusable_socket: bool,
    /// Identifier of the stream.
    pub id: u64,
    /// Number of its first packet.
    pub seq: u64,
}

/// A blind relay that the two peers can meet at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayThrough {
    /// Version of this part.
    pub version: u64,
    /// The relay's key.
    pub public_key: [u8; 32],
    /// What the two sides are matched by.
    pub token: [u8; 32],
}

/// What peers tell each other inside the Noise handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoisePayload {
    /// 1. Of other versions nothing else is read.
    pub version: u64,
    /// One of [`code`](crate::constants::code).
    pub error: u64,
    /// One of [`firewall`](crate::constants::firewall).
    pub firewall: u64,
    /// How to punch a hole to the sender; only a server says so.
    pub holepunch: Option<HolepunchInfo>,
    /// Where the sender may be reached.
    pub addresses4: Vec<SocketAddrV4>,
    /// The same over IPv6; not used by any version.
    pub addresses6: Vec<SocketAddrV6>,
    /// The sender's stream.
    pub udx: Option<UdxInfo>,
    /// The version of secret stream, if the sender speaks it.
    pub secret_stream: Option<u64>,
    /// A relay to meet at.
    pub relay_through: Option<RelayThrough>,
    /// Nodes that forward to the sender, for the next time; only a server says so.
    pub relay_addresses: Option<Vec<SocketAddrV4>>,
}

impl NoisePayload {
    /// A payload without optional parts.
    pub fn new(error: u64, firewall: u64) -> Self {
        Self {
            version: VERSION,
            error,
            firewall,
            holepunch: None,
            addresses4: Vec::new(),
            addresses6: Vec::new(),
            udx: None,
            secret_stream: None,
            relay_through: None,
            relay_addresses: None,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, |d| {
            let version = d.uint()?;
            if version != VERSION {
                return Ok(Self { version, ..Self::new(0, 0) });
            }
            let flags = d.uint()?;
            Ok(Self {
                version,
                error: d.uint()?,
                firewall: d.uint()?,
                holepunch: when(flags, 1, || HolepunchInfo::decode(d))?,
                addresses4: when(flags, 2, || addresses(d))?.unwrap_or_default(),
                addresses6: when(flags, 4, || d.array(18, |d| d.ipv6()))?.unwrap_or_default(),
                udx: when(flags, 8, || UdxInfo::decode(d))?,
                secret_stream: when(flags, 16, || d.uint())?,
                relay_through: when(flags, 32, || RelayThrough::decode(d))?,
                relay_addresses: when(flags, 64, || addresses(d))?,
            })
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(256);
        let flags = flag(self.holepunch.is_some(), 1)
            | flag(!self.addresses4.is_empty(), 2)
            | flag(!self.addresses6.is_empty(), 4)
            | flag(self.udx.is_some(), 8)
            | flag(self.secret_stream.is_some(), 16)
            | flag(self.relay_through.is_some(), 32)
            | flag(self.relay_addresses.is_some(), 64);
        e.uint(VERSION).uint(flags).uint(self.error).uint(self.firewall);
        if let Some(holepunch) = &self.holepunch {
            holepunch.encode(&mut e);
        }
        if !self.addresses4.is_empty() {
            put_addresses(&mut e, &self.addresses4);
        }
        if !self.addresses6.is_empty() {
            e.array(&self.addresses6, |e, addr| {
                e.ipv6(*addr);
            });
        }
        if let Some(udx) = &self.udx {
            e.uint(VERSION).uint(u64::from(udx.reusable_socket)).uint(udx.id).uint(udx.seq);
        }
        if self.secret_stream.is_some() {
            e.uint(VERSION);
        }
        if let Some(relay) = &self.relay_through {
            e.uint(VERSION).uint(0).fixed(&relay.public_key).fixed(&relay.token);
        }
        if let Some(relays) = &self.relay_addresses {
            put_addresses(&mut e, relays);
        }
        e.finish()
    }
}

impl HolepunchInfo {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: d.uint()?,
            relays: d.array(12, |d| Ok(RelayInfo { relay_address: d.ipv4()?, peer_address: d.ipv4()? }))?,
        })
    }

    fn encode(&self, e: &mut Encoder) {
        e.uint(self.id).array(&self.relays, |e, relay| {
            e.ipv4(relay.relay_address).ipv4(relay.peer_address);
        });
    }
}

impl UdxInfo {
    /// The stream `id`.
    pub fn new(id: u32, reusable_socket: bool) -> Self {
        Self { version: VERSION, reusable_socket, id: id.into(), seq: 0 }
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { version: d.uint()?, reusable_socket: d.uint()? & 1 != 0, id: d.uint()?, seq: d.uint()? })
    }
}

impl RelayThrough {
    /// The relay with this key, and the token to meet by.
    pub fn new(public_key: [u8; 32], token: [u8; 32]) -> Self {
        Self { version: VERSION, public_key, token }
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let version = d.uint()?;
        let _flags = d.uint()?;
        Ok(Self { version, public_key: d.fixed()?, token: d.fixed()? })
    }
}

/// What peers tell each other while they punch holes; sealed under a secret of the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HolepunchPayload {
    /// One of [`code`](crate::constants::code).
    pub error: u64,
    /// One of [`firewall`](crate::constants::firewall).
    pub firewall: u64,
    /// Number of the round.
    pub round: u64,
    /// The hole is there.
    pub connected: bool,
    /// The sender is punching.
    pub punching: bool,
    /// How the sender's socket looks from outside.
    pub addresses: Option<Vec<SocketAddrV4>>,
    /// Where the sender has written to already.
    pub remote_address: Option<SocketAddrV4>,
    /// Proves, when it comes back, that the receiver's address is its own.
    pub token: Option<[u8; 32]>,
    /// The receiver's token, coming back.
    pub remote_token: Option<[u8; 32]>,
}

impl HolepunchPayload {
    /// Reads one.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, |d| {
            let flags = d.uint()?;
            Ok(Self {
                error: d.uint()?,
                firewall: d.uint()?,
                round: d.uint()?,
                connected: flags & 1 != 0,
                punching: flags & 2 != 0,
                addresses: when(flags, 4, || addresses(d))?,
                remote_address: when(flags, 8, || d.ipv4())?,
                token: when(flags, 16, || d.fixed())?,
                remote_token: when(flags, 32, || d.fixed())?,
            })
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(128);
        let flags = flag(self.connected, 1)
            | flag(self.punching, 2)
            | flag(self.addresses.is_some(), 4)
            | flag(self.remote_address.is_some(), 8)
            | flag(self.token.is_some(), 16)
            | flag(self.remote_token.is_some(), 32);
        e.uint(flags).uint(self.error).uint(self.firewall).uint(self.round);
        if let Some(addrs) = &self.addresses {
            put_addresses(&mut e, addrs);
        }
        if let Some(addr) = self.remote_address {
            e.ipv4(addr);
        }
        for token in [&self.token, &self.remote_token].into_iter().flatten() {
            e.fixed(token);
        }
        e.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a message of the kind that the name of a vector begins with, and writes it again.
    fn again(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        Some(match name {
            _ if name.starts_with("handshake") => Handshake::decode(bytes).expect(name).encode(),
            _ if name.starts_with("noisePayload") => NoisePayload::decode(bytes).expect(name).encode(),
            _ if name.starts_with("holepunchPayload") => HolepunchPayload::decode(bytes).expect(name).encode(),
            _ if name.starts_with("holepunch") => Holepunch::decode(bytes).expect(name).encode(),
            _ => return None,
        })
    }

    #[test]
    fn every_message_of_the_vectors_is_read_and_written() {
        for version in ["network/pinned.json", "network/latest.json"] {
            for (name, message) in testing::vector_json(version)["msg"].as_object().expect("msg") {
                let hex = message.as_str().expect("hex");
                if let Some(again) = again(name, &testing::unhex(hex)) {
                    assert_eq!(testing::hex(&again), hex, "{name}");
                }
            }
        }
    }

    fn addr(text: &str) -> SocketAddrV4 {
        text.parse().expect("address")
    }

    #[test]
    fn handshakes_mean_what_they_say() {
        let (peer, relay) = (Some(addr("1.2.3.4:5")), Some(addr("6.7.8.9:10")));
        let cases = [
            (Mode::FromClient, None, None, "00000401010101"),
            (Mode::FromServer, peer, None, "01010401010101010203040500"),
            (Mode::FromRelay, peer, None, "01020401010101010203040500"),
            (Mode::FromSecondRelay, peer, relay, "03030401010101010203040500060708090a00"),
            (Mode::Reply, peer, None, "01040401010101010203040500"),
            (Mode::Unknown(9), None, None, "00090401010101"),
        ];
        for (mode, peer_address, relay_address, hex) in cases {
            let message = Handshake { mode, noise: &[1; 4], peer_address, relay_address };
            assert_eq!(testing::hex(&message.encode()), hex);
            assert_eq!(Handshake::decode(&testing::unhex(hex)), Ok(message));
        }
    }

    #[test]
    fn hole_punching_messages_mean_what_they_say() {
        let outer = testing::unhex("01000703020202010203040500");
        let message = Holepunch::decode(&outer).expect("holepunch");
        assert_eq!((message.mode, message.id, message.payload), (Mode::FromClient, 7, &[2u8; 3][..]));
        assert_eq!(message.peer_address, Some(addr("1.2.3.4:5")));

        let (ones, twos) = ("01".repeat(32), "02".repeat(32));
        let inner = testing::unhex(&format!("3e00020101010203040500060708090a00{ones}{twos}"));
        let expected = HolepunchPayload {
            firewall: 2,
            round: 1,
            punching: true,
            addresses: Some(vec![addr("1.2.3.4:5")]),
            remote_address: Some(addr("6.7.8.9:10")),
            token: Some([1; 32]),
            remote_token: Some([2; 32]),
            ..HolepunchPayload::default()
        };
        assert_eq!(HolepunchPayload::decode(&inner), Ok(expected));
    }

    #[test]
    fn payloads_mean_what_they_say() {
        let (ones, twos) = ("01".repeat(32), "02".repeat(32));
        let full = format!(
            "017b0000030101010101010002020202020001030303030300\
             0101feefbeadde00010100{ones}{twos}01040404040400"
        );
        let relays = vec![RelayInfo { relay_address: addr("1.1.1.1:1"), peer_address: addr("2.2.2.2:2") }];
        let expected = NoisePayload {
            holepunch: Some(HolepunchInfo { id: 3, relays }),
            addresses4: vec![addr("3.3.3.3:3")],
            udx: Some(UdxInfo::new(0xdead_beef, true)),
            secret_stream: Some(1),
            relay_through: Some(RelayThrough::new([1; 32], [2; 32])),
            relay_addresses: Some(vec![addr("4.4.4.4:4")]),
            ..NoisePayload::new(0, 0)
        };
        assert_eq!(testing::hex(&expected.encode()), full);
        assert_eq!(NoisePayload::decode(&testing::unhex(&full)), Ok(expected));
    }

    #[test]
    fn of_another_version_only_the_version_is_read() {
        let payload = NoisePayload::decode(&[2]).expect("a version is enough");
        assert_eq!((payload.version, payload.udx), (2, None));
    }

    proptest! {
        #[test]
        fn anything_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Handshake::decode(&bytes);
            let _ = Holepunch::decode(&bytes);
            let _ = HolepunchPayload::decode(&bytes);
            let _ = NoisePayload::decode(&bytes);
            let mut versioned = vec![1];
            versioned.extend(&bytes);
            let _ = NoisePayload::decode(&versioned);
        }
    }
}
