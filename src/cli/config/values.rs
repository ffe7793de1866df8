//! Values that have a form: keys, nodes, welcomes.

use std::fs;

use data_encoding::HEXLOWER;
use encoding::json::{self, Value};

use crate::bridge::parse_base64_json;
use crate::cli::error::Failure;

pub(super) fn not_a_key(source: &str, text: &str) -> Failure {
    Failure::usage(format!("{source}: \"{text}\" is not a public key (64 hex digits)"))
}

/// 32 bytes in hex, in lower case.
pub(super) fn key(text: &str) -> Option<String> {
    let text = json::trim(text).to_lowercase();
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

/// The keys of `--relay-through`.
pub(super) fn relays(list: &[String]) -> Result<Vec<[u8; 32]>, Failure> {
    let key = |text: &String| HEXLOWER.decode(key(text)?.as_bytes()).ok()?.try_into().ok();
    let wrong = || Failure::usage("Invalid --relay-through. Provide 32-byte hex keys (64 chars).");
    list.iter().map(|text| key(text).ok_or_else(wrong)).collect()
}

/// `HOST:PORT`, or `IP@HOST:PORT` where the address of the host is known.
pub(super) fn is_node(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// A welcome: base64 of its JSON (with or without `b64:` before it), its JSON, or `@` and a file with one of them.
pub(super) fn parse_welcome(text: &str) -> Result<Value, String> {
    let from_file;
    let text = match text.strip_prefix('@') {
        Some(path) => {
            from_file = fs::read(path).map_err(|error| format!("cannot be read from {path}: {error}"))?;
            from_file
        }
        None => text.as_bytes().to_vec(),
    };
    let text = String::from_utf8_lossy(&text);
    let text = json::trim(&text);
    let text = text.strip_prefix("b64:").unwrap_or(text);
    let parsed = if text.starts_with('{') {
        json::parse(text).ok()
    } else {
        // Tools break the lines of base64.
        parse_base64_json(&text.split_ascii_whitespace().collect::<String>().into())
    };
    parsed.filter(|value| matches!(value, Value::Object(_))).ok_or_else(|| "is not a welcome".into())
}
