//! What can go wrong.

use dht_rpc::RequestError;

use crate::holepunch::PunchError;

/// Why there is no connection. [`ConnectError::code`] is the name that JavaScript peers give it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No node knows the peer: it is offline, or has not announced itself yet.
    #[error("peer not found")]
    PeerNotFound,
    /// Nodes know the peer, but it did not answer through any of them.
    #[error("could not connect to peer")]
    PeerConnectionFailed,
    /// The peer offers no way to be reached, or only ways that this version does not go.
    #[error("cannot holepunch to remote")]
    CannotHolepunch,
    /// The way that was agreed on did not lead to the peer.
    #[error("holepunch aborted")]
    HolepunchAborted,
    /// No hole could be punched between the NATs of the two.
    #[error("holepunch aborted: {0}")]
    Holepunch(#[from] PunchError),
    /// The relay could not be reached, or the peer did not come there.
    #[error("relay aborted")]
    RelayAborted,
    /// The peer speaks another version.
    #[error("server is using an incompatible version")]
    ServerIncompatible,
    /// The peer refused, with this code.
    #[error("server returned an error ({0})")]
    ServerError(u64),
    /// The node is suspended. Resume it first.
    #[error("node suspended")]
    Suspended,
    /// The node was destroyed.
    #[error("node destroyed")]
    NodeDestroyed,
    /// The handshake was not complete after the peer's answer.
    #[error("handshake failed")]
    HandshakeInvalid,
    /// The peer stopped to answer before the connection was open.
    #[error("connection failed: {0}")]
    Stream(#[from] secret_stream::Error),
    /// No stream could be made.
    #[error("stream failed: {0}")]
    Udx(#[from] udx::Error),
}

impl ConnectError {
    /// The code that JavaScript peers give this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PeerNotFound => "PEER_NOT_FOUND",
            Self::PeerConnectionFailed => "PEER_CONNECTION_FAILED",
            Self::CannotHolepunch => "CANNOT_HOLEPUNCH",
            Self::HolepunchAborted | Self::Holepunch(_) => "HOLEPUNCH_ABORTED",
            Self::RelayAborted => "RELAY_ABORTED",
            Self::ServerIncompatible => "SERVER_INCOMPATIBLE",
            Self::ServerError(_) => "SERVER_ERROR",
            Self::Suspended => "SUSPENDED",
            Self::NodeDestroyed => "NODE_DESTROYED",
            Self::HandshakeInvalid => "HANDSHAKE_INVALID",
            Self::Stream(_) | Self::Udx(_) => "STREAM_ERROR",
        }
    }
}

/// Why a server does not listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// This server listens already, or was closed.
    #[error("already listening")]
    AlreadyListening,
    /// Another server of this node listens with this key pair.
    #[error("key pair already used")]
    KeyPairAlreadyUsed,
    /// The node was destroyed.
    #[error("node destroyed")]
    NodeDestroyed,
}

/// Why nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// No node answered that could store.
    #[error("too few nodes responded")]
    TooFewNodes,
    /// All nodes refused; this is the code of the last.
    #[error("nodes refused with code {0}")]
    Refused(u64),
    /// The nodes did not answer.
    #[error(transparent)]
    Request(#[from] RequestError),
}
