//! The sidechannel as the bridge sees it.

use encoding::json::Value;

use crate::bridge::{Backend, Operation};
use crate::sidechannel::{SendOptions, Sidechannel};

impl Backend for Sidechannel {
    fn entry_channel(&self) -> String {
        Sidechannel::entry_channel(self).to_owned()
    }

    fn channels(&self) -> Vec<String> {
        Sidechannel::channels(self)
    }

    fn connection_count(&self) -> usize {
        Sidechannel::connection_count(self)
    }

    fn started(&self) -> bool {
        Sidechannel::started(self)
    }

    fn add_channel(&self, channel: &str) -> Operation<Result<bool, String>> {
        let (sidechannel, channel) = (self.clone(), channel.to_owned());
        Box::pin(async move { sidechannel.add_channel(&channel).await.map_err(|error| error.to_string()) })
    }

    fn remove_channel(&self, channel: &str) -> Operation<Result<bool, String>> {
        let (sidechannel, channel) = (self.clone(), channel.to_owned());
        Box::pin(async move { sidechannel.remove_channel(&channel).await.map_err(|error| error.to_string()) })
    }

    fn broadcast(&self, channel: &str, message: Option<Value>, invite: Option<Value>) -> Operation<bool> {
        let (sidechannel, channel) = (self.clone(), channel.to_owned());
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
        let (sidechannel, channel, via) = (self.clone(), channel.to_owned(), via.map(str::to_owned));
        Box::pin(async move { sidechannel.request_open(&channel, via.as_deref(), invite, welcome).await })
    }

    fn accept_invite(&self, channel: &str, invite: Option<&Value>, welcome: Option<&Value>) {
        match (invite, welcome) {
            (Some(invite), welcome) => drop(Sidechannel::accept_invite(self, channel, invite, welcome)),
            (None, Some(welcome)) => drop(Sidechannel::accept_welcome(self, channel, welcome)),
            (None, None) => {}
        }
    }
}
