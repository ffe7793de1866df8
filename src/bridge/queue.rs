//! What a client still has to be sent.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A client for which more than this waits to be sent is dropped: it does not read. One frame may be longer, when nothing
/// else waits.
pub(crate) const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// What a frame costs beside its text; keeps endless tiny frames from costing more than they weigh.
const FRAME_OVERHEAD: usize = 64;

/// Frames in order, bounded in bytes. Writers never wait; who does not read loses the connection.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    /// A frame was added.
    added: Notify,
    /// The queue was ended.
    over: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    end: Option<End>,
}

/// Why nothing more is sent to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It did not read fast enough.
    Slow,
    /// It did not authenticate in time, or made room for another that may.
    Unauthenticated,
    /// It showed too many wrong tokens.
    Guessing,
    /// It sent a longer message than may be.
    TooLong,
    /// What it sent is no WebSocket.
    Garbage,
    /// The bridge closes.
    Shutdown,
    /// The connection is gone.
    Gone,
}

impl Queue {
    /// Adds a frame, or ends the queue with [`End::Slow`] if too much waits already.
    pub(crate) fn push(&self, frame: Utf8Bytes) {
        let mut inner = self.inner.lock();
        if inner.end.is_some() {
            return;
        }
        let cost = frame.len() + FRAME_OVERHEAD;
        if inner.bytes > 0 && inner.bytes + cost > MAX_QUEUED_BYTES {
            drop(inner);
            return self.end(End::Slow);
        }
        inner.bytes += cost;
        inner.frames.push_back(frame);
        drop(inner);
        self.added.notify_one();
    }

    /// Ends the queue. The first reason stays; what waited is forgotten, unless the connection closes in order.
    pub(crate) fn end(&self, end: End) {
        let mut inner = self.inner.lock();
        match inner.end {
            Some(_) => {}
            None if matches!(end, End::Shutdown | End::TooLong | End::Garbage) => inner.end = Some(end),
            None => *inner = Inner { end: Some(end), ..Inner::default() },
        }
        drop(inner);
        self.over.notify_one();
    }

    /// The next frame. Never, once the queue has ended. Only one task may wait.
    pub(crate) async fn next(&self) -> Utf8Bytes {
        loop {
            if let Some(frame) = self.try_next() {
                return frame;
            }
            self.added.notified().await;
        }
    }

    /// The next frame, if one waits.
    pub(crate) fn try_next(&self) -> Option<Utf8Bytes> {
        let mut inner = self.inner.lock();
        let frame = inner.frames.pop_front()?;
        inner.bytes -= frame.len() + FRAME_OVERHEAD;
        Some(frame)
    }

    /// Whether nothing more is taken.
    pub(crate) fn has_ended(&self) -> bool {
        self.inner.lock().end.is_some()
    }

    /// Why the queue has ended, as soon as it has. Only one task may wait.
    pub(crate) async fn ended(&self) -> End {
        loop {
            let end = self.inner.lock().end;
            if let Some(end) = end {
                return end;
            }
            self.over.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_in_order() {
        let queue = Queue::default();
        queue.push("a".into());
        queue.push("b".into());
        assert_eq!(queue.next().await, "a");
        assert_eq!(queue.next().await, "b");
        assert_eq!(queue.try_next(), None);
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_cut_off_and_its_frames_freed() {
        let queue = Queue::default();
        let frame: Utf8Bytes = "x".repeat(MAX_QUEUED_BYTES / 4).into();
        for _ in 0..3 {
            queue.push(frame.clone());
        }
        assert_eq!(queue.try_next().as_ref(), Some(&frame));
        queue.push(frame.clone());
        queue.push(frame);
        assert_eq!(queue.ended().await, End::Slow);
        assert!(queue.inner.lock().frames.is_empty());
        queue.push("late".into());
        assert_eq!(queue.try_next(), None);
    }

    #[tokio::test]
    async fn one_long_frame_is_sent_when_nothing_waits() {
        let queue = Queue::default();
        queue.push("x".repeat(2 * MAX_QUEUED_BYTES).into());
        assert_eq!(queue.next().await.len(), 2 * MAX_QUEUED_BYTES);
        assert_eq!(queue.inner.lock().bytes, 0);
    }

    #[tokio::test]
    async fn endless_empty_frames_are_bounded_too() {
        let queue = Queue::default();
        for _ in 0..=MAX_QUEUED_BYTES / FRAME_OVERHEAD {
            queue.push(Utf8Bytes::default());
        }
        assert_eq!(queue.ended().await, End::Slow);
    }

    #[tokio::test]
    async fn what_waited_is_forgotten_unless_the_connection_closes_in_order() {
        for (end, kept) in [(End::Shutdown, Some("a".into())), (End::Garbage, Some("a".into())), (End::Slow, None)] {
            let queue = Queue::default();
            queue.push("a".into());
            queue.end(end);
            queue.push("b".into());
            assert_eq!((queue.try_next(), queue.try_next()), (kept, None), "{end:?}");
        }
    }

    #[tokio::test]
    async fn the_first_reason_stays() {
        let queue = Queue::default();
        queue.end(End::Guessing);
        queue.end(End::Shutdown);
        assert_eq!(queue.ended().await, End::Guessing);
    }
}
