//! Why a message is not taken, and the line that says so where debugging is on.

use sha2::{Digest, Sha256};

use super::keys;

/// Why a message is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Its sender is blocked.
    Blocked,
    /// It is not JSON: the connection ends, as it does in JavaScript.
    Malformed,
    /// It is longer than any message may be, and was not read.
    TooLarge {
        /// The length of its text.
        bytes: usize,
    },
    /// It is nested too deeply.
    TooDeep,
    /// It, or the own peer, lacks an invite.
    Invite,
    /// Its proof of work does not hold.
    Pow,
    /// Its sender sends too much.
    Rate {
        /// Whether the sender is blocked from now on.
        blocked: bool,
    },
    /// Only the owner may write, and it is not the owner's.
    Owner {
        /// Who it says it is from.
        author: Option<String>,
        /// The owner.
        owner: Option<String>,
        /// Whether the owner signed it.
        signed: bool,
        /// The length of the signature.
        signature_len: usize,
        /// What should have been signed.
        base: String,
    },
    /// It was taken already.
    Duplicate {
        /// Its id, as text.
        id: String,
    },
    /// It is a welcome, and not valid.
    InvalidWelcome,
    /// It is a welcome, and has none within.
    MissingWelcome,
    /// The channel's welcome is not known yet.
    AwaitingWelcome,
    /// It asks to open a channel with a welcome that is not valid.
    OpenWelcome {
        /// The channel.
        target: String,
    },
    /// It asks to open a channel without the welcome that this needs.
    OpenMissingWelcome {
        /// The channel.
        target: String,
    },
    /// It asks to open a channel without the invite that this needs.
    OpenInvite {
        /// The channel.
        target: String,
    },
}

impl Refusal {
    /// The channel that it asked to open, if it did.
    pub fn target(&self) -> Option<&str> {
        match self {
            Refusal::OpenWelcome { target }
            | Refusal::OpenMissingWelcome { target }
            | Refusal::OpenInvite { target } => Some(target),
            _ => None,
        }
    }

    /// The line that JavaScript peers print where debugging is on; `remote` is the key of the peer that sent the message.
    pub fn line(&self, channel: &str, remote: &str) -> Option<String> {
        let reason = match self {
            Refusal::Blocked => return None,
            Refusal::Malformed => "malformed".to_owned(),
            Refusal::TooLarge { bytes } => format!("too large, {bytes} bytes"),
            Refusal::TooDeep => "nested too deeply".to_owned(),
            Refusal::Invite => "invite".to_owned(),
            Refusal::Pow => "invalid pow".to_owned(),
            Refusal::Rate { .. } => "rate limit".to_owned(),
            Refusal::InvalidWelcome => "invalid welcome".to_owned(),
            Refusal::MissingWelcome => "missing welcome".to_owned(),
            Refusal::AwaitingWelcome => "awaiting welcome".to_owned(),
            Refusal::Duplicate { id } => {
                return Some(format!("[sidechannel:{channel}] drop (duplicate) {id}"));
            }
            Refusal::Owner { author, owner, signed, signature_len, base } => {
                let name = |key: &Option<String>| key.clone().unwrap_or_else(|| "null".to_owned());
                let hash = keys::hex(&Sha256::digest(base.as_bytes()));
                return Some(format!(
                    "[sidechannel:{channel}] drop (owner-only) author={} owner={} sigOk={signed} sigLen={signature_len} \
                     hash={hash} fromRemote={remote}",
                    name(author),
                    name(owner),
                ));
            }
            Refusal::OpenWelcome { target } => return Some(denied("welcome", target, remote)),
            Refusal::OpenMissingWelcome { target } => return Some(denied("missing welcome", target, remote)),
            Refusal::OpenInvite { target } => return Some(denied("invite", target, remote)),
        };
        Some(format!("[sidechannel:{channel}] drop ({reason}) from {remote}"))
    }
}

fn denied(why: &str, target: &str, remote: &str) -> String {
    format!("[sidechannel] open denied ({why}) for {target} from {remote}")
}
