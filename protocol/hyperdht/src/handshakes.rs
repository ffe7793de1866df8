//! The handshakes of one server: each is answered once, and the same again for as long as it may be repeated.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::holepunch::Responder;

/// How long the answer to a handshake is kept when nothing more happens to it. A client repeats a handshake, and sends it
/// through several nodes; all of these get the same answer, for there is only one stream.
pub(crate) const CLEAR_WAIT: Duration = Duration::from_secs(10);

/// Handshakes that a server keeps. A further one makes it forget the oldest: if it were refused instead, whoever sends this many
/// within [`CLEAR_WAIT`] would keep everybody else out.
pub const MAX_HANDSHAKES: usize = 16_384;

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is not answered: it is damaged, or its sender is not wanted.
    Ignored,
    /// This Noise message.
    Reply(Arc<[u8]>),
}

/// One handshake.
pub(crate) struct Slot {
    /// Its place in the list, which hole punching messages name.
    pub(crate) id: usize,
    /// How many handshakes came before it.
    age: u64,
    pub(crate) outcome: watch::Sender<Option<Outcome>>,
    /// Answers hole punching messages.
    pub(crate) responder: OnceLock<Responder>,
}

/// All handshakes of a server.
#[derive(Default)]
pub(crate) struct Handshakes {
    /// By the hash of their bytes.
    by_noise: HashMap<[u8; 32], Arc<Slot>>,
    slots: Vec<Option<([u8; 32], Arc<Slot>)>>,
    free: BTreeSet<usize>,
    /// The places of those that are remembered, in the order in which they came.
    by_age: BTreeMap<u64, usize>,
    came: u64,
    /// When which of them are forgotten, named by their age: others may be at their places by then.
    expiring: VecDeque<(Instant, u64)>,
}

/// What is known of a handshake.
pub(crate) enum Known {
    /// It is the first time: the caller has to answer it.
    New(Arc<Slot>),
    /// It was answered, or is being answered.
    Repeated(Arc<Slot>),
}

impl Handshakes {
    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.by_noise.len()
    }

    /// The slot of the handshake with these bytes.
    pub(crate) fn slot(&mut self, noise: &[u8], now: Instant) -> Known {
        self.expire(now);
        let key = crypto::hash(&[noise]);
        if let Some(slot) = self.by_noise.get(&key) {
            return Known::Repeated(slot.clone());
        }
        if self.by_noise.len() >= MAX_HANDSHAKES
            && let Some((&oldest, _)) = self.by_age.first_key_value()
        {
            self.forget_age(oldest);
        }
        let id = self.free.pop_first().unwrap_or(self.slots.len());
        let age = self.came;
        self.came += 1;
        let slot = Arc::new(Slot { id, age, outcome: watch::Sender::new(None), responder: OnceLock::new() });
        let entry = Some((key, slot.clone()));
        match self.slots.get_mut(id) {
            Some(free) => *free = entry,
            None => self.slots.push(entry),
        }
        self.by_noise.insert(key, slot.clone());
        self.by_age.insert(age, id);
        Known::New(slot)
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Slot>> {
        let (_, slot) = self.slots.get(usize::try_from(id).ok()?)?.as_ref()?;
        Some(slot.clone())
    }

    /// Nothing more happens to a handshake: it is forgotten after [`CLEAR_WAIT`].
    pub(crate) fn clear_later(&mut self, slot: &Slot, now: Instant) {
        self.expiring.push_back((now + CLEAR_WAIT, slot.age));
    }

    /// Forgets a handshake at once.
    pub(crate) fn forget(&mut self, slot: &Slot) {
        self.forget_age(slot.age);
    }

    /// Forgets all that nothing more happens to.
    pub(crate) fn clear(&mut self) {
        while let Some((_, age)) = self.expiring.pop_front() {
            self.forget_age(age);
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, age)) = self.expiring.front().copied().filter(|(at, _)| *at <= now) {
            self.expiring.pop_front();
            self.forget_age(age);
        }
    }

    fn forget_age(&mut self, age: u64) {
        let Some(id) = self.by_age.remove(&age) else { return };
        if let Some((key, _)) = self.slots.get_mut(id).and_then(Option::take) {
            self.by_noise.remove(&key);
            self.free.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_slot(handshakes: &mut Handshakes, noise: &[u8], now: Instant) -> Option<Arc<Slot>> {
        match handshakes.slot(noise, now) {
            Known::New(slot) => Some(slot),
            Known::Repeated(_) => None,
        }
    }

    #[test]
    fn the_same_bytes_are_the_same_handshake_for_a_while() {
        let start = Instant::now();
        let mut handshakes = Handshakes::default();
        let slot = new_slot(&mut handshakes, b"one", start).expect("new");
        assert!(new_slot(&mut handshakes, b"one", start + Duration::from_secs(60)).is_none(), "still being answered");
        handshakes.clear_later(&slot, start);
        assert!(new_slot(&mut handshakes, b"one", start + CLEAR_WAIT - Duration::from_millis(1)).is_none());
        assert!(new_slot(&mut handshakes, b"one", start + CLEAR_WAIT).is_some());
    }

    #[test]
    fn places_are_used_again_from_the_front() {
        let now = Instant::now();
        let mut handshakes = Handshakes::default();
        let slots: Vec<_> = (0..3u8).map(|i| new_slot(&mut handshakes, &[i], now).expect("new")).collect();
        assert_eq!(slots.iter().map(|slot| slot.id).collect::<Vec<_>>(), [0, 1, 2]);
        handshakes.clear_later(&slots[1], now);
        let later = now + CLEAR_WAIT;
        assert_eq!(new_slot(&mut handshakes, b"next", later).map(|slot| slot.id), Some(1));
        assert!(handshakes.get(1).is_some() && handshakes.get(3).is_none() && handshakes.get(u64::MAX).is_none());
    }

    #[test]
    fn damaged_ones_take_no_place() {
        let now = Instant::now();
        let mut handshakes = Handshakes::default();
        for i in 0..MAX_HANDSHAKES as u64 * 2 {
            let slot = new_slot(&mut handshakes, &i.to_le_bytes(), now).expect("room");
            handshakes.forget(&slot);
        }
        assert!(handshakes.by_noise.is_empty() && handshakes.slots.len() == 1);
    }

    #[test]
    fn of_a_flood_the_newest_are_remembered() {
        let now = Instant::now();
        let mut handshakes = Handshakes::default();
        let name = |i: u64| i.to_le_bytes();
        let flood = MAX_HANDSHAKES as u64;
        for i in 0..flood * 2 {
            let slot = new_slot(&mut handshakes, &name(i), now).expect("new");
            handshakes.clear_later(&slot, now);
        }
        assert_eq!((handshakes.by_noise.len(), handshakes.slots.len()), (MAX_HANDSHAKES, MAX_HANDSHAKES));
        assert_eq!(handshakes.by_age.len(), MAX_HANDSHAKES);
        assert!(new_slot(&mut handshakes, &name(flood), now).is_none(), "remembered");
        assert!(new_slot(&mut handshakes, &name(flood - 1), now).is_some(), "forgotten");
    }

    #[test]
    fn what_was_due_before_a_place_was_used_again_leaves_it_alone() {
        let start = Instant::now();
        let mut handshakes = Handshakes::default();
        let first = new_slot(&mut handshakes, b"first", start).expect("new");
        handshakes.clear_later(&first, start);
        handshakes.forget(&first);
        let second = new_slot(&mut handshakes, b"second", start).expect("new");
        assert_eq!(second.id, first.id);
        assert!(new_slot(&mut handshakes, b"second", start + CLEAR_WAIT).is_none(), "remembered");
    }
}
