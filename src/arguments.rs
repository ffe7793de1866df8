//! How the arguments of a command are read that somebody types (trac-peer `src/artifacts/protocol.js`, `parseArgs`).

use std::collections::BTreeMap;

use encoding::json::is_space;

/// The named arguments of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments(BTreeMap<String, Option<String>>);

/// A quotation mark that is never closed: JavaScript's words for it.
const UNTERMINATED: &str = "Cannot read properties of null (reading '1')";

impl Arguments {
    /// Reads a line. Its first token is the command; the others come strictly in pairs, name (whose leading `--` is dropped) and
    /// value, so that `--a --b 1` is `a` with the value `--b`. A name without a value has none.
    ///
    /// # Errors
    /// What the original throws at a quotation mark that is never closed.
    pub(crate) fn parse(line: &str) -> Result<Arguments, String> {
        let tokens = tokens(line)?;
        let mut arguments = BTreeMap::new();
        for pair in tokens.get(1..).unwrap_or_default().chunks(2) {
            let name = pair[0].strip_prefix("--").unwrap_or(&pair[0]);
            arguments.insert(name.to_owned(), pair.get(1).cloned());
        }
        Ok(Arguments(arguments))
    }

    /// JavaScript's `a || b || c` over the names: the first value that is not empty, else what the last name has. `None` if the
    /// last name does not occur, `Some(None)` if it has no value.
    pub(crate) fn pick(&self, names: &[&str]) -> Option<Option<&str>> {
        let value = |name: &&str| self.0.get(*name).map(Option::as_deref);
        let full = names.iter().filter_map(value).find(|value| value.is_some_and(|text| !text.is_empty()));
        full.or_else(|| names.last().and_then(value))
    }

    /// The name of the only argument, if there is one and it has no value.
    pub(crate) fn lone(&self) -> Option<&str> {
        let mut all = self.0.iter();
        match (all.next(), all.next()) {
            (Some((name, None)), None) if !name.is_empty() => Some(name),
            _ => None,
        }
    }

    /// The first value that is not empty.
    pub(crate) fn text(&self, names: &[&str]) -> Option<&str> {
        self.pick(names).flatten().filter(|text| !text.is_empty())
    }
}

/// The shell-like tokens of a line: runs of what is not space, in which `"..."` (with `\` before any character) and `'...'` may
/// hold space.
pub(crate) fn tokens(line: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let after_line_ends = line.rfind(['\n', '\r', '\u{2028}', '\u{2029}']).map_or(line.len(), |at| line.len() - at - 1);
    let mut rest = line.trim_start_matches(is_space);
    while !rest.is_empty() {
        let (token, after) = rest.split_at(token_end(rest));
        rest = after.trim_start_matches(is_space);
        // The original's expression does not see beyond a line's end, and then finds no token at all.
        if rest.len() > after_line_ends {
            break;
        }
        tokens.push(unquote(token)?);
    }
    Ok(tokens)
}

/// Where the token that `text` begins with ends.
fn token_end(text: &str) -> usize {
    let mut end = 0;
    while let Some(c) = text[end..].chars().next() {
        let part = &text[end..];
        let quoted = match c {
            '"' => double_quoted(part),
            '\'' => part[1..].find('\'').map(|at| at + 2),
            '\\' => part.chars().nth(1).map(|next| 1 + next.len_utf8()),
            _ => None,
        };
        match quoted {
            Some(length) => end += length,
            None if is_space(c) => break,
            None => end += c.len_utf8(),
        }
    }
    end
}

/// The length of the `"..."` that `text` begins with, if it is closed. Where only `\"` could close it, the last of these does:
/// so do JavaScript's expressions, which try everything.
fn double_quoted(text: &str) -> Option<usize> {
    let (mut escaped, mut last_escaped) = (false, None);
    for (at, c) in text[1..].char_indices() {
        match c {
            '"' if !escaped => return Some(at + 2),
            '"' => last_escaped = Some(at + 2),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    last_escaped
}

/// A token without its quotation marks.
fn unquote(mut token: &str) -> Result<String, String> {
    let mut text = String::new();
    while let Some(c) = token.chars().next() {
        let length = match c {
            '"' => {
                let length = double_quoted(token).ok_or(UNTERMINATED)?;
                let mut inner = token[1..length - 1].chars();
                while let Some(c) = inner.next() {
                    text.push(if c == '\\' { inner.next().unwrap_or(c) } else { c });
                }
                length
            }
            '\'' => {
                let length = token[1..].find('\'').ok_or(UNTERMINATED)? + 2;
                text.push_str(&token[1..length - 1]);
                length
            }
            '\\' => match token[1..].chars().next() {
                Some(next) => {
                    text.push(next);
                    1 + next.len_utf8()
                }
                // JavaScript appends the character that is not there.
                None => {
                    text.push_str("undefined");
                    1
                }
            },
            other => {
                text.push(other);
                other.len_utf8()
            }
        };
        token = &token[length..];
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> String {
        match Arguments::parse(line) {
            Ok(Arguments(arguments)) => {
                let show = |(name, value): (&String, &Option<String>)| match value {
                    Some(value) => format!("{name}={value}"),
                    None => format!("{name}!"),
                };
                arguments.iter().map(show).collect::<Vec<_>>().join(";")
            }
            Err(error) => error,
        }
    }

    #[test]
    fn lines_are_read_as_the_original_reads_them() {
        let cases = [
            ("/x", ""),
            ("", ""),
            ("/x --a 1 --b two", "a=1;b=two"),
            ("/x --a --b 1", "1!;a=--b"),
            ("/x --a=1 --c 2", "2!;a=1=--c"),
            ("/x --a", "a!"),
            ("/x a 1 a 2", "a=2"),
            (r#"/x --m "a b" --n 'c "d"'"#, r#"m=a b;n=c "d""#),
            (r#"/x --m "a \" \b \\" --n 1"#, r#"m=a " b \;n=1"#),
            (r#"/x --m pre"in side"post"#, "m=prein sidepost"),
            (r"/x --m a\ b --n \\", r"m=a b;n=\"),
            (r"/x --m a\", "m=aundefined"),
            (r#"/x --m """#, "m="),
            ("  /x   --a\t1  ", "a=1"),
            ("/x --a 1\n", ""),
            (r#"/x --m "a\""#, r"m=a\"),
            (r#"/x --q "q\"  r"#, r"q=q\;r!"),
            (r#"/x \"a b""#, UNTERMINATED),
            (r#"/x "a\"#, UNTERMINATED),
            ("/x --a 1\n--b 2", ""),
            ("/x --a \"1\n2\"", ""),
            (r#"/x --m "open"#, UNTERMINATED),
            (r"/x --m 'open", UNTERMINATED),
            ("/x --ü ö", "ü=ö"),
        ];
        for (line, expected) in cases {
            assert_eq!(parsed(line), expected, "{line:?}");
        }
    }

    #[test]
    fn the_first_name_that_has_a_value_counts() {
        let arguments = Arguments::parse(r#"/x --a "" --b 1 --c"#).expect("valid");
        assert_eq!(arguments.pick(&["a", "b"]), Some(Some("1")));
        assert_eq!(arguments.pick(&["b", "a"]), Some(Some("1")));
        assert_eq!(arguments.pick(&["x", "a"]), Some(Some("")));
        assert_eq!(arguments.pick(&["a", "x"]), None);
        assert_eq!(arguments.pick(&["a", "c"]), Some(None));
        assert_eq!(arguments.text(&["a", "c"]), None);
    }
}
