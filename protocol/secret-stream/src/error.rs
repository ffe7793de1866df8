use std::io;

/// Why a stream failed. Every one of them is final: the stream and its transport are gone, nothing of what follows on the wire
/// can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transport below failed.
    #[error("transport failed: {0}")]
    Transport(#[from] io::Error),
    /// The peer's Noise message was refused: another protocol, a manipulated message, or not the key that was expected.
    #[error("Noise handshake failed")]
    Handshake,
    /// The first frame after the handshake was not the 56-byte header for this handshake and role.
    #[error("invalid header received")]
    Header,
    /// A frame that cannot be opened: too short, manipulated, replayed or out of order.
    #[error("message failed authentication")]
    Authentication,
    /// The peer announced a frame above the limit of [`Options::max_message`](crate::Options::max_message).
    #[error("peer announced a frame of {announced} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// Bytes that the frame's length prefix announced.
        announced: usize,
        /// The greatest frame that would have been accepted, in bytes.
        limit: usize,
    },
    /// The message to send is above [`MAX_MESSAGE`](crate::MAX_MESSAGE). Nothing was sent and the stream stays usable.
    #[error("message of {0} bytes is too large for one frame")]
    MessageTooLarge(usize),
    /// The peer ended the stream in the middle of a frame or of the handshake.
    #[error("stream ended within a frame")]
    Truncated,
    /// Nothing arrived for [`Options::timeout`](crate::Options::timeout).
    #[error("stream timed out")]
    TimedOut,
    /// The peer did not read: nothing of what waits was taken for [`Options::write_timeout`](crate::Options::write_timeout).
    #[error("peer does not read")]
    Stuck,
    /// The stream was closed or destroyed here, or failed before.
    #[error("stream is closed")]
    Closed,
}
