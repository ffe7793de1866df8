//! `JSON.parse`.

use std::borrow::Cow;

use super::{JsString, Object, Value, string::Builder};

/// How deep arrays and objects may be nested. Deeper text is refused.
///
/// JavaScript has no fixed limit: V8 parses far deeper, but with its default stack `JSON.stringify` throws somewhere between
/// 3,000 and 5,000 levels, and a message that it cannot measure is dropped.
pub const MAX_DEPTH: usize = 1_000;

/// Why text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text departs from the grammar.
    #[error("not JSON at byte {at}")]
    Syntax {
        /// The offset of the first byte that cannot be.
        at: usize,
    },
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    #[error("JSON is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// The value of a JSON text, as `JSON.parse` reads it. Bytes that are not UTF-8 are read as U+FFFD, which a JSON text may hold
/// within strings only; a byte order mark is an error.
///
/// # Errors
/// [`JsonError`] when the text is not JSON, or nested too deeply.
pub fn parse(text: impl AsRef<[u8]>) -> Result<Value, JsonError> {
    let text = match String::from_utf8_lossy(text.as_ref()) {
        Cow::Borrowed(text) => return Parser { text, at: 0 }.document(),
        Cow::Owned(text) => text,
    };
    Parser { text: &text, at: 0 }.document()
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// A container whose end has not been read.
enum Open {
    Array(Vec<Value>),
    /// And the key of the value that is being read.
    Object(Object, JsString),
}

impl<'a> Parser<'a> {
    fn document(&mut self) -> Result<Value, JsonError> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.space();
            let mut value = match self.peek() {
                Some(b'[') => {
                    self.at += 1;
                    self.space();
                    if self.peek() == Some(b']') {
                        self.at += 1;
                        deeper(&open)?;
                        Value::Array(Vec::new())
                    } else {
                        deeper(&open)?;
                        open.push(Open::Array(Vec::new()));
                        continue;
                    }
                }
                Some(b'{') => {
                    self.at += 1;
                    self.space();
                    deeper(&open)?;
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                        Value::Object(Object::new())
                    } else {
                        let key = self.key()?;
                        open.push(Open::Object(Object::new(), key));
                        continue;
                    }
                }
                _ => self.scalar()?,
            };
            // A value is complete: it goes where it belongs, and may complete what it belongs to.
            loop {
                self.space();
                let end = self.peek();
                match open.last_mut() {
                    None if end.is_none() => return Ok(value),
                    None => return self.fail(),
                    Some(Open::Array(items)) => {
                        items.push(value);
                        match end {
                            Some(b',') => {
                                self.at += 1;
                                break;
                            }
                            Some(b']') => self.at += 1,
                            _ => return self.fail(),
                        }
                    }
                    Some(Open::Object(object, key)) => {
                        object.insert(std::mem::take(key), value);
                        match end {
                            Some(b',') => {
                                self.at += 1;
                                self.space();
                                *key = self.key()?;
                                break;
                            }
                            Some(b'}') => self.at += 1,
                            _ => return self.fail(),
                        }
                    }
                }
                value = match open.pop() {
                    Some(Open::Array(mut items)) => {
                        items.shrink_to_fit();
                        Value::Array(items)
                    }
                    Some(Open::Object(object, _)) => Value::Object(object),
                    None => return self.fail(),
                };
            }
        }
    }

    fn fail<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax { at: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn key(&mut self) -> Result<JsString, JsonError> {
        if self.peek() != Some(b'"') {
            return self.fail();
        }
        let key = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.fail();
        }
        self.at += 1;
        Ok(key)
    }

    fn scalar(&mut self) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            _ => self.fail(),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail();
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<f64, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        self.text[start..self.at].parse().or_else(|_| self.fail())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.fail();
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// The plain characters up to the next quote, backslash or control character.
    fn plain(&mut self) -> &'a str {
        let rest = &self.text.as_bytes()[self.at..];
        let length = plain_prefix(rest);
        let plain = &self.text[self.at..self.at + length];
        self.at += length;
        plain
    }

    /// A string; the parser stands on its opening quote.
    fn string(&mut self) -> Result<JsString, JsonError> {
        self.at += 1;
        let plain = self.plain();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(plain.into());
        }
        let mut string = Builder::default();
        string.push_str(plain);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string.finish());
                }
                Some(b'\\') => {
                    self.at += 1;
                    let unit = match self.peek() {
                        Some(byte @ (b'"' | b'\\' | b'/')) => byte.into(),
                        Some(b'b') => 8,
                        Some(b't') => 9,
                        Some(b'n') => 10,
                        Some(b'f') => 12,
                        Some(b'r') => 13,
                        Some(b'u') => self.hex()?,
                        _ => return self.fail(),
                    };
                    self.at += 1;
                    string.push_unit(unit);
                }
                _ => return self.fail(),
            }
            string.push_str(self.plain());
        }
    }

    /// The four digits after `\u`; the parser is left on the last of them.
    fn hex(&mut self) -> Result<u16, JsonError> {
        let mut unit = 0u16;
        for _ in 0..4 {
            self.at += 1;
            match self.peek().and_then(|byte| char::from(byte).to_digit(16)) {
                Some(digit) => unit = unit << 4 | digit as u16,
                None => return self.fail(),
            }
        }
        Ok(unit)
    }
}

/// Whether one more container may be opened.
fn deeper(open: &[Open]) -> Result<(), JsonError> {
    if open.len() < MAX_DEPTH { Ok(()) } else { Err(JsonError::TooDeep) }
}

/// The number of bytes before the first quote, backslash or control character.
pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut at = 0;
    // Sixteen at a time without a branch, which the compiler turns into vector instructions.
    while let Some(chunk) = bytes.get(at..at + 16) {
        if chunk.iter().fold(false, |any, &byte| any | special(byte)) {
            break;
        }
        at += 16;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|&byte| special(byte)).unwrap_or(rest.len())
}
