//! What peers are told of blocks: enough, and no more than JavaScript tells.

use super::by_hand::{HONEST, NOW, Side, settle, sides};
use super::messages::Message;
use super::peer::SEGMENT;
use crate::Store;

fn ranges(side: &mut Side) -> Vec<(bool, u64, u64)> {
    let range = |message| match message {
        Message::Range { drop, start, length } => Some((drop, start, length)),
        _ => None,
    };
    side.says().into_iter().filter_map(range).collect()
}

fn hear(side: &mut Side, message: Message) {
    side.replicator.on_message(HONEST, message, NOW);
}

/// A core of 2000 blocks without the first two, and a peer that has nothing.
fn sparse() -> Side {
    let core = Store::memory().create().expect("core");
    core.append((0..2000).map(|index| format!("block {index}"))).expect("append");
    core.clear(0, 2).expect("clear");
    let mut side = Side::new(core);
    side.says();
    side.replicator.opened(HONEST, NOW);
    side.says();
    side
}

#[test]
fn blocks_of_an_append_are_told_though_some_were_cleared_at_once() {
    let (mut source, mut copy) = sides();
    settle(&mut source, &mut copy);
    source.core().append((0..50).map(|index| format!("more {index}"))).expect("append");
    source.core().clear(120, 121).expect("clear");
    settle(&mut source, &mut copy);
    let missing: Vec<u64> = (0..150).filter(|&index| !copy.core().has(index)).collect();
    assert_eq!(missing, [120]);
    // So many gaps that the whole is told at once.
    source.core().append((0..300).map(|index| format!("yet more {index}"))).expect("append");
    for index in (150..450).step_by(2) {
        source.core().clear(index, index + 1).expect("clear");
    }
    settle(&mut source, &mut copy);
    let missing: Vec<u64> = (150..450).filter(|&index| !copy.core().has(index)).collect();
    assert_eq!(missing, (150..450).step_by(2).collect::<Vec<_>>());
}

#[test]
fn what_comes_far_from_the_end_is_told_to_those_who_want_it() {
    let mut side = sparse();
    side.replicator.tell_range(10, 1, false);
    side.replicator.tell_range(1990, 1, false);
    assert_eq!(ranges(&mut side), [(false, 1990, 1)]);
    hear(&mut side, Message::Want { start: 0, length: SEGMENT, any: false });
    assert!(matches!(side.says()[..], [Message::Bitfield { start: 0, .. }]));
    side.replicator.tell_range(10, 1, false);
    assert_eq!(ranges(&mut side), [(false, 10, 1)]);
    hear(&mut side, Message::Unwant { start: 0, length: SEGMENT, any: false });
    side.replicator.tell_range(10, 1, false);
    assert_eq!(ranges(&mut side), []);
    // What goes is told to all.
    side.replicator.tell_range(10, 1, true);
    assert_eq!(ranges(&mut side), [(true, 10, 1)]);
}

#[test]
fn when_everything_is_here_all_hear_of_everything() {
    let mut side = sparse();
    let whole = Store::memory().create().expect("core");
    whole.append((0..2000).map(|index| format!("block {index}"))).expect("append");
    let mut side_of_whole = Side::new(whole);
    side_of_whole.says();
    side_of_whole.replicator.opened(HONEST, NOW);
    assert_eq!(ranges(&mut side_of_whole), [(false, 0, 2000)]);
    side_of_whole.core().append(["one", "two"]).expect("append");
    assert_eq!(ranges(&mut side_of_whole), [(false, 2000, 2)]);
    // One that did not hear of the first parts, because it did not ask.
    side.replicator.peers.get_mut(&HONEST).expect("a peer").told = 0;
    side_of_whole.replicator.peers.get_mut(&HONEST).expect("a peer").told = 7;
    side_of_whole.core().append(["three"]).expect("append");
    assert_eq!(ranges(&mut side_of_whole), [(false, 0, 2003)]);
}

#[test]
fn small_wishes_have_small_answers() {
    let mut side = sparse();
    hear(&mut side, Message::Want { start: 64, length: 32, any: false });
    match &side.says()[..] {
        [Message::Bitfield { start: 64, words }] => assert_eq!(words[..], [u32::MAX]),
        other => panic!("{other:?}"),
    }
    hear(&mut side, Message::Want { start: 0, length: 100, any: true });
    assert_eq!(ranges(&mut side), [(false, 2, 1)]);
    hear(&mut side, Message::Want { start: 0, length: 2 * SEGMENT, any: false });
    assert!(side.says().is_empty());
    // A wish beyond the end is remembered, and answered by what there is.
    hear(&mut side, Message::Want { start: SEGMENT, length: SEGMENT, any: false });
    assert!(side.says().is_empty());
}
