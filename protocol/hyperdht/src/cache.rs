//! Memory that forgets: what is stored for others is kept for a while, and not without limit.
//!
//! Both caches have two generations. Every two thirds of the maximum age, or when the young one is full, the old one is
//! dropped and the young one becomes old: an entry lives two thirds to four thirds of the age, and no entry has a timer. The
//! JavaScript modules `xache` and `record-cache` work so too.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use rand::Rng;

/// How long and how much a cache remembers.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// Entries of one generation: at most twice as many are kept. Beyond, the oldest are forgotten.
    pub max_size: usize,
    /// The age that entries reach on average; `None` for no limit.
    pub max_age: Option<Duration>,
}

/// When the next generation is due.
#[derive(Debug)]
struct Generations {
    options: CacheOptions,
    began: Instant,
}

impl Generations {
    fn new(options: CacheOptions, now: Instant) -> Self {
        Self { options, began: now }
    }

    /// How many generations have passed: 0, 1, or 2 when nothing is left of what there was.
    fn passed(&mut self, now: Instant) -> u32 {
        let Some(span) = self.options.max_age.map(|age| age * 2 / 3).filter(|span| !span.is_zero()) else { return 0 };
        let age = now.saturating_duration_since(self.began);
        let passed = if age >= span * 2 { 2 } else { u32::from(age >= span) };
        if passed > 0 {
            self.began = now;
        }
        passed
    }
}

/// Values by key.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generations: Generations,
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    pub(crate) fn new(options: CacheOptions, now: Instant) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generations: Generations::new(options, now) }
    }

    fn age(&mut self, now: Instant) {
        for _ in 0..self.generations.passed(now) {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Stores a value, in the place of an earlier one.
    pub(crate) fn insert(&mut self, key: K, value: V, now: Instant) {
        self.age(now);
        self.old.remove(&key);
        self.insert_young(key, value, now);
    }

    fn insert_young(&mut self, key: K, value: V, now: Instant) {
        self.young.insert(key, value);
        if self.young.len() >= self.generations.options.max_size {
            self.old = std::mem::take(&mut self.young);
            self.generations.began = now;
        }
    }

    /// The value, which is young again by this. It counts as if it were inserted: otherwise whoever reads what others store could
    /// make the cache grow without limit.
    pub(crate) fn get(&mut self, key: &K, now: Instant) -> Option<&V> {
        self.age(now);
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert_young(key, value, now);
        }
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// Entries, with those that are too old and not forgotten yet.
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// Several records under one name, of which a reader gets a random choice.
#[derive(Debug)]
pub(crate) struct RecordCache {
    young: Records,
    old: Records,
    generations: Generations,
}

type Name = [u8; 32];
type Key = [u8; 32];

#[derive(Debug, Default)]
struct Records {
    sets: HashMap<Name, Set>,
    len: usize,
}

/// The records of one name. They have numbers, so that a choice of a few costs no look at all the others: a lookup is a small
/// packet, and anybody can store many records under one name.
#[derive(Debug, Default)]
struct Set {
    records: Vec<(Key, Vec<u8>)>,
    places: HashMap<Key, usize>,
}

impl Set {
    /// Says whether the key is new.
    fn insert(&mut self, key: Key, record: Vec<u8>) -> bool {
        if let Some(known) = self.places.get(&key).and_then(|place| self.records.get_mut(*place)) {
            known.1 = record;
            return false;
        }
        self.places.insert(key, self.records.len());
        self.records.push((key, record));
        true
    }

    /// Says whether it was there.
    fn remove(&mut self, key: &Key) -> bool {
        let Some(place) = self.places.remove(key) else { return false };
        self.records.swap_remove(place);
        if let Some((moved, _)) = self.records.get(place) {
            self.places.insert(*moved, place);
        }
        true
    }
}

impl Records {
    fn insert(&mut self, name: Name, key: Key, record: Vec<u8>) {
        self.len += usize::from(self.sets.entry(name).or_default().insert(key, record));
    }

    fn remove(&mut self, name: &Name, key: &Key) {
        let Some(set) = self.sets.get_mut(name) else { return };
        self.len -= usize::from(set.remove(key));
        if set.records.is_empty() {
            self.sets.remove(name);
        }
    }
}

impl RecordCache {
    pub(crate) fn new(options: CacheOptions, now: Instant) -> Self {
        Self { young: Records::default(), old: Records::default(), generations: Generations::new(options, now) }
    }

    fn age(&mut self, now: Instant) {
        for _ in 0..self.generations.passed(now) {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Adds the record of `key` under `name`, in the place of an earlier one.
    pub(crate) fn insert(&mut self, name: Name, key: Key, record: Vec<u8>, now: Instant) {
        self.age(now);
        self.old.remove(&name, &key);
        self.young.insert(name, key, record);
        if self.young.len > self.generations.options.max_size {
            self.old = std::mem::take(&mut self.young);
            self.generations.began = now;
        }
    }

    pub(crate) fn remove(&mut self, name: &Name, key: &Key) {
        self.young.remove(name, key);
        self.old.remove(name, key);
    }

    /// Up to `n` records of `name`, chosen evenly.
    pub(crate) fn sample(&mut self, name: &Name, n: usize, rng: &mut impl Rng, now: Instant) -> Vec<Vec<u8>> {
        self.age(now);
        let [young, old] =
            [&self.young, &self.old].map(|records| records.sets.get(name).map_or(&[][..], |set| &set.records));
        let total = young.len() + old.len();
        let chosen = rand::seq::index::sample(rng, total, n.min(total));
        let record = |place: usize| young.get(place).or_else(|| old.get(place - young.len()));
        chosen.iter().filter_map(record).map(|(_, record)| record.clone()).collect()
    }

    /// Records, with those that are too old and not forgotten yet.
    pub(crate) fn len(&self) -> usize {
        self.young.len + self.old.len
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const OPTIONS: CacheOptions = CacheOptions { max_size: 100, max_age: Some(Duration::from_secs(30)) };

    #[test]
    fn entries_live_two_to_four_thirds_of_the_age() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut cache = Cache::new(OPTIONS, start);
        cache.insert(1, "a", at(19));
        assert!(cache.get(&2, at(21)).is_none());
        assert_eq!(cache.old.len(), 1);
        assert_eq!(cache.get(&1, at(40)), Some(&"a"), "reading makes it young");
        assert_eq!(cache.get(&1, at(59)), Some(&"a"));
        assert_eq!(cache.get(&1, at(120)), None);
    }

    #[test]
    fn size_is_bounded() {
        let now = Instant::now();
        let mut cache = Cache::new(OPTIONS, now);
        let mut records = RecordCache::new(OPTIONS, now);
        for i in 0..1000u32 {
            cache.insert(i, i, now);
            let mut key = [0; 32];
            key[..4].copy_from_slice(&i.to_le_bytes());
            records.insert([(i % 3) as u8; 32], key, vec![1], now);
        }
        assert!(cache.len() <= 200 && records.len() <= 202);
        assert_eq!(cache.get(&999, now), Some(&999));
    }

    #[test]
    fn reading_keeps_the_size_bounded() {
        let now = Instant::now();
        let mut cache = Cache::new(OPTIONS, now);
        for i in 0..500u32 {
            cache.insert(i, i, now);
            for known in 0..=i {
                assert!(cache.get(&known, now).is_none_or(|value| *value == known));
            }
            assert_eq!(cache.get(&i, now), Some(&i));
            assert!(cache.len() <= 200, "{}", cache.len());
        }
    }

    #[test]
    fn a_lookup_costs_the_same_however_many_records_there_are() {
        struct Counted(StdRng, usize);
        impl rand::RngCore for Counted {
            fn next_u32(&mut self) -> u32 {
                self.1 += 1;
                self.0.next_u32()
            }
            fn next_u64(&mut self) -> u64 {
                self.1 += 1;
                self.0.next_u64()
            }
            fn fill_bytes(&mut self, dst: &mut [u8]) {
                self.1 += 1;
                self.0.fill_bytes(dst);
            }
        }
        let now = Instant::now();
        let mut records = RecordCache::new(CacheOptions { max_size: 10_000, ..OPTIONS }, now);
        for i in 0..15_000u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&i.to_le_bytes());
            records.insert([1; 32], key, key.to_vec(), now);
        }
        let mut rng = Counted(StdRng::seed_from_u64(1), 0);
        let chosen: std::collections::HashSet<_> = records.sample(&[1; 32], 20, &mut rng, now).into_iter().collect();
        assert_eq!(chosen.len(), 20);
        assert!(rng.1 < 100, "{} random numbers for 20 records", rng.1);
    }

    #[test]
    fn records_are_replaced_sampled_and_removed() {
        let now = Instant::now();
        let mut rng = StdRng::seed_from_u64(1);
        let mut records = RecordCache::new(OPTIONS, now);
        for i in 0..50 {
            records.insert([1; 32], [i; 32], vec![i], now);
            records.insert([1; 32], [i; 32], vec![i, i], now + Duration::from_secs(21));
        }
        let later = now + Duration::from_secs(22);
        let mut chosen = records.sample(&[1; 32], 20, &mut rng, later);
        assert!(chosen.iter().all(|r| r.len() == 2));
        chosen.sort();
        chosen.dedup();
        assert_eq!(chosen.len(), 20);
        for i in 0..50 {
            records.remove(&[1; 32], &[i; 32]);
        }
        assert_eq!((records.len(), records.young.sets.len()), (0, 0));
    }
}
