//! An own change of a room, until it is on the disk: then it holds and neighbours are told of it, or all is as it was.

use std::collections::HashSet;
use std::sync::Arc;

use encoding::json::JsString;

use super::ledger::{Entry, Ledger, Terms};
use super::proof::Proof;

/// What a change of a room takes back, if it must.
#[derive(Debug)]
pub(super) struct Attempt {
    channel: JsString,
    /// The room's place among the rooms, if it was there.
    place: Option<usize>,
    /// What the room held before, without what others took out since.
    before: Vec<Arc<Entry>>,
    /// What it held right after.
    after: Vec<Arc<Entry>>,
    /// The latest clear before, and right after.
    clears: (Option<Proof>, Option<Proof>),
}

impl Ledger {
    /// Changes a room for the time being. One change at a time: [`keep`](Self::keep) or [`take_back`](Self::take_back) ends it.
    pub(super) fn attempt<T>(&mut self, channel: &JsString, change: impl FnOnce(&mut Ledger) -> T) -> T {
        self.attempt = None;
        let place = self.rooms.get_index_of(channel);
        let (before, clear) = (self.entries(channel), self.last_clear(channel).cloned());
        let result = change(self);
        let clears = (clear, self.last_clear(channel).cloned());
        self.attempt = Some(Attempt { channel: channel.clone(), place, before, after: self.entries(channel), clears });
        result
    }

    /// The change holds.
    pub(super) fn keep(&mut self) {
        self.attempt = None;
    }

    /// Undoes the change. What others did meanwhile stays.
    pub(super) fn take_back(&mut self) {
        let Some(Attempt { channel, place, before, after, clears }) = self.attempt.take() else { return };
        let after: HashSet<_> = after.iter().map(Arc::as_ptr).collect();
        let mut later = self.entries(&channel);
        later.retain(|entry| !after.contains(&Arc::as_ptr(entry)));
        self.clear(&channel);
        if let Some(place) = place {
            self.restore(&channel, place, before);
        }
        for entry in later {
            // One for which there is no room is lost as if it came now: who has it tells of it again.
            let _ = self.insert(&channel, entry, Terms::default());
        }
        let (before, after) = clears;
        if self.last_clear(&channel) == after.as_ref() {
            match before {
                Some(clear) => drop(self.clears.insert(channel, clear)),
                None => drop(self.clears.shift_remove(&channel)),
            }
        }
    }

    /// The latest signed clear of a room that neighbours may be told of.
    pub(super) fn told_clear(&self, channel: &JsString) -> Option<&Proof> {
        let last = self.last_clear(channel);
        match &self.attempt {
            Some(Attempt { channel: room, clears: (before, after), .. })
                if room == channel && last == after.as_ref() =>
            {
                before.as_ref()
            }
            _ => last,
        }
    }

    /// What an attempt may have to put back into a room.
    pub(super) fn before(&mut self, channel: &JsString) -> Option<&mut Vec<Arc<Entry>>> {
        self.attempt.as_mut().filter(|attempt| attempt.channel == *channel).map(|attempt| &mut attempt.before)
    }

    /// The expenses of a room in the order of arrival.
    fn entries(&self, channel: &JsString) -> Vec<Arc<Entry>> {
        self.rooms.get(channel).map(|room| room.entries.clone()).unwrap_or_default()
    }
}
