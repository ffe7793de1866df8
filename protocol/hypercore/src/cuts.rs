//! Whether a history was cut while somebody read it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the cuts of a core and its drafts. Readers do not hold up writers: they look whether one cut in between, and read again.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Cuts {
    /// Before anything of a cut can be seen, while the writer is locked.
    pub(crate) fn begin(&self) -> Cutting<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Cutting(self)
    }

    /// What must be the same before and after something was read; `None` in the middle of a cut.
    pub(crate) fn seen(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }
}

/// A cut, until all of it can be seen.
pub(crate) struct Cutting<'a>(&'a Cuts);

impl Drop for Cutting<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}
