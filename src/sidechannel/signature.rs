//! A message's signature by its author: Ed25519 over a sorted JSON text.

use encoding::json::{JsString, Value, stable_stringify_into, write_string};

use super::{keys, pow::Fields};

/// The text that the author of a payload signs; `message` is the sorted text of its message.
///
/// It is `{channel, from, id, kind, message, origin, ts}` with both keys normalised, so that a signature survives relaying.
pub fn signature_base(payload: &impl Fields, message: &str) -> String {
    let mut text = String::with_capacity(message.len() + 512);
    let value = |text: &mut String, value: Option<&Value>| match value {
        Some(value) => stable_stringify_into(text, value),
        None => text.push_str("null"),
    };
    let key = |text: &mut String, key: Option<JsString>| match key {
        Some(key) => write_string(text, &key),
        None => text.push_str("null"),
    };
    text.push_str("{\"channel\":");
    value(&mut text, payload.field("channel"));
    text.push_str(",\"from\":");
    key(&mut text, keys::normalize_key(payload.field("from")));
    text.push_str(",\"id\":");
    value(&mut text, payload.field("id"));
    text.push_str(",\"kind\":\"sidechannel_message_v1\",\"message\":");
    text.push_str(message);
    text.push_str(",\"origin\":");
    key(&mut text, keys::normalize_key(payload.field("origin")));
    text.push_str(",\"ts\":");
    value(&mut text, payload.field("ts"));
    text.push('}');
    text
}

/// The signature that a payload carries, in hex: its `sig`, else its `signature`, where that is text.
pub fn signature_of(payload: &Value) -> Option<&JsString> {
    let given = payload.get("sig").filter(|sig| encoding::json::truthy(sig)).or_else(|| payload.get("signature"));
    given.and_then(Value::as_js_string).filter(|sig| !sig.is_empty())
}

/// Whether a payload with this [`signature_base`] is signed by `public_key`, in hex.
pub fn verify_payload(payload: &Value, base: &str, public_key: &str) -> bool {
    signature_of(payload).is_some_and(|signature| keys::verify_hex(public_key, base, &signature.to_str_lossy()))
}
