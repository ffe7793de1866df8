//! Where a stream's peer is: connecting, moving, and packets from elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{UdxStream, now};
use crate::driver::socket::UdxSocket;
use crate::error::{CloseReason, Error};
use crate::stream::Path;

impl UdxStream {
    /// Says where the peer is and what the stream is called there. Nothing is sent until there is something to say.
    ///
    /// # Errors
    /// [`Error::Connected`], [`Error::OtherInstance`], or [`Error::Closed`].
    pub fn connect(&self, socket: &UdxSocket, remote_id: u32, addr: SocketAddr) -> Result<(), Error> {
        self.check_instance(socket)?;
        let mut inner = self.lock();
        if let Some(reason) = inner.state.close_reason() {
            return Err(reason.into());
        }
        let path = Path { socket: socket.id(), remote_id, addr };
        if !inner.state.connect(path, None) {
            return Err(Error::Connected);
        }
        inner.sockets.push(Arc::clone(socket.core()));
        inner.send_held(path, socket.core());
        self.shared().settle(inner, now(), true);
        Ok(())
    }

    fn check_instance(&self, socket: &UdxSocket) -> Result<(), Error> {
        if !Arc::ptr_eq(&socket.core().instance, &self.handle.instance) {
            return Err(Error::OtherInstance);
        }
        if socket.is_closed() { Err(CloseReason::SocketClosed.into()) } else { Ok(()) }
    }

    /// Moves a connected stream to another address, remote id or socket. New packets go there at once; packets that were
    /// sent before are repeated where they went first. Returns when the peer has all of those.
    ///
    /// The move happens when this is called; the future only waits.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::OtherInstance`], or [`Error::Closed`], also while it waits.
    pub fn change_remote(
        &self,
        socket: &UdxSocket,
        remote_id: u32,
        addr: SocketAddr,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let started = self.start_change(socket, remote_id, addr);
        let stream = self.clone();
        async move {
            started?;
            stream
                .wait(|inner| match inner.state.close_reason() {
                    Some(reason) => Some(Err(reason.into())),
                    None => (!inner.state.path_changing()).then_some(Ok(())),
                })
                .await
        }
    }

    fn start_change(&self, socket: &UdxSocket, remote_id: u32, addr: SocketAddr) -> Result<(), Error> {
        self.check_instance(socket)?;
        let mut inner = self.lock();
        if let Some(reason) = inner.state.close_reason() {
            return Err(reason.into());
        }
        if !inner.state.change_path(Path { socket: socket.id(), remote_id, addr }) {
            return Err(Error::NotConnected);
        }
        inner.moving = true;
        inner.sockets.retain(|known| known.id() != socket.id());
        inner.sockets.push(Arc::clone(socket.core()));
        self.shared().settle(inner, now(), true);
        Ok(())
    }

    /// Waits for a packet that arrives before the stream is connected, or on another socket than the connected one, and
    /// says where it came from. With [`StreamOptions::accept`](super::StreamOptions) the packet itself is taken. The latest
    /// one is remembered, so that none is missed between two calls.
    ///
    /// # Errors
    /// Why the stream is over.
    pub async fn first_packet(&self) -> Result<(UdxSocket, SocketAddr), CloseReason> {
        self.shared().first_packet().await
    }

    /// Sends a small packet (`HEARTBEAT`) each time that nothing was under way for `idle`, so that NATs on the path remember the
    /// stream; at least 10 ms. Nobody needs to poll the stream for it, and no answer is waited for: it notices no dead peer.
    /// Off (`None`) in a new stream.
    pub fn set_keepalive(&self, idle: Option<Duration>) {
        let mut inner = self.lock();
        let now = now();
        inner.state.set_keepalive(now, idle);
        self.shared().settle(inner, now, false);
    }
}
