//! The cryptography of the Holepunch stack, by libsodium's rules.
//!
//! ```
//! use crypto::noise::{Handshake, Pattern};
//! use crypto::secretstream::{Pull, Push, random_header};
//! use crypto::{CryptoError, KeyPair};
//!
//! // A server, and a client that knows its key: two messages, and both have the same keys.
//! let (server, client) = (KeyPair::generate(), KeyPair::generate());
//! let server_key = server.public_key;
//! let mut at_server = Handshake::new(Pattern::IK, false, server, None, b"prologue");
//! let mut at_client = Handshake::new(Pattern::IK, true, client, Some(server_key), b"prologue");
//! assert_eq!(at_server.recv(&at_client.send(b"hello")?)?, b"hello");
//! assert_eq!(at_client.recv(&at_server.send(b"welcome")?)?, b"welcome");
//! let (at_client, at_server) = (at_client.finish()?, at_server.finish()?);
//! assert_eq!(at_client.hash, at_server.hash);
//!
//! // Then each direction is a stream of sealed messages.
//! let header = random_header();
//! let mut push = Push::new(&at_client.tx, &header);
//! let mut pull = Pull::new(&at_server.rx, &header);
//! assert_eq!(pull.open(&push.seal(b"first"))?, b"first");
//! # Ok::<(), CryptoError>(())
//! ```
//!
//! Hashes are BLAKE2b, keys and signatures are Ed25519, the handshake is Noise over Ed25519 points ([`noise`]), messages are
//! sealed by [`secretstream`] or [`secretbox`]. What is accepted and refused is what libsodium, as the JavaScript peers have it
//! in `sodium-native`, accepts and refuses.

mod chacha;
mod error;
mod hash;
mod key_pair;
pub mod noise;
mod poly1305;
pub mod pwhash;
pub mod secretbox;
pub mod secretstream;

pub use error::CryptoError;
pub use hash::{discovery_key, hash, hash_each, hash_keyed, hash512, namespace};
pub use key_pair::{KeyPair, dh, verify};
