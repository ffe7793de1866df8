//! Who wrote what: a sidechannel message with its author's signature, kept beside the expense that it brought.

use encoding::json::{JsString, Object, Value, parse, stable_stringify, stringify};

use crate::sidechannel::signature::{signature_base, verify_payload};

use super::APP_KEY;

/// What of a payload its author signs, and the signature.
const SIGNED: [&str; 7] = ["id", "channel", "from", "origin", "ts", "message", "sig"];

/// A message whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The author's public key: 64 lower-case hex digits.
    pub author: String,
    /// When the author says that it was written, in whole milliseconds since 1970.
    pub ts: u64,
    /// The JSON of the payload, of which only signed parts are kept.
    text: String,
}

impl Proof {
    /// Judges a payload that came on a channel. `None`: it is not signed by the key it is from, or for another channel, or not
    /// of this application.
    pub fn of(payload: &Value, channel: &JsString) -> Option<Proof> {
        let author = payload.get("from")?.as_str()?;
        let is_key = author.len() == 64 && author.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        let message = payload.get("message")?;
        let ours = message.get("app").and_then(Value::as_str) == Some(APP_KEY);
        let ts = payload.get("ts")?.as_f64().filter(|ts| ts.fract() == 0.0 && (0.0..9.0e15).contains(ts))?;
        if !is_key || !ours || payload.get("channel")?.as_js_string()? != channel {
            return None;
        }
        let base = signature_base(payload, &stable_stringify(message));
        if !verify_payload(payload, &base, author) {
            return None;
        }
        let sig = payload.get("sig").filter(|sig| encoding::json::truthy(sig)).or_else(|| payload.get("signature"));
        let mut kept = Object::new();
        for key in SIGNED {
            let value = if key == "sig" { sig } else { payload.get(key) };
            if let Some(value) = value {
                kept.insert(key, value.clone());
            }
        }
        Some(Proof { author: author.to_owned(), ts: ts as u64, text: stringify(&kept.into()) })
    }

    /// The payload.
    pub fn payload(&self) -> Value {
        parse(&self.text).unwrap_or_default()
    }

    /// The JSON text of the payload.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn size(&self) -> usize {
        self.text.len() + self.author.len()
    }
}
