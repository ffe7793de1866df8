//! The prompt: a line editor on a thread of its own, and what is printed while a line is being typed.
//!
//! The editor draws its line itself. So whatever else is printed goes through it while it reads: it takes its line away, prints, and
//! draws it again. [`Turn`] says whose turn the screen is, so that no line is torn in the moments between.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::{History as _, MemHistory};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Context, Editor, Event, EventContext, EventHandler, ExternalPrinter,
    KeyEvent, Movement, RepeatCount,
};
use tokio::sync::mpsc;

use super::complete::complete;
use super::history::{History, MAX_LINES};
use super::writer::{Sink, Standard, Stream, Writer};

/// What stands before the line to be typed, as in the original.
const PROMPT: &str = "> ";

/// A command has so long until the prompt comes back; what it prints later comes above the prompt.
const COMMAND_PATIENCE: Duration = Duration::from_millis(300);

/// What was printed has so long to be on the screen before the prompt comes back.
const SCREEN_PATIENCE: Duration = Duration::from_millis(200);

/// Whoever prints looks again so often whether the screen is free. It is within microseconds.
const TURN_INTERVAL: Duration = Duration::from_millis(1);

/// What is said of bytes that a terminal with another encoding sends.
const NO_UTF8: &str = "What was typed is no UTF-8 and is left out.";

/// How long the editor waits for who prints, who may be waiting for the editor.
const GATE_PATIENCE: Duration = Duration::from_millis(50);

/// The stack of the editor's thread.
const STACK: usize = 512 << 10;

/// What a person did at the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Typed a line.
    Line(String),
    /// Pressed Ctrl-C with nothing typed.
    Interrupt,
    /// Pressed Ctrl-D with nothing typed: there will be no further line.
    End,
}

/// What comes after an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next command.
    Command,
    /// The answer to this question.
    Answer(&'static str),
    /// Nothing: the peer ends.
    Nothing,
}

/// An act, and where to say what comes after it.
pub(super) struct Entered {
    pub(super) act: Act,
    /// Whether it was typed at the question that was last shown, and so is its answer.
    pub(super) answers: bool,
    pub(super) done: SyncSender<Next>,
}

/// The names of the channels that may be proposed.
pub(super) type Channels = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Whose turn the screen is.
#[derive(Default)]
struct Turn {
    state: AtomicU8,
    /// Is held by who prints.
    gate: Mutex<()>,
}

/// Nobody types: lines are written at once.
const FREE: u8 = 0;
/// The editor is about to draw its line, or to take it away: lines wait.
const BETWEEN: u8 = 1;
/// Somebody types: lines go through the editor.
const TYPING: u8 = 2;

impl Turn {
    /// The editor begins, or has ended, to read.
    fn set(&self, state: u8) {
        let _gate = self.gate.try_lock_for(GATE_PATIENCE);
        self.state.store(state, Ordering::SeqCst);
    }

    fn typing(&self) {
        let _ = self.state.compare_exchange(BETWEEN, TYPING, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// The screen as the place where lines go.
struct Screen<P> {
    turn: Arc<Turn>,
    printer: P,
    /// Whether standard error is the same screen.
    errors: bool,
}

impl<P: ExternalPrinter + Send + 'static> Sink for Screen<P> {
    fn write(&mut self, stream: Stream, text: &str) -> io::Result<()> {
        if stream == Stream::Error && !self.errors {
            return Standard.write(stream, text);
        }
        loop {
            let gate = self.turn.gate.lock();
            match self.turn.state.load(Ordering::SeqCst) {
                FREE => return Standard.write(stream, text),
                TYPING => return self.printer.print(text.to_owned()).map_err(io::Error::other),
                _ => drop(gate),
            }
            std::thread::sleep(TURN_INTERVAL);
        }
    }
}

/// What the editor asks while a line is typed.
struct Helper {
    turn: Arc<Turn>,
    channels: Channels,
}

impl rustyline::Helper for Helper {}
impl Highlighter for Helper {}

impl Completer for Helper {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let proposals = complete(&line[..at], || (self.channels)());
        Ok((proposals.from, proposals.texts))
    }
}

impl Hinter for Helper {
    type Hint = String;

    /// Is asked each time that the line is drawn: from the first time on the editor can print.
    fn hint(&self, _: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.turn.typing();
        None
    }
}

impl Validator for Helper {
    /// Is asked when the line is done: from now on the editor does not print.
    fn validate(&self, _: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        self.turn.set(BETWEEN);
        Ok(ValidationResult::Valid(None))
    }
}

/// Ctrl-C: takes back what was typed, or asks to end where nothing was.
struct Interrupt;

impl ConditionalEventHandler for Interrupt {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        Some(if context.line().is_empty() { Cmd::Interrupt } else { Cmd::Kill(Movement::WholeBuffer) })
    }
}

/// Starts the prompt, and lets `writer` print through it from now on.
///
/// # Errors
/// When this screen is none that a line can be edited on.
pub(super) fn start(
    writer: &Writer,
    channels: Channels,
    history: History,
    entered: mpsc::Sender<Entered>,
) -> io::Result<()> {
    let (ready, begun) = sync_channel(1);
    let writer = writer.clone();
    let thread = std::thread::Builder::new().name("prompt".into()).stack_size(STACK);
    thread.spawn(move || match Prompt::new(&writer, channels, history, entered) {
        Ok(prompt) => {
            let _ = ready.send(Ok(()));
            prompt.run(&writer);
        }
        Err(error) => drop(ready.send(Err(io::Error::other(error)))),
    })?;
    begun.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

struct Prompt {
    editor: Editor<Helper, MemHistory>,
    turn: Arc<Turn>,
    history: History,
    entered: mpsc::Sender<Entered>,
}

impl Prompt {
    fn new(
        writer: &Writer,
        channels: Channels,
        history: History,
        entered: mpsc::Sender<Entered>,
    ) -> rustyline::Result<Prompt> {
        let config = Config::builder()
            .max_history_size(MAX_LINES)?
            .completion_type(rustyline::CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .auto_add_history(false)
            .build();
        let mut lines = MemHistory::with_config(&config);
        for line in history.lines() {
            lines.add(line)?;
        }
        let mut editor = Editor::with_history(config, lines)?;
        let turn = Arc::new(Turn::default());
        editor.set_helper(Some(Helper { turn: turn.clone(), channels }));
        editor.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(Interrupt)));
        let printer = editor.create_external_printer()?;
        let errors = io::IsTerminal::is_terminal(&io::stderr());
        writer.set_sink(Screen { turn: turn.clone(), printer, errors });
        Ok(Prompt { editor, turn, history, entered })
    }

    fn run(mut self, writer: &Writer) {
        let mut next = Next::Command;
        loop {
            let prompt = match next {
                Next::Command => PROMPT,
                Next::Answer(question) => question,
                Next::Nothing => return writer.set_sink(Standard),
            };
            writer.flush(SCREEN_PATIENCE);
            self.turn.set(BETWEEN);
            let read = self.editor.readline(prompt);
            self.turn.set(FREE);
            // A text of several lines was pasted: each is a command.
            let acts: Vec<Act> = match read {
                Ok(text) if text.is_empty() => vec![Act::Line(text)],
                Ok(text) => text.lines().map(|line| Act::Line(line.to_owned())).collect(),
                Err(ReadlineError::Interrupted) => vec![Act::Interrupt],
                // The editor gives up the whole line at such a byte, but not the terminal.
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    writer.line(Stream::Out, NO_UTF8);
                    Vec::new()
                }
                Err(_) => vec![Act::End],
            };
            let mut answers = matches!(next, Next::Answer(_));
            for act in acts {
                if let (Act::Line(line), Next::Command) = (&act, next)
                    && self.history.keep(line)
                {
                    let _ = self.editor.history_mut().add(line);
                }
                next = self.enter(act, std::mem::take(&mut answers));
            }
        }
    }

    /// Hands an act on and waits a little until it is done.
    fn enter(&self, act: Act, answers: bool) -> Next {
        let (done, answer): (_, Receiver<Next>) = sync_channel(1);
        if self.entered.blocking_send(Entered { act, answers, done }).is_err() {
            return Next::Nothing;
        }
        match answer.recv_timeout(COMMAND_PATIENCE) {
            Ok(next) => next,
            Err(RecvTimeoutError::Timeout) => Next::Command,
            Err(RecvTimeoutError::Disconnected) => Next::Nothing,
        }
    }
}
