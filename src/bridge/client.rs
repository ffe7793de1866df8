//! What the bridge remembers of a client.

use encoding::json::JsString;
use indexmap::IndexSet;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::event::Event;
use super::filter::Filter;
use super::queue::{End, Queue};

/// Names of channels that one client may subscribe to, in bytes, each counted with [`NAME_OVERHEAD`].
const MAX_SUBSCRIPTION_BYTES: usize = 256 * 1024;

/// What a name costs beside its text.
const NAME_OVERHEAD: usize = 64;

/// A client that showed so many wrong tokens is closed.
pub(crate) const MAX_WRONG_TOKENS: u32 = 32;

/// A client: what is on its way to it, and what it wants to hear.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) queue: Queue,
    /// When it came.
    pub(crate) since: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    authenticated: bool,
    wrong_tokens: u32,
    /// Asked to be told of changes.
    watching: bool,
    filter: Filter,
    /// Empty means all channels.
    channels: IndexSet<JsString>,
}

impl Client {
    /// A client that has not shown the token, with the filter that clients begin with.
    pub(crate) fn new(filter: &str) -> Client {
        let state = State {
            authenticated: false,
            wrong_tokens: 0,
            watching: false,
            filter: Filter::parse(filter),
            channels: IndexSet::new(),
        };
        Client { queue: Queue::default(), since: Instant::now(), state: Mutex::new(state) }
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.state.lock().authenticated
    }

    pub(crate) fn authenticate(&self) {
        self.state.lock().authenticated = true;
    }

    /// Counts a wrong token; too many of them end the connection.
    pub(crate) fn refuse_token(&self) {
        let mut state = self.state.lock();
        state.wrong_tokens += 1;
        if state.wrong_tokens >= MAX_WRONG_TOKENS {
            self.queue.end(End::Guessing);
        }
    }

    /// Whether the client is to be told of changes.
    pub(crate) fn watch(&self, on: bool) {
        self.state.lock().watching = on;
    }

    pub(crate) fn is_watching(&self) -> bool {
        self.state.lock().watching
    }

    pub(crate) fn set_filter(&self, filter: Filter) {
        self.state.lock().filter = filter;
    }

    /// Adds channels, and hands back all in the order of adding. `None`, with nothing added, if they are too many.
    pub(crate) fn subscribe(&self, names: Vec<JsString>) -> Option<Vec<JsString>> {
        let mut state = self.state.lock();
        let mut channels = state.channels.clone();
        channels.extend(names);
        if channels.iter().map(cost).sum::<usize>() > MAX_SUBSCRIPTION_BYTES {
            return None;
        }
        state.channels = channels;
        Some(state.channels.iter().cloned().collect())
    }

    /// Removes channels, and hands back those that are left.
    pub(crate) fn unsubscribe(&self, names: &[JsString]) -> Vec<JsString> {
        let mut state = self.state.lock();
        for name in names {
            state.channels.shift_remove(name);
        }
        state.channels.iter().cloned().collect()
    }

    /// Queues an event if the client is to have it. `filtered`: filters apply to the event's channel.
    pub(crate) fn offer(&self, event: &Event<'_>, filtered: bool) -> bool {
        let wanted = {
            let state = self.state.lock();
            state.authenticated
                && (state.channels.is_empty() || state.channels.contains(event.channel()))
                && (!filtered || state.filter.is_empty() || state.filter.matches(event.lowercase()))
        };
        if wanted {
            self.queue.push(event.frame());
        }
        wanted
    }
}

fn cost(name: &JsString) -> usize {
    name.as_wtf8().len() + NAME_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_bounded() {
        let client = Client::new("");
        let long = JsString::from("x".repeat(MAX_SUBSCRIPTION_BYTES / 2));
        assert_eq!(client.subscribe(vec![long.clone(), "b".into(), "b".into()]), Some(vec![long.clone(), "b".into()]));
        assert_eq!(client.subscribe(vec![JsString::from("y".repeat(MAX_SUBSCRIPTION_BYTES / 2))]), None);
        assert_eq!(client.unsubscribe(&[long, "never".into()]), ["b"]);
    }

    #[tokio::test]
    async fn too_many_wrong_tokens_end_the_connection() {
        let client = Client::new("");
        for _ in 1..MAX_WRONG_TOKENS {
            client.refuse_token();
        }
        client.queue.push("still open".into());
        assert_eq!(client.queue.next().await, "still open");
        client.refuse_token();
        assert_eq!(client.queue.ended().await, End::Guessing);
    }
}
