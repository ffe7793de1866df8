//! Signing a tree, and checking its signature (`lib/verifier.js`).

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use crypto::KeyPair;

use crate::flat_tree;
use crate::manifest::tree_namespace;
use crate::merkle::{TreeBatch, verify_upgrade};
use crate::multisig::{self, PartialSignature};
use crate::proof::UpgradeProof;
use crate::{Error, Hash, Manifest, Node};

/// The text that signers of the core `context` (its key) sign.
pub fn signable(context: &Hash, tree_hash: &Hash, length: u64, fork: u64) -> Vec<u8> {
    [&tree_namespace()[..], context, tree_hash, &length.to_le_bytes(), &fork.to_le_bytes()].concat()
}

/// The text that the signer of a core from before Hypercore 11 signs.
pub fn signable_compat(tree_hash: &Hash, length: u64, fork: u64) -> Vec<u8> {
    [&tree_namespace()[..], tree_hash, &length.to_le_bytes(), &fork.to_le_bytes()].concat()
}

/// Signs, and checks signatures, by the rules of one manifest.
#[derive(Debug, Clone)]
pub struct Verifier {
    key: Hash,
    manifest: Manifest,
    compat: bool,
}

impl Verifier {
    /// For the core `key`, which `manifest` must be of.
    ///
    /// # Errors
    /// [`Error::InvalidManifest`] if it is of another one.
    pub fn new(key: Hash, manifest: Manifest) -> Result<Self, Error> {
        let compat = manifest.is_compat(&key);
        if !compat && manifest.key() != key {
            return Err(Error::InvalidManifest("it is that of another core"));
        }
        Ok(Self { key, manifest, compat })
    }

    /// Who may sign.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether the key is the signer's, as in cores from before Hypercore 11.
    pub fn is_compat(&self) -> bool {
        self.compat
    }

    /// Whether this key alone makes signatures that are valid, for a tree of `length` blocks, and one is needed.
    pub(crate) fn signs_alone(&self, keys: &KeyPair, length: u64) -> bool {
        let is_signer = matches!(&self.manifest.signers[..], [signer] if signer.public_key == keys.public_key);
        is_signer && length > self.manifest.prologue.map_or(0, |prologue| prologue.length)
    }

    fn version(&self) -> u64 {
        if self.compat { 0 } else { self.manifest.version }
    }

    fn allows_patch(&self) -> bool {
        !self.compat && self.manifest.allow_patch
    }

    /// What the `signer`th signer signs for a tree.
    fn text(&self, signer: usize, batch: &TreeBatch) -> Vec<u8> {
        let (hash, length, fork) = (batch.hash(), batch.head.length, batch.head.fork);
        match (self.compat, self.manifest.version) {
            (true, _) => signable_compat(&hash, length, fork),
            (false, 0) => signable(&self.manifest.signers[signer].namespace, &hash, length, fork),
            (false, _) => signable(&self.key, &hash, length, fork),
        }
    }

    /// Signs a tree, alone.
    ///
    /// # Errors
    /// [`Error::BadArgument`] if the key is not that of the one signer.
    pub fn sign(&self, batch: &TreeBatch, keys: &KeyPair) -> Result<Bytes, Error> {
        let signer = self.manifest.signers.iter().position(|signer| signer.public_key == keys.public_key);
        let signer = signer.ok_or(Error::BadArgument("the key pair is not that of a signer"))?;
        let signature = keys.sign(&self.text(signer, batch));
        if self.version() == 0 || self.manifest.signers.len() != 1 {
            return Ok(Bytes::copy_from_slice(&signature));
        }
        Ok(multisig::assemble(&[PartialSignature::new(0, signature)]).into())
    }

    /// The signature of several signers in one.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for parts that contradict themselves.
    pub fn assemble(&self, parts: &[PartialSignature]) -> Result<Bytes, Error> {
        let signature = if self.version() == 0 { multisig::assemble_v0(parts)? } else { multisig::assemble(parts) };
        Ok(signature.into())
    }

    /// Whether `signature` is valid for a tree. For a tree that is just the prologue, none is needed.
    pub fn verify(&self, batch: &TreeBatch, signature: &[u8]) -> bool {
        if self.version() == 0 {
            if self.compat || (!self.allows_patch() && self.manifest.signers.len() == 1) {
                return signature.try_into().is_ok_and(|signature| self.verify_one(0, batch, signature));
            }
        } else if let Some(prologue) = &self.manifest.prologue
            && batch.head.length <= prologue.length
        {
            return batch.head.length == prologue.length && batch.hash() == prologue.hash;
        }
        self.verify_multi(batch, signature)
    }

    fn verify_one(&self, signer: usize, batch: &TreeBatch, signature: &[u8; 64]) -> bool {
        crypto::verify(&self.manifest.signers[signer].public_key, &self.text(signer, batch), signature)
    }

    fn verify_multi(&self, batch: &TreeBatch, signature: &[u8]) -> bool {
        let quorum = self.manifest.quorum;
        // Each counted part has another signer, so that a quorum beyond them is never met.
        if signature.is_empty() || quorum == 0 || quorum > self.manifest.signers.len() as u64 {
            return false;
        }
        let Ok((parts, patch)) = multisig::inflate(signature, self.version()) else { return false };
        let Some(parts) = parts.get(..quorum as usize) else { return false };
        let patch: HashMap<u64, Node> = patch.into_iter().map(|node| (node.index, node)).collect();
        let mut signed = HashSet::new();
        parts.iter().all(|part| {
            let signer = usize::try_from(part.signer).unwrap_or(usize::MAX);
            if signer >= self.manifest.signers.len() || !signed.insert(signer) {
                return false;
            }
            if part.patch == 0 || !self.allows_patch() {
                return self.verify_one(signer, batch, &part.signature);
            }
            let mut longer = TreeBatch::new(batch.head.clone(), batch.prologue);
            let Some(upgrade) = patch_upgrade(&patch, batch.head.length, part.patch) else { return false };
            verify_upgrade(&mut longer, batch.head.fork, &upgrade).is_ok()
                && self.verify_one(signer, &longer, &part.signature)
        })
    }
}

/// The upgrade of a tree of `start` blocks by `length` more, from the nodes that a signature brought.
fn patch_upgrade(patch: &HashMap<u64, Node>, start: u64, length: u64) -> Option<UpgradeProof> {
    let end = start.checked_add(length).filter(|&end| end <= encoding::MAX_SAFE_INTEGER)?;
    let places = flat_tree::upgrade(2 * start, 2 * end)?;
    let nodes = places.iter().map(|place| patch.get(&place.index).copied()).collect::<Option<_>>()?;
    Some(UpgradeProof { start, length, nodes, additional_nodes: Vec::new(), signature: Bytes::new() })
}
