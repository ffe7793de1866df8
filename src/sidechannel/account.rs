//! What a running sidechannel says about what it drops, and about a channel when it is asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use encoding::json::{Value, trim};

use super::driver::Shared;
use super::drops::{Dropped, PROOF_OF_WORK};
use super::explain::{Explanation, Obstacle, Running, obstacle};
use super::pipeline::{Now, Peer};
use super::refusal::Refusal;

/// Messages with too little work are in the way for so long after the last of them.
const JUST_NOW: Duration = Duration::from_secs(600);

/// What became of messages since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Own messages that were given to the connected peers.
    pub sent: u64,
    /// Messages of others that were taken.
    pub delivered: u64,
    /// Messages of others that were passed on.
    pub relayed: u64,
    /// Messages of others that came once more, by another way.
    pub repeated: u64,
    /// Messages of others that were refused.
    pub refused: u64,
}

/// The running [`Tally`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) relayed: AtomicU64,
    repeated: AtomicU64,
    refused: AtomicU64,
}

pub(super) fn tally(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn read(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            sent: read(&self.sent),
            delivered: read(&self.delivered),
            relayed: read(&self.relayed),
            repeated: read(&self.repeated),
            refused: read(&self.refused),
        }
    }
}

impl Shared {
    /// Counts a message that was refused, and says so in the log now and then: the original says nothing.
    pub(super) fn account(&self, refusal: &Refusal, channel: &str, peer: &Peer) {
        let is_repeated = matches!(refusal, Refusal::Duplicate { .. });
        tally(if is_repeated { &self.counters.repeated } else { &self.counters.refused });
        if !self.drops.lock().count(refusal, channel, &peer.key, self.now()) {
            return;
        }
        let channel: String = refusal.target().unwrap_or(channel).chars().take(64).collect();
        let why = self.reason(refusal, &channel);
        tracing::warn!(target: "sidechannel", peer = &peer.key[..8], "messages of {channel:?} are dropped: {why}; /sc_why says more");
    }

    /// Why a message was refused, and the flags that mend it.
    fn reason(&self, refusal: &Refusal, channel: &str) -> String {
        let policy = self.pipeline.policy();
        let flags = match refusal {
            Refusal::Blocked => {
                "the peer is blocked for flooding (--sidechannel-rate-bytes, --sidechannel-rate-burst, --sidechannel-max-strikes)"
            }
            Refusal::Rate { .. } => {
                "the peer sends more than --sidechannel-rate-bytes and --sidechannel-rate-burst allow"
            }
            Refusal::TooLarge { .. } => "they are larger than --sidechannel-max-bytes allows",
            Refusal::Malformed => "they are no JSON",
            Refusal::TooDeep => "they are nested too deeply",
            Refusal::Duplicate { .. } => "they came before",
            Refusal::Pow => {
                let bits = policy.pow_difficulty(channel).unwrap_or_default();
                return format!("their proof of work is below {bits} bits (--sidechannel-pow-difficulty)");
            }
            Refusal::InvalidWelcome | Refusal::OpenWelcome { .. } => {
                "the welcome in them is not the configured owner's (--sidechannel-owner)"
            }
            Refusal::MissingWelcome => "they are welcomes without a welcome",
            Refusal::OpenMissingWelcome { .. } => {
                "they ask to open a channel without its owner's welcome (--sidechannel-welcome-required 0 lets them)"
            }
            Refusal::OpenInvite { .. } => {
                "they ask to open a channel without a valid invite (--sidechannel-invite-required)"
            }
            Refusal::Invite | Refusal::Owner { .. } | Refusal::AwaitingWelcome => {
                let explanation = self.pipeline.explain(channel, self.now());
                let codes: &[&str] = match refusal {
                    Refusal::AwaitingWelcome => &["no-owner", "welcome-invalid", "no-welcome"],
                    Refusal::Invite => &["invite-missing", "invite-expired", "invites-demanded"],
                    _ => &["owner-only-without-owner", "owner-only"],
                };
                let found =
                    codes.iter().find_map(|code| explanation.receiving.iter().find(|found| found.code == *code));
                return found.map_or_else(String::new, |found| format!("{} ({})", found.why, found.mend.join(" | ")));
            }
        };
        flags.to_owned()
    }

    /// Says in the log what is wrong with an invite or a welcome that was given here: the original says nothing.
    pub(super) fn say_what_does_not_count(&self, channel: &str, invite: Option<&Value>, welcome: Option<&Value>) {
        let policy = self.pipeline.policy();
        if let Some(invite) = invite
            && let Err(fault) = policy.check_invite(invite, channel, &policy.self_key, self.now().wall)
        {
            tracing::warn!(target: "sidechannel", "the invite that was given for {channel:?} does not count: {fault}");
        }
        if let Some(welcome) = welcome
            && let Err(fault) = policy.check_welcome(welcome, channel)
        {
            tracing::warn!(target: "sidechannel", "the welcome that was given for {channel:?} does not count: {fault}");
        }
    }

    /// Why messages on a channel are not received or not sent.
    pub(super) fn explain(&self, channel: &str) -> Explanation {
        let now = self.now();
        let channel = trim(channel);
        let mut explanation = self.pipeline.explain(channel, now);
        let peers = self.peers_on(channel);
        let on_channel = peers.iter().filter(|(_, open)| *open).count();
        let started = *self.started.borrow();
        let network = if !started && peers.is_empty() {
            Some(obstacle(
                "network",
                "the network is not there yet: no topic is joined",
                &["check that UDP passes, and --peer-dht-bootstrap"],
            ))
        } else if peers.is_empty() {
            Some(obstacle(
                "no-peers",
                "no peer is connected",
                &["start another peer with the same --peer-dht-bootstrap"],
            ))
        } else if on_channel == 0 && explanation.receiving.iter().all(|found| found.code != "not-joined") {
            Some(obstacle(
                "nobody-on-channel",
                "none of the connected peers has joined the channel",
                &[
                    "/sc_join at the others",
                    &format!("/sc_open --channel \"{channel}\" asks those with --sidechannel-auto-join 1"),
                ],
            ))
        } else {
            None
        };
        explanation.receiving.extend(network.clone());
        explanation.sending.extend(network);
        for (peer, _) in &peers {
            let key = &peer.key;
            if let Some(left) = peer.blocked_for(now.instant) {
                explanation.receiving.push(obstacle(
                    "blocked",
                    format!("{key} is blocked for flooding, for {} s more", left.as_secs() + 1),
                    &[
                        "--sidechannel-rate-bytes 0 sets no limit here, other numbers of it, of --sidechannel-rate-burst and of \
                         --sidechannel-max-strikes a higher one",
                        "let that peer send less; after this time it is heard again",
                    ],
                ));
            }
            if !self.pipeline.is_authorized(channel, peer, now) {
                explanation.sending.push(obstacle(
                    "peer-without-invite",
                    format!("{key} has shown no valid invite, and gets nothing"),
                    &[&format!("/sc_invite --channel \"{channel}\" --pubkey \"{key}\"")],
                ));
            }
        }
        let dropped = self.drops.lock().of(channel);
        explanation.receiving.extend(self.weak_proofs(channel, &dropped, now));
        explanation.running = Some(Running { started, connections: peers.len(), on_channel, dropped });
        explanation
    }
    /// Others whose messages prove too little work, where that was so just now.
    fn weak_proofs(&self, channel: &str, dropped: &[Dropped], now: Now) -> Option<Obstacle> {
        let bits = self.pipeline.policy().pow_difficulty(channel)?;
        let weak = dropped.iter().find(|dropped| dropped.reason == PROOF_OF_WORK)?;
        (now.wall.saturating_sub(weak.last) < JUST_NOW.as_millis() as u64).then(|| {
            obstacle(
                "weak-proof",
                format!(
                    "messages that came from {} prove less work than the {bits} bits that this peer demands",
                    weak.from
                ),
                &[
                    &format!("--sidechannel-pow 1 --sidechannel-pow-difficulty {bits} at the peer that wrote them"),
                    "--sidechannel-pow 0, or a smaller --sidechannel-pow-difficulty, here",
                ],
            )
        })
    }
}
