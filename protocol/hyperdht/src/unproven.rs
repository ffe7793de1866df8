//! Clients of a server that have not shown yet that they are where they say.
//!
//! A handshake names the client's address, and nothing proves it: whoever knows the server's key can make handshakes, and name
//! anybody. What each of them costs until a packet of the client comes (a stream, or the first frame written and repeated to that
//! address) is limited by the host that it names, and in all: through a node that knows the server anybody can name many hosts. Their sockets are counted apart: see [`crate::MAX_PUNCH_ATTEMPTS`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Clients of one host that are awaited at a time. A further handshake that names it ends the oldest of them: if it were refused,
/// anybody could keep the people of a host out of a server by naming that host.
pub const MAX_UNPROVEN_PER_HOST: usize = 256;

/// Clients of all hosts that are awaited at a time. A further one ends the oldest.
pub const MAX_UNPROVEN: usize = 16_384;

/// After this time a client has come or its stream has failed.
const LIFETIME: Duration = Duration::from_secs(15);

/// A client that is awaited.
pub(crate) struct Awaited {
    /// Whether it has come, or is not awaited any more.
    pub(crate) settled: Box<dyn Fn() -> bool + Send>,
    /// Stops waiting for it.
    pub(crate) end: Box<dyn FnOnce() + Send>,
}

/// The clients that are awaited.
#[derive(Default)]
pub(crate) struct Unproven {
    /// In the order in which they came.
    clients: BTreeMap<u64, (Instant, Ipv4Addr, Awaited)>,
    by_host: HashMap<Ipv4Addr, VecDeque<u64>>,
    came: u64,
}

impl Unproven {
    /// Awaits a client of this host. Returns those that there is no more room for, which the caller must end.
    #[must_use]
    pub(crate) fn add(&mut self, host: Ipv4Addr, client: Awaited, now: Instant) -> Vec<Awaited> {
        self.expire(now);
        let mut ended = Vec::new();
        if self.of(host) >= MAX_UNPROVEN_PER_HOST {
            self.drop_settled(host);
        }
        if self.of(host) >= MAX_UNPROVEN_PER_HOST {
            let oldest = self.by_host.get_mut(&host).and_then(VecDeque::pop_front);
            ended.extend(oldest.and_then(|age| self.clients.remove(&age)).map(|(_, _, client)| client));
        }
        while self.clients.len() >= MAX_UNPROVEN
            && let Some(oldest) = self.pop_oldest()
        {
            if !(oldest.settled)() {
                ended.push(oldest);
            }
        }
        let age = self.came;
        self.came += 1;
        self.clients.insert(age, (now + LIFETIME, host, client));
        self.by_host.entry(host).or_default().push_back(age);
        ended
    }

    /// How many of a host are awaited.
    fn of(&self, host: Ipv4Addr) -> usize {
        self.by_host.get(&host).map_or(0, VecDeque::len)
    }

    fn drop_settled(&mut self, host: Ipv4Addr) {
        let Some(ages) = self.by_host.get_mut(&host) else { return };
        ages.retain(|age| {
            let settled = self.clients.get(age).is_none_or(|(_, _, client)| (client.settled)());
            if settled {
                self.clients.remove(age);
            }
            !settled
        });
    }

    fn pop_oldest(&mut self) -> Option<Awaited> {
        let (_, (_, host, client)) = self.clients.pop_first()?;
        // The oldest of all is the oldest of its host.
        if let Some(ages) = self.by_host.get_mut(&host) {
            ages.pop_front();
            if ages.is_empty() {
                self.by_host.remove(&host);
            }
        }
        Some(client)
    }

    fn expire(&mut self, now: Instant) {
        while self.clients.first_key_value().is_some_and(|(_, (until, _, _))| *until <= now) {
            self.pop_oldest();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(66, 6, 6, 6);
    const OTHER: Ipv4Addr = Ipv4Addr::new(7, 7, 7, 7);

    fn forever() -> Awaited {
        Awaited { settled: Box::new(|| false), end: Box::new(|| {}) }
    }

    #[test]
    fn the_oldest_of_a_host_makes_room_for_the_newest() {
        let start = Instant::now();
        let mut unproven = Unproven::default();
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        let oldest = Awaited { end: Box::new(move || end.store(true, Ordering::Relaxed)), ..forever() };
        assert!(unproven.add(HOST, oldest, start).is_empty());
        for _ in 1..MAX_UNPROVEN_PER_HOST {
            assert!(unproven.add(HOST, forever(), start).is_empty());
        }
        assert!(unproven.add(OTHER, forever(), start).is_empty());
        let oldest = unproven.add(HOST, forever(), start).pop().expect("one too many");
        (oldest.end)();
        assert!(ended.load(Ordering::Relaxed));
        assert_eq!(unproven.by_host[&HOST].len(), MAX_UNPROVEN_PER_HOST);
        assert!(unproven.add(HOST, forever(), start + LIFETIME - Duration::from_millis(1)).len() == 1);
        assert!(unproven.add(HOST, forever(), start + LIFETIME).is_empty(), "the others have expired");
        assert_eq!((unproven.by_host.len(), unproven.by_host[&HOST].len()), (1, 2));
    }

    #[test]
    fn those_who_have_come_do_not_count() {
        let now = Instant::now();
        let mut unproven = Unproven::default();
        for _ in 0..MAX_UNPROVEN_PER_HOST * 10 {
            let come = Awaited { settled: Box::new(|| true), ..forever() };
            assert!(unproven.add(HOST, come, now).is_empty());
        }
        for _ in 0..MAX_UNPROVEN_PER_HOST {
            assert!(unproven.add(HOST, forever(), now).is_empty());
        }
        assert_eq!(unproven.add(HOST, forever(), now).len(), 1);
    }
    #[test]
    fn the_oldest_of_all_makes_room_when_each_names_another_host() {
        let now = Instant::now();
        let mut unproven = Unproven::default();
        let host = |i: usize| Ipv4Addr::from_bits(OTHER.to_bits() + i as u32);
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        let oldest = Awaited { end: Box::new(move || end.store(true, Ordering::Relaxed)), ..forever() };
        assert!(unproven.add(HOST, Awaited { settled: Box::new(|| true), ..forever() }, now).is_empty());
        assert!(unproven.add(HOST, oldest, now).is_empty());
        for i in 2..MAX_UNPROVEN {
            assert!(unproven.add(host(i), forever(), now).is_empty());
        }
        assert!(unproven.add(host(0), forever(), now).is_empty(), "who has come is not ended");
        for client in unproven.add(host(1), forever(), now) {
            (client.end)();
        }
        assert!(ended.load(Ordering::Relaxed));
        assert_eq!((unproven.clients.len(), unproven.by_host.len()), (MAX_UNPROVEN, MAX_UNPROVEN));
    }
}
