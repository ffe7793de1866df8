//! How the bridge reads the values that clients send.

use encoding::json::{JsString, Object, Value, parse, truthy};

/// Bare's `Buffer.from(text, 'base64')`, on which the original runs: both alphabets, padding not needed but whole, nothing else.
/// `None` where Bare throws; Node, which skips what is no digit, would go on. An `=` within the text counts as a digit of zero, as
/// in Bare.
pub(crate) fn decode_base64(units: impl Iterator<Item = u16>) -> Option<Vec<u8>> {
    let units: Vec<u16> = units.collect();
    let digit = |unit: u16| {
        Some(match u8::try_from(unit).ok()? {
            byte @ b'A'..=b'Z' => byte - b'A',
            byte @ b'a'..=b'z' => byte - b'a' + 26,
            byte @ b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        })
    };
    let mut bytes = Vec::with_capacity(units.len() / 4 * 3 + 2);
    let (groups, rest) = units.as_chunks::<4>();
    for group in groups {
        let mut bits = 0_u32;
        for unit in group {
            bits = bits << 6 | u32::from(if *unit == u16::from(b'=') { 0 } else { digit(*unit)? });
        }
        bytes.extend(&bits.to_be_bytes()[1..]);
    }
    if rest.is_empty() {
        let padding = units.iter().rev().take(2).filter(|unit| **unit == u16::from(b'=')).count();
        bytes.truncate(bytes.len() - padding);
        return Some(bytes);
    }
    let mut bits = 0_u32;
    for unit in rest {
        bits = bits << 6 | u32::from(digit(*unit)?);
    }
    match rest.len() {
        2 => bytes.push((bits >> 4) as u8),
        3 => bytes.extend([(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => return None,
    }
    Some(bytes)
}

/// JSON in base64.
pub fn parse_base64_json(text: &JsString) -> Option<Value> {
    parse(decode_base64(text.encode_utf16())?).ok()
}

/// An invite or a welcome: an object as it is, text as JSON if it begins with `{`, else as JSON in base64. `None` for what is
/// none of these, or is a value that counts as false.
pub(crate) fn parse_json_or_base64(value: Option<&Value>) -> Option<Value> {
    let parsed = match value? {
        value @ (Value::Object(_) | Value::Array(_)) => Some(value.clone()),
        Value::String(text) => {
            let text = text.trim();
            match text.as_wtf8().first()? {
                b'{' => parse_string(&text),
                _ => parse_base64_json(&text),
            }
        }
        _ => None,
    };
    parsed.filter(truthy)
}

/// `JSON.parse` of a string.
fn parse_string(text: &JsString) -> Option<Value> {
    // A lone surrogate is only ever inside of a JSON string, where its WTF-8 bytes cannot be parsed; as an escape they can.
    match text.as_str() {
        Some(text) => parse(text).ok(),
        None => parse(escape_surrogates(text)).ok(),
    }
}

/// The text with every lone surrogate written as `\udxxx`.
fn escape_surrogates(text: &JsString) -> String {
    char::decode_utf16(text.encode_utf16()).fold(String::new(), |mut escaped, unit| {
        match unit {
            Ok(c) => escaped.push(c),
            Err(lone) => escaped.push_str(&format!("\\u{:04x}", lone.unpaired_surrogate())),
        }
        escaped
    })
}

/// `{ ...invite, welcome }`, for an invite that has no welcome of its own.
pub(crate) fn embed_welcome(invite: Value, welcome: Value) -> Value {
    if invite.get("welcome").is_some_and(truthy) {
        return invite;
    }
    let spread = match invite {
        Value::Object(invite) => invite,
        Value::Array(values) => by_index(values),
        Value::String(text) => by_index(text.encode_utf16().map(|unit| JsString::from_utf16(&[unit]).into())),
        _ => Object::new(),
    };
    Value::Object(spread.with("welcome", welcome))
}

/// What JavaScript spreads an array into, or the units of a string.
fn by_index(values: impl IntoIterator<Item = Value>) -> Object {
    let mut object = Object::new();
    for (index, value) in values.into_iter().enumerate() {
        object.insert(index.to_string(), value);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_bare_reads_it() {
        let cases: &[(&str, &[u8])] = &[
            ("", b""),
            ("YWJj", b"abc"),
            ("YQ", b"a"),
            ("YWI", b"ab"),
            ("YQ==", b"a"),
            ("YWI=", b"ab"),
            ("YQ==YQ==", b"a\0\0a"),
            ("a_-b", &[0x6b, 0xff, 0x9b]),
            ("a+/b", &[0x6b, 0xef, 0xdb]),
        ];
        for (text, expected) in cases {
            assert_eq!(decode_base64(text.encode_utf16()).as_deref(), Some(*expected), "{text}");
        }
        let refused = [
            "Y",
            "YWJjY",
            "YQ=",
            "YQ===",
            "YWJj=ZGVm",
            "=YQ==",
            "==",
            "YW Jj\n",
            "YW\nJj",
            "YQ==\u{a0}",
            "!!!",
            "éYQ",
            "Mé",
            "YWJj\u{141}ZGVm",
            "क्षि",
            "MQ%%",
            "b64:e30=",
        ];
        for text in refused {
            assert_eq!(decode_base64(text.encode_utf16()), None, "{text}");
        }
    }

    #[test]
    fn invites_come_as_object_json_or_base64() {
        let read = |text: &str| {
            let value = parse(text).expect("valid JSON");
            parse_json_or_base64(Some(&value)).map(|value| value.to_string())
        };
        let object = Some(r#"{"a":1}"#.to_owned());
        assert_eq!(read(r#"{"a":1}"#), object);
        assert_eq!(read(r#""{\"a\":1}""#), object);
        assert_eq!(read(r#""  {\"a\":1} ""#), object);
        assert_eq!(read(r#""eyJhIjoxfQ==""#), object);
        assert_eq!(read(r#""eyJhIjoxfQ""#), object);
        assert_eq!(read("[1]"), Some("[1]".into()));
        for nothing in [
            "null",
            "true",
            "5",
            r#""""#,
            r#"" ""#,
            r#""{""#,
            r#""bnVsbA==""#,
            r#""eyJhIjox fQ==""#,
            r#""%%%""#,
            r#""MA==""#,
        ] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
        assert_eq!(read(r#""{\"a\":\"\ud800\"}""#), Some(r#"{"a":"\ud800"}"#.into()));
        assert_eq!(parse_json_or_base64(None), None);
    }

    #[test]
    fn a_welcome_goes_into_an_invite_without_one() {
        let embedded = |invite: &str| embed_welcome(parse(invite).expect("valid JSON"), "w".into()).to_string();
        assert_eq!(embedded(r#"{"a":1}"#), r#"{"a":1,"welcome":"w"}"#);
        assert_eq!(embedded(r#"{"welcome":null,"a":1}"#), r#"{"welcome":"w","a":1}"#);
        assert_eq!(embedded(r#"{"welcome":"own"}"#), r#"{"welcome":"own"}"#);
        assert_eq!(embedded("5"), r#"{"welcome":"w"}"#);
        assert_eq!(embedded(r#"["a",[1]]"#), r#"{"0":"a","1":[1],"welcome":"w"}"#);
        assert_eq!(embedded(r#""ab""#), r#"{"0":"a","1":"b","welcome":"w"}"#);
        assert_eq!(embedded(r#""😀""#), r#"{"0":"\ud83d","1":"\ude00","welcome":"w"}"#);
    }
}
