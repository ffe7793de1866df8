//! Values as JavaScript's consoles show them (Node.js `util.inspect`, as far as JSON goes).

use encoding::json::{Value, stringify};

/// What fits on a line of so many characters is on one.
const BREAK: usize = 80;

/// So many levels below the first are shown, and then `[Object]`.
const MAX_DEPTH: usize = 2;

/// So many items of a list are shown.
const MAX_ITEMS: usize = 100;

/// Lists of more items than these are set in columns.
const MAX_LOOSE: usize = 6;

/// At most so many columns.
const MAX_COLUMNS: usize = 12;

/// A value as `console.log` shows it.
pub(super) fn inspect(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_str_lossy().into_owned(),
        other => show(other, 0, 0),
    }
}

/// A value at a depth and an indentation.
fn show(value: &Value, depth: usize, indentation: usize) -> String {
    match value {
        Value::Array(items) if items.is_empty() => "[]".into(),
        Value::Array(_) if depth > MAX_DEPTH => "[Array]".into(),
        Value::Array(items) => {
            let mut parts: Vec<_> =
                items.iter().take(MAX_ITEMS).map(|item| show(item, depth + 1, indentation + 2)).collect();
            let numbers = items.iter().all(|item| matches!(item, Value::Number(_)));
            let more = items.len().saturating_sub(MAX_ITEMS);
            let rest = (more > 0).then(|| format!("... {more} more item{}", if more > 1 { "s" } else { "" }));
            let grouped = (parts.len() > MAX_LOOSE).then(|| columns(&parts, numbers, more > 0, indentation)).flatten();
            let loose = grouped.is_none();
            if let Some(rows) = grouped {
                parts = rows;
            }
            parts.extend(rest);
            join(&parts, ["[", "]"], indentation, loose)
        }
        Value::Object(object) if object.is_empty() => "{}".into(),
        Value::Object(_) if depth > MAX_DEPTH => "[Object]".into(),
        Value::Object(object) => {
            let parts = object.into_iter().map(|(key, value)| {
                format!("{}: {}", name(&key.to_str_lossy()), show(value, depth + 1, indentation + 2))
            });
            join(&parts.collect::<Vec<_>>(), ["{", "}"], indentation, true)
        }
        Value::String(text) => quoted(&text.to_str_lossy()),
        other => stringify(other),
    }
}

/// The parts on one line if they fit and may be, else each on its own.
fn join(parts: &[String], [open, close]: [&str; 2], indentation: usize, one_line: bool) -> String {
    let length: usize = parts.iter().map(|part| width(part)).sum();
    let around = 2 * parts.len() + indentation + open.len() + 10;
    if one_line && length + around <= BREAK && !parts.iter().any(|part| part.contains('\n')) {
        return format!("{open} {} {close}", parts.join(", "));
    }
    let line = format!("\n{}", " ".repeat(indentation));
    format!("{open}{line}  {}{line}{close}", parts.join(&format!(",{line}  ")))
}

/// Rows of a list whose items are set in columns; `None` where they are not.
fn columns(parts: &[String], numbers: bool, more: bool, indentation: usize) -> Option<Vec<String>> {
    const SEPARATOR: usize = 2;
    /// How much higher than wide a character is, about.
    const HEIGHT: f64 = 2.5;
    let longest = parts.iter().map(|part| width(part)).max()?;
    let total: usize = parts.iter().map(|part| width(part) + SEPARATOR).sum();
    let widest = longest + SEPARATOR;
    if widest * 3 + indentation >= BREAK || (total as f64 / widest as f64 <= 5.0 && longest > 6) {
        return None;
    }
    let count = parts.len() as f64;
    // What is said about the rest counts as an item here.
    let entries = count + f64::from(u8::from(more));
    let biased = (widest as f64 - 3.0 - (widest as f64 - total as f64 / entries).sqrt()).max(1.0);
    let square = ((HEIGHT * biased * count).sqrt() / biased).round() as usize;
    let columns = square.min((BREAK - indentation) / widest).min(MAX_COLUMNS);
    if columns <= 1 {
        return None;
    }
    let widths: Vec<usize> = (0..columns)
        .map(|column| parts.iter().skip(column).step_by(columns).map(|part| width(part)).max().unwrap_or_default())
        .collect();
    let row = |row: &[String]| {
        let mut text = String::new();
        for (at, part) in row.iter().enumerate() {
            let last = at + 1 == row.len();
            let padding = " ".repeat(widths[at] - width(part));
            match (numbers, last) {
                (true, true) => text.extend([padding.as_str(), part]),
                (true, false) => text.extend([padding.as_str(), part, ", "]),
                (false, true) => text.push_str(part),
                (false, false) => text.extend([part, ", ", padding.as_str()]),
            }
        }
        text
    };
    Some(parts.chunks(columns).map(row).collect())
}

/// The length of a text as JavaScript counts it.
fn width(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A property's name, quoted unless it can stand for itself.
fn name(name: &str) -> String {
    let mut letters = name.chars();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = letters.next().is_some_and(|c| plain(c) && !c.is_ascii_digit());
    if first && letters.all(plain) { name.to_owned() } else { quoted(name) }
}

/// A text in quotation marks: single ones, unless others need fewer escapes and fill in nothing.
fn quoted(text: &str) -> String {
    let unfit = |mark: char| text.contains(mark) || (mark == '`' && text.contains("${"));
    let mark = ['\'', '"', '`'].into_iter().find(|mark| !unfit(*mark)).unwrap_or('\'');
    let mut quoted = String::from(mark);
    for c in text.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            c if c == mark => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push(mark);
    quoted
}

#[cfg(test)]
mod tests {
    use encoding::json::parse;

    use super::*;

    /// The right side is what Node.js 20 prints for `console.log(value)`.
    #[test]
    fn values_look_as_in_javascript() {
        const NUMBERS: &str = "[\n    0,   1,   4,   9,  16,  25,  36,  49,\n   64,  81, 100, 121, 144, 169, 196, 225,\n  \
                               256, 289, 324, 361, 400, 441, 484, 529,\n  576, 625, 676, 729, 784, 841\n]";
        let row = ["'room'"; 7].join(", ");
        let rooms = format!("[\n{}  'room', 'room',\n  ... 2 more items\n]", format!("  {row},\n").repeat(14));
        let long = "x".repeat(60);
        let cases = [
            (r#"{"channels":["0000intercom"],"connectionCount":0}"#.to_owned(), "{ channels: [ '0000intercom' ], connectionCount: 0 }".to_owned()),
            ("null".into(), "null".into()),
            (r#""plain text""#.into(), "plain text".into()),
            ("[]".into(), "[]".into()),
            (r#"{"a":[],"b":{}}"#.into(), "{ a: [], b: {} }".into()),
            (r#"{"it's":"it's","a-b":"\"'","$x":"\n\t\u0001"}"#.into(), r#"{ "it's": "it's", 'a-b': `"'`, '$x': '\n\t\x01' }"#.into()),
            (r#"["'\"","'\"${x}"]"#.into(), r#"[ `'"`, '\'"${x}' ]"#.into()),
            (r#"{"a":{"b":{"c":{"d":1}}}}"#.into(), "{ a: { b: { c: [Object] } } }".into()),
            (
                format!(r#"{{"networkId":918,"msbBootstrap":"{long}","txv":null,"more":"{long}"}}"#),
                format!("{{\n  networkId: 918,\n  msbBootstrap: '{long}',\n  txv: null,\n  more: '{long}'\n}}"),
            ),
            (
                r#"[["0000intercom","aaaaaaaaaaaaaaaaaaaaaaaaaaaa","bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","cc"],1.5]"#.into(),
                "[\n  [\n    '0000intercom',\n    'aaaaaaaaaaaaaaaaaaaaaaaaaaaa',\n    'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',\n    'cc'\n  ],\n  1.5\n]"
                    .into(),
            ),
            (
                r#"{"channels":["0000intercom","a","b","c","d","e","f","g","h"],"n":0}"#.into(),
                "{\n  channels: [ '0000intercom', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h' ],\n  n: 0\n}".into(),
            ),
            (format!("[{}]", (0..30).map(|n| (n * n).to_string()).collect::<Vec<_>>().join(",")), NUMBERS.into()),
            (format!("[{}]", ["\"room\""; 102].join(",")), rooms),
        ];
        for (json, expected) in cases {
            assert_eq!(inspect(&parse(&json).expect("JSON")), expected, "{json}");
        }
    }
}
