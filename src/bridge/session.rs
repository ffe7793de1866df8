//! The commands of one client.
//!
//! A client's commands are handled one after the other. What JavaScript answers later (`join`, `leave`, `cli`) is begun at once
//! and answered when it is done, so that it holds up nothing; everything else is answered before the next command.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use encoding::json::{JsString, Object, Value, parse, stringify, to_js_string, truthy, write_number};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::backend::Operation;
use super::client::Client;
use super::filter::Filter;
use super::queue::End;
use super::server::Shared;
use super::value::{embed_welcome, parse_json_or_base64};

/// Commands of one client that may wait for their answer at the same time. Its next one is read when there is room again.
const MAX_PENDING: usize = 64;

/// A longer filter is refused.
const MAX_FILTER_BYTES: usize = 4096;

/// What JavaScript throws where an object with a `toString` of its own is made text.
const NO_PRIMITIVE: &str = "Cannot convert object to primitive value";

/// What a client is told whose command did not come to its end.
const INTERRUPTED: &str = "The peer stops.";

/// One client's side of the bridge.
pub(crate) struct Session {
    shared: Arc<Shared>,
    client: Arc<Client>,
    pending: Arc<Semaphore>,
    /// Its terminal commands run one at a time. JavaScript's do so across clients; here one that waits holds up its client only.
    command_turn: Arc<Semaphore>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, client: Arc<Client>) -> Session {
        let (pending, command_turn) = (Arc::new(Semaphore::new(MAX_PENDING)), Arc::new(Semaphore::new(1)));
        Session { shared, client, pending, command_turn }
    }

    /// Says hello.
    pub(crate) fn greet(&self) {
        let options = &self.shared.options;
        let reply = Reply { client: self.client.clone(), id: None };
        reply.send(
            Object::new()
                .with("type", "hello")
                .with("peer", options.peer.as_str())
                .with("address", options.address.as_str())
                .with("entryChannel", self.shared.backend.entry_channel())
                .with("filter", options.filter.as_str())
                .with("requiresAuth", true),
        );
    }

    /// Nothing more is answered.
    pub(crate) fn end(&self, end: End) {
        self.client.queue.end(end);
    }

    /// Handles one message of the client; none of one that is being dropped, for it would not get the answer.
    pub(crate) async fn handle(&self, text: &[u8]) {
        if self.client.queue.has_ended() {
            return;
        }
        let mut reply = Reply { client: self.client.clone(), id: None };
        let Ok(message) = parse(text) else { return reply.error("Invalid JSON.") };
        if !message.is_object_like() {
            return reply.error("Invalid message.");
        }
        reply.id = message.get("id").and_then(Value::as_f64).filter(|id| id.is_finite() && id.fract() == 0.0);
        if let Err(error) = self.command(&message, &reply).await {
            reply.error(&error);
        }
    }

    async fn command(&self, message: &Value, reply: &Reply) -> Result<(), String> {
        let command = message.get("type").and_then(Value::as_str);
        if command == Some("auth") {
            return self.authenticate(message, reply).await;
        }
        if !self.client.is_authenticated() {
            return Err("Unauthorized.".into());
        }
        match command {
            Some("ping") => reply.send(Object::new().with("type", "pong").with("ts", now())),
            Some("set_filter") => {
                let filter = message.get("filter").filter(|value| truthy(value)).cloned().unwrap_or_else(|| "".into());
                let text = text(&filter)?;
                if text.as_wtf8().len() > MAX_FILTER_BYTES {
                    return Err("Filter too long.".into());
                }
                self.client.set_filter(Filter::parse(&text.to_str_lossy()));
                reply.send(Object::new().with("type", "filter_set").with("filter", filter));
            }
            Some("clear_filter") => {
                self.client.set_filter(Filter::default());
                reply.send(Object::new().with("type", "filter_set").with("filter", ""));
            }
            Some("subscribe") => {
                let channels = self.client.subscribe(channels(message)?).ok_or("Too many channels.")?;
                reply.send(Object::new().with("type", "subscribed").with("channels", channels));
            }
            Some("unsubscribe") => {
                let channels = self.client.unsubscribe(&channels(message)?);
                reply.send(Object::new().with("type", "subscribed").with("channels", channels));
            }
            Some("send") => self.send(message, reply).await?,
            Some("join") => self.join(message, reply).await?,
            Some("leave") => self.leave(message, reply).await?,
            Some("open") => self.open(message, reply).await?,
            Some("cli") => self.cli(message, reply).await?,
            Some("stats") => {
                let backend = &self.shared.backend;
                reply.send(
                    Object::new()
                        .with("type", "stats")
                        .with("channels", backend.channels())
                        .with("connectionCount", backend.connection_count())
                        .with("sidechannelStarted", backend.started()),
                );
            }
            // Not in the original, as the next.
            Some(kind @ ("watch" | "unwatch")) => {
                let on = kind == "watch";
                self.client.watch(on);
                reply.send(Object::new().with("type", "watching").with("on", on));
            }
            Some("explain") => {
                let channel = channel(message)?;
                let explanation =
                    self.shared.backend.explain(&channel.to_str_lossy()).ok_or("Unknown type: explain")?;
                let mut answer = Object::new().with("type", "explanation");
                for (key, value) in &explanation {
                    answer.insert(key.clone(), value.clone());
                }
                reply.send(answer);
            }
            Some("info") => {
                let info = self.shared.options.info.clone().ok_or("Info not available.")?;
                reply.send(Object::new().with("type", "info").with("info", info));
            }
            Some(
                kind @ ("expense_add" | "expense_list" | "expense_balance" | "expense_clear" | "expense_export"
                | "expense_persist" | "expense_restore"),
            ) => {
                let answer = self.shared.backend.expenses(kind, message);
                reply.send(finish(answer).await.unwrap_or_else(|| Err(INTERRUPTED.into()))?);
            }
            _ => {
                let unknown = match message.get("type") {
                    Some(value) => text(value)?,
                    None => "undefined".into(),
                };
                return Err(format!("Unknown type: {unknown}"));
            }
        }
        Ok(())
    }

    async fn authenticate(&self, message: &Value, reply: &Reply) -> Result<(), String> {
        let token = message.get("token").and_then(Value::as_str);
        // Digests are compared, so that neither the time nor the length of the comparison tells anything about the token.
        let same = |token: &str| {
            let expected = crypto::hash(&[self.shared.options.token.as_bytes()]);
            bool::from(crypto::hash(&[token.as_bytes()]).ct_eq(&expected))
        };
        if !self.shared.guard.admit(|| token.is_some_and(same)).await {
            self.client.refuse_token();
            return Err("Unauthorized.".into());
        }
        self.client.authenticate();
        self.shared.vacancy.notify_one();
        reply.send(Object::new().with("type", "auth_ok"));
        Ok(())
    }

    async fn send(&self, message: &Value, reply: &Reply) -> Result<(), String> {
        let channel = channel(message)?;
        let body = message.get("message").cloned();
        let (invite, welcome) = credentials(message)?;
        let backend = &self.shared.backend;
        let name = channel.to_str_lossy();
        let invite = match (invite, welcome) {
            (Some(invite), Some(welcome)) => Some(embed_welcome(invite, welcome)),
            (None, Some(welcome)) => {
                backend.accept_invite(&name, None, Some(&welcome));
                None
            }
            (invite, None) => invite,
        };
        if finish(backend.broadcast(&name, body, invite)).await != Some(true) {
            return Err("Send denied (invite required or invalid).".into());
        }
        reply.send(Object::new().with("type", "sent").with("channel", channel));
        Ok(())
    }

    async fn join(&self, message: &Value, reply: &Reply) -> Result<(), String> {
        let channel = channel(message)?;
        let (invite, welcome) = credentials(message)?;
        let backend = &self.shared.backend;
        let name = channel.to_str_lossy();
        if invite.is_some() || welcome.is_some() {
            backend.accept_invite(&name, invite.as_ref(), welcome.as_ref());
        }
        let joined = backend.add_channel(&name);
        let (channel, reply) = (channel.clone(), reply.clone());
        self.answer_later(async move {
            match joined.await {
                Ok(true) => reply.send(Object::new().with("type", "joined").with("channel", channel)),
                Ok(false) => reply.error("Join denied (invite required or invalid)."),
                Err(error) if error.is_empty() => reply.error("Join failed."),
                Err(error) => reply.error(&format!("Join failed: {error}")),
            }
        })
        .await;
        Ok(())
    }

    async fn leave(&self, message: &Value, reply: &Reply) -> Result<(), String> {
        let channel = channel(message)?;
        let left = self.shared.backend.remove_channel(&channel.to_str_lossy());
        let reply = reply.clone();
        self.answer_later(async move {
            match left.await {
                Ok(ok) => {
                    reply.client.unsubscribe(std::slice::from_ref(&channel));
                    reply.send(Object::new().with("type", "left").with("channel", channel).with("ok", ok));
                }
                Err(error) if error.is_empty() => reply.error("Leave failed."),
                Err(error) => reply.error(&format!("Leave failed: {error}")),
            }
        })
        .await;
        Ok(())
    }

    async fn open(&self, message: &Value, reply: &Reply) -> Result<(), String> {
        let channel = channel(message)?;
        let via = message.get("via").filter(|via| truthy(via)).map(text).transpose()?.filter(|via| !via.is_empty());
        let (invite, welcome) = credentials(message)?;
        let name = channel.to_str_lossy();
        let via_name = via.as_ref().map(JsString::to_str_lossy);
        let requested = self.shared.backend.request_open(&name, via_name.as_deref(), invite, welcome);
        if finish(requested).await != Some(true) {
            return Err("Open request denied (invalid input or missing invite/welcome).".into());
        }
        reply.send(Object::new().with("type", "open_requested").with("channel", channel).with("via", via));
        Ok(())
    }

    async fn cli(&self, message: &Value, reply: &Reply) -> Result<(), String> {
        let commands = self.shared.commands.clone().ok_or("CLI over WS is disabled.")?;
        let command = message.get("command").and_then(Value::as_js_string).map(|command| command.trim().into_owned());
        let command = command.filter(|command| !command.is_empty()).ok_or("Missing command.")?;
        let (turn, reply) = (self.command_turn.clone(), reply.clone());
        self.answer_later(async move {
            let Ok(_turn) = turn.acquire().await else { return };
            let done = commands.run(&command.to_str_lossy()).await;
            let result = Object::new()
                .with("type", "cli_result")
                .with("command", command)
                .with("ok", done.result.is_ok())
                .with("output", done.output);
            reply.send(match done.result {
                Ok(Some(value)) => result.with("error", Value::Null).with("result", value),
                // What JavaScript has as undefined, its JSON leaves out.
                Ok(None) => result.with("error", Value::Null),
                Err(error) => result.with("error", error).with("result", Value::Null),
            });
            if done.last {
                commands.exit();
            }
        })
        .await;
        Ok(())
    }

    /// Begins an operation that answers when it is done, and goes on.
    async fn answer_later(&self, operation: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = self.pending.clone().acquire_owned().await else { return };
        let mut operation: Operation<()> = Box::pin(operation);
        if poll_once(&mut operation).await.is_none() {
            tokio::spawn(async move {
                operation.await;
                drop(permit);
            });
        }
    }
}

/// Waits for an operation, which is done to its end even if nobody waits any more. `None` if the peer stops meanwhile.
async fn finish<T: Send + 'static>(mut operation: Operation<T>) -> Option<T> {
    match poll_once(&mut operation).await {
        Some(done) => Some(done),
        None => tokio::spawn(operation).await.ok(),
    }
}

async fn poll_once<T>(operation: &mut Operation<T>) -> Option<T> {
    poll_fn(|context| match operation.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Where the answer to one command goes.
#[derive(Clone)]
struct Reply {
    client: Arc<Client>,
    /// The number that the command had, which its answer repeats.
    id: Option<f64>,
}

impl Reply {
    fn send(&self, payload: Object) {
        let payload = stringify(&Value::Object(payload));
        let text = match self.id {
            None => payload,
            Some(id) => {
                let mut text = String::from("{\"id\":");
                write_number(&mut text, id);
                text.push(',');
                text.push_str(&payload[1..]);
                text
            }
        };
        self.client.queue.push(text.into());
    }

    fn error(&self, error: &str) {
        self.send(Object::new().with("type", "error").with("error", error));
    }
}

/// `String(value)`.
fn text(value: &Value) -> Result<JsString, String> {
    to_js_string(value).ok_or_else(|| NO_PRIMITIVE.into())
}

/// The channel that a command names.
fn channel(message: &Value) -> Result<JsString, String> {
    let name = match message.get("channel").filter(|value| truthy(value)) {
        Some(value) => text(value)?.trim().into_owned(),
        None => JsString::default(),
    };
    if name.is_empty() { Err("Missing channel.".into()) } else { Ok(name) }
}

/// The channels that a subscription names.
fn channels(message: &Value) -> Result<Vec<JsString>, String> {
    match (message.get("channels"), message.get("channel")) {
        (Some(Value::Array(names)), _) => names.iter().map(text).collect(),
        (_, Some(name)) if truthy(name) => Ok(vec![text(name)?]),
        _ => Ok(Vec::new()),
    }
}

/// The invite and the welcome of a command.
fn credentials(message: &Value) -> Result<(Option<Value>, Option<Value>), String> {
    let read = |key: &str| {
        let given = message.get(key);
        match parse_json_or_base64(given) {
            None if given.is_some_and(truthy) => Err(format!("Invalid {key} (expected JSON or base64).")),
            parsed => Ok(parsed),
        }
    };
    Ok((read("invite")?, read("welcome")?))
}

/// `Date.now()`.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
