//! The file of what authors signed, beside that of the rooms, which has no place for it: one line of JSON.
//!
//! `{"version":1,"of":hash,"rooms":[{"channel","clear":payload or null,"payloads":[payload, ...]}, ...]}`, where the hash is the
//! BLAKE2b-256 of the rooms' file in hex. Older files have no `of`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use encoding::json::{JsString, Value, parse, write_string};

use super::event::Expense;
use super::ledger::{Entry, Ledger};
use super::proof::Proof;
use super::snapshot::read_file;

/// A room, its latest signed clear, and its expenses.
pub(super) type SignedRoom = (JsString, Option<Proof>, Vec<Arc<Entry>>);

/// The content of the file, for rooms of this hash in hex.
pub(super) fn write(of: &str, rooms: &[SignedRoom]) -> String {
    let mut text = format!(r#"{{"version":1,"of":"{of}","rooms":["#);
    for (index, (channel, clear, entries)) in rooms.iter().enumerate() {
        text.push_str(if index > 0 { ",{\"channel\":" } else { "{\"channel\":" });
        write_string(&mut text, channel);
        text.push_str(",\"clear\":");
        text.push_str(clear.as_ref().map_or("null", Proof::text));
        text.push_str(",\"payloads\":[");
        let proofs = entries.iter().filter_map(|entry| entry.proof.as_ref());
        text.push_str(&proofs.map(Proof::text).collect::<Vec<_>>().join(","));
        text.push_str("]}");
    }
    text.push_str("]}\n");
    text
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Proofs(Value);

/// Reads the file; `None` if there is none.
///
/// # Errors
/// When it cannot be read, or is none of these.
pub(super) fn read(path: &Path) -> io::Result<Option<Proofs>> {
    let Some(content) = read_file(path)? else { return Ok(None) };
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let file = parse(&content).map_err(|error| invalid(error.to_string()))?;
    let rooms = file.get("rooms").and_then(Value::as_array);
    rooms.ok_or_else(|| invalid("it has no rooms".into()))?;
    Ok(Some(Proofs(file)))
}

impl Proofs {
    /// Whether they were written with the rooms' file of this hash in hex.
    pub(super) fn is_of(&self, hash: &str) -> bool {
        self.0.get("of").and_then(Value::as_str) == Some(hash)
    }

    /// Gives the expenses of a ledger their proofs back. Each signature is verified again.
    pub(super) fn attach(&self, ledger: &mut Ledger, now: u64) {
        for room in self.0.get("rooms").and_then(Value::as_array).unwrap_or_default() {
            let Some(channel) = room.get("channel").and_then(Value::as_js_string) else { continue };
            if let Some(clear) = room.get("clear").and_then(|clear| Proof::of(clear, channel)) {
                ledger.note_clear(channel, clear);
            }
            for payload in room.get("payloads").and_then(Value::as_array).unwrap_or_default() {
                let event = payload.get("message").and_then(|message| message.get("event"));
                if let (Some(proof), Ok(Some(expense))) = (Proof::of(payload, channel), Expense::read(event, now)) {
                    ledger.attach(channel, &expense, proof);
                }
            }
        }
    }
}
