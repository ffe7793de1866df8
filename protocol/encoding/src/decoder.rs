use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::{DecodeError, MAX_SAFE_INTEGER, lexint};

/// The greatest number of items that a list may claim, as in JavaScript. A list that claims more is an error.
pub const MAX_ARRAY_LENGTH: u64 = 0x10_0000;

/// How many items of a list get room before any was decoded. Longer lists grow as their items arrive.
const FIRST_ITEMS: usize = 256;

/// Takes values off the front of compactly encoded bytes.
///
/// After an error the decoder may stand anywhere; the message is to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// A decoder at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all bytes were taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes all that is left; the counterpart of [`Encoder::raw`](crate::Encoder::raw).
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Takes the next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => Err(DecodeError::OutOfBounds { needed: count as u64, left: self.bytes.len() }),
        }
    }

    /// Takes `N` bytes, such as a key or a hash.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes.split_first_chunk() {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(*taken)
            }
            None => Err(DecodeError::OutOfBounds { needed: N as u64, left: self.bytes.len() }),
        }
    }

    /// An integer of 1, 3, 5 or 9 bytes. As in JavaScript, a form longer than necessary is accepted.
    ///
    /// Above 2^53 - 1 JavaScript would read a rounded number, and two peers could take one message for two different ones;
    /// here it is [`DecodeError::UnsafeInteger`]. No JavaScript peer can have encoded it.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        match self.u8()? {
            0xfd => self.u16().map(u64::from),
            0xfe => self.u32().map(u64::from),
            0xff => match self.u64()? {
                value @ 0..=MAX_SAFE_INTEGER => Ok(value),
                value => Err(DecodeError::UnsafeInteger(value)),
            },
            value => Ok(value.into()),
        }
    }

    /// A [`uint`](Self::uint) that is to be used as a length or an index in memory.
    pub fn uint_usize(&mut self) -> Result<usize, DecodeError> {
        let value = self.uint()?;
        usize::try_from(value).map_err(|_| DecodeError::OutOfBounds { needed: value, left: self.bytes.len() })
    }

    /// A signed integer; see [`Encoder::int`](crate::Encoder::int).
    pub fn int(&mut self) -> Result<i64, DecodeError> {
        let value = self.uint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.fixed().map(u8::from_le_bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_le_bytes)
    }

    /// Three bytes.
    pub fn u24(&mut self) -> Result<u32, DecodeError> {
        self.little_endian::<3>().map(|value| value as u32)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// Five bytes.
    pub fn u40(&mut self) -> Result<u64, DecodeError> {
        self.little_endian::<5>()
    }

    /// Six bytes.
    pub fn u48(&mut self) -> Result<u64, DecodeError> {
        self.little_endian::<6>()
    }

    /// Seven bytes. All 56 bits are returned, though JavaScript's `uint56` is exact only up to 2^53 - 1.
    pub fn u56(&mut self) -> Result<u64, DecodeError> {
        self.little_endian::<7>()
    }

    /// Eight bytes. All 64 bits are returned, though JavaScript's `uint64` is exact only up to 2^53 - 1.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.fixed().map(u64::from_le_bytes)
    }

    fn little_endian<const N: usize>(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.fixed::<N>()?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// An IEEE 754 number of four bytes.
    pub fn f32(&mut self) -> Result<f32, DecodeError> {
        self.fixed().map(f32::from_le_bytes)
    }

    /// An IEEE 754 number of eight bytes.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_le_bytes)
    }

    /// An integer written by [`Encoder::lexint`](crate::Encoder::lexint). An error above 2^53 - 1.
    pub fn lexint(&mut self) -> Result<u64, DecodeError> {
        lexint::decode(self)
    }

    /// One byte. Only 1 is true: as in JavaScript, every other byte is false.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? == 1)
    }

    /// A length and as many bytes.
    pub fn buffer(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.uint_usize()?;
        self.bytes(length)
    }

    /// A length and as many bytes; `None` if the length is zero.
    pub fn optional_buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        Ok(Some(self.buffer()?).filter(|bytes| !bytes.is_empty()))
    }

    /// A length and as many bytes of UTF-8. As in JavaScript, what is not UTF-8 becomes U+FFFD.
    pub fn string(&mut self) -> Result<String, DecodeError> {
        Ok(String::from_utf8_lossy(self.buffer()?).into_owned())
    }

    /// An IPv4 address and its port; see [`Encoder::ipv4`](crate::Encoder::ipv4).
    pub fn ipv4(&mut self) -> Result<SocketAddrV4, DecodeError> {
        Ok(SocketAddrV4::new(Ipv4Addr::from(self.fixed::<4>()?), self.u16()?))
    }

    /// An IPv6 address and its port; see [`Encoder::ipv6`](crate::Encoder::ipv6).
    pub fn ipv6(&mut self) -> Result<SocketAddrV6, DecodeError> {
        Ok(SocketAddrV6::new(Ipv6Addr::from(self.fixed::<16>()?), self.u16()?, 0, 0))
    }

    /// A family, an address and its port. As in JavaScript, every family but 4 is read as IPv6.
    pub fn ip(&mut self) -> Result<SocketAddr, DecodeError> {
        match self.u8()? {
            4 => self.ipv4().map(SocketAddr::V4),
            _ => self.ipv6().map(SocketAddr::V6),
        }
    }

    /// The flags of a field declared with `LENGTH` of them; see [`Encoder::bitfield`](crate::Encoder::bitfield).
    ///
    /// The width is the one that the bytes name, so that a field can grow: flags beyond those declared are returned as they
    /// are, those that are not there are zero. Of a field of up to 8 flags only the first byte counts.
    pub fn bitfield<const LENGTH: usize>(&mut self) -> Result<u64, DecodeError> {
        let flags = match self.u8()? {
            0xfd => self.u16()?.into(),
            0xfe => self.u32()?.into(),
            0xff => self.u64()?,
            flags => flags.into(),
        };
        Ok(if LENGTH <= 8 { flags & 0xff } else { flags })
    }

    /// A count and as many items, each taken by `decode`.
    ///
    /// `min_item_bytes` is the least that one item takes (0 counts as 1): a count that the rest of the bytes cannot hold is
    /// [`DecodeError::OutOfBounds`] before anything is decoded or allocated, one above [`MAX_ARRAY_LENGTH`] is
    /// [`DecodeError::ArrayTooBig`].
    pub fn array<T>(
        &mut self,
        min_item_bytes: usize,
        mut decode: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.uint()?;
        if count > MAX_ARRAY_LENGTH {
            return Err(DecodeError::ArrayTooBig(count));
        }
        let needed = count.saturating_mul(min_item_bytes.max(1) as u64);
        if needed > self.bytes.len() as u64 {
            return Err(DecodeError::OutOfBounds { needed, left: self.bytes.len() });
        }
        let mut items = Vec::with_capacity((count as usize).min(FIRST_ITEMS));
        for _ in 0..count {
            items.push(decode(self)?);
        }
        Ok(items)
    }

    /// A count and four bytes for each integer (`uint32array`).
    pub fn u32_array(&mut self) -> Result<Vec<u32>, DecodeError> {
        self.array(4, Self::u32)
    }

    /// A length and a message of that length, taken by `decode`. What `decode` leaves of the frame is skipped.
    pub fn frame<T>(
        &mut self,
        decode: impl FnOnce(&mut Decoder<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        decode(&mut Decoder::new(self.buffer()?))
    }
}
