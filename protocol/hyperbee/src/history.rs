use crate::bee::Hyperbee;
use crate::{Entry, Error, Log};

/// Which changes, in which order. Negative numbers count from the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Changes after this block.
    pub gt: Option<i64>,
    /// Changes from this block on.
    pub gte: Option<i64>,
    /// Changes before this block.
    pub lt: Option<i64>,
    /// Changes up to this block.
    pub lte: Option<i64>,
    /// From the last to the first.
    pub reverse: bool,
    /// So many at most.
    pub limit: Option<u64>,
    /// Go on with changes that are yet to come. Not with `reverse`.
    pub live: bool,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Whether the key was taken away, not set.
    pub is_deletion: bool,
    /// What was set.
    pub entry: Entry,
}

/// Changes one after the other.
#[derive(Debug)]
pub struct History<L: Log> {
    bee: Hyperbee<L>,
    start: u64,
    end: u64,
    reverse: bool,
    left: Option<u64>,
    live: bool,
}

impl<L: Log> History<L> {
    pub(crate) fn new(bee: Hyperbee<L>, options: &HistoryOptions) -> Self {
        let version = bee.version();
        let absolute = |at: i64| if at < 0 { version.saturating_sub(at.unsigned_abs()) } else { at.unsigned_abs() };
        let start = match (options.gt.filter(|&at| at != 0), options.gte.filter(|&at| at != 0)) {
            (Some(at), _) => absolute(at).saturating_add(1),
            (None, Some(at)) => absolute(at),
            (None, None) => 1,
        };
        let end = match (options.lte, options.lt) {
            (Some(0), _) | (_, Some(0)) => 0,
            (Some(at), _) => absolute(at).saturating_add(1),
            (None, Some(at)) => absolute(at),
            (None, None) => version,
        };
        let live = options.live && !options.reverse;
        let end = if live { u64::MAX } else { end.min(version) };
        Self { bee, start: start.max(1), end, reverse: options.reverse, left: options.limit, live }
    }

    /// The next change; with [`live`](HistoryOptions::live) it waits for one. Given up while it waits, it has skipped none.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn next(&mut self) -> Result<Option<HistoryEntry>, Error> {
        while self.left != Some(0) && self.start < self.end {
            let seq = if self.reverse { self.end - 1 } else { self.start };
            while self.live && self.bee.log().length() <= seq {
                self.bee.log().changed(self.bee.log().length(), self.bee.log().epoch()).await;
            }
            let block = self.bee.reader().block(seq).await?;
            let is_deletion = block.is_deletion()?;
            if block.value.is_none() {
                self.bee.cache().decoded(&block);
            }
            if self.reverse {
                self.end -= 1;
            } else {
                self.start += 1;
            }
            if !self.bee.keys().contains(&block.key) {
                continue;
            }
            self.left = self.left.map(|left| left - 1);
            let entry = Entry { seq, key: block.key.clone(), value: block.value.clone() };
            return Ok(Some(HistoryEntry { is_deletion, entry: self.bee.keys().strip(entry) }));
        }
        Ok(None)
    }

    /// All that are left.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn collect(mut self) -> Result<Vec<HistoryEntry>, Error> {
        let mut entries = Vec::new();
        while let Some(entry) = self.next().await? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
