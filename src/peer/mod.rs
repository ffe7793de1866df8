//! A running peer: sidechannel and bridge on a network.
//!
//! The bridge listens as soon as the peer starts, whatever the network does meanwhile. Messages that come go to the bridge where
//! there is one, else to the console.

mod backend;
mod network;
mod news;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use encoding::json::{Value, to_js_string};
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::bridge::{Bridge, BridgeOptions, Commands};
use crate::identity::Identity;
use crate::intersplit::{InterSplit, InterSplitOptions, OpenError, VerifiedRooms};
use crate::metrics::Above;
use crate::sidechannel::{Clock, Console, Network, Sidechannel, SidechannelMessage, SidechannelOptions};
use crate::terminal::{Tap, Terminal};

use backend::Services;
pub use network::{NetworkOptions, SwarmNetwork};

/// How a peer is set up.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// Who it is.
    pub identity: Identity,
    /// The bootstrap key of its subnet, where one is configured.
    pub subnet: Option<[u8; 32]>,
    /// How its sidechannels behave.
    pub sidechannel: SidechannelOptions,
    /// The bridge; none if that is `None`.
    pub bridge: Option<BridgeOptions>,
    /// Let the bridge's clients run terminal commands.
    pub commands: bool,
    /// Where no bridge takes the messages, do not print them either.
    pub quiet: bool,
    /// The file of the expenses; `None` keeps them in memory only.
    pub expenses: Option<PathBuf>,
    /// Rooms in which only expenses count whose author's signature holds.
    pub verified_rooms: VerifiedRooms,
}

/// Why a peer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The bridge cannot listen: choose another address or port.
    #[error("SC-Bridge failed to start: {0}")]
    Bridge(#[from] io::Error),
    /// The file of the expenses cannot be read.
    #[error(transparent)]
    Expenses(#[from] OpenError),
}

/// A running peer.
pub struct Peer {
    sidechannel: Sidechannel,
    expenses: InterSplit,
    terminal: Terminal,
    bridge: Option<Arc<Bridge>>,
    tasks: Vec<JoinHandle<()>>,
    exit: Arc<Notify>,
}

impl Peer {
    /// Starts a peer on a network. Returns when the bridge listens; [`ready`](Self::ready) waits for the network.
    ///
    /// # Errors
    /// Why the expenses cannot be read, or the bridge not listen.
    pub async fn start(options: PeerOptions, network: Arc<dyn Network>) -> Result<Peer, StartError> {
        let console = options.sidechannel.console.clone();
        let clock = options.sidechannel.clock.clone();
        let keys = options.identity.key_pair().clone();
        let expenses = InterSplitOptions {
            default_channel: options.sidechannel.entry_channel.clone(),
            path: options.expenses,
            keys: keys.clone(),
            address: options.identity.address(),
            verified: options.verified_rooms,
            owner_keys: options.sidechannel.owner_keys.clone(),
            clock: clock.clone(),
        };
        let tap = Tap::default();
        let sidechannel = SidechannelOptions { console: tap.console(console.clone()), ..options.sidechannel };
        let sidechannel = Sidechannel::start(sidechannel, keys, network);
        let expenses = InterSplit::open(expenses, Arc::new(sidechannel.clone()))?;
        sidechannel.set_aside(expenses.history());
        let messages = sidechannel.messages();
        let exit = Arc::new(Notify::new());
        let terminal = Terminal::new(sidechannel.clone(), options.identity, console.clone(), exit.clone())
            .with_subnet(options.subnet)
            .with_expenses(expenses.clone())
            .with_tap(tap);
        let bridge = match options.bridge {
            Some(bridge) => {
                let terminal = options.commands.then(|| Arc::new(terminal.clone()) as Arc<dyn Commands>);
                let services = Services { sidechannel: sidechannel.clone(), expenses: expenses.clone() };
                Some(Arc::new(Bridge::listen(bridge, Arc::new(services), terminal).await?))
            }
            None => None,
        };
        let sink = match &bridge {
            Some(bridge) => Sink::Bridge(bridge.clone(), clock),
            None if options.quiet => Sink::Nowhere,
            None => Sink::Console(console),
        };
        let mut tasks = vec![tokio::spawn(forward(messages, expenses.clone(), sink))];
        if let Some(bridge) = &bridge {
            let news = news::tell(bridge.clone(), sidechannel.presence(), expenses.changes());
            tasks.push(tokio::spawn(news));
        }
        Ok(Peer { sidechannel, expenses, terminal, bridge, tasks, exit })
    }

    /// Its sidechannel.
    pub fn sidechannel(&self) -> &Sidechannel {
        &self.sidechannel
    }

    /// Its expenses.
    pub fn expenses(&self) -> &InterSplit {
        &self.expenses
    }

    /// Its terminal, for the lines of whoever runs it.
    pub fn terminal(&self) -> Terminal {
        self.terminal.clone()
    }

    /// Where the bridge listens.
    pub fn bridge_addr(&self) -> Option<SocketAddr> {
        self.bridge.as_ref().map(|bridge| bridge.local_addr())
    }

    /// What it holds above the network, whenever it is asked, also after the peer is closed.
    pub(crate) fn figures(&self) -> impl Fn() -> Above + Send + Sync + 'static {
        let (sidechannel, bridge) = (self.sidechannel.clone(), self.bridge.as_ref().map(Arc::downgrade));
        move || Above {
            channels: sidechannel.channels().len(),
            peers: sidechannel.connection_count(),
            messages: sidechannel.tally(),
            bridge_clients: bridge.as_ref().and_then(Weak::upgrade).map_or(0, |bridge| bridge.client_count()),
        }
    }

    /// Waits until the topics are joined.
    pub async fn ready(&self) {
        self.sidechannel.ready().await;
    }

    /// Waits until a command, at the terminal or of a client of the bridge, asks the peer to end.
    pub async fn exit_asked(&self) {
        self.exit.notified().await;
    }

    /// Says goodbye to the bridge's clients and closes the channels. The network stays as it is.
    pub async fn close(&self) {
        if let Some(bridge) = &self.bridge {
            bridge.close().await;
        }
        self.sidechannel.shutdown().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        // A disk that takes nothing has been complained of.
        let _ = self.expenses.flush().await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Where received messages go.
enum Sink {
    Bridge(Arc<Bridge>, Clock),
    Console(Console),
    Nowhere,
}

async fn forward(mut messages: Receiver<Arc<SidechannelMessage>>, expenses: InterSplit, sink: Sink) {
    loop {
        match messages.recv().await {
            Ok(message) => {
                let taken = expenses.receive(&message.channel, &message.payload);
                match &sink {
                    Sink::Bridge(bridge, clock) => {
                        bridge.publish(&message.channel, &message.payload, clock.now() as f64);
                    }
                    Sink::Console(console) if !taken => console.line(&line(&message)),
                    Sink::Console(_) | Sink::Nowhere => {}
                }
            }
            Err(RecvError::Lagged(missed)) => warn!("{missed} received messages were lost: they came too fast"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// A received message as a line. Unlike the original, which shows what is no text in the manner of its runtime's inspector,
/// this one shows it as JSON.
fn line(message: &SidechannelMessage) -> String {
    let field = |key| message.payload.get(key).filter(|value| !value.is_null());
    let from = field("from").map_or(Some("unknown".into()), to_js_string).unwrap_or_default();
    let text = match field("message").unwrap_or(&message.payload) {
        Value::String(text) => text.to_str_lossy().into_owned(),
        other => other.to_string(),
    };
    format!("[sidechannel:{}] {from}: {text}", message.channel)
}

#[cfg(test)]
mod tests {
    use encoding::json::parse;

    use super::*;

    #[test]
    fn messages_are_shown_as_the_original_shows_them() {
        let cases = [
            (r#"{"from":"f","message":"hi"}"#, "[sidechannel:room] f: hi"),
            (r#"{"message":"hi"}"#, "[sidechannel:room] unknown: hi"),
            (r#"{"from":"f","message":{"a":1}}"#, r#"[sidechannel:room] f: {"a":1}"#),
            (r#"{"from":5,"message":""}"#, "[sidechannel:room] 5: "),
            (r#"{"x":1}"#, r#"[sidechannel:room] unknown: {"x":1}"#),
            ("null", "[sidechannel:room] unknown: null"),
        ];
        for (payload, expected) in cases {
            let payload = parse(payload).expect("valid JSON");
            assert_eq!(line(&SidechannelMessage { channel: "room".into(), payload }), expected);
        }
    }
}
