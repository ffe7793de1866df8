//! Replication with peers: JavaScript's `lib/replicator.js`, on channels `hypercore/alpha`.
//!
//! ```
//! use crypto::KeyPair;
//! use hypercore::Store;
//! use hypercore::replication::Replication;
//! use protomux::{Mux, MuxOptions};
//! use secret_stream::{IoTransport, Options, SecretStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (Replication::new(), Replication::new());
//!
//! let (a, b) = tokio::io::duplex(1024);
//! let (a, b) = tokio::try_join!(
//!     SecretStream::connect(IoTransport::new(a), KeyPair::generate(), Options::default()),
//!     SecretStream::accept(IoTransport::new(b), KeyPair::generate(), Options::default()),
//! )?;
//! Mux::prepared(a, MuxOptions::default(), |mux| alice.replicate(mux));
//! Mux::prepared(b, MuxOptions::default(), |mux| bob.replicate(mux));
//!
//! let core = alice.add(&Store::memory().create()?);
//! core.core().append(["hello", "world"])?;
//! let copy = bob.add(&Store::memory().get(&core.core().key())?);
//! assert_eq!(copy.get(1).await?, "world");
//! # Ok(())
//! # }
//! ```
//!
//! [`Replication`] holds cores and connections; each core has a channel on each connection to a peer that has it too. A
//! [`Replicated`] core asks peers for what is missing here. Underneath, a state machine for each core takes messages and time and
//! says what to send (`replicator`, `schedule`, `late`, `reorg`); the tasks around it only carry.
//!
//! # Hostile peers
//! Nothing is stored that is not proven against the key of the core. A peer that sends what is not proven may show, within
//! [`CONFLICT_TIMEOUT`], that the owner of the core signed two histories; if not, it loses its connection, as does one of which
//! nothing comes for [`STALLED`] while it owes an answer, or that asks for too much ([`MAX_PEER_REQUESTS`], [`MAX_INVALID_REQUESTS`]). One that refuses what it could
//! know rests before it is asked again, and is not asked any more after [`MAX_REFUSALS`]. What a peer can make us remember
//! is bounded ([`MAX_REMOTE_PAGES`]); what is not asked for is not looked at, and what one says makes us search so much a
//! second and no more.

mod answers;
#[cfg(test)]
mod by_hand;
#[cfg(test)]
mod conflicts;
mod connection;
mod credit;
mod entry;
#[cfg(test)]
mod forks;
mod hub;
mod late;
#[cfg(test)]
mod looking;
pub mod messages;
#[cfg(test)]
mod on_disk;
mod peer;
mod queue;
mod ranges;
#[cfg(test)]
mod refusals;
mod remote_wants;
mod reorg;
mod replicator;
mod schedule;
mod session;
#[cfg(test)]
mod stalling;
mod syncing;
mod telling;
#[cfg(test)]
mod told;
#[cfg(test)]
mod transcript;
mod wants;

pub use entry::{ExtensionMessage, MAX_EXTENSION_MESSAGES};
pub use hub::{LINGER, Opener, Replication};
pub use peer::{MAX_INFLIGHT, MAX_INFLIGHT_BYTES, MAX_PEER_REQUESTS, MAX_REFUSALS, MAX_REMOTE_PAGES, MIN_INFLIGHT};
pub use replicator::{CONFLICT_TIMEOUT, MAX_INVALID_REQUESTS, Offence, STALLED};
pub use session::{Download, Replicated};
pub use wants::DownloadRange;
