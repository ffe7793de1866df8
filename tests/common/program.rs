//! The program as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::give_sample_key;

/// Only so that a test whose program does not end says so.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with stores below it.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The program, with stores below this place and no variables but what a test adds.
    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_intercom"));
        command.args(args).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What it prints until it ends.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let mut child = self.program(args).spawn().expect("the program starts");
        let out = read_all(child.stdout.take().expect("is piped"));
        let err = read_all(child.stderr.take().expect("is piped"));
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                child.kill().expect("runs");
                panic!("{args:?} does not end: {}", String::from_utf8_lossy(&err.join().expect("no panic")));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Output { status, stdout: out.join().expect("no panic"), stderr: err.join().expect("no panic") }
    }

    /// A store with the sample key, unlocked, so that no test waits for a key to be stretched.
    pub(crate) fn with_key(self, store: &str) -> Place {
        give_sample_key(&self.path().join("stores").join(store));
        self
    }
}

/// Reads to the end, on a thread of its own.
fn read_all(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("is readable");
        bytes
    })
}

/// A running peer, which is killed when the test ends before it does.
pub(crate) struct Running {
    pub(crate) child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Running {
        let mut child = command.stderr(Stdio::inherit()).spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("is piped"));
        Running { child, out }
    }

    /// Reads up to the line that begins so, and hands back all lines.
    pub(crate) fn until(&mut self, begin: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.out.read_line(&mut line).expect("text") > 0, "ended before {begin:?}: {lines:#?}");
            lines.push(line.trim_end().to_owned());
            if line.starts_with(begin) {
                return lines;
            }
        }
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(done.expect("kill exists").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ended with this code and, on standard error, one line that has these words.
pub(crate) fn assert_fails(output: &Output, code: i32, words: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    let lines: Vec<_> = error.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{error}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is missing in: {error}");
    }
    assert!(!error.contains("panicked"), "{error}");
}

/// The flags of a peer on a network that nobody answers in.
pub(crate) const ALONE: [&str; 5] =
    ["--dht-bootstrap=127.0.0.1:9", "--sc-bridge=1", "--sc-bridge-port=0", "--sc-bridge-cli=1", "--sc-bridge-token=t"];

/// What follows `name` in the lines that a peer printed.
pub(crate) fn value<'a>(lines: &'a [String], name: &str) -> &'a str {
    lines.iter().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name:?} is missing: {lines:#?}"))
}
