//! The terminal as a person has it: the program on a pseudo-terminal, and the screen that it draws.

#![cfg(unix)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command as Shell, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use common::give_sample_key;

/// Only so that a test that hangs says what was on the screen.
const PATIENCE: Duration = Duration::from_secs(60);

const ROWS: u16 = 24;
const COLUMNS: u16 = 100;

fn size(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).expect("a screen has rows and columns")
}

/// A store with the sample key.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    give_sample_key(&place.path().join("stores/peer"));
    place
}

/// A peer on a network that nobody answers in, and the person in front of it.
struct Person {
    child: Child,
    pty: Arc<Pty>,
    screen: Arc<(Mutex<vt100::Parser>, Condvar)>,
    reading: Option<JoinHandle<()>>,
}

impl Person {
    /// Starts the peer, and waits for its prompt.
    fn at(place: &Path) -> Person {
        let person = Person::start(place);
        person.sees("the prompt", |lines| lines.last().is_some_and(|line| line == ">"));
        person
    }

    fn start(place: &Path) -> Person {
        let (pty, child_end) = open().expect("a pseudo-terminal");
        pty.resize(Size::new(ROWS, COLUMNS)).expect("a size");
        let args = ["--dht-bootstrap=127.0.0.1:9", "--sc-bridge=1", "--sc-bridge-port=0", "--sc-bridge-cli=1"];
        let child = Command::new(env!("CARGO_BIN_EXE_intercom"))
            .args(args)
            .arg("--sc-bridge-token=s3cret")
            .current_dir(place)
            .env_clear()
            .env("TERM", "xterm-256color")
            .spawn(child_end)
            .expect("the program starts");
        let pty = Arc::new(pty);
        let screen = Arc::new((Mutex::new(vt100::Parser::new(size(ROWS), size(COLUMNS), 200)), Condvar::new()));
        let (reader, shared) = (pty.clone(), screen.clone());
        let reading = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read) = (&*reader).read(&mut bytes) {
                if read == 0 {
                    return;
                }
                shared.0.lock().expect("no panic").process(&bytes[..read]);
                shared.1.notify_all();
            }
        });
        Person { child, pty, screen, reading: Some(reading) }
    }

    fn types(&self, keys: &str) {
        self.types_bytes(keys.as_bytes());
    }

    fn types_bytes(&self, keys: &[u8]) {
        (&*self.pty).write_all(keys).expect("the terminal takes it");
    }

    /// Waits until the lines on the screen, without empty ones at the end, are as they should be.
    fn sees(&self, what: &str, check: impl Fn(&[String]) -> bool) -> Vec<String> {
        let (parser, changed) = &*self.screen;
        let mut parser = parser.lock().expect("no panic");
        loop {
            let lines = lines(parser.screen());
            if check(&lines) {
                return lines;
            }
            let (again, timeout) = changed.wait_timeout(parser, PATIENCE).expect("no panic");
            parser = again;
            assert!(!timeout.timed_out(), "{what} is not on the screen:\n{}", lines.join("\n"));
        }
    }

    /// Waits until this is the last line, the one that is being typed.
    fn sees_last(&self, expected: &str) -> Vec<String> {
        self.sees(expected, |lines| lines.last().is_some_and(|line| line == expected))
    }

    fn cursor(&self) -> (u16, u16) {
        self.screen.0.lock().expect("no panic").screen().cursor_position()
    }

    fn ends(mut self) -> ExitStatus {
        let status = self.child.wait().expect("ends");
        // To the last byte: then the other end of the terminal is closed.
        self.reading.take().expect("is read once").join().expect("no panic");
        assert!(!self.screen.0.lock().expect("no panic").screen().bracketed_paste(), "the terminal is left as it was");
        status
    }

    fn signal(&self, name: &str) {
        let sent = Shell::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill exists").success());
    }

    /// Runs a command by the SC-Bridge, as an agent does, and hands back the reply.
    fn agent_runs(&self, command: &str) -> String {
        let lines = self.all_lines();
        let address = lines.iter().find_map(|line| line.strip_prefix("SC-Bridge: ws://")).expect("in the banner");
        let address = address.trim().to_owned();
        let command = format!(r#"{{"type":"cli","command":{command:?}}}"#);
        tokio::runtime::Runtime::new().expect("a runtime").block_on(async move {
            let stream = tokio::net::TcpStream::connect(&address).await.expect("the bridge listens");
            let (mut client, _) =
                tokio_tungstenite::client_async(format!("ws://{address}"), stream).await.expect("an upgrade");
            for message in [r#"{"type":"auth","token":"s3cret"}"#.to_owned(), command] {
                client.send(Message::Text(message.into())).await.expect("it takes it");
            }
            loop {
                match client.next().await {
                    Some(Ok(Message::Text(text))) if text.contains("cli_result") => return text.to_string(),
                    Some(Ok(_)) => {}
                    other => panic!("no answer: {other:?}"),
                }
            }
        })
    }

    /// What is on the screen, and what has scrolled off it.
    fn all_lines(&self) -> Vec<String> {
        let mut parser = self.screen.0.lock().expect("no panic");
        let mut all = Vec::new();
        for back in (0..200).rev() {
            parser.screen_mut().set_scrollback(back);
            if parser.screen().scrollback() == back {
                all.extend(parser.screen().rows(0, COLUMNS).next());
            }
        }
        parser.screen_mut().set_scrollback(0);
        all.extend(lines(parser.screen()));
        all
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a screen up to the last that is not empty.
fn lines(screen: &vt100::Screen) -> Vec<String> {
    let mut lines: Vec<String> = screen.rows(0, COLUMNS).map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

const UP: &str = "\u{1b}[A";
const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";

#[test]
fn there_is_a_prompt_with_a_history_that_stays() {
    let place = place();
    let person = Person::at(place.path());
    person.types("/print --text first\r");
    person.sees("the answer", |lines| lines.ends_with(&["first".into(), ">".into()]));
    person.types("/print --text second\r");
    person.sees("the answer", |lines| lines.ends_with(&["second".into(), ">".into()]));
    // What is typed ahead waits for its prompt.
    person.types(" /print --text hidden\r/print --text s3cret\r");
    let lines = person.sees("the answer", |lines| lines.ends_with(&["s3cret".into(), ">".into()]));
    assert!(lines.contains(&"hidden".to_owned()), "{lines:#?}");
    person.types(&format!("{UP}{UP}{UP}"));
    // The lines of this session: what is hidden from the file is not offered either.
    person.sees_last("> /print --text first");
    person.types("\r");
    person.sees("the answer", |lines| lines.ends_with(&["first".into(), ">".into()]));
    person.types(CTRL_C);
    assert_eq!(person.ends().code(), Some(0));

    let file = place.path().join("stores/peer/terminal.history");
    assert_eq!(fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&file).expect("text");
    assert_eq!(kept, "/print --text first\n/print --text second\n/print --text first\n");
    let person = Person::at(place.path());
    person.types(&format!("{UP}{UP}"));
    person.sees_last("> /print --text second");
}

#[test]
fn tab_completes_commands_arguments_and_channels() {
    let place = place();
    let person = Person::at(place.path());
    person.types("/sc_sta\t");
    person.sees_last("> /sc_stats");
    person.types("\r");
    person.sees("the answer", |lines| {
        lines.ends_with(&["{ channels: [ '0000intercom' ], connectionCount: 0 }".into(), ">".into()])
    });
    person.types("/sc_sen\t--mes\thi --ch\t0\t");
    person.sees_last("> /sc_send --message hi --channel 0000intercom");
}

#[test]
fn what_is_pasted_is_a_command_a_line() {
    let place = place();
    let person = Person::at(place.path());
    person.types("\u{1b}[200~/print --text one\n/print --text two\n/print --text three\u{1b}[201~");
    person.sees_last("/print --text three");
    person.types("\r");
    let lines = person.sees("the answers", |lines| lines.ends_with(&["three".into(), ">".into()]));
    let printed: Vec<_> = lines.iter().filter(|line| ["one", "two", "three"].contains(&line.as_str())).collect();
    assert_eq!(printed, ["one", "two", "three"]);
}

#[test]
fn a_message_does_not_tear_the_line_that_is_typed() {
    let place = place();
    let person = Person::at(place.path());
    person.types("/print --text half");
    person.sees_last("> /print --text half");
    for n in 0..20 {
        let reply = person.agent_runs(&format!("/print --text news{n}"));
        assert!(reply.contains(&format!("\"output\":[\"news{n}\"]")), "{reply}");
        person.types("x");
        let typed = format!("> /print --text half{}", "x".repeat(n + 1));
        let lines =
            person.sees("the message above the line", |lines| lines.ends_with(&[format!("news{n}"), typed.clone()]));
        assert_eq!(lines.iter().filter(|line| line.starts_with("> /print")).count(), 1, "{lines:#?}");
        assert_eq!(usize::from(person.cursor().1), typed.len());
    }
    person.types("\r");
    let text = format!("half{}", "x".repeat(20));
    person.sees("the answer", |lines| lines.ends_with(&[text.clone(), ">".into()]));
}

#[test]
fn a_screen_that_changes_its_size_keeps_the_line() {
    let place = place();
    let person = Person::at(place.path());
    let text = "a".repeat(60);
    person.types(&format!("/print --text {text}"));
    person.sees_last(&format!("> /print --text {text}"));
    person.screen.0.lock().expect("no panic").screen_mut().set_size(size(ROWS), size(40));
    person.pty.resize(Size::new(ROWS, 40)).expect("a size");
    person.types("b");
    // 76 characters and the new one, on lines of 40.
    person
        .sees("the line on two rows", |lines| lines.last().is_some_and(|line| line == &format!("{}b", "a".repeat(36))));
    // At its begin, so that all of it is drawn anew: whoever counts rows of another width leaves some of the old ones.
    person.types("\u{1}x");
    let lines = person
        .sees("the longer line", |lines| lines.last().is_some_and(|line| line == &format!("{}b", "a".repeat(37))));
    let begins: Vec<_> = lines.iter().filter(|line| line.starts_with("> ") && line.contains("print")).collect();
    assert_eq!(begins, [&format!("> x/print --text {}", "a".repeat(23))], "{lines:#?}");
    person.types("\u{8}\r");
    person.sees("the answer", |lines| lines.ends_with(&["a".repeat(40), format!("{}b", "a".repeat(20)), ">".into()]));
}

#[test]
fn ctrl_c_takes_back_what_was_typed_and_then_ends_the_peer() {
    let place = place();
    let person = Person::at(place.path());
    person.types("/exit");
    person.sees_last("> /exit");
    person.types(CTRL_C);
    person.sees_last(">");
    person.types("/print --text still here\r");
    person.sees("the answer", |lines| lines.ends_with(&["still".into(), ">".into()]));
    person.types(CTRL_C);
    assert_eq!(person.ends().code(), Some(0));
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let place = place();
    let person = Person::at(place.path());
    person.types("/print --te");
    person.sees_last("> /print --te");
    person.signal("TERM");
    assert_eq!(person.ends().code(), Some(0));
}

#[test]
fn a_prompt_that_is_closed_does_not_end_the_peer() {
    let place = place();
    let person = Person::at(place.path());
    person.types(CTRL_D);
    person.sees("the goodbye", |lines| {
        lines.last().is_some_and(|line| line == "The prompt is closed; the peer goes on. Ctrl-C ends it.")
    });
    assert!(person.agent_runs("/print --text alive").contains("alive"));
    // The terminal is as usual again, so that this is a signal.
    person.types(CTRL_C);
    assert_eq!(person.ends().code(), Some(0));
}

#[test]
fn what_is_no_utf_8_closes_no_prompt() {
    let place = place();
    let person = Person::at(place.path());
    // As a terminal sends it that is set to Latin-1.
    person.types_bytes(b"/print --text caf\xe9\r");
    person.sees("what was wrong", |lines| {
        lines.ends_with(&["What was typed is no UTF-8 and is left out.".into(), ">".into()])
    });
    person.types("/print --text 'au café'\r");
    person.sees("the answer", |lines| lines.ends_with(&["au café".into(), ">".into()]));
    // Nor is it an answer.
    person.types("/get_keys\r");
    person.sees_last("Whoever has the secret key is this peer. Show it? Type yes:");
    person.types_bytes(b"\xff\r");
    person.sees("the question again", |lines| {
        let question = "Whoever has the secret key is this peer. Show it? Type yes:".to_owned();
        lines.ends_with(&["What was typed is no UTF-8 and is left out.".into(), question])
    });
}

#[test]
fn the_secret_key_is_shown_to_who_confirms() {
    let place = place();
    let person = Person::at(place.path());
    let question = "Whoever has the secret key is this peer. Show it? Type yes:";
    for (answer, shown) in [("no", false), ("", false), ("yes", true)] {
        person.types("/get_keys\r");
        let lines = person.sees_last(question);
        assert!(lines.iter().any(|line| line.starts_with("Public Key:  ")), "{lines:#?}");
        person.types(&format!("{answer}\r"));
        let lines = person.sees_last(">");
        let secret = lines.iter().any(|line| line.starts_with("Secret Key:  "));
        assert_eq!(secret, shown, "{lines:#?}");
    }
    person.types("/exit\r");
    assert_eq!(person.ends().code(), Some(0));
    let kept = fs::read_to_string(place.path().join("stores/peer/terminal.history")).expect("text");
    assert_eq!(kept, "/get_keys\n/exit\n");
}

#[test]
fn an_unknown_command_is_pointed_out_to_a_person() {
    let place = place();
    let person = Person::at(place.path());
    person.types("/sc_snd --channel a\r");
    person.sees("the hint", |lines| {
        lines.ends_with(&["No such command; /help lists them, and Tab completes them.".into(), ">".into()])
    });
    person.types("/tx --command x\r");
    person.sees("the original's answer", |lines| {
        lines.ends_with(&["Command failed: Peer is not writable.".into(), ">".into()])
    });
}
