//! Invites: an inviter's signed word that a peer may take part in a channel until some time.

use crypto::KeyPair;
use encoding::json::{JsString, Object, Value, stable_stringify, to_number};

use super::keys;

/// What an invite says, normalised as its inviter signed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Invite {
    channel: JsString,
    invitee: JsString,
    inviter: JsString,
    address: Value,
    issued_at: f64,
    expires_at: f64,
    nonce: JsString,
    version: f64,
}

impl Invite {
    /// Reads what an invite says, from its `payload` or, where it has none, from itself. `None` where JavaScript would throw.
    fn read(invite: &Value) -> Option<Self> {
        let payload = payload_of(invite);
        Some(Self {
            channel: keys::text_or_empty(payload.get("channel"))?,
            invitee: keys::normalize_key(payload.get("inviteePubKey")).unwrap_or_default(),
            inviter: keys::normalize_key(payload.get("inviterPubKey")).unwrap_or_default(),
            address: payload.get("inviterAddress").cloned().unwrap_or_default(),
            issued_at: payload.get("issuedAt").map_or(f64::NAN, to_number),
            expires_at: payload.get("expiresAt").map_or(f64::NAN, to_number),
            nonce: keys::text_or_empty(payload.get("nonce"))?,
            version: version_of(payload),
        })
    }

    fn payload(&self) -> Object {
        Object::new()
            .with("channel", self.channel.clone())
            .with("inviteePubKey", self.invitee.clone())
            .with("inviterPubKey", self.inviter.clone())
            .with("inviterAddress", self.address.clone())
            .with("issuedAt", self.issued_at)
            .with("expiresAt", self.expires_at)
            .with("nonce", self.nonce.clone())
            .with("version", self.version)
    }

    /// Until when `invite` lets `invitee` into `channel`, as of the time `now`.
    ///
    /// `may_invite` decides on the inviter's key. Keys are in lower-case hex, times in milliseconds since 1970.
    ///
    /// # Errors
    /// What is wrong with it, in a few words: the first of the original's checks that fails.
    pub fn check(
        invite: &Value,
        channel: &str,
        invitee: &str,
        now: u64,
        may_invite: impl FnOnce(&str) -> bool,
    ) -> Result<f64, &'static str> {
        let signature = signature_of(invite).ok_or("it has no signature")?;
        let this = Self::read(invite).ok_or("it cannot be read")?;
        let inviter = this.inviter.as_str().ok_or("it names no inviter")?;
        if this.channel != channel {
            return Err("it is for another channel");
        }
        if this.invitee != invitee {
            return Err("it is for another peer");
        }
        if inviter.is_empty() {
            return Err("it names no inviter");
        }
        if !may_invite(inviter) {
            return Err("its inviter is not among the inviters");
        }
        if !this.issued_at.is_finite() || !this.expires_at.is_finite() {
            return Err("its times are no numbers");
        }
        if this.expires_at <= now as f64 {
            return Err("it has expired");
        }
        let signed = stable_stringify(&this.payload().into());
        let valid = keys::verify_hex(inviter, &signed, &signature);
        valid.then_some(this.expires_at).ok_or("its signature does not hold")
    }
}

/// What an invite is made of, beside the inviter's keys.
#[derive(Debug, Clone)]
pub struct InviteTerms<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The invited peer's public key in hex.
    pub invitee: &'a str,
    /// The inviter's address.
    pub inviter_address: Option<&'a str>,
    /// When it was made, in milliseconds since 1970.
    pub issued_at: u64,
    /// When it ends, in milliseconds since 1970.
    pub expires_at: u64,
    /// A random text.
    pub nonce: &'a str,
    /// The channel's welcome, to be handed over along with the invite.
    pub welcome: Option<Value>,
}

/// Makes an invite: `{payload, sig, welcome?}`.
pub fn create_invite(inviter: &KeyPair, terms: InviteTerms<'_>) -> Value {
    let payload = Invite {
        channel: terms.channel.into(),
        invitee: encoding::json::trim(terms.invitee).to_lowercase().into(),
        inviter: keys::hex(&inviter.public_key).into(),
        address: terms.inviter_address.into(),
        issued_at: terms.issued_at as f64,
        expires_at: terms.expires_at as f64,
        nonce: terms.nonce.into(),
        version: 1.0,
    }
    .payload()
    .into();
    signed(inviter, payload, terms.welcome)
}

/// `{payload, sig, welcome?}`.
pub(super) fn signed(keys: &KeyPair, payload: Value, welcome: Option<Value>) -> Value {
    let signature = keys.sign(stable_stringify(&payload).as_bytes());
    let mut signed = Object::new().with("payload", payload).with("sig", keys::hex(&signature));
    if let Some(welcome) = welcome {
        signed.insert("welcome", welcome);
    }
    signed.into()
}

/// The part of an invite or a welcome that is signed.
pub(super) fn payload_of(document: &Value) -> &Value {
    document.get("payload").filter(|payload| payload.is_object_like()).unwrap_or(document)
}

/// The signature of an invite or a welcome, in hex.
pub(super) fn signature_of(document: &Value) -> Option<std::borrow::Cow<'_, str>> {
    super::signature::signature_of(document).map(JsString::to_str_lossy)
}

/// The version that a signed document names: 1 unless it is a finite number.
pub(super) fn version_of(payload: &Value) -> f64 {
    payload.get("version").and_then(Value::as_f64).filter(|version| version.is_finite()).unwrap_or(1.0)
}
