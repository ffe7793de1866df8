//! A received message as clients get it.

use std::cell::OnceCell;

use encoding::json::{Value, stringify_into, write_number, write_string};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A message on its way to the clients. Its forms are made when the first client needs them, and once for all clients.
pub(crate) struct Event<'a> {
    channel: &'a str,
    payload: &'a Value,
    now: f64,
    lowercase: OnceCell<String>,
    frame: OnceCell<Utf8Bytes>,
}

impl<'a> Event<'a> {
    /// A payload that came on `channel`; `now` stands in for a missing time.
    pub(crate) fn new(channel: &'a str, payload: &'a Value, now: f64) -> Event<'a> {
        Event { channel, payload, now, lowercase: OnceCell::new(), frame: OnceCell::new() }
    }

    pub(crate) fn channel(&self) -> &'a str {
        self.channel
    }

    /// The message, or the whole payload where it has none.
    fn message(&self) -> &'a Value {
        self.field("message").unwrap_or(self.payload)
    }

    /// A property that is neither absent nor null.
    fn field(&self, key: &str) -> Option<&'a Value> {
        self.payload.get(key).filter(|value| !value.is_null())
    }

    /// The text that filters look at.
    pub(crate) fn text(&self) -> String {
        match self.message() {
            Value::Null => String::new(),
            Value::String(text) => text.to_str_lossy().into_owned(),
            other => other.to_string(),
        }
    }

    /// The same in lower case.
    pub(crate) fn lowercase(&self) -> &str {
        self.lowercase.get_or_init(|| self.text().to_lowercase())
    }

    /// The frame that clients get. Its keys are always these, in this order.
    pub(crate) fn frame(&self) -> Utf8Bytes {
        self.frame.get_or_init(|| self.write().into()).clone()
    }

    fn write(&self) -> String {
        let mut text = String::from(r#"{"type":"sidechannel_message","channel":"#);
        write_string(&mut text, &self.channel.into());
        for key in ["id", "from", "origin", "sig", "relayedBy", "ttl", "ts"] {
            text.push_str(",\"");
            text.push_str(key);
            text.push_str("\":");
            let value = match key {
                "sig" => self.field("sig").or_else(|| self.field("signature")),
                key => self.field(key),
            };
            match value {
                Some(value) => stringify_into(&mut text, value),
                None if key == "ts" => write_number(&mut text, self.now),
                None => text.push_str("null"),
            }
        }
        text.push_str(",\"message\":");
        stringify_into(&mut text, self.message());
        text.push('}');
        text
    }
}

#[cfg(test)]
mod tests {
    use encoding::json::parse;

    use super::*;

    fn frame(payload: &str) -> String {
        Event::new("room", &parse(payload).expect("valid JSON"), 7.0).frame().to_string()
    }

    #[test]
    fn keys_are_always_the_same_and_in_order() {
        assert_eq!(
            frame(
                r#"{"message":{"b":1,"1":2},"ts":5,"ttl":3,"sig":"s","origin":"o","from":"f","id":"i","relayedBy":"r"}"#
            ),
            r#"{"type":"sidechannel_message","channel":"room","id":"i","from":"f","origin":"o","sig":"s","relayedBy":"r","ttl":3,"ts":5,"message":{"1":2,"b":1}}"#
        );
        assert_eq!(
            frame(r#"{"message":"hi","sig":null,"signature":"t"}"#),
            r#"{"type":"sidechannel_message","channel":"room","id":null,"from":null,"origin":null,"sig":"t","relayedBy":null,"ttl":null,"ts":7,"message":"hi"}"#
        );
    }

    #[test]
    fn what_has_no_message_is_the_message() {
        let bare = r#"{"type":"sidechannel_message","channel":"room","id":null,"from":null,"origin":null,"sig":null,"relayedBy":null,"ttl":null,"ts":7,"message":"#;
        for payload in [r#""text""#, "5", "[1]", "null", r#"{"x":1}"#, r#"{"message":null}"#] {
            assert_eq!(frame(payload), format!("{bare}{payload}}}"), "{payload}");
        }
        assert!(frame(r#"{"message":""}"#).ends_with(r#""message":""}"#));
    }

    #[test]
    fn filters_see_text_as_it_is_and_all_else_as_json() {
        let text = |payload: &str| Event::new("room", &parse(payload).expect("valid JSON"), 7.0).lowercase().to_owned();
        assert_eq!(text(r#"{"message":"Hi"}"#), "hi");
        assert_eq!(text(r#"{"message":{"A":"B"}}"#), r#"{"a":"b"}"#);
        assert_eq!(text("null"), "");
    }
}
