//! Sidechannels that talk to each other.

use std::time::Duration;

use encoding::json::{Value, parse};
use futures_util::FutureExt;

use super::{TestPeer, hex_of, keys, object, options, settle};
use crate::sidechannel::{
    ENTRY_CHANNEL, SendOptions, SidechannelError, SidechannelOptions,
    link::Link,
    outbox::MAX_WAITING,
    pipeline::{MAX_CHANNELS, MAX_CHANNELS_FOR_PEERS},
    protocol_of,
    signature::{signature_base, verify_payload},
    topic_of,
};

/// Some connected peers, in a row.
async fn row<const N: usize>(options: [SidechannelOptions; N]) -> [TestPeer; N] {
    let mut number = 0;
    let peers = options.map(|options| {
        number += 1;
        TestPeer::new(number, options)
    });
    for pair in peers.windows(2) {
        pair[0].connect(&pair[1]);
    }
    settle().await;
    peers
}

#[tokio::test(start_paused = true)]
async fn messages_go_both_ways() {
    let [mut a, mut b] = row([options(), options()]).await;
    assert!(a.sidechannel.started());
    assert_eq!((a.sidechannel.connection_count(), b.sidechannel.connection_count()), (1, 1));
    assert_eq!(a.sidechannel.channels(), [ENTRY_CHANNEL]);
    assert!(a.network.has_topic(&topic_of(ENTRY_CHANNEL)));
    for n in 0..20u32 {
        assert!(a.send(ENTRY_CHANNEL, n).await);
    }
    for n in 0..20u32 {
        assert_eq!(b.next().await, n.into(), "in the order of sending");
    }
    let message = parse(r#"{"b":1,"1":[-0,1e21,"\ud800"]}"#).unwrap();
    assert!(b.send(ENTRY_CHANNEL, message.clone()).await);
    let got = a.messages.recv().await.unwrap();
    assert_eq!(got.channel, ENTRY_CHANNEL);
    assert_eq!(got.payload.get("message"), Some(&message));
    assert_eq!(got.payload.get("from").and_then(Value::as_str), Some(&*hex_of(2)));
    settle().await;
    assert!(a.messages.try_recv().is_err() && b.messages.try_recv().is_err(), "own messages do not come back");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_passed_on_and_taken_once() {
    let [mut a, mut b, mut c] = row([options(), options(), options()]).await;
    c.connect(&a);
    settle().await;
    assert!(a.send(ENTRY_CHANNEL, "round").await);
    settle().await;
    assert_eq!(b.all(), ["round".into()]);
    assert_eq!(c.all(), ["round".into()]);
    assert_eq!(a.all(), []);
    let [_, link] = b.connect(&c);
    link.destroy();
    settle().await;
    assert_eq!(c.sidechannel.connection_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_as_far_as_its_steps() {
    let mut peers =
        row([SidechannelOptions { relay_ttl: 2, ..options() }, options(), options(), options(), options()]).await;
    assert!(peers[0].send(ENTRY_CHANNEL, "far").await);
    settle().await;
    let payload = peers[2].messages.try_recv().unwrap().payload.clone();
    assert_eq!(payload.get("ttl").and_then(Value::as_f64), Some(1.0));
    assert_eq!(payload.get("relayedBy").and_then(Value::as_str), Some(&*hex_of(2)));
    assert_eq!(peers[3].all(), ["far".into()]);
    assert_eq!(peers[4].all(), []);
    let mut quiet = row([options(), SidechannelOptions { relay: false, ..options() }, options()]).await;
    assert!(quiet[0].send(ENTRY_CHANNEL, "near").await);
    settle().await;
    assert_eq!(quiet[1].all(), ["near".into()]);
    assert_eq!(quiet[2].all(), []);
}

#[tokio::test(start_paused = true)]
async fn what_passes_through_is_nothing_to_who_has_not_joined() {
    let room = || SidechannelOptions { channels: vec!["room".into()], ..options() };
    let [a, b] = row([room(), room()]).await;
    let mut c = TestPeer::new(3, options());
    let [link, _] = b.connect(&c);
    // Beyond all attempts to open the room with c.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = link.openings();
    for n in 0..20u32 {
        assert!(a.send("room", n).await);
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(link.openings(), before, "what a says does not make b ask c again");
    assert!(b.send("room", "own").await);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(link.openings() > before, "what b says does");
    assert_eq!(c.sidechannel.add_channel("room").await, Ok(true));
    settle().await;
    assert!(a.send("room", "joined").await);
    assert_eq!(c.next().await, "joined".into());
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_the_other_opens_later_comes_to_be() {
    let [a, mut b] = row([options(), options()]).await;
    assert_eq!(a.sidechannel.add_channel(" room ").await, Ok(true));
    assert_eq!(a.sidechannel.channels(), [ENTRY_CHANNEL, "room"]);
    // Long after all attempts.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(b.sidechannel.add_channel("room").await, Ok(true));
    settle().await;
    assert!(a.send("room", "hello").await);
    assert_eq!(b.next().await, "hello".into());
}

#[tokio::test(start_paused = true)]
async fn a_message_before_the_other_opens_waits_for_the_attempts() {
    let [a, mut b] = row([options(), options()]).await;
    assert!(a.send("room", "early").await, "sending registers the channel");
    assert!(!a.network.has_topic(&topic_of("room")), "and does not join its topic");
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(b.sidechannel.add_channel("room").await, Ok(true));
    assert_eq!(b.next().await, "early".into());
    assert_eq!(a.sidechannel.add_channel("room").await, Ok(true));
    assert!(a.network.has_topic(&topic_of("room")));
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_left_and_joined_again_on_the_same_connection() {
    let both = || SidechannelOptions { channels: vec!["room".into()], ..options() };
    let [a, mut b] = row([both(), both()]).await;
    assert!(a.send("room", 1).await);
    assert_eq!(b.next().await, 1.into());
    for round in 0..3 {
        assert_eq!(a.sidechannel.remove_channel("room").await, Ok(true));
        assert_eq!(a.sidechannel.remove_channel("room").await, Ok(false));
        assert!(!a.network.has_topic(&topic_of("room")));
        settle().await;
        assert!(b.send("room", "lost").await);
        tokio::time::sleep(Duration::from_secs(round * 10)).await;
        assert_eq!(a.sidechannel.add_channel("room").await, Ok(true));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(a.send("room", 2).await);
        assert_eq!(b.next().await, 2.into());
    }
    assert_eq!(a.sidechannel.remove_channel(ENTRY_CHANNEL).await, Ok(false), "the entry channel is never left");
    assert_eq!(a.sidechannel.channels(), [ENTRY_CHANNEL, "room"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_to_the_channels_is_done_at_the_first_poll() {
    let [a, mut b] = row([options(), SidechannelOptions { channels: vec!["room".into()], ..options() }]).await;
    let mut joining = Box::pin(a.sidechannel.add_channel("room"));
    let _ = joining.as_mut().now_or_never();
    assert_eq!(a.sidechannel.channels(), [ENTRY_CHANNEL, "room"]);
    drop(joining);
    // A message counts once its future was polled.
    let mut sending = Box::pin(a.sidechannel.broadcast("room", "sent".into(), SendOptions::default()));
    assert!(sending.as_mut().now_or_never().is_none());
    drop(sending);
    assert_eq!(b.next().await, "sent".into());
    let mut leaving = Box::pin(a.sidechannel.remove_channel("room"));
    let _ = leaving.as_mut().now_or_never();
    assert_eq!(a.sidechannel.channels(), [ENTRY_CHANNEL]);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_message_is_sent_without_the_property() {
    let [a, mut b] = row([options(), options()]).await;
    assert!(a.sidechannel.broadcast_or_undefined(ENTRY_CHANNEL, None, SendOptions::default()).await);
    let payload = b.messages.recv().await.unwrap().payload.clone();
    let keys: Vec<String> = payload.as_object().unwrap().keys().map(|key| key.to_string()).collect();
    assert_eq!(keys, ["type", "id", "channel", "from", "origin", "ts", "ttl", "pow", "sig"]);
    // The proof of work was looked at on the way; absent counts as null in it, and in what is signed.
    assert!(verify_payload(&payload, &signature_base(&payload, "null"), &hex_of(1)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_allowed_is_not_sent() {
    let [a, mut b] = row([
        SidechannelOptions {
            max_message_bytes: 5_000,
            pow_difficulty: 250,
            pow_channels: Some(vec!["hard".into()]),
            owner_keys: [("owned".to_owned(), hex_of(2))].into(),
            owner_write_channels: Some(vec!["owned".into()]),
            invite_required: true,
            invite_prefixes: Some(vec!["priv".into()]),
            inviter_keys: vec![hex_of(2)],
            ..options()
        },
        SidechannelOptions { pow_enabled: false, ..options() },
    ])
    .await;
    assert!(!a.send("  ", "nameless").await);
    assert!(!a.send("owned", "not mine").await);
    assert_eq!(a.printed(), [""; 0], "these are silent");
    assert!(!a.send("private", "no invite").await);
    assert_eq!(a.printed(), ["[sidechannel:private] join denied (invite required)."]);
    assert_eq!(a.sidechannel.add_channel("private").await, Ok(false));
    assert_eq!(a.printed(), ["[sidechannel:private] join denied (invite required)."]);
    // Were the size not looked at first, the work would take longer than the universe.
    assert!(!a.send("hard", "x".repeat(6_000)).await);
    let printed = a.printed();
    assert!(printed[0].starts_with("[sidechannel:hard] message too large (6"), "{printed:?}");
    assert!(printed[0].ends_with(" bytes > 5000)."), "{printed:?}");
    assert!(a.send(ENTRY_CHANNEL, "fine").await);
    assert_eq!(b.next().await, "fine".into());
    assert_eq!(a.sidechannel.channels(), [ENTRY_CHANNEL, "hard"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_welcomes_who_opens_the_channel() {
    let owned = |welcome_required| SidechannelOptions {
        channels: vec!["room".into()],
        owner_keys: [("room".to_owned(), hex_of(1))].into(),
        welcome_required,
        ..options()
    };
    let [owner, mut guest] = row([owned(true), owned(true)]).await;
    assert!(owner.send("room", "too early").await);
    settle().await;
    assert_eq!(guest.all(), []);
    let welcome = owner.sidechannel.create_welcome("room", "come in");
    assert_eq!(owner.sidechannel.welcome("room"), Some(welcome.clone()));
    owner.connect(&guest);
    settle().await;
    assert_eq!(guest.all(), [object([("control", "welcome".into()), ("welcome", welcome.clone())])]);
    assert_eq!(guest.sidechannel.welcome("room"), Some(welcome));
    assert!(owner.send("room", "now").await);
    assert_eq!(guest.next().await, "now".into());
}

fn restricted() -> SidechannelOptions {
    SidechannelOptions {
        channels: vec!["room".into()],
        invite_required: true,
        inviter_keys: vec![hex_of(1)],
        debug: true,
        ..options()
    }
}

#[tokio::test(start_paused = true)]
async fn an_invite_lets_a_peer_in_and_is_shown_to_neighbours() {
    let [inviter, mut guest] = row([restricted(), restricted()]).await;
    assert!(guest.printed().contains(&"[sidechannel:room] join denied (invite required).".to_owned()));
    assert_eq!(guest.sidechannel.channels(), [ENTRY_CHANNEL]);
    assert!(inviter.send("room", "secret").await);
    settle().await;
    assert_eq!(guest.all(), []);
    assert!(inviter.printed().contains(&format!("[sidechannel:room] skip (unauthorized) {}", hex_of(2))));
    let invite = inviter.sidechannel.create_invite("room", &hex_of(2).to_uppercase(), Some(60_000), None).unwrap();
    assert!(!guest.sidechannel.accept_invite("other", &invite, None));
    assert!(guest.sidechannel.accept_invite(" room ", &invite, None));
    assert_eq!(guest.sidechannel.add_channel("room").await, Ok(true));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(inviter.send("room", "secret").await);
    assert_eq!(guest.next().await, "secret".into());
    assert_eq!(inviter.sidechannel.create_invite("room", &hex_of(2), Some(0), None), None);
}

#[tokio::test(start_paused = true)]
async fn what_shows_an_invite_is_sent_to_who_has_none() {
    let [inviter, mut guest] =
        row([restricted(), SidechannelOptions { channels: vec!["room".into()], ..options() }]).await;
    for control in
        [Value::from("other"), vec![Value::from("auth"), Value::Null].into(), vec![Value::from("auth")].into()]
    {
        assert!(inviter.send("room", object([("control", control)])).await);
    }
    settle().await;
    assert_eq!(guest.all(), [object([("control", vec![Value::from("auth")].into())])]);
}

#[tokio::test(start_paused = true)]
async fn an_invite_may_come_with_the_first_message() {
    let [mut inviter, guest] = row([restricted(), restricted()]).await;
    let invite = inviter.sidechannel.create_invite("room", &hex_of(2), None, None).unwrap();
    let sending = SendOptions { invite: Some(invite), welcome: None };
    assert!(guest.sidechannel.broadcast("room", "hello".into(), sending).await);
    assert_eq!(inviter.next().await, "hello".into());
}

#[tokio::test(start_paused = true)]
async fn a_peer_may_ask_to_open_a_channel() {
    let [mut a, b] = row([SidechannelOptions { auto_join_on_open: true, ..options() }, options()]).await;
    assert!(b.sidechannel.request_open(" room ", None, None, None).await);
    settle().await;
    assert_eq!(a.printed(), ["[sidechannel] auto-joined channel: room"]);
    assert_eq!(a.sidechannel.channels(), [ENTRY_CHANNEL, "room"]);
    assert!(a.network.has_topic(&topic_of("room")));
    assert_eq!(b.sidechannel.add_channel("room").await, Ok(true));
    settle().await;
    assert!(b.send("room", "here").await);
    assert_eq!(a.next().await, "here".into());
    assert!(a.sidechannel.request_open("another", Some(ENTRY_CHANNEL), None, None).await);
    settle().await;
    assert_eq!(b.printed(), ["[sidechannel] channel request received: another"]);
    assert!(!b.sidechannel.request_open("", None, None, None).await);
}

#[tokio::test(start_paused = true)]
async fn peers_cannot_make_a_peer_join_without_end() {
    let [a, b] = row([
        SidechannelOptions { auto_join_on_open: true, rate_bytes_per_second: None, ..options() },
        SidechannelOptions { pow_difficulty: 4, ..options() },
    ])
    .await;
    for n in 0..MAX_CHANNELS_FOR_PEERS + 10 {
        assert!(b.sidechannel.request_open(&format!("room {n}"), None, None, None).await);
    }
    assert!(b.sidechannel.request_open(&"long ".repeat(1_000), None, None, None).await);
    settle().await;
    assert_eq!(a.sidechannel.channels().len(), MAX_CHANNELS_FOR_PEERS);
    let denied = "[sidechannel] join denied (too many channels, or too long a name): ";
    assert_eq!(a.printed().iter().filter(|line| line.starts_with(denied)).count(), 12);
    assert_eq!(a.sidechannel.add_channel("my own").await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_channels_is_bounded() {
    let a = TestPeer::new(1, options());
    for n in 1..MAX_CHANNELS {
        assert_eq!(a.sidechannel.add_channel(&n.to_string()).await, Ok(true));
    }
    let channel = "one more".to_owned();
    assert_eq!(a.sidechannel.add_channel(&channel).await, Err(SidechannelError::Limit { channel }));
    assert!(!a.send("one more", "message").await);
    assert_eq!(a.sidechannel.channels().len(), MAX_CHANNELS);
}

#[tokio::test(start_paused = true)]
async fn garbage_ends_the_connection_and_no_other() {
    let [mut a, b] = row([options(), options()]).await;
    for garbage in
        [&b""[..], b"\x05abc", b"\x04nope", b"\xff", b"\x03\xef\xbb\xbf", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
    {
        let stranger = super::network::MemoryNetwork::new(keys(9).public_key);
        let [_, link] = a.network.connect(&stranger);
        settle().await;
        let (mut inlet, outlet) = link.open(&protocol_of(ENTRY_CHANNEL)).unwrap();
        settle().await;
        assert_eq!(a.sidechannel.connection_count(), 2);
        assert!(outlet.send(bytes::Bytes::copy_from_slice(garbage)).await);
        settle().await;
        assert_eq!(a.sidechannel.connection_count(), 1, "{garbage:?}");
        while inlet.recv().await.is_some() {}
    }
    assert!(b.send(ENTRY_CHANNEL, "still here").await);
    assert_eq!(a.next().await, "still here".into());
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_never_opened_keeps_a_bounded_queue() {
    let [a, _b] = row([options(), options()]).await;
    let stranger = super::network::MemoryNetwork::new(keys(9).public_key);
    let [_, link] = a.network.connect(&stranger);
    settle().await;
    // The stranger neither opens nor refuses: it holds every wish.
    let mut pairing = link.pair(&protocol_of("room"));
    assert_eq!(a.sidechannel.add_channel("room").await, Ok(true));
    let wish = pairing.next().await;
    for n in 0..MAX_WAITING as u32 + 50 {
        assert!(a.send("room", n).await, "sending does not wait for slow peers");
    }
    let (mut inlet, _outlet) = link.open(&protocol_of("room")).unwrap();
    drop(wish);
    let mut count = 0;
    while tokio::time::timeout(Duration::from_secs(1), inlet.recv()).await.is_ok_and(|event| event.is_some()) {
        count += 1;
    }
    assert_eq!(count, MAX_WAITING + 1, "what waited, and that the channel is open");
}

#[tokio::test(start_paused = true)]
async fn a_shut_down_sidechannel_is_quiet() {
    let [a, b] = row([options(), options()]).await;
    let mut messages = a.sidechannel.messages();
    a.sidechannel.shutdown().await;
    settle().await;
    assert_eq!(a.sidechannel.connection_count(), 0);
    assert!(!a.send(ENTRY_CHANNEL, "late").await);
    assert_eq!(a.sidechannel.add_channel("room").await, Err(SidechannelError::ShutDown));
    assert_eq!(a.sidechannel.remove_channel("room").await, Err(SidechannelError::ShutDown));
    assert!(b.send(ENTRY_CHANNEL, "anyone?").await);
    settle().await;
    assert!(messages.try_recv().is_err());
    a.sidechannel.shutdown().await;
    a.sidechannel.ready().await;
}

#[tokio::test(start_paused = true)]
async fn shutting_down_ends_work_that_would_not_end() {
    let a = TestPeer::new(1, SidechannelOptions { pow_difficulty: 250, ..options() });
    let sidechannel = a.sidechannel.clone();
    let sending =
        tokio::spawn(async move { sidechannel.broadcast(ENTRY_CHANNEL, "hard".into(), SendOptions::default()).await });
    tokio::task::yield_now().await;
    a.sidechannel.shutdown().await;
    assert!(!sending.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_the_tasks() {
    let [a, b] = row([options(), options()]).await;
    drop(a.sidechannel);
    settle().await;
    assert_eq!(std::sync::Arc::strong_count(&a.network), 1, "no task holds the network any more");
    assert!(b.send(ENTRY_CHANNEL, "anyone?").await);
}

/// On several threads, with real time: what the other tests cannot show is that nothing waits for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn many_peers_on_many_threads() {
    let mut peers: Vec<TestPeer> = (1..=6).map(|n| TestPeer::new(n, options())).collect();
    for (index, peer) in peers.iter().enumerate() {
        peers[index + 1..].iter().for_each(|other| drop(peer.connect(other)));
    }
    for peer in &peers {
        peer.sidechannel.ready().await;
    }
    let all_connected = async {
        while !peers.iter().all(|peer| peer.sidechannel.connection_count() == 5) {
            tokio::task::yield_now().await;
        }
    };
    all_connected.await;
    let sends = peers.iter().map(|peer| async {
        for n in 0..10u32 {
            assert!(peer.send(ENTRY_CHANNEL, n).await);
        }
    });
    futures_util::future::join_all(sends).await;
    for peer in &mut peers {
        let mut sum = 0.0;
        for _ in 0..50 {
            sum += peer.next().await.as_f64().unwrap();
        }
        assert_eq!(sum, 5.0 * 45.0);
        assert!(peer.messages.try_recv().is_err());
    }
    for peer in &peers {
        peer.sidechannel.shutdown().await;
    }
}
