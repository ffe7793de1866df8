//! Suspend and resume, as JavaScript's hyperdht does: for a phone in a pocket, or a laptop that is about to sleep.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::dht::{Dht, Inner, now};
use crate::error::ConnectError;

/// How long the withdrawal of the announcements may take; those that are left expire.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it takes until a socket that could not be bound is tried again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Dht {
    /// Falls silent: takes the announcements of the servers back, destroys the connections, ends requests and queries, and closes the
    /// sockets. Servers stay, and what is stored for others. [`Dht::connect`] fails until [`Dht::resume`].
    ///
    /// It takes some round trips, and five seconds at the most where nobody answers.
    pub async fn suspend(&self) {
        let _turn = self.inner.rest.lock().await;
        self.inner.wanted.send_modify(|turn| *turn += 1);
        self.inner.suspended.send_replace(true);
        if self.inner.rpc.is_suspended() {
            return;
        }
        let servers: Vec<_> = self.inner.state.lock().servers.values().filter_map(Weak::upgrade).collect();
        let withdraw = join_all(servers.iter().map(|server| server.suspend()));
        // Nobody can be told of it.
        let _ = timeout(WITHDRAW_TIMEOUT, withdraw).await;
        self.inner.routes.lock().clear(now());
        servers.iter().for_each(|server| server.forget_handshakes());
        let udx = self.inner.rpc.udx();
        // Also those that are not connected yet, and so on no socket.
        udx.destroy_streams();
        self.inner.rpc.suspend().await;
        // Those that holes were punched from, whether something still punches or a stream or a route keeps them.
        udx.close_sockets().await;
        // What a handshake made that was being answered meanwhile.
        udx.destroy_streams();
    }

    /// Binds the sockets again, looks for the network, and announces the servers.
    ///
    /// # Errors
    /// When no port can be bound now. It is tried again in growing intervals, of a minute in the end, until one can or
    /// [`Dht::suspend`] is called; [`Dht::is_suspended`] says whether that was so.
    pub async fn resume(&self) -> io::Result<()> {
        let _turn = self.inner.rest.lock().await;
        self.inner.wanted.send_modify(|turn| *turn += 1);
        self.inner.rebind().inspect_err(|error| {
            tracing::debug!(%error, "no socket can be bound: tried again");
            let (node, turns) = (Arc::downgrade(&self.inner), self.inner.wanted.subscribe());
            tokio::spawn(keep_trying(node, turns));
        })
    }

    /// Whether the node is suspended.
    pub fn is_suspended(&self) -> bool {
        *self.inner.suspended.borrow()
    }
}

/// Binds until it succeeds, another suspend or resume takes the place of this one, or the node is gone.
async fn keep_trying(node: Weak<Inner>, mut turns: watch::Receiver<u64>) {
    let mut pause = FIRST_PAUSE;
    // An error is no other turn either: the node is gone.
    while timeout(pause, turns.changed()).await.is_err() {
        let Some(inner) = node.upgrade().filter(|inner| !inner.rpc.is_destroyed()) else { return };
        let _turn = inner.rest.lock().await;
        if turns.has_changed().unwrap_or(true) || inner.rebind().is_ok() {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Inner {
    fn rebind(&self) -> io::Result<()> {
        self.rpc.resume()?;
        self.suspended.send_replace(false);
        Ok(())
    }

    /// Waits until nothing can be connected any more, and says why.
    pub(crate) async fn unusable(&self) -> ConnectError {
        let mut suspended = self.suspended.subscribe();
        tokio::select! {
            biased;
            () = self.rpc.closed() => ConnectError::NodeDestroyed,
            _ = suspended.wait_for(|suspended| *suspended) => ConnectError::Suspended,
        }
    }
}
