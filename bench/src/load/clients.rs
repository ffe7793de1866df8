//! Clients of an SC-Bridge.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{SplitSink, StreamExt};
use futures_util::{FutureExt, SinkExt};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{PATIENCE, late};
use crate::lines::Failure;

/// What all clients together wait for and got.
#[derive(Default)]
pub(super) struct Board {
    next: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    waiting: Mutex<HashMap<Key, oneshot::Sender<Instant>>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Reply(u64),
    Message(String),
}

/// What clients got that they had not asked for.
#[derive(Clone, Copy)]
pub(super) struct Received {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

impl Received {
    pub(super) fn since(self, before: Received) -> Received {
        Received { events: self.events - before.events, bytes: self.bytes - before.bytes }
    }
}

impl Board {
    pub(super) fn received(&self) -> Received {
        Received { events: self.events.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// When the listener gets this message.
    pub(super) fn expect_message(&self, text: &str) -> oneshot::Receiver<Instant> {
        self.expect(Key::Message(text.to_owned()))
    }

    fn expect(&self, key: Key) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key, sender);
        receiver
    }

    fn got(&self, key: &Key) {
        if let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(key) {
            // An error means that nobody waits any more.
            let _ = waiting.send(Instant::now());
        }
    }

    /// Looks at a frame no more closely than it must: most are of the load.
    fn take(&self, text: &str, talk: &str) -> Result<(), Failure> {
        if let Some(rest) = text.strip_prefix("{\"type\":\"sidechannel_message\"") {
            self.events.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
            if rest.starts_with(talk) {
                let event: Value = serde_json::from_str(text)?;
                if let Some(message) = event["message"].as_str() {
                    self.got(&Key::Message(message.to_owned()));
                }
            }
            return Ok(());
        }
        let reply: Value = serde_json::from_str(text)?;
        if reply["type"] == "error" {
            return Err(format!("the bridge says {text}").into());
        }
        if let Some(id) = reply["id"].as_u64() {
            self.got(&Key::Reply(id));
        }
        Ok(())
    }
}

type WebSocket = WebSocketStream<TcpStream>;

/// An authenticated client that reads all the time.
pub(super) struct Client {
    sink: tokio::sync::Mutex<SplitSink<WebSocket, Message>>,
    reading: JoinHandle<Result<(), Failure>>,
}

impl Client {
    /// Connects, shows the token, and subscribes to `talk`.
    pub(super) async fn enter(bridge: &str, token: &str, talk: &str, board: &Arc<Board>) -> Result<Client, Failure> {
        let stream = TcpStream::connect(bridge).await?;
        stream.set_nodelay(true)?;
        let (sink, mut stream) = authenticate(bridge, stream, token).await?.split();
        let (board_of, channel) = (board.clone(), format!(",\"channel\":\"{talk}\""));
        let reading = tokio::spawn(async move {
            while let Some(message) = stream.next().await {
                if let Message::Text(text) = message? {
                    board_of.take(&text, &channel)?;
                }
            }
            Ok(())
        });
        let client = Client { sink: sink.into(), reading };
        client.ask(board, json!({ "type": "subscribe", "channel": talk })).await?;
        Ok(client)
    }

    /// When the reply to a request came.
    pub(super) async fn ask(&self, board: &Board, mut request: Value) -> Result<Instant, Failure> {
        let id = board.next.fetch_add(1, Ordering::Relaxed);
        let reply = board.expect(Key::Reply(id));
        request["id"] = id.into();
        self.sink.lock().await.send(Message::text(request.to_string())).await?;
        Ok(timeout(PATIENCE, reply).await.map_err(|_| late("a reply"))??)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.reading.is_finished()
    }
}

async fn authenticate(bridge: &str, stream: TcpStream, token: &str) -> Result<WebSocket, Failure> {
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{bridge}"), stream).await?;
    socket.send(Message::text(json!({ "type": "auth", "token": token }).to_string())).await?;
    while let Some(message) = timeout(PATIENCE, socket.next()).await.map_err(|_| late("auth_ok"))? {
        if message?.to_text()?.contains("auth_ok") {
            return Ok(socket);
        }
    }
    Err("closed before it was authenticated".into())
}

/// A client that hears everything and reads nothing.
pub(super) struct Deaf(WebSocket);

impl Deaf {
    pub(super) async fn enter(bridge: &str, token: &str) -> Result<Deaf, Failure> {
        let address: SocketAddr = bridge.parse()?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_recv_buffer_size(16 << 10)?;
        socket.connect(&address.into())?;
        socket.set_nonblocking(true)?;
        let stream = TcpStream::from_std(socket.into())?;
        Ok(Deaf(authenticate(bridge, stream, token).await?))
    }

    /// What it finds when it reads after all, in order and then: why it was dropped, if it was.
    pub(super) async fn end(mut self) -> Option<String> {
        let drained = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.reason.to_string()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Some(error.to_string()),
                    None => return Some("closed".to_owned()),
                }
            }
        };
        // One that was not dropped goes on for ever.
        timeout(Duration::from_secs(2), drained.boxed()).await.ok().flatten()
    }
}
