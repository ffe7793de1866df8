//! Whatever comes in: nothing panics, and nothing grows.

use std::time::{Duration, Instant};

use encoding::json::{Value, parse, stringify};
use proptest::prelude::*;

use super::{hex_of, keys};
use crate::sidechannel::{
    SidechannelOptions,
    payload::body_of,
    pipeline::{Now, Pipeline, Received},
    refusal::Refusal,
    relay::relayed,
};

/// Pipelines with every kind of rule.
fn pipelines() -> Vec<Pipeline> {
    let owner_keys = || [("room".to_owned(), hex_of(4)), ("target".to_owned(), hex_of(4))].into();
    let base = || SidechannelOptions { pow_difficulty: 1, owner_keys: owner_keys(), ..Default::default() };
    [
        SidechannelOptions { pow_enabled: false, welcome_required: false, ..base() },
        base(),
        SidechannelOptions { invite_required: true, inviter_keys: vec![hex_of(1), hex_of(2)], ..base() },
        SidechannelOptions { pow_enabled: false, owner_write_only: true, welcome_required: false, ..base() },
        SidechannelOptions { pow_enabled: false, auto_join_on_open: true, ..base() },
    ]
    .into_iter()
    .map(|options| Pipeline::new(&options, &keys(1).public_key))
    .collect()
}

fn judge(pipeline: &Pipeline, channel: &str, body: &[u8]) -> Received {
    let now = Now { wall: 1_700_000_000_000, instant: Instant::now() };
    let peer = pipeline.peer(&keys(2).public_key, now.instant);
    let received = pipeline.receive(&peer, channel, body, now);
    match &received.verdict {
        Err(refusal) => drop(refusal.line(channel, &peer.key)),
        Ok(accepted) => drop(relayed(&accepted.payload, &peer.key)),
    }
    received
}

fn text(json: &str) -> Vec<u8> {
    body_of(json).to_vec()
}

/// Values that are not what is expected where they stand.
fn odd() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1e999",
            "-1e999",
            "1e-999",
            "3",
            "1.5",
            "123456789012345680000",
            "\"\"",
            "\"x\"",
            "\"auth\"",
            "\"welcome\"",
            "\"open_channel\"",
            "\"target\"",
            "\"room\"",
            "\" room \"",
            "\"0000intercom\"",
            "\"\\ud800\"",
            "\"NaN\"",
            "\"Infinity\"",
            "\"0x10\"",
            "[]",
            "{}",
            r#"{"toString":1}"#,
            r#"{"type":"Buffer","data":[1,2,300,-1,"x",{},1e999]}"#,
            r#"{"type":"Buffer","data":"x"}"#,
            r#"[[["x"]],null]"#,
            r#"{"__proto__":1}"#,
        ])
        .prop_map(str::to_owned),
        Just(format!("\"{}\"", hex_of(2))),
        Just(format!("\"{}\"", hex_of(4))),
        Just(format!("\"{}\"", "ab".repeat(64))),
        Just(format!("\"{}\"", "x".repeat(60_000))),
        any::<f64>().prop_map(|number| stringify(&Value::Number(number))),
        any::<String>().prop_map(|string| stringify(&string.into())),
    ];
    let key = prop::sample::select(vec![
        "id",
        "channel",
        "from",
        "origin",
        "message",
        "ts",
        "ttl",
        "pow",
        "nonce",
        "sig",
        "signature",
        "invite",
        "welcome",
        "payload",
        "control",
        "relayedBy",
        "issuedAt",
        "expiresAt",
        "inviteePubKey",
        "inviterPubKey",
        "inviterAddress",
        "ownerPubKey",
        "text",
        "version",
        "type",
        "data",
        "toString",
        "__proto__",
        "0",
        "length",
    ]);
    leaf.prop_recursive(5, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key.clone(), inner), 0..9).prop_map(|entries| {
                let entries: Vec<String> =
                    entries.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        for pipeline in pipelines() {
            judge(&pipeline, "room", &bytes);
        }
    }

    #[test]
    fn any_values_are_judged(json in odd(), channel in prop::sample::select(vec!["room", "0000intercom", "target", ""])) {
        for pipeline in pipelines() {
            let received = judge(&pipeline, channel, &text(&json));
            prop_assert!(received.verdict != Err(Refusal::Malformed), "{}", json);
            // What is longer than the burst is not read.
            let written = if json.len() > 256_000 { json.len() } else { stringify(&parse(&json).unwrap()).len() };
            prop_assert_eq!(received.bytes, Some(written));
            let again = judge(&pipeline, channel, &text(&json));
            if received.verdict.is_ok() {
                let duplicate = matches!(again.verdict, Err(Refusal::Duplicate { .. }));
                prop_assert!(duplicate, "taken twice: {}", json);
            }
        }
    }
}

#[test]
fn what_is_too_large_or_too_deep_is_not_read_and_counts_as_too_much() {
    let options = SidechannelOptions { max_message_bytes: 10_000, pow_enabled: false, ..Default::default() };
    let pipeline = Pipeline::new(&options, &keys(1).public_key);
    let now = Now { wall: 0, instant: Instant::now() };
    let peer = pipeline.peer(&keys(2).public_key, now.instant);
    let receive = |json: &str| pipeline.receive(&peer, "0000intercom", &body_of(json), now);
    let deep = "[".repeat(9_000);
    assert_eq!(receive(&deep).verdict, Err(Refusal::TooDeep));
    let allowed = format!("{{\"id\":\"long\",\"message\":\"{}\"}}", "x".repeat(20_000));
    assert!(receive(&allowed).verdict.is_ok(), "the own limit is of what is sent, not of what others send");
    let large = format!("\"{}\"", "x".repeat(1_010_000));
    let received = receive(&large);
    assert_eq!((received.bytes, received.verdict), (None, Err(Refusal::TooLarge { bytes: large.len() })));
    assert!(receive("{}").verdict.is_ok());
    assert_eq!(receive(&large).verdict, Err(Refusal::TooLarge { bytes: large.len() }));
    assert_eq!(receive("{\"id\":1}").verdict, Err(Refusal::Blocked), "three strikes");
}

/// With the rate limit of the options, what is longer than the burst is dropped unread, whatever is in it.
#[test]
fn what_the_rate_never_allows_is_not_read() {
    let pipeline = Pipeline::new(&SidechannelOptions::default(), &keys(1).public_key);
    let now = Now { wall: 0, instant: Instant::now() };
    let peer = pipeline.peer(&keys(2).public_key, now.instant);
    let garbage = "{".repeat(256_001);
    for blocked in [false, false, true] {
        let received = pipeline.receive(&peer, "0000intercom", &body_of(&garbage), now);
        assert_eq!((received.bytes, received.verdict), (Some(garbage.len()), Err(Refusal::Rate { blocked })));
    }
    assert_eq!(pipeline.receive(&peer, "0000intercom", &body_of("{}"), now).verdict, Err(Refusal::Blocked));
}

#[test]
fn ids_take_the_same_room_whatever_they_are() {
    let options =
        SidechannelOptions { pow_enabled: false, rate_bytes_per_second: None, max_seen: 100, ..Default::default() };
    let pipeline = Pipeline::new(&options, &keys(1).public_key);
    let start = Instant::now();
    let peer = pipeline.peer(&keys(2).public_key, start);
    for n in 0..1_000u32 {
        let id = format!("{{\"id\":[{n},\"{}\"],\"ttl\":3}}", "long ".repeat(1_000));
        let now = Now { wall: 0, instant: start + Duration::from_millis(n.into()) };
        assert!(pipeline.receive(&peer, "0000intercom", &body_of(&id), now).verdict.is_ok());
        let again = pipeline.receive(&peer, "0000intercom", &body_of(&id), now).verdict;
        assert!(n > 0 || matches!(again, Err(Refusal::Duplicate { .. })), "a message is known again by its content");
    }
}
