//! When the file is written: beside the messages, one write at a time, and for many changes at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::warn;

use super::Inner;
use super::error::InterSplitError;

/// A write that nobody waits for comes this many times the duration of the one before after it, at the earliest: a peer that
/// floods a large ledger does not keep the disk busy.
const REST: u32 = 9;

/// A write that failed is tried again after this time, where nobody asks for one.
const RETRY: Duration = Duration::from_secs(5);

/// Counts changes, and knows how many of them are on the disk.
#[derive(Debug)]
pub(super) struct Saver {
    changes: watch::Sender<u64>,
    done: watch::Receiver<Done>,
    /// Somebody waits.
    urgent: Arc<Notify>,
}

/// The task that writes.
#[derive(Debug)]
pub(super) struct Writer {
    changes: watch::Receiver<u64>,
    done: watch::Sender<Done>,
    urgent: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Done {
    /// The changes that the last write, good or bad, was of.
    tried: u64,
    /// Why it failed.
    error: Option<String>,
}

impl Saver {
    /// A saver and its writer, which ends when the saver is dropped.
    pub(super) fn new() -> (Saver, Writer) {
        let (changes, changed) = watch::channel(0);
        let (done, written) = watch::channel(Done::default());
        let urgent = Arc::new(Notify::new());
        let saver = Saver { changes, done: written, urgent: urgent.clone() };
        (saver, Writer { changes: changed, done, urgent })
    }

    /// There is something to write.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Waits until all that was changed so far is on the disk.
    ///
    /// # Errors
    /// [`InterSplitError::Save`] when it could not be written.
    pub(super) async fn saved(&self) -> Result<(), InterSplitError> {
        let change = *self.changes.borrow();
        self.urgent.notify_one();
        match self.done.clone().wait_for(|done| done.tried >= change).await {
            Ok(done) => done.error.clone().map_or(Ok(()), |error| Err(InterSplitError::Save(error))),
            Err(_) => Err(InterSplitError::Save("the peer stops".into())),
        }
    }
}

impl Writer {
    pub(super) async fn run(mut self, ledger: Weak<Inner>) {
        let (mut next, mut retry) = (Instant::now(), false);
        loop {
            if !retry && self.changes.wait_for(|changes| *changes > self.done.borrow().tried).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.urgent.notified() => {}
            }
            let change = *self.changes.borrow_and_update();
            let Some(ledger) = ledger.upgrade() else { return };
            let begun = Instant::now();
            let error = match tokio::task::spawn_blocking(move || ledger.write_file()).await {
                Ok(written) => written.err().map(|error| error.to_string()),
                Err(_) => Some("the writer failed".into()),
            };
            retry = error.is_some();
            next = Instant::now() + if retry { RETRY } else { begun.elapsed() * REST };
            if let Some(error) = &error {
                warn!("cannot save the expenses: {error}");
            }
            self.done.send_replace(Done { tried: change, error });
        }
    }
}
