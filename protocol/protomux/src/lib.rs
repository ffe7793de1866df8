//! Channels over one framed stream: JavaScript's `protomux`.
//!
//! ```
//! use crypto::KeyPair;
//! use protomux::{ChannelEvent, ChannelOptions, Mux};
//! use secret_stream::{IoTransport, Options, SecretStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (a, b) = tokio::io::duplex(1024);
//! let alice = SecretStream::connect(IoTransport::new(a), KeyPair::generate(), Options::default());
//! let bob = SecretStream::accept(IoTransport::new(b), KeyPair::generate(), Options::default());
//! let (alice, bob) = tokio::try_join!(alice, bob)?;
//! let (alice, bob) = (Mux::new(alice), Mux::new(bob));
//!
//! // Both sides open the channel; messages may be sent before the other side has.
//! let chat = alice.open(ChannelOptions::new("chat").handshake(*b"hi bob"))?;
//! chat.send(0, b"first message").await?;
//!
//! let mut chat = bob.open(ChannelOptions::new("chat").handshake(*b"hi alice"))?;
//! assert_eq!(chat.recv().await, Some(ChannelEvent::Open { handshake: "hi bob".into() }));
//! assert_eq!(chat.recv().await, Some(ChannelEvent::Message { kind: 0, body: "first message".into() }));
//! # Ok(())
//! # }
//! ```
//!
//! [`Core`] is the protocol without I/O. A [`Mux`] runs it on a [`SecretStream`](secret_stream::SecretStream) in one task;
//! [`Channel`]s exchange messages with that task through shared queues, so that a burst of messages costs one wake-up.
//!
//! # On the wire
//! A frame is `uint channel ‖ uint type ‖ body`, one secret-stream message. The channel is the sender's own number of it, from 1;
//! 0 carries control: `0` a batch, `1` open (`uint channel ‖ string protocol ‖ buffer id ‖ handshake`), `2` reject (`uint`: the
//! channel of who opened), `3` close (`uint channel`). A batch is `uint channel`, then items of `uint length ‖ type ‖ body`, where
//! the length 0 means that another `uint channel` follows. A channel is open when both sides have opened the same protocol and
//! id; the first of either side pairs with the first of the other.
//!
//! A side counts its channels up and uses the number freed last again, but only after the peer has answered the opening by its
//! own, or by a rejection. Using a number too early breaks the connection.
//!
//! # Limits and back-pressure
//! A reader that does not keep up stops the connection from being read ([`CHANNEL_HIGH_WATER`]), all channels of it; so do
//! messages for channels that are not open here ([`MAX_PENDING`]). A peer that does not read makes [`Sender::send`] wait
//! ([`SEND_HIGH_WATER`]). A peer that opens without end loses the connection ([`MAX_REMOTE_CHANNELS`], [`MAX_PENDING_OPENS`]).

mod channel;
mod core;
mod decode;
mod error;
mod mux;
mod outgoing;
mod pairing;
mod shared;
mod task;

pub use crate::core::{
    ChannelId, ChannelOptions, Core, Event, MAX_BATCH, MAX_MESSAGE, MAX_PENDING, MAX_PENDING_IN_FRAME,
    MAX_PENDING_OPEN_BYTES, MAX_PENDING_OPENS, MAX_REMOTE_CHANNELS, MAX_UNSENT_REJECTS, PENDING_OVERHEAD, PairId,
    Progress,
};
pub use channel::{Channel, ChannelEvent, Sender};
pub use decode::MAX_BATCH_DEPTH;
pub use error::Error;
pub use mux::{Mux, MuxOptions, PairRequest, PairStream};
pub use outgoing::Outgoing;
pub use shared::{CHANNEL_HIGH_WATER, EVENT_OVERHEAD, MAX_OUTGOING, READ_AHEAD, SEND_HIGH_WATER};
