//! Signatures of several signers in one (`lib/multisig.js`).

use encoding::{DecodeError, Decoder, Encoder};

use crate::flat_tree::right_span;
use crate::node::MIN_NODE_BYTES;
use crate::{Error, Node};

/// What one signer signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialSignature {
    /// Its place in the manifest.
    pub signer: u64,
    /// Its signature.
    pub signature: [u8; 64],
    /// How many blocks more than the others' it is over.
    pub patch: u64,
    /// The tree's nodes that these blocks add (those of an upgrade proof).
    pub nodes: Vec<Node>,
}

impl PartialSignature {
    /// A signature over exactly the length that is to be signed.
    pub fn new(signer: u64, signature: [u8; 64]) -> Self {
        Self { signer, signature, patch: 0, nodes: Vec::new() }
    }
}

/// A signer's part of a signature, as it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) signer: u64,
    pub(crate) signature: [u8; 64],
    pub(crate) patch: u64,
}

/// The signature of all `parts`, for manifests from version 1: `arr<uint signer ‖ f64 signature ‖ uint patch> ‖ arr<node>`.
pub fn assemble(parts: &[PartialSignature]) -> Vec<u8> {
    let mut patch: Vec<Node> = Vec::new();
    for node in parts.iter().flat_map(|part| &part.nodes) {
        if !patch.iter().any(|known| known.index == node.index) {
            patch.push(*node);
        }
    }
    let mut out = Encoder::new();
    out.array(parts, |out, part| {
        out.uint(part.signer).fixed(&part.signature).uint(part.patch);
    });
    out.array(&patch, |out, node| node.encode(out));
    out.finish()
}

/// The signature of all `parts`, for manifests of version 0.
///
/// # Errors
/// [`Error::BadArgument`] for a part with a patch but no nodes.
pub fn assemble_v0(parts: &[PartialSignature]) -> Result<Vec<u8>, Error> {
    let (mut patch, mut places): (Vec<Node>, Vec<Vec<u64>>) = (Vec::new(), Vec::new());
    for part in parts {
        if part.patch > 0 && part.nodes.is_empty() {
            return Err(Error::BadArgument("a patch has nodes"));
        }
        let place = |node: &Node| {
            let known = patch.iter().position(|known| known == node).unwrap_or(patch.len());
            if known == patch.len() {
                patch.push(*node);
            }
            known as u64
        };
        places.push(part.nodes.iter().map(place).collect());
    }
    let mut out = Encoder::new();
    out.array(parts.iter().zip(&places), |out, (part, places)| {
        out.u8((part.patch > 0).into()).uint(part.signer).fixed(&part.signature);
        if let (true, Some(last)) = (part.patch > 0, part.nodes.last()) {
            out.uint(right_span(last.index) / 2 + 1).uint(part.patch);
            out.array(places, |out, &place| {
                out.uint(place);
            });
        }
    });
    out.array(&patch, |out, node| node.encode(out));
    Ok(out.finish())
}

/// The parts and the patch nodes of a signature.
pub(crate) fn inflate(signature: &[u8], version: u64) -> Result<(Vec<Part>, Vec<Node>), DecodeError> {
    let mut from = Decoder::new(signature);
    let parts = if version == 0 { from.array(66, part_v0)? } else { from.array(66, part)? };
    Ok((parts, from.array(MIN_NODE_BYTES, Node::decode)?))
}

fn part(from: &mut Decoder<'_>) -> Result<Part, DecodeError> {
    Ok(Part { signer: from.uint()?, signature: from.fixed()?, patch: from.uint()? })
}

fn part_v0(from: &mut Decoder<'_>) -> Result<Part, DecodeError> {
    let has_patch = from.uint()? & 1 != 0;
    let (signer, signature) = (from.uint()?, from.fixed()?);
    if !has_patch {
        return Ok(Part { signer, signature, patch: 0 });
    }
    let (_start, patch) = (from.uint()?, from.uint()?);
    from.array(1, Decoder::uint)?;
    Ok(Part { signer, signature, patch })
}
