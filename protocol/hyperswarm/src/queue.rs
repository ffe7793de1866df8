//! The order in which peers are tried: highest priority first, at random within a priority.
//!
//! JavaScript's `shuffled-priority-queue`. The shuffle is what keeps a crowd that found the same peers in the same order from
//! all knocking at the same door first.

use rand::Rng;

/// How soon a peer is tried, compared with the others that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Tried so often in vain that it is about to be forgotten.
    VeryLow = 0,
    /// Three attempts are behind it.
    Low = 1,
    /// Not tried yet.
    Normal = 2,
    /// Two attempts are behind it.
    High = 3,
    /// It was connected a moment ago, and closed.
    VeryHigh = 4,
}

const CLASSES: usize = Priority::VeryHigh as usize + 1;

/// Items by [`Priority`]. An item must not be pushed twice.
#[derive(Debug)]
pub(crate) struct ShuffledQueue<T> {
    classes: [Vec<T>; CLASSES],
}

impl<T> Default for ShuffledQueue<T> {
    fn default() -> Self {
        Self { classes: Default::default() }
    }
}

impl<T> ShuffledQueue<T> {
    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        self.classes.iter().map(Vec::len).sum()
    }

    /// Adds an item.
    pub(crate) fn push(&mut self, item: T, priority: Priority) {
        self.classes[priority as usize].push(item);
    }

    /// Takes `item`, which was pushed with `priority`, out of its turn.
    pub(crate) fn remove(&mut self, item: &T, priority: Priority)
    where
        T: PartialEq,
    {
        self.classes[priority as usize].retain(|other| other != item);
    }

    /// Takes a random one of the items with the highest priority there is.
    pub(crate) fn pop(&mut self, rng: &mut impl Rng) -> Option<T> {
        self.classes.iter_mut().rev().find_map(|class| take_random(class, rng))
    }

    /// Takes a random one of the items with the lowest priority there is.
    pub(crate) fn evict(&mut self, rng: &mut impl Rng) -> Option<T> {
        self.classes.iter_mut().find_map(|class| take_random(class, rng))
    }
}

fn take_random<T>(class: &mut Vec<T>, rng: &mut impl Rng) -> Option<T> {
    (!class.is_empty()).then(|| class.swap_remove(rng.random_range(0..class.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use std::collections::HashSet;

    #[test]
    fn the_highest_priority_leaves_first_and_each_item_once() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut queue = ShuffledQueue::default();
        for (index, priority) in
            [Priority::Normal, Priority::VeryLow, Priority::VeryHigh, Priority::Low, Priority::High]
                .into_iter()
                .enumerate()
        {
            for item in 0..10 {
                queue.push((priority, index * 10 + item), priority);
            }
        }
        assert_eq!(queue.len(), 50);
        let mut left = Vec::new();
        while let Some(item) = queue.pop(&mut rng) {
            left.push(item);
        }
        assert!(left.is_sorted_by(|a, b| a.0 >= b.0));
        assert_eq!(left.iter().map(|item| item.1).collect::<HashSet<_>>().len(), 50);
    }

    #[test]
    fn items_of_one_priority_are_shuffled() {
        let firsts: HashSet<u32> = (0..100)
            .map(|seed| {
                let mut queue = ShuffledQueue::default();
                (0..8).for_each(|item| queue.push(item, Priority::Normal));
                queue.pop(&mut StdRng::seed_from_u64(seed)).unwrap()
            })
            .collect();
        assert_eq!(firsts.len(), 8);
    }

    #[test]
    fn eviction_takes_the_lowest_priority() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut queue = ShuffledQueue::default();
        queue.push(1, Priority::VeryHigh);
        queue.push(2, Priority::Low);
        queue.push(3, Priority::Normal);
        assert_eq!(queue.evict(&mut rng), Some(2));
        assert_eq!(queue.evict(&mut rng), Some(3));
        assert_eq!(queue.evict(&mut rng), Some(1));
        assert_eq!(queue.evict(&mut rng), None);
    }
}
