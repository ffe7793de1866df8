//! Noise-secured, framed streams: JavaScript's `@hyperswarm/secret-stream`.
//!
//! ```
//! use crypto::KeyPair;
//! use secret_stream::{IoTransport, Options, SecretStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), secret_stream::Error> {
//! let (a, b) = tokio::io::duplex(1024);
//! let alice = SecretStream::connect(IoTransport::new(a), KeyPair::generate(), Options::default());
//! let bob = SecretStream::accept(IoTransport::new(b), KeyPair::generate(), Options::default());
//! let (mut alice, mut bob) = tokio::try_join!(alice, bob)?;
//!
//! assert_eq!(alice.handshake_hash(), bob.handshake_hash());
//! alice.send(b"hello").await?;
//! assert_eq!(bob.recv().await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! A stream takes whole messages of up to [`MAX_MESSAGE`] bytes and delivers them whole, in order, encrypted and authenticated by
//! libsodium's `crypto_secretstream_xchacha20poly1305`. [`Core`] is the protocol without I/O; [`SecretStream`] runs it on a
//! [`Transport`].
//!
//! # On the wire
//! Frames: a 24-bit little-endian length and so many bytes. With a handshake of its own ([`SecretStream::connect`]) the first
//! frames are the three Noise `XX` messages; over HyperDHT there are none. Then each side sends one frame of 56 bytes: the stream
//! id of its role (BLAKE2b-256 of a namespace, keyed with the handshake hash) and its secretstream header. Every frame after that
//! is one message, 17 bytes longer than what it carries. An empty message keeps the connection alive. The end of the stream is
//! the end of the transport; there is no final tag.
//!
//! # Hostile input
//! A frame costs memory as its bytes arrive, not as they are announced, and at most [`Options::max_message`]. What does not open
//! ends the connection. Unordered messages that are not genuine, or are replayed, are dropped.

mod core;
mod driver;
mod error;
pub mod framing;
mod keeper;
mod monitor;
mod stream;
pub mod timers;
mod transport;
pub mod unordered;

pub use crate::core::{Core, Entropy, Event, MAX_HANDSHAKE_FRAME, MAX_MESSAGE, OVERHEAD, stream_id};
pub use error::Error;
pub use monitor::Monitor;
pub use stream::{Options, SecretStream, WRITE_HIGH_WATER, WRITE_TIMEOUT};
pub use transport::{IoTransport, Transport};
