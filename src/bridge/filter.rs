//! The word filter of a client: `alpha+beta|gamma` passes what has both `alpha` and `beta`, or `gamma`.

use encoding::json::is_space;

/// Groups of words in lower case. A text passes if it holds every word of any group; no groups pass everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    groups: Vec<Vec<String>>,
}

impl Filter {
    /// Groups are parted by `|`, words by `+`, `,` and space.
    pub(crate) fn parse(text: &str) -> Filter {
        let words = |group: &str| -> Vec<String> {
            group
                .split(|c: char| c == '+' || c == ',' || is_space(c))
                .filter(|word| !word.is_empty())
                .map(str::to_lowercase)
                .collect()
        };
        Filter { groups: text.split('|').map(words).filter(|group| !group.is_empty()).collect() }
    }

    /// Whether every text passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether a text, given in lower case, passes.
    pub(crate) fn matches(&self, lowercase: &str) -> bool {
        self.is_empty() || self.groups.iter().any(|group| group.iter().all(|word| lowercase.contains(word.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_the_originals() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "anything", true),
            ("  | , + |", "anything", true),
            ("alpha", "an alphabet", true),
            ("alpha", "beta", false),
            ("ALPHA", "Alpha", true),
            ("alpha+beta", "beta alpha", true),
            ("alpha+beta", "alpha", false),
            ("alpha,beta gamma", "gamma beta alpha", true),
            ("alpha,beta gamma", "gamma beta", false),
            ("alpha+beta|gamma", "gamma", true),
            ("alpha|", "beta", false),
            ("||alpha", "alpha", true),
            ("ÄPFEL", "äpfel", true),
            ("a\u{feff}b", "b a", true),
        ];
        for (filter, text, expected) in cases {
            assert_eq!(Filter::parse(filter).matches(&text.to_lowercase()), *expected, "{filter:?} on {text:?}");
        }
    }
}
