//! What is asked of a peer that has some of the blocks, and at what cost.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use crypto::KeyPair;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::DownloadRange;
use super::by_hand::{HONEST, LIAR, NOW, Side, settle, sides};
use super::credit::MAX_WORDS;
use super::messages::{Message, Sync};
use super::peer::{Peer, SEGMENT};
use super::queue::{Can, MAX_LOOK};
use super::ranges::{MAX_LOOK_WORDS, Range, Search};
use super::replicator::Output;
use super::wants::Wants;
use crate::merkle::verify_fully_remote;
use crate::proof::{NodeRequest, Proof, Request, UpgradeProof, UpgradeRequest};
use crate::verifier::Verifier;
use crate::{Hypercore, Manifest, Node, Store, Verified};

const LONG: u64 = 1 << 50;

/// A core of which its owner signed that it has 2^50 blocks, which takes one node.
fn long_core() -> Hypercore {
    let keys = KeyPair::from_seed(&[7; 32]);
    let manifest = Manifest::single(keys.public_key);
    let verifier = Verifier::new(manifest.key(), manifest.clone()).expect("a verifier");
    let root = Node { index: LONG - 1, size: LONG, hash: [1; 32] };
    let upgrade =
        |signature| UpgradeProof { start: 0, length: LONG, nodes: vec![root], additional_nodes: Vec::new(), signature };
    let mut proof =
        Proof { manifest: Some(manifest.clone()), upgrade: Some(upgrade(Bytes::new())), ..Proof::default() };
    let signature = verifier.sign(&verify_fully_remote(None, &proof).expect("a tree"), &keys).expect("signed");
    proof.upgrade = Some(upgrade(signature));
    let core = Store::memory().get(&manifest.key()).expect("core");
    assert!(matches!(core.verify(&proof), Ok(Verified::Stored(_))));
    core
}

fn long_sync() -> Sync {
    Sync { length: LONG, remote_length: LONG, uploading: true, downloading: true, ..Sync::default() }
}

fn range_message(start: u64, length: u64) -> Message {
    Message::Range { drop: false, start, length }
}

/// The blocks that were asked for.
fn asked(side: &mut Side) -> Vec<u64> {
    let outputs = std::mem::take(&mut side.replicator.outputs);
    let block = |output| match output {
        Output::Send(_, Message::Request { request, .. }) => request.block.map(|block| block.index),
        _ => None,
    };
    outputs.into_iter().filter_map(block).collect()
}

/// The words that are looked at for a block of a peer, with what is found.
fn look(core: &Hypercore, peer: &Peer, words: usize) -> (usize, Option<u64>) {
    let asked = HashMap::new();
    let mut search = Search { core, id: HONEST, peer, asked: &asked, words, not_told: None };
    let mut range = Range::new(0, 0, None, oneshot::channel().0);
    let found = search.next(&mut range, &|_| true);
    (words - search.words, found)
}

#[test]
fn what_a_peer_does_not_have_costs_nothing() {
    let core = long_core();
    let mut peer = Peer::new(NOW);
    peer.remote = long_sync();
    let (words, found) = look(&core, &peer, MAX_LOOK_WORDS);
    assert!(found.is_none() && words < 10, "{words}");
    // One block at the end: its page, and what is before it.
    peer.set_range(LONG - 2, 1, true);
    let (words, found) = look(&core, &peer, MAX_LOOK_WORDS);
    assert!(words < 100, "{words}");
    assert_eq!(found, Some(LONG - 2));
}

/// What a search in a range of a core finds, of a peer of which `said` tells, and of which block it is not told.
fn found(
    here: (u64, u64),
    (start, end): (u64, Option<u64>),
    said: impl FnOnce(&mut Peer),
    askable: impl Fn(u64) -> bool,
) -> (Option<u64>, Option<u64>) {
    let (core, mut peer, asked) = (long_core(), Peer::new(NOW), HashMap::new());
    core.set_here(here.0, here.1);
    peer.remote = long_sync();
    said(&mut peer);
    let mut search =
        Search { core: &core, id: HONEST, peer: &peer, asked: &asked, words: MAX_LOOK_WORDS, not_told: None };
    let found = search.next(&mut Range::new(0, start, end, oneshot::channel().0), &askable);
    (found, search.not_told)
}

#[test]
fn a_search_stays_in_its_range() {
    let all = |peer: &mut Peer| peer.set_range(0, 1000, true);
    assert_eq!(found((0, 0), (50, Some(60)), all, |_| true).0, Some(50));
    assert_eq!(found((0, 0), (50, Some(60)), all, |index| !(50..60).contains(&index)), (None, None));
    // In the next words, not only in the first.
    for expected in [63, 64, 130] {
        assert_eq!(found((0, 0), (50, Some(200)), all, |index| index == expected).0, Some(expected));
    }
    // Blocks that cannot be asked for are tried, but not without end.
    let tried = Cell::new(0);
    found(
        (0, 0),
        (0, None),
        |peer| peer.set_range(0, LONG, true),
        |_| {
            tried.set(tried.get() + 1);
            false
        },
    );
    assert!((200..400).contains(&tried.get()), "{tried:?}");
}

#[test]
fn a_peer_is_asked_about_what_it_has_not_said() {
    let nothing = |_: &mut Peer| {};
    assert_eq!(found((0, 10), (0, Some(10)), nothing, |_| true), (None, None));
    assert_eq!(found((0, 10), (0, Some(11)), nothing, |_| true), (None, Some(10)));
    // Also behind what is here, and though it has something that is here.
    let far = |peer: &mut Peer| peer.set_range(1 << 30, 1, true);
    assert_eq!(found((0, 64), (0, None), far, |_| true), (Some(1 << 30), Some(64)));
    assert_eq!(found((1 << 30, (1 << 30) + 64), (0, None), far, |_| true), (None, Some(0)));
    // Of a segment that it was asked about it says all: the next is asked about, but what it said is not passed over.
    let first = |peer: &mut Peer| assert_eq!(peer.want(0), Some(0));
    assert_eq!(found((0, 0), (0, None), first, |_| true), (None, Some(SEGMENT)));
    let said = |peer: &mut Peer| {
        first(peer);
        peer.set_range(100_000, 1, true);
    };
    assert_eq!(found((0, 0), (0, None), said, |_| true), (Some(100_000), None));
}

#[test]
fn what_a_bitfield_says_is_asked_for() {
    let mut copy = with_shorter(200, &[], 200);
    copy.hears(vec![Message::Range { drop: true, start: 0, length: 200 }]);
    let _waits = copy.replicator.wants.add_block(70);
    let (_, _some) = copy.replicator.wants.add_range(DownloadRange { start: 40, end: Some(42) });
    copy.replicator.look(HONEST, NOW);
    assert!(asked(&mut copy).is_empty());
    copy.hears(vec![Message::Bitfield { start: 0, words: vec![0, 1 << 8, 1 << 6] }]);
    assert_eq!(asked(&mut copy), [70, 40]);
}

#[test]
fn what_is_looked_at_counts_and_is_bounded() {
    const MANY: u64 = 3 * MAX_LOOK as u64;
    let mut wants = Wants::default();
    let _waits: Vec<_> = (0..MANY).map(|index| wants.add_block(index)).collect();
    assert_eq!(wants.next_queued(HONEST, |_| Can::Not), (None, true));
    assert_eq!(wants.take_words(), MAX_LOOK as u64);
    wants.look_at(HONEST, 0, u64::MAX);
    assert_eq!(wants.take_words(), 1);
    wants.look_at(HONEST, 5, 10);
    assert_eq!(wants.take_words(), 5);
    wants.asked(0);
    wants.look_at(HONEST, 0, 1);
    wants.look_at(HONEST, 7, u64::MAX);
    assert!(wants.take_words() <= MAX_LOOK as u64 + 2);
}

#[test]
fn nothing_is_remembered_of_a_peer_that_is_gone() {
    let mut copy = with_shorter(8, &[], 8);
    let _waits = copy.replicator.wants.add_block(3);
    let (_, _all) = copy.replicator.wants.add_range(DownloadRange::default());
    copy.replicator.update_all(NOW);
    assert!(copy.replicator.wants.remembers(HONEST));
    copy.replicator.closed(HONEST, NOW);
    assert!(!copy.replicator.wants.remembers(HONEST));
}

#[test]
fn a_search_that_is_cut_short_goes_on() {
    const MANY: u64 = 1 << 22;
    let core = long_core();
    core.set_here(1, MANY);
    let mut copy = Side::new(core);
    copy.replicator.opened(HONEST, NOW);
    let (_, _all) = copy.replicator.wants.add_range(DownloadRange::default());
    let say = [Message::Sync(long_sync()), range_message(1, MANY - 1), range_message(MANY + 5, 1)];
    copy.hears(say.into());
    assert!(asked(&mut copy).is_empty());
    let goes = MANY as usize / 64 / MAX_LOOK_WORDS;
    for _ in 0..goes {
        assert!(copy.replicator.needs_tick());
        copy.replicator.tick(NOW);
    }
    assert_eq!(asked(&mut copy), [MANY + 5]);
}

#[test]
fn the_search_ends_where_there_is_nothing() {
    const MANY: u64 = 1 << 22;
    let core = long_core();
    core.set_here(1, MANY);
    let mut copy = Side::new(core);
    copy.replicator.opened(HONEST, NOW);
    let (_, _all) = copy.replicator.wants.add_range(DownloadRange::default());
    copy.hears(vec![Message::Sync(long_sync()), range_message(1, MANY - 1)]);
    let mut ticks = 0;
    while copy.replicator.needs_tick() {
        assert_eq!(copy.replicator.tick(NOW).is_none(), !copy.replicator.needs_tick());
        ticks += 1;
        assert!(ticks < 10, "it looks again and again");
    }
    assert!(asked(&mut copy).is_empty());
    // What it says then is seen.
    copy.hears(vec![range_message(0, 1)]);
    assert_eq!(asked(&mut copy), [0]);
}

#[test]
fn a_peer_that_says_the_same_again_and_again_is_searched_less_often() {
    const MANY: u64 = 1 << 22;
    let core = long_core();
    core.set_here(1, MANY);
    let mut copy = Side::new(core);
    for peer in [HONEST, LIAR] {
        copy.replicator.opened(peer, NOW);
    }
    let (_, _all) = copy.replicator.wants.add_range(DownloadRange::default());
    copy.hears(vec![Message::Sync(long_sync()), range_message(1, MANY - 1)]);
    // Each of these is about all that is here.
    copy.hears((0..MAX_WORDS / MAX_LOOK_WORDS as u64).map(|_| range_message(1, 1)).collect());
    assert!(asked(&mut copy).is_empty());
    // That it has more is seen, but not at once.
    copy.hears(vec![range_message(0, 1), Message::Sync(long_sync())]);
    assert!(asked(&mut copy).is_empty() && copy.replicator.tick(NOW) > Some(NOW));
    // Of no other.
    for message in [Message::Sync(long_sync()), range_message(MANY, 1)] {
        copy.replicator.on_message(LIAR, message, NOW);
    }
    assert_eq!(asked(&mut copy), [MANY]);
    copy.replicator.tick(Duration::from_millis(250));
    assert_eq!(asked(&mut copy), [0]);
}

#[test]
fn what_waits_is_found_though_the_peer_says_more_and_more() {
    const MANY: u64 = 4 * MAX_LOOK as u64;
    let mut copy = with_shorter(2 * MANY, &[], 0);
    let _waits: Vec<_> = (0..MANY).map(|index| copy.replicator.wants.add_block(index)).collect();
    let sync =
        Sync { length: 2 * MANY, remote_length: 2 * MANY, uploading: true, downloading: true, ..Sync::default() };
    copy.hears(vec![range_message(MANY - 1, 1), Message::Sync(sync)]);
    assert!(asked(&mut copy).is_empty(), "not all is looked at in one go");
    // Nobody waits for these.
    for index in MANY..MANY + 8 {
        copy.hears(vec![range_message(index, 1)]);
        copy.replicator.tick(NOW);
    }
    assert_eq!(asked(&mut copy), [MANY - 1]);
    // What it says of one that waits is seen at once, wherever that is.
    copy.hears(vec![range_message(MANY / 2, 1)]);
    assert_eq!(asked(&mut copy), [MANY / 2]);
}

/// A copy that knows the length of a core of `length` blocks, has those `here`, and a peer with the first `theirs`.
pub(super) fn with_shorter(length: u64, here: &[u64], theirs: u64) -> Side {
    let source = Store::memory().create().expect("core");
    source.append((0..length).map(|index| format!("block {index}"))).expect("append");
    let copy = Store::memory().get(&source.key()).expect("core");
    let take = |request: Request| {
        let proof = source.proof(&request).now_or_never().expect("memory").expect("a proof");
        assert!(matches!(copy.verify(&proof), Ok(Verified::Stored(_))));
    };
    take(Request { upgrade: Some(UpgradeRequest { start: 0, length }), manifest: true, ..Request::default() });
    for &index in here {
        let nodes = copy.missing_nodes(2 * index).expect("nodes");
        take(Request { block: Some(NodeRequest { index, nodes }), ..Request::default() });
    }
    let mut copy = Side::new(copy);
    copy.replicator.opened(HONEST, NOW);
    let sync = Sync { length: theirs, remote_length: length, uploading: true, downloading: true, ..Sync::default() };
    copy.hears(vec![Message::Sync(sync), range_message(0, theirs)]);
    copy.replicator.outputs.clear();
    copy
}

#[test]
fn a_block_that_cannot_be_proven_holds_up_no_other() {
    let mut copy = with_shorter(7, &[], 5);
    let _waits: Vec<_> = [4, 0].map(|index| copy.replicator.wants.add_block(index)).into();
    copy.replicator.update_all(NOW);
    assert_eq!(asked(&mut copy), [0]);
    // When it has all, it can prove it.
    let sync = Sync { length: 7, remote_length: 7, uploading: true, downloading: true, ..Sync::default() };
    copy.hears(vec![Message::Sync(sync)]);
    assert_eq!(asked(&mut copy), [4]);
}

#[test]
fn a_range_goes_on_behind_what_cannot_be_proven() {
    // The trees of the four at the front and of the pair behind them are parts of both, but only one of the pair is here.
    let mut copy = with_shorter(8, &[5], 7);
    let (_, _all) = copy.replicator.wants.add_range(DownloadRange::default());
    copy.replicator.update_all(NOW);
    assert_eq!(asked(&mut copy), [4]);
    assert!(!copy.replicator.peers[&HONEST].looking);
    // With all of it, the peer can prove the rest.
    let sync = Sync { length: 8, remote_length: 8, uploading: true, downloading: true, ..Sync::default() };
    copy.hears(vec![Message::Sync(sync), range_message(7, 1)]);
    assert_eq!(asked(&mut copy), [0, 1, 2, 3, 6, 7]);
}

#[test]
fn nobody_waits_for_a_history_without_blocks() {
    let (mut source, mut copy) = sides();
    settle(&mut source, &mut copy);
    source.core().truncate(0).expect("truncate");
    copy.hears(source.says());
    assert_eq!(copy.replicator.peers[&HONEST].remote.fork, 1);
    assert!(!copy.replicator.is_behind());
    // With some it is asked for.
    source.core().append(["other"]).expect("append");
    copy.hears(source.says());
    assert!(copy.replicator.is_behind());
    // Who refuses it is asked later; until then there is nothing to wait for.
    let request = *copy.replicator.inflight.keys().next().expect("asked");
    copy.hears(vec![Message::NoData { request, reason: None }]);
    assert!(!copy.replicator.is_behind());
    copy.replicator.tick(Duration::from_millis(250));
    assert!(copy.replicator.is_behind());
}
