//! The text format of Prometheus, as far as numbers without labels need it.

use std::fmt::Write as _;

/// Figures as text, each with what it means.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// No figure yet.
    pub fn new() -> Text {
        Text::default()
    }

    /// Adds what there is of something now. The name has letters, digits and underscores; the help is one line.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl TryInto<u64>) {
        self.add(name, help, "gauge", value);
    }

    /// Adds how often something has happened since the start. Its name ends with `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl TryInto<u64>) {
        self.add(name, help, "counter", value);
    }

    fn add(&mut self, name: &str, help: &str, kind: &str, value: impl TryInto<u64>) {
        let value = value.try_into().unwrap_or(u64::MAX);
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_its_help_and_type() {
        let mut text = Text::new();
        text.gauge("a", "An a", 1_usize);
        text.counter("b_total", "All b", u64::MAX);
        assert_eq!(
            String::from(text),
            "# HELP a An a\n# TYPE a gauge\na 1\n# HELP b_total All b\n# TYPE b_total counter\nb_total 18446744073709551615\n"
        );
    }
}
