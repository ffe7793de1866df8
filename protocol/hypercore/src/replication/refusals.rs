//! A peer that does not give what it should have is not asked again and again.

use std::time::Duration;

use super::DownloadRange;
use super::by_hand::{HONEST, LIAR, NOW, Side, assert_same, settle, sides};
use super::looking::with_shorter;
use super::messages::{Message, Sync};
use super::peer::MAX_REFUSALS;
use super::replicator::{Output, Replicator};
use crate::Store;

fn claim(fork: u64, length: u64) -> Message {
    Message::Sync(Sync { fork, length, uploading: true, downloading: true, ..Sync::default() })
}

/// Refuses all that is asked of the peer at this time, and what is asked thereupon. How often that was.
fn refuse(replicator: &mut Replicator, peer: u64, now: Duration) -> usize {
    let mut times = 0;
    while let Some((&request, _)) = replicator.inflight.iter().find(|(_, asked)| asked.peer == peer) {
        times += 1;
        assert!(times < 1000, "it is asked without end");
        replicator.on_message(peer, Message::NoData { request, reason: None }, now);
    }
    times
}

/// How often the peer is asked in two minutes if it refuses everything.
fn refused_in_two_minutes(side: &mut Side, peer: u64) -> usize {
    let mut times = refuse(&mut side.replicator, peer, NOW);
    assert_eq!(times, 1, "it is asked again at once");
    for tick in 1..480 {
        let now = Duration::from_millis(250 * tick);
        side.replicator.tick(now);
        times += refuse(&mut side.replicator, peer, now);
    }
    assert!(!side.replicator.needs_tick(), "nothing is left to look after");
    times
}

#[test]
fn a_history_that_is_refused_is_asked_for_with_pauses_and_then_no_more() {
    let (mut source, mut copy) = sides();
    settle(&mut source, &mut copy);
    copy.replicator.opened(LIAR, NOW);
    copy.replicator.on_message(LIAR, claim(1, 5000), NOW);
    assert_eq!(refused_in_two_minutes(&mut copy, LIAR), MAX_REFUSALS as usize);
    source.truncate(37);
    settle(&mut source, &mut copy);
    assert_same(&source, &copy);
}

#[test]
fn a_history_that_was_refused_once_comes_after_a_pause() {
    let (mut source, mut copy) = sides();
    settle(&mut source, &mut copy);
    source.truncate(37);
    copy.hears(source.says());
    assert_eq!(refuse(&mut copy.replicator, HONEST, NOW), 1);
    assert!(copy.replicator.needs_tick());
    copy.replicator.tick(Duration::from_millis(250));
    settle(&mut source, &mut copy);
    assert_same(&source, &copy);
}

#[test]
fn a_seek_that_is_refused_is_asked_for_with_pauses_and_then_no_more() {
    let core = Store::memory().create().expect("core");
    core.append((0..100).map(|index| format!("block {index}"))).expect("append");
    let copy = Store::memory().get(&core.key()).expect("core");
    let (mut source, mut copy) = (Side::new(core), Side::new(copy));
    source.replicator.opened(HONEST, NOW);
    copy.replicator.opened(HONEST, NOW);
    settle(&mut source, &mut copy);
    assert_eq!(copy.core().length(), 100);
    let _found = copy.replicator.wants.add_seek(321, 0);
    copy.replicator.update_all(NOW);
    assert_eq!(refused_in_two_minutes(&mut copy, HONEST), MAX_REFUSALS as usize);
}

#[test]
fn a_manifest_that_one_peer_owes_for_long_is_asked_of_another() {
    let key = Store::memory().create().expect("core").key();
    let mut side = Side::new(Store::memory().get(&key).expect("core"));
    for peer in [HONEST, LIAR] {
        side.replicator.opened(peer, NOW);
        let sync = Sync { has_manifest: true, uploading: true, downloading: true, ..Sync::default() };
        side.replicator.on_message(peer, Message::Sync(sync), NOW);
    }
    let owes = |side: &Side| side.replicator.inflight.values().map(|asked| asked.peer).collect::<Vec<_>>();
    assert_eq!(owes(&side), [HONEST]);
    side.replicator.tick(Duration::from_secs(2));
    assert_eq!(owes(&side), [HONEST]);
    side.replicator.outputs.clear();
    side.replicator.tick(Duration::from_secs(4));
    assert_eq!(owes(&side), [LIAR]);
    assert!(matches!(side.replicator.outputs[0], Output::Send(HONEST, Message::Cancel { .. })));
}

#[test]
fn what_one_refuses_is_asked_of_another() {
    for is_range in [false, true] {
        let mut copy = with_shorter(10, &[], 10);
        let (mut waits, mut range) = (None, None);
        if is_range {
            range = Some(copy.replicator.wants.add_range(DownloadRange { start: 3, end: Some(4) }));
        } else {
            waits = Some(copy.replicator.wants.add_block(3));
        }
        copy.replicator.update_all(NOW);
        copy.replicator.opened(LIAR, NOW);
        let sync = Sync { length: 10, remote_length: 10, uploading: true, downloading: true, ..Sync::default() };
        for message in [Message::Sync(sync), Message::Range { drop: false, start: 0, length: 10 }] {
            copy.replicator.on_message(LIAR, message, NOW);
        }
        assert!(copy.replicator.inflight.values().all(|asked| asked.peer == HONEST));
        assert_eq!(refuse(&mut copy.replicator, HONEST, NOW), 1);
        let asked: Vec<_> =
            copy.replicator.inflight.values().map(|a| (a.peer, a.request.block.map(|block| block.index))).collect();
        assert_eq!(asked, [(LIAR, Some(3))]);
        drop((waits, range));
    }
}
