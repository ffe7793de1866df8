use bytes::Bytes;
use encoding::{DecodeError, Decoder, Encoder};

use crate::{Error, Hash};

const ALLOW_PATCH: u64 = 1;
const PROLOGUE: u64 = 2;
const LINKED: u64 = 4;
const USER_DATA: u64 = 8;

/// The newest version that is understood: it has all that version 2 has, and no more. (JavaScript of the older generation knows none
/// above 2, and no program of the newer one writes it by itself.)
const MAX_VERSION: u64 = 3;

/// `NS('hypercore', 0)`: what the text to sign begins with.
pub(crate) fn tree_namespace() -> Hash {
    constant(0)
}

/// The namespace of signers that name none.
pub fn default_namespace() -> Hash {
    constant(4)
}

/// The `index`th constant of the module.
pub(crate) fn constant(index: u8) -> Hash {
    static CONSTANTS: std::sync::OnceLock<[Hash; 6]> = std::sync::OnceLock::new();
    CONSTANTS.get_or_init(|| std::array::from_fn(|index| crypto::namespace("hypercore", index as u8)))
        [usize::from(index)]
}

/// One of those whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// What the signature is for, in version 0 manifests; entropy of the key in later ones.
    pub namespace: Hash,
    /// An Ed25519 key.
    pub public_key: Hash,
}

/// The blocks that a core begins with, which its manifest vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prologue {
    /// The tree's hash at `length`.
    pub hash: Hash,
    /// How many blocks.
    pub length: u64,
}

/// Who may sign a core. The core's key is its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// 0 to 3.
    pub version: u64,
    /// Whether a signature may be over a longer tree, with the nodes between.
    pub allow_patch: bool,
    /// How many signers must have signed.
    pub quorum: u64,
    /// Who may sign.
    pub signers: Vec<Signer>,
    /// What the core begins with.
    pub prologue: Option<Prologue>,
    /// Cores that belong to this one (version 2).
    pub linked: Option<Vec<Hash>>,
    /// Anything (version 2).
    pub user_data: Option<Bytes>,
}

impl Manifest {
    /// One signer in the default namespace: what a core has that is made without a manifest.
    pub fn single(public_key: Hash) -> Self {
        Self::of_signers(vec![Signer { namespace: default_namespace(), public_key }])
    }

    /// Version 1, the majority of `signers`.
    pub fn of_signers(signers: Vec<Signer>) -> Self {
        let quorum = if signers.is_empty() { 0 } else { signers.len() as u64 / 2 + 1 };
        Self { version: 1, allow_patch: false, quorum, signers, prologue: None, linked: None, user_data: None }
    }

    /// The key of the core: the hash of the encoded manifest.
    pub fn key(&self) -> Hash {
        crypto::hash(&[&constant(3), &self.encode()])
    }

    /// Whether `key` is the key of this manifest's core, as hash or, in cores from before Hypercore 11, as the only signer's key.
    pub fn is_of(&self, key: &Hash) -> bool {
        self.is_compat(key) || self.key() == *key
    }

    /// Whether `key` is the only signer's key, as in cores from before Hypercore 11.
    pub fn is_compat(&self, key: &Hash) -> bool {
        matches!(&self.signers[..], [signer] if signer.public_key == *key)
    }

    /// The encoding (`lib/messages.js`, `manifest`).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        self.encode_to(&mut out);
        out.finish()
    }

    /// Writes the encoding.
    pub fn encode_to(&self, out: &mut Encoder) {
        out.uint(self.version);
        if self.version == 0 {
            return self.encode_v0(out);
        }
        let mut flags = 0;
        for (is_set, flag) in [
            (self.allow_patch, ALLOW_PATCH),
            (self.prologue.is_some(), PROLOGUE),
            (self.linked.is_some(), LINKED),
            (self.user_data.is_some(), USER_DATA),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        // The 0 is BLAKE2b, the only hash there is.
        out.uint(flags).uint(0).uint(self.quorum).array(&self.signers, Signer::encode);
        if let Some(prologue) = &self.prologue {
            out.fixed(&prologue.hash).uint(prologue.length);
        }
        if let Some(linked) = &self.linked {
            out.array(linked, |out, key| {
                out.fixed(key);
            });
        }
        if let Some(user_data) = &self.user_data {
            out.buffer(user_data);
        }
    }

    fn encode_v0(&self, out: &mut Encoder) {
        out.uint(0);
        match (&self.prologue, &self.signers[..]) {
            (Some(prologue), []) => {
                out.uint(0).fixed(&prologue.hash);
            }
            (_, [signer]) if self.quorum == 1 && !self.allow_patch => {
                out.uint(1);
                Signer::encode(out, signer);
            }
            _ => {
                out.uint(2).uint(self.allow_patch.into()).uint(self.quorum).array(&self.signers, Signer::encode);
            }
        }
    }

    /// Reads an encoding.
    ///
    /// # Errors
    /// When the bytes end early, or have a version, hash or signature that is not known.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let version = from.uint()?;
        if version == 0 {
            return Self::decode_v0(from);
        }
        if version > MAX_VERSION {
            return Err(DecodeError::Invalid("unknown version of a manifest"));
        }
        let flags = from.uint()?;
        decode_hash(from)?;
        let quorum = from.uint()?;
        let signers = from.array(65, Signer::decode)?;
        let has = |flag| flags & flag != 0;
        let prologue = if has(PROLOGUE) { Some(Prologue { hash: from.fixed()?, length: from.uint()? }) } else { None };
        let linked = if has(LINKED) { Some(from.array(32, Decoder::fixed)?) } else { None };
        let user_data = if has(USER_DATA) { Some(Bytes::copy_from_slice(from.buffer()?)) } else { None };
        Ok(Self { version, allow_patch: has(ALLOW_PATCH), quorum, signers, prologue, linked, user_data })
    }

    fn decode_v0(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decode_hash(from)?;
        let mut manifest = Self { version: 0, ..Self::of_signers(Vec::new()) };
        match from.uint()? {
            0 => manifest.prologue = Some(Prologue { hash: from.fixed()?, length: 0 }),
            1 => {
                manifest.quorum = 1;
                manifest.signers = vec![Signer::decode(from)?];
            }
            2 => {
                manifest.allow_patch = from.uint()? & 1 != 0;
                manifest.quorum = from.uint()?;
                manifest.signers = from.array(65, Signer::decode)?;
            }
            _ => return Err(DecodeError::Invalid("unknown type of a manifest")),
        }
        Ok(manifest)
    }

    /// Whether the fields fit the version.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for linked cores or user data before version 2, a prologue's length in version 0, an unknown version.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = match self.version {
            0 => self.linked.is_some() || self.user_data.is_some() || self.prologue.is_some_and(|p| p.length > 0),
            1 => self.linked.is_some() || self.user_data.is_some(),
            2..=MAX_VERSION => false,
            _ => true,
        };
        if wrong { Err(Error::BadArgument("the manifest has fields that its version does not have")) } else { Ok(()) }
    }
}

impl Signer {
    fn encode(out: &mut Encoder, signer: &Self) {
        // The 0 is Ed25519, the only signature there is.
        out.uint(0).fixed(&signer.namespace).fixed(&signer.public_key);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match from.uint()? {
            0 => Ok(Self { namespace: from.fixed()?, public_key: from.fixed()? }),
            _ => Err(DecodeError::Invalid("unknown kind of signature")),
        }
    }
}

fn decode_hash(from: &mut Decoder<'_>) -> Result<(), DecodeError> {
    match from.uint()? {
        0 => Ok(()),
        _ => Err(DecodeError::Invalid("unknown hash")),
    }
}
