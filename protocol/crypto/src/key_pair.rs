use std::fmt;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use rand::TryRngCore;
use sha2::{Digest, Sha512};
use zeroize::Zeroize;

use crate::CryptoError;

/// An Ed25519 key pair. Its printed form shows the public key only; the secret is wiped from memory with the last copy.
///
/// ```
/// let keys = crypto::KeyPair::generate();
/// let signature = keys.sign(b"message");
/// assert!(crypto::verify(&keys.public_key, b"message", &signature));
/// assert!(!crypto::verify(&keys.public_key, b"another", &signature));
/// ```
#[derive(Clone)]
pub struct KeyPair {
    /// The public key, an Ed25519 point.
    pub public_key: [u8; 32],
    seed: [u8; 32],
    /// The secret scalar: the clamped first half of the seed's SHA-512.
    scalar: [u8; 32],
    /// The second half of the seed's SHA-512, from which signatures take their nonces.
    prefix: [u8; 32],
}

impl KeyPair {
    /// The key pair that `seed` stands for (`crypto_sign_seed_keypair`).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut expanded: [u8; 64] = Sha512::digest(seed).into();
        let mut keys = Self { public_key: [0; 32], seed: *seed, scalar: [0; 32], prefix: [0; 32] };
        keys.scalar.copy_from_slice(&expanded[..32]);
        keys.prefix.copy_from_slice(&expanded[32..]);
        expanded.zeroize();
        keys.scalar = curve25519_dalek::scalar::clamp_integer(keys.scalar);
        keys.public_key = EdwardsPoint::mul_base_clamped(keys.scalar).compress().to_bytes();
        keys
    }

    /// A new key pair from the operating system's randomness.
    ///
    /// # Panics
    /// When the operating system has none to give: no secret can be made on such a machine.
    pub fn generate() -> Self {
        let mut seed = random_bytes();
        let keys = Self::from_seed(&seed);
        seed.zeroize();
        keys
    }

    /// The key pair in libsodium's form, seed and public key. An error if the two do not belong together: signing with
    /// another public key than one's own gives the secret away.
    pub fn from_secret_key(secret_key: &[u8; 64]) -> Result<Self, CryptoError> {
        let (seed, public_key) = secret_key.split_first_chunk().ok_or(CryptoError::InconsistentSecretKey)?;
        let keys = Self::from_seed(seed);
        if keys.public_key == public_key { Ok(keys) } else { Err(CryptoError::InconsistentSecretKey) }
    }

    /// The secret key in libsodium's form, seed and public key.
    pub fn secret_key(&self) -> [u8; 64] {
        let mut secret_key = [0; 64];
        secret_key[..32].copy_from_slice(&self.seed);
        secret_key[32..].copy_from_slice(&self.public_key);
        secret_key
    }

    /// The seed that the key pair came from.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The signature of `message` (`crypto_sign_detached`; RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut nonce = Scalar::from_bytes_mod_order_wide(
            &Sha512::new().chain_update(self.prefix).chain_update(message).finalize().into(),
        );
        let point = EdwardsPoint::mul_base(&nonce).compress();
        let mut secret = Scalar::from_bytes_mod_order(self.scalar);
        let scalar = nonce + challenge(point.as_bytes(), &self.public_key, message) * secret;
        nonce.zeroize();
        secret.zeroize();
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(point.as_bytes());
        signature[32..].copy_from_slice(scalar.as_bytes());
        signature
    }
}

impl Drop for KeyPair {
    fn drop(&mut self) {
        self.seed.zeroize();
        self.scalar.zeroize();
        self.prefix.zeroize();
    }
}

impl PartialEq for KeyPair {
    /// Key pairs are equal when their public keys are.
    fn eq(&self, other: &Self) -> bool {
        self.public_key == other.public_key
    }
}

impl Eq for KeyPair {}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(")?;
        self.public_key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Random bytes of the operating system.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// The scalar that ties a signature to its key and message.
fn challenge(point: &[u8], public_key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(point).chain_update(public_key).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

/// The point that `bytes` encode, if its y coordinate is written in the only canonical way.
fn canonical_point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    // Below p = 2^255 - 19; the top bit is the sign of x.
    let too_great = bytes[0] >= 0xed && bytes[1..31].iter().all(|&byte| byte == 0xff) && bytes[31] & 0x7f == 0x7f;
    if too_great { None } else { CompressedEdwardsY(*bytes).decompress() }
}

/// Whether `signature` is that of `message` by the owner of `public_key` (`crypto_sign_verify_detached`).
///
/// RFC 8032 leaves room, and implementations differ. libsodium, and so this, refuses a scalar that is not reduced, a key that is
/// not canonical, and a key or point of small order; a key or point of mixed order passes if the equation holds exactly, not
/// merely up to the cofactor.
pub fn verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    verified(public_key, message, signature).is_some()
}

fn verified(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Option<()> {
    let (point, scalar) = signature.split_first_chunk::<32>()?;
    let scalar = Option::<Scalar>::from(Scalar::from_canonical_bytes(*scalar.first_chunk()?))?;
    let key = canonical_point(public_key).filter(|key| !key.is_small_order())?;
    let challenge = challenge(point, public_key, message);
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&challenge, &-key, &scalar);
    (expected.compress().as_bytes() == point && !expected.is_small_order()).then_some(())
}

/// The secret that `keys` share with the owner of `remote`: the compressed Edwards point of the secret scalar times the remote
/// key (`noise-curve-ed`; `crypto_scalarmult_ed25519_noclamp`).
///
/// An error for a key that is not canonical, of small order, or outside the group of the base point. For a key that is in the
/// group but for a component of order 2, libsodium before 1.0.21 computes a secret nevertheless (CVE-2025-69277); no key pair
/// has such a public key.
pub fn dh(keys: &KeyPair, remote: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
    Ok(GroupPoint::new(remote)?.dh(keys))
}

/// A public key that [`dh`] accepts. To find that out costs as much as the secret itself, so who agrees on several secrets with
/// one key does it once.
#[derive(Clone, Copy)]
pub(crate) struct GroupPoint(EdwardsPoint);

impl GroupPoint {
    pub(crate) fn new(public_key: &[u8; 32]) -> Result<Self, CryptoError> {
        let point = canonical_point(public_key).ok_or(CryptoError::InvalidPublicKey)?;
        // The one point of small order that is torsion free is the identity.
        if point.is_small_order() || !point.is_torsion_free() {
            return Err(CryptoError::InvalidPublicKey);
        }
        Ok(Self(point))
    }

    /// See [`dh`].
    pub(crate) fn dh(&self, keys: &KeyPair) -> [u8; 32] {
        self.0.mul_clamped(keys.scalar).compress().to_bytes()
    }
}
