//! The vectors: topic, proof of work, signature, invite and welcome.

use std::sync::atomic::AtomicBool;

use crypto::KeyPair;
use encoding::json::{Value, parse, stable_stringify, stringify};
use testing::{hex, vector_text};

use crate::{
    identity::Identity,
    sidechannel::{
        SidechannelOptions,
        invite::{Invite, InviteTerms, create_invite},
        payload::{Draft, text_of},
        pipeline::Pipeline,
        pow::{PowBase, leading_zero_bits},
        signature::signature_base,
        topic_of,
        welcome::{Welcome, create_welcome},
    },
};

/// The words of the vectors.
const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

fn keys() -> KeyPair {
    Identity::from_mnemonic(WORDS, None).unwrap().key_pair().clone()
}

/// What follows `name` on each line that begins with it.
fn lines<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(' '))
}

#[test]
fn topic_vector() {
    let text = vector_text("app/tx-and-sig.txt");
    let mut checked = 0;
    for line in lines(&text, "topic") {
        let (channel, topic) = line.rsplit_once(' ').unwrap();
        assert_eq!(hex(&topic_of(channel)), topic);
        checked += 1;
    }
    assert!(checked > 0);
}

/// The lines `powbase`, `pow nonce` and `sigbase` belong together, each to the one of its place; the last `sig` lines to these.
#[test]
fn proof_of_work_and_signature_vector() {
    let text = vector_text("app/tx-and-sig.txt");
    let keys = keys();
    let proofs: Vec<&str> = lines(&text, "pow").collect();
    let bases: Vec<&str> = lines(&text, "powbase").collect();
    let signed: Vec<&str> = lines(&text, "sigbase").collect();
    assert!(!bases.is_empty() && bases.len() == signed.len() && bases.len() == proofs.len());
    let signatures: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("powbase "))
        .filter_map(|line| line.strip_prefix("sig "))
        .collect();
    for (((base, proof), to_sign), signature) in bases.into_iter().zip(proofs).zip(signed).zip(signatures) {
        let (nonce, hash) = proof.strip_prefix("nonce ").unwrap().split_once(' ').unwrap();
        let payload = parse(base).unwrap();
        let message = payload.get("message").unwrap();
        let pow = PowBase::new(&payload, &stable_stringify(message));
        assert_eq!(hex(&pow.hash(nonce.parse().unwrap())), hash);
        let difficulty = leading_zero_bits(&pow.hash(nonce.parse().unwrap()));
        let solved = pow.solve(difficulty.min(12), &AtomicBool::new(false)).unwrap();
        assert!(solved.to_string() == nonce || difficulty > 12);
        assert_eq!(signature_base(&payload, &stable_stringify(message)), to_sign);
        assert_eq!(hex(&keys.sign(to_sign.as_bytes())), signature);

        let text = |key: &str| payload.get(key).and_then(Value::as_str).unwrap().to_owned();
        let draft = Draft {
            channel: text("channel"),
            message: Some(message.clone()),
            invite: None,
            id: text("id"),
            ts: payload.get("ts").and_then(Value::as_f64).unwrap() as u64,
            ttl: 3,
            difficulty: Some(12),
            max_bytes: None,
            report_hash: true,
        };
        let sealed = draft.seal(&keys, &AtomicBool::new(false)).unwrap();
        let sent = parse(text_of(&sealed.body).unwrap()).unwrap();
        assert_eq!(sent.get("pow").and_then(|pow| pow.get("nonce")).and_then(Value::as_f64), nonce.parse().ok());
        assert_eq!(sent.get("sig").and_then(Value::as_str), Some(signature));

        let shown = stable_stringify(message);
        for (pow_difficulty, enough) in [(difficulty, true), (difficulty + 1, false)] {
            let options = SidechannelOptions { pow_difficulty, ..Default::default() };
            let pipeline = Pipeline::new(&options, &keys.public_key);
            let taken = pipeline.policy().check_pow(&sent, &text("channel"), || shown.as_str());
            assert_eq!(taken, enough, "{difficulty} bits where {pow_difficulty} are demanded");
        }
    }
}

#[test]
fn invite_and_welcome_vector() {
    let document = parse(vector_text("app/invite-welcome.json")).unwrap();
    let keys = keys();
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("{key}")).to_owned();
    let count = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64).unwrap() as u64;
    let strip = |signed: &Value| {
        let mut object = signed.as_object().unwrap().clone();
        object.remove("signed");
        Value::Object(object)
    };
    let owner = text(&document, "pubkey");
    assert_eq!(owner, hex(&keys.public_key));

    let welcome = document.get("welcome").unwrap();
    let payload = welcome.get("payload").unwrap();
    assert_eq!(stable_stringify(payload), text(welcome, "signed"));
    assert_eq!(Welcome::check(&strip(welcome), &text(payload, "channel"), &owner), Ok(()));
    assert_eq!(Welcome::check(&strip(welcome), "another", &owner), Err("it is for another channel"));
    let made = create_welcome(&keys, &text(payload, "channel"), &text(payload, "text"), count(payload, "issuedAt"));
    assert_eq!(stringify(&made), stringify(&strip(welcome)));

    let invite = document.get("invite").unwrap();
    let payload = invite.get("payload").unwrap();
    assert_eq!(stable_stringify(payload), text(invite, "signed"));
    let (channel, invitee) = (text(payload, "channel"), text(payload, "inviteePubKey"));
    let (from, until) = (count(payload, "issuedAt"), count(payload, "expiresAt"));
    let verify = |invitee: &str, now| Invite::check(&strip(invite), &channel, invitee, now, |inviter| inviter == owner);
    assert_eq!(verify(&invitee, until - 1), Ok(until as f64));
    assert_eq!(verify(&invitee, until), Err("it has expired"));
    assert_eq!(verify(&owner, from), Err("it is for another peer"));
    let terms = InviteTerms {
        channel: &channel,
        invitee: &invitee,
        inviter_address: Some(&text(payload, "inviterAddress")),
        issued_at: from,
        expires_at: until,
        nonce: &text(payload, "nonce"),
        welcome: Some(strip(welcome)),
    };
    let made = stringify(&create_invite(&keys, terms));
    let decoded = decode_base64(&text(&document, "invite_b64"));
    assert_eq!(made, decoded);
}

/// Base64 with padding, which nothing else here needs.
fn decode_base64(text: &str) -> String {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group.iter().fold(0u32, |bits, c| bits << 6 | u32::from(value(*c))) << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    String::from_utf8(bytes).unwrap()
}
