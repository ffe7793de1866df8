//! What the original's sidechannel makes of messages (`data/original.json`, which `data/original.mjs` writes by running it), and
//! what ours makes of them: the same bytes sent, the same taken, printed and relayed.

use std::sync::atomic::{AtomicBool, Ordering};

use encoding::json::{Value, parse, stringify};
use tokio::time::{Duration, Instant, sleep_until};

use super::{TestPeer, hex_of, keys, manual_clock, settle};
use crate::sidechannel::{
    SidechannelOptions,
    link::{Link, LinkChannel, LinkEvent},
    payload::{Draft, body_of, text_of},
    protocol_of,
};

fn original() -> Value {
    parse(include_str!("data/original.json")).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).filter(|list| !list.is_empty()).unwrap_or_else(|| panic!("no {key}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64)
}

/// Runs of one letter are shortened in the file.
fn unfold(text: &str) -> String {
    let mut parts = text.split("<x*");
    let mut unfolded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (length, rest) = part.split_once('>').unwrap();
        unfolded.push_str(&"x".repeat(length.parse().unwrap()));
        unfolded.push_str(rest);
    }
    unfolded
}

#[test]
fn what_is_built_has_the_bytes_of_the_original() {
    for case in list(&original(), "built") {
        let difficulty = number(case, "difficulty").unwrap() as u32;
        let expected = text(case, "text");
        let draft = Draft {
            channel: text(case, "channel").to_owned(),
            message: Some(parse(text(case, "message")).unwrap()),
            invite: case.get("invite").filter(|invite| !invite.is_null()).cloned(),
            id: text(case, "id").to_owned(),
            ts: number(case, "ts").unwrap() as u64,
            ttl: 3,
            difficulty: (difficulty > 0).then_some(difficulty),
            max_bytes: Some(expected.len()),
            report_hash: false,
        };
        let sealed = draft.seal(&keys(1), &AtomicBool::new(false)).unwrap();
        assert_eq!(std::str::from_utf8(text_of(&sealed.body).unwrap()).unwrap(), expected);
        assert_eq!(sealed.json_len, expected.len());
        let short = Draft { max_bytes: Some(expected.len() - 1), ..draft };
        assert!(short.seal(&keys(1), &AtomicBool::new(false)).is_err(), "the limit counts to the byte");
    }
}

fn options(scenario: &Value) -> SidechannelOptions {
    let config = scenario.get("config").unwrap();
    let names = |key: &str| {
        let names = config.get(key).and_then(Value::as_array)?;
        Some(names.iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let flag = |key: &str, default: bool| config.get(key).and_then(Value::as_bool).unwrap_or(default);
    let map = |key: &str| {
        let object = config.get(key).and_then(Value::as_object);
        object.into_iter().flatten().map(|(key, value)| (key.to_string(), value.clone()))
    };
    let defaults = SidechannelOptions::default();
    SidechannelOptions {
        debug: true,
        channels: names("channels").unwrap_or_default(),
        pow_enabled: flag("powEnabled", true),
        pow_difficulty: 8,
        pow_require_entry: flag("powRequireEntry", false),
        pow_channels: names("powRequiredChannels"),
        invite_required: flag("inviteRequired", false),
        invite_channels: names("inviteRequiredChannels"),
        invite_prefixes: names("inviteRequiredPrefixes"),
        inviter_keys: names("inviterKeys").unwrap_or_default(),
        owner_keys: map("ownerKeys").map(|(channel, key)| (channel, key.as_str().unwrap().to_owned())).collect(),
        owner_write_only: flag("ownerWriteOnly", false),
        owner_write_channels: names("ownerWriteChannels"),
        welcomes: map("welcomeByChannel").collect(),
        welcome_required: flag("welcomeRequired", true),
        allow_remote_open: flag("allowRemoteOpen", true),
        auto_join_on_open: flag("autoJoinOnOpen", false),
        max_seen: number(config, "maxSeen").map_or(defaults.max_seen, |count| count as usize),
        ..defaults
    }
}

/// One side of a channel, as a test peer that only listens and writes has it.
struct Wiretap {
    channels: Vec<(String, LinkChannel)>,
}

impl Wiretap {
    fn open(link: &dyn Link, channels: &[String]) -> Self {
        let open = |channel: &String| (channel.clone(), link.open(&protocol_of(channel)).unwrap());
        Self { channels: channels.iter().map(open).collect() }
    }

    async fn send(&self, channel: &str, body: bytes::Bytes) {
        let (_, (_, outlet)) = self.channels.iter().find(|(name, _)| name == channel).unwrap();
        assert!(outlet.send(body).await);
    }

    /// The texts of all messages that have come so far.
    async fn all(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        for (_, (inlet, _)) in &mut self.channels {
            while let Ok(Some(event)) = tokio::time::timeout(Duration::from_micros(1), inlet.recv()).await {
                if let LinkEvent::Message(body) = event {
                    texts.push(String::from_utf8(text_of(&body).unwrap().to_vec()).unwrap());
                }
            }
        }
        texts
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_is_judged_as_the_original_does() {
    for scenario in list(&original(), "scenarios") {
        let name = text(scenario, "name");
        let start = Instant::now();
        let start_wall = number(scenario, "start").unwrap() as u64;
        let (clock, wall) = manual_clock(start_wall);
        let mut peer = TestPeer::new(1, SidechannelOptions { clock, ..options(scenario) });
        settle().await;
        let channels = peer.sidechannel.channels();
        // The remote and a third peer are not sidechannels of ours, so that nothing but the one under test decides.
        let remote = super::network::MemoryNetwork::new(testing::unhex(text(scenario, "remote")).try_into().unwrap());
        let third = super::network::MemoryNetwork::new(keys(3).public_key);
        let [_, remote_link] = peer.network.connect(&remote);
        let [_, third_link] = peer.network.connect(&third);
        settle().await;
        let mut remote = Wiretap::open(&*remote_link, &channels);
        let mut third = Wiretap::open(&*third_link, &channels);
        settle().await;
        third.all().await;
        for step in list(scenario, "steps") {
            let at = number(step, "at").unwrap() as u64;
            sleep_until(start + Duration::from_millis(at)).await;
            wall.store(start_wall + at, Ordering::Relaxed);
            peer.printed();
            let input = unfold(text(step, "text"));
            let shown = format!("{name}, at {at}: {}", input.chars().take(400).collect::<String>());
            remote.send(text(step, "channel"), body_of(&input)).await;
            settle().await;
            let lines: Vec<&str> =
                step.get("lines").unwrap().as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(peer.printed(), lines, "{shown}");
            let delivered = peer.messages.try_recv().ok();
            assert_eq!(Some(delivered.is_some()), step.get("delivered").unwrap().as_bool(), "{shown}");
            if let Some(delivered) = delivered {
                assert_eq!(delivered.channel, text(step, "channel"));
                assert_eq!(stringify(&delivered.payload), stringify(&parse(&input).unwrap()));
            }
            let relayed = step.get("relayed").unwrap().as_str().map(unfold);
            assert_eq!(third.all().await, relayed.into_iter().collect::<Vec<_>>(), "{shown}");
            assert_eq!(remote.all().await.len(), 0, "nothing goes back to where it came from");
        }
        peer.sidechannel.shutdown().await;
    }
}

/// The flags that decide who may join, write, be heard and open, in 240 combinations.
#[tokio::test(start_paused = true)]
async fn every_policy_has_the_effect_that_it_has_in_the_original() {
    let original = original();
    let policies = original.get("policies").unwrap();
    let start = number(policies, "start").unwrap() as u64;
    let messages = policies.get("messages").and_then(Value::as_object).unwrap();
    let own_invite = policies.get("ownInvite").unwrap();
    for case in list(policies, "cases") {
        let flag = |key: &str| case.get(key).and_then(Value::as_bool).unwrap();
        let texts = |key: &str| -> Vec<&str> {
            case.get(key).and_then(Value::as_array).unwrap().iter().filter_map(Value::as_str).collect()
        };
        let (clock, _) = manual_clock(start);
        let mut peer = TestPeer::new(1, SidechannelOptions { clock, ..options(case) });
        if flag("withInvite") {
            peer.sidechannel.accept_invite("room", own_invite, None);
        }
        settle().await;
        let joined = peer.sidechannel.add_channel("room").await.unwrap();
        assert_eq!(joined, flag("join"), "{case}");

        let remote = super::network::MemoryNetwork::new(testing::unhex(text(policies, "remote")).try_into().unwrap());
        let third = super::network::MemoryNetwork::new(keys(3).public_key);
        let [_, remote_link] = peer.network.connect(&remote);
        let [_, third_link] = peer.network.connect(&third);
        settle().await;
        let channels = peer.sidechannel.channels();
        let mut taps = [Wiretap::open(&*remote_link, &channels), Wiretap::open(&*third_link, &channels)];
        settle().await;
        for (tap, greeted) in taps.iter_mut().zip(list(case, "greeted")) {
            let controls: Vec<Value> = tap.all().await.iter().filter_map(|text| control_of(text)).collect();
            assert_eq!(Value::Array(controls), *greeted, "{case}");
        }
        assert_eq!(peer.send("room", "x").await, flag("sent"), "{case}");
        settle().await;
        for (tap, reached) in taps.iter_mut().zip(list(case, "reached")) {
            assert_eq!(Some(!tap.all().await.is_empty()), reached.as_bool(), "{case}");
        }
        let mut heard = Vec::new();
        for (name, message) in messages {
            let name = name.as_str().unwrap();
            let channel = if name.starts_with("open") { "0000intercom" } else { "room" };
            if !channels.iter().any(|joined| joined == channel) {
                continue;
            }
            taps[0].send(channel, body_of(message.as_str().unwrap())).await;
            settle().await;
            if !peer.all().is_empty() {
                heard.push(name);
            }
        }
        assert_eq!(heard, texts("heard"), "{case}");
        assert_eq!(peer.sidechannel.channels(), texts("channels"), "{case}");
        peer.sidechannel.shutdown().await;
    }
}

/// The control of a payload.
fn control_of(text: &str) -> Option<Value> {
    parse(text).unwrap().get("message")?.get("control").cloned()
}

#[test]
fn the_seeds_of_the_file_are_those_of_the_tests() {
    let original = original();
    let first = &list(&original, "built")[0];
    assert!(text(first, "id").starts_with(&hex_of(1)));
}
