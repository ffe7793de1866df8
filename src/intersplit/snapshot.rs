//! The file of all rooms, written in the original's format: one line of JSON.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use encoding::json::{JsString, Object, Value, parse};

use super::event::{Expense, text};
use super::ledger::{Entry, snapshot};

/// The name of the file in the folder of the peer's store.
pub const SNAPSHOT_FILE: &str = "expense-split.snapshots.json";

/// A larger file is not read.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// What a file or the contract holds of one room.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RoomSnapshot {
    pub(super) channel: JsString,
    /// Each id once, in the order of their times.
    pub(super) expenses: Vec<Expense>,
}

impl RoomSnapshot {
    /// Reads a room. Expenses that are not valid are left out. `None` for what is no object.
    ///
    /// # Errors
    /// What JavaScript throws.
    pub(super) fn read(value: &Value, default_channel: &str, now: u64) -> Result<Option<RoomSnapshot>, super::Throw> {
        if !value.is_object_like() {
            return Ok(None);
        }
        let channel = text(value.get("channel"))?;
        let channel = if channel.is_empty() { default_channel.into() } else { channel };
        let mut expenses = indexmap::IndexMap::new();
        for event in value.get("events").and_then(Value::as_array).unwrap_or_default() {
            if let Some(expense) = Expense::read(Some(event), now)? {
                expenses.entry(expense.tx_id.clone()).or_insert(expense);
            }
        }
        let mut expenses: Vec<_> = expenses.into_values().collect();
        expenses.sort_by(|a, b| a.ts.partial_cmp(&b.ts).unwrap_or(std::cmp::Ordering::Equal));
        Ok(Some(RoomSnapshot { channel, expenses }))
    }
}

/// The content of the file.
pub(super) fn write(rooms: &[(JsString, Vec<Arc<Entry>>)], now: u64) -> String {
    let rooms = rooms.iter().map(|(channel, entries)| Value::from(snapshot(channel, entries)));
    let file = Object::new().with("version", 1).with("updatedAt", now).with("rooms", rooms.collect::<Vec<_>>());
    format!("{}\n", Value::from(file))
}

/// What the file holds.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) rooms: Vec<RoomSnapshot>,
    /// When it was written, in milliseconds since 1970.
    pub(super) updated_at: u64,
    /// The BLAKE2b-256 of its content, if there is one.
    pub(super) hash: Option<[u8; 32]>,
}

/// The content of the file; nothing if there is no file.
///
/// # Errors
/// When it cannot be read, or is not what this or the original wrote.
pub(super) fn load(path: &Path, default_channel: &str, now: u64) -> io::Result<Stored> {
    let Some(content) = read_file(path)? else { return Ok(Stored::default()) };
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let file = parse(&content).map_err(|error| invalid(error.to_string()))?;
    let rooms = file.get("rooms").and_then(Value::as_array).ok_or_else(|| invalid("it has no rooms".into()))?;
    let read = |room| RoomSnapshot::read(room, default_channel, now).ok().flatten();
    let updated_at = file.get("updatedAt").and_then(Value::as_f64).filter(|time| (0.0..9.0e15).contains(time));
    Ok(Stored {
        rooms: rooms.iter().filter_map(read).collect(),
        updated_at: updated_at.unwrap_or_default() as u64,
        hash: Some(crypto::hash(&[&content])),
    })
}

/// The content of a file, `None` if there is none or it is empty.
pub(super) fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    Ok(Some(content).filter(|content| !content.is_empty()))
}
