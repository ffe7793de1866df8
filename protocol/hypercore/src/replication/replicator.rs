//! The replication of one core with all its peers, without I/O: messages and time come in, messages go out.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::messages::{Message, Sync};
use super::peer::{MAX_PEER_REQUESTS, Peer, PeerId};
use super::wants::Wants;
use crate::Hypercore;
use crate::events::{Event, Events};
use crate::merkle::Reorg;
use crate::proof::Request;
use crate::sync::Ticket;

/// A peer of which no byte comes for so long, while something is asked of it, loses the connection; keep-alives are bytes too.
/// Nobody waits for one that has answered nothing for so long, whatever comes of it: others are asked.
pub const STALLED: Duration = Duration::from_secs(20);

/// A peer that sent something wrong has so long to prove that the owner of the core signed two histories.
pub const CONFLICT_TIMEOUT: Duration = Duration::from_secs(5);

/// So many requests that make no sense are refused before their sender loses the connection.
pub const MAX_INVALID_REQUESTS: u32 = 64;

/// Why a peer loses its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offence {
    /// What it sent is not proven.
    InvalidProof(String),
    /// It does not answer.
    Stalled,
    /// It asked for too much, or for what makes no sense.
    Requests,
}

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Output {
    Send(PeerId, Message),
    /// Close the channel: neither side wants anything.
    Close(PeerId),
    /// Give up the connection.
    Drop(PeerId, Offence),
    /// A message of an extension.
    Extension(PeerId, String, bytes::Bytes),
}

/// What was asked of a peer.
#[derive(Debug)]
pub(crate) struct Inflight {
    pub(crate) peer: PeerId,
    pub(crate) fork: u64,
    pub(crate) request: Request,
    pub(crate) sent: Duration,
}

pub(crate) struct ReorgState {
    pub(crate) fork: u64,
    pub(crate) found: Option<Reorg>,
    pub(crate) inflight: Option<u64>,
}

/// What peers are told about this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) fork: u64,
    pub(crate) length: u64,
    pub(crate) has_manifest: bool,
}

pub(crate) struct Replicator {
    pub(crate) core: Hypercore,
    pub(crate) known: Known,
    /// What peers are told when it is on disk.
    pub(crate) unsettled: Option<Known>,
    pub(crate) downloading: bool,
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    pub(crate) inflight: HashMap<u64, Inflight>,
    pub(crate) free_ids: Vec<u64>,
    next_id: u64,
    pub(crate) wants: Wants,
    pub(crate) upgrade: Option<u64>,
    pub(crate) manifest: Option<u64>,
    pub(crate) reorg: Option<ReorgState>,
    pub(crate) outputs: Vec<Output>,
}

impl Replicator {
    /// For a core whose `known` state is on disk.
    pub(crate) fn new(core: Hypercore) -> Self {
        let known = known(&core);
        Self {
            core,
            known,
            unsettled: None,
            downloading: false,
            peers: BTreeMap::new(),
            inflight: HashMap::new(),
            free_ids: Vec::new(),
            next_id: 1,
            wants: Wants::default(),
            upgrade: None,
            manifest: None,
            reorg: None,
            outputs: Vec::new(),
        }
    }

    /// For a core that may have just been written. [`settle`](Self::settle) is to be called when the ticket is durable.
    pub(crate) fn follow(core: Hypercore) -> (Self, Events, Ticket) {
        let (fork, length, ticket, events) = core.follow();
        let mut replicator = Self::new(core);
        if replicator.core.is_writable() {
            let known = Known { fork, length, ..replicator.known };
            let on_disk = ticket.is_durable();
            replicator.known = if on_disk { known } else { Known { length: 0, ..known } };
            replicator.unsettled = (!on_disk).then_some(known);
        }
        (replicator, events, ticket)
    }

    /// What the core was when it was followed is on disk: peers that came before are told.
    pub(crate) fn settle(&mut self) {
        let Some(known) = self.unsettled.take() else { return };
        self.learn(known);
        self.signal_all();
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.tell_contiguous(id);
        }
        self.tell_appended(self.told_contiguous(), self.known.length);
    }

    pub(crate) fn send(&mut self, peer: PeerId, message: Message) {
        self.outputs.push(Output::Send(peer, message));
    }

    pub(crate) fn is_downloading(&self) -> bool {
        self.downloading || !self.inflight.is_empty()
    }

    /// Whether a peer that is there may bring a longer history.
    pub(crate) fn is_behind(&self) -> bool {
        if self.core.is_frozen() {
            return false;
        }
        let (fork, length) = (self.core.fork(), self.core.length());
        let newer = |peer: &Peer| {
            let Sync { fork: theirs, length: remote, can_upgrade, .. } = peer.remote;
            // Nothing is asked of a history without blocks, and who rests is not asked now.
            let reorg = theirs > fork && remote > 0 && peer.rests_until.is_none();
            !peer.paused
                && !peer.is_late
                && (reorg || theirs == fork && remote > length && (can_upgrade || peer.acked != length))
        };
        let comes = |request: Option<u64>| {
            let owes = request.and_then(|request| self.peers.get(&self.inflight.get(&request)?.peer));
            owes.is_some_and(|peer| !peer.is_late)
        };
        let reorg = self.reorg.as_ref().and_then(|reorg| reorg.inflight);
        comes(self.upgrade) || comes(reorg) || self.peers.values().any(newer)
    }

    /// The peer proved that it knows the core's key.
    pub(crate) fn opened(&mut self, id: PeerId, now: Duration) {
        self.peers.insert(id, Peer::new(now));
        self.send_sync(id);
        self.tell_contiguous(id);
    }

    /// The channel is closed.
    pub(crate) fn closed(&mut self, id: PeerId, now: Duration) {
        if self.peers.remove(&id).is_none() {
            return;
        }
        self.wants.forget(id);
        let gone: Vec<u64> = self.inflight.iter().filter(|(_, asked)| asked.peer == id).map(|(&id, _)| id).collect();
        for request in gone {
            self.take_inflight(request);
        }
        self.update_all(now);
    }

    /// Something happened to the core, and is on disk.
    pub(crate) fn on_event(&mut self, event: &Event, now: Duration) {
        // It was written later than what was there.
        self.settle();
        match *event {
            Event::Append { length } => {
                let before = self.known.length;
                // An answer may have told of more already.
                let length = length.max(before);
                self.learn(Known { length, ..self.known });
                self.tell_appended(before, length);
            }
            Event::Truncate { length, fork } => {
                let gone = self.known.length.saturating_sub(length);
                self.learn(Known { fork, length, ..self.known });
                if gone > 0 {
                    self.tell_range(length, gone, true);
                }
                self.wants.restart(length);
            }
            Event::Have { start, length } => self.tell_range(start, length, false),
            Event::Drop { start, length } => {
                self.tell_range(start, length, true);
                self.wants.restart(start);
            }
            Event::Manifest => self.known.has_manifest = true,
            Event::Frozen => {
                let ids: Vec<PeerId> = self.peers.keys().copied().collect();
                for id in ids {
                    self.tell_conflict(id);
                    self.outputs.push(Output::Close(id));
                }
            }
            Event::Changed => {
                let has_manifest = known(&self.core).has_manifest;
                self.learn(Known { has_manifest, ..self.known });
                let contiguous = self.told_contiguous();
                self.tell_range(0, contiguous, false);
                self.wants.restart(0);
            }
        }
        self.signal_all();
        self.wants.resolve_local(&self.core);
        self.wants.resolve_seeks(&self.core);
        self.wants.advance_ranges(&self.core);
        self.update_all(now);
    }

    /// An answer is about to leave that proves this length, which is on disk: peers hear of the length before it.
    ///
    /// Its event is still on the way. JavaScript that grew beyond what it had heard of may not say so (its latest generation does not if a
    /// sync arrives meanwhile), waits for us to acknowledge its new length, and asks for nothing any more.
    pub(crate) fn proves(&mut self, fork: u64, length: u64, now: Duration) {
        if fork == self.known.fork && length > self.known.length {
            self.on_event(&Event::Append { length }, now);
        }
    }

    /// What may be told of a core that is written here is what is on disk, and said by events: what a crash takes back could be
    /// signed a second time. Of a core of others that is no danger.
    pub(crate) fn learn(&mut self, told: Known) {
        self.known = if self.core.is_writable() { told } else { known(&self.core) };
    }

    /// A message of a peer.
    pub(crate) fn on_message(&mut self, id: PeerId, message: Message, now: Duration) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match message {
            Message::Sync(sync) => self.on_sync(id, sync, now),
            Message::Request { id: request, fork, request: asked, .. } => {
                peer.requests.retain(|(other, ..)| *other != request);
                if peer.requests.len() >= MAX_PEER_REQUESTS {
                    self.outputs.push(Output::Drop(id, Offence::Requests));
                } else {
                    peer.requests.push_back((request, fork, asked));
                }
            }
            Message::Cancel { request } => peer.requests.retain(|(other, ..)| *other != request),
            Message::Data { request, proof } => self.on_data(id, request, &proof, None, now),
            Message::NoData { request, .. } => {
                self.on_refusal(id, request, now);
            }
            Message::Want { start, length, any } => self.on_want(id, start, length, any),
            Message::Unwant { start, length, any } => peer.remote_wants.remove(start, length, any),
            Message::Bitfield { start, words } => {
                peer.set_bits(start, &words);
                peer.credit.note(start, start.saturating_add(32 * words.len() as u64));
                self.look(id, now);
            }
            Message::Range { drop, start, length } => {
                peer.set_range(start, length, !drop);
                peer.credit.note(start, start.saturating_add(length));
                if !drop {
                    self.look(id, now);
                }
            }
            Message::Extension { name, message } => {
                if !name.is_empty() {
                    peer.last_extension = name;
                }
                let name = peer.last_extension.clone();
                self.outputs.push(Output::Extension(id, name, message));
            }
        }
    }

    /// Numbers a request and sends it.
    pub(crate) fn ask(&mut self, peer: PeerId, fork: u64, request: Request, priority: u64, now: Duration) -> u64 {
        let id = self.free_ids.pop().unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id - 1
        });
        if let Some(block) = request.block {
            self.wants.asked(block.index);
        }
        if let Some(peer) = self.peers.get_mut(&peer) {
            if peer.inflight == 0 {
                peer.heard = now;
            }
            peer.inflight += 1;
        }
        self.inflight.insert(id, Inflight { peer, fork, request, sent: now });
        self.send(peer, Message::Request { id, fork, request, priority });
        id
    }

    /// Forgets a request; its number may be used again if it was answered.
    pub(crate) fn take_inflight(&mut self, id: u64) -> Option<Inflight> {
        let asked = self.inflight.remove(&id)?;
        if let Some(peer) = self.peers.get_mut(&asked.peer) {
            peer.inflight -= 1;
        }
        if let Some(block) = asked.request.block {
            self.wants.unasked(block.index);
        }
        for slot in [&mut self.upgrade, &mut self.manifest] {
            if *slot == Some(id) {
                *slot = None;
            }
        }
        if let Some(reorg) = &mut self.reorg
            && reorg.inflight == Some(id)
        {
            reorg.inflight = None;
        }
        for seek in &mut self.wants.seeks {
            if seek.inflight == Some(id) {
                seek.inflight = None;
            }
        }
        if self.inflight.is_empty() && !self.downloading {
            self.signal_all();
        }
        Some(asked)
    }

    /// Takes a request back.
    pub(crate) fn cancel(&mut self, id: u64) {
        // Its answer may be on the way: the number is not used again.
        if let Some(asked) = self.take_inflight(id) {
            self.send(asked.peer, Message::Cancel { request: id });
        }
    }
}

pub(crate) fn known(core: &Hypercore) -> Known {
    let (fork, length, _) = core.signed_size();
    Known { fork, length, has_manifest: core.verifier().is_some_and(|verifier| !verifier.is_compat()) }
}
