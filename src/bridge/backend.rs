//! What the bridge needs of the sidechannel.
//!
//! A trait of its own, so that the bridge is tested without a network.

use std::future::Future;
use std::pin::Pin;

use encoding::json::{Object, Value};

/// A future that a [`Backend`] hands out.
pub type Operation<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// The sidechannel as the bridge sees it. Names of channels come trimmed and are not empty.
///
/// The bridge polls each operation once before it goes on to a client's next command, and finishes it also when the client
/// goes away meanwhile. What a command does to the set of channels must happen in that first poll, as it does in JavaScript:
/// `join` and at once `send` is what agents do.
pub trait Backend: Send + Sync + 'static {
    /// The channel on which all peers meet.
    fn entry_channel(&self) -> String;

    /// The joined channels, in the order of joining.
    fn channels(&self) -> Vec<String>;

    /// How many peers are connected.
    fn connection_count(&self) -> usize;

    /// Whether the network is there and the topics are joined.
    fn started(&self) -> bool;

    /// Joins a channel: `false` if that is not allowed, or why it failed.
    fn add_channel(&self, channel: &str) -> Operation<Result<bool, String>>;

    /// Leaves a channel: `false` if it was not joined, or why it failed.
    fn remove_channel(&self, channel: &str) -> Operation<Result<bool, String>>;

    /// Sends a message, which may be `undefined`, to a channel: `false` if that is not allowed.
    fn broadcast(&self, channel: &str, message: Option<Value>, invite: Option<Value>) -> Operation<bool>;

    /// Asks the peers of `via` (the entry channel if it is `None`) to open a channel: `false` if that is not allowed.
    fn request_open(
        &self,
        channel: &str,
        via: Option<&str>,
        invite: Option<Value>,
        welcome: Option<Value>,
    ) -> Operation<bool>;

    /// Takes an invite and a welcome for a channel, where they are valid.
    fn accept_invite(&self, channel: &str, invite: Option<&Value>, welcome: Option<&Value>);

    /// Answers an `expense_*` command, by its type: the reply, or the text of an error.
    fn expenses(&self, kind: &str, message: &Value) -> Operation<Result<Object, String>> {
        let _ = (kind, message);
        Box::pin(async { Err("Expense split app not initialized.".into()) })
    }

    /// Why messages on a channel are not received or not sent; `None` where nothing can say so.
    fn explain(&self, channel: &str) -> Option<Object> {
        let _ = channel;
        None
    }
}

/// The terminal as the bridge sees it: runs one line and hands back what it printed.
pub trait Commands: Send + Sync + 'static {
    /// Runs a line that is not empty.
    fn run(&self, line: &str) -> Operation<CommandOutput>;

    /// Ends the peer, once the answer to a line that was the [`last`](CommandOutput::last) is on its way.
    fn exit(&self) {}
}

/// What a terminal command did.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandOutput {
    /// The lines that it printed.
    pub output: Vec<String>,
    /// What it returned, or the text of what it threw. `Ok(None)` is JavaScript's `undefined`.
    pub result: Result<Option<Value>, String>,
    /// Whether it asks the peer to end.
    pub last: bool,
}
