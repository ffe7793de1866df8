//! The conversions that JavaScript makes where a value of another type was expected.

use std::borrow::Cow;

use super::{JsString, Value, number_to_string, string_to_number};

/// Whether a value counts as true: all but `null`, `false`, 0, NaN and the empty string.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => *number != 0.0 && !number.is_nan(),
        Value::String(string) => !string.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// JavaScript's `String(value)`: an array is its items joined by commas, an object is `[object Object]`.
///
/// `None` where JavaScript throws: an object that has a property `toString`, for values from JSON are never functions.
pub fn to_js_string(value: &Value) -> Option<JsString> {
    Some(match value {
        Value::Null => "null".into(),
        Value::Bool(true) => "true".into(),
        Value::Bool(false) => "false".into(),
        Value::Number(number) => number_to_string(*number).into(),
        Value::String(string) => string.clone(),
        Value::Object(object) if object.contains_key("toString") => return None,
        Value::Object(_) => "[object Object]".into(),
        Value::Array(items) => {
            let mut units = Vec::new();
            join(&mut units, items)?;
            JsString::from_utf16(&units)
        }
    })
}

/// `Array.prototype.join(",")`. The recursion is bounded by the depth of what was parsed.
fn join(units: &mut Vec<u16>, items: &[Value]) -> Option<()> {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            units.push(b','.into());
        }
        match item {
            Value::Null => {}
            Value::Array(items) => join(units, items)?,
            other => units.extend(to_js_string(other)?.encode_utf16()),
        }
    }
    Some(())
}

/// JavaScript's `Number(value)`; NaN for what is not a number, and where JavaScript throws.
pub fn to_number(value: &Value) -> f64 {
    match value {
        Value::Null | Value::Bool(false) => 0.0,
        Value::Bool(true) => 1.0,
        Value::Number(number) => *number,
        Value::String(string) => string_to_number(&string.to_str_lossy()),
        Value::Object(_) => f64::NAN,
        Value::Array(_) => to_js_string(value).map_or(f64::NAN, |text| string_to_number(&text.to_str_lossy())),
    }
}

/// JavaScript's `text.trim()`.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Whether JavaScript's `trim()` and the `\s` of its expressions take the character for white space or a line end.
pub fn is_space(c: char) -> bool {
    // Unlike Unicode's property, with the byte order mark and without U+0085.
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

impl JsString {
    /// JavaScript's `string.trim()`.
    #[must_use]
    pub fn trim(&self) -> Cow<'_, JsString> {
        match self.as_str() {
            Some(text) if trim(text).len() == text.len() => Cow::Borrowed(self),
            Some(text) => Cow::Owned(trim(text).into()),
            None => {
                let units: Vec<u16> = self.encode_utf16().collect();
                let space = |unit: &u16| char::from_u32((*unit).into()).is_some_and(is_space);
                let start = units.iter().take_while(|unit| space(unit)).count();
                let end = units.len() - units[start..].iter().rev().take_while(|unit| space(unit)).count();
                Cow::Owned(JsString::from_utf16(&units[start..end]))
            }
        }
    }

    /// JavaScript's `string.toLowerCase()`.
    #[must_use]
    pub fn to_lowercase(&self) -> JsString {
        match self.as_str() {
            Some(text) => text.to_lowercase().into(),
            None => {
                let mut units = Vec::new();
                for part in char::decode_utf16(self.encode_utf16()) {
                    match part {
                        Ok(c) => c.to_lowercase().for_each(|c| units.extend_from_slice(c.encode_utf16(&mut [0; 2]))),
                        Err(lone) => units.push(lone.unpaired_surrogate()),
                    }
                }
                JsString::from_utf16(&units)
            }
        }
    }
}
