//! ChaCha20-Poly1305 as Noise uses it.

use chacha20poly1305::aead::{AeadInOut, Buffer, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};

use crate::CryptoError;

/// The bytes of an authenticator.
pub(crate) const MAC_BYTES: usize = 16;

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce.into()
}

/// `plaintext`, encrypted, and the authenticator of it and `associated` (RFC 8439, nonce of four zero bytes and the counter).
pub(crate) fn seal(key: &[u8; 32], counter: u64, associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plaintext.len() + MAC_BYTES);
    out.extend_from_slice(plaintext);
    let sealed =
        ChaCha20Poly1305::new(key.into()).encrypt_in_place(&nonce(counter), associated, &mut out as &mut dyn Buffer);
    sealed.expect("a handshake message is far below the limit of the cipher");
    out
}

/// The plaintext of what [`seal`] made.
pub(crate) fn open(key: &[u8; 32], counter: u64, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut out = sealed.to_vec();
    ChaCha20Poly1305::new(key.into())
        .decrypt_in_place(&nonce(counter), associated, &mut out as &mut dyn Buffer)
        .map_err(|_| CryptoError::NotAuthentic)?;
    Ok(out)
}
