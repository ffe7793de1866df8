//! Messages about what nodes store.

use std::net::SocketAddrV4;

use encoding::{DecodeError, Decoder, Encoder};

use super::{addresses, decode, flag, put_addresses, when};

/// The shortest encoding of a [`PeerRecord`].
const MIN_RECORD: usize = 33;

/// A peer, and nodes that forward to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// The peer's key.
    pub public_key: [u8; 32],
    /// Nodes that forward handshakes to it.
    pub relay_addresses: Vec<SocketAddrV4>,
}

impl PeerRecord {
    /// Reads one.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, Self::read)
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { public_key: d.fixed()?, relay_addresses: addresses(d)? })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(MIN_RECORD + 6 * self.relay_addresses.len());
        self.write(&mut e);
        e.finish()
    }

    fn write(&self, e: &mut Encoder) {
        e.fixed(&self.public_key);
        put_addresses(e, &self.relay_addresses);
    }
}

/// The answer to LOOKUP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupReply {
    /// Who announced the topic.
    pub peers: Vec<PeerRecord>,
    /// Time of the last announce that asked for attention, in milliseconds since 1970; zero for none. Nobody vouches for it.
    pub bump: u64,
}

impl LookupReply {
    /// Reads one. Versions before 6.24 do not write `bump`.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, |d| {
            let peers = d.array(MIN_RECORD, PeerRecord::read)?;
            let bump = if d.is_empty() { 0 } else { d.uint()? };
            Ok(Self { peers, bump })
        })
    }

    /// Writes an answer of records that are encoded already.
    pub fn encode_raw(records: &[impl AsRef<[u8]>], bump: u64) -> Vec<u8> {
        let mut e = Encoder::with_capacity(16 + records.iter().map(|r| r.as_ref().len()).sum::<usize>());
        e.array(records, |e, record| {
            e.raw(record.as_ref());
        });
        e.uint(bump);
        e.finish()
    }
}

/// The value of ANNOUNCE and UNANNOUNCE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Who is there.
    pub peer: Option<PeerRecord>,
    /// With `peer`: the hash whose preimage repeats the announce later. Without: that preimage.
    pub refresh: Option<[u8; 32]>,
    /// By the peer's key; see [`signatures`](crate::signatures).
    pub signature: Option<[u8; 64]>,
    /// Time, in milliseconds since 1970, that asks for attention; zero for none. Not signed.
    pub bump: u64,
}

impl Announce {
    /// Reads one.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, |d| {
            let flags = d.uint()?;
            Ok(Self {
                peer: when(flags, 1, || PeerRecord::read(d))?,
                refresh: when(flags, 2, || d.fixed())?,
                signature: when(flags, 4, || d.fixed())?,
                bump: when(flags, 8, || d.uint())?.unwrap_or(0),
            })
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(200);
        let flags = flag(self.peer.is_some(), 1)
            | flag(self.refresh.is_some(), 2)
            | flag(self.signature.is_some(), 4)
            | flag(self.bump != 0, 8);
        e.uint(flags);
        if let Some(peer) = &self.peer {
            peer.write(&mut e);
        }
        if let Some(refresh) = &self.refresh {
            e.fixed(refresh);
        }
        if let Some(signature) = &self.signature {
            e.fixed(signature);
        }
        if self.bump != 0 {
            e.uint(self.bump);
        }
        e.finish()
    }
}

/// The value of MUTABLE_PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutablePut<'a> {
    /// Whose value it is.
    pub public_key: [u8; 32],
    /// Which of its values; the highest counts.
    pub seq: u64,
    /// The value; empty when there is none.
    pub value: &'a [u8],
    /// By that key; see [`signatures`](crate::signatures).
    pub signature: [u8; 64],
}

impl<'a> MutablePut<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        decode(bytes, |d| {
            Ok(Self { public_key: d.fixed()?, seq: d.uint()?, value: d.buffer()?, signature: d.fixed()? })
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(self.value.len() + 120);
        e.fixed(&self.public_key).uint(self.seq).buffer(self.value).fixed(&self.signature);
        e.finish()
    }
}

/// The answer to MUTABLE_GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutableGet<'a> {
    /// Which of the values.
    pub seq: u64,
    /// The value.
    pub value: &'a [u8],
    /// By the key that was asked for.
    pub signature: [u8; 64],
}

impl<'a> MutableGet<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        decode(bytes, |d| Ok(Self { seq: d.uint()?, value: d.buffer()?, signature: d.fixed()? }))
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::with_capacity(self.value.len() + 80);
        e.uint(self.seq).buffer(self.value).fixed(&self.signature);
        e.finish()
    }
}

/// What the signature of a mutable value is about.
pub fn mutable_signable(seq: u64, value: &[u8]) -> Vec<u8> {
    let mut e = Encoder::with_capacity(value.len() + 18);
    e.uint(seq).buffer(value);
    e.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a record of the kind that the name of a vector begins with, and writes it again.
    fn again(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        Some(match name {
            _ if name.starts_with("peer") => PeerRecord::decode(bytes).expect(name).encode(),
            _ if name.starts_with("announce") => Announce::decode(bytes).expect(name).encode(),
            _ if name.starts_with("mutablePutRequest") => MutablePut::decode(bytes).expect(name).encode(),
            _ if name.starts_with("mutableGetResponse") => MutableGet::decode(bytes).expect(name).encode(),
            _ if name.starts_with("lookupRawReply") => {
                let reply = LookupReply::decode(bytes).expect(name);
                let records: Vec<Vec<u8>> = reply.peers.iter().map(PeerRecord::encode).collect();
                LookupReply::encode_raw(&records, reply.bump)
            }
            _ => return None,
        })
    }

    #[test]
    fn every_record_of_the_vectors_is_read_and_written() {
        for version in ["network/pinned.json", "network/latest.json"] {
            for (name, record) in testing::vector_json(version)["msg"].as_object().expect("msg") {
                // Versions before 6.24 do not have some of them.
                let Some(hex) = record.as_str() else { continue };
                if let Some(again) = again(name, &testing::unhex(hex)) {
                    assert_eq!(testing::hex(&again), hex, "{name}");
                }
            }
        }
    }

    #[test]
    fn records_mean_what_they_say() {
        let (key, signature) = ("01".repeat(32), "02".repeat(64));
        let peer = testing::unhex(&format!("{key}01010203040500"));
        let expected = PeerRecord { public_key: [1; 32], relay_addresses: vec!["1.2.3.4:5".parse().expect("address")] };
        assert_eq!(PeerRecord::decode(&peer), Ok(expected));

        let reply = testing::unhex(&format!("01{key}00"));
        let alone = PeerRecord { public_key: [1; 32], relay_addresses: Vec::new() };
        let expected = LookupReply { peers: vec![alone.clone()], bump: 0 };
        assert_eq!(LookupReply::decode(&reply).as_ref(), Ok(&expected), "of a version without bump");
        assert_eq!(LookupReply::decode(&[&reply[..], &[7]].concat()), Ok(LookupReply { bump: 7, ..expected }));

        let announce = testing::unhex(&format!("0d{key}00{signature}ff00c02cc899010000"));
        let expected = Announce { peer: Some(alone), refresh: None, signature: Some([2; 64]), bump: 1_760_000_000_000 };
        assert_eq!(Announce::decode(&announce), Ok(expected));

        let put = testing::unhex(&format!("{key}fd2c0103020202{signature}"));
        let expected = MutablePut { public_key: [1; 32], seq: 300, value: &[2; 3], signature: [2; 64] };
        assert_eq!(MutablePut::decode(&put), Ok(expected));
    }

    #[test]
    fn a_count_is_not_believed() {
        // An array of a million records in five bytes.
        assert!(LookupReply::decode(&[0xfe, 0, 0, 16, 0]).is_err());
    }

    proptest! {
        #[test]
        fn anything_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = PeerRecord::decode(&bytes);
            let _ = LookupReply::decode(&bytes);
            let _ = Announce::decode(&bytes);
            let _ = MutablePut::decode(&bytes);
            let _ = MutableGet::decode(&bytes);
        }
    }
}
