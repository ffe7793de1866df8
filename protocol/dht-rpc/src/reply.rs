//! What a request came back with.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;

use crate::peer::NodeId;
use crate::token::Token;

/// An answer to one of our requests, from the node that was asked.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Who answered.
    pub from: SocketAddrV4,
    /// Its identifier, when it shows the right one for its address: it is persistent then.
    pub id: Option<NodeId>,
    /// Our own address as the answering node sees it.
    pub to: SocketAddrV4,
    /// What to show this node in a request that stores something.
    pub token: Option<Token>,
    /// Nodes closer to the target, at most [`K`](crate::table::K).
    pub closer_nodes: Vec<SocketAddrV4>,
    /// Zero, or one of [`code`](crate::message::code), or the application's.
    pub error: u64,
    /// The answer.
    pub value: Option<Bytes>,
    /// From the last time the request was sent until now.
    pub rtt: Duration,
}

impl Reply {
    /// An empty answer of the node at `from`.
    pub fn from_node(from: SocketAddrV4) -> Self {
        Self {
            from,
            id: None,
            to: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            token: None,
            closer_nodes: Vec::new(),
            error: 0,
            value: None,
            rtt: Duration::ZERO,
        }
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nobody answered, however often it was sent. Try another node.
    #[error("request timed out")]
    Timeout,
    /// The node was destroyed.
    #[error("node destroyed")]
    Destroyed,
    /// The node is suspended. Resume it first.
    #[error("node suspended")]
    Suspended,
    /// More requests are waiting than a node keeps. Wait for some to be answered.
    #[error("too many requests in flight")]
    Overloaded,
}
