//! Where lines come from: a person at a prompt, or standard input that is no terminal.

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::commands::COMMANDS;
use super::editor::{self, Act, Entered, Next};
use super::history::History;
use super::printed::Printed;
use super::{Terminal, Writer};

/// A longer line of standard input is not read.
const MAX_LINE: u64 = 1 << 20;

/// So many lines of standard input may wait for their turn.
const MAX_WAITING: usize = 16;

/// The stack of the thread that reads standard input.
const STACK: usize = 128 << 10;

/// The question before the secret key is shown.
const CONFIRM: &str = "Whoever has the secret key is this peer. Show it? Type yes: ";

/// What is said where nobody waited for that question any more.
const ASK_AGAIN: &str = "For the secret key type /get_keys again.";

/// How the input behaves.
#[derive(Debug, Clone, Default)]
pub struct InputOptions {
    /// The file that keeps what was typed at the prompt.
    pub history: Option<PathBuf>,
    /// Texts that no kept line may contain.
    pub secrets: Vec<String>,
}

/// The input of a running peer. Dropping it ends it, and leaves the screen as it was.
pub struct Input {
    attending: JoinHandle<()>,
    _screen: Option<screen::Screen>,
}

impl Input {
    /// Prints the help, as the original does at its start, and takes lines from now on: at a prompt where standard input and output
    /// are a terminal, line by line without one elsewhere. The end of standard input ends nothing else.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(terminal: Terminal, writer: &Writer, options: InputOptions) -> Input {
        let (entered, lines) = mpsc::channel(MAX_WAITING);
        super::help::ORIGINAL.iter().chain(&super::help::BEYOND).for_each(|line| terminal.console.line(line));
        let interactive = screen::is_ours();
        let mut screen = None;
        let mut prompt = false;
        if interactive {
            screen = screen::Screen::remember(writer);
            let sidechannel = terminal.sidechannel.clone();
            let history = History::open(options.history, options.secrets);
            let started = editor::start(writer, Arc::new(move || sidechannel.channels()), history, entered.clone());
            prompt = started.is_ok();
        }
        if !prompt && screen::may_read() {
            read_lines(entered);
        }
        let session = Session { terminal, prompt, asked: false };
        Input { attending: tokio::spawn(session.attend(lines)), _screen: screen }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.attending.abort();
    }
}

/// Reads standard input on a thread of its own, which nothing can wake before a line comes.
fn read_lines(entered: mpsc::Sender<Entered>) {
    let read = move || {
        let mut input = BufReader::new(io::stdin());
        while let Some(line) = next_line(&mut input) {
            // Nobody waits for the answer: the next line may be read meanwhile.
            let (done, _) = sync_channel(1);
            if entered.blocking_send(Entered { act: Act::Line(line), answers: true, done }).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("input".into()).stack_size(STACK).spawn(read);
    if let Err(error) = thread {
        tracing::warn!("standard input is not read: {error}");
    }
}

/// The next line without its end; `None` at the end of the input. What is too long for a line is left out.
fn next_line(input: &mut impl BufRead) -> Option<String> {
    loop {
        let mut bytes = Vec::new();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes);
        if !read.is_ok_and(|read| read > 0) {
            return None;
        }
        if bytes.last() == Some(&b'\n') || (bytes.len() as u64) < MAX_LINE {
            let text = String::from_utf8_lossy(&bytes);
            return Some(text.trim_end_matches(['\n', '\r']).to_owned());
        }
        tracing::warn!("a line of standard input is longer than {MAX_LINE} bytes and is left out");
        while bytes.last() != Some(&b'\n') {
            bytes.clear();
            let rest = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes);
            if !rest.is_ok_and(|read| read > 0) {
                return None;
            }
        }
    }
}

/// One after the other, the lines of one input.
struct Session {
    terminal: Terminal,
    /// Whether a person types them.
    prompt: bool,
    /// Whether [`CONFIRM`] was asked last. A line that answers is the answer to it.
    asked: bool,
}

impl Session {
    async fn attend(mut self, mut lines: mpsc::Receiver<Entered>) {
        while let Some(Entered { act, answers, done }) = lines.recv().await {
            let next = match act {
                Act::Line(line) => self.line(&line, answers).await,
                Act::Interrupt => {
                    self.terminal.exit.notify_one();
                    Next::Nothing
                }
                Act::End => {
                    self.terminal.console.line("The prompt is closed; the peer goes on. Ctrl-C ends it.");
                    Next::Nothing
                }
            };
            // An error means that nobody waits for it any more; nor is a question shown then.
            if done.send(next).is_err() && self.prompt && matches!(next, Next::Answer(_)) {
                self.terminal.console.line(ASK_AGAIN);
            }
        }
    }

    async fn line(&mut self, line: &str, answers: bool) -> Next {
        let console = &self.terminal.console;
        if std::mem::take(&mut self.asked) && answers {
            let yes = line.trim().eq_ignore_ascii_case("yes");
            console.line(if yes { self.terminal.secret_key() } else { "Not shown.".into() }.as_str());
            return Next::Command;
        }
        // At a prompt a space before a line keeps it out of the history, and means nothing else.
        let line = if self.prompt { line.trim() } else { line };
        let mut out = Printed::new(console.clone());
        if line == "/get_keys" {
            self.terminal.public_keys(&mut out);
            self.asked = true;
            if !self.prompt {
                console.line(CONFIRM.trim_end());
            }
            return Next::Answer(CONFIRM);
        }
        if self.prompt && !line.is_empty() && !COMMANDS.iter().any(|command| line.starts_with(command.name)) {
            console.line("No such command; /help lists them, and Tab completes them.");
            return Next::Command;
        }
        if let Err(error) = self.terminal.command(line, &mut out).await {
            console.line(&format!("Command failed: {error}"));
        }
        if line != "/exit" {
            return Next::Command;
        }
        self.terminal.exit.notify_one();
        Next::Nothing
    }
}

/// The screen before and after the prompt.
#[cfg(unix)]
mod screen {
    use std::io::{self, IsTerminal};
    use std::time::Duration;

    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

    use super::super::writer::{Standard, Stream, Writer};

    /// Ends what the editor asked of the terminal: to mark what is pasted.
    const LEAVE: &str = "\u{1b}[?2004l";

    /// Whether there is a screen, which can move a cursor, and it is this process's turn to use it.
    pub(super) fn is_ours() -> bool {
        let dumb = std::env::var("TERM").is_ok_and(|term| term.is_empty() || term == "dumb");
        io::stdin().is_terminal() && io::stdout().is_terminal() && may_read() && !dumb
    }

    /// Whether standard input may be read: a process in the background would be stopped when it touches its terminal.
    pub(super) fn may_read() -> bool {
        let input = io::stdin();
        !input.is_terminal() || tcgetpgrp(&input).is_ok_and(|group| group == rustix::process::getpgrp())
    }

    /// How the terminal was set before the prompt; it is set so again in the end, however that comes.
    pub(super) struct Screen(Termios, Writer);

    impl Screen {
        pub(super) fn remember(writer: &Writer) -> Option<Screen> {
            Some(Screen(tcgetattr(io::stdin()).ok()?, writer.clone()))
        }
    }

    impl Drop for Screen {
        fn drop(&mut self) {
            let raw = tcgetattr(io::stdin()).is_ok_and(|now| now.local_modes != self.0.local_modes);
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
            self.1.set_sink(Standard);
            if raw {
                self.1.line(Stream::Out, LEAVE);
                self.1.flush(Duration::from_millis(200));
            }
        }
    }
}

/// The editor itself leaves the console as it was; a process that is ended from outside takes its console's window along, or leaves
/// it to a shell that sets its own modes.
#[cfg(not(unix))]
mod screen {
    use std::io::{self, IsTerminal};

    use super::super::writer::Writer;

    pub(super) fn is_ours() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    pub(super) fn may_read() -> bool {
        true
    }

    pub(super) struct Screen;

    impl Screen {
        pub(super) fn remember(_writer: &Writer) -> Option<Screen> {
            Some(Screen)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Notify;

    use super::*;
    use crate::identity::Identity;
    use crate::sidechannel::link::{Link, Operation};
    use crate::sidechannel::{Console, Network, Sidechannel, SidechannelOptions};

    /// Nobody is there.
    struct Nowhere;

    impl Network for Nowhere {
        fn bootstrapped(&self) -> Operation<'_, ()> {
            Box::pin(async {})
        }

        fn join(&self, _topic: [u8; 32]) {}

        fn leave(&self, _topic: [u8; 32]) -> Operation<'_, ()> {
            Box::pin(async {})
        }

        fn flush(&self) -> Operation<'_, ()> {
            Box::pin(async {})
        }

        fn next_link(&self) -> Operation<'_, Option<Arc<dyn Link>>> {
            Box::pin(std::future::pending())
        }
    }

    /// What is printed when these lines come; of each: whether its editor still waits for what comes after it, and whether it was
    /// typed at the question.
    async fn printed(prompt: bool, typed: &[(&str, bool, bool)]) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        let console = Console::new(move |line| heard.lock().expect("no panic").push(line.to_owned()));
        let identity = Identity::generate();
        let quiet = SidechannelOptions { console: Console::new(|_| {}), ..SidechannelOptions::default() };
        let sidechannel = Sidechannel::start(quiet, identity.key_pair().clone(), Arc::new(Nowhere));
        let terminal = Terminal::new(sidechannel, identity, console, Arc::new(Notify::new()));
        let (entered, queue) = mpsc::channel(MAX_WAITING);
        let mut waiting = Vec::new();
        for (line, waits, answers) in typed {
            let (done, next) = sync_channel(1);
            waiting.extend(waits.then_some(next));
            let sent = entered.send(Entered { act: Act::Line((*line).to_owned()), answers: *answers, done }).await;
            sent.expect("it is attended");
        }
        drop(entered);
        Session { terminal, prompt, asked: false }.attend(queue).await;
        let lines = lines.lock().expect("no panic");
        lines.iter().filter(|line| !line.contains(":  ")).cloned().collect()
    }

    #[tokio::test]
    async fn only_who_saw_the_question_answers_it() {
        let text = "/print --text done";
        assert_eq!(printed(true, &[("/get_keys", true, false), (text, true, true)]).await, ["Not shown."]);
        // A command before it took so long that the prompt came back meanwhile.
        assert_eq!(printed(true, &[("/get_keys", false, false), (text, true, false)]).await, [ASK_AGAIN, "done"]);
        // It was pasted along with others, or the prompt came back just now.
        assert_eq!(printed(true, &[("/get_keys", true, false), (text, true, false)]).await, ["done"]);
        // A pipe asks on its own.
        let piped = printed(false, &[("/get_keys", false, true), ("no", false, true), (text, false, true)]).await;
        assert_eq!(piped, [CONFIRM.trim_end(), "Not shown.", "done"]);
    }

    #[test]
    fn lines_end_in_any_way_and_are_not_endless() {
        let long = "x".repeat(MAX_LINE as usize);
        let text = format!("a\r\n\n{long}y\n b \n{long}{long}{long}\nlast");
        let mut input = io::Cursor::new(text);
        let lines: Vec<_> = std::iter::from_fn(|| next_line(&mut input)).collect();
        assert_eq!(lines, ["a", "", " b ", "last"]);
        assert_eq!(next_line(&mut io::Cursor::new([0xff, b'\n'])).as_deref(), Some("\u{fffd}"));
    }
}
