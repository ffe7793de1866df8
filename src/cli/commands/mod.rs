//! The commands of the program.

mod demo;
mod dht;
mod key;
mod peer;
mod relay;

pub(crate) use demo::{DemoArgs, demo};
pub(crate) use dht::{DhtArgs, dht};
pub(crate) use peer::peer;
pub(crate) use relay::{RelayArgs, relay};
