//! Integers whose encodings sort, byte by byte, as the integers do (`compact-encoding`'s `lexint`).
//!
//! Up to 250 the byte is the integer. Above, the first byte says how wide the rest is and the rest is, big endian, the excess
//! over 251; beyond 32 bits it is 0xff, an exponent, and 48 bits of mantissa.

use crate::{DecodeError, Decoder, MAX_SAFE_INTEGER};

/// The first integer that needs more than one byte.
const WIDE: u64 = 251;

/// An integer below 2^53 has an exponent below this one.
const MAX_EXPONENT: u8 = 21;

pub(crate) fn encode(out: &mut Vec<u8>, value: u64) {
    let excess = value.wrapping_sub(WIDE).to_be_bytes();
    match value {
        0..WIDE => out.push(value as u8),
        WIDE..=0xff => out.extend([0xfb, excess[7]]),
        0x100..=0xffff => out.extend([0xfc, excess[6], excess[7]]),
        0x1_0000..=0xff_ffff => out.extend([0xfd, excess[5], excess[6], excess[7]]),
        0x100_0000..=0xffff_ffff => out.extend([0xfe, excess[4], excess[5], excess[6], excess[7]]),
        _ => {
            let excess = (value - WIDE) as f64;
            // In floating point as in JavaScript: near a power of two the rounding of the logarithm decides the bytes.
            let exponent = (libm::log(excess) / libm::log(2.0)).floor() as i32 - 32;
            // The 251 integers from 2^32 on have the exponent -1, which JavaScript writes as 0xff (and cannot read back).
            out.extend([0xff, exponent as u8]);
            let mantissa = libm::scalbn(excess, 11 - exponent);
            out.extend_from_slice(&(mantissa as u64).to_be_bytes()[2..]);
        }
    }
}

pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<u64, DecodeError> {
    let wide = |bytes: &[u8]| bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)) + WIDE;
    match decoder.u8()? {
        0xfb => decoder.bytes(1).map(wide),
        0xfc => decoder.bytes(2).map(wide),
        0xfd => decoder.bytes(3).map(wide),
        0xfe => decoder.bytes(4).map(wide),
        0xff => {
            let exponent = match decoder.u8()? {
                exponent @ 0..=MAX_EXPONENT => i32::from(exponent),
                0xff => -1,
                _ => return Err(DecodeError::Invalid("exponent of a lexint")),
            };
            let mantissa = decoder.bytes(6)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
            let value = libm::scalbn(mantissa as f64, exponent - 11) + WIDE as f64;
            if value > MAX_SAFE_INTEGER as f64 {
                return Err(DecodeError::UnsafeInteger(value as u64));
            }
            if value.fract() != 0.0 {
                return Err(DecodeError::Invalid("fraction in a lexint"));
            }
            Ok(value as u64)
        }
        value => Ok(value.into()),
    }
}
