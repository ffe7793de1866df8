//! How a handshake came to a server: who the client is, and how the answer goes back.

use std::net::SocketAddrV4;

use dht_rpc::{IncomingRequest, ReplyOptions, SocketId};

use crate::messages::{Handshake, Mode};

/// The way of one handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// From the client itself, which is where it comes from: it names nobody.
    Direct,
    /// Through a node that names the client.
    Relayed { client: SocketAddrV4 },
    /// Through two nodes. `first` is the one that the client asked, and that the answer goes to.
    RelayedTwice { client: SocketAddrV4, first: SocketAddrV4 },
}

impl Arrival {
    /// `None` for what no client and no node sends. JavaScript takes an address from a client too, and writes to it; its own
    /// clients never name one.
    pub(crate) fn of(message: &Handshake<'_>) -> Option<Self> {
        match (message.mode, message.peer_address, message.relay_address) {
            (Mode::FromClient, None, None) => Some(Self::Direct),
            (Mode::FromRelay, Some(client), _) => Some(Self::Relayed { client }),
            (Mode::FromSecondRelay, Some(client), Some(first)) => Some(Self::RelayedTwice { client, first }),
            _ => None,
        }
    }

    /// Whether somebody else than the client sent it.
    pub(crate) fn is_forwarded(self) -> bool {
        self != Self::Direct
    }

    /// Where the client is.
    pub(crate) fn client(self, request: &IncomingRequest) -> SocketAddrV4 {
        match self {
            Self::Direct => request.from(),
            Self::Relayed { client } | Self::RelayedTwice { client, .. } => client,
        }
    }

    /// Answers with a Noise message, through `socket` if it was forwarded.
    pub(crate) fn answer(self, request: &IncomingRequest, noise: &[u8], socket: Option<SocketId>) {
        let message = |mode, peer_address| Handshake { mode, noise, peer_address, relay_address: None }.encode().into();
        match self {
            Self::Direct => request.reply(Some(message(Mode::Reply, None)), ReplyOptions::bare()),
            Self::Relayed { client } => request.relay(message(Mode::FromServer, Some(client)), request.from(), socket),
            Self::RelayedTwice { client, first } => {
                request.relay(message(Mode::FromServer, Some(client)), first, socket);
            }
        }
    }
}
