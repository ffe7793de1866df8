//! The two datagrams of the protocol.
//!
//! ```text
//! request : 03 | flags | tid u16 | to ipv4 | [id 32] | [token 32] | command uint | [target 32] | [value buffer]
//! response: 13 | flags | tid u16 | to ipv4 | [id 32] | [token 32] | [closer nodes ipv4 array] | [error uint] | [value buffer]
//! ```
//!
//! The low half of the first byte is the version, 3. Integers are little-endian; a `uint` is a compact-encoding one. Bytes
//! after the last field are ignored, so that later versions can add fields.

use std::net::SocketAddrV4;

use bytes::Bytes;
use encoding::{DecodeError, Decoder, Encoder};

use crate::peer::NodeId;
use crate::table::K;
use crate::token::Token;

/// The first byte of a request.
pub const REQUEST: u8 = 0x03;

/// The first byte of a response.
pub const RESPONSE: u8 = 0x13;

/// The shortest datagram that can be a message.
const MIN_LENGTH: usize = 10;

const ID: u64 = 1;
const TOKEN: u64 = 2;
/// In requests: the command is one of the protocol's own.
const INTERNAL: u64 = 4;
/// In responses.
const CLOSER_NODES: u64 = 4;
/// In requests.
const TARGET: u64 = 8;
/// In responses.
const ERROR: u64 = 8;
const VALUE: u64 = 16;

/// Commands of the protocol itself, told from those of the application by a flag.
pub mod command {
    /// Are you there?
    pub const PING: u64 = 0;
    /// Answer to another port of my host, which the value names as u16.
    pub const PING_NAT: u64 = 1;
    /// Whom do you know near the target?
    pub const FIND_NODE: u64 = 2;
    /// The node in the value (ipv4), which you told me of, does not answer.
    pub const DOWN_HINT: u64 = 3;
    /// Answer after as many milliseconds as the value says (u32).
    pub const DELAYED_PING: u64 = 4;
}

/// Error codes of the protocol itself; an application uses others.
pub mod code {
    /// The node does not serve this command.
    pub const UNKNOWN_COMMAND: u64 = 1;
    /// The token is not, or no longer, valid for the sender's address.
    pub const INVALID_TOKEN: u64 = 2;
}

/// A question, or a message that one node forwards for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What ties the answer to the question.
    pub tid: u16,
    /// Whom the sender wrote to: how the receiver looks from there.
    pub to: SocketAddrV4,
    /// The sender's identifier, if it wants to be remembered. Not checked yet.
    pub id: Option<NodeId>,
    /// A token that the receiver has given.
    pub token: Option<Token>,
    /// Whether `command` is one of [`command`].
    pub internal: bool,
    /// What is asked for.
    pub command: u64,
    /// What it is about.
    pub target: Option<NodeId>,
    /// Arguments of the command.
    pub value: Option<Bytes>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The number of the question.
    pub tid: u16,
    /// Whom the sender wrote to: how the receiver looks from there.
    pub to: SocketAddrV4,
    /// The sender's identifier, if it wants to be remembered. Not checked yet.
    pub id: Option<NodeId>,
    /// A token that makes the next request from this address trusted.
    pub token: Option<Token>,
    /// Nodes near the target. No more than [`K`] are kept of what a peer sends.
    pub closer_nodes: Vec<SocketAddrV4>,
    /// Zero, or why there is no answer.
    pub error: u64,
    /// The answer.
    pub value: Option<Bytes>,
}

/// A datagram of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A question.
    Request(Request),
    /// An answer.
    Response(Response),
}

impl Message {
    /// Reads a datagram; `None` when it is not of this protocol or is damaged. Values share the memory of `datagram`.
    pub fn decode(datagram: &Bytes) -> Option<Self> {
        if datagram.len() < MIN_LENGTH {
            return None;
        }
        let mut d = Decoder::new(&datagram[1..]);
        match datagram[0] {
            REQUEST => Request::decode(&mut d, datagram).ok().map(Message::Request),
            RESPONSE => Response::decode(&mut d, datagram).ok().map(Message::Response),
            _ => None,
        }
    }
}

impl Request {
    fn decode(d: &mut Decoder<'_>, datagram: &Bytes) -> Result<Self, DecodeError> {
        let flags = d.uint()?;
        Ok(Self {
            tid: d.u16()?,
            to: d.ipv4()?,
            id: when(flags, ID, || d.fixed())?,
            token: when(flags, TOKEN, || d.fixed())?,
            internal: flags & INTERNAL != 0,
            command: d.uint()?,
            target: when(flags, TARGET, || d.fixed())?,
            value: value(flags, d, datagram)?,
        })
    }

    /// A message to `to` with nothing but the command.
    pub fn new(tid: u16, to: SocketAddrV4, internal: bool, command: u64) -> Self {
        Self { tid, to, id: None, token: None, internal, command, target: None, value: None }
    }

    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        let flags = flag(self.id.is_some(), ID)
            | flag(self.token.is_some(), TOKEN)
            | flag(self.internal, INTERNAL)
            | flag(self.target.is_some(), TARGET)
            | flag(self.value.is_some(), VALUE);
        let mut e =
            header(REQUEST, flags, (self.tid, self.to), self.id.as_ref(), self.token.as_ref(), self.value.as_deref());
        e.uint(self.command);
        if let Some(target) = &self.target {
            e.fixed(target);
        }
        if let Some(value) = &self.value {
            e.buffer(value);
        }
        e.finish()
    }
}

impl Response {
    fn decode(d: &mut Decoder<'_>, datagram: &Bytes) -> Result<Self, DecodeError> {
        let flags = d.uint()?;
        Ok(Self {
            tid: d.u16()?,
            to: d.ipv4()?,
            id: when(flags, ID, || d.fixed())?,
            token: when(flags, TOKEN, || d.fixed())?,
            closer_nodes: when(flags, CLOSER_NODES, || d.array(6, |d| d.ipv4()))?
                .map(|mut nodes| {
                    nodes.truncate(K);
                    nodes
                })
                .unwrap_or_default(),
            error: when(flags, ERROR, || d.uint())?.unwrap_or(0),
            value: value(flags, d, datagram)?,
        })
    }

    /// An empty answer to `to`.
    pub fn new(tid: u16, to: SocketAddrV4) -> Self {
        Self { tid, to, id: None, token: None, closer_nodes: Vec::new(), error: 0, value: None }
    }

    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        let flags = flag(self.id.is_some(), ID)
            | flag(self.token.is_some(), TOKEN)
            | flag(!self.closer_nodes.is_empty(), CLOSER_NODES)
            | flag(self.error != 0, ERROR)
            | flag(self.value.is_some(), VALUE);
        let mut e =
            header(RESPONSE, flags, (self.tid, self.to), self.id.as_ref(), self.token.as_ref(), self.value.as_deref());
        if !self.closer_nodes.is_empty() {
            e.array(&self.closer_nodes, |e, node| {
                e.ipv4(*node);
            });
        }
        if self.error != 0 {
            e.uint(self.error);
        }
        if let Some(value) = &self.value {
            e.buffer(value);
        }
        e.finish()
    }
}

fn header(
    kind: u8,
    flags: u64,
    (tid, to): (u16, SocketAddrV4),
    id: Option<&NodeId>,
    token: Option<&Token>,
    value: Option<&[u8]>,
) -> Encoder {
    let mut e = Encoder::with_capacity(240 + value.map_or(0, <[u8]>::len));
    e.u8(kind).uint(flags).u16(tid).ipv4(to);
    if let Some(id) = id {
        e.fixed(id);
    }
    if let Some(token) = token {
        e.fixed(token);
    }
    e
}

fn flag(set: bool, flag: u64) -> u64 {
    if set { flag } else { 0 }
}

fn when<T>(flags: u64, flag: u64, read: impl FnOnce() -> Result<T, DecodeError>) -> Result<Option<T>, DecodeError> {
    if flags & flag != 0 { read().map(Some) } else { Ok(None) }
}

/// An empty value is no value: so read the pinned versions, and no command tells the two apart.
fn value(flags: u64, d: &mut Decoder<'_>, datagram: &Bytes) -> Result<Option<Bytes>, DecodeError> {
    if flags & VALUE == 0 {
        return Ok(None);
    }
    Ok(d.optional_buffer()?.map(|value| datagram.slice_ref(value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(message: &Message) -> String {
        testing::hex(&match message {
            Message::Request(m) => m.encode(),
            Message::Response(m) => m.encode(),
        })
    }

    #[test]
    fn every_frame_of_the_vectors_is_read_and_written() {
        for version in ["network/pinned.json", "network/latest.json"] {
            for (name, frame) in testing::vector_json(version)["rpc"].as_object().expect("rpc") {
                let frame = frame.as_str().expect("hex");
                let decoded = Message::decode(&Bytes::from(testing::unhex(frame))).expect(name);
                assert_eq!(matches!(decoded, Message::Response(_)), name.starts_with("reply"), "{name}");
                assert_eq!(encode(&decoded), frame, "{name}");
            }
        }
    }

    #[test]
    fn frames_mean_what_they_say() {
        let to = "1.2.3.4:5678".parse().expect("address");
        let (id, target) = (Some([9; 32]), Some([3; 32]));
        let closer_nodes = vec!["9.8.7.6:1111".parse().expect("address"), "5.4.3.2:2222".parse().expect("address")];
        let value = |bytes: &'static [u8]| Some(Bytes::from_static(bytes));
        let request = |internal, command| Request::new(0x1234, to, internal, command);
        let response = Response::new(0x1234, to);
        let (id_hex, target_hex, token_hex) = ("09".repeat(32), "03".repeat(32), "04".repeat(32));
        let cases = [
            (Message::Request(request(true, command::PING)), "03043412010203042e1600".to_owned()),
            (
                Message::Request(Request { target, ..request(true, command::FIND_NODE) }),
                format!("030c3412010203042e1602{target_hex}"),
            ),
            (
                Message::Request(Request { value: value(&[0x49, 0xc2]), ..request(true, command::PING_NAT) }),
                "03143412010203042e16010249c2".to_owned(),
            ),
            (
                Message::Request(Request {
                    id,
                    target,
                    token: Some([4; 32]),
                    value: value(&[5; 2]),
                    ..request(false, 4)
                }),
                format!("031b3412010203042e16{id_hex}{token_hex}04{target_hex}020505"),
            ),
            (
                Message::Response(Response { id, closer_nodes: closer_nodes.clone(), error: 1, ..response.clone() }),
                format!("130d3412010203042e16{id_hex}0209080706570405040302ae0801"),
            ),
            (
                Message::Response(Response {
                    token: Some([4; 32]),
                    closer_nodes,
                    value: value(&[8; 3]),
                    ..response.clone()
                }),
                format!("13163412010203042e16{token_hex}0209080706570405040302ae0803080808"),
            ),
            (Message::Response(response), "13003412010203042e16".to_owned()),
        ];
        for (message, frame) in cases {
            assert_eq!(encode(&message), frame);
            assert_eq!(Message::decode(&testing::unhex(&frame).into()), Some(message));
        }
    }

    #[test]
    fn other_datagrams_are_not_ours() {
        for frame in [&[][..], &[3], &[0xff; 40], &[0x03; 9], &[0x23; 40]] {
            assert_eq!(Message::decode(&Bytes::copy_from_slice(frame)), None);
        }
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_without_panic(response: bool, tail in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut frame = vec![if response { RESPONSE } else { REQUEST }];
            frame.extend(tail);
            if let Some(Message::Response(m)) = Message::decode(&Bytes::from(frame)) {
                prop_assert!(m.closer_nodes.len() <= K);
            }
        }
    }
}
