//! The messages that are sent: their parts, and their bytes.

use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use crypto::KeyPair;
use encoding::json::{Object, Value, stable_stringify, stringify, to_js_string};
use rand::{Rng, TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};

use super::{keys, pow::PowBase, signature::signature_base};

/// A message before it is proven, signed and written.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The channel.
    pub channel: String,
    /// The message; `None` is JavaScript's `undefined`, which leaves no property and counts as `null` where it is signed.
    pub message: Option<Value>,
    /// The sender's invite.
    pub invite: Option<Value>,
    /// Its id; see [`new_id`].
    pub id: String,
    /// When it was sent, in milliseconds since 1970.
    pub ts: u64,
    /// How many times it may be passed on.
    pub ttl: u32,
    /// The zero bits that its proof of work must show; `None` makes no proof.
    pub difficulty: Option<u32>,
    /// The size of the largest JSON text, in bytes; `None` is no limit.
    pub max_bytes: Option<usize>,
    /// Whether to tell the hash of what was signed.
    pub report_hash: bool,
}

/// Whether a message that is to be sent shows an invite: it may be written where only the owner writes, and is sent also to who
/// has no invite. It is the text of `control` that counts here, as in JavaScript; of what is received, the value itself.
pub fn is_auth(message: &Value) -> bool {
    message.get("control").and_then(to_js_string).is_some_and(|control| control == "auth")
}

/// A message as it is sent.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The body of the Protomux message: the JSON text with its length before it.
    pub body: Bytes,
    /// The length of the JSON text.
    pub json_len: usize,
    /// The SHA-256 of what was signed, in hex, if it was asked for.
    pub signed_hash: Option<String>,
}

/// Why a message is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Its JSON text is longer than allowed.
    #[error("message too large ({bytes} bytes > {limit}).")]
    TooLarge {
        /// The length of the text.
        bytes: usize,
        /// The length allowed.
        limit: usize,
    },
    /// The proof of work was not found before the sidechannel was shut down.
    #[error("no proof of work")]
    NoProof,
}

/// A new message id: `<public key>:<ts>:<8 random characters>`.
pub fn new_id(self_key: &str, ts: u64) -> String {
    format!("{self_key}:{ts}:{}", random_text())
}

/// Eight random characters of a-z and 0-9, as JavaScript peers take them from `Math.random().toString(36)`.
pub fn random_text() -> String {
    const CHARACTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = OsRng.unwrap_err();
    (0..8).map(|_| char::from(CHARACTERS[random.random_range(0..CHARACTERS.len())])).collect()
}

impl Draft {
    /// Proves, signs and writes the message. This takes as long as its proof of work does; `stop` ends it early.
    ///
    /// # Errors
    /// [`SealError`] says why there is nothing to send. Size is looked at before the work is done.
    pub fn seal(&self, keys: &KeyPair, stop: &AtomicBool) -> Result<Sealed, SealError> {
        let text = self.message.as_ref().map(stringify);
        let invite = self.invite.as_ref().map(stringify);
        self.check_size(self.least_size(text.as_deref(), invite.as_deref()))?;

        let self_key = keys::hex(&keys.public_key);
        let head = Object::new()
            .with("type", "sidechannel")
            .with("id", self.id.as_str())
            .with("channel", self.channel.as_str())
            .with("from", self_key.as_str())
            .with("origin", self_key.as_str())
            .with("ts", self.ts);
        // What has no properties has the same text in both orders.
        let sorted = match &self.message {
            Some(message @ (Value::Array(_) | Value::Object(_))) => Some(stable_stringify(message)),
            _ => None,
        };
        let sorted = sorted.as_deref().or(text.as_deref()).unwrap_or("null");

        let pow = match self.difficulty {
            Some(difficulty) => {
                let nonce = PowBase::new(&head, sorted).solve(difficulty, stop).ok_or(SealError::NoProof)?;
                format!(",\"pow\":{{\"nonce\":{nonce},\"difficulty\":{difficulty}}}")
            }
            None => String::new(),
        };
        let signed = signature_base(&head, sorted);
        let signature = keys::hex(&keys.sign(signed.as_bytes()));
        let quoted = |key: &str| head.get(key).map(stringify).unwrap_or_default();
        let parts = [
            "{\"type\":\"sidechannel\",\"id\":",
            &quoted("id"),
            ",\"channel\":",
            &quoted("channel"),
            ",\"from\":",
            &quoted("from"),
            ",\"origin\":",
            &quoted("origin"),
            text.as_ref().map_or("", |_| ",\"message\":"),
            text.as_deref().unwrap_or_default(),
            ",\"ts\":",
            &self.ts.to_string(),
            ",\"ttl\":",
            &self.ttl.to_string(),
            invite.as_ref().map_or("", |_| ",\"invite\":"),
            invite.as_deref().unwrap_or_default(),
            &pow,
            ",\"sig\":\"",
            &signature,
            "\"}",
        ];
        let json_len = parts.iter().map(|part| part.len()).sum();
        self.check_size(json_len)?;
        let signed_hash = self.report_hash.then(|| keys::hex(&Sha256::digest(signed.as_bytes())));
        Ok(Sealed { body: body_of_parts(&parts, json_len), json_len, signed_hash })
    }

    /// A length that the JSON text will not fall short of.
    fn least_size(&self, message: Option<&str>, invite: Option<&str>) -> usize {
        // The signature and both keys alone take this much.
        const FIXED: usize = 128 + 64 + 64;
        FIXED + message.map_or(0, str::len) + invite.map_or(0, str::len) + self.id.len() + self.channel.len()
    }

    fn check_size(&self, bytes: usize) -> Result<(), SealError> {
        match self.max_bytes {
            Some(limit) if bytes > limit => Err(SealError::TooLarge { bytes, limit }),
            _ => Ok(()),
        }
    }
}

/// The body of a message with this JSON text: compact-encoding's `json`, the length and the text.
pub fn body_of(json: &str) -> Bytes {
    body_of_parts(&[json], json.len())
}

fn body_of_parts(parts: &[&str], length: usize) -> Bytes {
    let mut body = encoding::Encoder::new();
    body.uint(length as u64);
    let mut body = body.finish();
    body.reserve_exact(length);
    parts.iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
    body.into()
}

/// The JSON text within the body of a message; `None` when the body is cut short. What follows the text is not looked at.
pub fn text_of(body: &[u8]) -> Option<&[u8]> {
    encoding::Decoder::new(body).buffer().ok()
}
