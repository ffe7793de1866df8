//! The original's lenient argument forms.
//!
//! A peer's arguments are not clap's: the JavaScript peer reads them with a small loop of its own, and what operators and
//! agents have in their scripts relies on it. The rules (trac-peer `runnerArgs.js`):
//!
//! - a first argument that does not begin with `--` is the store label;
//! - `--name=value` is split at the first `=`;
//! - `--name value` takes the next argument, unless that begins with `--`;
//! - `--name` alone is `true`;
//! - the last of several equal names wins;
//! - everything else is ignored.

use std::collections::BTreeMap;

use encoding::json::trim;

/// A peer's arguments, taken apart but not yet understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The first argument, where it is not a flag.
    pub store_label: Option<String>,
    /// The flags by name, without the leading `--`.
    pub flags: BTreeMap<String, FlagValue>,
    /// Arguments that are neither a flag nor a flag's value.
    pub ignored: Vec<String>,
}

/// What follows a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagValue {
    /// `--name=value` or `--name value`.
    Text(String),
    /// `--name` alone, which reads as `true`.
    Bare,
}

impl FlagValue {
    /// The text that the flag stands for.
    pub fn as_str(&self) -> &str {
        match self {
            FlagValue::Text(text) => text,
            FlagValue::Bare => "true",
        }
    }
}

impl Arguments {
    /// Takes the arguments after the program's name apart. Every input has a reading, so this cannot fail.
    pub fn parse<I>(args: I) -> Arguments
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let mut args = args.into_iter().map(Into::into).peekable();
        let mut parsed = Arguments { store_label: args.next_if(|arg| !arg.starts_with("--")), ..Arguments::default() };
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix("--") else {
                parsed.ignored.push(arg);
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name.to_owned(), FlagValue::Text(value.to_owned())),
                None => match args.next_if(|next| !next.starts_with("--")) {
                    Some(next) => (flag.to_owned(), FlagValue::Text(next)),
                    None => (flag.to_owned(), FlagValue::Bare),
                },
            };
            parsed.flags.insert(name, value);
        }
        parsed
    }
}

/// The original's reading of a switch: these words are on, every other text is off. Empty is neither.
pub fn parse_bool(text: &str) -> Option<bool> {
    if text.is_empty() {
        return None;
    }
    Some(matches!(trim(text).to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
}

/// A comma-separated list: parts are trimmed, empty ones dropped.
pub fn parse_list(text: &str) -> Vec<String> {
    text.split(',').map(trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A comma-separated list of `key:value` (or, where an entry has no `:`, `key=value`), each part trimmed. An entry that is
/// not of that form is handed back as it is, for the caller to refuse.
pub fn parse_pairs(text: &str) -> Vec<Result<(String, String), String>> {
    parse_list(text)
        .into_iter()
        .map(|entry| {
            let split = entry.split_once(':').or_else(|| entry.split_once('='));
            match split.map(|(key, value)| (trim(key), trim(value))) {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(entry),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(args: &[&str]) -> Vec<(String, String)> {
        let parsed = Arguments::parse(args.iter().copied());
        parsed.flags.iter().map(|(name, value)| (name.clone(), value.as_str().to_owned())).collect()
    }

    #[test]
    fn every_form_of_a_flag_is_read() {
        type Case = (&'static [&'static str], &'static [(&'static str, &'static str)]);
        let cases: &[Case] = &[
            (&["--a=1"], &[("a", "1")]),
            (&["--a", "1"], &[("a", "1")]),
            (&["--a"], &[("a", "true")]),
            (&["--a", "--b", "1"], &[("a", "true"), ("b", "1")]),
            (&["--a=1=2"], &[("a", "1=2")]),
            (&["--a="], &[("a", "")]),
            (&["--a=", "1"], &[("a", "")]),
            (&["--a", "-1"], &[("a", "-1")]),
            (&["--a", ""], &[("a", "")]),
            (&["--a", "1", "--a", "2"], &[("a", "2")]),
            (&["--a", "1", "--a"], &[("a", "true")]),
            (&["--a", "1", "2", "--b"], &[("a", "1"), ("b", "true")]),
            (&["--=x"], &[("", "x")]),
            (&["--a", "--"], &[("", "true"), ("a", "true")]),
        ];
        for (args, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(flags(args), expected, "{args:?}");
        }
    }

    #[test]
    fn only_the_first_argument_is_a_store_label() {
        let parsed = Arguments::parse(["mystore", "--sc-bridge", "1", "other"]);
        assert_eq!(parsed.store_label.as_deref(), Some("mystore"));
        assert_eq!(parsed.ignored, ["other"]);
        let parsed = Arguments::parse(["--sc-bridge", "1", "mystore"]);
        assert_eq!(parsed.store_label, None);
        assert_eq!(parsed.ignored, ["mystore"]);
        assert_eq!(Arguments::parse(["-x"]).store_label.as_deref(), Some("-x"));
        assert_eq!(Arguments::parse([] as [&str; 0]), Arguments::default());
    }

    #[test]
    fn switches_are_read_as_the_original_does() {
        for text in ["1", "true", "yes", "on", " TRUE ", "On"] {
            assert_eq!(parse_bool(text), Some(true), "{text:?}");
        }
        for text in ["0", "false", "off", "no", "x", " ", "2"] {
            assert_eq!(parse_bool(text), Some(false), "{text:?}");
        }
        assert_eq!(parse_bool(""), None);
    }

    #[test]
    fn lists_drop_what_is_empty() {
        assert_eq!(parse_list(" a ,,b , "), ["a", "b"]);
        assert!(parse_list(" , ").is_empty());
    }

    #[test]
    fn pairs_split_at_the_first_colon_wherever_it_is() {
        let ok = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        let cases = [
            ("a:1,b:2", vec![ok("a", "1"), ok("b", "2")]),
            (" a : 1 ", vec![ok("a", "1")]),
            ("a=1", vec![ok("a", "1")]),
            ("a=b:c", vec![ok("a=b", "c")]),
            ("a:b:c", vec![ok("a", "b:c")]),
            ("a:b=c", vec![ok("a", "b=c")]),
            ("a", vec![Err("a".into())]),
            (":a", vec![Err(":a".into())]),
            ("a:", vec![Err("a:".into())]),
            ("=a", vec![Err("=a".into())]),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_pairs(text), expected, "{text:?}");
        }
    }
}
