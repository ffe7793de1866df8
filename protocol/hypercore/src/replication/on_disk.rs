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
