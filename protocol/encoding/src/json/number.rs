//! Numbers to text and back, by ECMAScript's rules.

use super::trim;

/// JavaScript's `String(number)`: the shortest text that reads back as the same double, `NaN`, `Infinity`, and `0` for -0.
pub fn number_to_string(number: f64) -> String {
    ryu_js::Buffer::new().format(number).to_owned()
}

/// JavaScript's `number.toFixed(digits)`. `digits` above 100, where JavaScript throws, count as 100.
pub fn to_fixed(number: f64, digits: u8) -> String {
    if number.is_nan() || number.is_infinite() || number.abs() >= 1e21 {
        return number_to_string(number);
    }
    let text = ryu_js::Buffer::new().format_to_fixed(number, digits.min(100)).to_owned();
    // The sign is that of the number, except that zero has none.
    match text.strip_prefix('-') {
        Some(rest) if number == 0.0 => rest.to_owned(),
        None if number < 0.0 => format!("-{text}"),
        _ => text,
    }
}

/// JavaScript's `Number(text)`: surrounding white space is ignored, nothing is 0, `0x`, `0o` and `0b` are understood, and what
/// is not a number is NaN.
pub fn string_to_number(text: &str) -> f64 {
    let text = trim(text);
    for (prefixes, radix) in [(["0x", "0X"], 16), (["0o", "0O"], 8), (["0b", "0B"], 2)] {
        if let Some(digits) = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)) {
            let whole = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return if whole { integer(digits, radix) } else { f64::NAN };
        }
    }
    match text {
        "" => 0.0,
        _ if float_prefix(text) == text.len() => float(text),
        _ => f64::NAN,
    }
}

/// JavaScript's `parseFloat(text)`: the longest number that the text begins with, else NaN.
pub fn parse_float(text: &str) -> f64 {
    let text = trim(text);
    match float_prefix(text) {
        0 => f64::NAN,
        length => float(&text[..length]),
    }
}

/// JavaScript's `parseInt(text, radix)`: the longest integer that the text begins with, else NaN. A `radix` of 0 is 10, or 16
/// after `0x`; one outside of 2 to 36 gives NaN.
pub fn parse_int(text: &str, radix: u32) -> f64 {
    let text = trim(text);
    let (negative, mut text) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut radix = radix;
    if radix == 0 || radix == 16 {
        match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(rest) => (text, radix) = (rest, 16),
            None if radix == 0 => radix = 10,
            None => {}
        }
    }
    if !(2..=36).contains(&radix) {
        return f64::NAN;
    }
    let end = text.find(|c: char| !c.is_digit(radix)).unwrap_or(text.len());
    match integer(&text[..end], radix) {
        _ if end == 0 => f64::NAN,
        number if negative => -number,
        number => number,
    }
}

/// The double nearest to a whole number. `digits` are digits of `radix`.
fn integer(digits: &str, radix: u32) -> f64 {
    if radix == 10 {
        return digits.parse().unwrap_or(f64::NAN);
    }
    if radix.is_power_of_two() {
        return power_of_two_integer(digits, radix);
    }
    // ECMAScript leaves the digits after the twentieth to the implementation. V8 takes as many at a time as keep within this.
    const PART: u32 = u32::MAX / 36;
    let (mut number, mut part, mut scale) = (0.0, 0, 1);
    for digit in digits.trim_start_matches('0').chars().filter_map(|c| c.to_digit(radix)) {
        if scale * radix > PART {
            number = number * f64::from(scale) + f64::from(part);
            (part, scale) = (0, 1);
        }
        (part, scale) = (part * radix + digit, scale * radix);
    }
    number * f64::from(scale) + f64::from(part)
}

/// Any number of digits, rounded to the nearest double, ties to even.
fn power_of_two_integer(digits: &str, radix: u32) -> f64 {
    let width = radix.trailing_zeros();
    let (mut top, mut dropped, mut sticky) = (0u64, 0i32, false);
    for digit in digits.chars().filter_map(|c| c.to_digit(radix)) {
        for bit in (0..width).rev() {
            let bit = u64::from(digit >> bit & 1);
            if top >> 62 == 0 {
                top = top << 1 | bit;
            } else {
                sticky |= bit == 1;
                dropped = dropped.saturating_add(1);
            }
        }
    }
    // Of the 63 bits kept, the lowest stands for all that were dropped when it comes to rounding.
    (top | u64::from(sticky)) as f64 * 2f64.powi(dropped)
}

/// The length of the number that `text` begins with, in the grammar of `StrDecimalLiteral`.
fn float_prefix(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |at: usize| bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    if text[at..].starts_with("Infinity") {
        return at + "Infinity".len();
    }
    let whole = digits(at);
    at += whole;
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        if whole + fraction > 0 {
            at += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return 0;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits((at + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            at += 1 + sign + exponent;
        }
    }
    at
}

fn float(text: &str) -> f64 {
    match text.trim_start_matches(['+', '-']) {
        "Infinity" if text.starts_with('-') => f64::NEG_INFINITY,
        "Infinity" => f64::INFINITY,
        _ => text.parse().unwrap_or(f64::NAN),
    }
}
