//! Sealed messages in order (libsodium's `crypto_secretstream_xchacha20poly1305`).
//!
//! A sealed message is one byte of encrypted tag, the encrypted message, and an authenticator of 16 bytes. Each depends on all
//! before it: one that is lost, repeated, or out of order does not open, and neither does any behind it.
//!
//! ```
//! use crypto::secretstream::{ABYTES, Pull, Push, TAG_MESSAGE};
//!
//! let (key, header) = ([1; 32], [2; 24]);
//! let mut push = Push::new(&key, &header);
//! let mut pull = Pull::new(&key, &header);
//!
//! // In place: room for the tag in front, and for the authenticator behind.
//! let mut buffer = [0; 5 + ABYTES];
//! buffer[1..6].copy_from_slice(b"hello");
//! push.seal_in_place(&mut buffer)?;
//! let (tag, message) = pull.open_in_place(&mut buffer)?;
//! assert_eq!((tag, &buffer[message]), (TAG_MESSAGE, &b"hello"[..]));
//! # Ok::<(), crypto::CryptoError>(())
//! ```

use std::fmt;
use std::ops::Range;

use chacha20::cipher::{Block as CipherBlock, KeyIvInit, StreamCipherCore};
use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20, hchacha};
use poly1305::universal_hash::{KeyInit, UniversalHash};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::CryptoError;
use crate::key_pair::random_bytes;
use crate::poly1305::Poly1305;

/// How many bytes a sealed message is longer than the message.
pub const ABYTES: usize = 17;
/// The bytes of a header, which starts a stream. It is not secret.
pub const HEADERBYTES: usize = 24;

/// The tag of an ordinary message, the only one that the JavaScript stack sends.
pub const TAG_MESSAGE: u8 = 0;
/// The tag of the last message of a set.
pub const TAG_PUSH: u8 = 1;
/// The tag of a message behind which the key changes.
pub const TAG_REKEY: u8 = 2;
/// The tag of the last message of the stream.
pub const TAG_FINAL: u8 = 3;

const MAC_BYTES: usize = 16;

/// A random header for a new stream.
pub fn random_header() -> [u8; HEADERBYTES] {
    random_bytes()
}

/// What both directions keep: the key, and the nonce, which is a counter and what the authenticators left behind.
#[derive(Clone)]
struct State {
    key: [u8; 32],
    nonce: [u8; 12],
}

impl State {
    fn new(key: &[u8; 32], header: &[u8; HEADERBYTES]) -> Self {
        let mut state = Self { key: [0; 32], nonce: [0; 12] };
        let (input, inner) = header.split_at(16);
        let input: [u8; 16] = input.try_into().expect("16 bytes were split off");
        state.key = hchacha::<R20>(key.into(), &input.into()).into();
        state.nonce[0] = 1;
        state.nonce[4..].copy_from_slice(inner);
        state
    }

    fn cipher(&self) -> Cipher {
        Cipher::new(&self.key.into(), &self.nonce.into())
    }

    /// The start of a message: block 0 of the key stream is the authenticator's key, block 1 hides the tag, and the message
    /// begins with block 2.
    fn start(&self) -> Start {
        let mut cipher = self.cipher();
        let mut head = Head::default();
        cipher.write_keystream_blocks(&mut head);
        Start { cipher, head }
    }

    /// Moves on behind a message: its authenticator goes into the nonce, the counter counts.
    fn next(&mut self, tag: u8, mac: &[u8]) {
        for (nonce, mac) in self.nonce[4..].iter_mut().zip(mac) {
            *nonce ^= mac;
        }
        let counter = u32::from_le_bytes([self.nonce[0], self.nonce[1], self.nonce[2], self.nonce[3]]).wrapping_add(1);
        self.nonce[..4].copy_from_slice(&counter.to_le_bytes());
        if tag & TAG_REKEY != 0 || counter == 0 {
            self.rekey();
        }
    }

    fn rekey(&mut self) {
        let mut fresh = [0; 40];
        fresh[..32].copy_from_slice(&self.key);
        fresh[32..].copy_from_slice(&self.nonce[4..]);
        let mut stream = Head::default();
        self.cipher().write_keystream_blocks(&mut stream);
        xor(&mut fresh, &stream[0]);
        self.key.copy_from_slice(&fresh[..32]);
        self.nonce[4..].copy_from_slice(&fresh[32..]);
        self.nonce[..4].copy_from_slice(&1u32.to_le_bytes());
        fresh.zeroize();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// From how many bytes on the AVX2 authenticator of the crate `poly1305` is the faster one, where ours has no AVX-512.
const VECTORISED: usize = 5120;

type Cipher = ChaChaCore<R20, Ietf>;

/// As many blocks as the cipher computes at once: fewer cost the same.
const WIDTH: usize = 4;

type Head = [CipherBlock<Cipher>; WIDTH];

fn xor(bytes: &mut [u8], stream: &[u8]) {
    for (byte, stream) in bytes.iter_mut().zip(stream) {
        *byte ^= stream;
    }
}

/// The cipher behind the first [`WIDTH`] blocks of a message, and those blocks.
struct Start {
    cipher: Cipher,
    head: Head,
}

impl Start {
    fn tag_block(&mut self) -> &mut [u8; 64] {
        self.head[1].first_chunk_mut().expect("a block has 64 bytes")
    }

    /// Encrypts, or decrypts, a message.
    fn apply(&mut self, message: &mut [u8]) {
        let (first, message) = message.split_at_mut(message.len().min(128));
        let (front, back) = first.split_at_mut(first.len().min(64));
        xor(front, &self.head[2]);
        xor(back, &self.head[3]);
        let whole = message.len() - message.len() % (64 * WIDTH);
        let (blocks, rest) = message.split_at_mut(whole);
        let (blocks, _) = CipherBlock::<Cipher>::slice_as_chunks_mut(blocks);
        self.cipher.apply_keystream_blocks(blocks);
        if !rest.is_empty() {
            let mut stream = Head::default();
            self.cipher.write_keystream_blocks(&mut stream);
            for (bytes, stream) in rest.chunks_mut(64).zip(&stream) {
                xor(bytes, stream);
            }
        }
    }

    /// The authenticator of an encrypted message.
    ///
    /// It covers the block of the tag, the message, zeros, and both lengths. libsodium counts the zeros such that they align
    /// nothing unless the message is aligned; so must we.
    fn authenticate(&self, encrypted: &[u8]) -> [u8; MAC_BYTES] {
        let key: &[u8; 32] = self.head[0].first_chunk().expect("a block has 64 bytes");
        let tag_block = &self.head[1];
        let (whole, rest) = encrypted.split_at(encrypted.len() - encrypted.len() % MAC_BYTES);
        let mut tail = [0; 48];
        tail[..rest.len()].copy_from_slice(rest);
        let end = 2 * rest.len() + 16;
        tail[end - 8..end].copy_from_slice(&(64 + encrypted.len() as u64).to_le_bytes());
        if whole.len() < VECTORISED || Poly1305::is_wide() {
            let mut mac = Poly1305::new(key);
            mac.update(tag_block);
            mac.update(whole);
            mac.finish(&tail[..end])
        } else {
            let mut mac = poly1305::Poly1305::new(key.into());
            mac.update(poly1305::Block::slice_as_chunks(tag_block).0);
            mac.update(poly1305::Block::slice_as_chunks(whole).0);
            mac.compute_unpadded(&tail[..end]).into()
        }
    }
}

/// The sending end of a stream.
#[derive(Clone)]
pub struct Push(State);

impl Push {
    /// The start of a stream under `key`. The receiver needs `header`, which must be [random](random_header).
    pub fn new(key: &[u8; 32], header: &[u8; HEADERBYTES]) -> Self {
        Self(State::new(key, header))
    }

    /// Seals the message that `buffer` holds between 1 byte of room in front and 16 behind.
    ///
    /// An error if the buffer is shorter than [`ABYTES`]; nothing has happened then.
    pub fn seal_in_place(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        self.seal_tagged_in_place(buffer, TAG_MESSAGE)
    }

    /// As [`seal_in_place`](Self::seal_in_place), with a tag that the receiver gets along with the message.
    pub fn seal_tagged_in_place(&mut self, buffer: &mut [u8], tag: u8) -> Result<(), CryptoError> {
        let [tag_byte, rest @ ..] = buffer else { return Err(CryptoError::MessageTooShort) };
        let (message, mac_room) = rest.split_last_chunk_mut::<MAC_BYTES>().ok_or(CryptoError::MessageTooShort)?;
        let mut start = self.0.start();
        start.tag_block()[0] ^= tag;
        *tag_byte = start.tag_block()[0];
        start.apply(message);
        *mac_room = start.authenticate(message);
        self.0.next(tag, mac_room);
        Ok(())
    }

    /// `message`, sealed.
    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        self.seal_tagged(message, TAG_MESSAGE)
    }

    /// `message`, sealed, with a tag that the receiver gets along with it.
    pub fn seal_tagged(&mut self, message: &[u8], tag: u8) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(message.len() + ABYTES);
        buffer.push(0);
        buffer.extend_from_slice(message);
        buffer.extend_from_slice(&[0; MAC_BYTES]);
        self.seal_tagged_in_place(&mut buffer, tag).expect("there is room for tag and authenticator");
        buffer
    }
}

/// The receiving end of a stream.
#[derive(Clone)]
pub struct Pull(State);

impl Pull {
    /// The start of the stream that was begun under `key` with `header`.
    pub fn new(key: &[u8; 32], header: &[u8; HEADERBYTES]) -> Self {
        Self(State::new(key, header))
    }

    /// Opens the sealed message in `buffer`; the result is its tag and where in the buffer the message is.
    ///
    /// After an error the buffer and the stream are as before.
    pub fn open_in_place(&mut self, buffer: &mut [u8]) -> Result<(u8, Range<usize>), CryptoError> {
        let end = buffer.len().checked_sub(MAC_BYTES).ok_or(CryptoError::MessageTooShort)?;
        let [tag_byte, rest @ ..] = buffer else { return Err(CryptoError::MessageTooShort) };
        let (message, received) = rest.split_last_chunk_mut::<MAC_BYTES>().ok_or(CryptoError::MessageTooShort)?;
        let mut start = self.0.start();
        let tag = start.tag_block()[0] ^ *tag_byte;
        start.tag_block()[0] = *tag_byte;
        if !bool::from(start.authenticate(message)[..].ct_eq(&received[..])) {
            return Err(CryptoError::NotAuthentic);
        }
        start.apply(message);
        self.0.next(tag, received);
        Ok((tag, 1..end))
    }

    /// The message of what [`Push::seal`] made.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut buffer = sealed.to_vec();
        let (_, range) = self.open_in_place(&mut buffer)?;
        buffer.truncate(range.end);
        buffer.drain(..range.start);
        Ok(buffer)
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").finish_non_exhaustive()
    }
}

impl fmt::Debug for Pull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pull").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Pull, Push, TAG_FINAL, TAG_MESSAGE, TAG_PUSH, TAG_REKEY};

    /// What libsodium 1.0.20 and 1.0.21 seal under the key 01.. and header 02..; before the sixth the counter is set to its end.
    const SEALED: [(&str, u8, &str); 7] = [
        ("one", TAG_MESSAGE, "92ecb01e4f736699308a9f8312be64d105da1e3b"),
        ("two", TAG_REKEY, "b1d60dc1140958cde31f1f184c09903c019eb7c1"),
        ("three", TAG_PUSH, "d0360b8e5ba5886eb6ce17c8552ac6f6bfdbf7cc8ff2"),
        ("four", TAG_FINAL, "85f72a303362ca104846c7d65b9450096cb9fcb9a8"),
        ("five", TAG_MESSAGE, "58e0b448aa7882a3197276f3b62662f6b066f7a539"),
        (
            "last of the counter",
            TAG_MESSAGE,
            "e52ba1ad7fdd3af1055fbfea7fd3f2feccc1d9c40c73a37965ceb971ebc515c690cd6f33",
        ),
        ("under a new key", TAG_MESSAGE, "2663bd09d97fd531e1a57f60ad0543f429be0a7443fcfa3f5486174114567dc5"),
    ];

    #[test]
    fn tags_and_the_end_of_the_counter_change_the_key_as_in_libsodium() {
        let (mut push, mut pull) = (Push::new(&[1; 32], &[2; 24]), Pull::new(&[1; 32], &[2; 24]));
        for (index, (message, tag, sealed)) in SEALED.into_iter().enumerate() {
            if index == 5 {
                push.0.nonce[..4].fill(0xff);
                pull.0.nonce[..4].fill(0xff);
            }
            let mut buffer = push.seal_tagged(message.as_bytes(), tag);
            assert_eq!(testing::hex(&buffer), sealed, "{message}");
            let (opened, range) = pull.open_in_place(&mut buffer).expect("authentic");
            assert_eq!((opened, &buffer[range]), (tag, message.as_bytes()));
        }
    }
}
