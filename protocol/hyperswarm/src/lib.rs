//! Peers that are interested in the same topic find each other and stay connected: JavaScript's `hyperswarm` 4.
//!
//! ```
//! use hyperdht::testnet::Testnet;
//! use hyperswarm::{JoinOptions, Swarm, SwarmOptions};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In place of the public network: a few nodes in this process.
//! let network = Testnet::new(4).await?;
//! let options = || SwarmOptions { dht_options: network.options(), ..SwarmOptions::default() };
//! let topic = crypto::hash(&[b"gardening"]);
//!
//! let alice = Swarm::new(options()).await?;
//! alice.join(topic, JoinOptions::default()).flushed().await?;
//!
//! let bob = Swarm::new(options()).await?;
//! bob.join(topic, JoinOptions::default());
//!
//! let (mut to_alice, peer) = bob.next_connection().await.expect("a connection");
//! assert_eq!(peer.public_key(), &alice.key_pair().public_key);
//! to_alice.send(b"hello").await?;
//!
//! let (mut from_bob, _) = alice.next_connection().await.expect("a connection");
//! assert_eq!(from_bob.recv().await?.as_deref(), Some(&b"hello"[..]));
//! bob.destroy().await;
//! alice.destroy().await;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/chat.rs` is a small program on this.
//!
//! # What a swarm does
//! **Topics.** A server of a topic is announced at the DHT nodes closest to it, a client looks them up; [`Swarm::join`] makes both
//! of us. That is repeated every 10 to 12 minutes, and sooner when it reached nobody or may have missed those who joined at the
//! same moment. The announcement is withdrawn when the topic is left and when the swarm is destroyed.
//!
//! **Attempts.** Peers that a lookup finds are tried, three at a time ([`SwarmOptions::max_parallel`]), in random order; those whose
//! connection closed a moment ago go first. A connection that closes or fails is tried again after 1, 5 and 15 seconds, a little
//! more or less at random, and then forgotten until the next lookup finds the peer. A connection that lasted 15 seconds begins
//! that count anew. Peers asked for by key ([`Swarm::join_peer`]) are never forgotten.
//!
//! **One connection a peer.** Two peers that find each other at the same moment connect twice. Both keep the connection that the
//! one with the greater public key opened, unless one of the two was in use already: then its owner must have lost it, and the
//! new one replaces it.
//!
//! **Relays.** With [`SwarmOptions::relay_through`] a peer to whom no hole can be punched is met at a blind relay at the next attempt,
//! and while our own NAT is random all peers are. The connection moves to a direct way when one opens.
//!
//! **Death.** A peer that vanishes is noticed when UDX gives up, 13 to 18 seconds after it was last heard. One that comes back
//! before that replaces its dead connection at once.
//!
//! # How it is built
//! All decisions are in state machines without I/O or clock, one for the peers and one for each topic. One task drives them on a
//! [`network::Network`]: HyperDHT, or whatever a test puts in its place. Connections need no task of the swarm but one that waits
//! for their end.
//!
//! # Hostile input
//! What others can make grow is bounded: known peers ([`MAX_KNOWN_PEERS`]), bans ([`MAX_BANNED`]), incoming connections
//! ([`SwarmOptions::max_server_connections`]), and connections that nobody has taken yet (one a peer). Queries and the server
//! wait while the swarm's task is behind.

mod bans;
mod bulk_timer;
mod core;
mod dedupe;
mod dht;
mod discovery;
mod driver;
mod error;
mod flush;
pub mod network;
mod peer;
mod queue;
mod relays;
mod retry_timer;
mod shared;
mod swarm;
mod topics;

pub use crate::core::{MAX_KNOWN_PEERS, Stats};
pub use bans::{Firewall, MAX_BANNED};
pub use dht::DhtLink;
pub use error::SwarmError;
pub use peer::PeerInfo;
pub use relays::{RelayNeed, RelayThrough};
pub use shared::{Gauges, SwarmEvent};
pub use swarm::{Discovery, JoinOptions, Swarm, SwarmOptions};
