//! Sidechannel and expenses as the bridge sees them, and the sidechannel as the expenses see it.

use encoding::json::{Object, Value};

use crate::bridge::{Backend, Operation};
use crate::intersplit::{InterSplit, Outlet};
use crate::sidechannel::{SendOptions, Sidechannel};

/// What the bridge serves.
pub(super) struct Services {
    pub(super) sidechannel: Sidechannel,
    pub(super) expenses: InterSplit,
}

impl Outlet for Sidechannel {
    fn join(&self, channel: &str) {
        let (sidechannel, channel) = (self.clone(), channel.to_owned());
        tokio::spawn(async move { drop(sidechannel.add_channel(&channel).await) });
    }

    fn would_deliver(&self, channel: &str, payload: &Value) -> bool {
        Sidechannel::would_deliver(self, channel, payload)
    }

    fn broadcast(&self, channel: &str, message: Value) -> Operation<bool> {
        let (sidechannel, channel) = (self.clone(), channel.to_owned());
        Box::pin(async move { sidechannel.broadcast(&channel, message, SendOptions::default()).await })
    }
}

impl Backend for Services {
    fn entry_channel(&self) -> String {
        self.sidechannel.entry_channel().to_owned()
    }

    fn channels(&self) -> Vec<String> {
        self.sidechannel.channels()
    }

    fn connection_count(&self) -> usize {
        self.sidechannel.connection_count()
    }

    fn started(&self) -> bool {
        self.sidechannel.started()
    }

    fn add_channel(&self, channel: &str) -> Operation<Result<bool, String>> {
        let (sidechannel, channel) = (self.sidechannel.clone(), channel.to_owned());
        Box::pin(async move { sidechannel.add_channel(&channel).await.map_err(|error| error.to_string()) })
    }

    fn remove_channel(&self, channel: &str) -> Operation<Result<bool, String>> {
        let (sidechannel, channel) = (self.sidechannel.clone(), channel.to_owned());
        Box::pin(async move { sidechannel.remove_channel(&channel).await.map_err(|error| error.to_string()) })
    }

    fn broadcast(&self, channel: &str, message: Option<Value>, invite: Option<Value>) -> Operation<bool> {
        let (sidechannel, channel) = (self.sidechannel.clone(), channel.to_owned());
        let options = SendOptions { invite, welcome: None };
        Box::pin(async move { sidechannel.broadcast_or_undefined(&channel, message, options).await })
    }

    fn request_open(
        &self,
        channel: &str,
        via: Option<&str>,
        invite: Option<Value>,
        welcome: Option<Value>,
    ) -> Operation<bool> {
        let (sidechannel, channel, via) = (self.sidechannel.clone(), channel.to_owned(), via.map(str::to_owned));
        Box::pin(async move { sidechannel.request_open(&channel, via.as_deref(), invite, welcome).await })
    }

    fn accept_invite(&self, channel: &str, invite: Option<&Value>, welcome: Option<&Value>) {
        match (invite, welcome) {
            (Some(invite), welcome) => drop(self.sidechannel.accept_invite(channel, invite, welcome)),
            (None, Some(welcome)) => drop(self.sidechannel.accept_welcome(channel, welcome)),
            (None, None) => {}
        }
    }

    fn expenses(&self, kind: &str, message: &Value) -> Operation<Result<Object, String>> {
        let (expenses, kind, message) = (self.expenses.clone(), kind.to_owned(), message.clone());
        Box::pin(async move { expenses.answer(&kind, &message).await })
    }

    fn explain(&self, channel: &str) -> Option<Object> {
        Some(self.sidechannel.explain(channel).to_object())
    }
}
