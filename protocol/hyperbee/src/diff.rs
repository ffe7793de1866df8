//! What differs between two versions: two walks side by side that skip what both share.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::bee::Hyperbee;
use crate::range::{Bound, Range};
use crate::reader::{ChildRef, KeyCount, MAX_DEPTH, Reader, View};
use crate::{Entry, Error, Log};

/// A key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffEntry {
    /// What it is in this tree.
    pub left: Option<Entry>,
    /// What it is in the other.
    pub right: Option<Entry>,
}

/// The place in a node that comes next: child 0, key 0, child 1, key 1, ….
#[derive(Debug, Clone)]
struct Place {
    view: View,
    at: usize,
    /// How many nodes are above it. Those that are done are not on the stack any more.
    depth: usize,
    /// The key after everything in this node; `None` at the end of the tree.
    end: Option<u64>,
}

impl Place {
    fn is_key(&self) -> bool {
        self.at % 2 == 1
    }

    fn is_leaf<L: Log>(&self, reader: &Reader<'_, L>) -> bool {
        reader.children(&self.view) == 0
    }

    fn exists<L: Log>(&self, reader: &Reader<'_, L>) -> bool {
        self.at < 2 * reader.keys(&self.view) + usize::from(!self.is_leaf(reader))
    }

    fn advance<L: Log>(&mut self, reader: &Reader<'_, L>) -> bool {
        self.at += if self.is_leaf(reader) { 2 } else { 1 };
        self.exists(reader)
    }

    /// The block of the key that is next, or that comes after the child that is next.
    fn key_seq<L: Log>(&self, reader: &Reader<'_, L>) -> Option<u64> {
        if self.at / 2 < reader.keys(&self.view) { Some(reader.key_seq(&self.view, self.at / 2)) } else { self.end }
    }

    /// What is next.
    fn target<L: Log>(&self, reader: &Reader<'_, L>) -> (bool, u64, u64) {
        match self.is_key() {
            true => (true, reader.key_seq(&self.view, self.at / 2), 0),
            false => match reader.child_ref(&self.view, self.at / 2) {
                ChildRef::Stored { seq, offset } => (false, seq, offset),
                ChildRef::Pending(_) => (false, 0, 0),
            },
        }
    }
}

#[derive(Debug)]
struct Side<L: Log> {
    bee: Hyperbee<L>,
    stack: Vec<Place>,
    lower: Option<Bound>,
    upper: Option<Bound>,
    /// The keys that were passed.
    keys: KeyCount,
}

impl<L: Log> Side<L> {
    async fn open(bee: Hyperbee<L>, range: &Range) -> Result<Self, Error> {
        let (lower, upper) = bee.keys().bounds(range);
        let mut side = Self { bee, stack: Vec::new(), lower, upper, keys: KeyCount::default() };
        let root = side.bee.reader().root().await?;
        if let Some(view) = root {
            side.push(view, 0, None).await?;
        }
        Ok(side)
    }

    /// Goes into a node, at its beginning or at the lower bound.
    async fn push(&mut self, view: View, depth: usize, end: Option<u64>) -> Result<(), Error> {
        if depth >= MAX_DEPTH {
            return Err(Error::InvalidBlock { seq: self.bee.version() - 1, reason: "the tree has no end" });
        }
        let reader = self.bee.reader();
        let leaf = reader.children(&view) == 0;
        let at = match &self.lower {
            Some(lower) => match reader.find(&view, &lower.key).await? {
                Ok(at) if lower.inclusive => 2 * at + 1,
                Ok(at) => 2 * at + if leaf { 3 } else { 2 },
                Err(at) => 2 * at + usize::from(leaf),
            },
            None => usize::from(leaf),
        };
        let place = Place { view, at, depth, end };
        if place.exists(&reader) {
            self.stack.push(place);
        }
        Ok(())
    }

    fn skip(&mut self) -> Result<(), Error> {
        let reader = self.bee.reader();
        if let Some(top) = self.stack.last_mut() {
            if top.is_key() {
                self.keys.pass(&reader)?;
            }
            if !top.advance(&reader) {
                self.stack.pop();
            }
        }
        Ok(())
    }

    /// Takes what is next: a key, or a child to go into.
    async fn step(&mut self) -> Result<Option<Entry>, Error> {
        let reader = self.bee.reader();
        let Some(top) = self.stack.last() else { return Ok(None) };
        if top.is_key() {
            let entry = reader.entry(reader.key_seq(&top.view, top.at / 2)).await?;
            self.skip()?;
            return Ok(Some(entry));
        }
        let child = reader.child(reader.child_ref(&top.view, top.at / 2)).await?;
        let (depth, end) = (top.depth + 1, top.key_seq(&reader));
        self.skip()?;
        self.push(child, depth, end).await?;
        Ok(None)
    }

    async fn next_key(&mut self) -> Result<Option<Entry>, Error> {
        while !self.stack.is_empty() {
            let Some(entry) = self.step().await? else { continue };
            let inside = self.upper.as_ref().is_none_or(|upper| match entry.key.cmp(&upper.key) {
                Ordering::Less => true,
                Ordering::Equal => upper.inclusive,
                Ordering::Greater => false,
            });
            if inside {
                return Ok(Some(self.bee.keys().strip(entry)));
            }
            self.stack.clear();
        }
        Ok(None)
    }

    async fn key(&self) -> Result<Option<Bytes>, Error> {
        let reader = self.bee.reader();
        match self.stack.last().and_then(|top| top.key_seq(&reader)) {
            Some(seq) => reader.key(seq).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Differences one after the other.
#[derive(Debug)]
pub struct Diff<L: Log> {
    left: Side<L>,
    right: Side<L>,
    limit: Option<u64>,
}

impl<L: Log> Diff<L> {
    pub(crate) async fn open(left: Hyperbee<L>, right: Hyperbee<L>, range: &Range) -> Result<Self, Error> {
        let (left, right) = (Side::open(left, range).await?, Side::open(right, range).await?);
        Ok(Self { left, right, limit: range.limit })
    }

    /// The next difference. It must not be given up while it waits.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn next(&mut self) -> Result<Option<DiffEntry>, Error> {
        if self.limit == Some(0) {
            return Ok(None);
        }
        let (left, right) = self.step().await?;
        if left.is_none() && right.is_none() {
            return Ok(None);
        }
        self.limit = self.limit.map(|limit| limit - 1);
        Ok(Some(DiffEntry { left, right }))
    }

    async fn step(&mut self) -> Result<(Option<Entry>, Option<Entry>), Error> {
        let (a, b) = (&mut self.left, &mut self.right);
        loop {
            let (target_a, target_b) = match (a.stack.last(), b.stack.last()) {
                (None, None) => return Ok((None, None)),
                (None, Some(_)) => return Ok((None, b.next_key().await?)),
                (Some(_), None) => return Ok((a.next_key().await?, None)),
                (Some(top_a), Some(top_b)) => (top_a.target(&a.bee.reader()), top_b.target(&b.bee.reader())),
            };
            if target_a == target_b {
                a.skip()?;
                b.skip()?;
                // Whoever signs a log can say that it is of any length, and share much between two versions of a tree in few blocks.
                tokio::task::consume_budget().await;
                continue;
            }
            match (target_a.0, target_b.0) {
                (true, false) => _ = b.step().await?,
                (false, true) => _ = a.step().await?,
                (is_key, _) => match (compare(&a.key().await?, &b.key().await?), is_key) {
                    (Ordering::Equal, true) => return Ok((a.next_key().await?, b.next_key().await?)),
                    (Ordering::Less, true) => return Ok((a.next_key().await?, None)),
                    (Ordering::Greater, true) => return Ok((None, b.next_key().await?)),
                    (Ordering::Equal, false) => {
                        a.step().await?;
                        b.step().await?;
                    }
                    (Ordering::Less, false) => _ = b.step().await?,
                    (Ordering::Greater, false) => _ = a.step().await?,
                },
            }
        }
    }

    /// All that are left.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn collect(mut self) -> Result<Vec<DiffEntry>, Error> {
        let mut entries = Vec::new();
        while let Some(entry) = self.next().await? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// The end of the tree comes after every key.
fn compare(a: &Option<Bytes>, b: &Option<Bytes>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(b),
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (None, None) => Ordering::Equal,
    }
}
