//! What a command prints: to the peer's console, and for whoever ran it.

use encoding::json::Value;

use super::inspect::inspect;
use super::tap::{Capture, Tap};
use crate::sidechannel::Console;

/// Prints, and keeps what was printed as SC-Bridge hands it out: one entry for each time that the original prints.
pub(super) struct Printed {
    console: Console,
    capture: Capture,
}

impl Printed {
    pub(super) fn new(console: Console) -> Printed {
        Printed::tapped(console, &Tap::default())
    }

    /// Keeps also what `tap` hears meanwhile.
    pub(super) fn tapped(console: Console, tap: &Tap) -> Printed {
        Printed { console, capture: tap.open() }
    }

    /// What was printed.
    pub(super) fn finish(self) -> Vec<String> {
        self.capture.close()
    }

    /// Prints JavaScript's `undefined`, which the original's clients get as nothing.
    pub(super) fn undefined(&mut self) {
        self.console.line("undefined");
        self.capture.push(String::new());
    }

    /// Prints a line.
    pub(super) fn line(&mut self, line: impl Into<String>) {
        let line = line.into();
        self.console.line(&line);
        self.capture.push(line);
    }

    /// Prints a text that may have several lines, and is one piece of output.
    pub(super) fn text(&mut self, text: String) {
        text.split('\n').for_each(|line| self.console.line(line));
        self.capture.push(text);
    }

    /// Prints a value: in the manner of JavaScript's consoles to the console, as JSON for a client.
    pub(super) fn value(&mut self, value: &Value) {
        inspect(value).lines().for_each(|line| self.console.line(line));
        self.capture.push(value.to_string());
    }

    /// Hands a line to who ran the command, and to nobody else: the console may be a file that others read.
    pub(super) fn secret(&mut self, line: String, shown: &str) {
        self.console.line(shown);
        self.capture.push(line);
    }
}
