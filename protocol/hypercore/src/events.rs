use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::store::Inner;

/// How many events wait for a subscriber. When there are more, they become one [`Event::Changed`], after what they say of the length.
pub const MAX_EVENTS: usize = 1024;

/// What happened to a core. Events of a signed core come when it is on disk, those of sessions in an atom at once: nobody but they
/// see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is longer now.
    Append {
        /// Its length at that moment.
        length: u64,
    },
    /// It was cut, and has another fork number.
    Truncate {
        /// How many blocks are as they were.
        length: u64,
        /// The new fork number.
        fork: u64,
    },
    /// Blocks are here now.
    Have {
        /// The first.
        start: u64,
        /// How many.
        length: u64,
    },
    /// Blocks are here no more.
    Drop {
        /// The first.
        start: u64,
        /// How many.
        length: u64,
    },
    /// Who may sign it is known now.
    Manifest,
    /// Two signatures contradict one another; nothing more is accepted.
    Frozen,
    /// So much happened that the subscriber has to look for itself.
    Changed,
}

#[derive(Default)]
struct Queue {
    /// What was written up to this number is not told.
    since: u64,
    /// Whether it stays with the history when sessions move to another.
    stays: bool,
    events: Mutex<VecDeque<Event>>,
    notify: Notify,
}

impl Queue {
    fn push(&self, event: Event) {
        let mut events = self.events.lock();
        let full = events.len() >= MAX_EVENTS;
        match (events.back_mut(), &event) {
            (Some(Event::Append { length }), Event::Append { length: new }) => *length = *new,
            (Some(Event::Have { start, length }), Event::Have { start: next, length: more })
                if *start + *length == *next =>
            {
                *length += more;
            }
            (Some(Event::Changed), _) => merge(&mut events, event),
            _ if full => merge(&mut events, event),
            _ => events.push_back(event),
        }
        drop(events);
        self.notify.notify_one();
    }
}

/// Leaves of the events what they say of the length, those that happen once, and [`Event::Changed`]. The core may be longer already
/// than what is on disk.
fn merge(events: &mut VecDeque<Event>, event: Event) {
    let (mut cut, mut longer) = (None, None);
    let (mut manifest, mut frozen) = (None, None);
    for event in events.drain(..).chain([event]) {
        match event {
            Event::Truncate { length, fork } => {
                let intact = cut.map_or(length, |(intact, _): (u64, u64)| intact.min(length));
                cut = Some((intact, fork));
                longer = (length > intact).then_some(length);
            }
            Event::Append { length } => longer = Some(length),
            Event::Manifest => manifest = Some(event),
            Event::Frozen => frozen = Some(event),
            _ => {}
        }
    }
    events.extend(cut.map(|(length, fork)| Event::Truncate { length, fork }));
    events.extend(longer.map(|length| Event::Append { length }));
    events.extend(manifest.into_iter().chain(frozen));
    events.push_back(Event::Changed);
}

/// Those who want to know.
#[derive(Default)]
pub(crate) struct Listeners {
    queues: Mutex<Vec<Weak<Queue>>>,
}

impl Listeners {
    /// With `stays`, for a session that does not move.
    pub(crate) fn subscribe(&self, stays: bool, store: Arc<Inner>) -> Events {
        self.add(Queue { stays, ..Queue::default() }, store)
    }

    /// As [`subscribe`](Self::subscribe), without what comes of the writes up to the number `since`.
    pub(crate) fn subscribe_since(&self, since: u64, store: Arc<Inner>) -> Events {
        self.add(Queue { since, ..Queue::default() }, store)
    }

    fn add(&self, queue: Queue, store: Arc<Inner>) -> Events {
        let queue = Arc::new(queue);
        let mut queues = self.queues.lock();
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        Events { queue, store }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queues.lock().is_empty()
    }

    pub(crate) fn emit(&self, event: Event) {
        self.emit_written(u64::MAX, event);
    }

    /// As [`emit`](Self::emit), what comes of a write with a number.
    pub(crate) fn emit_written(&self, number: u64, event: Event) {
        let queues: Vec<_> = self.queues.lock().iter().filter_map(Weak::upgrade).collect();
        for queue in queues.into_iter().filter(|queue| number > queue.since) {
            queue.push(event.clone());
        }
    }

    /// Takes over those sessions that move here from `other`, and tells them `event`.
    pub(crate) fn adopt(&self, other: &Self, event: &Event) {
        let moved: Vec<_> =
            other.queues.lock().extract_if(.., |queue| queue.upgrade().is_some_and(|q| !q.stays)).collect();
        for queue in moved.iter().filter_map(Weak::upgrade) {
            queue.push(event.clone());
        }
        self.queues.lock().extend(moved);
    }
}

/// The events of a core, from the moment of [`Hypercore::subscribe`](crate::Hypercore::subscribe) on.
///
/// Neighbouring events are merged, and a subscriber that does not keep up finds [`Event::Changed`]: what waits is bounded.
pub struct Events {
    queue: Arc<Queue>,
    store: Arc<Inner>,
}

impl Events {
    /// The next event. Cancel safe.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            self.queue.notify.notified().await;
        }
    }

    /// The next event, if there is one.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.queue.events.lock().pop_front()?;
        // Whoever made the change may be about to show it: who is told of a length must find it.
        drop(self.store.writer.lock());
        Some(event)
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("waiting", &self.queue.events.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_told_by_its_length() {
        let queue = Queue::default();
        for length in 1..=MAX_EVENTS as u64 {
            queue.push(Event::Append { length });
            queue.push(Event::Drop { start: length - 1, length: 1 });
        }
        let take = || std::mem::take(&mut *queue.events.lock());
        assert_eq!(take(), [Event::Append { length: MAX_EVENTS as u64 }, Event::Changed]);
        queue.push(Event::Changed);
        queue.push(Event::Truncate { length: 5, fork: 1 });
        queue.push(Event::Append { length: 9 });
        queue.push(Event::Truncate { length: 8, fork: 2 });
        let cut = Event::Truncate { length: 5, fork: 2 };
        assert_eq!(take(), [cut, Event::Append { length: 8 }, Event::Changed]);
        // What happens once is not lost.
        queue.push(Event::Manifest);
        queue.push(Event::Changed);
        queue.push(Event::Frozen);
        queue.push(Event::Drop { start: 1, length: 1 });
        assert_eq!(take(), [Event::Manifest, Event::Frozen, Event::Changed]);
    }
}
