//! Whole ledgers, with an outlet that writes down what is sent.

mod cut_disk;
mod failing_disk;
mod history;
mod ledgers;
mod slow_disk;
mod strict;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use crypto::KeyPair;
use encoding::json::{JsString, Value, parse};
use parking_lot::Mutex;

use super::*;

/// The time of all clocks here.
const NOW: u64 = 1_700_000_000_000;

/// A disk that does or refuses something before a file is replaced.
struct Before<F>(F);

impl<F: Fn(&Path) -> io::Result<()> + Send + Sync> Disk for Before<F> {
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        (self.0)(path)?;
        SystemDisk.replace(path, content)
    }
}

/// What a peer sent: the channel, and the message.
type Sent = Arc<Mutex<Vec<(String, Value)>>>;

struct Wire(Sent);

impl Outlet for Wire {
    fn join(&self, _channel: &str) {}

    fn would_deliver(&self, channel: &str, _payload: &Value) -> bool {
        channel != "closed"
    }

    fn broadcast(&self, channel: &str, message: Value) -> Pin<Box<dyn Future<Output = bool> + Send + 'static>> {
        self.0.lock().push((channel.to_owned(), message));
        Box::pin(async { true })
    }
}

/// A peer without a network.
struct Member {
    split: InterSplit,
    keys: KeyPair,
    sent: Sent,
}

impl Member {
    fn new(seed: u8) -> Member {
        Member::with(seed, |_| {})
    }

    fn with(seed: u8, change: impl FnOnce(&mut InterSplitOptions)) -> Member {
        Member::on_disk(seed, change, Box::new(SystemDisk))
    }

    fn on_disk(seed: u8, change: impl FnOnce(&mut InterSplitOptions), disk: Box<dyn Disk>) -> Member {
        let mut options = options(seed);
        change(&mut options);
        let (keys, sent) = (options.keys.clone(), Sent::default());
        let split = InterSplit::on_disk(options, Arc::new(Wire(sent.clone())), disk).expect("the files can be read");
        Member { split, keys, sent }
    }

    fn stored(seed: u8, path: &std::path::Path) -> Member {
        let path: PathBuf = path.join(SNAPSHOT_FILE);
        Member::with(seed, |options| options.path = Some(path))
    }

    fn key(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.keys.public_key)
    }

    /// An id as this member's peer makes it.
    fn id(&self, rest: &str) -> String {
        format!("{}:{rest}", &self.key()[..12])
    }

    /// The ids of a room's expenses.
    fn ids(&self, channel: &str) -> Vec<String> {
        self.split.list(&channel.into()).iter().map(|entry| entry.expense.tx_id.to_string()).collect()
    }

    /// The answer to a message of a bridge client, with ids and times made the same for all runs.
    async fn ask(&self, message: &str) -> String {
        let message = parse(message).expect("valid JSON");
        let kind = message.get("type").and_then(Value::as_str).expect("has a type").to_owned();
        match self.split.answer(&kind, &message).await {
            Ok(reply) => Value::from(reply).to_string(),
            Err(error) => error,
        }
    }

    async fn add(&self, channel: &str, payer: &str, amount: &str, split: &str) {
        let draft = Draft {
            channel: channel.into(),
            payer: payer.into(),
            amount: Some(amount.into()),
            split: split.into(),
            note: Value::Null,
        };
        self.split.add_expense(draft).await.expect("a valid expense");
    }

    fn members(&self, channel: &str) -> String {
        let summary = self.split.summary(&channel.into());
        summary.balances.iter().map(|balance| format!("{}={} ", balance.member, balance.cents)).collect()
    }
}

fn options(seed: u8) -> InterSplitOptions {
    InterSplitOptions {
        default_channel: "0000intercom".into(),
        path: None,
        keys: KeyPair::from_seed(&[seed; 32]),
        address: format!("address {seed}"),
        verified: VerifiedRooms::None,
        owner_keys: BTreeMap::new(),
        clock: Clock::new(|| NOW),
    }
}

/// A payload with a message, signed by its author.
fn signed(author: &KeyPair, channel: &str, message: Value) -> Value {
    signed_at(author, channel, message, NOW)
}

fn signed_at(author: &KeyPair, channel: &str, message: Value, ts: u64) -> Value {
    use crate::sidechannel::payload::Draft;
    let draft = Draft {
        channel: channel.into(),
        message: Some(message),
        invite: None,
        id: crate::sidechannel::payload::random_text(),
        ts,
        ttl: 3,
        difficulty: None,
        max_bytes: None,
        report_hash: false,
    };
    let sealed = draft.seal(author, &std::sync::atomic::AtomicBool::new(false)).expect("nothing hinders");
    parse(crate::sidechannel::payload::text_of(&sealed.body).expect("whole")).expect("valid JSON")
}

/// A clear as it is sent.
fn clear_message() -> Value {
    parse(r#"{"app":"expense_split_v1","type":"expense_clear","ts":1,"by":null}"#).expect("valid JSON")
}

/// An expense as it is sent.
fn expense_message(tx_id: &str, payer: &str, cents: u64) -> Value {
    let text = format!(
        r#"{{"app":"expense_split_v1","type":"expense_add","event":{{"txId":"{tx_id}","payer":"{payer}","amountCents":{cents},"split":["a","b"],"note":"","ts":5,"by":null}}}}"#
    );
    parse(text).expect("valid JSON")
}
