//! JavaScript's strings: any sequence of UTF-16 code units, stored as UTF-8 where it is well formed.

use std::{
    borrow::Cow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

/// A string of UTF-16 code units, as JavaScript has them.
///
/// Nearly every string is well formed and is kept as UTF-8. One with a lone surrogate is kept as
/// [WTF-8](https://simonsapin.github.io/wtf-8/). Lengths and order in code units are computed when they are asked for.
///
/// The order of two strings is that of their code units, as in JavaScript's `<` and `sort()`; it differs from UTF-8's where
/// characters beyond U+FFFF meet those from U+E000.
#[derive(Clone)]
pub struct JsString(Repr);

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    WellFormed(Box<str>),
    /// WTF-8 that holds at least one lone surrogate, and no surrogate pair that could be one character.
    Lone(Box<[u8]>),
}

impl JsString {
    /// The string of these code units.
    pub fn from_utf16(units: &[u16]) -> Self {
        match String::from_utf16(units) {
            Ok(text) => text.into(),
            Err(_) => {
                let mut builder = Builder::default();
                units.iter().for_each(|unit| builder.push_unit(*unit));
                builder.finish()
            }
        }
    }

    /// The string that JavaScript's UTF-8 decoders make of `bytes`: what is not UTF-8 becomes U+FFFD, a byte order mark stays.
    pub fn from_utf8_lossy(bytes: &[u8]) -> Self {
        String::from_utf8_lossy(bytes).into_owned().into()
    }

    /// The text, unless the string holds a lone surrogate.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Repr::WellFormed(text) => Some(text),
            Repr::Lone(_) => None,
        }
    }

    /// The text with U+FFFD in the place of each lone surrogate: what encoding the string as UTF-8 gives in JavaScript.
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::WellFormed(text) => Cow::Borrowed(text),
            Repr::Lone(_) => {
                Cow::Owned(char::decode_utf16(self.encode_utf16()).map(|c| c.unwrap_or('\u{fffd}')).collect())
            }
        }
    }

    /// The bytes of the string in WTF-8, which is UTF-8 where the string is well formed.
    pub fn as_wtf8(&self) -> &[u8] {
        match &self.0 {
            Repr::WellFormed(text) => text.as_bytes(),
            Repr::Lone(bytes) => bytes,
        }
    }

    /// The number of UTF-16 code units: JavaScript's `length`.
    pub fn utf16_len(&self) -> usize {
        // Each character is one unit, and one more where it takes four bytes.
        self.as_wtf8().iter().map(|&byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
    }

    /// Whether the string has no characters.
    pub fn is_empty(&self) -> bool {
        self.as_wtf8().is_empty()
    }

    /// The UTF-16 code units.
    pub fn encode_utf16(&self) -> impl Iterator<Item = u16> + '_ {
        let mut bytes = self.as_wtf8();
        let mut low = None;
        std::iter::from_fn(move || {
            if let Some(low) = low.take() {
                return Some(low);
            }
            let (point, size) = decode(bytes)?;
            bytes = &bytes[size..];
            let Some(astral) = point.checked_sub(0x1_0000) else { return Some(point as u16) };
            low = Some(0xdc00 | (astral & 0x3ff) as u16);
            Some(0xd800 | (astral >> 10) as u16)
        })
    }
}

/// The first code point of well-formed WTF-8, and the bytes it takes.
pub(super) fn decode(bytes: &[u8]) -> Option<(u32, usize)> {
    let at = |index: usize| u32::from(bytes.get(index).copied().unwrap_or(0x80) & 0x3f);
    let first = *bytes.first()?;
    let (point, size) = match first {
        0..0x80 => (first.into(), 1),
        0x80..0xe0 => (u32::from(first & 0x1f) << 6 | at(1), 2),
        0xe0..0xf0 => (u32::from(first & 0xf) << 12 | at(1) << 6 | at(2), 3),
        0xf0.. => (u32::from(first & 7) << 18 | at(1) << 12 | at(2) << 6 | at(3), 4),
    };
    Some((point, size.min(bytes.len())))
}

/// Puts a string together from text and single code units, joining surrogates that turn out to be a pair.
#[derive(Default)]
pub(super) struct Builder {
    text: Vec<u8>,
    /// A high surrogate that the next unit may complete.
    high: Option<u16>,
    lone: bool,
}

impl Builder {
    pub(super) fn push_str(&mut self, text: &str) {
        if !text.is_empty() {
            self.flush();
            self.text.extend_from_slice(text.as_bytes());
        }
    }

    pub(super) fn push_unit(&mut self, unit: u16) {
        match (self.high, unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                self.high = None;
                let point = 0x1_0000 + (u32::from(high & 0x3ff) << 10 | u32::from(unit & 0x3ff));
                self.push_char(char::from_u32(point).unwrap_or('\u{fffd}'));
            }
            (_, 0xd800..=0xdbff) => {
                self.flush();
                self.high = Some(unit);
            }
            (_, 0xdc00..=0xdfff) => {
                self.flush();
                self.push_lone(unit);
            }
            _ => {
                self.flush();
                self.push_char(char::from_u32(unit.into()).unwrap_or('\u{fffd}'));
            }
        }
    }

    fn push_char(&mut self, c: char) {
        self.text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn push_lone(&mut self, unit: u16) {
        self.lone = true;
        self.text.extend([0xed, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]);
    }

    fn flush(&mut self) {
        if let Some(high) = self.high.take() {
            self.push_lone(high);
        }
    }

    pub(super) fn finish(mut self) -> JsString {
        self.flush();
        if self.lone {
            return JsString(Repr::Lone(self.text.into()));
        }
        match String::from_utf8(self.text) {
            Ok(text) => text.into(),
            Err(error) => JsString::from_utf8_lossy(error.as_bytes()),
        }
    }
}

impl PartialEq for JsString {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for JsString {}

impl PartialEq<str> for JsString {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for JsString {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(*other)
    }
}

impl Hash for JsString {
    /// As `str` hashes its UTF-8, so that a map can be asked with a `&str`.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Repr::WellFormed(text) => text.hash(state),
            Repr::Lone(bytes) => bytes.hash(state),
        }
    }
}

impl indexmap::Equivalent<JsString> for str {
    fn equivalent(&self, key: &JsString) -> bool {
        key == self
    }
}

impl PartialOrd for JsString {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for JsString {
    fn cmp(&self, other: &Self) -> Ordering {
        let (Some(a), Some(b)) = (self.as_str(), other.as_str()) else {
            return self.encode_utf16().cmp(other.encode_utf16());
        };
        let (a, b) = (a.as_bytes(), b.as_bytes());
        match a.iter().zip(b).find(|(a, b)| a != b) {
            None => a.len().cmp(&b.len()),
            // Beyond U+FFFF, a character begins with a surrogate, which is less than U+E000 (0xee in UTF-8).
            Some((&a, &b)) if a >= 0xee && b >= 0xee && (a >= 0xf0) != (b >= 0xf0) => b.cmp(&a),
            Some((a, b)) => a.cmp(b),
        }
    }
}

impl fmt::Debug for JsString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        super::write_string(&mut text, self);
        f.write_str(&text)
    }
}

/// The text, with U+FFFD in the place of each lone surrogate.
impl fmt::Display for JsString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_str_lossy())
    }
}

impl Default for JsString {
    fn default() -> Self {
        String::new().into()
    }
}

impl From<String> for JsString {
    fn from(text: String) -> Self {
        JsString(Repr::WellFormed(text.into_boxed_str()))
    }
}

impl From<&str> for JsString {
    fn from(text: &str) -> Self {
        JsString(Repr::WellFormed(text.into()))
    }
}
