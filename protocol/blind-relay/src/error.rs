use encoding::DecodeError;

/// Why a session ended, or peers were not paired.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer sent a message that cannot be decoded.
    #[error("malformed message: {0}")]
    Malformed(#[from] DecodeError),
    /// The connection below failed, or the channel is open already.
    #[error(transparent)]
    Channel(#[from] protomux::Error),
    /// The channel was closed before the relay had paired.
    #[error("channel closed")]
    ChannelClosed,
    /// This client pairs by this token already.
    #[error("already pairing")]
    AlreadyPairing,
    /// The server has as many sessions as it takes ([`Limits::max_sessions`](crate::Limits::max_sessions)).
    #[error("too many sessions")]
    TooManySessions,
    /// The server was closed.
    #[error("relay closed")]
    ServerClosed,
}
