//! What late members get.

use super::*;
use crate::sidechannel::aside::{Aside, AsideSession};
use crate::sidechannel::link::{Operation, Outlet as Line};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// The line to a neighbour, as this hears it.
struct Ear(mpsc::UnboundedSender<Bytes>);

impl Line for Ear {
    fn send(&self, _body: Bytes) -> Operation<'_, bool> {
        Box::pin(async { false })
    }

    fn send_aside(&self, body: Bytes) -> Operation<'_, bool> {
        let sent = self.0.send(body).is_ok();
        Box::pin(async move { sent })
    }

    fn close(&self) {}
}

/// One side of a line, and what it says.
fn side(member: &Member, room: &str) -> (Box<dyn AsideSession>, mpsc::UnboundedReceiver<Bytes>) {
    let (sender, said) = mpsc::unbounded_channel();
    (member.split.history().open(room, Arc::new(Ear(sender))), said)
}

/// Two members meet on a channel, and say all that they have to say.
pub(super) async fn meet(a: &Member, b: &Member, room: &str) {
    let ((left, mut left_said), (right, mut right_said)) = (side(a, room), side(b, room));
    left.start().await;
    right.start().await;
    loop {
        // Answers come from tasks of their own.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let (from_left, from_right) = (left_said.try_recv(), right_said.try_recv());
        if from_left.is_err() && from_right.is_err() {
            return;
        }
        from_left.iter().for_each(|body| right.received(body));
        from_right.iter().for_each(|body| left.received(body));
    }
}

#[tokio::test]
async fn late_members_get_what_others_wrote_and_the_signatures_with_it() {
    let (alice, bob, late) = (Member::new(1), Member::new(2), Member::new(3));
    for number in 0..300 {
        let payload = signed(&bob.keys, "trip", expense_message(&format!("t{number}"), "a", 2));
        alice.split.receive("trip", &payload);
    }
    alice.add("trip", "a", "1", "b").await;
    late.add("trip", "c", "3", "a").await;
    meet(&late, &alice, "trip").await;
    assert_eq!(late.members("trip"), alice.members("trip"));
    assert_eq!(late.split.list(&"trip".into()).len(), 302);
    assert!(late.split.list(&"trip".into()).iter().all(|entry| entry.proof.is_some()));
    // What was told can be told on.
    meet(&late, &bob, "trip").await;
    assert_eq!(late.members("trip"), bob.members("trip"));
}

#[tokio::test]
async fn a_neighbours_word_alone_counts_for_nothing() {
    let (alice, mallory) = (Member::new(1), Member::new(2));
    let told = |payload: Value| Object::new().with("payloads", vec![payload]).into();
    let good = signed(&mallory.keys, "trip", expense_message("t1", "a", 2));
    let mut forged = good.clone();
    forged.as_object_mut().expect("an object").insert("from", "11".repeat(32));
    alice.split.take_history(&"trip".into(), &told(forged));
    alice.split.take_history(&"other".into(), &told(good.clone()));
    let elsewhere = signed(&mallory.keys, "closed", expense_message("t1", "a", 2));
    alice.split.take_history(&"closed".into(), &told(elsewhere));
    for room in ["trip", "other", "closed"] {
        assert_eq!(alice.members(room), "", "{room}");
    }
    // Nor is anything taken that was not asked for.
    let (session, _said) = side(&alice, "trip");
    let history = Object::new().with("app", APP_KEY).with("type", "history").with("payloads", vec![good]);
    let body = crate::sidechannel::payload::body_of(&Value::from(history).to_string());
    session.received(&body);
    assert_eq!(alice.members("trip"), "");
    session.start().await;
    session.received(&body);
    assert_eq!(alice.members("trip"), "a=1 b=-1 ");
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_is_answered_once_in_a_while() {
    let (alice, bob) = (Member::new(1), Member::new(2));
    alice.add("trip", "a", "1", "b").await;
    let ((session, mut said), (asking, mut asked)) = (side(&alice, "trip"), side(&bob, "trip"));
    asking.start().await;
    let want = asked.recv().await.expect("it asks");
    for expected in [1, 0, 0] {
        session.received(&want);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert_eq!(std::iter::from_fn(|| said.try_recv().ok()).count(), expected);
    }
    tokio::time::advance(crate::intersplit::history::ANSWER_PAUSE).await;
    session.received(&want);
    assert!(said.recv().await.is_some());
}

#[tokio::test]
async fn who_missed_a_clear_hears_of_it_and_brings_nothing_back() {
    let (alice, away) = (Member::new(1), Member::new(2));
    away.add("trip", "a", "1", "b").await;
    alice.add("trip", "a", "1", "b").await;
    alice.split.clear(&"trip".into()).await.expect("may clear");
    meet(&alice, &away, "trip").await;
    assert_eq!(alice.members("trip"), "");
    assert_eq!(away.members("trip"), "");
    let mut later = signed(&away.keys, "trip", expense_message("t9", "a", 2));
    later.as_object_mut().expect("an object").insert("ts", 1);
    away.split.receive("trip", &later);
    meet(&alice, &away, "trip").await;
    assert_eq!(alice.members("trip"), "", "its signature does not hold for that time");
}

#[tokio::test]
async fn a_clear_by_a_clock_that_is_ahead_is_remembered() {
    let author = Member::new(9);
    let told = |payload: Value| Object::new().with("payloads", vec![payload]).into();
    let old = signed(&author.keys, "trip", expense_message("t1", "a", 2));
    for (ahead, count) in [(50_000, 0), (MAX_AHEAD_MS, 0), (MAX_AHEAD_MS + 1, 1)] {
        let time = Arc::new(AtomicU64::new(NOW));
        let clock = time.clone();
        let member = Member::with(1, |options| options.clock = Clock::new(move || clock.load(Ordering::Relaxed)));
        let clear = signed_at(&author.keys, "trip", clear_message(), NOW + ahead);
        member.split.receive("trip", &clear);
        time.fetch_add(2 * ahead, Ordering::Relaxed);
        member.split.take_history(&"trip".into(), &told(old.clone()));
        assert_eq!(member.ids("trip").len(), count, "cleared {ahead} ms ahead");
        // A neighbour's word of the clear is taken as the clear itself.
        let late = Member::new(2);
        late.split.receive("trip", &old);
        late.split.take_history(&"trip".into(), &Object::new().with("clear", clear).into());
        assert_eq!(late.ids("trip").len(), count, "told {ahead} ms ahead");
    }
}

#[tokio::test]
async fn signatures_and_clears_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let strict = |folder: &std::path::Path| {
        Member::with(1, |options| {
            options.path = Some(folder.join(SNAPSHOT_FILE));
            options.verified = VerifiedRooms::All;
        })
    };
    let other = Member::new(2);
    let member = strict(folder.path());
    member.add("trip", "a", "1", "b").await;
    member.split.receive("trip", &signed(&other.keys, "trip", expense_message(&other.id("t1"), "a", 2)));
    member.split.flush().await.expect("written");
    let again = strict(folder.path());
    assert_eq!(again.split.list(&"trip".into()).len(), 2);
    assert_eq!(again.members("trip"), member.members("trip"));
    // A file that somebody changed does not count.
    let path = folder.path().join("expense-split.snapshots.proofs.json");
    let text = std::fs::read_to_string(&path).expect("is there").replace("\"amountCents\":2,", "\"amountCents\":3,");
    std::fs::write(&path, text).expect("written");
    assert_eq!(strict(folder.path()).split.list(&"trip".into()).len(), 1);
}
