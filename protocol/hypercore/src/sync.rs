//! When what was written is on the disk. Many writes share one synchronisation of the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::Error;
use crate::events::{Event, Listeners};
use crate::storage::Backend;

/// What nobody waits for but peers, to hear of blocks that came from others, is synchronised half of the time at most: not again
/// before as long as it took, or so long, has passed.
const MAX_REST: Duration = Duration::from_millis(20);

#[derive(Clone, Default)]
struct Progress {
    synced: u64,
    failed: Option<Error>,
}

#[derive(Default)]
struct Waiting {
    written: u64,
    /// Whether somebody waits for what was written.
    wanted: bool,
    /// Whether it is more than to be told of blocks that came from others.
    urgent: bool,
    /// Whether what is not urgent has to wait.
    resting: bool,
    closing: bool,
    events: VecDeque<(u64, Arc<Listeners>, Event)>,
}

/// Counts writes, and tells when they are on the disk.
pub(crate) struct Syncer {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
    /// Whether a write counts as done when it is made.
    immediate: bool,
}

impl Syncer {
    pub(crate) fn new(immediate: bool) -> Arc<Self> {
        let progress = watch::Sender::new(Progress::default());
        Arc::new(Self { waiting: Mutex::default(), wake: Condvar::new(), progress, immediate })
    }

    /// The error after which nothing is written any more.
    pub(crate) fn failed(&self) -> Option<Error> {
        self.progress.borrow().failed.clone()
    }

    /// Whether a write counts as done when it is made.
    pub(crate) fn is_immediate(&self) -> bool {
        self.immediate
    }

    /// A write was made; its events are told when it is on disk. [`wake`](Self::wake) is to follow.
    pub(crate) fn written(&self, events: impl IntoIterator<Item = (Arc<Listeners>, Event)>) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.written += 1;
        let number = waiting.written;
        if self.immediate {
            self.progress.send_modify(|progress| progress.synced = number);
            for (listeners, event) in events {
                listeners.emit(event);
            }
            return number;
        }
        for (listeners, event) in events {
            if !listeners.is_empty() {
                waiting.urgent |= !matches!(event, Event::Have { .. });
                waiting.events.push_back((number, listeners, event));
                waiting.wanted = true;
            }
        }
        number
    }

    /// Begins to synchronise if somebody waits for it.
    pub(crate) fn wake(&self) {
        let waiting = self.waiting.lock();
        if waiting.urgent || waiting.wanted && !waiting.resting {
            drop(waiting);
            self.wake.notify_one();
        }
    }

    /// All that is written so far.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        Ticket { syncer: self.clone(), number: self.waiting.lock().written }
    }

    pub(crate) fn fail(&self, error: Error) {
        self.progress.send_modify(|progress| {
            progress.failed.get_or_insert(error);
        });
    }

    /// Synchronises `backend` whenever somebody waits, until [`close`](Self::close).
    pub(crate) fn run(&self, backend: &dyn Backend) {
        let mut rested = Instant::now();
        loop {
            let mut waiting = self.waiting.lock();
            while !waiting.wanted && !waiting.closing {
                self.wake.wait(&mut waiting);
            }
            waiting.resting = true;
            while !waiting.urgent && !waiting.closing && !self.wake.wait_until(&mut waiting, rested).timed_out() {}
            waiting.resting = false;
            let closing = waiting.closing;
            drop(waiting);
            let began = Instant::now();
            if self.synchronise(backend).is_err() || closing {
                return;
            }
            rested = Instant::now() + began.elapsed().min(MAX_REST);
        }
    }

    /// Brings all that is written so far to the disk, and tells those who wait.
    pub(crate) fn synchronise(&self, backend: &dyn Backend) -> Result<(), Error> {
        if let Some(error) = self.failed() {
            return Err(error);
        }
        let number = {
            let mut waiting = self.waiting.lock();
            (waiting.wanted, waiting.urgent) = (false, false);
            waiting.written
        };
        backend.sync().inspect_err(|error| {
            tracing::error!(%error, "the store cannot be written to the disk");
            self.fail(error.clone());
        })?;
        self.progress.send_modify(|progress| progress.synced = progress.synced.max(number));
        let mut due = Vec::new();
        let mut waiting = self.waiting.lock();
        while waiting.events.front().is_some_and(|(event, ..)| *event <= number) {
            due.extend(waiting.events.pop_front());
        }
        drop(waiting);
        for (number, listeners, event) in due {
            listeners.emit_written(number, event);
        }
        Ok(())
    }

    pub(crate) fn close(&self) {
        self.waiting.lock().closing = true;
        self.wake.notify_one();
    }
}

/// A write, and all before it.
#[derive(Clone)]
pub(crate) struct Ticket {
    syncer: Arc<Syncer>,
    number: u64,
}

impl Ticket {
    pub(crate) fn new(syncer: &Arc<Syncer>, number: u64) -> Self {
        Self { syncer: syncer.clone(), number }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.syncer.progress.borrow().synced >= self.number
    }

    /// Waits until it is on the disk.
    pub(crate) async fn durable(&self) -> Result<(), Error> {
        if self.is_durable() {
            return Ok(());
        }
        let mut progress = self.syncer.progress.subscribe();
        if progress.borrow().synced < self.number {
            let mut waiting = self.syncer.waiting.lock();
            (waiting.wanted, waiting.urgent) = (true, true);
            drop(waiting);
            self.syncer.wake.notify_one();
        }
        let done = |progress: &Progress| progress.synced >= self.number || progress.failed.is_some();
        let progress = progress.wait_for(done).await.map_err(|_| Error::Closed)?;
        match &progress.failed {
            Some(error) if progress.synced < self.number => Err(error.clone()),
            _ => Ok(()),
        }
    }
}
