//! UDX: reliable, multiplexed streams over UDP, compatible with `libudx` and `udx-native`.
//!
//! ```
//! use bytes::Bytes;
//! use udx::{StreamOptions, Udx};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let localhost = "127.0.0.1:0".parse()?;
//! let (here, there) = (Udx::new(), Udx::new());
//! let (socket_a, socket_b) = (here.bind(localhost)?, there.bind(localhost)?);
//!
//! // Each side chooses an id and learns the other's by other means (in HyperDHT: the Noise handshake).
//! let a = here.create_stream(StreamOptions::default())?;
//! let b = there.create_stream(StreamOptions::default())?;
//! a.connect(&socket_a, b.id(), socket_b.local_addr())?;
//! b.connect(&socket_b, a.id(), socket_a.local_addr())?;
//!
//! a.write(Bytes::from_static(b"hello")).await?;
//! a.write_end();
//! assert_eq!(b.read_chunk().await?.as_deref(), Some(&b"hello"[..]));
//! assert_eq!(b.read_chunk().await?, None);
//!
//! b.write_end();
//! a.closed().await?;
//! b.closed().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How a stream works
//!
//! **One socket, many things.** A datagram that begins with the UDX magic and carries the id of a live stream belongs to
//! that stream; every other datagram goes to [`UdxSocket::recv`], so that a DHT speaks through the same socket and the same
//! NAT mapping. The ids are known to a whole [`Udx`] instance: a stream takes packets on any of its sockets, and the first
//! packet on an unexpected one is itself news ([`UdxStream::first_packet`]): it tells where a peer behind a NAT became
//! visible. There is no handshake. Both ids were exchanged before, and the first packet carries data.
//!
//! **Packets are numbered, not bytes.** What is written is one stream of bytes, cut into packets of what the path
//! carries ([`packet`] has the bytes). A packet keeps its number and its content for life; a repetition differs only in
//! what its header says about the other direction. Numbers wrap at 2^32 on the wire and never inside.
//!
//! **Acknowledgements.** Every packet says which number its sender expects next. The receiver of data sends one
//! acknowledgement for all that the system had for it, or lets data carry it. As long as packets are missing, the
//! acknowledgement lists the ranges that arrived beyond them.
//!
//! **Loss** is found by time (RACK): a packet is lost when one that was *sent* later has arrived and a reordering margin
//! has passed. The margin grows when a repetition proves needless. If nothing arrives that could tell, a *tail probe*
//! repeats the last packet after two round trips; after that the retransmission timer (one second at least) repeats the
//! oldest. Seven times in vain, 13 seconds on most paths, and the stream is [`CloseReason::TimedOut`].
//!
//! **Speed.** BBR keeps two measurements, the best delivery rate of the last ten round trips and the shortest round trip
//! of the last ten seconds. It paces packets at that rate and keeps about two such round trips in flight. The path is
//! tried for packets of up to 1500 bytes by padding ordinary ones.
//!
//! **Back-pressure.** The window in each header is what the reader left free of 4 MiB. A writer waits when that, the
//! congestion window and 256 KiB are full; a closed window is probed by heartbeats. No reader can make a peer's
//! memory grow, nor a peer ours: each queue has a limit, named where it is defined.
//!
//! **The end.** Each side ends its own half; the stream is over when both ends are acknowledged. It then lingers for
//! eight seconds to answer a peer whose last packets were lost. [`UdxStream::destroy`] ends both halves at once with a
//! single packet, and lingers as well to repeat it.
//!
//! # How it is built
//!
//! [`stream::StreamState`] is a machine without sockets, clocks or tasks: packets, bytes and the time go in, packets and
//! deadlines come out. The driver around it has one task for each socket and one for all timers; a stream has none. Writes
//! leave in the writer's own context, acknowledgements and what they set free in the task of the socket. Bytes are copied
//! once on the way out, into the buffer of a batch of up to 64 packets that one system call sends, and once on the way in,
//! into blocks that the layer above can decrypt in place. [`network::Network`] is what it needs of the system;
//! [`network::sim`] is a network in memory for tests, with virtual time.
pub mod blocks;
mod congestion;
mod driver;
mod error;
pub mod network;
pub mod packet;
pub mod stream;

pub use driver::{Datagram, Gauges, StreamOptions, Udx, UdxSocket, UdxStream, WeakUdxStream};
pub use error::{CloseReason, Error};
