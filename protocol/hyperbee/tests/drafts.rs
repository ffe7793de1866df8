//! Trees in drafts, whose blocks change under one fork.

use std::task::{Context, Waker};
use std::time::Duration;

use hyperbee::{Hyperbee, Log, Range, Watcher};
use hypercore::{DraftOptions, Hypercore, Store};

async fn value(bee: &Hyperbee<Hypercore>, key: &str) -> Option<String> {
    let entry = bee.get(key).await.expect("get")?;
    Some(String::from_utf8(entry.value.expect("a value").to_vec()).expect("text"))
}

async fn put(bee: &Hyperbee<Hypercore>, keys: std::ops::Range<u32>, value: &str) {
    for key in keys {
        bee.put(format!("k{key}"), value).await.expect("put");
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("something happened")
}

fn is_waiting(watcher: &mut Watcher<Hypercore>) -> bool {
    std::pin::pin!(watcher.next()).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn draft(core: &Hypercore, name: &str, checkout: Option<u64>) -> Hypercore {
    core.draft(name, DraftOptions { checkout, ..DraftOptions::default() }).expect("a draft")
}

#[tokio::test]
async fn a_draft_that_is_cut_and_grows_again_is_read_anew() {
    let store = Store::memory();
    let core = store.create().expect("a core");
    let bee = Hyperbee::new(draft(&core, "d", None));
    put(&bee, 0..5, "before").await;
    let mut batch = bee.batch();
    batch.put("k9", Some("before")).await.expect("put");
    let (before, fork) = (bee.snapshot(), bee.log().fork());

    // The header and two keys stay.
    let other = Hyperbee::new(draft(&core, "d", Some(3)));
    put(&other, 2..5, "after").await;
    assert_eq!((bee.log().length(), bee.log().fork()), (before.version(), fork), "only the blocks are others");

    assert!(matches!(batch.flush().await, Err(hyperbee::Error::Changed)));
    for (key, expected) in ["before", "before", "after", "after", "after"].into_iter().enumerate() {
        let key = format!("k{key}");
        assert_eq!(value(&bee, &key).await.as_deref(), Some(expected), "{key}");
        assert_eq!(value(&before, &key).await.as_deref(), Some("before"), "{key} before");
    }
}

#[tokio::test]
async fn a_session_that_moved_reads_where_it_is() {
    let store = Store::memory();
    let [one, other] = [(); 2].map(|()| draft(&store.create().expect("a core"), "d", None));
    put(&Hyperbee::new(other.clone()), 0..3, "there").await;
    let moving = Hyperbee::new(one.clone());
    put(&moving, 0..3, "here").await;
    let back = Hyperbee::new(one.clone());
    assert_eq!(value(&moving, "k1").await.as_deref(), Some("here"));
    one.move_to(&other).expect("moved");
    assert_eq!(value(&moving, "k1").await.as_deref(), Some("there"));
    assert_eq!(value(&back, "k1").await.as_deref(), Some("there"));
}

#[tokio::test]
async fn a_tree_in_an_atom_is_read_anew_after_its_core_was_cut() {
    let store = Store::memory();
    let core = store.create().expect("a core");
    let bee = Hyperbee::new(core.clone());
    put(&bee, 0..3, "before").await;
    let atom = store.atom();
    let in_atom = Hyperbee::new(core.in_atom(&atom).expect("in the atom"));
    assert_eq!(value(&in_atom, "k2").await.as_deref(), Some("before"));
    let epoch = Log::epoch(&core);
    core.truncate(2).expect("cut");
    assert!(Log::epoch(&core) > epoch);
    put(&bee, 1..3, "after").await;
    // It changes nothing, and sees what happened.
    atom.flush().expect("flushed");
    assert_eq!(value(&in_atom, "k2").await.as_deref(), Some("after"));

    put(&in_atom, 2..3, "in the atom").await;
    in_atom.log().truncate(1).expect("cut");
    put(&in_atom, 0..3, "cut in the atom").await;
    assert_eq!(value(&bee, "k2").await.as_deref(), Some("after"));
    atom.flush().expect("flushed");
    for bee in [&bee, &in_atom] {
        assert_eq!(value(bee, "k2").await.as_deref(), Some("cut in the atom"));
    }
}

#[tokio::test]
async fn a_watcher_in_an_atom_hears_of_the_atom_and_of_what_happens_otherwise() {
    let store = Store::memory();
    let core = store.create().expect("a core");
    let bee = Hyperbee::new(core.clone());
    put(&bee, 0..3, "before").await;
    let atom = store.atom();
    let in_atom = Hyperbee::new(core.in_atom(&atom).expect("in the atom"));
    let mut inside = in_atom.watch(Range::default());
    let mut outside = bee.watch(Range::default());
    assert!(is_waiting(&mut inside));

    // It waits when the atom changes something, and nobody else hears of that.
    let (changed, ()) = tokio::join!(within(inside.next()), put(&in_atom, 1..2, "in the atom"));
    let (now, then) = changed.expect("watched");
    assert_eq!(value(&now, "k1").await.as_deref(), Some("in the atom"));
    assert_eq!(value(&then, "k1").await.as_deref(), Some("before"));
    assert!(is_waiting(&mut outside));
    let (changed, _) = tokio::join!(within(outside.next()), async { atom.flush().expect("flushed") });
    let (now, _) = changed.expect("watched");
    assert_eq!(value(&now, "k1").await.as_deref(), Some("in the atom"));
    assert!(is_waiting(&mut inside), "it was told");

    // What happens otherwise is seen when the atom is flushed.
    put(&bee, 2..3, "otherwise").await;
    assert!(is_waiting(&mut inside));
    let (changed, _) = tokio::join!(within(inside.next()), async { atom.flush().expect("flushed") });
    let (now, _) = changed.expect("watched");
    assert_eq!(value(&now, "k2").await.as_deref(), Some("otherwise"));
}
