//! Peers found and reached by public key.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use crypto::KeyPair;
//! use hyperdht::testnet::Testnet;
//! use hyperdht::{ConnectOptions, Dht, ServerOptions};
//!
//! // In place of the public network: a few nodes in this process.
//! let network = Testnet::new(4).await?;
//!
//! let alice = Dht::new(network.options()).await?;
//! let server = alice.create_server(ServerOptions::default());
//! let keys = KeyPair::generate();
//! let public_key = keys.public_key;
//! server.listen(keys).await?;
//!
//! let bob = Dht::new(network.options()).await?;
//! let mut to_alice = bob.connect(public_key, ConnectOptions::default()).await?;
//! to_alice.send(b"hello").await?;
//!
//! let mut from_bob = server.accept().await.expect("a connection");
//! assert_eq!(from_bob.recv().await?.as_deref(), Some(&b"hello"[..]));
//! # server.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A peer is its key. A [`Server`] announces its key at the nodes of the hash table that are closest to it; these forward the
//! handshake of whoever searches it ([`Dht::connect`]). The handshake agrees on keys and on how the two reach each other:
//! directly, inside one network, or through their NATs. Peers of one interest find each other by topics ([`Dht::lookup`],
//! [`Dht::announce`]); small values can be stored, under their hash or under a key.
//!
//! A node that can be reached stores for others what they announce and put, each kind for a while and up to a limit
//! ([`StorageOptions`]). All that it stores is signed by its owner or named by its hash.
//!
//! The protocol is that of the JavaScript package `hyperdht` 6.

mod addresses;
mod announcer;
mod arrival;
mod cache;
mod connect;
pub mod connection_pool;
pub mod constants;
mod dht;
mod error;
mod forwards;
mod gauges;
mod handshakes;
mod holepunch;
mod local;
pub mod messages;
mod noise;
mod path;
mod queries;
mod relay;
mod routes;
mod secure_payload;
mod server;
pub mod signatures;
mod socket_pool;
mod storage;
mod suspend;
pub mod testnet;
mod unproven;

pub use addresses::{is_bogon, is_private, is_reserved, match_address};
pub use cache::CacheOptions;
pub use connection_pool::ConnectionPool;
pub use dht::{ConnectOptions, Connection, Dht, DhtOptions};
pub use dht_rpc::BootstrapNode;
pub use error::{ConnectError, ListenError, QueryError};
pub use gauges::Gauges;
pub use handshakes::MAX_HANDSHAKES;
pub use holepunch::{HolepunchHook, MAX_PUNCH_ATTEMPTS, PunchError, PunchStats, PunchView};
pub use queries::{AnnounceOptions, Found, FoundPeer, Lookup, MutableValue};
pub use relay::{RelayStats, Relays};
pub use routes::MAX_KEPT_SOCKETS;
pub use server::{ACCEPT_BACKLOG, Firewall, Server, ServerOptions};
pub use socket_pool::{MAX_POOL_SOCKETS, MAX_SERVED_SOCKETS};
pub use storage::{MAX_LOOKUP_RECORDS, MAX_VALUE, StorageOptions};
pub use unproven::{MAX_UNPROVEN, MAX_UNPROVEN_PER_HOST};
