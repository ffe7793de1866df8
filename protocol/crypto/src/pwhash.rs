//! Key stretching: what turns a password into a key slowly (libsodium's `crypto_pwhash`).

use argon2::{Algorithm, Argon2, Params, Version};

use crate::CryptoError;

/// Argon2i, version 1.3, one lane (`crypto_pwhash_ALG_ARGON2I13`): `operations` passes over `memory_bytes` of memory.
///
/// It runs for about a second at the usual 3 passes over 256 MiB: keep it off the threads that serve the network. An error for
/// fewer than 3 passes and for memory below 8 KiB or not below 4 GiB.
pub fn argon2i(
    password: &[u8],
    salt: &[u8; 16],
    operations: u32,
    memory_bytes: usize,
) -> Result<[u8; 32], CryptoError> {
    /// As libsodium: with fewer passes Argon2i does not hold what it promises.
    const MIN_OPERATIONS: u32 = 3;
    let kibibytes = u32::try_from(memory_bytes / 1024).ok().filter(|kibibytes| *kibibytes < 1 << 22);
    let (Some(kibibytes), MIN_OPERATIONS..) = (kibibytes, operations) else {
        return Err(CryptoError::StretchingParameters);
    };
    let params = Params::new(kibibytes, operations, 1, Some(32)).map_err(|_| CryptoError::StretchingParameters)?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2i, Version::V0x13, params)
        .hash_password_into(password, salt, &mut key)
        .map_err(|_| CryptoError::StretchingParameters)?;
    Ok(key)
}
