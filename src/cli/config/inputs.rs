//! Flags and environment, and how a value of each kind is read.

use encoding::json;

use super::values::is_node;
use crate::cli::args::{self, Arguments, FlagValue};
use crate::cli::error::Failure;
use crate::cli::flags::{self, Flag, Kind};

/// Flags and environment, asked by flag.
pub(super) struct Inputs<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) warnings: &'a mut Vec<String>,
}

/// A value that is not empty, and the name by which the user gave it.
pub(super) struct Given {
    pub(super) text: String,
    pub(super) source: String,
}

impl Inputs<'_> {
    pub(super) fn flag(&mut self, name: &str) -> Option<Given> {
        let value = self.arguments.flags.get(name).filter(|value| !value.as_str().is_empty())?;
        let needs_value = flags::find(name).is_some_and(|flag| flag.kind != Kind::Switch);
        if needs_value && *value == FlagValue::Bare {
            self.warnings.push(format!("--{name} has no value and is read as \"true\""));
        }
        Some(Given { text: value.as_str().to_owned(), source: format!("--{name}") })
    }

    pub(super) fn variable(&self, name: &str) -> Option<Given> {
        let text = (self.env)(name).filter(|text| !text.is_empty())?;
        Some(Given { text, source: name.to_owned() })
    }

    /// The value of a flag: its own, its alias's, its variables'.
    pub(super) fn given(&mut self, name: &'static str) -> Option<Given> {
        let flag: &Flag = flags::find(name).expect("every flag that is asked for is in the table");
        self.flag(flag.name)
            .or_else(|| flag.alias.and_then(|alias| self.flag(alias)))
            .or_else(|| flag.env.iter().find_map(|name| self.variable(name)))
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.given(name).map(|given| given.text)
    }

    pub(super) fn switch(&mut self, name: &'static str, default: bool) -> bool {
        let Some(given) = self.given(name) else { return default };
        let on = args::parse_bool(&given.text).unwrap_or(default);
        if !on && !matches!(json::trim(&given.text).to_lowercase().as_str(), "0" | "false" | "no" | "off") {
            self.warnings
                .push(format!("{}: \"{}\" is read as off; on is 1, true, yes or on", given.source, given.text));
        }
        on
    }

    pub(super) fn number(
        &mut self,
        name: &'static str,
        from: f64,
        to: f64,
        what: &str,
    ) -> Result<Option<f64>, Failure> {
        let Some(given) = self.given(name) else { return Ok(None) };
        match json::parse_int(&given.text, 10) {
            number if (from..=to).contains(&number) => Ok(Some(number)),
            _ => Err(Failure::usage(format!("{}: \"{}\" is not {what}", given.source, given.text))),
        }
    }

    pub(super) fn list(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.given(name).map(|given| args::parse_list(&given.text))
    }

    pub(super) fn pairs(&mut self, name: &'static str, form: &str) -> Result<Vec<(String, String, String)>, Failure> {
        let Some(given) = self.given(name) else { return Ok(Vec::new()) };
        args::parse_pairs(&given.text)
            .into_iter()
            .map(|pair| match pair {
                Ok((key, value)) => Ok((key, value, given.source.clone())),
                Err(entry) => Err(Failure::usage(format!("{}: \"{entry}\" is not of the form {form}", given.source))),
            })
            .collect()
    }

    pub(super) fn nodes(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Failure> {
        let Some(given) = self.given(name) else { return Ok(None) };
        let nodes = args::parse_list(&given.text);
        match nodes.iter().find(|node| !is_node(node)) {
            Some(node) => Err(Failure::usage(format!(
                "{}: \"{node}\" is not of the form HOST:PORT, for example 127.0.0.1:49737",
                given.source
            ))),
            None => Ok(Some(nodes)),
        }
    }
}
