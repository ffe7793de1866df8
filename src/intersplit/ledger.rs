//! The rooms and their expenses, in memory.

use std::collections::HashSet;
use std::sync::Arc;

use encoding::json::{JsString, Object, Value, stringified_len};
use indexmap::{IndexMap, IndexSet};

use super::attempt::Attempt;
use super::event::Expense;
use super::proof::Proof;
use super::proofs::SignedRoom;
use super::summary::Summary;

/// How many rooms there are at most. A peer can open one with a message on a channel that is joined here.
pub const MAX_ROOMS: usize = 1_024;

/// What the expenses of one room may cost, in bytes of JSON and [`ENTRY_OVERHEAD`] each.
pub const MAX_ROOM_BYTES: usize = 16 << 20;

/// What the expenses of all rooms may cost.
pub const MAX_LEDGER_BYTES: usize = 64 << 20;

/// Own expenses are taken so far beyond these bounds, so that others cannot fill a room against its members.
const OWN_RESERVE: usize = 1 << 20;

/// What an expense costs beside its text.
const ENTRY_OVERHEAD: usize = 512;

/// So many hex digits of its author's key begin an id.
pub(super) const ID_DIGITS: usize = 12;

/// An expense, and what shows who wrote it.
#[derive(Debug)]
pub struct Entry {
    /// The expense.
    pub expense: Expense,
    /// Its author's signed message. `None`: it came without a signature that holds.
    pub proof: Option<Proof>,
    cost: usize,
}

impl Entry {
    /// When it was written: what its author signed, else what it says, in milliseconds since 1970.
    pub(super) fn written(&self) -> f64 {
        self.proof.as_ref().map_or(self.expense.ts, |proof| proof.ts as f64)
    }

    /// Whether the id names who signed: a JavaScript peer, as this, begins the ids that it makes with [`ID_DIGITS`] digits of its
    /// key and a colon. Nobody else can sign for such an id, so nobody can take it from its author.
    pub(super) fn is_its_authors(&self) -> bool {
        let rest = self.proof.as_ref().and_then(|proof| {
            let id = self.expense.tx_id.as_wtf8();
            id.strip_prefix(proof.author.get(..ID_DIGITS)?.as_bytes())
        });
        rest.is_some_and(|rest| rest.starts_with(b":"))
    }

    /// Whether this author signed it.
    pub(super) fn is_of(&self, author: &str) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.author == author)
    }

    /// An entry for the ledger.
    pub(super) fn new(expense: Expense, proof: Option<Proof>) -> Arc<Entry> {
        let text = stringified_len(&expense.to_value().into());
        let cost = ENTRY_OVERHEAD + text + proof.as_ref().map_or(0, Proof::size);
        Arc::new(Entry { expense, proof, cost })
    }
}

/// What became of an expense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Insertion {
    /// It is new, or its author's own where there was only what somebody else said.
    Added,
    /// An expense with its id was there.
    Duplicate,
    /// There is no room for it: why.
    Full(&'static str),
}

/// How an expense is taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms {
    /// It is from here.
    pub(super) own: bool,
    /// In this room only what its author signed counts.
    pub(super) strict: bool,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Import {
    /// So many expenses are new.
    pub(super) added: usize,
    /// So many there are.
    pub(super) total: usize,
    /// For so many there was no room.
    pub(super) left_out: usize,
}

/// All rooms, in the order in which they were opened.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) rooms: IndexMap<JsString, Room>,
    bytes: usize,
    /// The latest signed clear of each room, for those who were away.
    pub(super) clears: IndexMap<JsString, Proof>,
    /// The own change of a room that is not on the disk yet.
    pub(super) attempt: Option<Attempt>,
    /// The ids of own expenses that are not on the disk yet.
    pub(super) unsaved: HashSet<JsString>,
}

#[derive(Debug, Default)]
pub(super) struct Room {
    /// In the order of arrival.
    pub(super) entries: Vec<Arc<Entry>>,
    seen: HashSet<JsString>,
    bytes: usize,
}

impl Room {
    /// Where the expense is that gives way to this one of the same id, if it does: the same one without a signature, or in a
    /// strict room one that does not count.
    fn weaker(&self, entry: &Entry, strict: bool) -> Option<usize> {
        if !entry.is_its_authors() {
            return None;
        }
        let at = self.entries.iter().position(|known| known.expense.tx_id == entry.expense.tx_id)?;
        let known = &self.entries[at];
        let same = known.proof.is_none() && known.expense == entry.expense;
        (same || strict && !known.is_its_authors()).then_some(at)
    }

    fn count(&mut self) {
        self.seen = self.entries.iter().map(|entry| entry.expense.tx_id.clone()).collect();
        self.bytes = self.entries.iter().map(|entry| entry.cost).sum();
    }
}

impl Ledger {
    /// Adds an expense to a room, unless it is there.
    pub(super) fn insert(&mut self, channel: &JsString, entry: Arc<Entry>, terms: Terms) -> Insertion {
        let reserve = if terms.own { OWN_RESERVE } else { 0 };
        let (mut weaker, mut bytes, mut freed) = (None, 0, 0);
        match self.rooms.get(channel) {
            Some(room) => {
                if room.seen.contains(&entry.expense.tx_id) {
                    let Some(at) = room.weaker(&entry, terms.strict) else { return Insertion::Duplicate };
                    weaker = Some(at);
                    freed = room.entries[at].cost;
                }
                bytes = room.bytes;
            }
            None if self.rooms.len() >= MAX_ROOMS => return Insertion::Full("too many rooms"),
            None => {}
        }
        let bytes = bytes - freed + entry.cost;
        let all = self.bytes - freed + entry.cost;
        if bytes > MAX_ROOM_BYTES + reserve {
            return Insertion::Full("this room");
        }
        if all > MAX_LEDGER_BYTES + reserve {
            return Insertion::Full("all rooms together");
        }
        let room = self.rooms.entry(channel.clone()).or_default();
        (room.bytes, self.bytes) = (bytes, all);
        room.seen.insert(entry.expense.tx_id.clone());
        match weaker {
            Some(at) => room.entries[at] = entry,
            None => room.entries.push(entry),
        }
        Insertion::Added
    }

    /// Takes an expense out again.
    pub(super) fn remove(&mut self, channel: &JsString, tx_id: &JsString) {
        self.retain(channel, |entry| entry.expense.tx_id != *tx_id);
    }

    /// Keeps the expenses of a room that `keep` says, also of what an attempt may have to put back; how many are gone.
    pub(super) fn retain(&mut self, channel: &JsString, keep: impl Fn(&Entry) -> bool) -> usize {
        if let Some(before) = self.before(channel) {
            before.retain(|entry| keep(entry));
        }
        let Some(room) = self.rooms.get_mut(channel) else { return 0 };
        let before = room.entries.len();
        self.bytes -= room.bytes;
        room.entries.retain(|entry| keep(entry));
        room.count();
        self.bytes += room.bytes;
        before - room.entries.len()
    }

    /// Forgets a room, and what an attempt may have to put back of it.
    pub(super) fn clear(&mut self, channel: &JsString) {
        if let Some(before) = self.before(channel) {
            before.clear();
        }
        let room = self.rooms.shift_remove(channel);
        self.bytes -= room.map_or(0, |room| room.bytes);
    }

    /// Puts expenses into a room, which is not there, at its place among the rooms.
    pub(super) fn restore(&mut self, channel: &JsString, place: usize, entries: Vec<Arc<Entry>>) {
        let mut room = Room { entries, ..Room::default() };
        room.count();
        self.bytes += room.bytes;
        self.rooms.shift_insert(place.min(self.rooms.len()), channel.clone(), room);
    }

    /// Remembers a signed clear, of at most [`MAX_ROOMS`] rooms; `false` if a later one is known.
    pub(super) fn note_clear(&mut self, channel: &JsString, clear: Proof) -> bool {
        if self.clears.get(channel).is_some_and(|known| known.ts >= clear.ts) {
            return false;
        }
        self.clears.shift_remove(channel);
        if self.clears.len() >= MAX_ROOMS {
            self.clears.shift_remove_index(0);
        }
        self.clears.insert(channel.clone(), clear);
        true
    }

    /// The latest signed clear of a room.
    pub(super) fn last_clear(&self, channel: &JsString) -> Option<&Proof> {
        self.clears.get(channel)
    }

    /// All that authors signed, by room: the latest clear and what came after it.
    pub(super) fn proofs(&self) -> Vec<SignedRoom> {
        let rooms: IndexSet<&JsString> = self.rooms.keys().chain(self.clears.keys()).collect();
        rooms.into_iter().map(|room| (room.clone(), self.clears.get(room).cloned(), self.list(room))).collect()
    }

    /// Gives an expense that is here the proof that was stored for it.
    pub(super) fn attach(&mut self, channel: &JsString, expense: &Expense, proof: Proof) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        if let Some(entry) = room.entries.iter_mut().find(|entry| entry.expense == *expense && entry.proof.is_none()) {
            let proven = Entry::new(entry.expense.clone(), Some(proof));
            let more = proven.cost - entry.cost;
            room.bytes += more;
            self.bytes += more;
            *entry = proven;
        }
    }

    /// Adds expenses to a room, which is opened, and brings all in the order of their times. With `replace` the room is emptied
    /// before, what it knew of signatures kept.
    pub(super) fn import(&mut self, channel: &JsString, expenses: Vec<Expense>, replace: bool) -> Import {
        let full = self.rooms.len() >= MAX_ROOMS;
        let known: IndexMap<JsString, Arc<Entry>> = match self.rooms.get_mut(channel) {
            Some(room) if replace => {
                self.bytes -= std::mem::take(&mut room.bytes);
                room.seen.clear();
                room.entries.drain(..).map(|entry| (entry.expense.tx_id.clone(), entry)).collect()
            }
            None if !full => {
                self.rooms.insert(channel.clone(), Room::default());
                IndexMap::new()
            }
            _ => IndexMap::new(),
        };
        let mut done = Import::default();
        for expense in expenses {
            let entry = match known.get(&expense.tx_id) {
                Some(entry) if entry.expense == expense => entry.clone(),
                _ => Entry::new(expense, None),
            };
            match self.insert(channel, entry, Terms { own: true, strict: false }) {
                Insertion::Added => done.added += 1,
                Insertion::Duplicate => {}
                Insertion::Full(_) => done.left_out += 1,
            }
        }
        if let Some(room) = self.rooms.get_mut(channel) {
            sort(&mut room.entries);
            done.total = room.entries.len();
        }
        done
    }

    /// The expenses of a room in the order of their times; of the same time, in that of arrival.
    pub(super) fn list(&self, channel: &JsString) -> Vec<Arc<Entry>> {
        let mut entries = self.rooms.get(channel).map(|room| room.entries.clone()).unwrap_or_default();
        sort(&mut entries);
        entries
    }

    /// Every room that has expenses, with these as [`list`](Self::list) has them.
    pub(super) fn rooms(&self) -> Vec<(JsString, Vec<Arc<Entry>>)> {
        let channels = self.rooms.iter().filter(|(_, room)| !room.entries.is_empty());
        channels.map(|(channel, _)| (channel.clone(), self.list(channel))).collect()
    }
}

fn sort(entries: &mut [Arc<Entry>]) {
    // Times are finite, and zero is zero whatever its sign: as `a.ts - b.ts` in JavaScript.
    entries.sort_by(|a, b| a.expense.ts.partial_cmp(&b.expense.ts).unwrap_or(std::cmp::Ordering::Equal));
}

/// A room's account.
pub(super) fn summarize(channel: JsString, entries: &[Arc<Entry>]) -> Summary {
    Summary::of(channel, entries.iter().map(|entry| &entry.expense))
}

/// A room as it is stored and persisted.
pub(super) fn snapshot(channel: &JsString, entries: &[Arc<Entry>]) -> Object {
    let events = entries.iter().map(|entry| Value::from(entry.expense.to_value()));
    Object::new().with("channel", channel.clone()).with("version", 1).with("events", events.collect::<Vec<_>>())
}
