//! Ledgers, files and replies.

use super::*;
use crate::intersplit::snapshot::{RoomSnapshot, write};

const VECTOR: &str = include_str!("../../../vectors/app/expense.txt");

#[tokio::test]
async fn vector_of_the_original() {
    let mut lines = VECTOR.lines();
    let (summary, file) = (lines.next().expect("a summary"), lines.next().expect("a file"));
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(SNAPSHOT_FILE), format!("{file}\n")).expect("written");
    let member = Member::stored(1, folder.path());
    let room = JsString::from("trip");
    assert_eq!(Value::from(member.split.summary(&room).to_value()).to_string(), summary);
    assert_eq!(write(&member.split.0.ledger.lock().rooms(), 0), format!("{file}\n"));
}

#[tokio::test]
async fn an_expense_is_acknowledged_when_it_is_on_the_disk_and_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = Member::stored(1, folder.path());
    let reply = member
        .ask(r#"{"type":"expense_add","channel":" trip ","payer":" Bob ","amount":"1,2.5","split":"alice, BOB"}"#)
        .await;
    assert!(reply.starts_with(r#"{"type":"expense_added","channel":"trip","event":{"txId":""#), "{reply}");
    let rest = r#""payer":"bob","amountCents":1250,"split":["alice","bob"],"note":"","ts":1700000000000,"by":"address 1"},"broadcasted":true}"#;
    assert!(reply.ends_with(rest), "{reply}");
    let file = std::fs::read(folder.path().join(SNAPSHOT_FILE)).expect("was written");
    let file = parse(&file).expect("valid JSON");
    let rooms = file.get("rooms").and_then(Value::as_array).expect("has rooms");
    assert_eq!(rooms.len(), 1);
    let (channel, message) = member.sent.lock()[0].clone();
    assert_eq!(channel, "trip");
    assert_eq!(message.get("event"), rooms[0].get("events").and_then(|events| events.as_array()?.first()));
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_and_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = Member::with(1, |options| options.path = Some(folder.path().join(SNAPSHOT_FILE)));
    // A folder where the file should be.
    std::fs::create_dir_all(folder.path().join(SNAPSHOT_FILE).join("x")).expect("made");
    let reply = member.ask(r#"{"type":"expense_add","payer":"a","amount":1,"split":"b"}"#).await;
    assert!(reply.starts_with("Failed to save the ledger: "), "{reply}");
    assert_eq!(member.split.list(&"".into()).len(), 0);
    assert!(member.sent.lock().is_empty());
}

#[tokio::test]
async fn a_remote_clear_is_written_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = Member::stored(1, folder.path());
    member.add("trip", "a", "1", "b").await;
    let clear = parse(r#"{"message":{"app":"expense_split_v1","type":"expense_clear","ts":1,"by":null}}"#);
    assert!(member.split.receive("trip", &clear.expect("valid JSON")));
    member.split.flush().await.expect("written");
    let again = Member::stored(1, folder.path());
    assert_eq!(again.split.list(&"trip".into()).len(), 0);
}

#[tokio::test]
async fn every_damaged_file_is_kept_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let proofs = "expense-split.snapshots.proofs.json";
    for (file, ending, content) in [
        (SNAPSHOT_FILE, "damaged", "{\"version\":1,\"rooms\":["),
        (SNAPSHOT_FILE, "damaged.2", "{\"version\":1}"),
        (SNAPSHOT_FILE, "damaged.3", "\u{1}"),
        (proofs, "damaged", "{\"rooms\":["),
        (proofs, "damaged.2", "[]"),
    ] {
        std::fs::write(folder.path().join(file), content).expect("written");
        let member = Member::stored(1, folder.path());
        member.add("trip", "a", "1", "b").await;
        let aside = folder.path().join(format!("{file}.{ending}"));
        assert_eq!(std::fs::read_to_string(aside).expect("is kept"), content, "{file}.{ending}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_hinders_the_start_and_stays() {
    for name in [SNAPSHOT_FILE, "expense-split.snapshots.proofs.json"] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        // A folder cannot be read as a file, on any system.
        std::fs::create_dir(&path).expect("made");
        let options = InterSplitOptions { path: Some(folder.path().join(SNAPSHOT_FILE)), ..options(1) };
        let error = InterSplit::open(options, Arc::new(Wire(Sent::default()))).err().expect("is refused");
        assert_eq!(error.path, path);
        assert!(path.is_dir() && std::fs::read_dir(folder.path()).expect("is there").count() == 1);
    }
}

#[tokio::test]
async fn a_file_with_more_than_fits_is_kept_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let event = r#"{"txId":"t","payer":"a","amountCents":1,"split":["a"],"ts":1}"#;
    let rooms: Vec<_> = (0..=MAX_ROOMS).map(|room| format!(r#"{{"channel":"r{room}","events":[{event}]}}"#)).collect();
    let content = format!(r#"{{"version":1,"rooms":[{}]}}"#, rooms.join(","));
    std::fs::write(folder.path().join(SNAPSHOT_FILE), &content).expect("written");
    let member = Member::stored(1, folder.path());
    member.add("r0", "a", "1", "b").await;
    assert_eq!(member.ids(&format!("r{MAX_ROOMS}")), [""; 0]);
    let aside = folder.path().join(format!("{SNAPSHOT_FILE}.whole"));
    assert_eq!(std::fs::read_to_string(aside).expect("is kept"), content);
}

#[tokio::test]
async fn an_import_of_more_than_fits_is_not_done() {
    let member = Member::new(1);
    member.add("r", "a", "1", "b").await;
    let before = member.ids("r");
    let note = "n".repeat(1 << 20);
    let event = |id| format!(r#"{{"txId":"{id}","payer":"a","amountCents":1,"split":["a"],"note":"{note}"}}"#);
    let events: Vec<_> = (0..18).map(event).collect();
    let snapshot = parse(format!(r#"{{"channel":"r","events":[{}]}}"#, events.join(","))).expect("valid JSON");
    for replace in [false, true] {
        let error = member.split.import_room(&snapshot, replace).await.expect_err("is too much");
        assert!(matches!(error, InterSplitError::Full(_)), "{error}");
        assert_eq!(member.ids("r"), before);
    }
}

#[tokio::test]
async fn replies_are_the_originals() {
    let member = Member::new(1);
    let missing = "Missing fields. Required: channel, payer, amount, split.";
    for (message, expected) in [
        (r#"{"type":"expense_add"}"#, missing),
        (r#"{"type":"expense_add","channel":"  ","payer":"a","amount":1,"split":"a"}"#, missing),
        (r#"{"type":"expense_add","payer":"a","amount":1,"split":" , "}"#, missing),
        (r#"{"type":"expense_add","payer":"a","amount":null,"split":"a"}"#, "Invalid amount. Use a positive number."),
        (r#"{"type":"expense_add","payer":"a","amount":"x","split":"a"}"#, "Invalid amount. Use a positive number."),
        (
            r#"{"type":"expense_add","payer":{"toString":1},"amount":1,"split":"a"}"#,
            "Cannot convert object to primitive value",
        ),
        (r#"{"type":"expense_list","channel":" "}"#, "Missing channel."),
        (r#"{"type":"expense_list"}"#, r#"{"type":"expense_list","channel":"0000intercom","count":0,"events":[]}"#),
        (
            r#"{"type":"expense_balance","channel":7}"#,
            r#"{"type":"expense_balance","summary":{"channel":"7","eventCount":0,"totalCents":0,"balances":[],"settlements":[]}}"#,
        ),
        (r#"{"type":"expense_clear","channel":"x"}"#, r#"{"type":"expense_cleared","channel":"x","ok":true}"#),
        (r#"{"type":"expense_persist"}"#, "Peer is not writable."),
        (r#"{"type":"expense_restore"}"#, "No persisted snapshot found."),
    ] {
        assert_eq!(member.ask(message).await, expected, "{message}");
    }
}

#[tokio::test]
async fn an_import_replaces_or_merges_in_the_order_of_times() {
    let member = Member::new(1);
    let snapshot = |events: &str| parse(format!(r#"{{"channel":"r","events":[{events}]}}"#)).expect("valid JSON");
    let event = |id: &str, ts: i32| format!(r#"{{"txId":"{id}","payer":"a","amountCents":1,"split":["a"],"ts":{ts}}}"#);
    let first = snapshot(&[event("x", 9), event("y", 3), event("x", 1), "5".into()].join(","));
    let imported = member.split.import_room(&first, false).await.expect("written").expect("a room");
    assert_eq!((imported.added, imported.total), (2, 2));
    let imported = member.split.import_room(&snapshot(&event("z", 5)), false).await.expect("written").expect("a room");
    assert_eq!((imported.added, imported.total), (1, 3));
    let ids = |member: &Member| -> Vec<String> {
        member.split.list(&"r".into()).iter().map(|entry| entry.expense.tx_id.to_string()).collect()
    };
    assert_eq!(ids(&member), ["y", "z", "x"]);
    let imported = member.split.import_room(&snapshot(&event("x", 9)), true).await.expect("written").expect("a room");
    assert_eq!((imported.added, imported.total), (1, 1));
    assert_eq!(ids(&member), ["x"]);
    assert_eq!(member.split.import_room(&Value::Null, true).await.expect("nothing to write"), None);
}

#[test]
fn a_room_without_a_name_is_the_default_one() {
    let room = RoomSnapshot::read(&parse(r#"{"channel":" "}"#).expect("valid JSON"), "entry", 0);
    assert_eq!(room.expect("nothing throws").expect("a room").channel, "entry");
}

#[tokio::test]
async fn a_full_room_takes_no_more_from_others() {
    let member = Member::new(1);
    let note = "n".repeat(900_000);
    let mut message = expense_message("t", "a", 1);
    let event = message.as_object_mut().and_then(|message| message.get_mut("event")).and_then(Value::as_object_mut);
    event.expect("an event").insert("note", note);
    for i in 0..40 {
        let event = message.as_object_mut().and_then(|message| message.get_mut("event")).and_then(Value::as_object_mut);
        event.expect("an event").insert("txId", i);
        member.split.receive("r", &Object::new().with("message", message.clone()).into());
    }
    assert!((15..20).contains(&member.split.list(&"r".into()).len()));
    member.add("r", "own", "1", "b").await;
}
