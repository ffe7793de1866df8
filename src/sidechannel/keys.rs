//! How peers write public keys, signatures and channel names, and what is made of other ways to write them.

use std::borrow::Cow;

use encoding::json::{JsString, Value, to_js_string, to_number, truthy};

/// A public key as peers compare it: trimmed, in lower case. `None` for what counts as false, and where JavaScript would throw.
///
/// A text is taken as it is, also when it is not hex. What a JavaScript `Buffer` becomes in JSON
/// (`{"type":"Buffer","data":[…]}`) is read as its bytes.
pub(super) fn normalize_key(value: Option<&Value>) -> Option<JsString> {
    let value = value.filter(|value| truthy(value))?;
    match value {
        Value::String(text) => Some(text.trim().to_lowercase()),
        Value::Object(object) if object.get("type").and_then(Value::as_str) == Some("Buffer") => {
            match object.get("data") {
                Some(Value::Array(bytes)) => Some(hex(&bytes.iter().map(byte).collect::<Vec<u8>>()).into()),
                _ => text(value),
            }
        }
        _ => text(value),
    }
}

fn text(value: &Value) -> Option<JsString> {
    to_js_string(value).map(|text| text.trim().to_lowercase())
}

/// An item of a byte array: ECMAScript's `ToUint8`.
fn byte(value: &Value) -> u8 {
    let number = to_number(value);
    if number.is_finite() { number.trunc().rem_euclid(256.0) as u8 } else { 0 }
}

/// A channel's name: the text of what counts as true, trimmed. `None` where JavaScript would throw.
pub(super) fn normalize_channel(value: Option<&Value>) -> Option<JsString> {
    match value.filter(|value| truthy(value)) {
        None => Some(JsString::default()),
        Some(value) => Some(to_js_string(value)?.trim().into_owned()),
    }
}

/// The name of a channel as it is registered.
pub(super) fn channel_name(name: &str) -> Cow<'_, str> {
    Cow::Borrowed(encoding::json::trim(name))
}

/// The text of `String(value ?? "")`. `None` where JavaScript would throw.
pub(super) fn text_or_empty(value: Option<&Value>) -> Option<JsString> {
    match value {
        None | Some(Value::Null) => Some(JsString::default()),
        Some(value) => to_js_string(value),
    }
}

/// The bytes of hex text, if they are `N` and nothing else is in it. So does Bare's `Buffer.from(text, "hex")`, on which the original
/// runs; Node's ends at the first pair that is not hex.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// Whether `signature`, in hex, is the signature of `message` by `public_key`, in hex.
pub(super) fn verify_hex(public_key: &str, message: &str, signature: &str) -> bool {
    match (unhex::<32>(public_key), unhex::<64>(signature)) {
        (Some(key), Some(signature)) => crypto::verify(&key, message.as_bytes(), &signature),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use encoding::json::parse;

    use super::*;

    fn key(json: &str) -> Option<String> {
        normalize_key(Some(&parse(json).unwrap())).map(|key| key.to_string())
    }

    #[test]
    fn keys_are_compared_trimmed_and_in_lower_case() {
        assert_eq!(key(r#"" AbC\ufeff ""#).as_deref(), Some("abc"));
        assert_eq!(
            key(r#"{"type":"Buffer","data":[1,255,256,-1,"7",1.9,null,"x"]}"#).as_deref(),
            Some("01ff00ff07010000")
        );
        assert_eq!(key("[\"A\",1]").as_deref(), Some("a,1"));
        assert_eq!(key("{}").as_deref(), Some("[object object]"));
        assert_eq!(key("true").as_deref(), Some("true"));
        for nothing in ["null", "false", "0", "\"\"", r#"{"toString":1}"#] {
            assert_eq!(key(nothing), None, "{nothing}");
        }
        assert_eq!(normalize_key(None), None);
    }

    #[test]
    fn hex_is_whole() {
        assert_eq!(unhex::<2>("aB01"), Some([0xab, 1]));
        for wrong in ["", "ab", "abz1", "ab0102", "äb01", "+f01", "ab01zz", "ab011", "ab01 ", "ab01\0"] {
            assert_eq!(unhex::<2>(wrong), None, "{wrong}");
        }
        assert_eq!(hex(&[0, 0x1f, 0xff]), "001fff");
    }
}
