//! The Noise handshakes of the stack, `Noise_IK_Ed25519_ChaChaPoly_BLAKE2b` (HyperDHT) and
//! `Noise_XX_Ed25519_ChaChaPoly_BLAKE2b` (secret-stream's own dial).
//!
//! The protocol is the Noise framework, revision 34, with the Diffie-Hellman function of `noise-curve-ed`: static and ephemeral
//! keys are Ed25519 key pairs, and the shared secret is an Edwards point ([`dh`](crate::dh)). The example at the start of
//! [the crate](crate) runs one.

use std::fmt;

use zeroize::Zeroize;

use crate::chacha::{self, MAC_BYTES};
use crate::key_pair::GroupPoint;
use crate::{CryptoError, KeyPair, hash512};

/// The longest handshake message, by the Noise specification.
pub const MAX_MESSAGE_BYTES: usize = 65_535;

/// The block of BLAKE2b, to which HMAC pads its key.
const BLOCK_BYTES: usize = 128;

/// Who knows whose key beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// The initiator knows the responder's key, and sends its own at once: two messages.
    IK,
    /// The keys are exchanged in the handshake: three messages.
    XX,
}

/// What a message carries and what its keys are mixed with, in the terms of the Noise specification.
#[derive(Clone, Copy)]
enum Token {
    /// The sender's ephemeral public key.
    E,
    /// The sender's static public key.
    S,
    /// The shared secret of the initiator's ephemeral and the responder's ephemeral key.
    EE,
    /// The shared secret of the initiator's ephemeral and the responder's static key.
    ES,
    /// The shared secret of the initiator's static and the responder's ephemeral key.
    SE,
    /// The shared secret of the initiator's static and the responder's static key.
    SS,
}

impl Pattern {
    fn name(self) -> &'static [u8] {
        match self {
            Self::IK => b"Noise_IK_Ed25519_ChaChaPoly_BLAKE2b",
            Self::XX => b"Noise_XX_Ed25519_ChaChaPoly_BLAKE2b",
        }
    }

    /// The messages, the first, third, ... of which the initiator sends.
    fn messages(self) -> &'static [&'static [Token]] {
        use Token::{E, EE, ES, S, SE, SS};
        match self {
            Self::IK => &[&[E, ES, S, SS], &[E, EE, SE]],
            Self::XX => &[&[E], &[E, EE, S, ES], &[S, SE]],
        }
    }
}

/// What a handshake results in.
#[derive(Clone)]
pub struct Session {
    /// The key for what is sent.
    pub tx: [u8; 32],
    /// The key for what is received.
    pub rx: [u8; 32],
    /// The hash of the whole handshake: the same on both sides, and on no other connection.
    pub hash: [u8; 64],
    /// The static key that the other side has proven to own.
    pub remote_public_key: [u8; 32],
    /// Whether this side sent the first message.
    pub is_initiator: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tx.zeroize();
        self.rx.zeroize();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_initiator", &self.is_initiator).finish_non_exhaustive()
    }
}

/// One side of a handshake: [`send`](Self::send) and [`recv`](Self::recv) in turn, the initiator first, until
/// [`is_complete`](Self::is_complete); then [`finish`](Self::finish).
///
/// An error ends the handshake: every later call fails with [`CryptoError::OutOfTurn`]. Who may be given messages of others
/// tries them on a clone.
#[derive(Clone)]
pub struct Handshake {
    pattern: Pattern,
    is_initiator: bool,
    /// How many messages were sent and received, or `None` after an error.
    step: Option<usize>,
    symmetric: SymmetricState,
    local_static: KeyPair,
    local_ephemeral: Option<KeyPair>,
    remote_static: Option<RemoteKey>,
    remote_ephemeral: Option<RemoteKey>,
}

/// A key of the other side. Two secrets are agreed on with each; the first has it checked.
#[derive(Clone)]
struct RemoteKey {
    bytes: [u8; 32],
    checked: Option<GroupPoint>,
}

impl RemoteKey {
    fn new(bytes: [u8; 32]) -> Self {
        Self { bytes, checked: None }
    }

    fn dh(&mut self, keys: &KeyPair) -> Result<[u8; 32], CryptoError> {
        let point = match self.checked {
            Some(point) => point,
            None => *self.checked.insert(GroupPoint::new(&self.bytes)?),
        };
        Ok(point.dh(keys))
    }
}

impl Handshake {
    /// A handshake before its first message.
    ///
    /// `prologue` is what both sides must agree on beforehand. `remote_static` is the key of the responder, needed (and used)
    /// by the initiator of [`Pattern::IK`] only.
    pub fn new(
        pattern: Pattern,
        is_initiator: bool,
        local_static: KeyPair,
        remote_static: Option<[u8; 32]>,
        prologue: &[u8],
    ) -> Self {
        let mut symmetric = SymmetricState::new(pattern.name());
        symmetric.mix_hash(prologue);
        let remote_static = remote_static.filter(|_| pattern == Pattern::IK && is_initiator);
        if pattern == Pattern::IK {
            match (is_initiator, &remote_static) {
                (false, _) => symmetric.mix_hash(&local_static.public_key),
                (true, Some(key)) => symmetric.mix_hash(key),
                // Reported when the first message is asked for.
                (true, None) => {}
            }
        }
        Self {
            pattern,
            is_initiator,
            step: Some(0),
            symmetric,
            local_static,
            local_ephemeral: None,
            remote_static: remote_static.map(RemoteKey::new),
            remote_ephemeral: None,
        }
    }

    /// Uses `ephemeral` instead of a random key pair. For tests: an ephemeral key that is used twice protects nothing.
    pub fn with_ephemeral(mut self, ephemeral: KeyPair) -> Self {
        self.local_ephemeral = Some(ephemeral);
        self
    }

    /// The next message, which carries `payload`.
    ///
    /// The payload of the first XX message is not encrypted; that of the first IK message can be replayed.
    pub fn send(&mut self, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.advance(true, |handshake, tokens| {
            let mut message = Vec::with_capacity(2 * (32 + MAC_BYTES) + payload.len());
            for &token in tokens {
                match token {
                    Token::E => {
                        let ephemeral = handshake.local_ephemeral.get_or_insert_with(KeyPair::generate);
                        handshake.symmetric.mix_hash(&ephemeral.public_key);
                        message.extend_from_slice(&ephemeral.public_key);
                    }
                    Token::S => {
                        let sealed = handshake.symmetric.encrypt_and_hash(&handshake.local_static.public_key);
                        message.extend_from_slice(&sealed);
                    }
                    _ => handshake.mix_shared_secret(token)?,
                }
            }
            message.extend_from_slice(&handshake.symmetric.encrypt_and_hash(payload));
            if message.len() > MAX_MESSAGE_BYTES {
                return Err(CryptoError::MessageTooLong);
            }
            Ok(message)
        })
    }

    /// Takes the other side's next message; the result is its payload.
    pub fn recv(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.advance(false, |handshake, tokens| {
            if message.len() > MAX_MESSAGE_BYTES {
                return Err(CryptoError::MessageTooLong);
            }
            let mut rest = message;
            for &token in tokens {
                match token {
                    Token::E => {
                        let (key, after) = rest.split_first_chunk().ok_or(CryptoError::MessageTooShort)?;
                        rest = after;
                        handshake.symmetric.mix_hash(key);
                        handshake.remote_ephemeral = Some(RemoteKey::new(*key));
                    }
                    Token::S => {
                        let length = 32 + if handshake.symmetric.key.is_some() { MAC_BYTES } else { 0 };
                        let (sealed, after) = rest.split_at_checked(length).ok_or(CryptoError::MessageTooShort)?;
                        rest = after;
                        let key = handshake.symmetric.decrypt_and_hash(sealed)?;
                        let key = key.try_into().map_err(|_| CryptoError::MessageTooShort)?;
                        handshake.remote_static = Some(RemoteKey::new(key));
                    }
                    _ => handshake.mix_shared_secret(token)?,
                }
            }
            handshake.symmetric.decrypt_and_hash(rest)
        })
    }

    /// Whether all messages were exchanged.
    pub fn is_complete(&self) -> bool {
        self.step == Some(self.pattern.messages().len())
    }

    /// The other side's static key, once it is known. It is proven only by the end of the handshake.
    pub fn remote_public_key(&self) -> Option<&[u8; 32]> {
        self.remote_static.as_ref().map(|key| &key.bytes)
    }

    /// The keys of the connection. An error before [`is_complete`](Self::is_complete).
    pub fn finish(self) -> Result<Session, CryptoError> {
        let (true, Some(remote_public_key)) = (self.is_complete(), self.remote_public_key().copied()) else {
            return Err(CryptoError::OutOfTurn);
        };
        let (mut first, mut second) = hkdf(&self.symmetric.chaining_key, &[]);
        let (initiator, responder) = (first_half(&first), first_half(&second));
        first.zeroize();
        second.zeroize();
        let (tx, rx) = if self.is_initiator { (initiator, responder) } else { (responder, initiator) };
        Ok(Session { tx, rx, hash: self.symmetric.hash, remote_public_key, is_initiator: self.is_initiator })
    }

    /// Runs one message, if it is this side's turn to send (or receive) one.
    fn advance(
        &mut self,
        sending: bool,
        run: impl FnOnce(&mut Self, &[Token]) -> Result<Vec<u8>, CryptoError>,
    ) -> Result<Vec<u8>, CryptoError> {
        // Until the message is through, the handshake counts as failed.
        let step = self.step.take().ok_or(CryptoError::OutOfTurn)?;
        let initiator_sends = step % 2 == 0;
        let tokens = self.pattern.messages().get(step).filter(|_| sending == (initiator_sends == self.is_initiator));
        let result = run(self, tokens.ok_or(CryptoError::OutOfTurn)?)?;
        self.step = Some(step + 1);
        Ok(result)
    }

    fn mix_shared_secret(&mut self, token: Token) -> Result<(), CryptoError> {
        let (local_is_static, remote_is_static) = match (token, self.is_initiator) {
            (Token::SS, _) => (true, true),
            (Token::SE, true) | (Token::ES, false) => (true, false),
            (Token::ES, true) | (Token::SE, false) => (false, true),
            _ => (false, false),
        };
        let local = if local_is_static { Some(&self.local_static) } else { self.local_ephemeral.as_ref() };
        let remote = if remote_is_static { &mut self.remote_static } else { &mut self.remote_ephemeral };
        let local = local.ok_or(CryptoError::OutOfTurn)?;
        let mut secret = remote.as_mut().ok_or(CryptoError::RemoteKeyRequired)?.dh(local)?;
        self.symmetric.mix_key(&secret);
        secret.zeroize();
        Ok(())
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("pattern", &self.pattern)
            .field("is_initiator", &self.is_initiator)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

/// The running hash and keys of a handshake.
#[derive(Clone)]
struct SymmetricState {
    hash: [u8; 64],
    chaining_key: [u8; 64],
    key: Option<[u8; 32]>,
    counter: u64,
}

impl SymmetricState {
    /// The state before anything was mixed in. A name of up to 64 bytes is its own hash, padded with zeros.
    fn new(name: &[u8]) -> Self {
        let mut hash = [0; 64];
        hash[..name.len()].copy_from_slice(name);
        Self { hash, chaining_key: hash, key: None, counter: 0 }
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = hash512(&[&self.hash, data]);
    }

    fn mix_key(&mut self, secret: &[u8]) {
        let (chaining_key, mut key) = hkdf(&self.chaining_key, secret);
        self.chaining_key = chaining_key;
        self.key = Some(first_half(&key));
        self.counter = 0;
        key.zeroize();
    }

    fn encrypt_and_hash(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let sealed = match &self.key {
            Some(key) => chacha::seal(key, self.counter, &self.hash, plaintext),
            None => plaintext.to_vec(),
        };
        self.counter += 1;
        self.mix_hash(&sealed);
        sealed
    }

    fn decrypt_and_hash(&mut self, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let plaintext = match &self.key {
            Some(key) => chacha::open(key, self.counter, &self.hash, sealed)?,
            None => sealed.to_vec(),
        };
        self.counter += 1;
        self.mix_hash(sealed);
        Ok(plaintext)
    }
}

impl Drop for SymmetricState {
    fn drop(&mut self) {
        self.chaining_key.zeroize();
        self.key.zeroize();
    }
}

fn first_half(bytes: &[u8; 64]) -> [u8; 32] {
    let mut half = [0; 32];
    half.copy_from_slice(&bytes[..32]);
    half
}

/// HMAC (RFC 2104) with BLAKE2b-512.
fn hmac(key: &[u8; 64], parts: &[&[u8]]) -> [u8; 64] {
    let (mut inner, mut outer) = ([0x36; BLOCK_BYTES], [0x5c; BLOCK_BYTES]);
    for (i, byte) in key.iter().enumerate() {
        inner[i] ^= byte;
        outer[i] ^= byte;
    }
    let digest = match parts {
        [one] => hash512(&[&inner, one]),
        [one, two] => hash512(&[&inner, one, two]),
        _ => unreachable!("the key derivation hashes one or two parts"),
    };
    let digest = hash512(&[&outer, &digest]);
    inner.zeroize();
    outer.zeroize();
    digest
}

/// The first two outputs of HKDF (RFC 5869) without info.
fn hkdf(chaining_key: &[u8; 64], secret: &[u8]) -> ([u8; 64], [u8; 64]) {
    let mut extracted = hmac(chaining_key, &[secret]);
    let first = hmac(&extracted, &[&[1]]);
    let second = hmac(&extracted, &[&first, &[2]]);
    extracted.zeroize();
    (first, second)
}
