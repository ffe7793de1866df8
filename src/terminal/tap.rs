//! What is printed while a client's command runs.
//!
//! The original's bridge captures all of its console then: what a command prints, and what the sidechannel says meanwhile.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::sidechannel::Console;

/// So many lines of one command are kept. No command prints as many; what peers cause meanwhile may.
const MAX_LINES: usize = 100_000;

/// Keeps lines while it is open.
#[derive(Debug, Clone, Default)]
pub struct Tap(Arc<Mutex<Option<Vec<String>>>>);

impl Tap {
    /// A console that prints to `console`, and to the tap while that is open.
    pub fn console(&self, console: Console) -> Console {
        let tap = self.clone();
        Console::new(move |line| {
            tap.push(line.to_owned());
            console.line(line);
        })
    }

    /// Opens it, empty.
    pub(super) fn open(&self) {
        *self.0.lock() = Some(Vec::new());
    }

    /// Closes it, and hands out what was kept.
    pub(super) fn close(&self) -> Vec<String> {
        self.0.lock().take().unwrap_or_default()
    }

    pub(super) fn push(&self, line: String) {
        if let Some(lines) = self.0.lock().as_mut().filter(|lines| lines.len() < MAX_LINES) {
            lines.push(line);
        }
    }
}
