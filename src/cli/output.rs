//! Standard output, for a program whose output may be cut off (`intercom | head`) without that ending it.

use std::io::Write;

use crate::sidechannel::Console;

/// Prints text as it is.
pub(crate) fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: nothing is left to be told.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line.
pub(crate) fn line(line: &str) {
    text(&format!("{line}\n"));
}

/// Prints a line to standard error, which may be cut off likewise (`intercom 2>&1 | head`): `eprintln!` would panic.
pub(crate) fn error_line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Standard output as the place where the peer's lines go.
pub(crate) fn console() -> Console {
    Console::new(line)
}
