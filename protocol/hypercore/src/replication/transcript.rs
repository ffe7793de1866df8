//! What two peers send one another, frame by frame, is what JavaScript peers send.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use encoding::{Decoder, Encoder};
use futures_util::FutureExt;
use testing::{hex, unhex, vector_json};

use super::messages::{Handshake, Message, PROTOCOL, capability};
use super::replicator::{Output, Replicator};
use crate::{CoreOptions, Hash, Hypercore, Store};

const NOW: Duration = Duration::ZERO;
const PEER: u64 = 1;

struct Side {
    replicator: Replicator,
    /// Everything that was sent.
    frames: Vec<Vec<u8>>,
    arriving: VecDeque<Vec<u8>>,
}

fn item(message: &Message) -> Vec<u8> {
    let (kind, body) = message.encode();
    let mut out = Encoder::new();
    out.uint(kind).raw(&body);
    out.finish()
}

fn batch(channel: u64, items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.uint(0).uint(0).uint(channel);
    for item in items {
        out.buffer(item);
    }
    out.finish()
}

impl Side {
    fn new(core: Hypercore, is_initiator: bool, handshake_hash: &[u8]) -> Self {
        let capability = capability(is_initiator, &core.key(), handshake_hash);
        let mut open = Encoder::new();
        open.uint(1).uint(1).string(PROTOCOL).buffer(&core.discovery_key());
        open.raw(&Handshake { seeks: true, capability }.encode());
        let frames = vec![batch(0, &[open.finish()])];
        let mut replicator = Replicator::new(core);
        replicator.downloading = true;
        Self { replicator, frames, arriving: VecDeque::new() }
    }

    /// What the state machine sends, as JavaScript frames it: in one batch while it handles a batch of several.
    fn flush(&mut self, corked: bool) -> Vec<Vec<u8>> {
        let outputs = std::mem::take(&mut self.replicator.outputs);
        let mut items: Vec<Vec<u8>> = outputs
            .iter()
            .map(|output| match output {
                Output::Send(PEER, message) => item(message),
                other => panic!("unexpected {other:?}"),
            })
            .collect();
        let requests = self.replicator.peers.get_mut(&PEER).map(|peer| std::mem::take(&mut peer.requests));
        for (request, _, asked) in requests.into_iter().flatten() {
            let proof = self.replicator.core.proof(&asked).now_or_never().expect("memory").expect("a proof");
            items.push(item(&Message::Data { request, proof: Box::new(proof) }));
        }
        let frames = match (corked, items.is_empty()) {
            (_, true) => Vec::new(),
            (true, _) => vec![batch(1, &items)],
            (false, _) => items.into_iter().map(|item| [vec![1], item].concat()).collect(),
        };
        self.frames.extend(frames.clone());
        frames
    }

    fn receive(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let mut from = Decoder::new(frame);
        let mut messages = Vec::new();
        if from.uint().expect("channel") == 0 {
            assert_eq!((from.uint(), from.uint()), (Ok(0), Ok(1)));
            while !from.is_empty() {
                messages.push(from.buffer().expect("item").to_vec());
            }
        } else {
            messages.push(from.rest().to_vec());
        }
        let corked = messages.len() > 1;
        for message in messages {
            let mut from = Decoder::new(&message);
            let kind = from.uint().expect("type");
            let body = Bytes::copy_from_slice(from.rest());
            let message = Message::decode(kind, &body).expect("readable").expect("known");
            self.replicator.on_message(PEER, message, NOW);
        }
        self.flush(corked)
    }
}

fn exchange(a: &mut Side, b: &mut Side) {
    loop {
        if let Some(frame) = b.arriving.pop_front() {
            let frames = b.receive(&frame);
            a.arriving.extend(frames);
        } else if let Some(frame) = a.arriving.pop_front() {
            let frames = a.receive(&frame);
            b.arriving.extend(frames);
        } else {
            return;
        }
    }
}

#[test]
fn vector_replication_transcript() {
    for stack in ["pinned", "msb", "latest"] {
        let file = vector_json(&format!("data/{stack}/16-replication-transcript.json"));
        let bytes = |name: &str| unhex(file[name].as_str().expect("hex"));
        let primary_key: Hash = bytes("primaryKeyInitiator").try_into().expect("a key");
        let namespace = crypto::namespace("corestore", 0);
        let seed = crypto::hash_keyed(&primary_key, &[&namespace, &[0; 32], b"main"]);
        let key_pair = Some(crypto::KeyPair::from_seed(&seed));
        let source = Store::memory().core(CoreOptions { key_pair, ..CoreOptions::default() }).expect("core");
        assert_eq!(source.key().to_vec(), bytes("coreKey"));
        source.append(["one", "two", "three", "four", "five"]).expect("append");
        let copy = Store::memory().get(&source.key()).expect("core");
        let hash = bytes("handshakeHash");
        let (mut a, mut b) = (Side::new(source, true, &hash), Side::new(copy, false, &hash));
        a.replicator.opened(PEER, NOW);
        b.replicator.opened(PEER, NOW);
        b.arriving.extend(a.flush(true));
        a.arriving.extend(b.flush(true));
        // In JavaScript the answer to the first frame is on its way before the other's is handled.
        let first = a.arriving.pop_front().expect("the first frame");
        let frames = a.receive(&first);
        b.arriving.extend(frames);
        exchange(&mut a, &mut b);
        for (index, expected) in [(3, "four"), (0, "one")] {
            let mut block = b.replicator.wants.add_block(index);
            b.replicator.update_all(NOW);
            a.arriving.extend(b.flush(false));
            exchange(&mut a, &mut b);
            assert_eq!(block.try_recv().expect("answered").expect("block"), expected);
        }
        for (side, from) in [(&a, "initiator(has data)"), (&b, "responder(empty)")] {
            let expected = file["frames"].as_array().expect("frames").iter().filter(|frame| frame["from"] == from);
            let expected: Vec<_> = expected.map(|frame| frame["frame"].as_str().expect("hex")).collect();
            let frames: Vec<_> = side.frames.iter().map(|frame| hex(frame)).collect();
            assert_eq!(frames, expected, "{stack}, {from}");
        }
    }
}
