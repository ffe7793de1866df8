use rand::SeedableRng;

use super::*;
use crate::retry_timer::default_backoffs;

const PEER: Key = [7; 32];
const TOPIC: [u8; 32] = [9; 32];

/// A swarm, and the clock.
struct Bench {
    core: Core,
    now: Instant,
}

impl Bench {
    /// A swarm that was asked for [`PEER`].
    fn new() -> Self {
        Self::of(1)
    }

    /// The same, of a swarm whose key is `local` throughout.
    fn of(local: u8) -> Self {
        let limits = Limits { max_peers: 64, max_client_connections: 64, max_server_connections: 64, max_parallel: 3 };
        let mut rng = StdRng::seed_from_u64(1);
        let backoffs = default_backoffs(&mut rng);
        let core = Core::new([local; 32], Gate::new([local; 32], None), limits, backoffs, Duration::ZERO, rng);
        let mut bench = Self { core, now: Instant::now() };
        bench.core.join_peer(PEER, bench.now);
        bench
    }

    /// The attempt that was begun, if there is one.
    fn attempt(&mut self) -> Option<LinkId> {
        std::iter::from_fn(|| self.core.poll_action()).find_map(|action| match action {
            Action::Connect { id, .. } => Some(id),
            _ => None,
        })
    }

    /// The next attempt, however long it takes, and how long that was.
    fn next_attempt(&mut self) -> (LinkId, Duration) {
        let before = self.now;
        loop {
            if let Some(id) = self.attempt() {
                return (id, self.now - before);
            }
            self.now = self.core.deadline().expect("something waits");
            self.core.tick(self.now);
        }
    }

    fn fail(&mut self, times: usize) {
        for _ in 0..times {
            let (id, _) = self.next_attempt();
            self.core.closed(id, self.now);
        }
    }
}

#[test]
fn a_peer_that_came_back_is_not_held_to_the_long_wait_of_before() {
    let mut bench = Bench::new();
    bench.fail(5);
    let long = bench.core.deadline().expect("it waits") - bench.now;
    assert!(long > Duration::from_secs(300), "{long:?}");

    bench.core.join_topic(TOPIC);
    bench.core.discovered(PEER, &[], TOPIC, bench.now);
    let id = bench.attempt().expect("found, it is tried at once");
    assert!(bench.core.opened(id, bench.now));
    bench.now += Duration::from_secs(20);
    bench.core.closed(id, bench.now);

    assert_eq!(bench.core.gauges().waiting, 1);
    let (_, wait) = bench.next_attempt();
    assert!(wait <= Duration::from_secs(3), "{wait:?}");
}

#[test]
fn a_long_wait_does_not_take_the_place_of_a_short_one() {
    let mut bench = Bench::new();
    bench.fail(1);
    let due = bench.core.deadline();
    // It is tried out of turn, and fails more often than that it would be on the timer that it is on.
    for _ in 0..2 {
        bench.core.join_peer(PEER, bench.now);
        let id = bench.attempt().expect("asked for again, it is tried at once");
        bench.core.closed(id, bench.now);
    }
    assert_eq!((bench.core.deadline(), bench.core.gauges().waiting), (due, 1));
}

#[test]
fn who_returns_tries_the_peers_asked_for_however_often_they_failed() {
    let mut bench = Bench::new();
    bench.fail(5);
    bench.core.suspend(bench.now);
    assert_eq!((bench.attempt(), bench.core.deadline()), (None, None));
    bench.core.resume(bench.now);
    let id = bench.attempt().expect("it is tried at once");
    // The peer returns at the same moment, and does not listen before we have failed.
    bench.core.closed(id, bench.now);
    let (_, wait) = bench.next_attempt();
    assert!(wait <= Duration::from_secs(6), "{wait:?}");
}

#[test]
fn who_has_a_network_again_tries_the_peers_asked_for_however_often_they_failed() {
    let mut bench = Bench::new();
    bench.fail(5);
    bench.core.look_around(bench.now);
    let id = bench.attempt().expect("it is tried at once");
    bench.core.look_around(bench.now);
    assert_eq!(bench.attempt(), None, "one attempt at a time");
    bench.core.closed(id, bench.now);
    let (id, wait) = bench.next_attempt();
    assert!(wait <= Duration::from_secs(6), "{wait:?}");

    assert!(bench.core.opened(id, bench.now));
    while bench.core.poll_action().is_some() {}
    bench.core.look_around(bench.now);
    assert!(matches!(bench.core.poll_action(), Some(Action::KeepAlive { id: probed }) if probed == id));
    assert_eq!(bench.attempt(), None);

    bench.core.suspend(bench.now);
    bench.core.closed(id, bench.now);
    bench.core.look_around(bench.now);
    assert_eq!(bench.attempt(), None, "it rests");
}

/// What becomes of what comes in while an attempt of ours has run for `age`.
fn rivalry(local: u8, age: Duration) -> Vec<String> {
    let mut bench = Bench::of(local);
    let attempt = bench.attempt().expect("asked for, it is tried at once");
    bench.now += age;
    let incoming = bench.core.next_id();
    bench.core.incoming(incoming, PEER, false, |_| false, bench.now);
    let name = |id| if id == attempt { "attempt" } else { "incoming" };
    std::iter::from_fn(|| bench.core.poll_action())
        .filter_map(|action| match action {
            Action::Cancel { id } => Some(format!("cancel {}", name(id))),
            Action::Destroy { id } => Some(format!("destroy {}", name(id))),
            Action::Emit { id, .. } => Some(format!("emit {}", name(id))),
            _ => None,
        })
        .collect()
}

#[test]
fn an_attempt_that_gets_nowhere_does_not_refuse_what_comes_in() {
    let (young, old) = (MAX_RIVALRY - Duration::from_millis(1), MAX_RIVALRY);
    let (greater, lesser) = (PEER[0] + 1, PEER[0] - 1);
    assert_eq!(rivalry(greater, young), ["destroy incoming"]);
    for (local, age) in [(greater, old), (lesser, young), (lesser, old)] {
        assert_eq!(rivalry(local, age), ["cancel attempt", "emit incoming"], "{local} {age:?}");
    }
}

#[test]
fn a_connection_is_no_attempt_however_old_it_is() {
    let mut bench = Bench::of(PEER[0] + 1);
    let id = bench.attempt().expect("asked for, it is tried at once");
    assert!(bench.core.opened(id, bench.now));
    bench.now += 2 * MAX_RIVALRY;
    let incoming = bench.core.next_id();
    bench.core.incoming(incoming, PEER, false, |_| false, bench.now);
    assert!(
        std::iter::from_fn(|| bench.core.poll_action()).any(|a| matches!(a, Action::Destroy { id } if id == incoming))
    );
}
