//! JavaScript's JSON: values, text and their order exactly as V8 has them.
//!
//! What JavaScript peers sign, hash, measure and store is the text that `JSON.stringify` makes of what `JSON.parse` made of a
//! message. To arrive at the same bytes, this model keeps what JavaScript keeps and forgets what it forgets:
//!
//! ```
//! use encoding::json::{parse, stable_stringify, stringify};
//!
//! let value = parse(r#"{"b":1.0,"10":"\ud83d\ude00","9":-0,"b":1e21}"#)?;
//! assert_eq!(stringify(&value), r#"{"9":0,"10":"😀","b":1e+21}"#);
//! assert_eq!(stable_stringify(&value), r#"{"10":"😀","9":0,"b":1e+21}"#);
//! assert_eq!(value.get("b").and_then(|b| b.as_f64()), Some(1e21));
//! # Ok::<(), encoding::json::JsonError>(())
//! ```
//!
//! - Numbers are doubles, and print by ECMAScript's `Number::toString`.
//! - Strings are sequences of UTF-16 code units ([`JsString`]): a lone surrogate survives, and is written as `\udxxx`.
//! - Objects ([`Object`]) have the key order of JavaScript: canonical array indices ascending, then the other keys as they were
//!   first inserted. A duplicate key keeps its place and takes the last value. `__proto__` is a key like any other.
//! - The grammar is that of `JSON.parse`: no byte order mark, no trailing comma, no control character in a string.
//!
//! # Hostile input
//! Parsing and writing use no recursion. Text nested deeper than [`MAX_DEPTH`] is refused, so that dropping, cloning and comparing
//! what was parsed (these do recurse) stays within any thread's stack.

mod coerce;
mod number;
mod object;
mod parse;
mod string;
mod write;

pub use coerce::{is_space, to_js_string, to_number, trim, truthy};
pub use number::{number_to_string, parse_float, parse_int, string_to_number, to_fixed};
pub use object::{Iter, Object};
pub use parse::{JsonError, MAX_DEPTH, parse};
pub use string::JsString;
pub use write::{
    stable_stringify, stable_stringify_into, stringified_len, stringify, stringify_into, stringify_pretty,
    write_number, write_string,
};

/// A value that JSON can express.
///
/// `undefined`, which JSON cannot, is the absence of a value: [`Value::get`] answers `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number. Values that are not finite come from text such as `1e999`, and are written as `null`.
    Number(f64),
    /// A string.
    String(JsString),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

impl Value {
    /// The property `key` of an object; `None` where it is absent or `self` is no object (JavaScript's `value?.key`, for values
    /// that came from JSON).
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object()?.get(key)
    }

    /// The text of a well-formed string.
    pub fn as_str(&self) -> Option<&str> {
        self.as_js_string()?.as_str()
    }

    /// The string, well formed or not.
    pub fn as_js_string(&self) -> Option<&JsString> {
        match self {
            Value::String(string) => Some(string),
            _ => None,
        }
    }

    /// The number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The object, to be changed.
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether JavaScript's `typeof` says "object" of it and it is not `null`: objects and arrays.
    pub fn is_object_like(&self) -> bool {
        matches!(self, Value::Object(_) | Value::Array(_))
    }
}

/// The text of `JSON.stringify`.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&stringify(self))
    }
}

impl std::str::FromStr for Value {
    type Err = JsonError;

    fn from_str(text: &str) -> Result<Self, JsonError> {
        parse(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Number(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Number(value.into())
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::Number(value.into())
    }
}

/// As JavaScript counts: above 2^53 the nearest double.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Number(value as f64)
    }
}

/// As JavaScript counts: above 2^53 the nearest double.
impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::Number(value as f64)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::String(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::String(value.into())
    }
}

impl From<JsString> for Value {
    fn from(value: JsString) -> Self {
        Value::String(value)
    }
}

impl From<Object> for Value {
    fn from(value: Object) -> Self {
        Value::Object(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Value::Array(items.into_iter().map(Into::into).collect())
    }
}

/// `None` is `null`.
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
