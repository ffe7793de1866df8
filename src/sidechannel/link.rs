//! What the sidechannel needs of the network: topics, connections, and channels on them.
//!
//! The traits are narrow so that the same driver runs over Hyperswarm, over a network within one process, and in a simulation.

use std::{any::Any, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;

/// A future of one of these traits.
pub type Operation<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A network of peers that meet by topics.
pub trait Network: Send + Sync + 'static {
    /// Waits until topics can be joined with effect.
    fn bootstrapped(&self) -> Operation<'_, ()>;

    /// Joins a topic, to find others and to be found. A topic is joined once at a time.
    fn join(&self, topic: [u8; 32]);

    /// Leaves a topic.
    fn leave(&self, topic: [u8; 32]) -> Operation<'_, ()>;

    /// Waits until the topics are announced and what was found is connected, as far as it can be.
    fn flush(&self) -> Operation<'_, ()>;

    /// The next connection; `None` when there will be none any more. Dropping the future loses no connection.
    fn next_link(&self) -> Operation<'_, Option<Arc<dyn Link>>>;
}

/// A connection to a peer.
pub trait Link: Send + Sync + 'static {
    /// The public key that the peer proved.
    fn remote_public_key(&self) -> [u8; 32];

    /// Opens a channel; the peer may open it later, or refuse. `None` when that cannot be: it is open already, or the connection
    /// is closed.
    fn open(&self, protocol: &str) -> Option<LinkChannel>;

    /// Is told when the peer opens a channel of this protocol that is not open here.
    fn pair(&self, protocol: &str) -> Box<dyn Pairing>;

    /// Waits for the end of the connection.
    fn closed(&self) -> Operation<'_, ()>;

    /// Ends the connection at once.
    fn destroy(&self);
}

/// The wishes of a peer to open a channel.
pub trait Pairing: Send {
    /// The next wish; `None` when the connection is closed. Dropping the future loses no wish.
    fn next(&mut self) -> Operation<'_, Option<PairRequest>>;
}

/// A peer's wish to open a channel: to grant it, open the channel before this is dropped.
pub struct PairRequest(
    /// What refuses the wish, when it is dropped and the channel was not opened.
    pub Box<dyn Any + Send>,
);

/// A channel: the end that is read, and the end that is written.
pub type LinkChannel = (Box<dyn Inlet>, Arc<dyn Outlet>);

/// The end of a channel that is read.
pub trait Inlet: Send {
    /// The next event; `None` when the channel is closed. Dropping the future loses no event.
    fn recv(&mut self) -> Operation<'_, Option<LinkEvent>>;
}

/// The end of a channel that is written.
pub trait Outlet: Send + Sync {
    /// Sends a message, waiting while the peer is slower; `false` when the channel is closed.
    fn send(&self, body: Bytes) -> Operation<'_, bool>;

    /// Sends an aside, likewise. A network that has none takes none.
    fn send_aside(&self, body: Bytes) -> Operation<'_, bool> {
        drop(body);
        Box::pin(async { false })
    }

    /// Closes the channel.
    fn close(&self);
}

/// What happens on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// Both sides have opened it.
    Open,
    /// The body of a message.
    Message(Bytes),
    /// The body of an [aside](super::aside).
    Aside(Bytes),
}
