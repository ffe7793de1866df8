//! One connection: a channel for each core, all in one task.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use protomux::{Channel, ChannelEvent, ChannelOptions, Mux, PairRequest};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::entry::Entry;
use super::hub::Hub;
use super::messages::{ALIAS, Handshake, Message, PROTOCOL, capability};
use super::peer::PeerId;
use super::replicator::{MAX_INVALID_REQUESTS, Offence, Output};
use crate::proof::{BlockProof, Proof, Request};
use crate::{Error, Fault, Hash, Hypercore, Node};

/// So many messages of a channel are taken before the other channels have their turn.
const MAX_TURN: usize = 128;

/// Nor more than so many bytes of them, unless one is larger.
const MAX_TURN_BYTES: usize = protomux::READ_AHEAD;

/// So many answers are made at once, while the disk is waited for.
const MAX_PROOFS: usize = 64;

type Serving = Pin<Box<dyn Future<Output = (Hash, bool)> + Send>>;
type Proving = Pin<Box<dyn Future<Output = (u64, Request, Result<Proof, Error>)> + Send>>;

/// Cores to be opened on the connection.
pub(crate) type Opens = mpsc::UnboundedSender<Arc<Entry>>;

pub(crate) async fn run(
    hub: Arc<Hub>,
    mux: Mux,
    mut opens: mpsc::UnboundedReceiver<Arc<Entry>>,
    pairs: [protomux::PairStream; 2],
) {
    let [mut pairs, mut aliases] = pairs;
    let mut channels: FuturesUnordered<Serving> = FuturesUnordered::new();
    let mut reopened: Vec<Arc<Entry>> = Vec::new();
    let closed = mux.clone();
    let mut closed = std::pin::pin!(async move { closed.closed().await });
    loop {
        tokio::select! {
            biased;
            _ = &mut closed => break,
            entry = opens.recv() => match entry {
                Some(entry) => open(&hub, &mux, &mut channels, entry),
                None => break,
            },
            request = pairs.next() => match request {
                Some(request) => pair(&hub, &mux, &mut channels, request),
                None => break,
            },
            request = aliases.next() => match request {
                Some(request) => pair(&hub, &mux, &mut channels, request),
                None => break,
            },
            Some((discovery_key, again)) = channels.next(), if !channels.is_empty() => {
                if again && let Some(entry) = hub.entry(&discovery_key) {
                    reopened.push(entry);
                }
                hub.release(&discovery_key);
            }
        }
        for entry in reopened.drain(..) {
            open(&hub, &mux, &mut channels, entry);
        }
    }
}

fn open(hub: &Arc<Hub>, mux: &Mux, channels: &mut FuturesUnordered<Serving>, entry: Arc<Entry>) {
    if [PROTOCOL, ALIAS].iter().any(|protocol| mux.opened(protocol, Some(&entry.discovery_key))) {
        return;
    }
    let options = ChannelOptions::new(PROTOCOL).id(entry.discovery_key).handshake(handshake(mux, &entry));
    match mux.open(options) {
        Ok(channel) => channels.push(serve(hub, mux, channel, entry).boxed()),
        Err(error) => debug!(%error, "cannot open the channel of a core"),
    }
}

/// The peer opened a channel: it is answered if the core is here.
fn pair(hub: &Arc<Hub>, mux: &Mux, channels: &mut FuturesUnordered<Serving>, request: PairRequest) {
    let Ok(discovery_key) = Hash::try_from(request.id()) else { return };
    let Some(entry) = hub.find(&discovery_key) else { return };
    match request.open(handshake(mux, &entry)) {
        Ok(channel) => channels.push(serve(hub, mux, channel, entry).boxed()),
        Err(error) => debug!(%error, "cannot open the channel of a core"),
    }
}

fn handshake(mux: &Mux, entry: &Entry) -> Vec<u8> {
    let capability = capability(mux.is_initiator(), &entry.key, mux.handshake_hash());
    Handshake { seeks: true, capability }.encode()
}

/// The block of a proof that has a place in a tree.
fn leaf_block(proof: &Proof) -> Option<&BlockProof> {
    proof.block.as_ref().filter(|block| block.index <= encoding::MAX_SAFE_INTEGER / 2)
}

/// The leaves of all blocks in messages. They are hashed together, several at a time: alone, that of a large block takes longer than
/// all else that is done with it.
fn leaves(messages: &[Message]) -> Vec<Node> {
    let block = |message: &Message| match message {
        Message::Data { proof, .. } => leaf_block(proof).map(|block| (2 * block.index, block.value.clone())),
        _ => None,
    };
    let (indices, blocks): (Vec<u64>, Vec<Bytes>) = messages.iter().filter_map(block).unzip();
    Node::leaves_at(indices, &blocks)
}

/// Serves a channel until it is closed. The core, and whether to open it again.
fn serve(
    hub: &Arc<Hub>,
    mux: &Mux,
    channel: Channel,
    entry: Arc<Entry>,
) -> impl Future<Output = (Hash, bool)> + Send + 'static {
    let id = hub.next_peer();
    channel.read_ahead();
    let serving = Channeling {
        core: entry.core(),
        entry,
        mux: mux.clone(),
        channel,
        id,
        proofs: FuturesUnordered::new(),
        look: None,
        opened: false,
        messages: Vec::new(),
    };
    serving.run()
}

struct Channeling {
    core: Hypercore,
    entry: Arc<Entry>,
    mux: Mux,
    channel: Channel,
    id: PeerId,
    proofs: FuturesUnordered<Proving>,
    /// When to look after what is late, if this channel does.
    look: Option<Instant>,
    opened: bool,
    /// Those of this turn.
    messages: Vec<Message>,
}

impl Drop for Channeling {
    /// Also when the connection is given up in the middle.
    fn drop(&mut self) {
        self.entry.remove_link(self.id);
    }
}

impl Channeling {
    async fn run(mut self) -> (Hash, bool) {
        let sender = self.channel.sender();
        self.entry.add_link(self.id, sender.clone(), self.mux.clone());
        let discovery_key = self.entry.discovery_key;
        loop {
            let waits = self.has_requests();
            let look = self.look;
            tokio::select! {
                event = self.channel.recv() => {
                    let Some(event) = event else { return (discovery_key, false) };
                    let mut next = Some(event);
                    let (mut turn, mut bytes) = (0, 0);
                    while let Some(event) = next.take() {
                        if let ChannelEvent::Message { body, .. } = &event {
                            bytes += body.len();
                        }
                        if let Some(again) = self.on_event(event) {
                            return (discovery_key, again);
                        }
                        turn += 1;
                        if turn < MAX_TURN && bytes < MAX_TURN_BYTES {
                            next = self.channel.recv().now_or_never().flatten();
                        }
                    }
                    self.take_messages();
                    self.answer();
                    if turn == MAX_TURN || bytes >= MAX_TURN_BYTES {
                        tokio::task::yield_now().await;
                    }
                }
                () = sender.drained(), if waits && self.proofs.len() < MAX_PROOFS => self.answer(),
                Some((request, asked, proof)) = self.proofs.next(), if !self.proofs.is_empty() => {
                    self.proven(request, &asked, proof);
                }
                () = async { sleep_until(look.unwrap_or_else(Instant::now)).await }, if look.is_some() => self.look(),
                () = self.entry.asked.notified(), if look.is_none() => self.look(),
            }
        }
    }

    fn look(&mut self) {
        self.look = self.entry.look(self.id).map(|after: Duration| Instant::now() + after);
    }

    fn has_requests(&self) -> bool {
        self.entry
            .with_quietly(|replicator| replicator.peers.get(&self.id).is_some_and(|peer| !peer.requests.is_empty()))
    }

    /// Takes the messages of a turn, all at once: what is stored of them is one write.
    fn take_messages(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let mut leaves = leaves(&self.messages).into_iter();
        self.entry.with(|replicator, now| {
            for message in self.messages.drain(..) {
                match message {
                    Message::Data { request, proof } => {
                        let leaf = leaf_block(&proof).and_then(|_| leaves.next());
                        replicator.on_data(self.id, request, &proof, leaf, now);
                    }
                    message => replicator.on_message(self.id, message, now),
                }
            }
        });
    }

    fn on_event(&mut self, event: ChannelEvent) -> Option<bool> {
        if !matches!(event, ChannelEvent::Message { .. }) {
            self.take_messages();
        }
        match event {
            ChannelEvent::Open { handshake } => {
                let expected = capability(!self.mux.is_initiator(), &self.entry.key, self.mux.handshake_hash());
                match Handshake::decode(&handshake) {
                    Ok(handshake) if handshake.capability == expected => {
                        self.opened = true;
                        self.entry.with(|replicator, now| replicator.opened(self.id, now));
                    }
                    _ => {
                        debug!("a peer does not know the key of the core that it opened");
                        self.mux.destroy();
                        return Some(false);
                    }
                }
            }
            ChannelEvent::Message { kind, body } => match Message::decode(kind, &body) {
                Ok(Some(message)) => self.messages.push(message),
                Ok(None) => {}
                Err(error) => {
                    debug!(%error, "a peer sent a message that cannot be read");
                    self.mux.destroy();
                    return Some(false);
                }
            },
            ChannelEvent::Close { remote } => {
                // A peer closes what neither seemed to want any more; it may have crossed with a wish of ours.
                let again = self.entry.with(|replicator, _| {
                    let peer = replicator.peers.get(&self.id);
                    let uploads = peer.is_some_and(|peer| peer.remote.uploading && !peer.remote.downloading);
                    remote && self.opened && replicator.downloading && uploads
                });
                return Some(again && !self.mux.is_closed());
            }
        }
        None
    }

    /// Answers requests while the connection takes answers.
    fn answer(&mut self) {
        let mut corked = false;
        while self.proofs.len() < MAX_PROOFS {
            let Some(((id, fork, request), local)) = self.entry.next_request(self.id) else { break };
            let missing = request.block.is_some_and(|block| !self.core.has(block.index));
            if fork != local || missing {
                self.refuse(id, &request);
                continue;
            }
            if !corked {
                corked = true;
                self.mux.cork();
            }
            let proof = match self.core.proof_to_come(&request) {
                // Nearly always the disk is not waited for.
                Ok((proof, ticket)) if !ticket.is_durable() => {
                    let proving = async move { (id, request, ticket.durable().await.map(|()| proof)) };
                    self.proofs.push(proving.boxed());
                    continue;
                }
                proof => proof.map(|(proof, _)| proof),
            };
            if !self.proven(id, &request, proof) {
                break;
            }
        }
        if corked {
            self.mux.uncork();
        }
    }

    fn send(&self, message: &Message) -> bool {
        let (kind, body) = message.encode();
        match self.channel.try_send(kind, &body) {
            Ok(drained) => drained,
            Err(protomux::Error::Full) => {
                self.mux.destroy();
                false
            }
            Err(_) => false,
        }
    }

    fn refuse(&self, id: u64, request: &Request) {
        if request.manifest
            && let Some(manifest) = self.core.manifest()
        {
            let fork = self.core.fork();
            let proof = Box::new(Proof { fork, manifest: Some(manifest), ..Proof::default() });
            self.send(&Message::Data { request: id, proof });
        } else {
            self.send(&Message::NoData { request: id, reason: None });
        }
    }

    /// Whether there is room for more.
    fn proven(&mut self, id: u64, request: &Request, proof: Result<Proof, Error>) -> bool {
        match proof {
            Ok(proof) => {
                if let Some(upgrade) = &proof.upgrade {
                    let length = upgrade.signed_length();
                    self.entry.with(|replicator, now| replicator.proves(proof.fork, length, now));
                }
                return self.send(&Message::Data { request: id, proof: Box::new(proof) });
            }
            Err(error) if error.fault() == Fault::Peer => self.entry.with(|replicator, _| {
                let Some(peer) = replicator.peers.get_mut(&self.id) else { return };
                peer.invalid_requests += 1;
                if peer.invalid_requests > MAX_INVALID_REQUESTS {
                    replicator.outputs.push(Output::Drop(self.id, Offence::Requests));
                }
            }),
            Err(Error::NotFound) => {}
            Err(error) => debug!(%error, "cannot answer a peer"),
        }
        self.refuse(id, request);
        true
    }
}
