//! What is said of a channel: the same that the rules do, whatever the options.

use std::time::{Duration, Instant};

use encoding::json::Value;
use proptest::prelude::*;

use super::{NOW, TestPeer, hex_of, keys, manual_clock, options, settle};
use crate::sidechannel::{
    Explanation, SidechannelOptions, explain_options,
    invite::{InviteTerms, create_invite},
    payload::Draft,
    pipeline::{MAX_CHANNELS, Now, Pipeline, Registration},
    welcome::create_welcome,
};

const SELF: u8 = 1;
const STRANGER: u8 = 2;
const OWNER: u8 = 3;

fn now() -> Now {
    Now { wall: NOW, instant: Instant::now() }
}

fn codes(obstacles: &[crate::sidechannel::Obstacle]) -> Vec<&'static str> {
    obstacles.iter().map(|obstacle| obstacle.code).collect()
}

fn explained(options: SidechannelOptions) -> Explanation {
    explain_options(&options, &keys(SELF).public_key, "room", NOW)
}

fn welcome(owner: u8) -> Value {
    create_welcome(&keys(owner), "room", "hello", NOW)
}

/// With the channel `room` joined, enough work, and no welcome required.
fn open() -> SidechannelOptions {
    SidechannelOptions { channels: vec!["room".into()], welcome_required: false, ..Default::default() }
}

#[test]
fn every_obstacle_has_its_word_and_what_mends_it() {
    let owners = |owner: u8| [("room".to_owned(), hex_of(owner))].into();
    let welcomes = |welcome: Value| [("room".to_owned(), welcome)].into();
    let required = || SidechannelOptions { welcome_required: true, ..open() };
    let invited = || SidechannelOptions { invite_required: true, ..open() };
    type Case = (SidechannelOptions, &'static [&'static str], &'static [&'static str], &'static str);
    let cases: Vec<Case> = vec![
        (open(), &[], &[], ""),
        (SidechannelOptions { channels: Vec::new(), ..open() }, &["not-joined"], &[], "--sidechannels \"room\""),
        (required(), &["no-owner"], &[], "--sidechannel-owner \"room:<owner's public key>\""),
        (
            SidechannelOptions { owner_keys: owners(OWNER), ..required() },
            &["no-welcome"],
            &[],
            "--sidechannel-welcome \"room:@FILE\"",
        ),
        (
            SidechannelOptions { owner_keys: owners(OWNER), welcomes: welcomes(welcome(STRANGER)), ..required() },
            &["welcome-invalid"],
            &[],
            "--sidechannel-welcome-required 0",
        ),
        (
            SidechannelOptions { owner_keys: owners(OWNER), welcomes: welcomes(welcome(OWNER)), ..required() },
            &[],
            &[],
            "",
        ),
        (
            SidechannelOptions { owner_keys: owners(SELF), ..required() },
            &[],
            &["welcome-not-made"],
            "/sc_welcome --channel \"room\"",
        ),
        (invited(), &["invites-demanded"], &[], "/sc_invite --channel \"room\" --pubkey"),
        (
            SidechannelOptions { inviter_keys: vec![hex_of(OWNER)], ..invited() },
            &["invite-missing", "invites-demanded"],
            &["invite-missing"],
            "--sidechannel-inviter-keys",
        ),
        (SidechannelOptions { invite_prefixes: Some(vec!["priv".into()]), ..invited() }, &[], &[], ""),
        (
            SidechannelOptions { owner_write_only: true, ..open() },
            &["owner-only-without-owner"],
            &["not-owner"],
            "--sidechannel-owner-write-only 0",
        ),
        (
            SidechannelOptions { owner_write_channels: Some(vec!["room".into()]), owner_keys: owners(OWNER), ..open() },
            &["owner-only"],
            &["not-owner"],
            "--sidechannel-owner-write-channels",
        ),
        (
            SidechannelOptions { pow_enabled: false, ..open() },
            &[],
            &["weak-proof"],
            "--sidechannel-pow 1 --sidechannel-pow-difficulty 12",
        ),
        (
            SidechannelOptions { pow_channels: Some(vec!["other".into()]), ..open() },
            &[],
            &["weak-proof"],
            "--sidechannel-pow-channels with this channel",
        ),
        (SidechannelOptions { pow_require_entry: true, ..open() }, &[], &["weak-proof"], "--sidechannel-pow-entry 0"),
        (SidechannelOptions { pow_channels: Some(vec!["room".into()]), ..open() }, &[], &[], ""),
    ];
    for (options, receiving, sending, mend) in cases {
        let shown = format!("{options:?}");
        let explanation = explained(options);
        assert_eq!(codes(&explanation.receiving), receiving, "{shown}");
        assert_eq!(codes(&explanation.sending), sending, "{shown}");
        let lines = explanation.lines().join("\n");
        assert!(lines.contains(mend), "{mend} is not in: {lines}");
        let json = Value::from(explanation.to_object()).to_string();
        assert!(json.starts_with(r#"{"channel":"room","running":false,"#), "{json}");
    }
    let nameless = explain_options(&open(), &keys(SELF).public_key, "  ", NOW);
    assert_eq!(codes(&nameless.receiving), ["no-name"]);
    let entry = explain_options(&Default::default(), &keys(SELF).public_key, "0000intercom", NOW);
    assert_eq!((codes(&entry.receiving), codes(&entry.sending)), (vec![], vec![]), "the entry needs nothing");
}

#[test]
fn an_invite_is_missing_then_there_and_then_over() {
    let options = SidechannelOptions { invite_required: true, inviter_keys: vec![hex_of(OWNER)], ..open() };
    let pipeline = Pipeline::new(&options, &keys(SELF).public_key);
    let terms = InviteTerms {
        channel: "room",
        invitee: &hex_of(SELF),
        inviter_address: None,
        issued_at: NOW,
        expires_at: NOW + 1_000,
        nonce: "n",
        welcome: None,
    };
    assert_eq!(codes(&pipeline.explain("room", now()).sending), ["invite-missing"]);
    assert!(pipeline.accept_invite(&create_invite(&keys(OWNER), terms), "room", now()));
    assert_eq!(codes(&pipeline.explain("room", now()).sending), [] as [&str; 0]);
    let later = Now { wall: NOW + 5_000, ..now() };
    let explanation = pipeline.explain("room", later);
    assert_eq!(codes(&explanation.sending), ["invite-expired"]);
    assert!(explanation.sending[0].why.contains("expired 4 s ago"), "{explanation:?}");
}

/// Options of every kind that decide on the channel `room`.
fn any_options() -> impl Strategy<Value = SidechannelOptions> {
    let who = || proptest::option::of(prop_oneof![Just(SELF), Just(STRANGER), Just(OWNER)]);
    let names = || proptest::option::of(prop_oneof![Just("room"), Just("other"), Just("ro"), Just("")]);
    let rules = (any::<bool>(), any::<bool>(), any::<bool>(), names(), names(), names());
    (rules, who(), who(), who()).prop_map(
        |((welcomes, invites, owner_only, only, prefix, owner_channels), owner, welcomed_by, inviter)| {
            let list = |name: Option<&str>| name.map(|name| vec![name.to_owned()]);
            SidechannelOptions {
                pow_difficulty: 1,
                welcome_required: welcomes,
                invite_required: invites,
                owner_write_only: owner_only,
                invite_channels: list(only),
                invite_prefixes: list(prefix),
                owner_write_channels: list(owner_channels),
                owner_keys: owner.map(|owner| ("room".to_owned(), hex_of(owner))).into_iter().collect(),
                welcomes: welcomed_by.map(|by| ("room".to_owned(), welcome(by))).into_iter().collect(),
                inviter_keys: inviter.map(hex_of).into_iter().collect(),
                ..Default::default()
            }
        },
    )
}

proptest! {
    /// Somebody who owns nothing and invites nobody is heard if, and only if, the explanation finds nothing in the way.
    #[test]
    fn what_is_said_is_what_is_done(options in any_options()) {
        const NOBODY: u8 = 9;
        let pipeline = Pipeline::new(&options, &keys(SELF).public_key);
        let registered = pipeline.register("room", MAX_CHANNELS, now());
        let explanation = pipeline.explain("room", now());

        let invited = !codes(&explanation.sending).contains(&"invite-missing");
        prop_assert_eq!(registered != Registration::InviteRequired, invited);
        let writes = !codes(&explanation.sending).contains(&"not-owner");
        prop_assert_eq!(pipeline.may_write("room", &Value::Null), writes);

        let draft = Draft {
            channel: "room".into(),
            message: Some("hello".into()),
            invite: None,
            id: "id".into(),
            ts: NOW,
            ttl: 3,
            difficulty: Some(1),
            max_bytes: None,
            report_hash: false,
        };
        let body = draft.seal(&keys(NOBODY), &Default::default()).expect("is sealed").body;
        let peer = pipeline.peer(&keys(NOBODY).public_key, now().instant);
        let heard = pipeline.receive(&peer, "room", &body, now()).verdict.is_ok();
        let in_the_way = codes(&explanation.receiving);
        prop_assert_eq!(heard, in_the_way.is_empty(), "{:?}", in_the_way);
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_peer_says_what_it_knows() {
    let careful = SidechannelOptions { channels: vec!["room".into()], welcome_required: true, ..options() };
    let a = TestPeer::new(SELF, careful);
    settle().await;
    assert_eq!(codes(&a.sidechannel.explain("room").receiving), ["no-owner", "no-peers"]);
    let b = TestPeer::new(STRANGER, options());
    a.connect(&b);
    settle().await;
    assert_eq!(codes(&a.sidechannel.explain("room").receiving), ["no-owner", "nobody-on-channel"]);
    assert!(b.sidechannel.add_channel("room").await.expect("there is room"));
    for n in 0..3_u32 {
        assert!(b.send("room", n).await);
    }
    settle().await;
    let explanation = a.sidechannel.explain(" room ");
    assert_eq!(codes(&explanation.receiving), ["no-owner"]);
    let running = explanation.running.clone().expect("it runs");
    assert_eq!((running.connections, running.on_channel), (1, 1));
    assert_eq!(running.dropped.len(), 1);
    assert_eq!((running.dropped[0].reason, running.dropped[0].count), ("awaiting welcome", 3));
    assert_eq!(running.dropped[0].from, hex_of(STRANGER));
    let last = explanation.lines().pop().expect("lines");
    assert!(last.starts_with("- dropped since the start (awaiting welcome): 3, the last 0 s ago from "), "{last}");
    assert_eq!(codes(&b.sidechannel.explain("room").receiving), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_floods_and_who_lacks_an_invite_is_named() {
    let strict = SidechannelOptions {
        channels: vec!["room".into()],
        rate_burst_bytes: 1_000,
        max_strikes: 1,
        block: Duration::from_secs(30),
        ..options()
    };
    let a = TestPeer::new(SELF, strict);
    let b = TestPeer::new(STRANGER, SidechannelOptions { channels: vec!["room".into()], ..options() });
    a.connect(&b);
    settle().await;
    assert!(b.send("room", "x".repeat(2_000)).await);
    settle().await;
    let explanation = a.sidechannel.explain("room");
    assert_eq!(codes(&explanation.receiving), ["blocked"]);
    assert!(explanation.receiving[0].why.starts_with(&hex_of(STRANGER)), "{explanation:?}");
    assert!(explanation.receiving[0].why.ends_with("for 30 s more"), "{explanation:?}");

    let private = SidechannelOptions { channels: vec!["room".into()], invite_required: true, ..options() };
    let a = TestPeer::new(SELF, private);
    a.connect(&b);
    settle().await;
    let explanation = a.sidechannel.explain("room");
    assert_eq!(codes(&explanation.sending), ["weak-proof", "peer-without-invite"]);
}

#[tokio::test(start_paused = true)]
async fn who_proves_too_little_work_is_named_for_a_while() {
    let room = |bits| SidechannelOptions { channels: vec!["room".into()], pow_difficulty: bits, ..options() };
    let (clock, wall) = manual_clock(NOW);
    let a = TestPeer::new(SELF, SidechannelOptions { clock, ..room(12) });
    let b = TestPeer::new(STRANGER, SidechannelOptions { pow_enabled: false, ..room(12) });
    a.connect(&b);
    settle().await;
    assert_eq!(codes(&a.sidechannel.explain("room").receiving), [] as [&str; 0]);
    assert!(b.send("room", "without work").await);
    settle().await;
    let explanation = a.sidechannel.explain("room");
    assert_eq!(codes(&explanation.receiving), ["weak-proof"]);
    assert!(explanation.receiving[0].why.contains(&hex_of(STRANGER)), "{explanation:?}");
    assert!(explanation.receiving[0].mend[0].starts_with("--sidechannel-pow 1 --sidechannel-pow-difficulty 12 "));
    assert_eq!(codes(&a.sidechannel.explain("elsewhere").receiving), ["not-joined"]);
    wall.fetch_add(600_000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(codes(&a.sidechannel.explain("room").receiving), [] as [&str; 0]);
}
