//! The messages of `hypercore/alpha`, byte for byte JavaScript's, and what is not one of them.

use bytes::Bytes;
use hypercore::replication::messages::{Handshake, Message, capability};
use serde_json::Value;
use testing::{hex, unhex, vector_json};

const STACKS: [&str; 3] = ["pinned", "msb", "latest"];

const KINDS: [&str; 10] =
    ["sync", "request", "cancel", "data", "noData", "want", "unwant", "bitfield", "range", "extension"];

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().expect("hex"))
}

#[test]
fn vector_wire_messages() {
    for stack in STACKS {
        let file = vector_json(&format!("data/{stack}/11-wire-messages.json"));
        let mut seen = 0;
        for vector in file["messages"].as_array().expect("messages") {
            let (name, value, expected) =
                (vector["type"].as_str().expect("type"), &vector["value"], bytes(&vector["hex"]));
            if name == "handshake" {
                let handshake = Handshake::decode(&expected).expect("handshake");
                assert_eq!(hex(&handshake.encode()), hex(&expected));
                assert_eq!(hex(&handshake.capability), value["capability"].as_str().expect("capability"));
                continue;
            }
            let kind = KINDS.iter().position(|&kind| kind == name).expect("kind") as u64;
            let message = Message::decode(kind, &expected.clone().into()).expect(name).expect(name);
            let (encoded_kind, encoded) = message.encode();
            assert_eq!(encoded_kind, kind);
            // Reasons are read, and never sent.
            let expected = if name == "noData" { &expected[..1] } else { &expected[..] };
            assert_eq!(hex(&encoded), hex(expected), "{stack} {value}");
            check(&message, value);
            seen += 1;
        }
        assert!(seen >= 15);
    }
}

/// The fields that an encoding of the same bytes would not tell apart.
fn check(message: &Message, value: &Value) {
    let number = |name: &str| value[name].as_u64();
    match message {
        Message::Sync(sync) => {
            assert_eq!(Some(sync.length), number("length"));
            assert_eq!(Some(sync.remote_length), number("remoteLength"));
            assert_eq!(Some(sync.can_upgrade), value["canUpgrade"].as_bool());
            assert_eq!(Some(sync.downloading), value["downloading"].as_bool());
            assert_eq!(Some(sync.has_manifest), value["hasManifest"].as_bool());
        }
        Message::Request { id, fork, request, priority } => {
            assert_eq!((Some(*id), Some(*fork), Some(*priority)), (number("id"), number("fork"), number("priority")));
            assert_eq!(request.block.map(|block| block.index), value["block"]["index"].as_u64());
            assert_eq!(request.hash.map(|hash| hash.nodes), value["hash"]["nodes"].as_u64());
            assert_eq!(request.seek.map(|seek| seek.padding), value["seek"]["padding"].as_u64());
            assert_eq!(request.upgrade.map(|upgrade| upgrade.length), value["upgrade"]["length"].as_u64());
            assert_eq!(Some(request.manifest), value["manifest"].as_bool());
        }
        Message::Data { request, proof } => {
            assert_eq!((Some(*request), Some(proof.fork)), (number("request"), number("fork")));
            assert_eq!(proof.block.as_ref().map(|block| block.index), value["block"]["index"].as_u64());
            assert_eq!(proof.manifest.is_some(), value["manifest"].is_object());
        }
        Message::NoData { reason, .. } => assert_eq!(reason.is_some(), value["reason"].is_u64()),
        Message::Want { any, .. } => assert_eq!(*any, value["any"] == true),
        Message::Range { drop, start, length } => {
            assert_eq!(
                (Some(*drop), Some(*start), Some(*length)),
                (value["drop"].as_bool(), number("start"), number("length"))
            );
        }
        _ => {}
    }
}

#[test]
fn vector_capability() {
    for stack in STACKS {
        let vector = &vector_json(&format!("data/{stack}/11-wire-messages.json"))["replicateCapability"];
        let key = bytes(&vector["key"]).try_into().expect("a key");
        let hash = bytes(&vector["handshakeHash"]);
        assert_eq!(hex(&capability(true, &key, &hash)), vector["initiator"].as_str().expect("hex"));
        assert_eq!(hex(&capability(false, &key, &hash)), vector["responder"].as_str().expect("hex"));
    }
}

#[test]
fn cut_messages_are_refused() {
    let file = vector_json("data/pinned/11-wire-messages.json");
    for vector in file["messages"].as_array().expect("messages") {
        let Some(kind) = KINDS.iter().position(|&kind| vector["type"] == kind) else { continue };
        let whole = Bytes::from(bytes(&vector["hex"]));
        for end in 0..whole.len() {
            // An extension's message may be of any length.
            if let Ok(Some(message)) = Message::decode(kind as u64, &whole.slice(..end)) {
                assert!(matches!(message, Message::Extension { .. }), "{message:?} cut at {end}");
            }
        }
    }
}
