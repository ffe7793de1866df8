//! The state of a relay: who is paired, and what it refuses.

use std::time::{Duration, Instant};

use blind_relay::{Limits, Outcome, Pair, Pairings, SessionId};
use proptest::prelude::*;

fn limits() -> Limits {
    Limits { max_sessions: 4, max_pairs: 3, max_pairs_per_session: 2, pair_timeout: Duration::from_secs(30) }
}

fn pair(is_initiator: bool, token: u8) -> Pair {
    Pair { is_initiator, token: [token; 32], id: u32::from(token), seq: 0 }
}

fn sessions(pairings: &mut Pairings) -> [SessionId; 4] {
    std::array::from_fn(|_| pairings.open().expect("a session"))
}

#[test]
fn two_of_one_token_and_different_roles_are_paired() {
    let now = Instant::now();
    for first in [true, false] {
        let mut pairings = Pairings::new(limits());
        let [a, b, c, _] = sessions(&mut pairings);
        assert_eq!(pairings.pair(now, a, &pair(first, 1)), Outcome::Waiting);
        assert_eq!(pairings.pair(now, b, &pair(first, 1)), Outcome::Repeated);
        let Outcome::Matched(ends) = pairings.pair(now, c, &pair(!first, 1)) else { panic!("not matched") };
        assert_eq!((ends[usize::from(first)].session, ends[usize::from(!first)].session), (a, c));
        // The token is taken for as long as the pair lasts.
        assert_eq!(pairings.pair(now, b, &pair(first, 1)), Outcome::Repeated);
        assert_eq!((pairings.matched(), pairings.waiting()), (1, 0));
        pairings.ended(&[1; 32]);
        assert_eq!(pairings.pair(now, b, &pair(first, 1)), Outcome::Waiting);
    }
}

#[test]
fn who_waits_too_long_is_forgotten() {
    let mut pairings = Pairings::new(limits());
    let [a, b, ..] = sessions(&mut pairings);
    let now = Instant::now();
    assert_eq!(pairings.pair(now, a, &pair(true, 1)), Outcome::Waiting);
    let later = now + limits().pair_timeout;
    assert_eq!(pairings.pair(later, b, &pair(false, 1)), Outcome::Waiting);
    assert_eq!(pairings.pair(later, a, &pair(true, 1)), Outcome::Matched(match_of(&[(b, 1), (a, 1)])));
    // A pair does not end by time.
    pairings.expire(later + Duration::from_secs(86_400));
    assert_eq!(pairings.matched(), 1);
}

fn match_of(ends: &[(SessionId, u32); 2]) -> [blind_relay::End; 2] {
    ends.map(|(session, remote_id)| blind_relay::End { session, remote_id })
}

#[test]
fn limits_are_kept() {
    let mut pairings = Pairings::new(limits());
    let [a, b, c, _] = sessions(&mut pairings);
    assert_eq!(pairings.open(), None);
    let now = Instant::now();
    assert_eq!(pairings.pair(now, a, &pair(true, 1)), Outcome::Waiting);
    assert_eq!(pairings.pair(now, a, &pair(true, 2)), Outcome::Waiting);
    assert_eq!(pairings.pair(now, a, &pair(true, 3)), Outcome::Refused, "of one session");
    assert_eq!(pairings.pair(now, b, &pair(true, 3)), Outcome::Waiting);
    assert_eq!(pairings.pair(now, c, &pair(true, 4)), Outcome::Refused, "of all");
    // What waits can still be matched.
    assert!(matches!(pairings.pair(now, c, &pair(false, 1)), Outcome::Matched(_)));
    // Both roles in one session count once.
    assert!(matches!(pairings.pair(now, a, &pair(false, 2)), Outcome::Matched(_)));
    assert!(!pairings.unpair(b, &[1; 32]), "not of this session");
    assert!(pairings.unpair(c, &[1; 32]));
    assert!(!pairings.unpair(b, &[3; 32]), "was not matched");
    assert_eq!(pairings.pair(now, a, &pair(true, 3)), Outcome::Waiting);
}

#[test]
fn what_belongs_to_a_session_ends_with_it() {
    let mut pairings = Pairings::new(limits());
    let [a, b, c, d] = sessions(&mut pairings);
    let now = Instant::now();
    assert_eq!(pairings.pair(now, a, &pair(true, 1)), Outcome::Waiting);
    assert_eq!(pairings.pair(now, a, &pair(true, 2)), Outcome::Waiting);
    assert!(matches!(pairings.pair(now, b, &pair(false, 2)), Outcome::Matched(_)));
    assert_eq!(pairings.close(a), [[2; 32]]);
    assert_eq!((pairings.sessions(), pairings.matched(), pairings.waiting()), (3, 0, 0));
    assert_eq!(pairings.pair(now, a, &pair(true, 1)), Outcome::Refused, "the session is closed");
    assert_eq!(pairings.close(a), [[0; 32]; 0]);
    for session in [b, c, d] {
        assert_eq!(pairings.close(session), [[0; 32]; 0]);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pair(usize, bool, u8),
    Unpair(usize, u8),
    Ended(u8),
    Reconnect(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4usize, any::<bool>(), 0..5u8).prop_map(|(s, i, t)| Step::Pair(s, i, t)),
        2 => (0..4usize, 0..5u8).prop_map(|(s, t)| Step::Unpair(s, t)),
        1 => (0..5u8).prop_map(Step::Ended),
        1 => (0..4usize).prop_map(Step::Reconnect),
        1 => (0..40u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_peers_do_limits_hold_and_nothing_is_left(steps in prop::collection::vec(step(), 0..200)) {
        let mut pairings = Pairings::new(limits());
        let mut sessions = sessions(&mut pairings);
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Pair(s, initiator, token) => {
                    pairings.pair(now, sessions[s], &pair(initiator, token));
                }
                Step::Unpair(s, token) => {
                    pairings.unpair(sessions[s], &[token; 32]);
                }
                Step::Ended(token) => pairings.ended(&[token; 32]),
                Step::Reconnect(s) => {
                    pairings.close(sessions[s]);
                    sessions[s] = pairings.open().expect("one was closed");
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
            }
            prop_assert!(pairings.matched() + pairings.waiting() <= limits().max_pairs);
        }
        for session in sessions {
            pairings.close(session);
        }
        prop_assert_eq!((pairings.sessions(), pairings.matched(), pairings.waiting()), (0, 0, 0));
    }
}
