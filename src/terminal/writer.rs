//! Output that never holds up who prints.
//!
//! Lines go into a bounded queue, and a thread writes them. A reader that is slow or asleep (`intercom | less`, a terminal that
//! Ctrl-S stopped, a full pipe) holds up that thread and nobody else; when the queue is full, further lines are dropped, and how
//! many were is said in their place once there is room again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// So many bytes of lines may wait to be written.
pub const MAX_WAITING: usize = 1 << 20;

/// So much is handed to the system at once.
const BATCH: usize = 64 << 10;

/// What a line costs beside its text, so that endless empty ones count.
const LINE_OVERHEAD: usize = 64;

/// The stack of the thread that writes.
const STACK: usize = 128 << 10;

/// One of the two standard outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// Where lines go in the end. Each call may block.
pub trait Sink: Send + 'static {
    /// Writes whole lines, each with its line feed.
    ///
    /// # Errors
    /// When nobody reads any more. The text is lost then, and the next call is made all the same.
    fn write(&mut self, stream: Stream, text: &str) -> io::Result<()>;
}

/// The program's own standard output and standard error.
#[derive(Debug, Clone, Copy)]
pub struct Standard;

impl Sink for Standard {
    fn write(&mut self, stream: Stream, text: &str) -> io::Result<()> {
        match stream {
            Stream::Out => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes())?;
                out.flush()
            }
            Stream::Error => io::stderr().lock().write_all(text.as_bytes()),
        }
    }
}

/// A place to print to that never blocks. Clones print to the same place, in order.
#[derive(Clone)]
pub struct Writer(Arc<Queue>);

struct Queue {
    waiting: Mutex<Waiting>,
    added: Condvar,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    /// Lines that found no room since the last that did.
    lost: u64,
}

enum Item {
    Line(Stream, String),
    /// So many lines are missing here.
    Lost(u64),
    /// Everything before it is written.
    Mark(SyncSender<()>),
    Sink(Box<dyn Sink>),
}

impl Writer {
    /// Starts a thread that writes to `sink`. It lives as long as the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(sink: impl Sink) -> io::Result<Writer> {
        let queue = Arc::new(Queue { waiting: Mutex::default(), added: Condvar::new() });
        let shared = queue.clone();
        let thread = std::thread::Builder::new().name("output".into()).stack_size(STACK);
        thread.spawn(move || shared.run(Box::new(sink)))?;
        Ok(Writer(queue))
    }

    /// Prints a line, or drops it when too much waits already.
    pub fn line(&self, stream: Stream, line: impl Into<String>) {
        let mut line = line.into();
        line.push('\n');
        let mut waiting = self.0.waiting.lock();
        let cost = line.len() + LINE_OVERHEAD;
        if waiting.bytes + cost > MAX_WAITING && waiting.bytes > 0 {
            waiting.lost += 1;
            return;
        }
        if waiting.lost > 0 {
            let lost = std::mem::take(&mut waiting.lost);
            waiting.items.push_back(Item::Lost(lost));
        }
        waiting.bytes += cost;
        waiting.items.push_back(Item::Line(stream, line));
        drop(waiting);
        self.0.added.notify_one();
    }

    /// Waits until everything printed so far is written, but not longer than `patience`; says whether it is. It blocks.
    pub fn flush(&self, patience: Duration) -> bool {
        let (mark, written) = sync_channel(1);
        self.push(Item::Mark(mark));
        written.recv_timeout(patience).is_ok()
    }

    /// Writes everything that follows to another place.
    pub fn set_sink(&self, sink: impl Sink) {
        self.push(Item::Sink(Box::new(sink)));
    }

    fn push(&self, item: Item) {
        self.0.waiting.lock().items.push_back(item);
        self.0.added.notify_one();
    }
}

impl Queue {
    fn run(&self, mut sink: Box<dyn Sink>) {
        let mut batch = String::new();
        loop {
            let mut waiting = self.waiting.lock();
            while waiting.items.is_empty() && waiting.lost == 0 {
                self.added.wait(&mut waiting);
            }
            let mut stream = Stream::Out;
            let mut other = None;
            while let Some(item) = waiting.items.pop_front() {
                match item {
                    Item::Line(of, line) if batch.is_empty() || (of == stream && batch.len() + line.len() <= BATCH) => {
                        stream = of;
                        // What is being written still counts: it is not gone from memory.
                        batch.push_str(&line);
                        waiting.bytes -= line.len() + LINE_OVERHEAD;
                    }
                    Item::Line(..) => {
                        waiting.items.push_front(item);
                        break;
                    }
                    item => {
                        other = Some(item);
                        break;
                    }
                }
            }
            if other.is_none() && batch.is_empty() {
                other = Some(Item::Lost(std::mem::take(&mut waiting.lost)));
            }
            drop(waiting);
            if !batch.is_empty() {
                // Nobody reads any more: nothing is left to be told.
                let _ = sink.write(stream, &batch);
                batch.clear();
            }
            match other {
                Some(Item::Mark(mark)) => drop(mark.try_send(())),
                Some(Item::Sink(new)) => sink = new,
                Some(Item::Lost(lost)) => {
                    let _ = sink.write(Stream::Error, &format!("({lost} lines were not printed: nobody read them)\n"));
                }
                Some(Item::Line(..)) | None => {}
            }
        }
    }
}

/// What a [`Writer`] takes from a log, one event at a time.
pub struct LogLine(pub Writer);

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if !text.is_empty() {
            self.0.line(Stream::Error, text);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Hands on what is written, each time after a permit came.
    struct Reader {
        permits: Receiver<()>,
        written: std::sync::mpsc::Sender<(Stream, String)>,
    }

    impl Sink for Reader {
        fn write(&mut self, stream: Stream, text: &str) -> io::Result<()> {
            let _ = self.permits.recv();
            let _ = self.written.send((stream, text.to_owned()));
            Ok(())
        }
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn lines_come_in_order_on_both_streams() {
        let ((permit, permits), (written, read)) = (channel(), channel());
        let writer = Writer::start(Reader { permits, written }).expect("a thread");
        drop(permit);
        writer.line(Stream::Out, "a");
        writer.line(Stream::Error, "b");
        writer.line(Stream::Out, "c");
        assert!(writer.flush(PATIENCE));
        let all: Vec<_> = read
            .try_iter()
            .flat_map(|(stream, text)| text.lines().map(|line| (stream, line.to_owned())).collect::<Vec<_>>())
            .collect();
        let expected = [(Stream::Out, "a"), (Stream::Error, "b"), (Stream::Out, "c")];
        assert_eq!(all, expected.map(|(stream, line)| (stream, line.to_owned())));
    }

    #[test]
    fn who_prints_is_never_held_up_and_what_is_lost_is_said() {
        let ((permit, permits), (written, read)) = (channel(), channel());
        let writer = Writer::start(Reader { permits, written }).expect("a thread");
        // Nobody reads, and yet this ends.
        let line = "x".repeat(1_000);
        (0..3 * MAX_WAITING / 1_000).for_each(|_| writer.line(Stream::Out, line.as_str()));
        assert!(!writer.flush(Duration::from_millis(1)), "nothing is written yet");
        drop(permit);
        assert!(writer.flush(PATIENCE));
        writer.line(Stream::Out, "after");
        assert!(writer.flush(PATIENCE));
        let all: Vec<_> = read.try_iter().collect();
        let kept: usize = all.iter().map(|(_, text)| text.matches(&line).count()).sum();
        let lost: usize =
            all.iter().filter_map(|(_, text)| text.strip_prefix('(')?.split(' ').next()?.parse::<usize>().ok()).sum();
        assert_eq!(kept + lost, 3 * MAX_WAITING / 1_000);
        assert!(lost > 0 && kept * 1_000 <= MAX_WAITING + BATCH + 1_000, "{kept} kept, {lost} lost");
        assert_eq!(all.last(), Some(&(Stream::Out, "after\n".to_owned())));
    }
}
