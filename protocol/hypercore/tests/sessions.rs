//! Sessions: what moves with a draft, what is heard where, who may write.

use std::pin::Pin;
use std::sync::Barrier;
use std::task::{Context, Waker};
use std::time::Duration;

use hypercore::{BlockEncryption, DraftOptions, EncryptionMode, Error, Event, Events, Hypercore, Store};

fn draft(core: &Hypercore, name: &str) -> Hypercore {
    core.draft(name, DraftOptions::default()).expect("a draft")
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(Duration::from_secs(10), events.next()).await.expect("something happened")
}

fn heard(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.try_next()).collect()
}

#[tokio::test]
async fn all_sessions_of_a_draft_move_and_hear_of_where_they_are() -> Result<(), Error> {
    let store = Store::memory();
    let (core, other) = (store.create()?, store.create()?);
    let (a, b, x) = (draft(&core, "d"), draft(&core, "d"), draft(&other, "d"));
    a.append(["0", "1"])?;
    x.append(["x"])?;
    let (snapshot, atom) = (b.snapshot(), store.atom());
    let in_atom = b.in_atom(&atom)?;
    let (mut of_b, mut of_x, mut of_snapshot) = (b.subscribe(), x.subscribe(), snapshot.subscribe());
    a.move_to(&x)?;
    for moved in [&a, &b] {
        assert_eq!((moved.key(), moved.length(), moved.get(0)?), (other.key(), 1, Some("x".into())));
    }
    // It became shorter, so its fork is the next of its own, as in JavaScript.
    assert_eq!((a.fork(), b.fork()), (1, 1));
    assert_eq!(heard(&mut of_b), [Event::Truncate { length: 1, fork: 1 }]);
    assert_eq!(heard(&mut of_x), [], "nothing happened to those who were there");
    b.append(["y"])?;
    assert_eq!(next(&mut of_b).await, Event::Append { length: 2 });
    assert_eq!(next(&mut of_x).await, Event::Append { length: 2 });
    // A snapshot, and what an atom is about to change, stay where they are.
    assert_eq!((snapshot.key(), snapshot.get(1)?), (core.key(), Some("1".into())));
    assert_eq!((in_atom.key(), in_atom.get(1)?), (core.key(), Some("1".into())));
    assert_eq!(heard(&mut of_snapshot), []);
    // Who comes now finds the drafts of the two cores where they were.
    let (still, there) = (draft(&core, "d"), draft(&other, "d"));
    assert_eq!((still.length(), there.length()), (2, 2));
    assert_eq!((still.key(), there.key()), (core.key(), other.key()));
    // And back: all that are there now.
    there.move_to(&still)?;
    for moved in [&a, &b, &x, &there] {
        assert_eq!((moved.key(), moved.get(0)?), (core.key(), Some("0".into())));
    }
    // As long as before, with other blocks.
    assert_eq!((heard(&mut of_b), heard(&mut of_x)), (vec![Event::Changed], vec![Event::Changed]));
    still.append(["2"])?;
    assert_eq!(next(&mut of_x).await, Event::Append { length: 3 });
    Ok(())
}

#[tokio::test]
async fn sessions_in_an_atom_hear_of_it_at_once() -> Result<(), Error> {
    let store = Store::memory();
    let core = store.create()?;
    core.append(["0", "1"])?;
    for session in [core.clone(), draft(&core, "d")] {
        let atom = store.atom();
        let in_atom = session.in_atom(&atom)?;
        let (mut inside, mut outside) = (in_atom.subscribe(), session.subscribe());
        in_atom.append(["2"])?;
        assert_eq!(next(&mut inside).await, Event::Append { length: 3 });
        in_atom.truncate(1)?;
        assert_eq!(next(&mut inside).await, Event::Truncate { length: 1, fork: in_atom.fork() });
        assert_eq!(heard(&mut outside), []);
        atom.flush()?.durable().await?;
        assert_eq!(heard(&mut outside), [Event::Truncate { length: 1, fork: in_atom.fork() }]);
        assert_eq!(heard(&mut inside), [], "it was told");
        // What happens otherwise is seen, and told, when the atom is flushed.
        session.append(["2"])?;
        atom.flush()?;
        assert_eq!((in_atom.length(), next(&mut inside).await), (2, Event::Changed));
        // Blocks that are cut off are gone for the atom too.
        session.truncate(1)?;
        assert_eq!(next(&mut inside).await, Event::Changed);
    }
    Ok(())
}

#[test]
fn two_may_cut_at_once() -> Result<(), Error> {
    let core = Store::memory().create()?;
    for _ in 0..300 {
        core.append(["0", "1", "2", "3", "4"])?;
        let (barrier, fork) = (Barrier::new(2), core.fork());
        let cut = || {
            barrier.wait();
            core.truncate(0).map(|_| ())
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(cut);
            cut()?;
            other.join().expect("no panic")
        })?;
        assert_eq!((core.length(), core.fork()), (0, fork + 2));
    }
    Ok(())
}

#[test]
fn a_block_without_a_padding_is_an_empty_one() -> Result<(), Error> {
    let core = Store::memory().create()?;
    core.append(["short"])?;
    // As in JavaScript: whoever wrote it made it so.
    let encryption = BlockEncryption::new(&[1; 32], &core.key(), EncryptionMode::Core);
    assert_eq!(core.with_encryption(Some(encryption)).get(0)?, Some("".into()));
    Ok(())
}

#[test]
fn one_of_many_appends_the_first_block() -> Result<(), Error> {
    let core = Store::memory().create()?;
    assert!(core.append_up_to(1, ["0", "1"])?.is_none());
    for _ in 0..200 {
        let core = Store::memory().create()?;
        let barrier = Barrier::new(3);
        let first = || {
            barrier.wait();
            core.append_up_to(1, ["first"]).expect("looked at").is_some()
        };
        let appended = std::thread::scope(|scope| {
            let all: Vec<_> = (0..3).map(|_| scope.spawn(first)).collect();
            all.into_iter().map(|thread| thread.join().expect("no panic")).filter(|&appended| appended).count()
        });
        assert_eq!((appended, core.length()), (1, 1));
    }
    core.append(["0"])?;
    // As in JavaScript, none of them or all.
    assert!(core.append_up_to(2, ["1", "2"])?.is_none());
    assert!(core.append_up_to(3, ["1", "2"])?.is_some());
    assert_eq!(core.length(), 3);
    Ok(())
}

fn is_waiting(future: Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test]
async fn one_session_of_a_core_is_exclusive() -> Result<(), Error> {
    let core = Store::memory().create()?;
    let first = core.clone().exclusive().await;
    let clone = first.clone().exclusive().await;
    let mut waiting = std::pin::pin!(core.clone().exclusive());
    assert!(is_waiting(waiting.as_mut()));
    drop(first);
    assert!(is_waiting(waiting.as_mut()), "a clone is the same session");
    // Neither who only reads nor who never asked waits, and a snapshot holds nothing up.
    let snapshot = clone.snapshot();
    core.clone().read_only().exclusive().await.get(0)?;
    core.append(["0"])?;
    clone.append(["1"])?;
    drop(clone);
    waiting.await.append(["2"])?;
    assert_eq!((core.length(), snapshot.length()), (3, 0));
    // Whoever gives up waiting is passed over.
    let held = core.clone().exclusive().await;
    drop(Box::pin(core.clone().exclusive()));
    drop(held);
    core.exclusive().await.append(["3"])?;
    Ok(())
}
