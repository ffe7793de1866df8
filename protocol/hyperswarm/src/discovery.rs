//! One topic: who joined it, what to ask the DHT for it, and when to ask again (`peer-discovery.js`).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::bans::Key;
use crate::retry_timer::random_up_to;

/// How often a topic is announced and looked up again. Nodes of the DHT keep an announcement for at least 13 minutes.
pub(crate) const REFRESH_INTERVAL: Duration = Duration::from_secs(600);

/// What is added at random to each [`REFRESH_INTERVAL`], at most.
pub(crate) const REFRESH_JITTER: Duration = Duration::from_secs(120);

/// A timer that is this late says that the machine slept. Whoever wakes at the same moment does not ask at the same moment.
const SLEEP_GRACE: Duration = Duration::from_secs(30);

/// The first wait after a refresh that reached nobody; it doubles with each further one, up to [`REFRESH_INTERVAL`]. (JavaScript
/// waits the whole interval.)
const FAILED_REFRESH_DELAY: Duration = Duration::from_secs(5);

/// How long after its first announcement, and its first one after a rest, a peer looks the topic up once more, and as much again at
/// random. Two peers that announce themselves at the same moment find neither each other while they do so; the one that is second finds
/// the first now. (JavaScript finds it at the next [`REFRESH_INTERVAL`].)
const LOOK_AGAIN_DELAY: Duration = Duration::from_secs(1);

/// How many of the peers that a refresh found are remembered to count them against the next refresh's limit.
const MAX_DISCOVERED: usize = 64;

/// What a session, and by the sum of its sessions a topic, is joined for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    /// Announce us, so that others connect to us.
    pub(crate) server: bool,
    /// Look up the others and connect to them.
    pub(crate) client: bool,
}

/// What a refresh asks of the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryKind {
    /// Find the peers of the topic.
    Lookup,
    /// Find the peers of the topic, and withdraw our own announcement wherever it is seen.
    LookupAndUnannounce,
    /// Find the peers of the topic, and announce us at the closest nodes.
    Announce {
        /// Withdraw earlier announcements of ours that are seen on the way: this is the first announcement of this process.
        clear: bool,
    },
}

/// A refresh that has to be started. One that runs has to be cancelled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refresh {
    /// Which refresh of the topic it is; its results carry it.
    pub(crate) clock: u64,
    pub(crate) kind: QueryKind,
}

/// The state of one topic. `N` is a node of the DHT.
#[derive(Debug)]
pub(crate) struct Discovery<N> {
    sessions: HashMap<u64, Roles>,
    /// The roles as of the last refresh.
    roles: Roles,
    clock: u64,
    running: Option<Refresh>,
    /// An earlier leave of the same topic still withdraws the announcement; nothing may be announced before it is done.
    held: bool,
    announced_once: bool,
    /// Nothing is announced that others could have found us by: the next announcement calls for a second look.
    unseen: bool,
    /// The refresh that is due next is the second look after an announcement.
    look_again: bool,
    needs_unannounce: bool,
    closest: Vec<N>,
    /// How many peers that are not connected a refresh may bring.
    limit: Option<usize>,
    remaining: Option<usize>,
    discovered: HashSet<Key>,
    refresh_at: Option<Instant>,
    failures: u32,
}

impl<N: Clone> Discovery<N> {
    /// A topic nobody has joined yet.
    pub(crate) fn new(held: bool) -> Self {
        Self {
            sessions: HashMap::new(),
            roles: Roles::default(),
            clock: 0,
            running: None,
            held,
            announced_once: false,
            unseen: true,
            look_again: false,
            needs_unannounce: false,
            closest: Vec::new(),
            limit: None,
            remaining: None,
            discovered: HashSet::new(),
            refresh_at: None,
            failures: 0,
        }
    }

    /// Opens a session, or changes what an open one is for. [`Discovery::refresh`] has to follow.
    pub(crate) fn set_session(&mut self, session: u64, roles: Roles, limit: Option<usize>) {
        self.sessions.insert(session, roles);
        self.limit = limit;
    }

    /// Closes a session. `Remaining::Changed` asks for a refresh.
    pub(crate) fn close_session(&mut self, session: u64) -> Remaining {
        if self.sessions.remove(&session).is_none() {
            return Remaining::Same;
        }
        if self.sessions.is_empty() {
            Remaining::Nobody
        } else if !self.wanted().server && self.needs_unannounce {
            Remaining::Changed
        } else {
            Remaining::Same
        }
    }

    /// Whether the session is open.
    pub(crate) fn has_session(&self, session: u64) -> bool {
        self.sessions.contains_key(&session)
    }

    fn wanted(&self) -> Roles {
        Roles {
            server: self.sessions.values().any(|roles| roles.server),
            client: self.sessions.values().any(|roles| roles.client),
        }
    }

    /// Begins a refresh with the roles that the sessions ask for now. `None` when the one that runs already is as good, or when
    /// none may start yet, or when no session wants anything.
    pub(crate) fn refresh(&mut self, is_connected: impl Fn(&Key) -> bool) -> Option<Refresh> {
        let wanted = self.wanted();
        if self.held || wanted == Roles::default() || (self.running.is_some() && wanted == self.roles) {
            return None;
        }
        let look_again = std::mem::take(&mut self.look_again) && self.refresh_at.is_none() && wanted == self.roles;
        self.roles = wanted;
        self.clock += 1;
        self.refresh_at = None;
        let known = self.discovered.drain().filter(is_connected).count();
        self.remaining = self.limit.map(|limit| limit.saturating_sub(known));
        let kind = if look_again {
            QueryKind::Lookup
        } else if wanted.server {
            QueryKind::Announce { clear: !self.announced_once }
        } else if self.needs_unannounce {
            QueryKind::LookupAndUnannounce
        } else {
            QueryKind::Lookup
        };
        let refresh = Refresh { clock: self.clock, kind };
        self.running = Some(refresh);
        Some(refresh)
    }

    /// The refresh is about to announce us: from now on there may be something to withdraw.
    pub(crate) fn announcing(&mut self, clock: u64) {
        if self.running.is_some_and(|refresh| refresh.clock == clock) {
            self.needs_unannounce = true;
        }
    }

    /// The refresh found `key`. Whether to try to connect to it.
    pub(crate) fn found(&mut self, clock: u64, key: &Key, is_connected: bool) -> bool {
        if !self.roles.client || self.running.is_none_or(|refresh| refresh.clock != clock) {
            return false;
        }
        let Some(remaining) = &mut self.remaining else { return true };
        if self.discovered.len() < MAX_DISCOVERED {
            self.discovered.insert(*key);
        }
        if *remaining == 0 {
            return false;
        }
        if !is_connected {
            *remaining -= 1;
        }
        true
    }

    /// The refresh ended, with the closest nodes it found, or with an error. False if it is not the one that runs.
    pub(crate) fn finished(&mut self, clock: u64, closest: Option<Vec<N>>, now: Instant, rng: &mut impl Rng) -> bool {
        let Some(refresh) = self.running.take_if(|refresh| refresh.clock == clock) else { return false };
        let reached = closest.as_ref().is_some_and(|nodes| !nodes.is_empty());
        if let Some(closest) = closest {
            match refresh.kind {
                QueryKind::Announce { .. } => {
                    self.look_again = reached && self.roles.client && self.unseen;
                    self.announced_once = true;
                    self.unseen &= !reached;
                }
                QueryKind::LookupAndUnannounce => self.needs_unannounce = false,
                QueryKind::Lookup => {}
            }
            self.closest = closest;
        }
        let delay = if self.look_again {
            LOOK_AGAIN_DELAY + random_up_to(LOOK_AGAIN_DELAY, rng)
        } else if reached {
            self.failures = 0;
            REFRESH_INTERVAL + random_up_to(REFRESH_JITTER, rng)
        } else {
            let delay = FAILED_REFRESH_DELAY.saturating_mul(1 << self.failures.min(16)).min(REFRESH_INTERVAL);
            self.failures = self.failures.saturating_add(1);
            delay + random_up_to(delay / 4, rng)
        };
        self.refresh_at = Some(now + delay);
        true
    }

    /// Whether a refresh runs or is going to as soon as it may.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.is_some() || (self.held && self.wanted() != Roles::default())
    }

    /// When [`Discovery::is_due`] has to be asked.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.refresh_at
    }

    /// Whether the time for another refresh has come. If `now` is far beyond that time, it is put off a little instead.
    pub(crate) fn is_due(&mut self, now: Instant, rng: &mut impl Rng) -> bool {
        let Some(due) = self.refresh_at.filter(|due| *due <= now) else { return false };
        let slept = now.saturating_duration_since(due) > SLEEP_GRACE;
        self.refresh_at = slept.then(|| now + random_up_to(REFRESH_JITTER, rng));
        !slept
    }

    /// Stops what runs and what is due, as long as no refresh is begun. True when there is an announcement to withdraw, which
    /// [`Discovery::release`] says is done.
    pub(crate) fn suspend(&mut self) -> bool {
        self.running = None;
        self.refresh_at = None;
        // A second look would not announce, and what was announced is withdrawn.
        (self.look_again, self.unseen) = (false, true);
        let announced = std::mem::take(&mut self.needs_unannounce);
        self.held |= announced;
        announced
    }

    /// The earlier leave of this topic is done: [`Discovery::refresh`] may begin.
    pub(crate) fn release(&mut self) {
        self.held = false;
    }

    /// The closest nodes of the last refresh: where the next one begins, and where an announcement is withdrawn.
    pub(crate) fn closest(&self) -> &[N] {
        &self.closest
    }

    /// Whether there may be an announcement to withdraw.
    pub(crate) fn needs_unannounce(&self) -> bool {
        self.needs_unannounce
    }
}

/// What the end of a session means for its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remaining {
    /// The others want what they wanted.
    Same,
    /// Nobody wants to be announced any more, but we are.
    Changed,
    /// It was the last one.
    Nobody,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    const BOTH: Roles = Roles { server: true, client: true };
    const CLIENT: Roles = Roles { server: false, client: true };
    const SERVER: Roles = Roles { server: true, client: false };

    fn nobody(_: &Key) -> bool {
        false
    }

    fn rng() -> StdRng {
        StdRng::seed_from_u64(3)
    }

    fn joined(roles: Roles) -> (Discovery<u8>, Refresh) {
        let mut discovery = Discovery::new(false);
        discovery.set_session(1, roles, None);
        let refresh = discovery.refresh(nobody).expect("a join starts a refresh");
        (discovery, refresh)
    }

    #[test]
    fn a_client_looks_up_and_a_server_announces() {
        assert_eq!(joined(CLIENT).1.kind, QueryKind::Lookup);
        assert_eq!(joined(SERVER).1.kind, QueryKind::Announce { clear: true });
        assert_eq!(joined(BOTH).1.kind, QueryKind::Announce { clear: true });
    }

    #[test]
    fn only_the_first_successful_announcement_clears() {
        let now = Instant::now();
        let (mut discovery, refresh) = joined(SERVER);
        assert!(discovery.finished(refresh.clock, None, now, &mut rng()));
        let refresh = discovery.refresh(nobody).unwrap();
        assert_eq!(refresh.kind, QueryKind::Announce { clear: true });
        assert!(discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng()));
        let refresh = discovery.refresh(nobody).unwrap();
        assert_eq!(refresh.kind, QueryKind::Announce { clear: false });
        assert_eq!(discovery.closest(), [1]);
    }

    #[test]
    fn refreshes_follow_after_ten_to_twelve_minutes() {
        let now = Instant::now();
        let (mut discovery, refresh) = joined(SERVER);
        discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng());
        let due = discovery.deadline().unwrap();
        assert!((REFRESH_INTERVAL..=REFRESH_INTERVAL + REFRESH_JITTER).contains(&(due - now)));
        assert!(!discovery.is_due(due - Duration::from_millis(1), &mut rng()));
        assert!(discovery.is_due(due, &mut rng()));
        assert_eq!(discovery.deadline(), None);
    }

    #[test]
    fn a_refresh_that_reached_nobody_is_repeated_soon_and_then_less_often() {
        let now = Instant::now();
        let (mut discovery, mut refresh) = joined(SERVER);
        let mut last = Duration::ZERO;
        for round in 0..20 {
            let result = (round % 2 == 0).then(Vec::new);
            discovery.finished(refresh.clock, result, now, &mut rng());
            let delay = discovery.deadline().unwrap() - now;
            assert!(delay >= last && delay <= REFRESH_INTERVAL + REFRESH_INTERVAL / 4);
            assert!(round > 0 || delay <= FAILED_REFRESH_DELAY + FAILED_REFRESH_DELAY / 4);
            last = delay;
            refresh = discovery.refresh(nobody).unwrap();
        }
        assert!(last >= REFRESH_INTERVAL);
        discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng());
        let refresh = discovery.refresh(nobody).unwrap();
        discovery.finished(refresh.clock, None, now, &mut rng());
        assert!(discovery.deadline().unwrap() - now <= FAILED_REFRESH_DELAY * 2);
    }

    #[test]
    fn after_the_first_announcement_the_topic_is_looked_up_once_more() {
        let now = Instant::now();
        let (mut discovery, refresh) = joined(BOTH);
        discovery.announcing(refresh.clock);
        discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng());
        let due = discovery.deadline().unwrap();
        assert!((LOOK_AGAIN_DELAY..=2 * LOOK_AGAIN_DELAY).contains(&(due - now)));
        assert!(discovery.is_due(due, &mut rng()));
        let refresh = discovery.refresh(nobody).unwrap();
        assert_eq!(refresh.kind, QueryKind::Lookup);
        discovery.finished(refresh.clock, Some(vec![1]), due, &mut rng());
        // It is still announced, and goes on as usual.
        assert!(discovery.needs_unannounce());
        let due = discovery.deadline().unwrap();
        assert!(due - now > REFRESH_INTERVAL && discovery.is_due(due, &mut rng()));
        let refresh = discovery.refresh(nobody).unwrap();
        assert_eq!(refresh.kind, QueryKind::Announce { clear: false });
        discovery.finished(refresh.clock, Some(vec![1]), due, &mut rng());
        assert!(discovery.deadline().unwrap() - due >= REFRESH_INTERVAL);
    }

    /// Both of a pair may rest and return at the same moment, and find nothing of each other.
    #[test]
    fn after_a_rest_the_topic_is_looked_up_once_more_too() {
        let now = Instant::now();
        let (mut discovery, refresh) = joined(BOTH);
        discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng());
        let due = discovery.deadline().unwrap();
        assert!(discovery.is_due(due, &mut rng()));
        let refresh = discovery.refresh(nobody).unwrap();
        discovery.finished(refresh.clock, Some(vec![1]), due, &mut rng());

        discovery.suspend();
        let refresh = discovery.refresh(nobody).unwrap();
        assert_eq!(refresh.kind, QueryKind::Announce { clear: false });
        // Nobody was reached: this was no announcement.
        discovery.finished(refresh.clock, Some(vec![]), now, &mut rng());
        let refresh = discovery.refresh(nobody).unwrap();
        assert_eq!(refresh.kind, QueryKind::Announce { clear: false });
        discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng());
        assert!(discovery.deadline().unwrap() - now <= 2 * LOOK_AGAIN_DELAY);
        assert_eq!(discovery.refresh(nobody).unwrap().kind, QueryKind::Announce { clear: false }, "asked for");
    }

    #[test]
    fn a_refresh_that_was_asked_for_replaces_the_second_look() {
        let (mut discovery, refresh) = joined(BOTH);
        discovery.finished(refresh.clock, Some(vec![1]), Instant::now(), &mut rng());
        let refresh = discovery.refresh(nobody).unwrap();
        assert_eq!(refresh.kind, QueryKind::Announce { clear: false });
    }

    #[test]
    fn after_a_sleep_the_refresh_is_put_off_by_the_jitter_alone() {
        let now = Instant::now();
        let (mut discovery, refresh) = joined(SERVER);
        discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng());
        let woken = discovery.deadline().unwrap() + SLEEP_GRACE + Duration::from_secs(1);
        assert!(!discovery.is_due(woken, &mut rng()));
        let due = discovery.deadline().unwrap();
        assert!(due >= woken && due <= woken + REFRESH_JITTER);
        assert!(discovery.is_due(due, &mut rng()));
    }

    #[test]
    fn a_second_session_joins_the_refresh_that_runs_unless_it_changes_the_roles() {
        let (mut discovery, first) = joined(CLIENT);
        discovery.set_session(2, CLIENT, None);
        assert_eq!(discovery.refresh(nobody), None);
        discovery.set_session(3, SERVER, None);
        let second = discovery.refresh(nobody).unwrap();
        assert_eq!(second.kind, QueryKind::Announce { clear: true });
        // The first is void now.
        assert!(!discovery.found(first.clock, &[1; 32], false));
        assert!(!discovery.finished(first.clock, Some(vec![1]), Instant::now(), &mut rng()));
        assert!(discovery.found(second.clock, &[1; 32], false));
        assert!(discovery.is_busy());
        assert!(discovery.finished(second.clock, Some(vec![1]), Instant::now(), &mut rng()));
        assert!(!discovery.is_busy());
    }

    #[test]
    fn the_last_server_that_goes_takes_the_announcement_back() {
        let now = Instant::now();
        let (mut discovery, refresh) = joined(SERVER);
        discovery.set_session(2, CLIENT, None);
        let refresh = discovery.refresh(nobody).unwrap_or(refresh);
        assert!(!discovery.needs_unannounce());
        discovery.announcing(refresh.clock);
        assert!(discovery.needs_unannounce());
        discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng());
        assert_eq!(discovery.close_session(1), Remaining::Changed);
        assert_eq!(discovery.close_session(1), Remaining::Same);
        let refresh = discovery.refresh(nobody).unwrap();
        assert_eq!(refresh.kind, QueryKind::LookupAndUnannounce);
        discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng());
        assert!(!discovery.needs_unannounce());
        assert_eq!(discovery.close_session(2), Remaining::Nobody);
    }

    #[test]
    fn a_session_without_a_role_does_nothing() {
        let mut discovery = Discovery::<u8>::new(false);
        discovery.set_session(1, Roles::default(), None);
        assert_eq!(discovery.refresh(nobody), None);
        assert!(!discovery.is_busy());
    }

    #[test]
    fn nothing_starts_before_the_earlier_leave_is_done() {
        let mut discovery = Discovery::<u8>::new(true);
        discovery.set_session(1, BOTH, None);
        assert_eq!(discovery.refresh(nobody), None);
        assert!(discovery.is_busy());
        discovery.release();
        assert!(discovery.refresh(nobody).is_some());
    }

    #[test]
    fn the_limit_counts_peers_that_are_not_connected() {
        let now = Instant::now();
        let mut discovery = Discovery::<u8>::new(false);
        discovery.set_session(1, CLIENT, Some(2));
        let refresh = discovery.refresh(nobody).unwrap();
        assert!(discovery.found(refresh.clock, &[1; 32], false));
        assert!(discovery.found(refresh.clock, &[2; 32], true));
        assert!(discovery.found(refresh.clock, &[3; 32], false));
        assert!(!discovery.found(refresh.clock, &[4; 32], false));
        discovery.finished(refresh.clock, Some(vec![1]), now, &mut rng());
        // Of those that were found, one is connected now: one more may come.
        let refresh = discovery.refresh(|key| key[0] == 1).unwrap();
        assert!(discovery.found(refresh.clock, &[5; 32], false));
        assert!(!discovery.found(refresh.clock, &[6; 32], false));
    }

    #[test]
    fn a_server_alone_ignores_the_peers_it_sees() {
        let (mut discovery, refresh) = joined(SERVER);
        assert!(!discovery.found(refresh.clock, &[1; 32], false));
    }
}
