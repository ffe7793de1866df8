use crate::bee::Hyperbee;
use crate::range::Range;
use crate::{Error, Log};

/// Waits for changes in a range of a tree.
#[derive(Debug)]
pub struct Watcher<L: Log> {
    bee: Hyperbee<L>,
    range: Range,
    current: Hyperbee<L>,
    seen: (u64, u64),
}

impl<L: Log> Watcher<L> {
    pub(crate) fn new(bee: Hyperbee<L>, range: Range) -> Self {
        let current = bee.snapshot();
        let seen = (bee.log().length(), bee.log().epoch());
        Self { bee, range: Range { limit: Some(1), ..range }, current, seen }
    }

    /// Waits until something in the range is another than it was the last time. The tree as it is now, and as it was then.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn next(&mut self) -> Result<(Hyperbee<L>, Hyperbee<L>), Error> {
        loop {
            self.bee.log().changed(self.seen.0, self.seen.1).await;
            let now = (self.bee.log().length(), self.bee.log().epoch());
            let current = self.bee.snapshot();
            // Numbers of blocks mean nothing across a cut.
            let cut = now.1 != self.seen.1;
            if cut || current.diff_with(&self.current, self.range.clone()).await?.next().await?.is_some() {
                self.seen = now;
                let previous = std::mem::replace(&mut self.current, current.clone());
                return Ok((current, previous));
            }
            (self.seen, self.current) = (now, current);
        }
    }
}
