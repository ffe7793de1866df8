//! What the own peer does to a room: add, clear, restore.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use encoding::json::{JsString, Object, Value, stable_stringify};

use super::amount::parse_amount;
use super::error::{InterSplitError, Throw};
use super::event::{Expense, member, members, text};
use super::ledger::{Entry, ID_DIGITS, Insertion, Terms};
use super::proof::Proof;
use super::{APP_KEY, InterSplit, RoomSnapshot};
use crate::sidechannel::payload::{new_id, random_text};
use crate::sidechannel::signature::signature_base;

/// Where the messages go that are sent.
pub trait Outlet: Send + Sync + 'static {
    /// Joins a channel, in the background.
    fn join(&self, channel: &str);

    /// Whether a payload of which a neighbour told would have been taken if it had come by itself.
    fn would_deliver(&self, channel: &str, payload: &Value) -> bool;

    /// Sends a message to a channel: whether that was allowed.
    fn broadcast(&self, channel: &str, message: Value) -> Pin<Box<dyn Future<Output = bool> + Send + 'static>>;
}

/// An expense as an agent or a person gives it.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The room.
    pub channel: JsString,
    /// Who paid.
    pub payer: Value,
    /// How much: see [`parse_amount`].
    pub amount: Option<Value>,
    /// Who shares it: an array of names, or text with commas. The payer is put first where it is not among them.
    pub split: Value,
    /// A note.
    pub note: Value,
}

/// An expense that was added.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    /// The room.
    pub channel: JsString,
    /// The expense.
    pub expense: Expense,
    /// Whether it was sent to others.
    pub broadcasted: bool,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The room.
    pub channel: JsString,
    /// How many expenses are new.
    pub added: usize,
    /// How many there are.
    pub total: usize,
}

impl InterSplit {
    /// Adds an expense: once it is on the disk it is sent, and then this returns.
    ///
    /// # Errors
    /// What is wrong with it, or why it is not kept; then nothing was done.
    pub async fn add_expense(&self, draft: Draft) -> Result<Added, InterSplitError> {
        let channel = self.resolve(&draft.channel);
        let (expense, message) = self.prepare(&draft)?;
        let entry = Entry::new(expense.clone(), self.sign(&channel, &message));
        self.save(&channel, entry).await?;
        let name = channel.to_str_lossy();
        self.0.outlet.join(&name);
        let broadcasted = self.0.outlet.broadcast(&name, message).await;
        Ok(Added { channel: channel.clone(), expense, broadcasted })
    }

    /// Adds an own expense, which neighbours hear of once it is on the disk.
    async fn save(&self, channel: &JsString, entry: Arc<Entry>) -> Result<(), InterSplitError> {
        let _turn = self.0.turn.read().await;
        let tx_id = entry.expense.tx_id.clone();
        {
            let mut ledger = self.0.ledger.lock();
            if let Insertion::Full(what) =
                ledger.insert(channel, entry, Terms { own: true, strict: self.is_strict(channel) })
            {
                return Err(InterSplitError::Full(what));
            }
            ledger.unsaved.insert(tx_id.clone());
        }
        self.changed(channel);
        let saved = self.flush().await;
        let mut ledger = self.0.ledger.lock();
        ledger.unsaved.remove(&tx_id);
        if saved.is_err() {
            ledger.remove(channel, &tx_id);
            drop(ledger);
            self.changed(channel);
        }
        saved
    }

    fn prepare(&self, draft: &Draft) -> Result<(Expense, Value), InterSplitError> {
        let payer = member(Some(&draft.payer))?;
        if payer.is_empty() {
            return Err(InterSplitError::MissingPayer);
        }
        let amount_cents = parse_amount(draft.amount.as_ref())?.ok_or(InterSplitError::InvalidAmount)?;
        let mut split = members(Some(&draft.split))?;
        if split.is_empty() {
            return Err(InterSplitError::MissingMembers);
        }
        if !split.contains(&payer) {
            split.insert(0, payer.clone());
        }
        let now = self.now();
        let expense = Expense {
            tx_id: format!("{}:{now}:{}", &self.public_key()[..ID_DIGITS], random_text()).into(),
            payer,
            amount_cents,
            split,
            note: text(Some(&draft.note))?,
            ts: now as f64,
            by: self.0.options.address.as_str().into(),
        };
        let message = Object::new().with("app", APP_KEY).with("type", "expense_add").with("event", expense.to_value());
        Ok((expense, message.into()))
    }

    /// Clears a room, here and by a message elsewhere. In a strict room that is its owner's right; others clear what is their own.
    ///
    /// # Errors
    /// [`InterSplitError::ClearDenied`] in a strict room in which nothing is one's own; [`InterSplitError::Save`] when it could not
    /// be written, and nothing was sent.
    pub async fn clear(&self, channel: &JsString) -> Result<JsString, InterSplitError> {
        let room = self.resolve(channel);
        let own = self.public_key();
        let message = Object::new().with("app", APP_KEY).with("type", "expense_clear").with("ts", self.now());
        let message = Value::from(message.with("by", self.0.options.address.as_str()));
        let turn = self.0.turn.write().await;
        if !self.is_strict(&room) || self.owner(&room) == Some(&own) {
            let clear = self.sign(&room, &message);
            self.0.ledger.lock().attempt(&room, |ledger| {
                ledger.clear(&room);
                clear.map(|clear| ledger.note_clear(&room, clear))
            });
        } else {
            let gone = self.0.ledger.lock().attempt(&room, |ledger| ledger.retain(&room, |entry| !entry.is_of(&own)));
            if gone == 0 {
                self.0.ledger.lock().keep();
                return Err(InterSplitError::ClearDenied);
            }
        }
        self.conclude(&room).await?;
        drop(turn);
        self.0.outlet.broadcast(&room.to_str_lossy(), message).await;
        Ok(room)
    }

    /// Writes an attempt; one that cannot be written is taken back.
    async fn conclude(&self, room: &JsString) -> Result<(), InterSplitError> {
        self.changed(room);
        let saved = self.flush().await;
        if saved.is_ok() {
            self.0.ledger.lock().keep();
        } else {
            self.0.ledger.lock().take_back();
            self.changed(room);
            // The files may be changed after all, where only waiting for the disk failed: they are to say what they said before.
            // That this fails has been said.
            let _ = self.flush().await;
        }
        saved
    }

    /// Restores a room from what is here: the original's answer where the contract has nothing. It changes nothing but the order
    /// of arrival. `None` where the room is empty.
    ///
    /// # Errors
    /// [`InterSplitError::Save`] when it could not be written.
    pub async fn restore_local(&self, channel: &JsString, replace: bool) -> Result<Option<Imported>, InterSplitError> {
        let room = self.resolve(channel);
        let expenses: Vec<_> = self.list(&room).iter().map(|entry| entry.expense.clone()).collect();
        if expenses.is_empty() {
            return Ok(None);
        }
        self.import(RoomSnapshot { channel: room, expenses }, replace).await.map(Some)
    }

    /// Takes a room as the contract or a file has it; `None` for what is no room. With `replace` the room is emptied before.
    ///
    /// # Errors
    /// [`InterSplitError::Throw`], and [`InterSplitError::Full`] or [`InterSplitError::Save`], with nothing done.
    pub async fn import_room(&self, snapshot: &Value, replace: bool) -> Result<Option<Imported>, InterSplitError> {
        match RoomSnapshot::read(snapshot, self.default_channel(), self.now())? {
            Some(snapshot) => self.import(snapshot, replace).await.map(Some),
            None => Ok(None),
        }
    }

    async fn import(&self, snapshot: RoomSnapshot, replace: bool) -> Result<Imported, InterSplitError> {
        let RoomSnapshot { channel, expenses } = snapshot;
        let _turn = self.0.turn.write().await;
        let import = {
            let mut ledger = self.0.ledger.lock();
            let import = ledger.attempt(&channel, |ledger| ledger.import(&channel, expenses, replace));
            if import.left_out > 0 {
                ledger.take_back();
                return Err(InterSplitError::Full("it does not hold all of these expenses"));
            }
            import
        };
        self.conclude(&channel).await?;
        Ok(Imported { channel, added: import.added, total: import.total })
    }

    /// The own signature under a message, as others get one with it.
    fn sign(&self, channel: &JsString, message: &Value) -> Option<Proof> {
        let (key, ts) = (self.public_key(), self.now());
        let payload = Object::new()
            .with("id", new_id(&key, ts))
            .with("channel", channel.clone())
            .with("from", key.as_str())
            .with("origin", key.as_str())
            .with("ts", ts)
            .with("message", message.clone());
        let base = signature_base(&payload, &stable_stringify(message));
        let signature = HEXLOWER.encode(&self.0.options.keys.sign(base.as_bytes()));
        Proof::of(&payload.with("sig", signature).into(), channel)
    }

    fn public_key(&self) -> String {
        HEXLOWER.encode(&self.0.options.keys.public_key)
    }
}

/// The original's `parseBoolFlag`.
pub(super) fn switch(value: Option<&Value>, default: bool) -> Result<bool, Throw> {
    match value {
        None | Some(Value::Null) => Ok(default),
        Some(Value::String(text)) if text.is_empty() => Ok(default),
        Some(value) => {
            let text = encoding::json::to_js_string(value).ok_or(Throw)?.trim().to_lowercase();
            Ok(["1", "true", "yes", "on"].iter().any(|word| text == *word))
        }
    }
}
