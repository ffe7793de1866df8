//! The listener, and the connections of the clients.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use encoding::json::{JsString, Object, Value, stringify};
use futures_util::{Sink, SinkExt, Stream, StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message, Utf8Bytes};
use tracing::{debug, warn};

use super::backend::{Backend, Commands};
use super::client::Client;
use super::event::Event;
use super::guard::Guard;
use super::handshake;
use super::queue::End;
use super::session::Session;

/// A further connection is closed at once while so many clients are authenticated.
pub const MAX_CLIENTS: usize = 256;

/// So many connections may be open without having shown the token. A further one takes the place of the oldest, so that who
/// holds connections open cannot keep out who knows the token; it waits until that has had its [`GRACE`].
pub const MAX_UNAUTHENTICATED: usize = 32;

/// So long a connection keeps its place from others, to show the token: many that come at once all know it, as a rule.
const GRACE: Duration = Duration::from_millis(500);

/// So many connections without the token may exist, with those that are being closed. A further one ends the oldest of these at
/// once, without a word.
const MAX_UNAUTHENTICATED_WITH_CLOSING: usize = 2 * MAX_UNAUTHENTICATED;

/// A connection that has not sent its HTTP request by then is closed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that has not shown the token by then is closed.
pub const AUTH_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest message of a client, unless [`BridgeOptions::max_frame_bytes`] says otherwise. A larger one closes the
/// connection with code 1009.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// So much is gathered before it is written to the socket.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// A closing bridge waits so long for its clients to take their close frame.
pub const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A client with the token that was too slow may read so much later why it was dropped. Until then it keeps its place among [`MAX_CLIENTS`], and
/// of the memory no more than the frame in which it stopped.
const SLOW_CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The listener waits so long after the system refused it a connection (too many open files).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How a bridge is set up.
#[derive(Debug, Clone, Default)]
pub struct BridgeOptions {
    /// Name or address to listen at.
    pub host: String,
    /// Port to listen at; 0 for any free one.
    pub port: u16,
    /// The secret that a client must show. Must not be empty.
    pub token: String,
    /// The filter that clients begin with.
    pub filter: String,
    /// The channels that filters apply to; all if `None`.
    pub filter_channels: Option<Vec<String>>,
    /// The peer's public key in hex, for the greeting.
    pub peer: String,
    /// The peer's address, for the greeting.
    pub address: String,
    /// What the command `info` answers.
    pub info: Option<Value>,
    /// Pages of other machines that may connect, by their origin: `https://example.org`.
    pub allow_origins: Vec<String>,
    /// The largest message of a client in bytes; 0 for [`DEFAULT_MAX_FRAME_BYTES`].
    pub max_frame_bytes: usize,
    /// Log every forwarded message.
    pub debug: bool,
}

/// What clients may ask to be told of: see [`Bridge::tell`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The expenses of this room changed, or of any if it is `None`.
    Expenses(Option<JsString>),
    /// A peer or a channel came or went.
    Presence,
}

/// A running SC-Bridge. Dropping it closes it without a word to its clients; [`Bridge::close`] is kinder.
pub struct Bridge {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    listener: JoinHandle<()>,
}

pub(crate) struct Shared {
    pub(crate) options: BridgeOptions,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) commands: Option<Arc<dyn Commands>>,
    pub(crate) guard: Guard,
    /// A connection has shown the token, or is gone.
    pub(crate) vacancy: Notify,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    next_id: u64,
    /// By age.
    by_id: BTreeMap<u64, (Arc<Client>, JoinHandle<()>)>,
    closed: bool,
}

impl Clients {
    /// Since when the oldest connection without the token is here, if there is no place for another.
    fn oldest_of_full(&self) -> Option<Instant> {
        let mut open = self.by_id.values().map(|(client, _)| client);
        let mut open = open.by_ref().filter(|client| !client.is_authenticated() && !client.queue.has_ended());
        let oldest = open.next()?.since;
        (1 + open.count() >= MAX_UNAUTHENTICATED).then_some(oldest)
    }

    /// Makes room for one more connection without the token: the oldest goes.
    fn make_room(&mut self) {
        let unauthenticated = self.by_id.iter().filter(|(_, (client, _))| !client.is_authenticated());
        let (closing, open): (Vec<_>, Vec<_>) = unauthenticated.partition(|(_, (client, _))| client.queue.has_ended());
        if open.len() >= MAX_UNAUTHENTICATED {
            open[0].1.0.queue.end(End::Unauthenticated);
        }
        if open.len() + closing.len() < MAX_UNAUTHENTICATED_WITH_CLOSING {
            return;
        }
        if let Some(id) = closing.first().map(|(id, _)| **id)
            && let Some((_, task)) = self.by_id.remove(&id)
        {
            task.abort();
        }
    }
}

impl Bridge {
    /// Listens, and serves from now on. Terminal commands are off without `commands`.
    ///
    /// # Errors
    ///
    /// Whatever hinders listening, above all [`io::ErrorKind::AddrInUse`]; [`io::ErrorKind::InvalidInput`] for an empty token.
    pub async fn listen(
        options: BridgeOptions,
        backend: Arc<dyn Backend>,
        commands: Option<Arc<dyn Commands>>,
    ) -> io::Result<Bridge> {
        if options.token.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a bridge needs a token"));
        }
        let listener = TcpListener::bind((options.host.as_str(), options.port)).await?;
        let local_addr = listener.local_addr()?;
        let (guard, vacancy, clients) = (Guard::default(), Notify::new(), Mutex::default());
        let shared = Arc::new(Shared { options, backend, commands, guard, vacancy, clients });
        let listener = tokio::spawn(accept(listener, shared.clone()));
        Ok(Bridge { shared, local_addr, listener })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Hands a received message to every client that is authenticated, subscribed to its channel, and whose filter it passes.
    /// `now` is the time in milliseconds since 1970, for a message without one.
    pub fn publish(&self, channel: &str, payload: &Value, now: f64) {
        let event = Event::new(channel, payload, now);
        let clients = self.shared.clients.lock();
        if self.shared.options.debug {
            debug!(target: "sc_bridge", "[sc-bridge] recv {channel}: {}", event.text());
            debug!(target: "sc_bridge", "[sc-bridge] clients {}", clients.by_id.len());
        }
        let filtered =
            self.shared.options.filter_channels.as_ref().is_none_or(|only| only.iter().any(|name| name == channel));
        for (client, _) in clients.by_id.values() {
            let emitted = client.offer(&event, filtered);
            if self.shared.options.debug {
                debug!(target: "sc_bridge", "[sc-bridge] {}", if emitted { "emit" } else { "filtered" });
            }
        }
    }

    /// Tells every client that asked for it (`watch`) what changed. Clients of the original never ask.
    pub fn tell(&self, news: &News) {
        let clients = self.shared.clients.lock();
        let mut frame = None;
        for (client, _) in clients.by_id.values().filter(|(client, _)| client.is_watching()) {
            client.queue.push(frame.get_or_insert_with(|| self.shared.frame(news)).clone());
        }
    }

    /// How many connections are served, authenticated or not.
    pub fn client_count(&self) -> usize {
        self.shared.clients.lock().by_id.values().filter(|(client, _)| !client.queue.has_ended()).count()
    }

    /// Stops listening and closes every connection, within half a second.
    pub async fn close(&self) {
        self.listener.abort();
        let clients = {
            let mut clients = self.shared.clients.lock();
            clients.closed = true;
            std::mem::take(&mut clients.by_id)
        };
        let mut tasks: FuturesUnordered<_> = clients
            .into_values()
            .map(|(client, task)| {
                client.queue.end(End::Shutdown);
                task
            })
            .collect();
        let all = async { while tasks.next().await.is_some() {} };
        if tokio::time::timeout(CLOSE_TIMEOUT, all).await.is_err() {
            tasks.iter().for_each(JoinHandle::abort);
        }
    }
}

impl Shared {
    fn frame(&self, news: &News) -> Utf8Bytes {
        let backend = &self.backend;
        let news = match news {
            News::Expenses(channel) => Object::new().with("type", "expenses_changed").with("channel", channel.clone()),
            News::Presence => Object::new()
                .with("type", "stats_changed")
                .with("channels", backend.channels())
                .with("connectionCount", backend.connection_count())
                .with("sidechannelStarted", backend.started()),
        };
        stringify(&news.into()).into()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.listener.abort();
        let mut clients = self.shared.clients.lock();
        clients.closed = true;
        clients.by_id.values().for_each(|(_, task)| task.abort());
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                room(&shared).await;
                admit(&shared, stream, from);
            }
            Err(error) => {
                warn!("SC-Bridge cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Waits until one more connection may come: until one has shown the token or is gone, or the oldest has had its time.
async fn room(shared: &Shared) {
    loop {
        let Some(oldest) = shared.clients.lock().oldest_of_full() else { return };
        let due = oldest + GRACE;
        if due <= Instant::now() {
            return;
        }
        tokio::select! {
            () = shared.vacancy.notified() => {}
            () = tokio::time::sleep_until(due) => {}
        }
    }
}

/// Gives a new connection a place and a task of its own.
fn admit(shared: &Arc<Shared>, stream: TcpStream, from: SocketAddr) {
    let mut clients = shared.clients.lock();
    if clients.closed {
        return;
    }
    let authenticated = clients.by_id.values().filter(|(client, _)| client.is_authenticated()).count();
    if authenticated >= MAX_CLIENTS {
        warn!(%from, "SC-Bridge refuses a connection: {MAX_CLIENTS} clients are connected");
        return;
    }
    clients.make_room();
    let id = clients.next_id;
    clients.next_id += 1;
    let client = Arc::new(Client::new(&shared.options.filter));
    let task = tokio::spawn(serve(shared.clone(), id, client.clone(), stream, from));
    clients.by_id.insert(id, (client, task));
}

/// A connection from its first byte to its last.
async fn serve(shared: Arc<Shared>, id: u64, client: Arc<Client>, stream: TcpStream, from: SocketAddr) {
    // Replies are small and waited for.
    let _ = stream.set_nodelay(true);
    let handshake = handshake::accept(stream, config(&shared.options), &shared.options.allow_origins);
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake);
    let socket = tokio::select! {
        socket = handshake => socket.ok().flatten(),
        _ = client.queue.ended() => None,
    };
    if let Some(socket) = socket {
        let session = Session::new(shared.clone(), client.clone());
        session.greet();
        let (mut sink, mut stream) = socket.split();
        let end = tokio::select! {
            end = read(session, &mut stream) => end,
            end = write(&client, &mut sink, from) => end,
            never = authentication_timeout(&client) => match never {},
        };
        debug!(%from, ?end, "SC-Bridge client gone");
        if matches!(end, End::TooLong | End::Garbage)
            && let Ok(mut socket) = stream.reunite(sink)
        {
            drain(socket.get_mut()).await;
        }
    }
    client.queue.end(End::Gone);
    shared.clients.lock().by_id.remove(&id);
    shared.vacancy.notify_one();
}

fn config(options: &BridgeOptions) -> WebSocketConfig {
    let largest = if options.max_frame_bytes == 0 { DEFAULT_MAX_FRAME_BYTES } else { options.max_frame_bytes };
    WebSocketConfig::default()
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest))
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .read_buffer_size(WRITE_BUFFER_BYTES)
}

/// Handles what the client sends, one message after the other. What is no message ends its queue, so that it is told why.
async fn read<S>(session: Session, stream: &mut S) -> End
where
    S: Stream<Item = Result<Message, WebSocketError>> + Unpin,
{
    loop {
        let end = match stream.next().await {
            Some(Ok(Message::Text(text))) => {
                session.handle(text.as_bytes()).await;
                continue;
            }
            Some(Ok(Message::Binary(bytes))) => {
                session.handle(&bytes).await;
                continue;
            }
            Some(Ok(_)) => continue,
            Some(Err(WebSocketError::Capacity(_))) => End::TooLong,
            Some(Err(WebSocketError::Utf8(_))) => End::Garbage,
            Some(Err(WebSocketError::Protocol(error))) if error != ProtocolError::ResetWithoutClosingHandshake => {
                End::Garbage
            }
            Some(Err(_)) | None => return End::Gone,
        };
        session.end(end);
        std::future::pending::<()>().await;
    }
}

/// Takes what a client still sends that has been told to go: the system drops what is on its way to it where a socket is closed over
/// unread bytes.
async fn drain(socket: &mut TcpStream) {
    let _ = socket.shutdown().await;
    let mut rest = vec![0; WRITE_BUFFER_BYTES];
    let all = async { while socket.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, all).await;
}

/// Sends what the client is to get; says goodbye where that was decided here.
async fn write<S>(client: &Client, sink: &mut S, from: SocketAddr) -> End
where
    S: Sink<Message, Error = WebSocketError> + Unpin,
{
    let end = tokio::select! {
        end = client.queue.ended() => end,
        _ = send_all(client, sink) => End::Gone,
    };
    let (code, reason) = match end {
        End::Gone => return end,
        End::Slow => (CloseCode::Policy, "Too slow: messages were not read."),
        End::TooLong => (CloseCode::Size, "The message is too long."),
        End::Garbage => (CloseCode::Protocol, "That is no WebSocket."),
        End::Shutdown => (CloseCode::Away, "The peer stops."),
        End::Unauthenticated | End::Guessing => (CloseCode::Policy, "Unauthorized."),
    };
    if end == End::Slow {
        warn!(%from, "SC-Bridge drops a client: it does not read what it is sent");
    }
    let close = async {
        // What was answered before, above all to who told the peer to stop.
        while let Some(frame) = client.queue.try_next() {
            sink.feed(Message::Text(frame)).await?;
        }
        sink.send(Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }))).await
    };
    let _ = tokio::time::timeout(patience(end, client.is_authenticated()), close).await;
    end
}

/// How long a client may take to read why it is closed, after what its socket still holds.
fn patience(end: End, authenticated: bool) -> Duration {
    if end == End::Slow && authenticated { SLOW_CLOSE_TIMEOUT } else { CLOSE_TIMEOUT }
}

/// Sends until the connection breaks. Whatever waits is gathered before it is flushed.
async fn send_all<S>(client: &Client, sink: &mut S) -> Result<Infallible, WebSocketError>
where
    S: Sink<Message, Error = WebSocketError> + Unpin,
{
    loop {
        let frame = match client.queue.try_next() {
            Some(frame) => frame,
            None => {
                sink.flush().await?;
                client.queue.next().await
            }
        };
        sink.feed(Message::Text(frame)).await?;
    }
}

/// Ends the client when it had [`AUTH_TIMEOUT`] to show the token and did not.
async fn authentication_timeout(client: &Client) -> Infallible {
    tokio::time::sleep(AUTH_TIMEOUT).await;
    if !client.is_authenticated() {
        client.queue.end(End::Unauthenticated);
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that have not shown the token, as they are noted before their tasks have a turn.
    fn clients(count: usize) -> Clients {
        let mut clients = Clients::default();
        for id in 0..count as u64 {
            clients.make_room();
            clients.by_id.insert(id, (Arc::new(Client::new("")), tokio::spawn(std::future::pending())));
        }
        clients
    }

    #[tokio::test]
    async fn connections_without_a_token_are_bounded_also_while_they_are_being_closed() {
        let clients = clients(10 * MAX_UNAUTHENTICATED);
        assert_eq!(clients.by_id.len(), MAX_UNAUTHENTICATED_WITH_CLOSING);
        let open: Vec<u64> =
            clients.by_id.iter().filter(|(_, (client, _))| !client.queue.has_ended()).map(|(id, _)| *id).collect();
        // The newest are open.
        assert_eq!(open, (9 * MAX_UNAUTHENTICATED as u64..10 * MAX_UNAUTHENTICATED as u64).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn who_has_shown_the_token_stays() {
        let mut clients = clients(MAX_UNAUTHENTICATED);
        clients.by_id[&0].0.authenticate();
        for id in 0..10 * MAX_UNAUTHENTICATED as u64 {
            clients.make_room();
            let client = (Arc::new(Client::new("")), tokio::spawn(std::future::pending()));
            clients.by_id.insert(1_000 + id, client);
        }
        assert!(!clients.by_id[&0].0.queue.has_ended());
    }

    #[test]
    fn only_who_has_shown_the_token_keeps_its_place_to_read_why_it_is_closed() {
        assert_eq!(patience(End::Slow, true), SLOW_CLOSE_TIMEOUT);
        for (end, authenticated) in [(End::Slow, false), (End::Unauthenticated, false), (End::Shutdown, true)] {
            assert_eq!(patience(end, authenticated), CLOSE_TIMEOUT, "{end:?}");
        }
    }
}
