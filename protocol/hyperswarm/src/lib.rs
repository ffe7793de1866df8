//! Topics, peers and retries over HyperDHT.
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
mod retry_timer;
mod shared;
mod swarm;
mod topics;

pub use crate::core::{MAX_KNOWN_PEERS, Stats};
pub use bans::{Firewall, MAX_BANNED};
pub use error::SwarmError;
pub use peer::PeerInfo;
pub use shared::SwarmEvent;
pub use swarm::{Discovery, JoinOptions, Swarm, SwarmOptions};
