//! Who wrote what, and rooms in which that counts.

use super::*;

#[tokio::test]
async fn each_expense_says_whether_its_signature_holds() {
    let (alice, bob) = (Member::new(1), Member::new(2));
    let from_alice = signed(&alice.keys, "trip", expense_message("t1", "a", 2));
    assert!(bob.split.receive("trip", &from_alice));
    for (key, value) in [("sig", "00".into()), ("from", Value::from("11".repeat(32))), ("channel", "other".into())] {
        let mut forged = signed(&alice.keys, "trip", expense_message(&format!("t-{key}"), "a", 2));
        forged.as_object_mut().expect("an object").insert(key, value);
        assert!(bob.split.receive("trip", &forged));
    }
    let verified: Vec<_> = bob.split.list(&"trip".into()).iter().map(|entry| entry.proof.is_some()).collect();
    assert_eq!(verified, [true, false, false, false]);
    let reply = bob.ask(r#"{"type":"expense_list","channel":"trip","verify":1}"#).await;
    let key = data_encoding::HEXLOWER.encode(&alice.keys.public_key);
    assert!(reply.contains(&format!(r#""by":null,"verified":true,"author":"{key}"}}"#)), "{reply}");
    assert!(reply.contains(r#""by":null,"verified":false,"author":null}"#), "{reply}");
    assert!(!bob.ask(r#"{"type":"expense_list","channel":"trip"}"#).await.contains("verified"));
}

#[tokio::test]
async fn in_a_strict_room_only_signed_expenses_count() {
    let alice = Member::new(1);
    let bob = Member::with(2, |options| options.verified = VerifiedRooms::Named(vec!["trip".into()]));
    let message = expense_message(&alice.id("t1"), "a", 2);
    let unsigned = Value::from(Object::new().with("message", message.clone()));
    assert!(bob.split.receive("trip", &unsigned));
    assert_eq!(bob.members("trip"), "");
    assert!(bob.split.receive("trip", &signed(&alice.keys, "trip", message)));
    assert_eq!(bob.members("trip"), "a=1 b=-1 ");
    assert!(bob.split.receive("elsewhere", &unsigned));
    assert_eq!(bob.members("elsewhere"), "a=1 b=-1 ");
    // One's own count too.
    bob.add("trip", "b", "0.02", "a").await;
    assert_eq!(bob.members("trip"), "a=0 b=0 ");
}

#[tokio::test]
async fn a_strict_room_is_cleared_by_its_owner_and_an_author_clears_its_own() {
    let (owner, author, other) = (Member::new(1), Member::new(2), Member::new(3));
    let key = data_encoding::HEXLOWER.encode(&owner.keys.public_key);
    let member = Member::with(4, |options| {
        options.verified = VerifiedRooms::All;
        options.owner_keys.insert("trip".into(), key);
    });
    let count = || member.split.list(&"trip".into()).len();
    for (id, from) in [("t1", &author), ("t2", &author), ("t3", &other)] {
        member.split.receive("trip", &signed(&from.keys, "trip", expense_message(&from.id(id), "a", 2)));
    }
    assert_eq!(count(), 3);
    member.split.receive("trip", &Object::new().with("message", clear_message()).into());
    member.split.receive("trip", &signed(&owner.keys, "elsewhere", clear_message()));
    assert_eq!(count(), 3);
    member.split.receive("trip", &signed(&author.keys, "trip", clear_message()));
    assert_eq!(count(), 1);
    member.split.receive("trip", &signed(&owner.keys, "trip", clear_message()));
    assert_eq!(count(), 0);

    member.split.receive("trip", &signed(&other.keys, "trip", expense_message(&other.id("t4"), "a", 2)));
    let denied = member.ask(r#"{"type":"expense_clear","channel":"trip"}"#).await;
    assert_eq!(denied, "Clear denied (only the owner or the author of expenses may clear this room).");
    assert_eq!(count(), 1);
}

/// A member whose rooms are all strict.
fn strict(path: Option<PathBuf>) -> Member {
    Member::with(4, |options| (options.verified, options.path) = (VerifiedRooms::All, path))
}

#[tokio::test]
async fn nobody_takes_the_id_of_anothers_expense() {
    let (alice, mallory) = (Member::new(1), Member::new(2));
    let member = strict(None);
    let id = alice.id("t1");
    let (real, theirs) = (expense_message(&id, "a", 2), expense_message(&id, "a", 9));
    let theirs = signed(&mallory.keys, "trip", theirs);
    member.split.receive("trip", &theirs);
    member.split.take_history(&"trip".into(), &Object::new().with("payloads", vec![theirs.clone()]).into());
    for rest in ["t1", &mallory.key()[..12], &format!("{}x:", &mallory.key()[..12])] {
        member.split.receive("trip", &signed(&mallory.keys, "trip", expense_message(rest, "a", 9)));
    }
    assert_eq!(member.ids("trip"), [""; 0]);
    member.split.receive("trip", &signed(&alice.keys, "trip", real.clone()));
    assert_eq!(member.ids("trip"), [id.as_str()]);
    assert_eq!(member.members("trip"), "a=1 b=-1 ");
    // In other rooms who comes first is believed, as by JavaScript peers.
    let lax = Member::new(5);
    lax.split.receive("trip", &theirs);
    lax.split.receive("trip", &signed(&alice.keys, "trip", real));
    assert_eq!(lax.members("trip"), "a=4 b=-4 ");
}

#[tokio::test]
async fn what_did_not_count_gives_way_to_what_its_author_signed() {
    let (alice, mallory) = (Member::new(1), Member::new(2));
    alice.add("trip", "a", "0.02", "b").await;
    let (_, real) = alice.sent.lock()[0].clone();
    let id = alice.ids("trip")[0].clone();
    let unsigned = Value::from(Object::new().with("message", real));
    let theirs = signed(&mallory.keys, "trip", expense_message(&id, "a", 9));
    for first in [unsigned, theirs] {
        let folder = tempfile::tempdir().expect("a folder");
        // It came while the room was not strict.
        let before = Member::stored(4, folder.path());
        before.split.receive("trip", &first);
        before.split.flush().await.expect("written");
        let member = strict(Some(folder.path().join(SNAPSHOT_FILE)));
        assert_eq!(member.ids("trip"), [""; 0]);
        super::history::meet(&member, &alice, "trip").await;
        assert_eq!(member.members("trip"), "a=1 b=-1 ");
        member.split.flush().await.expect("written");
        let again = strict(Some(folder.path().join(SNAPSHOT_FILE)));
        assert_eq!(again.ids("trip"), [id.as_str()]);
    }
}
