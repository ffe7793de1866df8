//! What peers are told of a core that is written here is on the disk.

use super::by_hand::{HONEST, NOW, Side};
use super::messages::{Message, Sync};
use crate::Store;
use crate::events::MAX_EVENTS;
use crate::storage::Memory;

fn store() -> Store {
    let store = Store::on_synced_by_hand(Box::<Memory>::default()).expect("opens");
    store.synchronise().expect("synchronises");
    store
}

/// Fork and length of all that is told: by lengths, and by the ends of the blocks.
fn told(side: &mut Side) -> Vec<(u64, u64)> {
    let fork = side.replicator.known.fork;
    let head = |message| match message {
        Message::Sync(Sync { fork, length, .. }) => Some((fork, length)),
        Message::Range { start, length, .. } => Some((fork, start + length)),
        _ => None,
    };
    side.says().into_iter().filter_map(head).collect()
}

#[test]
fn a_peer_that_comes_while_a_length_is_being_written_does_not_hear_of_it() {
    let store = store();
    let core = store.create().expect("core");
    // Another follows it already: what becomes of these writes is told, but not to who comes later.
    let _other = core.subscribe();
    core.append(["a", "b", "c"]).expect("append");
    core.clear(1, 2).expect("clear");
    let mut side = Side::new(core.clone());
    side.replicator.opened(HONEST, NOW);
    assert_eq!(told(&mut side), [(0, 0)]);
    store.synchronise().expect("synchronises");
    assert_eq!(told(&mut side), [(0, 3), (0, 1), (0, 3)]);
    // What comes later brings what was there with it.
    let core = store.create().expect("core");
    core.append(["a", "b", "c"]).expect("append");
    let mut side = Side::new(core.clone());
    side.replicator.opened(HONEST, NOW);
    core.append(["d"]).expect("append");
    assert_eq!(told(&mut side), [(0, 0)]);
    store.synchronise().expect("synchronises");
    core.append(["e"]).expect("append");
    assert_eq!(told(&mut side).last(), Some(&(0, 4)));
    assert_eq!(side.replicator.known.length, 4);
}

#[test]
fn however_much_happened_no_length_is_told_before_it_is_on_the_disk() {
    let store = store();
    let core = store.create().expect("core");
    store.synchronise().expect("synchronises");
    let mut side = Side::new(core.clone());
    side.replicator.opened(HONEST, NOW);
    assert_eq!(told(&mut side), [(0, 0)]);
    let times = MAX_EVENTS as u64 / 2 + 88;
    for index in 0..times {
        core.append(["block"]).expect("append");
        core.clear(index, index + 1).expect("clear");
    }
    store.synchronise().expect("synchronises");
    core.append(["not on the disk"]).expect("append");
    let heads = told(&mut side);
    assert!(heads.contains(&(0, times)), "{heads:?}");
    assert!(heads.iter().all(|&(_, length)| length <= times), "{heads:?}");
    store.synchronise().expect("synchronises");
    assert!(told(&mut side).contains(&(0, times + 1)));
    // Nor a history.
    core.truncate(9).expect("truncate");
    for index in 9..times {
        core.append(["other"]).expect("append");
        core.clear(index, index + 1).expect("clear");
    }
    store.synchronise().expect("synchronises");
    core.truncate(5).expect("truncate");
    let heads = told(&mut side);
    assert!(heads.contains(&(1, times)), "{heads:?}");
    assert!(heads.iter().all(|&(fork, length)| fork <= 1 && length <= times + 1), "{heads:?}");
}

#[test]
fn a_length_is_told_before_it_is_proven() {
    let store = store();
    let core = store.create().expect("core");
    store.synchronise().expect("synchronises");
    let mut side = Side::new(core.clone());
    side.replicator.opened(HONEST, NOW);
    assert_eq!(told(&mut side), [(0, 0)]);
    // On the disk, and the event of it has not come yet.
    side.replicator.proves(0, 2, NOW);
    assert_eq!(told(&mut side).first(), Some(&(0, 2)));
    side.replicator.proves(0, 1, NOW);
    side.replicator.proves(1, 3, NOW);
    side.replicator.on_event(&crate::Event::Append { length: 1 }, NOW);
    assert_eq!(side.replicator.known.length, 2);
    assert_eq!(told(&mut side), []);
}
