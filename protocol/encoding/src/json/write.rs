//! `JSON.stringify`, and the sorted text that sidechannel peers sign and hash.

use super::{JsString, Object, Value, object, parse::plain_prefix, string::decode};

/// The text of `JSON.stringify(value)`.
pub fn stringify(value: &Value) -> String {
    let mut text = String::new();
    stringify_into(&mut text, value);
    text
}

/// Appends the text of `JSON.stringify(value)`.
pub fn stringify_into(text: &mut String, value: &Value) {
    write(text, value, &Style { indent: 0, sorted: false });
}

/// The text of `JSON.stringify(value, null, 2)`.
pub fn stringify_pretty(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, &Style { indent: 2, sorted: false });
    text
}

/// The text of [`stringify`] with the keys of every object sorted by their UTF-16 code units, array indices among them as text.
///
/// It is the base of the signatures and the proof of work of the sidechannel (`stableStringify` in Intercom).
pub fn stable_stringify(value: &Value) -> String {
    let mut text = String::new();
    stable_stringify_into(&mut text, value);
    text
}

/// Appends the text of [`stable_stringify`].
pub fn stable_stringify_into(text: &mut String, value: &Value) {
    write(text, value, &Style { indent: 0, sorted: true });
}

/// The length in bytes of the text of [`stringify`], without making it.
pub fn stringified_len(value: &Value) -> usize {
    let mut length = Length(0);
    write(&mut length, value, &Style { indent: 0, sorted: false });
    length.0
}

/// Appends a string in quotes, as `JSON.stringify` writes it: escaped are the quote, the backslash, characters below U+0020
/// and lone surrogates.
pub fn write_string(text: &mut String, string: &JsString) {
    quote(text, string);
}

/// Appends a number as `JSON.stringify` writes it: `null` when it is not finite, and no sign on zero.
pub fn write_number(text: &mut String, number: f64) {
    numeral(text, number);
}

/// What text is written to.
trait Sink {
    fn text(&mut self, text: &str);
}

impl Sink for String {
    fn text(&mut self, text: &str) {
        self.push_str(text);
    }
}

struct Length(usize);

impl Sink for Length {
    fn text(&mut self, text: &str) {
        self.0 += text.len();
    }
}

struct Style {
    /// Spaces a level; 0 writes everything in one line.
    indent: usize,
    sorted: bool,
}

/// The properties of an object that are still to be written.
enum Properties<'a> {
    InOrder(object::Iter<'a>),
    Sorted(std::vec::IntoIter<(&'a JsString, &'a Value)>),
}

impl<'a> Properties<'a> {
    fn new(object: &'a Object, sorted: bool) -> Self {
        if !sorted {
            return Properties::InOrder(object.iter());
        }
        let mut all: Vec<_> = object.iter().collect();
        all.sort_unstable_by(|a, b| a.0.cmp(b.0));
        Properties::Sorted(all.into_iter())
    }

    fn next(&mut self) -> Option<(&'a JsString, &'a Value)> {
        match self {
            Properties::InOrder(rest) => rest.next(),
            Properties::Sorted(rest) => rest.next(),
        }
    }
}

/// A container that is not written to its end.
enum Open<'a> {
    Array(std::slice::Iter<'a, Value>),
    Object(Properties<'a>),
}

fn write(sink: &mut impl Sink, value: &Value, style: &Style) {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut next = Some(value);
    loop {
        let mut first = false;
        match next {
            Some(Value::Null) => sink.text("null"),
            Some(Value::Bool(true)) => sink.text("true"),
            Some(Value::Bool(false)) => sink.text("false"),
            Some(Value::Number(number)) => numeral(sink, *number),
            Some(Value::String(string)) => quote(sink, string),
            Some(Value::Array(items)) if items.is_empty() => sink.text("[]"),
            Some(Value::Object(object)) if object.is_empty() => sink.text("{}"),
            Some(Value::Array(items)) => {
                sink.text("[");
                open.push(Open::Array(items.iter()));
                first = true;
            }
            Some(Value::Object(object)) => {
                sink.text("{");
                open.push(Open::Object(Properties::new(object, style.sorted)));
                first = true;
            }
            None => {}
        }
        let depth = open.len();
        let separate = |sink: &mut _| {
            if !first {
                Sink::text(sink, ",");
            }
            line(sink, style, depth);
        };
        let end = match open.last_mut() {
            None => return,
            Some(Open::Array(items)) => {
                next = items.next();
                if next.is_some() {
                    separate(sink);
                }
                "]"
            }
            Some(Open::Object(properties)) => {
                let property = properties.next();
                if let Some((key, _)) = property {
                    separate(sink);
                    quote(sink, key);
                    sink.text(if style.indent == 0 { ":" } else { ": " });
                }
                next = property.map(|(_, value)| value);
                "}"
            }
        };
        if next.is_none() {
            open.pop();
            line(sink, style, open.len());
            sink.text(end);
        }
    }
}

fn line(sink: &mut impl Sink, style: &Style, depth: usize) {
    if style.indent > 0 {
        sink.text("\n");
        (0..depth * style.indent).for_each(|_| sink.text(" "));
    }
}

fn numeral(sink: &mut impl Sink, number: f64) {
    if !number.is_finite() {
        return sink.text("null");
    }
    // Whole numbers that a double holds exactly print as integers print.
    if number.trunc() == number && number.abs() < 9_007_199_254_740_992.0 {
        return sink.text(Decimal::new(number as i64).as_str());
    }
    sink.text(ryu_js::Buffer::new().format(number));
}

/// An integer in decimal, without an allocation.
struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    fn new(number: i64) -> Self {
        let mut decimal = Self { digits: [0; 20], start: 20 };
        let mut rest = number.unsigned_abs();
        loop {
            decimal.push(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            decimal.push(b'-');
        }
        decimal
    }

    fn push(&mut self, byte: u8) {
        self.start -= 1;
        self.digits[self.start] = byte;
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[self.start..]).unwrap_or("0")
    }
}

fn quote(sink: &mut impl Sink, string: &JsString) {
    sink.text("\"");
    match string.as_str() {
        Some(text) => escape(sink, text),
        None => escape_lone(sink, string.as_wtf8()),
    }
    sink.text("\"");
}

fn escape(sink: &mut impl Sink, mut text: &str) {
    loop {
        let (plain, rest) = text.split_at(plain_prefix(text.as_bytes()));
        sink.text(plain);
        let Some(&special) = rest.as_bytes().first() else { return };
        match special {
            b'"' => sink.text("\\\""),
            b'\\' => sink.text("\\\\"),
            8 => sink.text("\\b"),
            9 => sink.text("\\t"),
            10 => sink.text("\\n"),
            12 => sink.text("\\f"),
            13 => sink.text("\\r"),
            _ => escape_unit(sink, special.into()),
        }
        text = &rest[1..];
    }
}

/// Writes WTF-8 that holds lone surrogates.
fn escape_lone(sink: &mut impl Sink, bytes: &[u8]) {
    let mut start = 0;
    let mut at = 0;
    while let Some((point, size)) = decode(&bytes[at..]) {
        if (0xd800..0xe000).contains(&point) {
            escape(sink, std::str::from_utf8(&bytes[start..at]).unwrap_or_default());
            escape_unit(sink, point as u16);
            start = at + size;
        }
        at += size;
    }
    escape(sink, std::str::from_utf8(&bytes[start..]).unwrap_or_default());
}

fn escape_unit(sink: &mut impl Sink, unit: u16) {
    let digit = |shift: u16| b"0123456789abcdef"[usize::from(unit >> shift & 0xf)];
    let text = [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)];
    sink.text(std::str::from_utf8(&text).unwrap_or_default());
}
