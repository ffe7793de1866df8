//! A bridge on a sidechannel that only writes down, and clients of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use encoding::json::{Value, parse};
use futures_util::{SinkExt, StreamExt};
use intercom::bridge::{Backend, Bridge, BridgeOptions, CommandOutput, Commands, Operation};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A sidechannel that writes down what it is asked, and answers what the test says.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) deny: AtomicBool,
    pub(crate) fail: AtomicBool,
    /// Joining waits for `release`.
    pub(crate) hold: AtomicBool,
    pub(crate) release: Arc<Notify>,
}

impl Fake {
    pub(crate) fn called(&self, call: String) -> bool {
        self.calls.lock().push(call);
        !self.deny.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock())
    }

    pub(crate) fn changed(&self, call: String) -> Operation<Result<bool, String>> {
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

pub(crate) fn show(value: Option<&Value>) -> String {
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
pub(crate) struct Echo {
    pub(crate) exit: Arc<tokio::sync::Notify>,
    /// What `/held` waits for.
    pub(crate) held: Arc<tokio::sync::Notify>,
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
        let held = (line == "/held").then(|| self.held.clone());
        Box::pin(async move {
            if let Some(held) = held {
                held.notified().await;
            }
            CommandOutput { output, result, last }
        })
    }

    fn exit(&self) {
        self.exit.notify_one();
    }
}

pub(crate) struct Setup {
    pub(crate) bridge: Bridge,
    pub(crate) fake: Arc<Fake>,
}

pub(crate) fn options() -> BridgeOptions {
    BridgeOptions {
        host: "127.0.0.1".into(),
        token: "secret".into(),
        peer: "c9c2".into(),
        address: "trac1".into(),
        info: Some(parse(r#"{"msbBootstrap":"ac","peerWriterKey":null}"#).expect("valid JSON")),
        ..BridgeOptions::default()
    }
}

pub(crate) async fn setup_with(options: BridgeOptions, commands: Option<Arc<dyn Commands>>) -> Setup {
    let fake = Arc::new(Fake::default());
    let bridge = Bridge::listen(options, fake.clone(), commands).await.expect("a free port");
    Setup { bridge, fake }
}

pub(crate) async fn setup() -> Setup {
    setup_with(options(), None).await
}

pub(crate) struct Client(pub(crate) WebSocketStream<TcpStream>);

impl Setup {
    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.bridge.local_addr()).await.expect("the bridge listens")
    }

    /// A connection that has been greeted.
    pub(crate) async fn connect(&self) -> Client {
        let url = format!("ws://{}/any/path", self.bridge.local_addr());
        let (socket, _) = tokio_tungstenite::client_async(url, self.tcp().await).await.expect("an upgrade");
        let mut client = Client(socket);
        assert!(client.next().await.starts_with(r#"{"type":"hello""#));
        client
    }

    /// A connection that has shown the token.
    pub(crate) async fn enter(&self) -> Client {
        let mut client = self.connect().await;
        assert_eq!(client.ask(r#"{"type":"auth","token":"secret"}"#).await, r#"{"type":"auth_ok"}"#);
        client
    }

    pub(crate) fn publish(&self, channel: &str, payload: &str) {
        self.bridge.publish(channel, &parse(payload).expect("valid JSON"), 7.0);
    }
}

impl Client {
    pub(crate) async fn tell(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("the connection is open");
    }

    pub(crate) async fn next(&mut self) -> String {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("text expected, got {other:?}"),
        }
    }

    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.tell(text).await;
        self.next().await
    }

    /// The code with which the bridge closes; `None` where it only hangs up.
    pub(crate) async fn closed(&mut self) -> Option<CloseCode> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

pub(crate) fn error(text: &str) -> String {
    format!(r#"{{"type":"error","error":"{text}"}}"#)
}
