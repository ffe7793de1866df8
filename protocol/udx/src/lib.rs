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
mod congestion;
mod driver;
mod error;
pub mod network;
pub mod packet;
pub mod stream;

pub use driver::{Datagram, StreamOptions, Udx, UdxSocket, UdxStream, WeakUdxStream};
pub use error::{CloseReason, Error};
