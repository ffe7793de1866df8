//! A handle for those who watch a stream that is not theirs.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use super::socket::UdxSocket;
use super::stream::{Handle, Shared, UdxStream};
use crate::error::CloseReason;

/// A handle of a [`UdxStream`](crate::UdxStream) that does not keep it alive: the stream ends with its last strong handle,
/// however many of these there are.
#[derive(Clone)]
pub struct WeakUdxStream {
    shared: Arc<Shared>,
    handle: Weak<Handle>,
}

impl WeakUdxStream {
    pub(super) fn new(shared: Arc<Shared>, handle: Weak<Handle>) -> Self {
        Self { shared, handle }
    }

    /// A strong handle, if there is one still.
    #[must_use]
    pub fn upgrade(&self) -> Option<UdxStream> {
        self.handle.upgrade().map(UdxStream::from_handle)
    }

    /// As [`UdxStream::first_packet`](crate::UdxStream::first_packet).
    ///
    /// # Errors
    /// Why the stream is over.
    pub async fn first_packet(&self) -> Result<(UdxSocket, SocketAddr), CloseReason> {
        self.shared.first_packet().await
    }

    /// As [`UdxStream::destroy`](crate::UdxStream::destroy).
    pub fn destroy(&self) {
        self.shared.destroy();
    }

    /// As [`UdxStream::closed`](crate::UdxStream::closed).
    ///
    /// # Errors
    /// The reason, if it is not a proper end.
    pub async fn closed(&self) -> Result<(), CloseReason> {
        self.shared.closed().await
    }
}

impl std::fmt::Debug for WeakUdxStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakUdxStream").field("id", &self.shared.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::{CloseReason, StreamOptions, Udx, UdxStream};

    fn pair() -> (UdxStream, UdxStream) {
        let localhost = "127.0.0.1:0".parse().unwrap();
        let udx = Udx::new();
        let (socket_a, socket_b) = (udx.bind(localhost).unwrap(), udx.bind(localhost).unwrap());
        let a = udx.create_stream(StreamOptions::default()).unwrap();
        let b = udx.create_stream(StreamOptions::default()).unwrap();
        a.connect(&socket_a, b.id(), socket_b.local_addr()).unwrap();
        b.connect(&socket_b, a.id(), socket_a.local_addr()).unwrap();
        (a, b)
    }

    #[tokio::test]
    async fn a_weak_handle_sees_the_end_that_the_last_strong_one_brings() {
        let (a, b) = pair();
        let weak = a.downgrade();
        assert_eq!(weak.upgrade().as_ref(), Some(&a));
        drop(a);
        assert!(weak.upgrade().is_none());
        assert!(weak.closed().await.is_err());
        assert_eq!(b.closed().await, Err(CloseReason::Reset));
    }

    #[tokio::test]
    async fn a_weak_handle_can_bring_the_end() {
        let (a, b) = pair();
        a.downgrade().destroy();
        assert!(a.closed().await.is_err());
        assert_eq!(b.closed().await, Err(CloseReason::Reset));
    }
}
