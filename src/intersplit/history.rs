//! What a member that was away gets from its neighbours: the expenses that others wrote meanwhile, each as its author signed it.
//!
//! It goes by asides, which only neighbours hear and JavaScript peers ignore. Whoever opens a channel says what it has; the other
//! answers with what is missing:
//!
//! ```text
//! {"app":"expense_split_v1","type":"history_want","version":1,"have":["<16 hex digits of BLAKE2b of a txId>", ...]}
//! {"app":"expense_split_v1","type":"history","version":1,"clear":payload or null,"payloads":[...],"more":bool}
//! ```
//!
//! Nothing is taken on a neighbour's word: a payload counts only with its author's signature, for this channel, and where the
//! channel's owner and welcome allow it, as if it had come by itself. What was written before the room's latest signed clear is
//! neither taken nor given; nor is what is not on the disk here yet. A neighbour is answered once in [`ANSWER_PAUSE`] with at most [`MAX_HISTORY_BYTES`], and is listened
//! to only after it was asked, for as much.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use encoding::json::{JsString, Object, Value, parse, stringify};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::event::Expense;
use super::ledger::{Entry, Insertion, Terms};
use super::proof::Proof;
use super::{APP_KEY, Inner, InterSplit};
use crate::sidechannel::aside::{Aside, AsideSession};
use crate::sidechannel::link::{Operation, Outlet};
use crate::sidechannel::payload::{body_of, text_of};

/// A neighbour is answered once in this time.
pub const ANSWER_PAUSE: Duration = Duration::from_secs(10);

/// The most that one answer holds, in bytes of payloads.
pub const MAX_HISTORY_BYTES: usize = 16 << 20;

/// So much is in one message, or a single payload.
const BATCH_BYTES: usize = 48 << 10;

/// So many expenses are said to be here; who has more is told of some again.
const MAX_HAVE: usize = 8_192;

/// The history of all rooms. Holds the ledgers weakly, for these send by what holds this.
pub struct History(Weak<Inner>);

impl InterSplit {
    /// What tells neighbours of the expenses here.
    pub fn history(&self) -> Arc<History> {
        Arc::new(History(Arc::downgrade(&self.0)))
    }

    fn history_want(&self, room: &JsString) -> Object {
        // What does not count is not had: somebody may have it with its author's signature.
        let entries = self.list(room);
        let have: Vec<_> = entries.iter().rev().take(MAX_HAVE).map(|entry| known_by(&entry.expense.tx_id)).collect();
        message("history_want").with("have", have)
    }

    /// What is missing there, in messages.
    pub(super) fn history_of(&self, room: &JsString, have: &HashSet<String>) -> Vec<Object> {
        let (entries, clear) = {
            let ledger = self.0.ledger.lock();
            let mut entries = ledger.list(room);
            entries.retain(|entry| !ledger.unsaved.contains(&entry.expense.tx_id));
            (entries, ledger.told_clear(room).cloned())
        };
        let proofs = entries.iter().filter(|entry| !have.contains(&known_by(&entry.expense.tx_id)));
        let proofs = proofs.filter_map(|entry| entry.proof.as_ref());
        let (mut batches, mut batch, mut bytes, mut total) = (Vec::new(), Vec::new(), 0, 0);
        for proof in proofs {
            let size = proof.text().len();
            total += size;
            if total > MAX_HISTORY_BYTES {
                break;
            }
            if bytes > 0 && bytes + size > BATCH_BYTES {
                batches.push(std::mem::take(&mut batch));
                bytes = 0;
            }
            bytes += size;
            batch.push(proof.payload());
        }
        if !batch.is_empty() || clear.is_some() {
            batches.push(batch);
        }
        let last = batches.len().saturating_sub(1);
        let part = |(index, payloads): (usize, Vec<Value>)| {
            let clear = clear.as_ref().filter(|_| index == 0).map(Proof::payload);
            message("history").with("clear", clear).with("payloads", payloads).with("more", index < last)
        };
        batches.into_iter().enumerate().map(part).collect()
    }

    /// Takes what a neighbour told.
    pub(super) fn take_history(&self, room: &JsString, told: &Value) {
        if let Some(clear) = told.get("clear").filter(|clear| clear.is_object_like()) {
            self.take_clear(room, clear);
        }
        let clear = self.0.ledger.lock().last_clear(room).map_or(0.0, |clear| clear.ts as f64);
        let mut added = false;
        for payload in told.get("payloads").and_then(Value::as_array).unwrap_or_default() {
            let Some(message) = payload.get("message") else { continue };
            if message.get("type").and_then(Value::as_str) != Some("expense_add") {
                continue;
            }
            let Some(proof) = self.allowed(room, payload) else { continue };
            let Ok(Some(expense)) = Expense::read(message.get("event"), self.now()) else { continue };
            let entry = Entry::new(expense, Some(proof));
            if entry.written() > clear && self.counts(room, &entry) {
                let terms = Terms { own: false, strict: self.is_strict(room) };
                added |= self.0.ledger.lock().insert(room, entry, terms) == Insertion::Added;
            }
        }
        if added {
            self.changed(room);
        }
    }

    /// Takes a clear of which a neighbour told: what was written before it goes, unless it is known already.
    fn take_clear(&self, room: &JsString, payload: &Value) {
        let is_clear = payload.get("message").and_then(|message| message.get("type")).and_then(Value::as_str);
        let Some(clear) = self.allowed(room, payload) else { return };
        let by_owner = self.owner(room).is_some_and(|owner| owner == clear.author);
        if is_clear != Some("expense_clear") || !self.may_be_noted(&clear) || (self.is_strict(room) && !by_owner) {
            return;
        }
        let at = clear.ts as f64;
        let mut ledger = self.0.ledger.lock();
        if ledger.note_clear(room, clear) {
            ledger.retain(room, |entry| entry.written() > at);
            drop(ledger);
            self.changed(room);
        }
    }

    /// The proof of a payload that may come to this channel.
    fn allowed(&self, room: &JsString, payload: &Value) -> Option<Proof> {
        let proof = Proof::of(payload, room)?;
        self.0.outlet.would_deliver(&room.to_str_lossy(), payload).then_some(proof)
    }
}

impl Aside for History {
    fn open(&self, channel: &str, outlet: Arc<dyn Outlet>) -> Box<dyn AsideSession> {
        Box::new(Session {
            split: self.0.clone(),
            room: channel.into(),
            outlet,
            state: Mutex::default(),
            busy: Arc::default(),
        })
    }
}

/// The history of one room with one neighbour.
struct Session {
    split: Weak<Inner>,
    room: JsString,
    outlet: Arc<dyn Outlet>,
    state: Mutex<State>,
    /// An answer is on its way.
    busy: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// How much the neighbour may still tell.
    allowance: usize,
    answered: Option<Instant>,
}

impl AsideSession for Session {
    fn start(&self) -> Operation<'_, ()> {
        Box::pin(async {
            let Some(split) = self.split.upgrade().map(InterSplit) else { return };
            self.state.lock().allowance = 2 * MAX_HISTORY_BYTES;
            let want = split.history_want(&self.room);
            drop(split);
            self.outlet.send_aside(body(want)).await;
        })
    }

    fn received(&self, body: &[u8]) {
        let Some(split) = self.split.upgrade().map(InterSplit) else { return };
        let Some(Ok(told)) = text_of(body).map(parse) else { return };
        if told.get("app").and_then(Value::as_str) != Some(APP_KEY) {
            return;
        }
        match told.get("type").and_then(Value::as_str) {
            Some("history_want") => self.answer(&split, &told),
            Some("history") if self.may_tell(body.len()) => split.take_history(&self.room, &told),
            _ => {}
        }
    }
}

impl Session {
    fn may_tell(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let allowed = state.allowance >= bytes;
        state.allowance = state.allowance.saturating_sub(bytes);
        allowed
    }

    fn answer(&self, split: &InterSplit, want: &Value) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let early = state.answered.is_some_and(|answered| now.duration_since(answered) < ANSWER_PAUSE);
        if early || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        state.answered = Some(now);
        drop(state);
        let have = want.get("have").and_then(Value::as_array).unwrap_or_default();
        let have = have.iter().take(MAX_HAVE).filter_map(|key| key.as_str().map(str::to_owned)).collect();
        let parts = split.history_of(&self.room, &have);
        let (outlet, busy) = (self.outlet.clone(), self.busy.clone());
        tokio::spawn(async move {
            for part in parts {
                if !outlet.send_aside(body(part)).await {
                    break;
                }
            }
            busy.store(false, Ordering::Release);
        });
    }
}

fn message(kind: &str) -> Object {
    Object::new().with("app", APP_KEY).with("type", kind).with("version", 1)
}

fn body(message: Object) -> bytes::Bytes {
    body_of(&stringify(&message.into()))
}

/// By what an expense is known here and there.
fn known_by(tx_id: &JsString) -> String {
    data_encoding::HEXLOWER.encode(&crypto::hash(&[tx_id.as_wtf8()])[..8])
}
