//! Two state machines whose messages are carried by hand.

use std::time::Duration;

use futures_util::FutureExt;

use super::DownloadRange;
use super::messages::Message;
use super::replicator::{Output, Replicator};
use crate::events::Events;
use crate::proof::Request;
use crate::sync::Ticket;
use crate::{Hypercore, Store};

pub(crate) const NOW: Duration = Duration::ZERO;
pub(crate) const HONEST: u64 = 1;
pub(crate) const LIAR: u64 = 2;

pub(crate) struct Side {
    pub(crate) replicator: Replicator,
    events: Events,
    ticket: Ticket,
}

impl Side {
    pub(crate) fn new(core: Hypercore) -> Self {
        let (mut replicator, events, ticket) = Replicator::follow(core);
        replicator.downloading = true;
        Self { replicator, events, ticket }
    }

    pub(crate) fn core(&self) -> &Hypercore {
        &self.replicator.core
    }

    pub(crate) fn truncate(&self, length: u64) {
        self.core().truncate(length).expect("truncate");
        let other = (0..80).map(|index| format!("fork {} block {index}", self.core().fork()));
        self.core().append(other).expect("append");
    }

    /// What it says of itself, without answers.
    pub(crate) fn says(&mut self) -> Vec<Message> {
        if self.ticket.is_durable() {
            self.replicator.settle();
        }
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
    pub(crate) fn answers(&mut self) -> Vec<Message> {
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

    pub(crate) fn hears(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.replicator.on_message(HONEST, message, NOW);
        }
    }
}

pub(crate) fn settle(source: &mut Side, copy: &mut Side) {
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
pub(crate) fn sides() -> (Side, Side) {
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

pub(crate) fn assert_same(source: &Side, copy: &Side) {
    let length = source.core().length();
    assert_eq!((copy.core().fork(), copy.core().contiguous_length()), (source.core().fork(), length));
    assert_eq!(copy.core().tree_hash(length).expect("hash"), source.core().tree_hash(length).expect("hash"));
}
