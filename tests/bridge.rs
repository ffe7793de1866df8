//! SC-Bridge against real WebSocket clients and a sidechannel that is none: every command's exact bytes, and what hostile
//! clients get.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use encoding::json::{Value, parse};
use futures_util::{SinkExt, StreamExt};
use intercom::bridge::{
    AUTH_TIMEOUT, Backend, Bridge, BridgeOptions, CommandOutput, Commands, HANDSHAKE_TIMEOUT, MAX_UNAUTHENTICATED,
    Operation,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// A sidechannel that writes down what it is asked, and answers what the test says.
#[derive(Default)]
struct Fake {
    calls: Mutex<Vec<String>>,
    deny: AtomicBool,
    fail: AtomicBool,
    /// Joining waits for `release`.
    hold: AtomicBool,
    release: Arc<Notify>,
}

impl Fake {
    fn called(&self, call: String) -> bool {
        self.calls.lock().push(call);
        !self.deny.load(Ordering::Relaxed)
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock())
    }

    fn changed(&self, call: String) -> Operation<Result<bool, String>> {
        let done = self.called(call);
        let failed = self.fail.load(Ordering::Relaxed);
        let wait = self.hold.load(Ordering::Relaxed).then(|| self.release.clone());
        Box::pin(async move {
            if let Some(wait) = wait {
                wait.notified().await;
            }
            if failed { Err("no network".into()) } else { Ok(done) }
        })
    }
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "-".into(), Value::to_string)
}

impl Backend for Fake {
    fn entry_channel(&self) -> String {
        "0000intercom".into()
    }

    fn channels(&self) -> Vec<String> {
        vec!["0000intercom".into(), "room".into()]
    }

    fn connection_count(&self) -> usize {
        2
    }

    fn started(&self) -> bool {
        true
    }

    fn add_channel(&self, channel: &str) -> Operation<Result<bool, String>> {
        self.changed(format!("add {channel}"))
    }

    fn remove_channel(&self, channel: &str) -> Operation<Result<bool, String>> {
        self.changed(format!("remove {channel}"))
    }

    fn broadcast(&self, channel: &str, message: Option<Value>, invite: Option<Value>) -> Operation<bool> {
        let sent = self.called(format!("send {channel} {} {}", show(message.as_ref()), show(invite.as_ref())));
        Box::pin(async move { sent })
    }

    fn request_open(
        &self,
        channel: &str,
        via: Option<&str>,
        invite: Option<Value>,
        welcome: Option<Value>,
    ) -> Operation<bool> {
        let (invite, welcome) = (show(invite.as_ref()), show(welcome.as_ref()));
        let sent = self.called(format!("open {channel} {} {invite} {welcome}", via.unwrap_or("-")));
        Box::pin(async move { sent })
    }

    fn accept_invite(&self, channel: &str, invite: Option<&Value>, welcome: Option<&Value>) {
        self.called(format!("accept {channel} {} {}", show(invite), show(welcome)));
    }
}

/// A terminal that repeats what it is told.
#[derive(Default)]
struct Echo {
    exit: Arc<tokio::sync::Notify>,
}

impl Commands for Echo {
    fn run(&self, line: &str) -> Operation<CommandOutput> {
        let result = match line {
            "/fail" => Err("Peer is not writable.".into()),
            "/value" => Ok(Some(Value::from(5_u32))),
            _ => Ok(None),
        };
        let output = vec![line.to_owned(), "second line".into()];
        let last = line == "/exit";
        Box::pin(async move { CommandOutput { output, result, last } })
    }

    fn exit(&self) {
        self.exit.notify_one();
    }
}

struct Setup {
    bridge: Bridge,
    fake: Arc<Fake>,
}

fn options() -> BridgeOptions {
    BridgeOptions {
        host: "127.0.0.1".into(),
        token: "secret".into(),
        peer: "c9c2".into(),
        address: "trac1".into(),
        info: Some(parse(r#"{"msbBootstrap":"ac","peerWriterKey":null}"#).expect("valid JSON")),
        ..BridgeOptions::default()
    }
}

async fn setup_with(options: BridgeOptions, commands: Option<Arc<dyn Commands>>) -> Setup {
    let fake = Arc::new(Fake::default());
    let bridge = Bridge::listen(options, fake.clone(), commands).await.expect("a free port");
    Setup { bridge, fake }
}

async fn setup() -> Setup {
    setup_with(options(), None).await
}

struct Client(WebSocketStream<TcpStream>);

impl Setup {
    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.bridge.local_addr()).await.expect("the bridge listens")
    }

    /// A connection that has been greeted.
    async fn connect(&self) -> Client {
        let url = format!("ws://{}/any/path", self.bridge.local_addr());
        let (socket, _) = tokio_tungstenite::client_async(url, self.tcp().await).await.expect("an upgrade");
        let mut client = Client(socket);
        assert!(client.next().await.starts_with(r#"{"type":"hello""#));
        client
    }

    /// A connection that has shown the token.
    async fn enter(&self) -> Client {
        let mut client = self.connect().await;
        assert_eq!(client.ask(r#"{"type":"auth","token":"secret"}"#).await, r#"{"type":"auth_ok"}"#);
        client
    }

    fn publish(&self, channel: &str, payload: &str) {
        self.bridge.publish(channel, &parse(payload).expect("valid JSON"), 7.0);
    }
}

impl Client {
    async fn tell(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("the connection is open");
    }

    async fn next(&mut self) -> String {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("text expected, got {other:?}"),
        }
    }

    async fn ask(&mut self, text: &str) -> String {
        self.tell(text).await;
        self.next().await
    }

    /// The code with which the bridge closes; `None` where it only hangs up.
    async fn closed(&mut self) -> Option<CloseCode> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

fn error(text: &str) -> String {
    format!(r#"{{"type":"error","error":"{text}"}}"#)
}

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
async fn the_command_that_ends_the_peer_is_answered() {
    let exit = Arc::new(tokio::sync::Notify::new());
    let setup = setup_with(options(), Some(Arc::new(Echo { exit: exit.clone() }))).await;
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

async fn http(setup: &Setup, request: &str) -> String {
    let mut stream = setup.tcp().await;
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}

#[tokio::test]
async fn plain_http_is_told_to_upgrade() {
    let setup = setup().await;
    let answer = http(&setup, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n") && answer.ends_with("\r\n\r\nUpgrade Required"));
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(40_000));
    assert!(http(&setup, &endless).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let setup = setup().await;
    let request = |origin: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n",
            setup.bridge.local_addr()
        )
    };
    assert!(http(&setup, &request("https://evil.example")).await.starts_with("HTTP/1.1 403 Forbidden\r\n"));
    let mut own = setup.tcp().await;
    own.write_all(request("http://localhost:5070").as_bytes()).await.expect("open");
    let mut answer = [0; 12];
    own.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[tokio::test]
async fn an_oversize_message_costs_its_sender_the_connection() {
    let setup = setup_with(BridgeOptions { max_frame_bytes: 1000, ..options() }, None).await;
    let (mut hostile, mut other) = (setup.enter().await, setup.enter().await);
    hostile.tell(&format!(r#"{{"pad":"{}"}}"#, "x".repeat(1000))).await;
    hostile.closed().await;
    assert!(other.ask(r#"{"type":"ping"}"#).await.contains("pong"));
}

#[tokio::test]
async fn deeply_nested_json_is_only_invalid() {
    let setup = setup().await;
    let mut client = setup.enter().await;
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        assert_eq!(client.ask(&deep).await, error("Invalid JSON."));
    }
}

#[tokio::test]
async fn endless_subscriptions_and_filters_are_refused() {
    let setup = setup().await;
    let mut client = setup.enter().await;
    let names: Vec<String> = (0..20_000).map(|n| format!("\"{n}\"")).collect();
    let subscribe = format!(r#"{{"type":"subscribe","channels":[{}]}}"#, names.join(","));
    assert_eq!(client.ask(&subscribe).await, error("Too many channels."));
    let filter = format!(r#"{{"type":"set_filter","filter":"{}"}}"#, "a|".repeat(10_000));
    assert_eq!(client.ask(&filter).await, error("Filter too long."));
}

#[tokio::test]
async fn who_guesses_tokens_is_closed() {
    let setup = setup().await;
    let mut client = setup.connect().await;
    for guess in 0..1000 {
        let told = client.0.send(Message::text(format!(r#"{{"type":"auth","token":"{guess}"}}"#))).await;
        if told.is_err() {
            return;
        }
    }
    assert_eq!(client.closed().await, Some(CloseCode::Policy));
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_and_the_others_notice_nothing() {
    let setup = setup().await;
    let (idle, mut reader) = (setup.enter().await, setup.enter().await);
    let payload = format!(r#"{{"message":"{}"}}"#, "x".repeat(200_000));
    let mut sent = 0;
    while setup.bridge.client_count() == 2 {
        assert!(sent < 1000, "200 MB were queued for a client that does not read");
        setup.publish("room", &payload);
        sent += 1;
        assert!(reader.next().await.contains("sidechannel_message"));
    }
    assert!(reader.ask(r#"{"type":"ping"}"#).await.contains("pong"));
    drop(idle);
}

#[tokio::test]
async fn a_client_that_was_too_slow_is_told_so() {
    let setup = setup().await;
    let mut slow = setup.enter().await;
    let payload = format!(r#"{{"message":"{}"}}"#, "x".repeat(200_000));
    // More than its queue and both socket buffers hold; nothing is sent meanwhile, for the runtime has one thread.
    (0..100).for_each(|_| setup.publish("room", &payload));
    assert_eq!(slow.closed().await, Some(CloseCode::Policy));
}

#[tokio::test]
async fn connections_without_a_token_make_room_for_newer_ones() {
    let setup = setup().await;
    let mut known = setup.enter().await;
    let mut oldest = setup.connect().await;
    let mut others = Vec::new();
    for _ in 1..MAX_UNAUTHENTICATED {
        others.push(setup.tcp().await);
    }
    let mut newest = setup.enter().await;
    let mut further = setup.connect().await;
    assert_eq!(oldest.closed().await, Some(CloseCode::Policy));
    for client in [&mut known, &mut newest] {
        assert!(client.ask(r#"{"type":"ping"}"#).await.contains("pong"));
    }
    assert_eq!(further.ask(r#"{"type":"ping"}"#).await, error("Unauthorized."));
}

#[tokio::test]
async fn half_open_connections_end_after_their_time() {
    let setup = setup().await;
    let (mut silent, mut partial) = (setup.tcp().await, setup.tcp().await);
    partial.write_all(b"GET / HTTP/1.1\r\nHost").await.expect("open");
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(partial.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(begun.elapsed() >= HANDSHAKE_TIMEOUT);
}

#[tokio::test]
async fn a_client_without_a_token_is_closed_after_its_time() {
    let setup = setup().await;
    let (mut known, mut client) = (setup.enter().await, setup.connect().await);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(client.closed().await, Some(CloseCode::Policy));
    assert!(begun.elapsed() >= AUTH_TIMEOUT / 2);
    tokio::time::resume();
    assert!(known.ask(r#"{"type":"ping"}"#).await.contains("pong"));
}

#[tokio::test]
async fn closing_says_goodbye_and_frees_the_port() {
    let setup = setup().await;
    let (mut client, mut idle) = (setup.enter().await, setup.tcp().await);
    let address = setup.bridge.local_addr();
    tokio::time::timeout(Duration::from_secs(5), setup.bridge.close()).await.expect("closing is bounded");
    assert_eq!(client.closed().await, Some(CloseCode::Away));
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(tokio::net::TcpListener::bind(address).await.is_ok());
}

#[tokio::test]
async fn a_bridge_without_a_token_does_not_start() {
    let started =
        Bridge::listen(BridgeOptions { token: String::new(), ..options() }, Arc::new(Fake::default()), None).await;
    assert_eq!(started.err().map(|error| error.kind()), Some(std::io::ErrorKind::InvalidInput));
}
