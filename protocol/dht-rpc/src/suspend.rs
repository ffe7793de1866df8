//! Suspend and resume: a node that is silent for a while, for a phone in a pocket or a laptop that is about to sleep.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use udx::{Udx, UdxSocket};

use crate::dht::{Dht, bind_server};
use crate::driver::Inner;
use crate::io::SocketId;

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
        let (binding, [server, client]) = (self.binding, *self.ports.lock());
        let server = bind_again(&self.udx, binding.host, server)
            .or_else(|_| bind_server(&self.udx, binding.host, binding.port, binding.any_port))?;
        let client = bind_again(&self.udx, binding.host, client).or_else(|_| bind_again(&self.udx, binding.host, 0))?;
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
}

fn bind_again(udx: &Udx, host: IpAddr, port: u16) -> io::Result<UdxSocket> {
    udx.bind(SocketAddr::new(host, port))
}
