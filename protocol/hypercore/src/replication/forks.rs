//! The order in which messages of two histories arrive loses nothing.

use std::time::Duration;

use bytes::Bytes;

use super::by_hand::{LIAR, NOW, assert_same, settle, sides};
use super::messages::{Message, Sync};
use crate::proof::{Proof, UpgradeProof};

#[test]
fn blocks_that_were_asked_of_the_old_history_are_asked_of_the_new() {
    let (mut source, mut copy) = sides();
    let asked = copy.says();
    assert!(asked.iter().filter(|message| matches!(message, Message::Request { .. })).count() > 50);
    source.hears(asked);
    source.truncate(70);
    // It tells of all that it has now, and then refuses what it is no longer able to prove.
    copy.hears(source.says());
    let refused = source.answers();
    assert!(refused.iter().any(|message| matches!(message, Message::NoData { .. })));
    copy.hears(refused);
    settle(&mut source, &mut copy);
    assert_same(&source, &copy);
}

#[test]
fn what_a_peer_has_of_its_new_history_is_asked_anew() {
    let (mut source, mut copy) = sides();
    settle(&mut source, &mut copy);
    source.truncate(70);
    // With a gap, what was appended is not told of as one range.
    source.core().clear(100, 101).expect("clear");
    settle(&mut source, &mut copy);
    assert_eq!((copy.core().fork(), copy.core().length()), (1, 150));
    let missing: Vec<u64> = (0..150).filter(|&index| !copy.core().has(index)).collect();
    assert_eq!(missing, [100]);
}

#[test]
fn an_answer_about_an_overtaken_history_does_not_end_the_search() {
    let (mut source, mut copy) = sides();
    settle(&mut source, &mut copy);
    source.truncate(37);
    copy.hears(source.says());
    source.hears(copy.says());
    let late = source.answers();
    assert!(late.iter().any(|message| matches!(message, Message::Data { .. })));
    source.truncate(50);
    copy.hears(source.says());
    copy.hears(late);
    settle(&mut source, &mut copy);
    assert_same(&source, &copy);
}

#[test]
fn a_newer_history_that_one_peer_owes_for_long_is_asked_of_another() {
    let (mut source, mut copy) = sides();
    settle(&mut source, &mut copy);
    copy.replicator.opened(LIAR, NOW);
    let claim = Sync { fork: 1, length: 5000, uploading: true, downloading: true, ..Sync::default() };
    copy.replicator.on_message(LIAR, Message::Sync(claim), NOW);
    source.truncate(37);
    settle(&mut source, &mut copy);
    assert_eq!(copy.core().fork(), 0);
    copy.replicator.tick(Duration::from_secs(4));
    settle(&mut source, &mut copy);
    assert_same(&source, &copy);
}

#[test]
fn a_claim_that_is_not_proven_holds_up_no_honest_peer() {
    let upgrade = UpgradeProof {
        start: 0,
        length: 5000,
        nodes: Vec::new(),
        additional_nodes: Vec::new(),
        signature: Bytes::new(),
    };
    for upgrade in [None, Some(upgrade)] {
        let proof = Proof { fork: 1, upgrade, ..Proof::default() };
        let (mut source, mut copy) = sides();
        settle(&mut source, &mut copy);
        copy.replicator.opened(LIAR, NOW);
        let claim = Sync { fork: 1, length: 5000, uploading: true, downloading: true, ..Sync::default() };
        copy.replicator.on_message(LIAR, Message::Sync(claim), NOW);
        let asked = copy.replicator.inflight.iter().find(|(_, asked)| asked.peer == LIAR).map(|(&id, _)| id);
        source.truncate(37);
        copy.hears(source.says());
        let data = Message::Data { request: asked.expect("asked"), proof: Box::new(proof) };
        copy.replicator.on_message(LIAR, data, NOW);
        settle(&mut source, &mut copy);
        assert_same(&source, &copy);
    }
}
