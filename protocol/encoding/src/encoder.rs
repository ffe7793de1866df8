use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::lexint;

/// Appends values to a byte vector in compact encoding.
///
/// Every method returns the encoder, so that a message reads like its format. Encoding cannot fail.
///
/// Integers above [`MAX_SAFE_INTEGER`](crate::MAX_SAFE_INTEGER) are written in full by [`uint`](Self::uint), but neither
/// JavaScript nor [`Decoder::uint`](crate::Decoder::uint) reads them back: keep to 53 bits.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// An encoder without bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// The encoded bytes.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes encoded so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes were encoded so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was encoded yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// An integer in 1, 3, 5 or 9 bytes: up to 0xfc itself; else 0xfd, 0xfe or 0xff and 2, 4 or 8 bytes.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        match value {
            0..=0xfc => self.u8(value as u8),
            0xfd..=0xffff => self.u8(0xfd).u16(value as u16),
            0x1_0000..=0xffff_ffff => self.u8(0xfe).u32(value as u32),
            _ => self.u8(0xff).u64(value),
        }
    }

    /// A signed integer: as [`uint`](Self::uint) in the order 0, -1, 1, -2, 2, ... (zigzag).
    pub fn int(&mut self, value: i64) -> &mut Self {
        self.uint(((value << 1) ^ (value >> 63)) as u64)
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// The low three bytes of `value`; the fourth is dropped.
    pub fn u24(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes()[..3])
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// The low five bytes of `value`; the others are dropped.
    pub fn u40(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes()[..5])
    }

    /// The low six bytes of `value`; the others are dropped.
    pub fn u48(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes()[..6])
    }

    /// The low seven bytes of `value`; the eighth is dropped.
    pub fn u56(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes()[..7])
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// An IEEE 754 number in four bytes.
    pub fn f32(&mut self, value: f32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// An IEEE 754 number in eight bytes.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// An integer whose encodings sort as the integers do (`compact-encoding`'s `lexint`).
    ///
    /// Like JavaScript's, it keeps 44 bits: an odd integer above 2^44 may be read back as a lesser neighbour.
    pub fn lexint(&mut self, value: u64) -> &mut Self {
        lexint::encode(&mut self.bytes, value);
        self
    }

    /// One byte, 1 or 0.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(value.into())
    }

    /// The length and the bytes.
    pub fn buffer(&mut self, bytes: &[u8]) -> &mut Self {
        self.uint(bytes.len() as u64).raw(bytes)
    }

    /// The length and the bytes, or a zero length for `None`. An empty buffer is written, and read back, as `None`.
    pub fn optional_buffer(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        self.buffer(bytes.unwrap_or_default())
    }

    /// The length in UTF-8 and the text.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.buffer(text.as_bytes())
    }

    /// The bytes themselves. The decoder takes the rest of the message for them.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Bytes whose number both sides know, such as a key or a hash.
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.raw(bytes)
    }

    /// An IPv4 address, four octets, and its port (`ipv4Address`): 6 bytes.
    pub fn ipv4(&mut self, address: SocketAddrV4) -> &mut Self {
        self.raw(&address.ip().octets()).u16(address.port())
    }

    /// An IPv6 address, sixteen octets, and its port (`ipv6Address`): 18 bytes. Flow and scope are not written.
    pub fn ipv6(&mut self, address: SocketAddrV6) -> &mut Self {
        self.raw(&address.ip().octets()).u16(address.port())
    }

    /// The family, 4 or 6, the octets, and the port (`ipAddress`): 7 or 19 bytes.
    pub fn ip(&mut self, address: SocketAddr) -> &mut Self {
        match address.ip() {
            IpAddr::V4(ip) => self.u8(4).ipv4(SocketAddrV4::new(ip, address.port())),
            IpAddr::V6(ip) => self.u8(6).ipv6(SocketAddrV6::new(ip, address.port(), 0, 0)),
        }
    }

    /// Flags, the first in bit 0, of a field declared with `LENGTH` of them (`bitfield(LENGTH)`).
    ///
    /// Fewer than 8 flags are one byte. More are as wide as [`uint`](Self::uint) would make the greatest value: 0xfd, 0xfe or
    /// 0xff and 2, 4 or 8 bytes, whatever the flags are.
    pub fn bitfield<const LENGTH: usize>(&mut self, flags: u64) -> &mut Self {
        const { assert!(LENGTH <= 64, "a bitfield holds 64 flags at most") };
        match LENGTH {
            0..=7 => self.u8(flags as u8),
            8..=16 => self.u8(0xfd).u16(flags as u16),
            17..=32 => self.u8(0xfe).u32(flags as u32),
            _ => self.u8(0xff).u64(flags),
        }
    }

    /// The number of `items`, then each item as `encode` writes it.
    pub fn array<I>(&mut self, items: I, mut encode: impl FnMut(&mut Self, I::Item)) -> &mut Self
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
    {
        let items = items.into_iter();
        self.uint(items.len() as u64);
        for item in items {
            encode(self, item);
        }
        self
    }

    /// The number of integers, then four bytes each (`uint32array`).
    pub fn u32_array(&mut self, values: &[u32]) -> &mut Self {
        self.array(values, |encoder, &value| {
            encoder.u32(value);
        })
    }

    /// What `encode` writes, behind its length in bytes, so that a decoder can skip what it does not know.
    pub fn frame(&mut self, encode: impl FnOnce(&mut Self)) -> &mut Self {
        let mut body = Self::new();
        encode(&mut body);
        self.buffer(&body.bytes)
    }
}

impl From<Vec<u8>> for Encoder {
    /// An encoder that appends to `bytes`.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }
}

impl From<Encoder> for Vec<u8> {
    fn from(encoder: Encoder) -> Self {
        encoder.finish()
    }
}
