//! The bytes of the messages on a channel `hypercore/alpha` (`lib/messages.js`, `wire`).

use bytes::Bytes;
use encoding::{DecodeError, Decoder, Encoder};

use crate::node::{Hash, MIN_NODE_BYTES, Node};
use crate::proof::{
    BlockProof, HashProof, NodeRequest, Proof, Request, SeekProof, SeekRequest, UpgradeProof, UpgradeRequest,
};
use crate::{Manifest, manifest};

/// The protocol of the channels.
pub const PROTOCOL: &str = "hypercore/alpha";

/// The older name of the same protocol.
pub const ALIAS: &str = "hypercore";

/// What is passed with the opening of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// Whether requests may have a seek.
    pub seeks: bool,
    /// The proof that the sender knows the core's key: [`capability`].
    pub capability: Hash,
}

/// What the side `is_initiator` of a connection proves its knowledge of a core's key by.
pub fn capability(is_initiator: bool, key: &Hash, handshake_hash: &[u8]) -> Hash {
    crypto::hash_keyed(handshake_hash, &[&manifest::constant(if is_initiator { 1 } else { 2 }), key])
}

/// What a side has and does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sync {
    /// Its fork.
    pub fork: u64,
    /// Its length.
    pub length: u64,
    /// The length that it knows of the other side, if both are of one fork.
    pub remote_length: u64,
    /// Whether it can prove an upgrade from the other side's length.
    pub can_upgrade: bool,
    /// Whether it answers requests.
    pub uploading: bool,
    /// Whether it is interested in what is to come.
    pub downloading: bool,
    /// Whether it has the manifest.
    pub has_manifest: bool,
    /// Whether it takes blocks that it did not ask for (since Hypercore 11.24; never sent).
    pub allow_push: bool,
}

/// Why a request was not answered (since Hypercore 11.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDataReason {
    /// What is asked for is not there.
    NotAvailable,
    /// The request makes no sense.
    InvalidRequest,
    /// A later one.
    Other(u64),
}

/// A message of the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// What the sender has and does.
    Sync(Sync),
    /// Something that the sender wants.
    Request {
        /// The number by which it is answered.
        id: u64,
        /// The history that it is about.
        fork: u64,
        /// What is wanted.
        request: Request,
        /// How urgent it is; a hint.
        priority: u64,
    },
    /// A request is taken back.
    Cancel {
        /// Its number.
        request: u64,
    },
    /// The answer to a request.
    Data {
        /// Its number.
        request: u64,
        /// What was wanted.
        proof: Box<Proof>,
    },
    /// There is no answer to a request.
    NoData {
        /// Its number.
        request: u64,
        /// Why, if it is said. Only later versions say it: it is not sent.
        reason: Option<NoDataReason>,
    },
    /// Of which blocks the sender wants to know whether they are there.
    Want {
        /// The first.
        start: u64,
        /// How many.
        length: u64,
        /// Whether any of them will do (since Hypercore 11.24).
        any: bool,
    },
    /// The end of a [`Message::Want`].
    Unwant {
        /// The first.
        start: u64,
        /// How many.
        length: u64,
        /// Whether one of them was enough (since 11.24).
        any: bool,
    },
    /// Which blocks are there.
    Bitfield {
        /// The first.
        start: u64,
        /// One bit for each, the first in bit 0 of the first word.
        words: Vec<u32>,
    },
    /// Blocks are there, or there no more.
    Range {
        /// Whether they are there no more.
        drop: bool,
        /// The first.
        start: u64,
        /// How many.
        length: u64,
    },
    /// A message of an extension.
    Extension {
        /// Its name; empty for the name of the one before.
        name: String,
        /// Its bytes.
        message: Bytes,
    },
}

const SEEKS: u64 = 1;

const CAN_UPGRADE: u64 = 1;
const UPLOADING: u64 = 2;
const DOWNLOADING: u64 = 4;
const HAS_MANIFEST: u64 = 8;
const ALLOW_PUSH: u64 = 16;

const BLOCK: u64 = 1;
const HASH: u64 = 2;
const SEEK: u64 = 4;
const UPGRADE: u64 = 8;
const MANIFEST: u64 = 16;
const PRIORITY: u64 = 32;

const DROP: u64 = 1;
const SINGLE: u64 = 2;

fn flags(bits: &[(bool, u64)]) -> u64 {
    bits.iter().map(|&(is_set, bit)| if is_set { bit } else { 0 }).sum()
}

impl Handshake {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.uint(if self.seeks { SEEKS } else { 0 }).fixed(&self.capability);
        out.finish()
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// When they end early.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(bytes);
        Ok(Self { seeks: from.uint()? & SEEKS != 0, capability: from.fixed()? })
    }
}

impl Message {
    /// The type of the message, and its bytes.
    pub fn encode(&self) -> (u64, Vec<u8>) {
        let mut out = Encoder::with_capacity(match self {
            Self::Data { proof, .. } => {
                256 + proof.block.as_ref().map_or(0, |block| block.value.len() + 40 * block.nodes.len())
            }
            _ => 32,
        });
        let kind = match self {
            Self::Sync(sync) => {
                let flags = flags(&[
                    (sync.can_upgrade, CAN_UPGRADE),
                    (sync.uploading, UPLOADING),
                    (sync.downloading, DOWNLOADING),
                    (sync.has_manifest, HAS_MANIFEST),
                    (sync.allow_push, ALLOW_PUSH),
                ]);
                out.uint(flags).uint(sync.fork).uint(sync.length).uint(sync.remote_length);
                0
            }
            Self::Request { id, fork, request, priority } => {
                encode_request(&mut out, *id, *fork, request, *priority);
                1
            }
            Self::Cancel { request } => {
                out.uint(*request);
                2
            }
            Self::Data { request, proof } => {
                encode_data(&mut out, *request, proof);
                3
            }
            Self::NoData { request, .. } => {
                out.uint(*request);
                4
            }
            Self::Want { start, length, any } => {
                out.uint(*start).uint(*length);
                if *any {
                    out.uint(1);
                }
                5
            }
            Self::Unwant { start, length, any } => {
                out.uint(*start).uint(*length);
                if *any {
                    out.uint(1);
                }
                6
            }
            Self::Bitfield { start, words } => {
                out.uint(*start).u32_array(words);
                7
            }
            Self::Range { drop, start, length } => {
                out.uint(flags(&[(*drop, DROP), (*length == 1, SINGLE)])).uint(*start);
                if *length != 1 {
                    out.uint(*length);
                }
                8
            }
            Self::Extension { name, message } => {
                out.string(name).raw(message);
                9
            }
        };
        (kind, out.finish())
    }

    /// Reads a message. `None` for types of later versions.
    ///
    /// # Errors
    /// When the bytes end early, a number is beyond 2^53 - 1, or a list has more than its bytes can hold.
    pub fn decode(kind: u64, body: &Bytes) -> Result<Option<Self>, DecodeError> {
        let mut from = Decoder::new(body);
        let from = &mut from;
        Ok(Some(match kind {
            0 => {
                let flags = from.uint()?;
                let has = |bit| flags & bit != 0;
                Self::Sync(Sync {
                    fork: from.uint()?,
                    length: from.uint()?,
                    remote_length: from.uint()?,
                    can_upgrade: has(CAN_UPGRADE),
                    uploading: has(UPLOADING),
                    downloading: has(DOWNLOADING),
                    has_manifest: has(HAS_MANIFEST),
                    allow_push: has(ALLOW_PUSH),
                })
            }
            1 => decode_request(from)?,
            2 => Self::Cancel { request: from.uint()? },
            3 => decode_data(from, body)?,
            4 => {
                let request = from.uint()?;
                let has_reason = !from.is_empty() && from.uint()? != 0;
                let reason = if has_reason { Some(from.uint()?) } else { None };
                let reason = reason.map(|reason| match reason {
                    1 => NoDataReason::NotAvailable,
                    2 => NoDataReason::InvalidRequest,
                    other => NoDataReason::Other(other),
                });
                Self::NoData { request, reason }
            }
            5 => {
                let (start, length) = (from.uint()?, from.uint()?);
                Self::Want { start, length, any: !from.is_empty() && from.uint()? & 1 != 0 }
            }
            6 => {
                let (start, length) = (from.uint()?, from.uint()?);
                Self::Unwant { start, length, any: !from.is_empty() && from.uint()? & 1 != 0 }
            }
            7 => Self::Bitfield { start: from.uint()?, words: from.u32_array()? },
            8 => {
                let flags = from.uint()?;
                let start = from.uint()?;
                let length = if flags & SINGLE != 0 { 1 } else { from.uint()? };
                Self::Range { drop: flags & DROP != 0, start, length }
            }
            9 => Self::Extension { name: from.string()?, message: body.slice_ref(from.rest()) },
            _ => return Ok(None),
        }))
    }
}

fn encode_request(out: &mut Encoder, id: u64, fork: u64, request: &Request, priority: u64) {
    let flags = flags(&[
        (request.block.is_some(), BLOCK),
        (request.hash.is_some(), HASH),
        (request.seek.is_some(), SEEK),
        (request.upgrade.is_some(), UPGRADE),
        (request.manifest, MANIFEST),
        (priority != 0, PRIORITY),
    ]);
    out.uint(flags).uint(id).uint(fork);
    for part in [request.block, request.hash].into_iter().flatten() {
        out.uint(part.index).uint(part.nodes);
    }
    if let Some(seek) = request.seek {
        out.uint(seek.bytes).uint(seek.padding);
    }
    if let Some(upgrade) = request.upgrade {
        out.uint(upgrade.start).uint(upgrade.length);
    }
    if priority != 0 {
        out.uint(priority);
    }
}

fn decode_request(from: &mut Decoder<'_>) -> Result<Message, DecodeError> {
    let flags = from.uint()?;
    let has = |bit| flags & bit != 0;
    let (id, fork) = (from.uint()?, from.uint()?);
    let mut request = Request { manifest: has(MANIFEST), ..Request::default() };
    if has(BLOCK) {
        request.block = Some(NodeRequest { index: from.uint()?, nodes: from.uint()? });
    }
    if has(HASH) {
        request.hash = Some(NodeRequest { index: from.uint()?, nodes: from.uint()? });
    }
    if has(SEEK) {
        request.seek = Some(SeekRequest { bytes: from.uint()?, padding: from.uint()? });
    }
    if has(UPGRADE) {
        request.upgrade = Some(UpgradeRequest { start: from.uint()?, length: from.uint()? });
    }
    let priority = if has(PRIORITY) { from.uint()? } else { 0 };
    Ok(Message::Request { id, fork, request, priority })
}

fn encode_nodes(out: &mut Encoder, nodes: &[Node]) {
    out.array(nodes, |out, node| node.encode(out));
}

fn decode_nodes(from: &mut Decoder<'_>) -> Result<Vec<Node>, DecodeError> {
    from.array(MIN_NODE_BYTES, Node::decode)
}

fn encode_data(out: &mut Encoder, request: u64, proof: &Proof) {
    let flags = flags(&[
        (proof.block.is_some(), BLOCK),
        (proof.hash.is_some(), HASH),
        (proof.seek.is_some(), SEEK),
        (proof.upgrade.is_some(), UPGRADE),
        (proof.manifest.is_some(), MANIFEST),
    ]);
    out.uint(flags).uint(request).uint(proof.fork);
    if let Some(block) = &proof.block {
        out.uint(block.index).buffer(&block.value);
        encode_nodes(out, &block.nodes);
    }
    if let Some(hash) = &proof.hash {
        out.uint(hash.index);
        encode_nodes(out, &hash.nodes);
    }
    if let Some(seek) = &proof.seek {
        out.uint(seek.bytes);
        encode_nodes(out, &seek.nodes);
    }
    if let Some(upgrade) = &proof.upgrade {
        out.uint(upgrade.start).uint(upgrade.length);
        encode_nodes(out, &upgrade.nodes);
        encode_nodes(out, &upgrade.additional_nodes);
        out.buffer(&upgrade.signature);
    }
    if let Some(manifest) = &proof.manifest {
        manifest.encode_to(out);
    }
}

fn decode_data(from: &mut Decoder<'_>, body: &Bytes) -> Result<Message, DecodeError> {
    let flags = from.uint()?;
    let has = |bit| flags & bit != 0;
    let request = from.uint()?;
    let mut proof = Proof { fork: from.uint()?, ..Proof::default() };
    if has(BLOCK) {
        let index = from.uint()?;
        let value = body.slice_ref(from.buffer()?);
        proof.block = Some(BlockProof { index, value, nodes: decode_nodes(from)? });
    }
    if has(HASH) {
        proof.hash = Some(HashProof { index: from.uint()?, nodes: decode_nodes(from)? });
    }
    if has(SEEK) {
        proof.seek = Some(SeekProof { bytes: from.uint()?, nodes: decode_nodes(from)? });
    }
    if has(UPGRADE) {
        proof.upgrade = Some(UpgradeProof {
            start: from.uint()?,
            length: from.uint()?,
            nodes: decode_nodes(from)?,
            additional_nodes: decode_nodes(from)?,
            signature: Bytes::copy_from_slice(from.buffer()?),
        });
    }
    if has(MANIFEST) {
        proof.manifest = Some(Manifest::decode(from)?);
    }
    Ok(Message::Data { request, proof: Box::new(proof) })
}
