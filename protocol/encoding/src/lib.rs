//! The compact encoding of the Holepunch stack, bounded, and JavaScript's JSON.
//!
//! ```
//! use encoding::{Decoder, Encoder};
//!
//! let mut message = Encoder::new();
//! message.uint(300).string("hello").buffer(&[1, 2, 3]);
//! let bytes = message.finish();
//! assert_eq!(bytes, b"\xfd\x2c\x01\x05hello\x03\x01\x02\x03");
//!
//! let mut message = Decoder::new(&bytes);
//! assert_eq!(message.uint()?, 300);
//! assert_eq!(message.string()?, "hello");
//! assert_eq!(message.buffer()?, [1, 2, 3]);
//! assert!(message.is_empty());
//! # Ok::<(), encoding::DecodeError>(())
//! ```
//!
//! The format is that of the JavaScript modules `compact-encoding`, `compact-encoding-net` and `compact-encoding-bitfield`;
//! [`index_encoder`] is that of `index-encoder` and `sub-encoder`. Integers are little endian. Nothing in the bytes names a
//! type: who decodes must know what was encoded.
//!
//! # Hostile input
//! A [`Decoder`] never panics and never allocates more than a small multiple of the bytes it was given: lengths are compared
//! with what is left before they are used, and a list is refused when its items could not fit into the rest.

mod decoder;
mod encoder;
mod error;
pub mod index_encoder;
pub mod json;
mod lexint;

pub use decoder::{Decoder, MAX_ARRAY_LENGTH};
pub use encoder::Encoder;
pub use error::DecodeError;

/// The greatest integer that JavaScript's numbers hold exactly, 2^53 - 1 (`Number.MAX_SAFE_INTEGER`).
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
