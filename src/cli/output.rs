//! Standard output and standard error, for a program whose output may be cut off (`intercom | head`), or not be read (`intercom |
//! sleep 1000`), without that ending it or holding it up.

use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use crate::sidechannel::Console;
use crate::terminal::{LogLine, Standard, Stream, Writer};

/// What was printed has so long to be read when the program ends.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

static WRITER: OnceLock<Option<Writer>> = OnceLock::new();

/// What all lines go through. `None` where the system gave no thread for it: then they are printed at once.
pub(crate) fn writer() -> Option<&'static Writer> {
    WRITER.get_or_init(|| Writer::start(Standard).ok()).as_ref()
}

/// Prints text as it is, and waits until it is taken: for commands that do nothing but print.
pub(crate) fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: nothing is left to be told.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line, and does not wait.
pub(crate) fn line(line: &str) {
    match writer() {
        Some(writer) => writer.line(Stream::Out, line),
        None => text(&format!("{line}\n")),
    }
}

/// Prints a line to standard error, which may be cut off likewise (`intercom 2>&1 | head`): `eprintln!` would panic.
pub(crate) fn error_line(line: &str) {
    match writer() {
        Some(writer) => writer.line(Stream::Error, line),
        None => drop(writeln!(std::io::stderr().lock(), "{line}")),
    }
}

/// Where logs go: standard error, in their turn.
pub(crate) fn log() -> Box<dyn Write> {
    match writer() {
        Some(writer) => Box::new(LogLine(writer.clone())),
        None => Box::new(std::io::stderr()),
    }
}

/// Waits until everything is written, but not for a reader that does not read.
pub(crate) fn flush() {
    // Nothing was printed by lines: nothing waits.
    if let Some(Some(writer)) = WRITER.get() {
        writer.flush(LAST_PATIENCE);
    }
}

/// Standard output as the place where the peer's lines go.
pub(crate) fn console() -> Console {
    Console::new(line)
}
