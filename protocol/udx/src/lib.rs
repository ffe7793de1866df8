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
//! A tour, in the order in which a packet meets the parts; each names the module in which to read on.
//!
//! **One socket, many things.** A datagram that begins with the UDX magic and carries the id of a live stream belongs to
//! that stream; every other datagram goes to [`UdxSocket::recv`], so that a DHT speaks through the same socket and the same
//! NAT mapping. The ids are known to a whole [`Udx`] instance: a stream takes packets on any of its sockets, and the first
//! packet on an unexpected one is itself news ([`UdxStream::first_packet`]): it tells where a peer behind a NAT became
//! visible. There is no handshake. Both ids were exchanged before, and the first packet carries data.
//!
//! **The packet** ([`packet`]) is a header of 20 bytes and a piece of the stream. Packets are numbered, not bytes: what is
//! written is one stream of bytes, cut into packets of what the path carries. A packet keeps its number and its bytes for
//! life (`stream/send.rs` remembers each until it is acknowledged); a repetition differs only in what its header says about
//! the other direction. Numbers wrap at 2^32 on the wire and never inside. The receiver puts them in order
//! (`stream/recv.rs`).
//!
//! **The window** (`stream/window.rs`). Each header says how many bytes its sender still takes: 4 MiB less what its reader
//! left unread. What waits behind a missing packet does not count against it, up to 3 MiB: the reader cannot take that, and
//! a hole that needs several round trips to be mended must not stop a sender whose receiver has room. A window that had
//! closed by more than half is announced when it opens again; while it is closed and nothing else would bring an answer,
//! the sender asks by a `HEARTBEAT` after one retransmission time-out, then after two each.
//!
//! **The writer** waits while 256 KiB more are unsent than the congestion window and the peer's window let out at once. So
//! there is always enough to fill the path while a hole is mended, and no reader can make its peer's memory grow, nor a
//! peer ours: each queue has a limit, named where it is defined.
//!
//! **Acknowledgements.** Every packet says which number its sender expects next. The receiver of data sends one
//! acknowledgement for all that the system had for it (for 128 KiB at most), or lets data carry it. As long as packets are
//! missing it is a packet of its own with up to 50 ranges of what arrived beyond them (SACK).
//!
//! **Loss** is found by time (RACK, RFC 8985, `stream/loss.rs`): a packet is lost when one that was *sent* later has
//! arrived and a reordering margin has passed. The margin is nothing while no reordering was seen, and grows when a
//! repetition proves needless. Only what is missing is sent again, before anything new. If nothing arrives that could tell,
//! a *tail probe* sends something new, or the last packet again, after two round trips; after that the retransmission timer
//! (one second at least) repeats the oldest and all that are overdue. Seven times in vain, 13 seconds on most paths, and
//! the stream is [`CloseReason::TimedOut`].
//!
//! **Speed** (`congestion/`). The delivery rate is measured from stamps that each packet gets when it is sent
//! (`congestion/rate.rs`). BBR (`congestion/bbr.rs`) keeps two numbers, the best rate of the last ten round trips and the
//! shortest round trip of the last ten seconds; it paces packets at that rate, a burst of 2.5 ms at a time
//! (`congestion/pacer.rs`), and keeps about two such round trips in flight. A stream starts with 32 packets and doubles its
//! pace each round trip until the rate grows no more, or a queue of its own making shows in the round trips, or a round
//! loses much. In that case (5 % of a round, and eight packets) there is also a cap on what is in flight
//! (`congestion/cap.rs`), which grows again while all goes well; random loss below that costs its repetitions and nothing
//! else.
//!
//! **Size** (`stream/mtu.rs`). Every path is taken to carry IP packets of 1200 bytes. Larger ones, up to 1500, are tried by
//! padding full packets between header and data: by 255 bytes first, by 32 once that failed three times. A probe that is
//! lost is repeated without its padding and says nothing about congestion.
//!
//! **Moving** ([`UdxStream::change_remote`]). A stream can change its socket, its peer's address and its peer's id at any
//! moment: from a relay to the direct path when a hole was punched. New packets go the new way at once, those already sent
//! are repeated where they went first, and the sizes are tried anew. Both sides move independently.
//!
//! **Relays** ([`UdxStream::relay_to`]). A relaying stream passes each packet on under the id of another stream's peer and
//! keeps nothing. Numbers, windows, loss and speed are the business of the two ends; the relay sees only a `DESTROY`, which
//! ends it.
//!
//! **Silence.** An idle stream sends nothing and costs no timer. What must keep a NAT's mapping alive says so:
//! [`UdxStream::set_keepalive`], or, as HyperDHT's connections do, the encrypted stream above.
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
