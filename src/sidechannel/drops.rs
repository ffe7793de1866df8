//! What was dropped, and why: counted by channel, and said in the log now and then.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::pipeline::{MAX_CHANNEL_NAME, MAX_CHANNELS, Now};
use super::refusal::Refusal;

/// So many channels are counted for when peers ask to open them; further names of theirs are counted for nobody. Channels that this
/// peer has joined always are.
pub const MAX_COUNTED: usize = 1_024;

/// So many channels are counted for in all: those that were joined one after the other, and left, too.
const MAX_COUNTED_IN_ALL: usize = MAX_COUNTED + 2 * MAX_CHANNELS;

/// The same is said again after so long.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// So much is said in a minute, whatever peers do.
const SAID_A_MINUTE: u32 = 10;

const MINUTE: Duration = Duration::from_secs(60);

/// The reason of what proves too little work.
pub const PROOF_OF_WORK: &str = "proof of work";

/// What was dropped of one channel for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The reason, in a word or two.
    pub reason: &'static str,
    /// How many messages.
    pub count: u64,
    /// When the last was, in milliseconds since 1970.
    pub last: u64,
    /// From whom it came: a public key in hex.
    pub from: String,
}

#[derive(Debug)]
struct Count {
    count: u64,
    last: u64,
    from: String,
    said: Option<Instant>,
}

/// What was dropped since the start.
#[derive(Debug, Default)]
pub struct Drops {
    channels: HashMap<String, BTreeMap<&'static str, Count>>,
    minute: Option<Instant>,
    said: u32,
}

impl Drops {
    /// Counts a message that was refused; says whether it is time to say so.
    pub fn count(&mut self, refusal: &Refusal, channel: &str, from: &str, now: Now) -> bool {
        let Some(reason) = reason(refusal) else { return false };
        let (channel, most) = match refusal.target() {
            Some(asked) => (asked, MAX_COUNTED),
            None => (channel, MAX_COUNTED_IN_ALL),
        };
        let full = self.channels.len() >= most || channel.len() > MAX_CHANNEL_NAME;
        if full && !self.channels.contains_key(channel) {
            return false;
        }
        let counts = self.channels.entry(channel.to_owned()).or_default();
        let count =
            counts.entry(reason).or_insert_with(|| Count { count: 0, last: 0, from: String::new(), said: None });
        count.count += 1;
        count.last = now.wall;
        from.clone_into(&mut count.from);
        if count.said.is_some_and(|said| now.instant.saturating_duration_since(said) < SAY_AGAIN) {
            return false;
        }
        if self.minute.is_none_or(|minute| now.instant.saturating_duration_since(minute) >= MINUTE) {
            (self.minute, self.said) = (Some(now.instant), 0);
        }
        if self.said >= SAID_A_MINUTE {
            return false;
        }
        self.said += 1;
        count.said = Some(now.instant);
        true
    }

    /// What was dropped of a channel.
    pub fn of(&self, channel: &str) -> Vec<Dropped> {
        let counts = self.channels.get(channel).into_iter().flatten();
        let dropped = counts.map(|(reason, count)| Dropped {
            reason,
            count: count.count,
            last: count.last,
            from: count.from.clone(),
        });
        dropped.collect()
    }
}

/// The reason in a word or two; `None` for what is in order: a message that came by two ways.
fn reason(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::Duplicate { .. } => return None,
        Refusal::Blocked => "blocked",
        Refusal::Malformed => "malformed",
        Refusal::TooLarge { .. } => "too large",
        Refusal::TooDeep => "nested too deeply",
        Refusal::Invite => "invite",
        Refusal::Pow => PROOF_OF_WORK,
        Refusal::Rate { .. } => "rate limit",
        Refusal::Owner { .. } => "owner-only",
        Refusal::InvalidWelcome | Refusal::OpenWelcome { .. } => "invalid welcome",
        Refusal::MissingWelcome | Refusal::OpenMissingWelcome { .. } => "missing welcome",
        Refusal::AwaitingWelcome => "awaiting welcome",
        Refusal::OpenInvite { .. } => "open without an invite",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Now {
        Now { wall: 1_000 * seconds, instant: start + Duration::from_secs(seconds) }
    }

    #[test]
    fn what_is_dropped_is_counted_and_said_now_and_then() {
        let (mut drops, start) = (Drops::default(), Instant::now());
        assert!(drops.count(&Refusal::AwaitingWelcome, "room", "a", at(start, 0)));
        assert!(!drops.count(&Refusal::AwaitingWelcome, "room", "b", at(start, 1)));
        assert!(drops.count(&Refusal::Pow, "room", "a", at(start, 2)), "another reason");
        assert!(!drops.count(&Refusal::Duplicate { id: "x".into() }, "room", "a", at(start, 3)));
        assert!(drops.count(&Refusal::AwaitingWelcome, "room", "c", at(start, 600)), "after a while again");
        let expected = [("awaiting welcome", 3, 600_000, "c"), ("proof of work", 1, 2_000, "a")];
        let expected =
            expected.map(|(reason, count, last, from)| Dropped { reason, count, last, from: from.to_owned() });
        assert_eq!(drops.of("room"), expected);
        assert!(drops.of("other").is_empty());
    }

    #[test]
    fn peers_cannot_make_it_grow_or_talk_without_end() {
        let (mut drops, start) = (Drops::default(), Instant::now());
        let open = |n: usize| Refusal::OpenMissingWelcome { target: format!("room {n}") };
        let said = (0..3 * MAX_COUNTED).filter(|n| drops.count(&open(*n), "entry", "a", at(start, 0))).count();
        assert_eq!(said, SAID_A_MINUTE as usize);
        assert_eq!(drops.channels.len(), MAX_COUNTED);
        assert!(drops.of("entry").is_empty(), "it is the channel that they asked for");
        assert!(drops.count(&open(0), "entry", "a", at(start, 700)));
        let long = Refusal::OpenInvite { target: "x".repeat(MAX_CHANNEL_NAME + 1) };
        assert!(!drops.count(&long, "entry", "a", at(start, 1_400)));
        // What peers invent hides nothing of the channels that are joined.
        assert!(drops.count(&Refusal::AwaitingWelcome, "joined", "a", at(start, 2_100)));
        assert_eq!(drops.of("joined").len(), 1);
        (0..3 * MAX_COUNTED_IN_ALL).for_each(|n| {
            drops.count(&Refusal::Pow, &format!("joined and left {n}"), "a", at(start, 2_200));
        });
        assert_eq!(drops.channels.len(), MAX_COUNTED_IN_ALL);
    }
}
