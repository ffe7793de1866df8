//! Why messages on a channel are not received or not sent, and what mends it.
//!
//! The original is silent where a rule drops a message, and so are this peer's wire and its bridge. This says the same rules in plain
//! words, beside the flags that change them. It is made of the options alone, or of a running peer's state.

use encoding::json::{Object, Value, trim};

use super::SidechannelOptions;
use super::drops::Dropped;
use super::pipeline::{MAX_CHANNELS, Now, Pipeline};

/// Something that keeps messages from being received or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What it is, in a word for programs.
    pub code: &'static str,
    /// What it is, in a sentence for people.
    pub why: String,
    /// Flags, commands or acts any of which mends it.
    pub mend: Vec<String>,
}

/// What a running peer adds to what its options say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Running {
    /// Whether the topics are joined.
    pub started: bool,
    /// How many peers are connected.
    pub connections: usize,
    /// How many of these have the channel open.
    pub on_channel: usize,
    /// What was dropped of the channel.
    pub dropped: Vec<Dropped>,
}

/// Why messages on a channel are not received or not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The channel, trimmed.
    pub channel: String,
    /// What keeps messages from being received.
    pub receiving: Vec<Obstacle>,
    /// What keeps messages from being sent, or from being taken by others.
    pub sending: Vec<Obstacle>,
    /// What is known of the running peer; `None` where the options alone were asked.
    pub running: Option<Running>,
    /// The time of this explanation, in milliseconds since 1970.
    pub now: u64,
}

pub(super) fn obstacle(code: &'static str, why: impl Into<String>, mend: &[&str]) -> Obstacle {
    Obstacle { code, why: why.into(), mend: mend.iter().map(|mend| (*mend).to_owned()).collect() }
}

impl Explanation {
    /// The lines for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (what, obstacles) in [("receiving", &self.receiving), ("sending", &self.sending)] {
            let found = if obstacles.is_empty() { "nothing is in the way" } else { "this is in the way:" };
            lines.push(format!("[why:{}] {what}: {found}", self.channel));
            for Obstacle { why, mend, .. } in obstacles {
                lines.push(format!("- {why}"));
                for (at, mend) in mend.iter().enumerate() {
                    lines.push(format!("  {} {mend}", if at == 0 { "mend:" } else { "or:  " }));
                }
            }
        }
        let Some(running) = &self.running else { return lines };
        lines.push(format!(
            "[why:{}] {} peers connected, {} of them on this channel",
            self.channel, running.connections, running.on_channel
        ));
        for Dropped { reason, count, last, from } in &running.dropped {
            let ago = self.now.saturating_sub(*last) / 1_000;
            let from = from.get(..16).unwrap_or(from);
            lines.push(format!("- dropped since the start ({reason}): {count}, the last {ago} s ago from {from}..."));
        }
        lines
    }

    /// The same for programs.
    pub fn to_object(&self) -> Object {
        let obstacles = |obstacles: &[Obstacle]| {
            let one = |obstacle: &Obstacle| {
                Value::from(
                    Object::new()
                        .with("code", obstacle.code)
                        .with("why", obstacle.why.as_str())
                        .with("mend", obstacle.mend.clone()),
                )
            };
            Value::Array(obstacles.iter().map(one).collect())
        };
        let running = self.running.clone().unwrap_or_default();
        let dropped = |dropped: &Dropped| {
            Value::from(
                Object::new()
                    .with("reason", dropped.reason)
                    .with("count", dropped.count as f64)
                    .with("lastAt", dropped.last as f64)
                    .with("from", dropped.from.as_str()),
            )
        };
        Object::new()
            .with("channel", self.channel.as_str())
            .with("running", self.running.is_some())
            .with("started", running.started)
            .with("connections", running.connections)
            .with("onChannel", running.on_channel)
            .with("receiving", obstacles(&self.receiving))
            .with("sending", obstacles(&self.sending))
            .with("dropped", Value::Array(running.dropped.iter().map(dropped).collect()))
            .with("lines", self.lines())
    }
}

/// What the options alone keep from being received and sent, for the peer with this key. `now` is in milliseconds since 1970.
pub fn explain_options(options: &SidechannelOptions, public_key: &[u8; 32], channel: &str, now: u64) -> Explanation {
    let pipeline = Pipeline::new(options, public_key);
    let now = Now { wall: now, instant: std::time::Instant::now() };
    for channel in std::iter::once(&options.entry_channel).chain(&options.channels) {
        pipeline.register(channel, MAX_CHANNELS, now);
    }
    pipeline.explain(channel, now)
}

impl Pipeline {
    /// What the rules, and what is known of a channel, keep from being received and sent.
    pub fn explain(&self, channel: &str, now: Now) -> Explanation {
        let channel = trim(channel);
        let mut explanation = Explanation {
            channel: channel.to_owned(),
            receiving: Vec::new(),
            sending: Vec::new(),
            running: None,
            now: now.wall,
        };
        if channel.is_empty() {
            let nameless = obstacle("no-name", "a channel needs a name", &[]);
            explanation.receiving.push(nameless.clone());
            explanation.sending.push(nameless);
            return explanation;
        }
        let invite = self.missing_invite(channel, now);
        let joined = self.not_joined(channel).filter(|_| invite.is_none());
        let no_welcome = self.missing_welcome(channel);
        let receiving = [invite.clone(), joined, no_welcome, self.others_invites(channel), self.others_words(channel)];
        explanation.receiving = receiving.into_iter().flatten().collect();
        let sending = [invite, self.own_words(channel), self.unheard(channel), self.no_proof(channel)];
        explanation.sending = sending.into_iter().flatten().collect();
        explanation
    }

    fn not_joined(&self, channel: &str) -> Option<Obstacle> {
        let join = format!("/sc_join --channel \"{channel}\"");
        let flag = format!("--sidechannels \"{channel}\"");
        let missing = !self.standing(channel).registered && !self.policy().is_entry(channel);
        missing.then(|| obstacle("not-joined", "this peer has not joined the channel", &[&flag, &join]))
    }

    /// The own peer's invite, which is missing or has ended.
    fn missing_invite(&self, channel: &str, now: Now) -> Option<Obstacle> {
        let policy = self.policy();
        if !policy.invite_required(channel) || policy.is_inviter(&policy.self_key) {
            return None;
        }
        let ask = format!(
            "ask an inviter for: /sc_invite --channel \"{channel}\" --pubkey \"{}\"; then /sc_join --channel \"{channel}\" --invite \"<invite_b64>\"",
            policy.self_key
        );
        let off = "--sidechannel-invite-required 0, or lists of --sidechannel-invite-channels and --sidechannel-invite-prefixes \
                   without this channel";
        match self.standing(channel).invite_ends {
            Some(ends) if ends > now.wall as f64 => None,
            Some(ends) => {
                let ago = (now.wall as f64 - ends) / 1_000.0;
                Some(obstacle(
                    "invite-expired",
                    format!("this peer's invite to the channel expired {ago:.0} s ago"),
                    &[&ask, off],
                ))
            }
            None => Some(obstacle(
                "invite-missing",
                "the channel needs an invite here, and this peer has shown itself none that is valid",
                &[&ask, off],
            )),
        }
    }

    fn missing_welcome(&self, channel: &str) -> Option<Obstacle> {
        let policy = self.policy();
        let standing = self.standing(channel);
        if !policy.welcome_required(channel) || standing.welcomed {
            return None;
        }
        let off = "--sidechannel-welcome-required 0";
        let Some(owner) = policy.owner(channel) else {
            let owner = format!(
                "--sidechannel-owner \"{channel}:<owner's public key>\", with the owner's welcome: --sidechannel-welcome \
                 \"{channel}:@FILE\""
            );
            return Some(obstacle(
                "no-owner",
                "a welcome is required and no owner is configured for the channel, so that none can ever be valid: every message \
                 is dropped",
                &[off, &owner],
            ));
        };
        let welcome =
            format!("--sidechannel-welcome \"{channel}:@FILE\", with what /sc_welcome printed at the owner's peer");
        let wait = "let the owner's peer connect: it sends its welcome, if it has made one";
        let (code, why) = match standing.welcome.map(|welcome| policy.check_welcome(&welcome, channel)) {
            Some(Err(fault)) => {
                ("welcome-invalid", format!("the welcome that was given for the channel does not count: {fault}"))
            }
            _ => (
                "no-welcome",
                format!(
                    "the welcome of the channel's owner {owner} is not known yet: until then every message is dropped"
                ),
            ),
        };
        Some(obstacle(code, why, &[&welcome, wait, off]))
    }

    /// What others need to be heard here, where they need an invite.
    fn others_invites(&self, channel: &str) -> Option<Obstacle> {
        let policy = self.policy();
        if !policy.invite_required(channel) {
            return None;
        }
        let (who, own) = match policy.inviters() {
            Some(keys) if keys == [policy.self_key.as_str()] => {
                ("this peer's own invites count, as --sidechannel-inviter-keys names nobody else".to_owned(), true)
            }
            Some(keys) => (format!("invites of these keys count: {}", keys.join(", ")), false),
            None => ("anybody's invite counts".to_owned(), true),
        };
        let give = format!("give each peer an invite: /sc_invite --channel \"{channel}\" --pubkey \"<its key>\"");
        let trust = "--sidechannel-inviter-keys \"<keys that may invite>\"";
        let mend: &[&str] = if own { &[&give, trust] } else { &[trust] };
        Some(obstacle(
            "invites-demanded",
            format!("who shows no valid invite is not heard, and gets nothing; {who}"),
            mend,
        ))
    }

    /// Whom the channel's owner alone may be heard.
    fn others_words(&self, channel: &str) -> Option<Obstacle> {
        let policy = self.policy();
        if !policy.owner_write_only(channel) {
            return None;
        }
        let off = "--sidechannel-owner-write-only 0, and --sidechannel-owner-write-channels without this channel";
        let name = format!("--sidechannel-owner \"{channel}:<owner's public key>\"");
        Some(match policy.owner(channel) {
            None => obstacle(
                "owner-only-without-owner",
                "only the owner may write, and no owner is configured: every message is dropped",
                &[&name, off],
            ),
            Some(owner) => obstacle("owner-only", format!("only messages of the owner {owner} are taken"), &[off]),
        })
    }

    fn own_words(&self, channel: &str) -> Option<Obstacle> {
        let policy = self.policy();
        let silent = policy.owner_write_only(channel) && !policy.owns(channel);
        let off = "--sidechannel-owner-write-only 0, and --sidechannel-owner-write-channels without this channel, here and at the \
                   others";
        silent.then(|| {
            obstacle("not-owner", "only the channel's owner may write to it, and this peer is not the owner", &[off])
        })
    }

    /// What others wait for from this peer, where it owns the channel.
    fn unheard(&self, channel: &str) -> Option<Obstacle> {
        let waits = self.policy().owns(channel) && self.standing(channel).welcome.is_none();
        let make = format!("/sc_welcome --channel \"{channel}\" --text \"<message>\"");
        let flag = format!("--sidechannel-welcome \"{channel}:@FILE\"");
        waits.then(|| {
            obstacle(
                "welcome-not-made",
                "this peer owns the channel and has made no welcome: others that require one drop every message",
                &[&make, &flag],
            )
        })
    }

    /// The proof of work of own messages, where it is less than others demand by default.
    fn no_proof(&self, channel: &str) -> Option<Obstacle> {
        let default = SidechannelOptions::default().pow_difficulty;
        let policy = self.policy();
        let bits = policy.pow_difficulty(channel).unwrap_or(0);
        let mut mend = format!("--sidechannel-pow 1 --sidechannel-pow-difficulty {}", policy.difficulty().max(default));
        if policy.difficulty() > 0 && bits == 0 {
            mend =
                "--sidechannel-pow-entry 0, and --sidechannel-pow-channels with this channel or without it all".into();
        }
        (bits < default).then(|| {
            obstacle(
                "weak-proof",
                format!(
                    "messages from here prove {bits} bits of work at most; peers drop what has less than they demand, {default} bits by default"
                ),
                &[&mend],
            )
        })
    }
}
