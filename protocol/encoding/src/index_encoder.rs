//! Keys whose bytes sort as their values do: the JavaScript modules `index-encoder` and `sub-encoder`.
//!
//! ```
//! use encoding::index_encoder::{SubEncoder, decode_string, decode_uint, encode_string, encode_uint};
//!
//! let mut key = Vec::new();
//! encode_uint(&mut key, 300);
//! encode_string(&mut key, "abc");
//! assert_eq!(key, b"\xfc\x01\x2c\x00abc\x00\x01");
//!
//! let mut rest = &key[..];
//! assert_eq!(decode_uint(&mut rest)?, 300);
//! assert_eq!(decode_string(&mut rest)?, "abc");
//!
//! let members = SubEncoder::new(&[1]);
//! assert_eq!(members.encode(b"key"), b"\x01\x00key");
//! # Ok::<(), encoding::DecodeError>(())
//! ```
//!
//! A tuple is the concatenation of its fields. Decoders take their field off the front of a slice.

use crate::{DecodeError, Decoder, MAX_SAFE_INTEGER};

/// The bytes of the integer that sorts behind all others, `Infinity` in JavaScript.
pub const UINT_INFINITY: u8 = 0xff;

/// Appends an integer (`UINT`): one byte up to 0xfb, else 0xfc, 0xfd or 0xfe and 2, 4 or 8 bytes, big endian.
///
/// JavaScript refuses integers above 2^53 - 1, and so does [`decode_uint`].
pub fn encode_uint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0xfb => out.push(value as u8),
        0xfc..=0xffff => {
            out.push(0xfc);
            out.extend((value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xfd);
            out.extend((value as u32).to_be_bytes());
        }
        _ => {
            out.push(0xfe);
            out.extend(value.to_be_bytes());
        }
    }
}

/// Takes an integer off the front of `bytes`. [`UINT_INFINITY`] is `u64::MAX`.
pub fn decode_uint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let value = match decoder.u8()? {
        0xfc => u16::from_be_bytes(decoder.fixed()?).into(),
        0xfd => u32::from_be_bytes(decoder.fixed()?).into(),
        0xfe => match u64::from_be_bytes(decoder.fixed()?) {
            value @ 0..=MAX_SAFE_INTEGER => value,
            value => return Err(DecodeError::UnsafeInteger(value)),
        },
        UINT_INFINITY => u64::MAX,
        value => value.into(),
    };
    *bytes = decoder.rest();
    Ok(value)
}

/// Appends bytes (`BUFFER`): 0x00, the bytes with 0x02 behind each zero, 0x00 0x01.
pub fn encode_buffer(out: &mut Vec<u8>, value: &[u8]) {
    out.reserve(value.len() + 3);
    out.push(0);
    for &byte in value {
        out.push(byte);
        if byte == 0 {
            out.push(2);
        }
    }
    out.extend([0, 1]);
}

/// Takes bytes off the front of `bytes`.
pub fn decode_buffer(bytes: &mut &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    if decoder.u8()? != 0 {
        return Err(DecodeError::Invalid("start of an index string"));
    }
    let mut value = Vec::new();
    loop {
        match decoder.u8()? {
            0 => match decoder.u8()? {
                1 => break,
                2 => value.push(0),
                _ => return Err(DecodeError::Invalid("escape in an index string")),
            },
            byte => value.push(byte),
        }
    }
    *bytes = decoder.rest();
    Ok(value)
}

/// Appends text (`STRING`): its UTF-8 as [`encode_buffer`] writes it.
pub fn encode_string(out: &mut Vec<u8>, value: &str) {
    encode_buffer(out, value.as_bytes());
}

/// Takes text off the front of `bytes`. What is not UTF-8 becomes U+FFFD.
pub fn decode_string(bytes: &mut &[u8]) -> Result<String, DecodeError> {
    let value = decode_buffer(bytes)?;
    Ok(String::from_utf8(value).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// A part of a key space, set off by a prefix and a zero byte (`sub-encoder`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubEncoder {
    prefix: Vec<u8>,
}

impl SubEncoder {
    /// The part of the whole key space that `prefix` names.
    pub fn new(prefix: &[u8]) -> Self {
        Self { prefix: [prefix, &[0]].concat() }
    }

    /// The part of this part that `prefix` names.
    pub fn sub(&self, prefix: &[u8]) -> Self {
        Self { prefix: [&self.prefix, prefix, &[0]].concat() }
    }

    /// The whole key of `key`.
    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    /// What [`encode`](Self::encode) was given, or `None` for a key of another part.
    pub fn decode<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(&self.prefix[..])
    }

    /// The bounds of all keys of this part: from the first, included, to the second, excluded.
    pub fn range(&self) -> (Vec<u8>, Vec<u8>) {
        let mut end = self.prefix.clone();
        if let Some(separator) = end.last_mut() {
            *separator = 1;
        }
        (self.prefix.clone(), end)
    }
}
