//! The sidechannel against the original, against hostile input, and over a network within the process.

mod against_original;
mod driver;
mod explain;
mod hostile;
mod network;
mod vectors;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crypto::KeyPair;
use encoding::json::{Object, Value};
use network::{MemoryLink, MemoryNetwork};
use parking_lot::Mutex;
use tokio::sync::broadcast::Receiver;

use super::{Clock, Console, Sidechannel, SidechannelMessage, SidechannelOptions};

fn keys(number: u8) -> KeyPair {
    KeyPair::from_seed(&[number; 32])
}

fn hex_of(number: u8) -> String {
    super::keys::hex(&keys(number).public_key)
}

/// A peer on a network within the process, and what it printed and got.
struct TestPeer {
    sidechannel: Sidechannel,
    network: Arc<MemoryNetwork>,
    printed: Arc<Mutex<Vec<String>>>,
    messages: Receiver<Arc<SidechannelMessage>>,
}

/// Options for tests: little work, no welcomes, a clock that stands.
fn options() -> SidechannelOptions {
    SidechannelOptions { pow_difficulty: 4, welcome_required: false, clock: Clock::new(|| NOW), ..Default::default() }
}

const NOW: u64 = 1_700_000_000_000;

impl TestPeer {
    fn new(number: u8, options: SidechannelOptions) -> Self {
        let network = MemoryNetwork::new(keys(number).public_key);
        let printed = Arc::new(Mutex::new(Vec::new()));
        let to = printed.clone();
        let console = Console::new(move |line| to.lock().push(line.to_owned()));
        let sidechannel = Sidechannel::start(SidechannelOptions { console, ..options }, keys(number), network.clone());
        let messages = sidechannel.messages();
        Self { sidechannel, network, printed, messages }
    }

    fn connect(&self, other: &Self) -> [Arc<MemoryLink>; 2] {
        self.network.connect(&other.network)
    }

    async fn send(&self, channel: &str, message: impl Into<Value>) -> bool {
        self.sidechannel.broadcast(channel, message.into(), super::SendOptions::default()).await
    }

    /// The message of the next payload.
    async fn next(&mut self) -> Value {
        self.messages.recv().await.unwrap().payload.get("message").cloned().unwrap_or_default()
    }

    /// All messages that have come so far.
    fn all(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.messages.try_recv().ok())
            .map(|message| message.payload.get("message").cloned().unwrap_or_default())
            .collect()
    }

    fn printed(&self) -> Vec<String> {
        std::mem::take(&mut *self.printed.lock())
    }
}

/// Waits until all tasks have nothing left to do. Time must be paused: it goes on by itself only then.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().collect::<Object>())
}

/// A clock that is set by hand.
fn manual_clock(start: u64) -> (Clock, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(start));
    let shown = time.clone();
    (Clock::new(move || shown.load(Ordering::Relaxed)), time)
}
