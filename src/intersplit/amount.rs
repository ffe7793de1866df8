//! Money: what is accepted as an amount, and how cents are shown.
//!
//! Whole cents below 2^53 are the only amounts there are. What a person or an agent gives is accepted exactly where JavaScript's
//! `Number(String(value).replace(/,/g, ''))` is a positive number of such cents once `Math.round(n * 100)` has rounded it.

use encoding::json::{Value, string_to_number, to_fixed, to_js_string};

use super::error::Throw;

/// The largest amount: JavaScript's `Number.MAX_SAFE_INTEGER`.
pub const MAX_CENTS: u64 = (1 << 53) - 1;

/// The cents of an amount as it was given. `None` where the original says that it is invalid.
///
/// ```
/// use encoding::json::Value;
/// use intercom::intersplit::parse_amount;
///
/// let cents = |text: &str| parse_amount(Some(&Value::from(text))).unwrap();
/// assert_eq!(cents("1,234.5"), Some(123_450));
/// assert_eq!(cents("1,2.5e1 "), Some(12_500));
/// assert_eq!(cents("0x10"), Some(1_600));
/// assert_eq!(cents("1.005"), Some(100)); // The nearest double lies below.
/// assert_eq!(cents("12 euros"), None);
/// ```
///
/// # Errors
/// [`Throw`] for what JavaScript cannot make text of.
pub fn parse_amount(value: Option<&Value>) -> Result<Option<u64>, Throw> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let text = to_js_string(value).ok_or(Throw)?;
    if text.is_empty() && matches!(value, Value::String(_)) {
        return Ok(None);
    }
    let number = string_to_number(&text.to_str_lossy().replace(',', ""));
    if !number.is_finite() || number <= 0.0 {
        return Ok(None);
    }
    Ok(whole_cents((number * 100.0).round()))
}

/// A number as cents, if it is a whole one above 0 and not above [`MAX_CENTS`].
pub(super) fn whole_cents(number: f64) -> Option<u64> {
    let whole = number.fract() == 0.0 && (1.0..=MAX_CENTS as f64).contains(&number);
    whole.then_some(number as u64)
}

/// `12.34` for 1234 cents: JavaScript's `(cents / 100).toFixed(2)`.
pub fn format_cents(cents: f64) -> String {
    to_fixed(cents / 100.0, 2)
}

/// The same with its sign, `+` for zero too.
pub(super) fn format_signed(cents: f64) -> String {
    format!("{}{}", if cents >= 0.0 { '+' } else { '-' }, format_cents(cents.abs()))
}

#[cfg(test)]
mod tests {
    use encoding::json::parse;

    use super::*;

    #[test]
    fn amounts_are_taken_as_javascript_takes_them() {
        let cases: &[(&str, Option<u64>)] = &[
            (r#""1.005""#, Some(100)),
            (r#""0.004""#, None),
            (r#""0.005""#, Some(1)),
            (r#""1e3""#, Some(100_000)),
            (r#""0x10""#, Some(1_600)),
            (r#""0B11""#, Some(300)),
            (r#""-0x10""#, None),
            (r#"" 7 ""#, Some(700)),
            (r#"",7,""#, Some(700)),
            (r#""7.""#, Some(700)),
            (r#"".5""#, Some(50)),
            (r#""+5""#, Some(500)),
            (r#""1_000""#, None),
            (r#""Infinity""#, None),
            (r#""inf""#, None),
            (r#""\ufeff7\u00a0""#, Some(700)),
            (r#""\u00857""#, None),
            (r#"""#, None),
            (r#"" ""#, None),
            ("90071992547409.91", Some(9_007_199_254_740_991)),
            ("90071992547409.92", None),
            ("12.345", Some(1_235)),
            ("1.005", Some(100)),
            ("true", None),
            ("null", None),
            ("[5]", Some(500)),
            (r#"[1,"2.5"]"#, Some(1_250)),
            ("[]", None),
            ("{}", None),
            ("1e999", None),
            ("5e-324", None),
        ];
        for (text, expected) in cases {
            let value = if *text == "\"" { parse("\"\"") } else { parse(text) };
            assert_eq!(parse_amount(Some(&value.expect("valid JSON"))), Ok(*expected), "{text}");
        }
        assert_eq!(parse_amount(None), Ok(None));
        assert_eq!(parse_amount(Some(&parse(r#"{"toString":1}"#).expect("valid JSON"))), Err(Throw));
    }

    #[test]
    fn cents_are_shown_with_two_digits() {
        for (cents, expected) in
            [(0.0, "0.00"), (5.0, "0.05"), (1234.0, "12.34"), (9_007_199_254_740_991.0, "90071992547409.91")]
        {
            assert_eq!(format_cents(cents), expected);
        }
        assert_eq!(format_signed(-5.0), "-0.05");
        assert_eq!(format_signed(0.0), "+0.00");
    }
}
