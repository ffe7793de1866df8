//! Whether a message is passed on, and as what.

use encoding::json::{Object, Value, stringify_into, write_number, write_string};

/// How many more times a message may be passed on at most, whatever its sender wrote: peers of one network are a few steps apart.
pub const MAX_RELAY_TTL: f64 = 16.0;

/// The JSON text of what other peers get of `payload`: the same with a `ttl` less by one (and no more than [`MAX_RELAY_TTL`] - 1)
/// and `relayedBy` set to the own key. `None` when it is not to be passed on: without a finite `ttl` above zero, and for the
/// controls `auth` and `welcome`, which are between neighbours.
pub fn relayed(payload: &Value, self_key: &str) -> Option<String> {
    let object = payload.as_object()?;
    let control = payload.get("message").and_then(|message| message.get("control")).and_then(Value::as_str);
    let ttl = payload.get("ttl").and_then(Value::as_f64).filter(|ttl| ttl.is_finite() && *ttl > 0.0)?;
    if matches!(control, Some("auth" | "welcome")) {
        return None;
    }
    Some(text(object, ttl.min(MAX_RELAY_TTL) - 1.0, self_key))
}

/// Writes the object with its properties in their order: both that are set keep their places, a new one comes last.
fn text(object: &Object, ttl: f64, self_key: &str) -> String {
    let mut text = String::from("{");
    let by = self_key.into();
    for (key, value) in object {
        if text.len() > 1 {
            text.push(',');
        }
        write_string(&mut text, key);
        text.push(':');
        match key.as_str() {
            Some("ttl") => write_number(&mut text, ttl),
            Some("relayedBy") => write_string(&mut text, &by),
            _ => stringify_into(&mut text, value),
        }
    }
    if !object.contains_key("relayedBy") {
        text.push_str(",\"relayedBy\":");
        write_string(&mut text, &by);
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use encoding::json::parse;

    use super::*;

    fn relay(json: &str) -> Option<String> {
        relayed(&parse(json).unwrap(), "me")
    }

    #[test]
    fn the_copy_has_one_step_less_and_says_who_passed_it_on() {
        assert_eq!(
            relay(r#"{"type":"sidechannel","message":{"b":1,"2":"x"},"ttl":3,"sig":"ab"}"#).unwrap(),
            r#"{"type":"sidechannel","message":{"2":"x","b":1},"ttl":2,"sig":"ab","relayedBy":"me"}"#
        );
        assert_eq!(relay(r#"{"relayedBy":"you","ttl":1}"#).unwrap(), r#"{"relayedBy":"me","ttl":0}"#);
        assert_eq!(relay(r#"{"ttl":0.5}"#).unwrap(), r#"{"ttl":-0.5,"relayedBy":"me"}"#);
        assert_eq!(relay(r#"{"ttl":1e9}"#).unwrap(), r#"{"ttl":15,"relayedBy":"me"}"#);
    }

    #[test]
    fn what_has_no_steps_left_and_what_is_between_neighbours_stays() {
        for stays in [
            r#"{"ttl":0}"#,
            r#"{"ttl":-1}"#,
            r#"{"ttl":"3"}"#,
            r#"{"ttl":1e999}"#,
            r#"{}"#,
            r#"[]"#,
            r#""ttl""#,
            r#"{"ttl":3,"message":{"control":"auth"}}"#,
            r#"{"ttl":3,"message":{"control":"welcome"}}"#,
        ] {
            assert_eq!(relay(stays), None, "{stays}");
        }
        assert!(relay(r#"{"ttl":3,"message":{"control":"open_channel"}}"#).is_some());
    }
}
