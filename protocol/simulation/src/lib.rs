//! The whole stack in one process and in virtual time: peers of a swarm behind NATs, the DHT that they find each other by, and an
//! internet that loses, delays and parts.
//!
//! ```
//! use std::time::Duration;
//! use simulation::{Place, World, WorldOptions, virtual_time};
//! use udx::network::nat::NatKind;
//!
//! // Minutes of the peers take milliseconds here, and all chance comes from the seed.
//! virtual_time(async {
//!     let mut world = World::new(7, WorldOptions { dht_nodes: 6, ..WorldOptions::default() }).await;
//!     let room = world.topic("gardening");
//!     let alice = world.add_peer(Place::Behind(NatKind::Cone), &[room]).await;
//!     let bob = world.add_peer(Place::Behind(NatKind::Symmetric), &[room]).await;
//!     let took = world.until_connected(Duration::from_secs(120)).await.expect("a hole is punched");
//!     println!("connected after {took:?}, {} datagrams", world.datagrams());
//!     assert!(world.is_connected(alice, bob));
//! });
//! ```
//!
//! What is simulated is the network below the real code: `udx::network::sim` carries datagrams with delay, jitter and loss, and
//! [`Internet`] stands in their way with NATs ([`udx::network::nat`]), partitions and hosts that went dark. Everything above is
//! what runs in production: the UDX driver, dht-rpc, HyperDHT, Hyperswarm.
//!
//! [`scenario`] has stories with a bound: that all pairs which can connect do, that topics are found, that a partition heals, and
//! that nothing grows in days. A seed that fails is run again by `scripts/simulate --scenario NAME --seed N`, with the numbers of
//! nodes and days that the failure names. `tests/seeds.rs` runs a few seeds of each; `scripts/simulate` runs many.

mod gauges;
mod internet;
mod peer;
mod relay;
pub mod scenario;
mod world;

pub use gauges::Gauges;
pub use internet::{Internet, Side};
pub use peer::{Peer, Place};
pub use world::{Met, Missing, World, WorldOptions};

/// Runs a simulation to its end, on one thread, with a clock that jumps to the next thing that happens.
///
/// # Panics
/// When the runtime cannot be made.
pub fn virtual_time<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets")
        .block_on(story)
}
