//! What the protocol needs of a network: sockets that send and receive batches of datagrams.
//!
//! Two implementations exist: [`OsNetwork`] on the operating system's UDP sockets, and [`sim::SimNetwork`], a seeded
//! network in memory that runs in tokio's (virtual) time. Everything above is written against the traits.

use std::fmt::Debug;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

pub mod nat;
mod os;
pub mod sim;

pub use os::OsNetwork;

/// Opens datagram sockets.
pub trait Network: Debug + Send + Sync + 'static {
    /// Binds a socket. Port 0 chooses a free one.
    ///
    /// # Errors
    /// What the system says: the address is in use, is not ours, or no port is left.
    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn DatagramSocket>>;
}

/// One or more datagrams of equal size to one destination.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where all of them go.
    pub destination: SocketAddr,
    /// The datagrams, one after the other.
    pub contents: &'a [u8],
    /// Size of each datagram (the last may be shorter); `None` when `contents` is one datagram.
    pub segment_size: Option<usize>,
    /// IP time to live of these datagrams only; `None` leaves the socket's.
    pub ttl: Option<u32>,
}

/// Where the datagrams in one receive buffer came from, and how they lie in it.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The sender.
    pub source: SocketAddr,
    /// Bytes of the buffer that are filled.
    pub len: usize,
    /// Size of each datagram in the buffer; the last may be shorter. Equal to `len` for a single one.
    pub stride: usize,
}

impl Received {
    /// A placeholder to receive into.
    #[must_use]
    pub fn empty() -> Self {
        Self { source: SocketAddr::from(([0, 0, 0, 0], 0)), len: 0, stride: 0 }
    }
}

/// A bound datagram socket.
///
/// `poll_recv` and `poll_writable` remember one waker each: a single task drives the socket. `try_send` may be called
/// from anywhere.
pub trait DatagramSocket: Debug + Send + Sync + 'static {
    /// The bound address.
    ///
    /// # Errors
    /// What the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Receives into as many buffers as there are datagrams (or runs of datagrams), and says how many were filled.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>>;

    /// Sends all of it now, or fails with [`io::ErrorKind::WouldBlock`] and sends nothing.
    ///
    /// # Errors
    /// `WouldBlock`, or what the system says about the destination.
    fn try_send(&self, outgoing: &Outgoing<'_>) -> io::Result<()>;

    /// Ready when `try_send` is worth another try.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Most datagrams that one [`Outgoing`] may hold.
    fn max_segments(&self) -> usize {
        1
    }

    /// Most datagrams that one receive buffer may hold (a buffer of 64 KiB is given in any case).
    fn max_receive_segments(&self) -> usize {
        1
    }
}
