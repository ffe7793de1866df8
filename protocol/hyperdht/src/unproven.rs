//! Clients of a server that have not shown yet that they are where they say.
//!
//! A handshake names the client's address, and nothing proves it: whoever knows the server's key can make handshakes, and name
//! anybody. What each of them costs until a packet of the client comes (a socket, a stream, or the first frame written and repeated
//! to that address) is limited by the host that it names.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Clients of one host that may be awaited at a time; further handshakes that name it are not answered until some have come or
/// failed. A network of many people behind one address has room, and three hosts together cannot take all sockets of the pool.
pub const MAX_UNPROVEN_PER_HOST: usize = 256;

/// After this time a client has come or its stream has failed.
const LIFETIME: Duration = Duration::from_secs(15);

/// Whether a client has come, or is not awaited any more.
pub(crate) type Settled = Box<dyn Fn() -> bool + Send>;

/// The clients that are awaited, by the host that they name.
#[derive(Default)]
pub(crate) struct Unproven {
    by_host: HashMap<Ipv4Addr, VecDeque<(Instant, Settled)>>,
    expiring: VecDeque<(Instant, Ipv4Addr)>,
}

impl Unproven {
    /// Whether another client of this host may be awaited.
    pub(crate) fn has_room(&mut self, host: Ipv4Addr, now: Instant) -> bool {
        self.expire(now);
        let Some(awaited) = self.by_host.get_mut(&host) else { return true };
        if awaited.len() >= MAX_UNPROVEN_PER_HOST {
            awaited.retain(|(_, settled)| !settled());
        }
        awaited.len() < MAX_UNPROVEN_PER_HOST
    }

    /// Awaits a client of this host.
    pub(crate) fn add(&mut self, host: Ipv4Addr, settled: Settled, now: Instant) {
        let until = now + LIFETIME;
        self.by_host.entry(host).or_default().push_back((until, settled));
        self.expiring.push_back((until, host));
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

    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(66, 6, 6, 6);
    const OTHER: Ipv4Addr = Ipv4Addr::new(7, 7, 7, 7);

    #[test]
    fn those_who_do_not_come_leave_no_room_for_their_host() {
        let start = Instant::now();
        let mut unproven = Unproven::default();
        for _ in 0..MAX_UNPROVEN_PER_HOST {
            assert!(unproven.has_room(HOST, start));
            unproven.add(HOST, Box::new(|| false), start);
        }
        assert!(!unproven.has_room(HOST, start) && unproven.has_room(OTHER, start));
        assert!(!unproven.has_room(HOST, start + LIFETIME - Duration::from_millis(1)));
        assert!(unproven.has_room(HOST, start + LIFETIME));
        assert!(unproven.by_host.is_empty() && unproven.expiring.is_empty());
    }

    #[test]
    fn those_who_have_come_do_not_count() {
        let now = Instant::now();
        let mut unproven = Unproven::default();
        let awaited = Arc::new(());
        for _ in 0..MAX_UNPROVEN_PER_HOST * 10 {
            assert!(unproven.has_room(HOST, now));
            let awaited = Arc::downgrade(&Arc::new(()));
            unproven.add(HOST, Box::new(move || awaited.upgrade().is_none()), now);
        }
        for _ in 0..MAX_UNPROVEN_PER_HOST {
            let awaited = Arc::downgrade(&awaited);
            unproven.add(HOST, Box::new(move || awaited.upgrade().is_none()), now);
        }
        assert!(!unproven.has_room(HOST, now));
        drop(awaited);
        assert!(unproven.has_room(HOST, now));
    }
}
