//! SC-Bridge: the WebSocket surface by which agents read and write sidechannels.
//!
//! Texts, keys and their order are the original's (intercom `features/sc-bridge/index.js`), for agents match on them. What
//! the original leaves open is bounded here: the size of a message, the number of connections, the time until a client shows
//! the token, what waits for a client that does not read, and which web pages may connect (`origin`).

mod backend;
mod client;
mod event;
mod filter;
mod guard;
mod handshake;
pub(crate) mod origin;
mod queue;
mod server;
mod session;
mod value;

pub use backend::{Backend, CommandOutput, Commands, Operation};
pub use server::{
    AUTH_TIMEOUT, Bridge, BridgeOptions, CLOSE_TIMEOUT, DEFAULT_MAX_FRAME_BYTES, HANDSHAKE_TIMEOUT, MAX_CLIENTS,
    MAX_UNAUTHENTICATED, News,
};
pub use value::parse_base64_json;
