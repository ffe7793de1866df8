use bytes::Bytes;

use crate::bee::Keys;
use crate::reader::{KeyCount, MAX_DEPTH, Reader, View};
use crate::{Entry, Error, Log};

/// Which keys, in which order. A bound with `gt` counts before one with `gte`, one with `lt` before one with `lte`.
///
/// ```
/// let range = hyperbee::Range::default().gte("a").lt("b").limit(10);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    pub(crate) gt: Option<Bytes>,
    pub(crate) gte: Option<Bytes>,
    pub(crate) lt: Option<Bytes>,
    pub(crate) lte: Option<Bytes>,
    pub(crate) reverse: bool,
    pub(crate) limit: Option<u64>,
}

impl Range {
    /// Keys after this one.
    pub fn gt(mut self, key: impl AsRef<[u8]>) -> Self {
        self.gt = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }

    /// Keys from this one on.
    pub fn gte(mut self, key: impl AsRef<[u8]>) -> Self {
        self.gte = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }

    /// Keys before this one.
    pub fn lt(mut self, key: impl AsRef<[u8]>) -> Self {
        self.lt = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }

    /// Keys up to this one.
    pub fn lte(mut self, key: impl AsRef<[u8]>) -> Self {
        self.lte = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }

    /// From the last key to the first.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// So many keys at most.
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// A bound: the key, and whether it belongs to the range.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) key: Bytes,
    pub(crate) inclusive: bool,
}

/// Walks through a range, holding the nodes on the way to where it is.
#[derive(Debug)]
pub(crate) struct RangeIterator {
    lower: Option<Bound>,
    upper: Option<Bound>,
    reverse: bool,
    left: Option<u64>,
    keys: Keys,
    /// Nodes, and the place in each: child 0, key 0, child 1, key 1, …; in reverse, one more than the place that comes next.
    stack: Vec<(View, usize)>,
    count: KeyCount,
    opened: bool,
}

impl RangeIterator {
    pub(crate) fn new(range: Range, keys: Keys) -> Self {
        let (lower, upper) = keys.bounds(&range);
        Self {
            lower,
            upper,
            reverse: range.reverse,
            left: range.limit,
            keys,
            stack: Vec::new(),
            count: KeyCount::default(),
            opened: false,
        }
    }

    async fn open<L: Log>(&mut self, reader: &Reader<'_, L>) -> Result<(), Error> {
        let Some(mut view) = reader.root().await? else { return Ok(()) };
        let start = if self.reverse { self.upper.clone() } else { self.lower.clone() };
        loop {
            if self.stack.len() >= MAX_DEPTH {
                return Err(Error::InvalidBlock { seq: reader.version - 1, reason: "the tree has no end" });
            }
            let places = 2 * reader.keys(&view) + 1;
            let Some(start) = &start else {
                self.stack.push((view, if self.reverse { places } else { 0 }));
                return Ok(());
            };
            match reader.find(&view, &start.key).await? {
                Ok(at) => {
                    let key = 2 * at + 1;
                    // In reverse, the place is one more than what comes next.
                    let at = key + usize::from(self.reverse == start.inclusive);
                    self.stack.push((view, at));
                    return Ok(());
                }
                Err(at) => {
                    let next = (reader.children(&view) > 0).then(|| reader.child_ref(&view, at));
                    // After the child in which the bound is; in reverse, before it.
                    self.stack.push((view, if self.reverse { 2 * at } else { 2 * at + 1 }));
                    match next {
                        Some(next) => view = reader.child(next).await?,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    pub(crate) async fn step<L: Log>(&mut self, reader: &Reader<'_, L>) -> Result<Option<Entry>, Error> {
        if !self.opened {
            self.stack.clear();
            self.open(reader).await?;
            self.opened = true;
        }
        while self.left != Some(0) {
            let depth = self.stack.len();
            let Some((view, at)) = self.stack.last_mut() else { break };
            let places = 2 * reader.keys(view) + 1;
            let place = if self.reverse { at.checked_sub(1) } else { Some(*at).filter(|&at| at < places) };
            let Some(place) = place else {
                self.stack.pop();
                continue;
            };
            let next = if self.reverse { place } else { place + 1 };
            if place % 2 == 0 {
                if reader.children(view) == 0 {
                    *at = next;
                    continue;
                }
                let child = reader.child(reader.child_ref(view, place / 2)).await?;
                if depth >= MAX_DEPTH {
                    return Err(Error::InvalidBlock { seq: reader.version - 1, reason: "the tree has no end" });
                }
                *at = next;
                let start = if self.reverse { 2 * reader.keys(&child) + 1 } else { 0 };
                self.stack.push((child, start));
                continue;
            }
            let entry = reader.entry(reader.key_seq(view, place / 2)).await?;
            self.count.pass(reader)?;
            *at = next;
            let end = if self.reverse { &self.lower } else { &self.upper };
            if let Some(end) = end {
                let order = entry.key.cmp(&end.key);
                let beyond = if self.reverse { order.is_lt() } else { order.is_gt() };
                if beyond || order.is_eq() && !end.inclusive {
                    self.left = Some(0);
                    break;
                }
            }
            self.left = self.left.map(|left| left - 1);
            return Ok(Some(self.keys.strip(entry)));
        }
        self.stack.clear();
        Ok(None)
    }
}
