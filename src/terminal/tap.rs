//! What is printed while a client's command runs.
//!
//! The original's bridge captures all of its console then: what a command prints, and what the sidechannel says meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::sidechannel::Console;

/// So many lines that one command prints are kept. No command prints as many.
const MAX_LINES: usize = 100_000;

/// So many lines that others print meanwhile are kept, of all commands that run. Peers may cause as many as they like, and as long
/// ones as a message may be.
const MAX_HEARD: usize = 100_000;

/// So many bytes of them are kept.
const MAX_HEARD_BYTES: usize = 16 << 20;

/// Keeps lines while commands run.
#[derive(Debug, Clone, Default)]
pub struct Tap(Arc<Mutex<Captures>>);

#[derive(Debug, Default)]
struct Captures {
    next: u64,
    open: BTreeMap<u64, Lines>,
    /// The sum of [`Lines::heard`].
    heard: Heard,
}

/// What others printed.
#[derive(Debug, Default, Clone, Copy)]
struct Heard {
    lines: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<String>,
    /// How much of it others printed.
    heard: Heard,
}

impl Tap {
    /// A console that prints to `console`, and to whatever captures are open.
    pub fn console(&self, console: Console) -> Console {
        let tap = self.clone();
        Console::new(move |line| {
            tap.hear(line);
            console.line(line);
        })
    }

    fn hear(&self, line: &str) {
        let Captures { open, heard, .. } = &mut *self.0.lock();
        for lines in open.values_mut() {
            if heard.lines < MAX_HEARD && heard.bytes + line.len() <= MAX_HEARD_BYTES {
                lines.all.push(line.to_owned());
                for kept in [&mut lines.heard, &mut *heard] {
                    kept.lines += 1;
                    kept.bytes += line.len();
                }
            }
        }
    }

    /// Keeps for one command from now on: what it prints, and what is heard meanwhile, but not what other commands print.
    pub(super) fn open(&self) -> Capture {
        let mut captures = self.0.lock();
        let id = captures.next;
        captures.next += 1;
        captures.open.insert(id, Lines::default());
        Capture { tap: self.clone(), id }
    }
}

/// What is kept for one command. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Capture {
    tap: Tap,
    id: u64,
}

impl Capture {
    pub(super) fn push(&self, line: String) {
        let mut captures = self.tap.0.lock();
        if let Some(lines) =
            captures.open.get_mut(&self.id).filter(|lines| lines.all.len() - lines.heard.lines < MAX_LINES)
        {
            lines.all.push(line);
        }
    }

    /// Ends it, and hands out what was kept.
    pub(super) fn close(self) -> Vec<String> {
        self.take()
    }

    fn take(&self) -> Vec<String> {
        let mut captures = self.tap.0.lock();
        let lines = captures.open.remove(&self.id).unwrap_or_default();
        captures.heard.lines -= lines.heard.lines;
        captures.heard.bytes -= lines.heard.bytes;
        lines.all
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_keep_what_they_print_and_what_is_said_meanwhile() {
        let tap = Tap::default();
        let said = tap.console(Console::new(|_| {}));
        said.line("before");
        let (first, second) = (tap.open(), tap.open());
        first.push("of the first".into());
        said.line("meanwhile");
        second.push("of the second".into());
        assert_eq!(second.close(), ["meanwhile", "of the second"]);
        said.line("later");
        assert_eq!(first.close(), ["of the first", "meanwhile", "later"]);
    }

    #[test]
    fn what_others_say_is_bounded_for_all_commands_together() {
        let tap = Tap::default();
        let said = tap.console(Console::new(|_| {}));
        let captures: Vec<_> = (0..256).map(|_| tap.open()).collect();
        for _ in 0..1_000 {
            said.line("noise");
        }
        captures[0].push("its own".into());
        let kept: Vec<_> = captures.into_iter().map(Capture::close).collect();
        assert_eq!(kept[0].last().map(String::as_str), Some("its own"));
        assert_eq!(kept.iter().map(Vec::len).sum::<usize>(), MAX_HEARD + 1);
        let captures: Vec<_> = (0..256).map(|_| tap.open()).collect();
        said.line(&"long ".repeat(100_000));
        let bytes = |capture: Capture| capture.close().iter().map(String::len).sum::<usize>();
        assert_eq!(captures.into_iter().map(bytes).sum::<usize>(), MAX_HEARD_BYTES / 500_000 * 500_000);
        // Commands that ended left room.
        let next = tap.open();
        said.line("heard");
        assert_eq!(next.close(), ["heard"]);
        drop(tap.open());
        assert_eq!(tap.0.lock().open.len(), 0);
    }
}
