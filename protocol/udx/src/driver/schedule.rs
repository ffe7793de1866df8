//! The task of an instance: one sleep for the deadlines of all streams, and the writes that nobody flushed.

use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::stream::Shared;

/// A deadline. A stream has at most a few: one is added only when it is earlier than those that exist, and one that comes
/// too early looks at the stream and goes back to sleep.
#[derive(Debug)]
struct Deadline {
    at: Instant,
    stream: Weak<Shared>,
}

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Deadline {}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Deadline {
    /// Earliest first, in a heap that gives the greatest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at.cmp(&self.at)
    }
}

#[derive(Debug, Default)]
struct Queue {
    deadlines: BinaryHeap<Deadline>,
    unflushed: Vec<Arc<Shared>>,
    /// What the task sleeps for; `None` while it is awake.
    sleeping_until: Option<Option<Instant>>,
}

#[derive(Debug, Default)]
pub(super) struct Schedule {
    queue: Mutex<Queue>,
    wake: Notify,
    task: Mutex<Option<AbortHandle>>,
}

impl Schedule {
    /// Starts the task, if there is none yet.
    pub(super) fn start(self: &Arc<Self>) {
        let mut task = self.task.lock();
        if task.as_ref().is_none_or(AbortHandle::is_finished) {
            *task = Some(tokio::spawn(Arc::clone(self).run()).abort_handle());
        }
    }

    pub(super) fn stop(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }

    /// How many deadlines are waited for.
    pub(super) fn len(&self) -> usize {
        self.queue.lock().deadlines.len()
    }

    /// Has the stream looked at no later than `at`.
    pub(super) fn arm(&self, at: Instant, stream: &Arc<Shared>) {
        let mut queue = self.queue.lock();
        queue.deadlines.push(Deadline { at, stream: Arc::downgrade(stream) });
        let wake = queue.sleeping_until.is_some_and(|until| until.is_none_or(|until| at < until));
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Has the stream flushed as soon as its writer has yielded.
    pub(super) fn flush_soon(&self, stream: &Arc<Shared>) {
        let mut queue = self.queue.lock();
        queue.unflushed.push(Arc::clone(stream));
        let wake = queue.sleeping_until.take().is_some();
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    async fn run(self: Arc<Self>) {
        let mut due = Vec::new();
        loop {
            let now = super::now();
            let (unflushed, next) = {
                let mut queue = self.queue.lock();
                queue.sleeping_until = None;
                while queue.deadlines.peek().is_some_and(|deadline| deadline.at <= now) {
                    if let Some(Deadline { at, stream }) = queue.deadlines.pop() {
                        due.extend(stream.upgrade().map(|stream| (at, stream)));
                    }
                }
                let unflushed = std::mem::take(&mut queue.unflushed);
                let next = queue.deadlines.peek().map(|deadline| deadline.at);
                if unflushed.is_empty() && due.is_empty() {
                    queue.sleeping_until = Some(next);
                }
                (unflushed, next)
            };
            if unflushed.is_empty() && due.is_empty() {
                match next {
                    Some(at) => {
                        let sleep = tokio::time::sleep_until(at.into());
                        tokio::select! {
                            biased;
                            () = sleep => {}
                            () = self.wake.notified() => {}
                        }
                    }
                    None => self.wake.notified().await,
                }
                continue;
            }
            for stream in unflushed {
                stream.flush_deferred();
            }
            for (at, stream) in due.drain(..) {
                stream.on_deadline(at);
            }
            // A stream with more to send than one turn allows comes back here; others get theirs first.
            tokio::task::yield_now().await;
        }
    }
}
