//! Streams between peers that cannot reach each other: JavaScript's `blind-relay`.
//!
//! ```
//! use blind_relay::{Client, Limits, Server, token};
//! use bytes::Bytes;
//! use crypto::KeyPair;
//! use protomux::Mux;
//! use secret_stream::{IoTransport, Options, SecretStream};
//! use udx::{StreamOptions, Udx};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let localhost = "127.0.0.1:0".parse()?;
//! let relay_udx = Udx::new();
//! let relay = relay_udx.bind(localhost)?;
//! let relay_address = relay.local_addr();
//! let server = Server::new(relay_udx, Limits::default());
//!
//! // Two peers that know a token, and connections of theirs to the relay.
//! let token = token();
//! let mut streams = Vec::new();
//! for is_initiator in [true, false] {
//!     let (here, there) = tokio::io::duplex(1024);
//!     let here = SecretStream::connect(IoTransport::new(here), KeyPair::generate(), Options::default());
//!     let there = SecretStream::accept(IoTransport::new(there), KeyPair::generate(), Options::default());
//!     let (here, there) = tokio::try_join!(here, there)?;
//!     let server = server.clone();
//!     tokio::spawn(async move { server.serve(&Mux::new(there)).await });
//!
//!     streams.push(tokio::spawn(async move {
//!         let udx = Udx::new();
//!         let socket = udx.bind(localhost).unwrap();
//!         let stream = udx.create_stream(StreamOptions::default()).unwrap();
//!         let client = Client::new(&Mux::new(here)).unwrap();
//!         let remote_id = client.pair(is_initiator, token, stream.id()).await.unwrap();
//!         stream.connect(&socket, remote_id, relay_address).unwrap();
//!         // The pair lasts as long as the connection to the relay.
//!         (client, stream)
//!     }));
//! }
//! let (_alice, a) = streams.remove(0).await?;
//! let (_bob, b) = streams.remove(0).await?;
//! a.write(Bytes::from_static(b"hello")).await?;
//! b.write(Bytes::from_static(b"hello to you")).await?;
//! assert_eq!(a.read_chunk().await?.as_deref(), Some(&b"hello to you"[..]));
//! assert_eq!(b.read_chunk().await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! Each peer connects to the relay as to any other, opens a [Protomux](protomux) channel `blind-relay` whose id is its public
//! key, and sends a [`Pair`]: the token, which of the two it is, and the id of its UDX stream. When both have come the relay makes
//! two UDX streams that lead into each other ([`udx::UdxStream::relay_to`]) and tells each peer the id of its one. The peers connect
//! their streams there. The relay changes nothing but stream ids: encryption, order, loss and window are between the peers.
//!
//! [`Pairings`] is the state of a relay without I/O; a [`Server`] runs it. A [`Client`] is what a peer needs.
//!
//! # Limits
//! See [`Limits`]. A peer that waits for another is forgotten after a while, and everything of a connection ends with it.

mod client;
mod error;
mod messages;
mod pairings;
mod server;

pub use client::Client;
pub use error::Error;
pub use messages::{PAIR, Pair, Token, UNPAIR, Unpair};
pub use pairings::{End, Limits, Outcome, Pairings, SessionId};
pub use server::{Server, Stats};

/// The name of the Protomux protocol.
pub const PROTOCOL: &str = "blind-relay";

/// A new token.
#[must_use]
pub fn token() -> Token {
    rand::random()
}
