//! Asides: what two neighbours tell each other on an open channel beside its messages, and pass on to nobody.
//!
//! They are Protomux messages of type 1 on the channel's protocol. JavaScript peers have type 0 only, and ignore others.

use std::sync::Arc;

use super::link::{Operation, Outlet};

/// The longest aside that is read, in bytes.
pub const MAX_ASIDE_BYTES: usize = 256 << 10;

/// An application that tells neighbours something.
pub trait Aside: Send + Sync + 'static {
    /// A channel is open with a neighbour. What is returned is dropped when it is closed.
    fn open(&self, channel: &str, outlet: Arc<dyn Outlet>) -> Box<dyn AsideSession>;
}

/// One channel with one neighbour.
pub trait AsideSession: Send + Sync {
    /// Says what is to be said first. The neighbour has been shown invite and welcome.
    fn start(&self) -> Operation<'_, ()>;

    /// Takes what the neighbour, which may take part in the channel, says. It must not wait for the neighbour.
    fn received(&self, body: &[u8]);
}
