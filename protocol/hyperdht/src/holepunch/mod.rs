//! Hole punching: how two peers behind NATs open these for each other.
//!
//! Each side takes a fresh socket and asks a few nodes how they see it ([`nat`]). Then the two exchange sealed messages through
//! the nodes that forwarded their handshake ([`client`], [`server`]): what each is behind, and where. When both know, both write
//! to the other ([`strategy`]) until a probe comes through.

mod attempts;
mod client;
mod limits;
mod nat;
mod puncher;
mod server;
mod strategy;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;

use dht_rpc::RequestError;

pub use attempts::MAX_ATTEMPTS as MAX_PUNCH_ATTEMPTS;
pub use limits::PunchStats;

pub(crate) use attempts::Attempts;
pub(crate) use client::{Target, punch};
pub(crate) use limits::RandomPunches;
pub(crate) use server::{Responder, Serving};

use puncher::Puncher;

/// Why no hole was punched. [`PunchError::code`] is the name that JavaScript has for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PunchError {
    /// No socket could be opened.
    #[error("no socket: {0}")]
    Socket(#[from] io::Error),
    /// The node between the two, or the peer behind it, does not answer.
    #[error("no answer: {0}")]
    Request(#[from] RequestError),
    /// The node between the two answered with something else.
    #[error("bad holepunch reply")]
    BadReply,
    /// The answer is not from the peer.
    #[error("bad holepunch payload")]
    Invalid,
    /// The peer gave up, with this code.
    #[error("remote aborted with error code {0}")]
    RemoteAborted(u64),
    /// One of the sides could not find out what it is behind.
    #[error("holepunching probe did not arrive")]
    ProbeTimeout,
    /// Both sides have another port for everybody: there is nothing to aim at.
    #[error("both remote and local NATs are randomized")]
    DoubleRandomizedNats,
    /// The peer does not punch.
    #[error("remote is not holepunching")]
    NotHolepunching,
    /// Nothing that is known of the peer can be punched to.
    #[error("remote is not holepunchable")]
    NotHolepunchable,
    /// Another punch with a random NAT runs, or ended within the last 20 seconds.
    #[error("another punch with a random NAT is too recent")]
    Busy,
    /// The hook of the options refused.
    #[error("client aborted holepunch")]
    Refused,
    /// Probes were sent for as long as there was hope.
    #[error("no probe came through")]
    Exhausted,
}

impl PunchError {
    /// The name of this reason in JavaScript. Its callers see `HOLEPUNCH_ABORTED` for all of them.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Socket(_) | Self::Busy | Self::Refused | Self::Exhausted => "HOLEPUNCH_ABORTED",
            Self::Request(_) => "REQUEST_TIMEOUT",
            Self::BadReply => "BAD_HOLEPUNCH_REPLY",
            Self::Invalid => "HOLEPUNCH_INVALID",
            Self::RemoteAborted(_) => "REMOTE_ABORTED",
            Self::ProbeTimeout => "HOLEPUNCH_PROBE_TIMEOUT",
            Self::DoubleRandomizedNats => "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS",
            Self::NotHolepunching => "REMOTE_NOT_HOLEPUNCHING",
            Self::NotHolepunchable => "REMOTE_NOT_HOLEPUNCHABLE",
        }
    }
}

/// What both sides know when they are about to punch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PunchView {
    /// What the other side is behind, one of [`firewall`](crate::constants::firewall).
    pub remote_firewall: u64,
    /// What we are behind.
    pub local_firewall: u64,
    /// Where the other side is seen from outside.
    pub remote_addresses: Vec<SocketAddrV4>,
    /// Where we are seen; a port of zero stands for any.
    pub local_addresses: Vec<SocketAddrV4>,
}

impl PunchView {
    fn of(puncher: &Puncher) -> Self {
        let (local, remote) = (puncher.nat(), puncher.remote());
        Self {
            remote_firewall: remote.firewall.number(),
            local_firewall: local.firewall.number(),
            remote_addresses: remote.addresses().collect(),
            local_addresses: local.addresses.unwrap_or_default(),
        }
    }
}

/// Decides whether to punch, when all is known. It must not take long.
#[derive(Clone)]
pub struct HolepunchHook(Arc<dyn Fn(&PunchView) -> bool + Send + Sync>);

impl HolepunchHook {
    /// A hook that calls `decide`, which says whether to punch.
    pub fn new(decide: impl Fn(&PunchView) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    fn allows(&self, view: &PunchView) -> bool {
        (self.0)(view)
    }
}

impl std::fmt::Debug for HolepunchHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HolepunchHook").finish_non_exhaustive()
    }
}
