//! Kademlia requests, queries and NAT sampling: the lowest layer of the distributed hash table.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! use std::net::Ipv4Addr;
//! use std::sync::{Arc, Weak};
//!
//! use bytes::Bytes;
//! use dht_rpc::{Dht, Handler, IncomingRequest, Options, QueryOptions, ReplyOptions, SocketId};
//! use udx::Udx;
//!
//! /// An application that answers command 7 with what it was sent.
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_request(&self, request: &IncomingRequest) -> bool {
//!         if request.command() != 7 {
//!             return false;
//!         }
//!         request.reply(request.value().cloned(), ReplyOptions::default());
//!         true
//!     }
//! }
//!
//! // The first node of a network knows its own address, and begins with nobody.
//! let host = Ipv4Addr::LOCALHOST;
//! let options =
//!     Options { host: host.into(), ephemeral: Some(false), firewalled: false, public_host: Some(host), ..Options::default() };
//! let first = Dht::new(Udx::new(), options)?;
//! let echo: Arc<dyn Handler> = Arc::new(Echo);
//! first.start(Arc::downgrade(&echo));
//! first.bootstrapped().await;
//! let address = first.remote_address().expect("it knows");
//!
//! // Another one joins through it and asks.
//! let other = Dht::new(Udx::new(), Options { host: host.into(), bootstrap: vec![address.into()], ..Options::default() })?;
//! other.start(Weak::<Echo>::new());
//! other.bootstrapped().await;
//! let options = QueryOptions { value: Some(Bytes::from_static(b"hello")), ..QueryOptions::default() };
//! let mut query = other.query([1; 32], 7, options);
//! let reply = query.next().await.expect("an answer");
//! assert_eq!((reply.from, reply.value.as_deref()), (address, Some(&b"hello"[..])));
//! # assert!(other.socket(SocketId::CLIENT).is_some());
//! # Ok(())
//! # }
//! ```
//!
//! A node has an identifier that follows from its address ([`node_id`]), a routing table ([`table`]) and two sockets. It asks
//! other nodes ([`message`] describes the datagrams), answers them, and searches the nodes closest to a target
//! ([`Dht::query`]). From how others see it, it learns its own address ([`NatSampler`]) and whether a firewall is in the way;
//! a node that can be reached becomes persistent: others remember it.
//!
//! The protocol is in state machines that know neither sockets nor clocks; one module drives them. What a remote can make
//! grow is bounded: requests under way ([`MAX_REQUESTS`]), nodes of a query ([`MAX_QUERY_NODES`]), the table, delayed answers.
//!
//! The protocol is that of the JavaScript package `dht-rpc` 6.

mod bootstrap;
mod congestion;
mod core;
mod dht;
mod driver;
mod gauges;
mod health;
mod io;
pub mod message;
mod nat;
mod nodes;
mod peer;
mod query;
mod reply;
mod suspend;
pub mod table;
mod token;

pub use bootstrap::{BadBootstrapNode, BootstrapNode};
pub use core::{Event, MAX_PING_DELAY};
pub use dht::{Dht, Options, Query, QueryOptions, RequestOptions};
pub use driver::{Handler, IncomingRequest, Probe, ReplyOptions};
pub use gauges::Gauges;
pub use health::Health;
pub use io::{MAX_REQUESTS, SocketId, Stats, TIMEOUT, TRIES};
pub use nat::NatSampler;
pub use peer::{Contact, NodeId, node_id};
pub use query::{MAX_QUERY_NODES, QUERY_TRIES};
pub use reply::{Reply, RequestError};
pub use token::{ROTATION, Token};
