//! InterSplit: shared expenses of the members of a channel, who owes what, and who pays whom.
//!
//! Every channel has a room, a ledger of expenses that peers add by messages of the application [`APP_KEY`]. All peers of a
//! channel that got the same expenses show the same balances and payments, JavaScript peers among them.
//!
//! ```
//! use encoding::json::parse;
//! use intercom::intersplit::{Expense, Summary};
//!
//! let event = parse(r#"{"txId":"t1","payer":"Alice","amountCents":1000,"split":["alice","bob","carol"],"ts":3}"#)?;
//! let dinner = Expense::read(Some(&event), 0).expect("nothing throws").expect("a valid expense");
//! let summary = Summary::of("trip".into(), [&dinner].into_iter());
//! assert_eq!(summary.balances[0].cents, 666.0);
//! assert_eq!(summary.settlements[0].from, "bob");
//! assert_eq!(summary.settlements[0].amount_cents, 333.0);
//! # Ok::<(), encoding::json::JsonError>(())
//! ```
//!
//! The parts: `event` reads expenses and `amount` money; `ledger` keeps the rooms, `attempt` what is not on the disk yet, `proof`
//! who wrote what; `summary` makes balances and payments, in the order of names that `collation` knows; `export`, `messages` (SC-Bridge) and `commands` (terminal)
//! show them; `snapshot` is the file of the rooms, `proofs` that of the signatures, `files` writes both at once, and `saver` says
//! when. Formats and rules are those of Intercom's `features/expense-split/index.js`.

mod amount;
mod attempt;
mod collation;
pub mod commands;
mod error;
mod event;
pub mod export;
mod files;
pub mod history;
mod iso_time;
mod kept;
mod ledger;
mod messages;
mod proof;
mod proofs;
mod room;
mod saver;
mod snapshot;
mod summary;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crypto::KeyPair;
use encoding::json::{JsString, Object, Value};
use parking_lot::Mutex;
use tokio::sync::{RwLock, broadcast};
use tracing::{debug, warn};

use crate::sidechannel::Clock;
pub use amount::{MAX_CENTS, format_cents, parse_amount};
pub use error::{InterSplitError, OpenError, Throw};
pub use event::Expense;
use files::{Disk, Files, SystemDisk};
pub(crate) use iso_time::iso_time;
pub use ledger::{Entry, MAX_LEDGER_BYTES, MAX_ROOM_BYTES, MAX_ROOMS};
use ledger::{Insertion, Ledger, Terms};
pub use proof::Proof;
pub use room::{Added, Draft, Imported, Outlet};
use saver::Saver;
use snapshot::RoomSnapshot;
pub use snapshot::SNAPSHOT_FILE;
pub use summary::{Balance, Settlement, Summary};

/// By what messages of this application are known.
pub const APP_KEY: &str = "expense_split_v1";

/// So many changes are kept for a reader of [`InterSplit::changes`] that is behind.
pub const MAX_UNTOLD: usize = 256;

/// The clocks of members may differ by so much: a clear whose author is ahead by no more is remembered.
pub const MAX_AHEAD_MS: u64 = 120_000;

/// How InterSplit is set up.
#[derive(Debug, Clone)]
pub struct InterSplitOptions {
    /// The room where none is named.
    pub default_channel: String,
    /// The file of all rooms; `None` keeps them in memory only.
    pub path: Option<PathBuf>,
    /// Signs own expenses.
    pub keys: KeyPair,
    /// The own address, which own expenses bear.
    pub address: String,
    /// Rooms in which only expenses count whose author's signature holds, and only the owner, or an author what is its own, may
    /// clear.
    pub verified: VerifiedRooms,
    /// The owners of channels: public keys in hex, by channel.
    pub owner_keys: BTreeMap<String, String>,
    /// The time of day.
    pub clock: Clock,
}

/// Which rooms are strict. JavaScript peers know no such rooms: they count everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum VerifiedRooms {
    /// None.
    #[default]
    None,
    /// These.
    Named(Vec<String>),
    /// All.
    All,
}

impl VerifiedRooms {
    /// The rooms of a list of names, in which `*` means all.
    pub fn of(names: Vec<String>) -> VerifiedRooms {
        match names {
            names if names.is_empty() => VerifiedRooms::None,
            names if names.iter().any(|name| name == "*") => VerifiedRooms::All,
            names => VerifiedRooms::Named(names),
        }
    }

    fn contains(&self, channel: &JsString) -> bool {
        match self {
            VerifiedRooms::None => false,
            VerifiedRooms::Named(names) => names.iter().any(|name| *channel == name.as_str()),
            VerifiedRooms::All => true,
        }
    }
}

/// The ledgers of all rooms. Clones are handles of the same.
#[derive(Clone)]
pub struct InterSplit(Arc<Inner>);

struct Inner {
    options: InterSplitOptions,
    /// None where all is in memory only.
    files: Option<Files>,
    outlet: Arc<dyn Outlet>,
    ledger: Mutex<Ledger>,
    /// Own expenses are added side by side; a room is cleared or restored alone, so that it can be taken back.
    turn: RwLock<()>,
    changes: broadcast::Sender<JsString>,
    /// None without a file.
    saver: Option<Saver>,
}

impl InterSplit {
    /// Opens the ledgers that the file holds. `outlet` takes the messages that are sent.
    ///
    /// A file with something else in it is put aside, under a name that ends with `.damaged`, and one with more than fits is copied
    /// to one that ends with `.whole`, so that nothing is overwritten.
    ///
    /// # Errors
    /// A file cannot be read, or not put aside.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn open(options: InterSplitOptions, outlet: Arc<dyn Outlet>) -> Result<InterSplit, OpenError> {
        InterSplit::on_disk(options, outlet, Box::new(SystemDisk))
    }

    fn on_disk(
        options: InterSplitOptions,
        outlet: Arc<dyn Outlet>,
        disk: Box<dyn Disk>,
    ) -> Result<InterSplit, OpenError> {
        let mut ledger = Ledger::default();
        let (mut files, mut writer, mut saver) = (None, None, None);
        if let Some(path) = &options.path {
            files = Some(Files::open(disk, path, &options.default_channel, &mut ledger, options.clock.now())?);
            let (saves, writes) = Saver::new();
            (saver, writer) = (Some(saves), Some(writes));
        }
        let inner = Arc::new(Inner {
            options,
            files,
            outlet,
            ledger: Mutex::new(ledger),
            turn: RwLock::default(),
            changes: broadcast::Sender::new(MAX_UNTOLD),
            saver,
        });
        if let Some(writer) = writer {
            tokio::spawn(writer.run(Arc::downgrade(&inner)));
        }
        Ok(InterSplit(inner))
    }

    /// Takes a message of a channel; `false` if it is not of this application.
    pub fn receive(&self, channel: &str, payload: &Value) -> bool {
        let Some(message) = payload.get("message") else { return false };
        if message.get("app").and_then(Value::as_str) != Some(APP_KEY) {
            return false;
        }
        let room = self.resolve(&channel.into());
        match message.get("type").and_then(Value::as_str) {
            Some("expense_add") => self.receive_add(&room, payload, message.get("event")),
            Some("expense_clear") => self.receive_clear(&room, payload),
            _ => return false,
        }
        true
    }

    fn receive_add(&self, room: &JsString, payload: &Value, event: Option<&Value>) {
        let proof = Proof::of(payload, room);
        if proof.is_none() && self.is_strict(room) {
            return debug!("an expense in {room} does not count: its author's signature does not hold");
        }
        match Expense::read(event, self.now()) {
            Ok(Some(expense)) => self.take(room, Entry::new(expense, proof)),
            Ok(None) => debug!("an expense in {room} is not valid"),
            Err(error) => debug!("an expense in {room} is not valid: {error}"),
        }
    }

    /// Takes an expense of somebody else, if it counts.
    fn take(&self, room: &JsString, entry: Arc<Entry>) {
        if !self.counts(room, &entry) {
            return debug!("an expense in {room} does not count: its id is not its author's");
        }
        let terms = Terms { own: false, strict: self.is_strict(room) };
        let insertion = self.0.ledger.lock().insert(room, entry, terms);
        match insertion {
            Insertion::Added => self.changed(room),
            Insertion::Duplicate => {}
            Insertion::Full(what) => warn!("an expense in {room} is not kept: the ledger is full ({what})"),
        }
    }

    /// Whether an expense counts: in a strict room, with its author's signature and an id that only its author can use.
    fn counts(&self, room: &JsString, entry: &Entry) -> bool {
        !self.is_strict(room) || entry.is_its_authors()
    }

    fn receive_clear(&self, room: &JsString, payload: &Value) {
        let proof = Proof::of(payload, room);
        if !self.is_strict(room) {
            self.0.ledger.lock().clear(room);
            self.note_clear(room, proof);
            return self.changed(room);
        }
        match proof {
            Some(proof) => {
                self.clear_by(room, &proof.author);
                if self.owner(room) == Some(&proof.author) {
                    self.note_clear(room, Some(proof));
                }
            }
            None => debug!("{room} is not cleared: the signature does not hold"),
        }
    }

    /// Remembers a signed clear.
    fn note_clear(&self, room: &JsString, clear: Option<Proof>) {
        if let Some(clear) = clear.filter(|clear| self.may_be_noted(clear)) {
            self.0.ledger.lock().note_clear(room, clear);
        }
    }

    /// Whether a clear is remembered: not if its time is yet to come, by more than clocks differ, for it would keep out what is
    /// written until then.
    fn may_be_noted(&self, clear: &Proof) -> bool {
        clear.ts <= self.now().saturating_add(MAX_AHEAD_MS)
    }

    /// Clears what `author` may clear of a strict room: all of it as its owner, else its own expenses. How many are gone.
    fn clear_by(&self, room: &JsString, author: &str) -> usize {
        let owner = self.owner(room).is_some_and(|owner| owner == author);
        let gone = self.0.ledger.lock().retain(room, |entry| !owner && !entry.is_of(author));
        if gone > 0 {
            self.changed(room);
        }
        gone
    }

    /// The expenses of a room that count, in the order of their times.
    pub fn list(&self, channel: &JsString) -> Vec<Arc<Entry>> {
        let room = self.resolve(channel);
        let mut entries = self.0.ledger.lock().list(&room);
        entries.retain(|entry| self.counts(&room, entry));
        entries
    }

    /// A room's account.
    pub fn summary(&self, channel: &JsString) -> Summary {
        ledger::summarize(self.resolve(channel), &self.list(channel))
    }

    /// A room as it is stored and persisted.
    pub fn export_room(&self, channel: &JsString) -> Object {
        ledger::snapshot(&self.resolve(channel), &self.list(channel))
    }

    /// The room where none is named.
    pub fn default_channel(&self) -> &str {
        &self.0.options.default_channel
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// [`InterSplitError::Save`] when it could not be written.
    pub async fn flush(&self) -> Result<(), InterSplitError> {
        match &self.0.saver {
            Some(saver) => saver.saved().await,
            None => Ok(()),
        }
    }

    fn resolve(&self, channel: &JsString) -> JsString {
        let channel = channel.trim();
        if channel.is_empty() { self.default_channel().into() } else { channel.into_owned() }
    }

    fn is_strict(&self, room: &JsString) -> bool {
        self.0.options.verified.contains(room)
    }

    fn owner(&self, room: &JsString) -> Option<&str> {
        self.0.options.owner_keys.get(room.as_str()?).map(String::as_str)
    }

    /// The rooms that change from now on, by name. Who is behind by more than [`MAX_UNTOLD`] misses the oldest.
    pub fn changes(&self) -> broadcast::Receiver<JsString> {
        self.0.changes.subscribe()
    }

    fn changed(&self, room: &JsString) {
        // An error means that nobody asks.
        let _ = self.0.changes.send(room.clone());
        if let Some(saver) = &self.0.saver {
            saver.changed();
        }
    }

    fn now(&self) -> u64 {
        self.0.options.clock.now()
    }
}

impl Inner {
    /// Writes the files as the ledger is now.
    fn write_file(&self) -> io::Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        let (rooms, proofs) = {
            let ledger = self.ledger.lock();
            (ledger.rooms(), ledger.proofs())
        };
        files.write(&rooms, &proofs, self.options.clock.now())
    }
}
