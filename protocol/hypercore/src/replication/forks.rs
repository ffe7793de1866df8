//! The order in which messages of two histories arrive loses nothing.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::DownloadRange;
use super::messages::{Message, Sync};
use super::replicator::{Output, Replicator};
use crate::events::Events;
use crate::proof::{Proof, Request, UpgradeProof};
use crate::{Hypercore, Store};

const NOW: Duration = Duration::ZERO;
const HONEST: u64 = 1;
const LIAR: u64 = 2;

/// A state machine whose messages are carried by hand.
struct Side {
    replicator: Replicator,
    events: Events,
}

impl Side {
    fn new(core: Hypercore) -> Self {
        let events = core.subscribe();
        let mut replicator = Replicator::new(core);
        replicator.downloading = true;
        Self { replicator, events }
    }

    fn core(&self) -> &Hypercore {
        &self.replicator.core
    }

    fn truncate(&self, length: u64) {
        self.core().truncate(length).expect("truncate");
        let other = (0..80).map(|index| format!("fork {} block {index}", self.core().fork()));
        self.core().append(other).expect("append");
    }

    /// What it says of itself, without answers.
    fn says(&mut self) -> Vec<Message> {
        while let Some(event) = self.events.try_next() {
            self.replicator.on_event(&event, NOW);
        }
        let outputs = std::mem::take(&mut self.replicator.outputs);
        let sent = |output| match output {
            Output::Send(HONEST, message) => Some(message),
            _ => None,
        };
        outputs.into_iter().filter_map(sent).collect()
    }

    /// Its answers to what it was asked.
    fn answers(&mut self) -> Vec<Message> {
        let fork = self.replicator.known.fork;
        let peer = self.replicator.peers.get_mut(&HONEST).expect("a peer");
        let requests = std::mem::take(&mut peer.requests);
        let answer = |(request, about, asked): (u64, u64, Request)| {
            let missing = asked.block.is_some_and(|block| !self.core().has(block.index));
            if about != fork || missing {
                return Message::NoData { request, reason: None };
            }
            let proof = self.core().proof(&asked).now_or_never().expect("memory").expect("a proof");
            Message::Data { request, proof: Box::new(proof) }
        };
        requests.into_iter().map(answer).collect()
    }

    fn hears(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.replicator.on_message(HONEST, message, NOW);
        }
    }
}

fn settle(source: &mut Side, copy: &mut Side) {
    loop {
        let (mut down, up) = (source.says(), copy.says());
        down.extend(source.answers());
        if down.is_empty() && up.is_empty() {
            return;
        }
        copy.hears(down);
        source.hears(up);
    }
}

/// A core of 100 blocks and one that downloads it, which knows its length.
fn sides() -> (Side, Side) {
    let source = Store::memory().create().expect("core");
    source.append((0..100).map(|index| format!("block {index}"))).expect("append");
    let copy = Store::memory().get(&source.key()).expect("core");
    let (mut source, mut copy) = (Side::new(source), Side::new(copy));
    let (_, _all) = copy.replicator.wants.add_range(DownloadRange::default());
    // Asks what the peer has before that says it: it is asked once.
    let _last = copy.replicator.wants.add_block(99);
    source.replicator.opened(HONEST, NOW);
    copy.replicator.opened(HONEST, NOW);
    while copy.core().length() == 0 {
        let (down, up) = (source.says(), copy.says());
        copy.hears(down);
        source.hears(up);
        copy.hears(source.answers());
    }
    (source, copy)
}

fn assert_same(source: &Side, copy: &Side) {
    let length = source.core().length();
    assert_eq!((copy.core().fork(), copy.core().contiguous_length()), (source.core().fork(), length));
    assert_eq!(copy.core().tree_hash(length).expect("hash"), source.core().tree_hash(length).expect("hash"));
}

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
