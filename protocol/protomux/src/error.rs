use std::sync::Arc;

use encoding::DecodeError;

/// Why a connection was given up, or a call refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A frame of the peer could not be decoded.
    #[error("malformed frame: {0}")]
    Decode(#[from] DecodeError),
    /// The peer opened a channel under an id that is in use, or skipped ids.
    #[error("invalid open message")]
    InvalidOpen,
    /// The peer rejected a channel that does not wait for it.
    #[error("invalid reject message")]
    InvalidReject,
    /// Batches within batches beyond [`MAX_BATCH_DEPTH`](crate::MAX_BATCH_DEPTH).
    #[error("batches are nested too deeply")]
    NestedBatch,
    /// The peer used more channel ids than [`MAX_REMOTE_CHANNELS`](crate::MAX_REMOTE_CHANNELS).
    #[error("peer opened too many channels")]
    TooManyChannels,
    /// More channels of the peer wait for an answer than [`MAX_PENDING_OPENS`](crate::MAX_PENDING_OPENS) or
    /// [`MAX_PENDING_OPEN_BYTES`](crate::MAX_PENDING_OPEN_BYTES) allow.
    #[error("peer exceeded the backlog of channels to open")]
    Backlog,
    /// A channel for this protocol and id is open already, and it is unique.
    #[error("channel is open already")]
    Duplicate,
    /// The channel is closed.
    #[error("channel is closed")]
    ChannelClosed,
    /// The message does not fit into one frame: [`MAX_MESSAGE`](crate::MAX_MESSAGE).
    #[error("message of {0} bytes is too large")]
    MessageTooLarge(usize),
    /// More than [`MAX_OUTGOING`](crate::MAX_OUTGOING) waits to be sent: the sender ignored that the peer is slow.
    #[error("too much waits to be sent")]
    Full,
    /// The stream below failed.
    #[error("stream failed: {0}")]
    Stream(#[source] Arc<secret_stream::Error>),
    /// The connection was closed or destroyed.
    #[error("connection is closed")]
    Closed,
}

impl From<secret_stream::Error> for Error {
    fn from(error: secret_stream::Error) -> Self {
        Self::Stream(Arc::new(error))
    }
}
