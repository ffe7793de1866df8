//! A disk that takes nothing for a while: what cannot be written is not done, and nobody hears of it.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;

use super::history::meet;
use super::*;

/// A member, and what makes its disk full for the file of the rooms. That of the proofs is written all the same.
fn member(folder: &Path) -> (Member, Arc<AtomicBool>) {
    let full = Arc::new(AtomicBool::new(false));
    let (path, is_full) = (folder.join(SNAPSHOT_FILE), full.clone());
    let ledger = path.clone();
    let disk = Before(move |path: &Path| match path == ledger && is_full.load(Ordering::Relaxed) {
        true => Err(io::ErrorKind::StorageFull.into()),
        false => Ok(()),
    });
    (Member::on_disk(1, |options| options.path = Some(path), Box::new(disk)), full)
}

/// What a neighbour that has nothing is told of the room: how many expenses, and whether of a clear.
fn told(member: &Member) -> (usize, bool) {
    let parts = member.split.history_of(&"trip".into(), &HashSet::new());
    let payloads = parts.iter().filter_map(|part| part.get("payloads")?.as_array());
    let clear = parts.iter().any(|part| part.get("clear").is_some_and(Value::is_object_like));
    (payloads.map(<[Value]>::len).sum(), clear)
}

#[tokio::test]
async fn a_clear_that_cannot_be_written_is_not_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, full) = member(folder.path());
    member.add("trip", "a", "1", "b").await;
    let ids = member.ids("trip");
    full.store(true, Ordering::Relaxed);
    let reply = member.ask(r#"{"type":"expense_clear","channel":"trip"}"#).await;
    assert!(reply.starts_with("Failed to save the ledger: "), "{reply}");
    assert_eq!((member.ids("trip"), told(&member)), (ids.clone(), (1, false)));
    assert_eq!(member.sent.lock().len(), 1, "only the expense was sent");
    // Nor does it come to light after a restart, though proofs are in a file of their own.
    let again = Member::stored(1, folder.path());
    assert_eq!((again.ids("trip"), told(&again)), (ids, (1, false)));
    let late = Member::new(2);
    meet(&late, &member, "trip").await;
    assert_eq!(late.ids("trip").len(), 1);

    full.store(false, Ordering::Relaxed);
    member.split.clear(&"trip".into()).await.expect("is written");
    assert_eq!(told(&member), (0, true));
    meet(&late, &member, "trip").await;
    assert_eq!(late.ids("trip"), [""; 0]);
}

#[tokio::test]
async fn a_clear_that_cannot_be_written_leaves_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, full) = member(folder.path());
    let other = Member::new(2);
    member.split.receive("trip", &signed_at(&other.keys, "trip", clear_message(), NOW - 2));
    let old = signed_at(&other.keys, "trip", expense_message("old", "a", 2), NOW - 1);
    member.split.receive("trip", &old);
    full.store(true, Ordering::Relaxed);
    assert!(member.split.clear(&"trip".into()).await.is_err());
    assert_eq!((member.ids("trip").len(), told(&member)), (1, (1, true)));
    let late = Member::new(3);
    meet(&late, &member, "trip").await;
    assert_eq!(late.ids("trip"), ["old"]);
}

#[tokio::test]
async fn neighbours_hear_of_nothing_that_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, _) = member(folder.path());
    {
        let add = member.add("trip", "a", "1", "b");
        let mut add = pin!(add);
        // The writer has not had its turn.
        assert!(add.as_mut().now_or_never().is_none());
        assert_eq!((member.ids("trip").len(), told(&member)), (1, (0, false)));
        add.await;
    }
    assert_eq!(told(&member), (1, false));
    let room = JsString::from("trip");
    let mut clear = pin!(member.split.clear(&room));
    assert!(clear.as_mut().now_or_never().is_none());
    assert_eq!((member.ids("trip").len(), told(&member)), (0, (0, false)));
    clear.await.expect("is written");
    assert_eq!(told(&member), (0, true));
}

#[tokio::test]
async fn an_import_that_cannot_be_written_is_not_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, full) = member(folder.path());
    member.add("trip", "a", "1", "b").await;
    let before = member.ids("trip");
    full.store(true, Ordering::Relaxed);
    let events = r#"[{"txId":"x","payer":"a","amountCents":1,"split":["a"],"ts":3}]"#;
    let snapshot = parse(format!(r#"{{"channel":"trip","events":{events}}}"#)).expect("valid JSON");
    for replace in [false, true] {
        let error = member.split.import_room(&snapshot, replace).await.expect_err("cannot be written");
        assert!(matches!(error, InterSplitError::Save(_)), "{error}");
        assert_eq!((member.ids("trip"), told(&member)), (before.clone(), (1, false)), "replace: {replace}");
    }
    let elsewhere = parse(format!(r#"{{"channel":"new","events":{events}}}"#)).expect("valid JSON");
    member.split.import_room(&elsewhere, false).await.expect_err("cannot be written");
    assert_eq!(member.ids("new"), [""; 0]);
}

#[tokio::test]
async fn what_others_do_meanwhile_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, full) = member(folder.path());
    let other = Member::new(2);
    let later = signed(&other.keys, "trip", expense_message("later", "a", 2));
    let cleared = Value::from(Object::new().with("message", clear_message()));
    for (meanwhile, left) in [(later, vec!["before", "later"]), (cleared, vec![])] {
        full.store(false, Ordering::Relaxed);
        member.split.clear(&"trip".into()).await.expect("is written");
        member.split.receive("trip", &signed(&other.keys, "trip", expense_message("before", "a", 2)));
        full.store(true, Ordering::Relaxed);
        let room = JsString::from("trip");
        let mut clear = pin!(member.split.clear(&room));
        assert!(clear.as_mut().now_or_never().is_none());
        member.split.receive("trip", &meanwhile);
        assert!(clear.await.is_err());
        assert_eq!(member.ids("trip"), left);
    }
}
