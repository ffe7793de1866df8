//! Who waits for whom at a relay: a state machine without I/O and clock.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::messages::{Pair, Token};

/// What a relay takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time. Further ones are refused.
    pub max_sessions: usize,
    /// Pairs at a time, with those whose other peer has not come yet. Further ones are ignored: their peers give up in time.
    pub max_pairs: usize,
    /// The same, of one connection.
    pub max_pairs_per_session: usize,
    /// How long a peer waits for the other before the relay forgets it. JavaScript peers wait 15 s.
    pub pair_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_sessions: 8192, max_pairs: 4096, max_pairs_per_session: 64, pair_timeout: Duration::from_secs(30) }
    }
}

/// A connection to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

/// One peer of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The connection that it asked through.
    pub session: SessionId,
    /// The id of its UDX stream.
    pub remote_id: u32,
}

/// What became of a [`Pair`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other peer has not come yet.
    Waiting,
    /// Both are here: first who did not choose the relay, then who did.
    Matched([End; 2]),
    /// There is such a one already.
    Repeated,
    /// A limit was reached.
    Refused,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Waiting { end: End, is_initiator: bool, until: Instant },
    Matched([End; 2]),
}

/// The pairs of a relay.
///
/// ```
/// use std::time::Instant;
/// use blind_relay::{Limits, Outcome, Pair, Pairings};
///
/// let mut pairings = Pairings::new(Limits::default());
/// let (alice, bob) = (pairings.open().unwrap(), pairings.open().unwrap());
/// let (now, token) = (Instant::now(), [7; 32]);
/// let pair = |is_initiator, id| Pair { is_initiator, token, id, seq: 0 };
/// assert_eq!(pairings.pair(now, alice, &pair(true, 1)), Outcome::Waiting);
/// assert!(matches!(pairings.pair(now, bob, &pair(false, 2)), Outcome::Matched(_)));
/// ```
#[derive(Debug)]
pub struct Pairings {
    limits: Limits,
    sessions: HashMap<SessionId, HashSet<Token>>,
    next_session: u64,
    pairs: HashMap<Token, Stage>,
    /// Those that wait, in the order in which they are forgotten.
    deadlines: BTreeSet<(Instant, Token)>,
}

impl Pairings {
    /// None yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, sessions: HashMap::new(), next_session: 0, pairs: HashMap::new(), deadlines: BTreeSet::new() }
    }

    /// A connection comes; `None` when there are as many as may be.
    pub fn open(&mut self) -> Option<SessionId> {
        if self.sessions.len() >= self.limits.max_sessions {
            return None;
        }
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.sessions.insert(id, HashSet::new());
        Some(id)
    }

    /// A connection ends, and all its pairs. Returns those that were matched.
    pub fn close(&mut self, session: SessionId) -> Vec<Token> {
        let tokens = self.sessions.remove(&session).unwrap_or_default();
        tokens.into_iter().filter(|token| matches!(self.remove(token), Some(Stage::Matched(_)))).collect()
    }

    /// A peer asks to be paired.
    pub fn pair(&mut self, now: Instant, session: SessionId, message: &Pair) -> Outcome {
        self.expire(now);
        let end = End { session, remote_id: message.id };
        match self.pairs.get(&message.token).copied() {
            Some(Stage::Waiting { end: first, is_initiator, until }) if is_initiator != message.is_initiator => {
                if !self.join(session, message.token) {
                    return Outcome::Refused;
                }
                let ends = if is_initiator { [end, first] } else { [first, end] };
                self.deadlines.remove(&(until, message.token));
                self.pairs.insert(message.token, Stage::Matched(ends));
                Outcome::Matched(ends)
            }
            Some(_) => Outcome::Repeated,
            None => {
                if self.pairs.len() >= self.limits.max_pairs || !self.join(session, message.token) {
                    return Outcome::Refused;
                }
                let until = now + self.limits.pair_timeout;
                self.deadlines.insert((until, message.token));
                let stage = Stage::Waiting { end, is_initiator: message.is_initiator, until };
                self.pairs.insert(message.token, stage);
                Outcome::Waiting
            }
        }
    }

    /// A peer gives a pair up. True if it was matched, and so is to be taken apart.
    pub fn unpair(&mut self, session: SessionId, token: &Token) -> bool {
        if !self.sessions.get(&session).is_some_and(|tokens| tokens.contains(token)) {
            return false;
        }
        matches!(self.remove(token), Some(Stage::Matched(_)))
    }

    /// A matched pair ended by itself.
    pub fn ended(&mut self, token: &Token) {
        self.remove(token);
    }

    /// Forgets peers that waited for too long.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, token)) = self.deadlines.first().copied() {
            if until > now {
                return;
            }
            self.remove(&token);
        }
    }

    /// Connections.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Peers that wait for another.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.deadlines.len()
    }

    /// Pairs of two peers.
    #[must_use]
    pub fn matched(&self) -> usize {
        self.pairs.len() - self.deadlines.len()
    }

    /// Counts a pair as one of this session; false if that may not be.
    fn join(&mut self, session: SessionId, token: Token) -> bool {
        let Some(tokens) = self.sessions.get_mut(&session) else { return false };
        if tokens.len() >= self.limits.max_pairs_per_session && !tokens.contains(&token) {
            return false;
        }
        tokens.insert(token);
        true
    }

    fn remove(&mut self, token: &Token) -> Option<Stage> {
        let stage = self.pairs.remove(token)?;
        let ends = match &stage {
            Stage::Waiting { end, until, .. } => {
                self.deadlines.remove(&(*until, *token));
                std::slice::from_ref(end)
            }
            Stage::Matched(ends) => &ends[..],
        };
        for end in ends {
            if let Some(tokens) = self.sessions.get_mut(&end.session) {
                tokens.remove(token);
            }
        }
        Some(stage)
    }
}
