//! Sealed messages that stand alone (libsodium's `crypto_secretbox`): XSalsa20 and Poly1305.
//!
//! ```
//! let (key, nonce) = ([1; 32], [2; 24]);
//! let sealed = crypto::secretbox::seal(&key, &nonce, b"message");
//! assert_eq!(crypto::secretbox::open(&key, &nonce, &sealed).as_deref(), Some(&b"message"[..]));
//! assert_eq!(crypto::secretbox::open(&key, &[3; 24], &sealed), None);
//! ```

use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use subtle::ConstantTimeEq;

use crate::poly1305::Poly1305;

/// The bytes that a sealed message is longer than the message: the authenticator in front of it.
pub const MAC_BYTES: usize = 16;

/// The cipher, placed behind the 32 bytes of key stream that are the authenticator's key.
fn start(key: &[u8; 32], nonce: &[u8; 24]) -> (XSalsa20, Poly1305) {
    let mut cipher = XSalsa20::new(key.into(), nonce.into());
    let mut mac_key = [0; 32];
    cipher.apply_keystream(&mut mac_key);
    (cipher, Poly1305::new(&mac_key))
}

/// `message`, sealed: an authenticator of 16 bytes, and the encrypted message. No two messages may share key and nonce.
pub fn seal(key: &[u8; 32], nonce: &[u8; 24], message: &[u8]) -> Vec<u8> {
    let (mut cipher, mac) = start(key, nonce);
    let mut sealed = Vec::with_capacity(MAC_BYTES + message.len());
    sealed.extend_from_slice(&[0; MAC_BYTES]);
    sealed.extend_from_slice(message);
    cipher.apply_keystream(&mut sealed[MAC_BYTES..]);
    let tag = mac.finish(&sealed[MAC_BYTES..]);
    sealed[..MAC_BYTES].copy_from_slice(&tag);
    sealed
}

/// The message of what [`seal`] made, or `None` if this is not it.
pub fn open(key: &[u8; 32], nonce: &[u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
    let (tag, encrypted) = sealed.split_first_chunk::<MAC_BYTES>()?;
    let (mut cipher, mac) = start(key, nonce);
    if !bool::from(mac.finish(encrypted).ct_eq(tag)) {
        return None;
    }
    let mut message = encrypted.to_vec();
    cipher.apply_keystream(&mut message);
    Some(message)
}
