//! The attempts to punch that clients of our servers have asked for: how many of them a node makes at a time.
//!
//! Each takes a socket, and a valid handshake, which anybody can make who knows the server's key, begins one.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Weak};

use super::puncher::Puncher;

/// Attempts for clients at a time. A further one ends an older one, whose client has shown least that it is there.
pub const MAX_ATTEMPTS: usize = 192;

/// Those that go on, the oldest first.
#[derive(Default)]
pub(crate) struct Attempts {
    begun: VecDeque<Attempt>,
}

struct Attempt {
    /// The host that the client says it is at.
    host: Ipv4Addr,
    puncher: Weak<Puncher>,
}

impl Attempts {
    /// Begins one for a client that says it is at `host`, with what `open` opens.
    pub(crate) fn begin<T>(
        &mut self,
        host: Ipv4Addr,
        open: impl FnOnce() -> io::Result<(Arc<Puncher>, T)>,
    ) -> io::Result<(Arc<Puncher>, T)> {
        if self.begun.len() >= MAX_ATTEMPTS {
            self.begun.retain(|attempt| attempt.puncher.strong_count() > 0);
        }
        if self.begun.len() >= MAX_ATTEMPTS {
            let shown: Vec<_> = self.begun.iter().map(|attempt| (attempt.host, attempt.is_heard())).collect();
            if let Some(ended) = least_shown(&shown).and_then(|index| self.begun.remove(index))
                && let Some(puncher) = ended.puncher.upgrade()
            {
                tracing::debug!(host = %ended.host, "attempt to punch ended for a newer one");
                puncher.give_up();
            }
        }
        let (puncher, opened) = open()?;
        self.begun.push_back(Attempt { host, puncher: Arc::downgrade(&puncher) });
        Ok((puncher, opened))
    }
}

impl Attempt {
    fn is_heard(&self) -> bool {
        self.puncher.upgrade().is_some_and(|puncher| puncher.is_heard())
    }
}

/// Which of these attempts (the host that is named, and whether anything was heard from there) has shown least: the oldest that
/// nothing was heard from, or else the oldest of the host that has most of them.
fn least_shown(attempts: &[(Ipv4Addr, bool)]) -> Option<usize> {
    if let Some(silent) = attempts.iter().position(|(_, heard)| !heard) {
        return Some(silent);
    }
    let mut counts = HashMap::new();
    for (host, _) in attempts {
        *counts.entry(host).or_insert(0usize) += 1;
    }
    // Of equals the last is the greatest, and the oldest is wanted.
    attempts.iter().enumerate().rev().max_by_key(|(_, (host, _))| counts.get(host)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
    const B: Ipv4Addr = Ipv4Addr::new(2, 2, 2, 2);
    const C: Ipv4Addr = Ipv4Addr::new(3, 3, 3, 3);

    #[test]
    fn the_silent_go_first_and_then_the_greediest() {
        assert_eq!(least_shown(&[]), None);
        assert_eq!(least_shown(&[(A, true), (B, false), (A, true), (C, false)]), Some(1));
        assert_eq!(least_shown(&[(A, true), (B, true), (C, true), (B, true)]), Some(1));
        assert_eq!(least_shown(&[(A, true), (B, true), (C, true)]), Some(0));
    }
}
