//! What the own peer does to a room: add, clear, restore.

use std::future::Future;
use std::pin::Pin;

use data_encoding::HEXLOWER;
use encoding::json::{JsString, Object, Value, stable_stringify};

use super::amount::parse_amount;
use super::error::{InterSplitError, Throw};
use super::event::{Expense, member, members, text};
use super::ledger::{Entry, Insertion};
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
        match self.0.ledger.lock().insert(&channel, entry, true) {
            Insertion::Added | Insertion::Duplicate => self.changed(&channel),
            Insertion::Full(what) => return Err(InterSplitError::Full(what)),
        }
        if let Err(error) = self.flush().await {
            self.0.ledger.lock().remove(&channel, &expense.tx_id);
            self.changed(&channel);
            return Err(error);
        }
        let name = channel.to_str_lossy();
        self.0.outlet.join(&name);
        let broadcasted = self.0.outlet.broadcast(&name, message).await;
        Ok(Added { channel: channel.clone(), expense, broadcasted })
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
            tx_id: format!("{}:{now}:{}", &self.public_key()[..12], random_text()).into(),
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
        if self.is_strict(&room) {
            let owns = self.owner(&room) == Some(&self.public_key());
            if self.clear_by(&room, &self.public_key()) == 0 && !owns {
                return Err(InterSplitError::ClearDenied);
            }
        } else {
            self.0.ledger.lock().clear(&room);
        }
        let message = Object::new().with("app", APP_KEY).with("type", "expense_clear").with("ts", self.now());
        let message = Value::from(message.with("by", self.0.options.address.as_str()));
        if !self.is_strict(&room) || self.owner(&room) == Some(&self.public_key()) {
            self.note_clear(&room, self.sign(&room, &message));
        }
        self.changed(&room);
        self.flush().await?;
        self.0.outlet.broadcast(&room.to_str_lossy(), message).await;
        Ok(room)
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
    /// [`InterSplitError::Throw`], [`InterSplitError::Save`].
    pub async fn import_room(&self, snapshot: &Value, replace: bool) -> Result<Option<Imported>, InterSplitError> {
        match RoomSnapshot::read(snapshot, self.default_channel(), self.now())? {
            Some(snapshot) => self.import(snapshot, replace).await.map(Some),
            None => Ok(None),
        }
    }

    async fn import(&self, snapshot: RoomSnapshot, replace: bool) -> Result<Imported, InterSplitError> {
        let RoomSnapshot { channel, expenses } = snapshot;
        let (added, total) = self.0.ledger.lock().import(&channel, expenses, replace);
        self.changed(&channel);
        self.flush().await?;
        Ok(Imported { channel, added, total })
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
