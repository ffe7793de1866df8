//! The packet header and the selective acknowledgement blocks, as bytes.
//!
//! All integers are little-endian:
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 1 | magic `0xff` |
//! | 1 | 1 | version 1 |
//! | 2 | 1 | [`flags`] |
//! | 3 | 1 | data offset: bytes between the header and the payload |
//! | 4 | 4 | stream id of the receiver |
//! | 8 | 4 | receive window of the sender: the bytes that it still takes |
//! | 12 | 4 | sequence number, counted in packets |
//! | 16 | 4 | acknowledgement: the next packet number that the sender expects |
//!
//! There is no handshake, checksum or source authentication on this layer: whoever knows the random stream id can write
//! into the stream. Integrity is the business of the encrypted layer above.

use std::ops::Range;

/// Length of the fixed header.
pub const HEADER_LEN: usize = 20;
/// First byte of every UDX packet.
pub const MAGIC: u8 = 0xff;
/// Second byte of every UDX packet.
pub const VERSION: u8 = 1;
/// Most SACK blocks that we put in one packet: 400 bytes, the limit of libudx.
pub const MAX_SACK_BLOCKS: usize = 50;
/// Most SACK blocks that are read from one packet. The rest of a longer list is ignored: the sender repeats it anyway.
pub const MAX_SACK_BLOCKS_READ: usize = 128;

/// The bits of the flags field.
pub mod flags {
    /// The packet carries stream bytes and has its own sequence number.
    pub const DATA: u8 = 0x01;
    /// The writer ended; the packet has its own sequence number.
    pub const END: u8 = 0x02;
    /// The area after the header holds selective acknowledgements.
    pub const SACK: u8 = 0x04;
    /// The payload is an unordered, unreliable message.
    pub const MESSAGE: u8 = 0x08;
    /// The sender destroyed the stream.
    pub const DESTROY: u8 = 0x10;
    /// Asks for an acknowledgement (libudx since February 2026).
    pub const HEARTBEAT: u8 = 0x20;
}

/// The fixed header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// A combination of [`flags`]; zero is a plain acknowledgement.
    pub flags: u8,
    /// Bytes between the header and the payload (padding of an MTU probe, or SACK blocks before data).
    pub data_offset: u8,
    /// The stream id at the receiver of the packet.
    pub stream_id: u32,
    /// Bytes that the sender still takes: what its reader left free. What it holds out of order is not counted.
    pub window: u32,
    /// Number of this packet, or of the sender's next packet where the packet has no number of its own.
    pub seq: u32,
    /// The next packet number that the sender expects.
    pub ack: u32,
}

impl Header {
    /// Reads the header, or `None` when the bytes are not a UDX packet (too short, other magic or version).
    #[must_use]
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = datagram.first_chunk()?;
        if bytes[0] != MAGIC || bytes[1] != VERSION {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(Self {
            flags: bytes[2],
            data_offset: bytes[3],
            stream_id: word(4),
            window: word(8),
            seq: word(12),
            ack: word(16),
        })
    }

    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = MAGIC;
        bytes[1] = VERSION;
        bytes[2] = self.flags;
        bytes[3] = self.data_offset;
        bytes[4..8].copy_from_slice(&self.stream_id.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.window.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.ack.to_le_bytes());
        bytes
    }

    /// Whether all of these flag bits are set.
    #[must_use]
    pub fn has(&self, bits: u8) -> bool {
        self.flags & bits == bits
    }

    /// Splits what follows the header into the SACK area and the payload.
    ///
    /// `None` when the packet contradicts itself: a data offset beyond its end, or blocks and data in the same bytes.
    #[must_use]
    pub fn split<'a>(&self, body: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let offset = usize::from(self.data_offset);
        let (extension, payload) = body.split_at_checked(offset)?;
        if !self.has(flags::SACK) {
            return Some((&[], payload));
        }
        match offset {
            0 if self.flags & (flags::DATA | flags::MESSAGE) != 0 => None,
            0 => Some((body, &[])),
            _ => Some((extension, payload)),
        }
    }
}

/// Reads the stream id of something that looks like a UDX packet, without reading the rest.
#[must_use]
pub fn stream_id(datagram: &[u8]) -> Option<u32> {
    let bytes: &[u8; HEADER_LEN] = datagram.first_chunk()?;
    (bytes[0] == MAGIC && bytes[1] == VERSION).then(|| u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]))
}

/// Writes the stream id into an encoded packet; this is all that a relay changes.
pub(crate) fn set_stream_id(datagram: &mut [u8], id: u32) {
    if let Some(field) = datagram.get_mut(4..8) {
        field.copy_from_slice(&id.to_le_bytes());
    }
}

/// The SACK blocks of an extension area: half-open ranges of packet numbers, at most [`MAX_SACK_BLOCKS_READ`].
///
/// Nothing is promised about the ranges: they come from the peer.
pub fn sack_blocks(extension: &[u8]) -> impl Iterator<Item = Range<u32>> + '_ {
    extension.chunks_exact(8).take(MAX_SACK_BLOCKS_READ).map(|block| {
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        word(0)..word(4)
    })
}

/// Appends one SACK block.
pub(crate) fn push_sack_block(out: &mut Vec<u8>, range: Range<u32>) {
    out.extend_from_slice(&range.start.to_le_bytes());
    out.extend_from_slice(&range.end.to_le_bytes());
}

/// The 64-bit number that is nearest to `near` and ends in the 32 bits of `wire`.
///
/// Packet numbers wrap at 2^32 on the wire; inside they never do. Own counters start at 2^32 plus the initial number,
/// so that "nearest" never falls below zero.
pub(crate) fn unwrap_seq(near: u64, wire: u32) -> u64 {
    let distance = wire.wrapping_sub(near as u32) as i32;
    near.wrapping_add_signed(i64::from(distance))
}

/// Where 64-bit packet numbers begin for an initial wire number.
pub(crate) fn first_seq(initial: u32) -> u64 {
    (1 << 32) + u64::from(initial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_bytes() {
        let header = Header {
            flags: flags::DATA | flags::END,
            data_offset: 3,
            stream_id: 0x0403_0201,
            window: 4_194_304,
            seq: u32::MAX,
            ack: 7,
        };
        let bytes = header.encode();
        assert_eq!(bytes, [255, 1, 3, 3, 1, 2, 3, 4, 0, 0, 64, 0, 255, 255, 255, 255, 7, 0, 0, 0]);
        assert_eq!(Header::decode(&bytes), Some(header));
        assert_eq!(stream_id(&bytes), Some(0x0403_0201));
    }

    #[test]
    fn refuses_what_is_not_udx() {
        assert_eq!(Header::decode(&[0xff, 1, 0]), None);
        let mut bytes = [0; 20];
        bytes[0] = 0xff;
        bytes[1] = 2;
        assert_eq!(Header::decode(&bytes), None);
        assert_eq!(stream_id(&bytes), None);
    }

    #[test]
    fn splits_by_data_offset() {
        let mut header = Header { flags: flags::DATA, data_offset: 2, stream_id: 0, window: 0, seq: 0, ack: 0 };
        assert_eq!(header.split(b"\0\0data"), Some((&b""[..], &b"data"[..])));
        header.data_offset = 9;
        assert_eq!(header.split(b"\0\0data"), None);
        header.flags = flags::SACK;
        header.data_offset = 0;
        assert_eq!(header.split(b"12345678"), Some((&b"12345678"[..], &b""[..])));
        header.flags = flags::SACK | flags::DATA;
        assert_eq!(header.split(b"12345678"), None);
        header.data_offset = 8;
        assert_eq!(header.split(b"12345678x"), Some((&b"12345678"[..], &b"x"[..])));
    }

    #[test]
    fn numbers_unwrap_to_the_nearest() {
        let near = first_seq(u32::MAX - 1);
        assert_eq!(unwrap_seq(near, u32::MAX), near + 1);
        assert_eq!(unwrap_seq(near, 1), near + 3);
        assert_eq!(unwrap_seq(near, u32::MAX - 5), near - 4);
        assert_eq!(unwrap_seq(first_seq(0), u32::MAX), first_seq(0) - 1);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some(header) = Header::decode(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_LEN]);
                if let Some((extension, payload)) = header.split(&bytes[HEADER_LEN..]) {
                    prop_assert!(extension.len() + payload.len() <= bytes.len());
                    prop_assert!(sack_blocks(extension).count() <= MAX_SACK_BLOCKS_READ);
                }
            }
        }
    }
}
