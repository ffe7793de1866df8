//! Why things end.

use std::io;

/// Why a stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CloseReason {
    /// Both sides ended and have everything.
    #[error("the stream ended")]
    Finished,
    /// It was destroyed on this side.
    #[error("the stream was destroyed")]
    Destroyed,
    /// The peer destroyed it (`ECONNRESET` in JavaScript).
    #[error("the peer destroyed the stream")]
    Reset,
    /// The peer did not answer seven retransmissions, 13 seconds on most paths (`ETIMEDOUT`).
    #[error("the peer does not answer")]
    TimedOut,
    /// The local socket was closed.
    #[error("the socket of the stream was closed")]
    SocketClosed,
}

impl From<CloseReason> for io::Error {
    fn from(reason: CloseReason) -> Self {
        let kind = match reason {
            CloseReason::Finished => io::ErrorKind::BrokenPipe,
            CloseReason::Destroyed | CloseReason::SocketClosed => io::ErrorKind::ConnectionAborted,
            CloseReason::Reset => io::ErrorKind::ConnectionReset,
            CloseReason::TimedOut => io::ErrorKind::TimedOut,
        };
        Self::new(kind, reason)
    }
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A live stream of this instance has that id.
    #[error("stream id {0} is in use")]
    IdInUse(u32),
    /// The stream knows its peer already; change the remote instead.
    #[error("the stream is connected")]
    Connected,
    /// The stream does not know its peer yet.
    #[error("the stream is not connected")]
    NotConnected,
    /// The socket belongs to another instance, which would not find the stream.
    #[error("the socket belongs to another UDX instance")]
    OtherInstance,
    /// The stream is over.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// The message does not fit one packet, or too many are queued.
    #[error("the message was not sent: too long, or too many are queued")]
    MessageRefused,
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed(reason) => reason.into(),
            Error::IdInUse(_) => Self::new(io::ErrorKind::AlreadyExists, error),
            Error::NotConnected => Self::new(io::ErrorKind::NotConnected, error),
            _ => Self::new(io::ErrorKind::InvalidInput, error),
        }
    }
}
