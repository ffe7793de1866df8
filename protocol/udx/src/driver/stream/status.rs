//! What a stream knows of itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::UdxStream;
use crate::driver::socket::UdxSocket;
use crate::error::CloseReason;
use crate::stream::Stats;

impl UdxStream {
    /// Waits until the stream is over: both sides ended and have everything, or why not.
    ///
    /// # Errors
    /// The reason, if it is not a proper end.
    pub async fn closed(&self) -> Result<(), CloseReason> {
        self.shared().closed().await
    }

    /// Why the stream is over, if it is.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.lock().state.close_reason()
    }

    /// Whether [`UdxStream::connect`] was called.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.lock().state.path().is_some()
    }

    /// Where packets go, once connected.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.lock().state.path().map(|path| path.addr)
    }

    /// What the peer calls the stream, once connected.
    #[must_use]
    pub fn remote_id(&self) -> Option<u32> {
        self.lock().state.path().map(|path| path.remote_id)
    }

    /// The socket that packets leave from, once connected.
    #[must_use]
    pub fn socket(&self) -> Option<UdxSocket> {
        self.lock().sockets.last().map(|core| UdxSocket::from_core(Arc::clone(core)))
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock().state.stats()
    }

    /// The largest IP packet that is known to arrive, in bytes.
    #[must_use]
    pub fn mtu(&self) -> usize {
        self.lock().state.mtu()
    }

    /// The longest unordered message, in bytes.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.lock().state.max_message()
    }

    /// Smoothed round trip time, once measured.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.lock().state.rtt()
    }

    /// Bytes written that the peer has not acknowledged.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.lock().state.buffered()
    }
}
