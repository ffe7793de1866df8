//! What the bridge answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::SinkExt;
use intercom::bridge::BridgeOptions;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::setup::{Client, Echo, error, options, setup, setup_with};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_greeting_is_the_originals() {
    let setup = setup_with(BridgeOptions { filter: "a+b|c".into(), ..options() }, None).await;
    let url = format!("ws://{}", setup.bridge.local_addr());
    let (socket, _) = tokio_tungstenite::client_async(url, setup.tcp().await).await.expect("an upgrade");
    assert_eq!(
        Client(socket).next().await,
        r#"{"type":"hello","peer":"c9c2","address":"trac1","entryChannel":"0000intercom","filter":"a+b|c","requiresAuth":true}"#
    );
}

#[tokio::test]
async fn nothing_is_done_before_the_token_is_shown() {
    let setup = setup().await;
    let mut client = setup.connect().await;
    for command in
        ["ping", "send", "join", "leave", "open", "stats", "info", "cli", "subscribe", "expense_add", "nonsense"]
    {
        assert_eq!(client.ask(&format!(r#"{{"type":"{command}","channel":"room"}}"#)).await, error("Unauthorized."));
    }
    for token in
        [r#""wrong""#, r#""secret ""#, r#""""#, "null", "true", r#"["secret"]"#, r#"{"a":1}"#, r#""secre\ud800""#]
    {
        let reply = client.ask(&format!(r#"{{"id":3,"type":"auth","token":{token}}}"#)).await;
        assert_eq!(reply, r#"{"id":3,"type":"error","error":"Unauthorized."}"#, "{token}");
    }
    assert_eq!(client.ask(r#"{"type":"auth"}"#).await, error("Unauthorized."));
    assert!(setup.fake.take().is_empty());
    setup.publish("room", r#"{"message":"unheard"}"#);
    assert_eq!(client.ask(r#"{"id":4,"type":"auth","token":"secret"}"#).await, r#"{"id":4,"type":"auth_ok"}"#);
    assert_eq!(client.ask(r#"{"type":"clear_filter"}"#).await, r#"{"type":"filter_set","filter":""}"#);
}

#[tokio::test]
async fn every_command_answers_with_the_originals_bytes() {
    let setup = setup().await;
    let mut client = setup.enter().await;
    let invalid_invite = error("Invalid invite (expected JSON or base64).");
    let invalid_welcome = error("Invalid welcome (expected JSON or base64).");
    let missing = error("Missing channel.");
    let cases: &[(&str, &str, &[&str])] = &[
        ("[]", &error("Unknown type: undefined"), &[]),
        ("{}", &error("Unknown type: undefined"), &[]),
        (r#"{"type":"nonsense"}"#, &error("Unknown type: nonsense"), &[]),
        (r#"{"type":null}"#, &error("Unknown type: null"), &[]),
        (r#"{"type":[1,[2,null]]}"#, &error("Unknown type: 1,2,"), &[]),
        (r#"{"type":{}}"#, &error("Unknown type: [object Object]"), &[]),
        (r#"{"type":{"toString":1}}"#, &error("Cannot convert object to primitive value"), &[]),
        (r#"{"type":"set_filter","filter":"a+b"}"#, r#"{"type":"filter_set","filter":"a+b"}"#, &[]),
        (r#"{"type":"set_filter","filter":5}"#, r#"{"type":"filter_set","filter":5}"#, &[]),
        (r#"{"type":"set_filter"}"#, r#"{"type":"filter_set","filter":""}"#, &[]),
        (r#"{"id":1,"type":"clear_filter"}"#, r#"{"id":1,"type":"filter_set","filter":""}"#, &[]),
        (
            r#"{"type":"subscribe","channels":["b","a","b",5]}"#,
            r#"{"type":"subscribed","channels":["b","a","5"]}"#,
            &[],
        ),
        (r#"{"type":"subscribe","channel":"c"}"#, r#"{"type":"subscribed","channels":["b","a","5","c"]}"#, &[]),
        (r#"{"type":"subscribe"}"#, r#"{"type":"subscribed","channels":["b","a","5","c"]}"#, &[]),
        (r#"{"type":"unsubscribe","channels":["b",5,"x"]}"#, r#"{"type":"subscribed","channels":["a","c"]}"#, &[]),
        (r#"{"type":"unsubscribe","channel":"a"}"#, r#"{"type":"subscribed","channels":["c"]}"#, &[]),
        (
            r#"{"type":"send","channel":" room ","message":{"b":1,"1":2}}"#,
            r#"{"type":"sent","channel":"room"}"#,
            &[r#"send room {"1":2,"b":1} -"#],
        ),
        (
            r#"{"id":9,"type":"send","channel":5,"message":"hi"}"#,
            r#"{"id":9,"type":"sent","channel":"5"}"#,
            &[r#"send 5 "hi" -"#],
        ),
        (r#"{"type":"send","channel":"r","message":null}"#, r#"{"type":"sent","channel":"r"}"#, &["send r null -"]),
        (r#"{"type":"send","channel":"r"}"#, r#"{"type":"sent","channel":"r"}"#, &["send r - -"]),
        (r#"{"type":"send","message":"hi"}"#, &missing, &[]),
        (
            r#"{"type":"send","channel":"r","message":1,"invite":{"a":1}}"#,
            r#"{"type":"sent","channel":"r"}"#,
            &[r#"send r 1 {"a":1}"#],
        ),
        (
            r#"{"type":"send","channel":"r","message":1,"invite":{"a":1},"welcome":{"w":1}}"#,
            r#"{"type":"sent","channel":"r"}"#,
            &[r#"send r 1 {"a":1,"welcome":{"w":1}}"#],
        ),
        (
            r#"{"type":"send","channel":"r","message":1,"invite":{"welcome":1},"welcome":{"w":1}}"#,
            r#"{"type":"sent","channel":"r"}"#,
            &[r#"send r 1 {"welcome":1}"#],
        ),
        (
            r#"{"type":"send","channel":"r","message":1,"welcome":"eyJ3IjoxfQ=="}"#,
            r#"{"type":"sent","channel":"r"}"#,
            &[r#"accept r - {"w":1}"#, "send r 1 -"],
        ),
        (r#"{"type":"send","channel":"r","invite":"%"}"#, &invalid_invite, &[]),
        (r#"{"type":"send","channel":"r","invite":true}"#, &invalid_invite, &[]),
        (r#"{"type":"send","channel":"r","invite":"","welcome":"{"}"#, &invalid_welcome, &[]),
        (r#"{"type":"join","channel":"room"}"#, r#"{"type":"joined","channel":"room"}"#, &["add room"]),
        (
            r#"{"type":"join","channel":"room","invite":"{\"a\":1}"}"#,
            r#"{"type":"joined","channel":"room"}"#,
            &[r#"accept room {"a":1} -"#, "add room"],
        ),
        (r#"{"type":"join","channel":" "}"#, &missing, &[]),
        (r#"{"type":"join","channel":"r","welcome":1}"#, &invalid_welcome, &[]),
        (r#"{"type":"leave","channel":"c"}"#, r#"{"type":"left","channel":"c","ok":true}"#, &["remove c"]),
        (r#"{"type":"subscribe","channels":[]}"#, r#"{"type":"subscribed","channels":[]}"#, &[]),
        (r#"{"type":"leave"}"#, &missing, &[]),
        (
            r#"{"type":"open","channel":"r"}"#,
            r#"{"type":"open_requested","channel":"r","via":null}"#,
            &["open r - - -"],
        ),
        (
            r#"{"type":"open","channel":"r","via":" v ","invite":{"a":1},"welcome":{"w":1}}"#,
            r#"{"type":"open_requested","channel":"r","via":" v "}"#,
            &[r#"open r  v  {"a":1} {"w":1}"#],
        ),
        (r#"{"type":"open","channel":"r","invite":"x"}"#, &invalid_invite, &[]),
        (r#"{"type":"cli","command":"/help"}"#, &error("CLI over WS is disabled."), &[]),
        (
            r#"{"id":2,"type":"stats"}"#,
            r#"{"id":2,"type":"stats","channels":["0000intercom","room"],"connectionCount":2,"sidechannelStarted":true}"#,
            &[],
        ),
        (r#"{"type":"info"}"#, r#"{"type":"info","info":{"msbBootstrap":"ac","peerWriterKey":null}}"#, &[]),
        (r#"{"type":"expense_add"}"#, &error("Expense split app not initialized."), &[]),
        (r#"{"type":"expense_list"}"#, &error("Expense split app not initialized."), &[]),
        (r#"{"type":"expense_balance"}"#, &error("Expense split app not initialized."), &[]),
        (r#"{"type":"expense_clear"}"#, &error("Expense split app not initialized."), &[]),
        (r#"{"type":"expense_export"}"#, &error("Expense split app not initialized."), &[]),
        (r#"{"type":"expense_persist"}"#, &error("Expense split app not initialized."), &[]),
        (r#"{"type":"expense_restore"}"#, &error("Expense split app not initialized."), &[]),
        ("{", &error("Invalid JSON."), &[]),
        ("", &error("Invalid JSON."), &[]),
        ("\u{feff}{}", &error("Invalid JSON."), &[]),
        ("null", &error("Invalid message."), &[]),
        ("5", &error("Invalid message."), &[]),
        (r#""ping""#, &error("Invalid message."), &[]),
    ];
    for (command, expected, calls) in cases {
        assert_eq!(client.ask(command).await, *expected, "{command}");
        assert_eq!(setup.fake.take(), *calls, "{command}");
    }
}

#[tokio::test]
async fn refusals_say_what_the_original_says() {
    let setup = setup().await;
    let mut client = setup.enter().await;
    setup.fake.deny.store(true, Ordering::Relaxed);
    for (command, expected) in [
        ("send", error("Send denied (invite required or invalid).")),
        ("join", error("Join denied (invite required or invalid).")),
        ("leave", r#"{"type":"left","channel":"r","ok":false}"#.into()),
        ("open", error("Open request denied (invalid input or missing invite/welcome).")),
    ] {
        assert_eq!(client.ask(&format!(r#"{{"type":"{command}","channel":"r"}}"#)).await, expected);
    }
    setup.fake.fail.store(true, Ordering::Relaxed);
    assert_eq!(client.ask(r#"{"type":"join","channel":"r"}"#).await, error("Join failed: no network"));
    assert_eq!(client.ask(r#"{"type":"leave","channel":"r"}"#).await, error("Leave failed: no network"));
    let without_info = setup_with(BridgeOptions { info: None, ..options() }, None).await;
    assert_eq!(without_info.enter().await.ask(r#"{"type":"info"}"#).await, error("Info not available."));
}

#[tokio::test]
async fn only_whole_numbers_are_repeated_as_ids() {
    let setup = setup().await;
    let mut client = setup.enter().await;
    for (id, printed) in
        [("7", "7"), ("-0", "0"), ("1e21", "1e+21"), ("2.0", "2"), ("9007199254740993", "9007199254740992")]
    {
        let reply = client.ask(&format!(r#"{{"id":{id},"type":"x"}}"#)).await;
        assert_eq!(reply, format!(r#"{{"id":{printed},"type":"error","error":"Unknown type: x"}}"#));
    }
    for id in ["1.5", "1e999", r#""7""#, "null", "[7]", "true"] {
        assert_eq!(client.ask(&format!(r#"{{"id":{id},"type":"x"}}"#)).await, error("Unknown type: x"), "{id}");
    }
}

#[tokio::test]
async fn a_pong_has_the_time() {
    let setup = setup().await;
    let pong = setup.enter().await.ask(r#"{"id":1,"type":"ping"}"#).await;
    let ts = pong.strip_prefix(r#"{"id":1,"type":"pong","ts":"#).and_then(|rest| rest.strip_suffix('}'));
    assert!(ts.expect("a pong").parse::<u64>().expect("milliseconds") > 1_600_000_000_000);
}

#[tokio::test]
async fn terminal_commands_answer_with_what_they_print() {
    let setup = setup_with(options(), Some(Arc::new(Echo::default()))).await;
    let mut client = setup.enter().await;
    for (command, expected) in [
        (
            r#"{"id":1,"type":"cli","command":"  /help "}"#,
            r#"{"id":1,"type":"cli_result","command":"/help","ok":true,"output":["/help","second line"],"error":null}"#,
        ),
        (
            r#"{"type":"cli","command":"/value"}"#,
            r#"{"type":"cli_result","command":"/value","ok":true,"output":["/value","second line"],"error":null,"result":5}"#,
        ),
        (
            r#"{"type":"cli","command":"/fail"}"#,
            r#"{"type":"cli_result","command":"/fail","ok":false,"output":["/fail","second line"],"error":"Peer is not writable.","result":null}"#,
        ),
        (r#"{"type":"cli","command":" "}"#, r#"{"type":"error","error":"Missing command."}"#),
        (r#"{"type":"cli","command":5}"#, r#"{"type":"error","error":"Missing command."}"#),
    ] {
        assert_eq!(client.ask(command).await, expected);
    }
}

#[tokio::test]
async fn a_terminal_command_that_waits_holds_up_its_client_only() {
    let held = Arc::new(tokio::sync::Notify::new());
    let setup = setup_with(options(), Some(Arc::new(Echo { held: held.clone(), ..Echo::default() }))).await;
    let (mut waiting, mut other) = (setup.enter().await, setup.enter().await);
    let of = |id: u32| format!(r#"{{"id":{id},"type":"cli_result""#);
    waiting.tell(r#"{"id":1,"type":"cli","command":"/held"}"#).await;
    waiting.tell(r#"{"id":2,"type":"cli","command":"/help"}"#).await;
    // Whatever is no terminal command is answered meanwhile: both of those have begun.
    assert!(waiting.ask(r#"{"id":3,"type":"ping"}"#).await.starts_with(r#"{"id":3,"type":"pong""#));
    // Only so that a test that hangs says where.
    let answer = tokio::time::timeout(PATIENCE, other.ask(r#"{"id":4,"type":"cli","command":"/help"}"#)).await;
    assert!(answer.expect("it is not held up").starts_with(&of(4)));
    held.notify_one();
    assert!(waiting.next().await.starts_with(&of(1)));
    assert!(waiting.next().await.starts_with(&of(2)));
}

#[tokio::test]
async fn the_command_that_ends_the_peer_is_answered() {
    let exit = Arc::new(tokio::sync::Notify::new());
    let setup = setup_with(options(), Some(Arc::new(Echo { exit: exit.clone(), ..Echo::default() }))).await;
    let mut client = setup.enter().await;
    client.tell(r#"{"id":7,"type":"cli","command":"/exit"}"#).await;
    exit.notified().await;
    setup.bridge.close().await;
    let answer = client.next().await;
    assert_eq!(
        answer,
        r#"{"id":7,"type":"cli_result","command":"/exit","ok":true,"output":["/exit","second line"],"error":null}"#
    );
}

#[tokio::test]
async fn events_reach_who_subscribed_and_pass_its_filter() {
    let setup = setup_with(BridgeOptions { filter_channels: Some(vec!["room".into()]), ..options() }, None).await;
    let (mut all, mut some) = (setup.enter().await, setup.enter().await);
    some.ask(r#"{"type":"subscribe","channels":["room","other"]}"#).await;
    some.ask(r#"{"type":"set_filter","filter":"RED+car|bike"}"#).await;
    let payload = |text: &str| {
        format!(r#"{{"id":"i","from":"f","origin":"o","sig":"s","relayedBy":null,"ttl":3,"ts":5,"message":"{text}"}}"#)
    };
    let event = |channel: &str, text: &str| {
        format!(
            r#"{{"type":"sidechannel_message","channel":"{channel}","id":"i","from":"f","origin":"o","sig":"s","relayedBy":null,"ttl":3,"ts":5,"message":"{text}"}}"#
        )
    };
    let sent = [("room", "a red car"), ("room", "a red bus"), ("third", "red car"), ("other", "x"), ("room", "Bike")];
    for (channel, text) in sent {
        setup.publish(channel, &payload(text));
    }
    for (channel, text) in sent {
        assert_eq!(all.next().await, event(channel, text));
    }
    for (channel, text) in [sent[0], sent[3], sent[4]] {
        assert_eq!(some.next().await, event(channel, text));
    }
    setup.publish("room", r#"{"message":{"red":"car"}}"#);
    assert!(some.next().await.ends_with(r#""ttl":null,"ts":7,"message":{"red":"car"}}"#));
}

#[tokio::test]
async fn a_slow_join_holds_up_nothing_and_is_finished_without_its_client() {
    let setup = setup().await;
    let mut client = setup.enter().await;
    setup.fake.hold.store(true, Ordering::Relaxed);
    client.tell(r#"{"id":1,"type":"join","channel":"slow"}"#).await;
    assert!(client.ask(r#"{"id":2,"type":"ping"}"#).await.starts_with(r#"{"id":2,"type":"pong""#));
    assert_eq!(
        client.ask(r#"{"id":3,"type":"send","channel":"slow"}"#).await,
        r#"{"id":3,"type":"sent","channel":"slow"}"#
    );
    setup.fake.release.notify_one();
    assert_eq!(client.next().await, r#"{"id":1,"type":"joined","channel":"slow"}"#);
    client.tell(r#"{"type":"join","channel":"orphan"}"#).await;
    client.ask(r#"{"type":"clear_filter"}"#).await;
    let held = Arc::strong_count(&setup.fake.release);
    drop(client);
    while setup.bridge.client_count() > 0 {
        tokio::task::yield_now().await;
    }
    setup.fake.release.notify_one();
    while Arc::strong_count(&setup.fake.release) == held {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn binary_messages_are_read_as_text() {
    let setup = setup().await;
    let mut client = setup.enter().await;
    client.0.send(Message::Binary(Bytes::from_static(br#"{"id":1,"type":"clear_filter"}"#))).await.expect("open");
    assert_eq!(client.next().await, r#"{"id":1,"type":"filter_set","filter":""}"#);
    client.0.send(Message::Binary(Bytes::from_static(b"\xff\xfe"))).await.expect("open");
    assert_eq!(client.next().await, error("Invalid JSON."));
}
