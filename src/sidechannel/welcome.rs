//! Welcomes: an owner's signed word on a channel, without which its messages are not taken.

use crypto::KeyPair;
use encoding::json::{JsString, Object, Value, stable_stringify, to_number};

use super::{
    invite::{payload_of, signature_of, signed, version_of},
    keys,
};

/// What a welcome says, normalised as its owner signed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Welcome {
    channel: JsString,
    owner: JsString,
    text: JsString,
    issued_at: f64,
    version: f64,
}

impl Welcome {
    /// Reads what a welcome says, from its `payload` or, where it has none, from itself. `None` where JavaScript would throw.
    fn read(welcome: &Value) -> Option<Self> {
        let payload = payload_of(welcome);
        Some(Self {
            channel: keys::normalize_channel(payload.get("channel"))?,
            owner: keys::normalize_key(payload.get("ownerPubKey")).unwrap_or_default(),
            text: keys::text_or_empty(payload.get("text"))?,
            issued_at: payload.get("issuedAt").map_or(f64::NAN, to_number),
            version: version_of(payload),
        })
    }

    fn payload(&self) -> Object {
        Object::new()
            .with("channel", self.channel.clone())
            .with("ownerPubKey", self.owner.clone())
            .with("text", self.text.clone())
            .with("issuedAt", self.issued_at)
            .with("version", self.version)
    }

    /// Whether `welcome` is the word of `owner` (lower-case hex) on `channel`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words: the first of the original's checks that fails.
    pub fn check(welcome: &Value, channel: &str, owner: &str) -> Result<(), &'static str> {
        let signature = signature_of(welcome).ok_or("it has no signature")?;
        let this = Self::read(welcome).ok_or("it cannot be read")?;
        if this.channel != encoding::json::trim(channel) {
            return Err("it is for another channel");
        }
        if this.owner != owner {
            return Err("it is another's than the owner's that is configured");
        }
        if !this.issued_at.is_finite() {
            return Err("its time is no number");
        }
        let valid = keys::verify_hex(owner, &stable_stringify(&this.payload().into()), &signature);
        valid.then_some(()).ok_or("its signature does not hold")
    }
}

/// Makes a welcome: `{payload, sig}`. `issued_at` is in milliseconds since 1970.
pub fn create_welcome(owner: &KeyPair, channel: &str, text: &str, issued_at: u64) -> Value {
    let payload = Welcome {
        channel: channel.into(),
        owner: keys::hex(&owner.public_key).into(),
        text: text.into(),
        issued_at: issued_at as f64,
        version: 1.0,
    };
    signed(owner, payload.payload().into(), None)
}
