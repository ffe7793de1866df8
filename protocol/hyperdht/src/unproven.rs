//! Clients of a server that have not shown yet that they are where they say.
//!
//! A handshake names the client's address, and nothing proves it: whoever knows the server's key can make handshakes, and name
//! anybody. What each of them costs until a packet of the client comes (a stream, or the first frame written and repeated to that
//! address) is limited by the host that it names. Their sockets are counted apart: see [`crate::MAX_PUNCH_ATTEMPTS`].

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Clients of one host that are awaited at a time. A further handshake that names it ends the oldest of them: if it were refused,
/// anybody could keep the people of a host out of a server by naming that host.
pub const MAX_UNPROVEN_PER_HOST: usize = 256;

/// After this time a client has come or its stream has failed.
const LIFETIME: Duration = Duration::from_secs(15);

/// A client that is awaited.
pub(crate) struct Awaited {
    /// Whether it has come, or is not awaited any more.
    pub(crate) settled: Box<dyn Fn() -> bool + Send>,
    /// Stops waiting for it.
    pub(crate) end: Box<dyn FnOnce() + Send>,
}

/// The clients that are awaited, by the host that they name.
#[derive(Default)]
pub(crate) struct Unproven {
    by_host: HashMap<Ipv4Addr, VecDeque<(Instant, Awaited)>>,
    expiring: VecDeque<(Instant, Ipv4Addr)>,
}

impl Unproven {
    /// Awaits a client of this host. Returns one that there is no more room for, which the caller must end.
    #[must_use]
    pub(crate) fn add(&mut self, host: Ipv4Addr, client: Awaited, now: Instant) -> Option<Awaited> {
        self.expire(now);
        let until = now + LIFETIME;
        let awaited = self.by_host.entry(host).or_default();
        if awaited.len() >= MAX_UNPROVEN_PER_HOST {
            awaited.retain(|(_, client)| !(client.settled)());
        }
        let ended = if awaited.len() >= MAX_UNPROVEN_PER_HOST { awaited.pop_front() } else { None };
        awaited.push_back((until, client));
        self.expiring.push_back((until, host));
        ended.map(|(_, client)| client)
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, host)) = self.expiring.front().copied().filter(|(until, _)| *until <= now) {
            self.expiring.pop_front();
            let Some(awaited) = self.by_host.get_mut(&host) else { continue };
            while awaited.front().is_some_and(|(until, _)| *until <= now) {
                awaited.pop_front();
            }
            if awaited.is_empty() {
                self.by_host.remove(&host);
            }
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
        assert!(unproven.add(HOST, oldest, start).is_none());
        for _ in 1..MAX_UNPROVEN_PER_HOST {
            assert!(unproven.add(HOST, forever(), start).is_none());
        }
        assert!(unproven.add(OTHER, forever(), start).is_none());
        let oldest = unproven.add(HOST, forever(), start).expect("one too many");
        (oldest.end)();
        assert!(ended.load(Ordering::Relaxed));
        assert_eq!(unproven.by_host[&HOST].len(), MAX_UNPROVEN_PER_HOST);
        assert!(unproven.add(HOST, forever(), start + LIFETIME - Duration::from_millis(1)).is_some());
        assert!(unproven.add(HOST, forever(), start + LIFETIME).is_none(), "the others have expired");
        assert_eq!((unproven.by_host.len(), unproven.by_host[&HOST].len()), (1, 2));
    }

    #[test]
    fn those_who_have_come_do_not_count() {
        let now = Instant::now();
        let mut unproven = Unproven::default();
        for _ in 0..MAX_UNPROVEN_PER_HOST * 10 {
            let come = Awaited { settled: Box::new(|| true), ..forever() };
            assert!(unproven.add(HOST, come, now).is_none());
        }
        for _ in 0..MAX_UNPROVEN_PER_HOST {
            assert!(unproven.add(HOST, forever(), now).is_none());
        }
        assert!(unproven.add(HOST, forever(), now).is_some());
    }
}
