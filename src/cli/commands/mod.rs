//! The commands of the program.

#[cfg(test)]
mod against_original;
mod demo;
mod dht;
mod doctor;
mod explain;
mod import;
mod key;
mod keys;
mod manual;
mod peer;
mod relay;
mod store;

pub(crate) use demo::{DemoArgs, demo};
pub(crate) use dht::{DhtArgs, dht};
pub(crate) use doctor::{DoctorArgs, doctor};
pub(crate) use explain::{ExplainArgs, explain};
pub(crate) use keys::{KeysArgs, keys};
pub(crate) use manual::{CompletionsArgs, ManArgs, completions, man};
pub(crate) use peer::peer;
pub(crate) use relay::{RelayArgs, relay};
pub(crate) use store::{StoreArgs, store};
