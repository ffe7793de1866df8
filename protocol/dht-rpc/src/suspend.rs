//! Suspend and resume: a node that is silent for a while, for a phone in a pocket or a laptop that is about to sleep. And what a node
//! does when the system takes a socket from it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use udx::UdxSocket;

use crate::dht::{Dht, bind_server};
use crate::driver::Inner;
use crate::io::SocketId;

/// How long it takes until a dead socket that could not be bound again is tried again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the sockets are bound to, and are again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) host: IpAddr,
    /// The port that was asked for.
    pub(crate) port: u16,
    pub(crate) any_port: bool,
}

impl Dht {
    /// Closes the sockets, and ends every request and query with an error. What is known of the network is kept.
    /// [`Dht::resume`] undoes it. Streams on the sockets end.
    pub async fn suspend(&self) {
        self.inner().suspend().await;
    }

    /// Binds the sockets again, at their ports if these are free, and goes on as after a sleep: all that is known counts as old,
    /// and the node is ephemeral until it was stable for long enough.
    ///
    /// # Errors
    /// When no port can be bound; the node stays suspended.
    pub fn resume(&self) -> io::Result<()> {
        self.inner().resume()
    }

    /// Whether the node is suspended.
    pub fn is_suspended(&self) -> bool {
        self.inner().with(|core, _| core.suspended)
    }
}

impl Inner {
    async fn suspend(self: &Arc<Self>) {
        if !self.with(|core, now| core.suspend(now)) {
            return;
        }
        let sockets = [SocketId::SERVER, SocketId::CLIENT].map(|id| self.sockets.write().remove(&id));
        if let [Some(server), Some(client)] = &sockets {
            *self.ports.lock() = [server, client].map(|socket| socket.local_addr().port());
        }
        for socket in sockets.into_iter().flatten() {
            socket.close();
            // The port is free only then.
            socket.closed().await;
        }
    }

    fn resume(self: &Arc<Self>) -> io::Result<()> {
        if *self.closed.borrow() || !self.with(|core, _| core.suspended) {
            return Ok(());
        }
        let [server, client] = *self.ports.lock();
        let server = self.bind(SocketId::SERVER, server)?;
        let client = self.bind(SocketId::CLIENT, client)?;
        for (id, socket) in [(SocketId::SERVER, server), (SocketId::CLIENT, client)] {
            self.sockets.write().insert(id, socket.clone());
            self.read(id, socket);
        }
        let knows_somebody = self.with(|core, now| {
            core.resume(now);
            core.nodes.len() > 0
        });
        if knows_somebody {
            self.refresh();
        } else {
            tokio::spawn(crate::bootstrap::bootstrap(self.clone()));
        }
        Ok(())
    }

    /// Binds one of the two sockets, at `port` if that is free.
    fn bind(&self, id: SocketId, port: u16) -> io::Result<UdxSocket> {
        let Binding { host, port: wanted, any_port } = self.binding;
        self.udx.bind(SocketAddr::new(host, port)).or_else(|_| match id {
            SocketId::SERVER => bind_server(&self.udx, host, wanted, any_port),
            _ => self.udx.bind(SocketAddr::new(host, 0)),
        })
    }

    /// A socket in the place of one that the system does not serve any more, when there is one; the node goes on as after a sleep.
    /// `None` if we have closed it ourselves, or if it is not one of the node's two.
    pub(crate) async fn bind_anew(self: &Arc<Self>, id: SocketId, dead: &UdxSocket) -> Option<UdxSocket> {
        if !matches!(id, SocketId::SERVER | SocketId::CLIENT) {
            return None;
        }
        // The port is free only then.
        dead.closed().await;
        let mut closed = self.closed.subscribe();
        let mut pause = FIRST_PAUSE;
        while self.socket(id).as_ref() == Some(dead) {
            match self.bind(id, dead.local_addr().port()) {
                Ok(anew) => {
                    {
                        let sockets = &mut *self.sockets.write();
                        // The node may have been suspended a moment ago.
                        if sockets.get(&id) != Some(dead) {
                            return None;
                        }
                        sockets.insert(id, anew.clone());
                    }
                    tracing::warn!(from = %dead.local_addr(), to = %anew.local_addr(), "a dead socket was bound again");
                    self.with(|core, _| core.wake_up());
                    return Some(anew);
                }
                Err(error) => tracing::debug!(%error, "a dead socket cannot be bound again yet"),
            }
            tokio::select! {
                _ = closed.wait_for(|closed| *closed) => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
        None
    }
}
