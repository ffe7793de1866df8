//! What the JavaScript module wrote, byte for byte.

use bytes::BytesMut;
use crypto::noise::Session;
use secret_stream::unordered::Envelope;
use secret_stream::{Core, Entropy, Event, framing, stream_id};
use serde_json::Value;
use testing::{hex, unhex, vector_json};

const DATA: [&str; 3] = ["data/pinned", "data/msb", "data/latest"];
const NETWORK: [&str; 2] = ["network/pinned.json", "network/latest.json"];

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    unhex(text(value)).try_into().expect("length of a vector's field")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().expect("an array").iter().map(text)
}

fn core(vector: &Value, is_initiator: bool) -> Core {
    let [tx, rx] = if is_initiator { ["initiatorTx", "initiatorRx"] } else { ["initiatorRx", "initiatorTx"] };
    let session = Session {
        tx: bytes(&vector[tx]),
        rx: bytes(&vector[rx]),
        hash: bytes(&vector["handshakeHash"]),
        remote_public_key: [2; 32],
        is_initiator,
    };
    let header = bytes(&vector[if is_initiator { "initiatorHeader" } else { "responderHeader" }]);
    Core::from_session(session, [1; 32], Entropy { header, counter: 0 })
}

/// Gives `core` the raw bytes, cut as `cut` says, and returns the messages.
fn receive(core: &mut Core, raw: &[u8], cut: usize) -> Vec<String> {
    let mut messages = Vec::new();
    for chunk in raw.chunks(cut) {
        core.input(BytesMut::from(chunk));
        while let Some(event) = core.poll_event().expect("a valid stream") {
            match event {
                Event::Message(message) => messages.push(hex(&message)),
                Event::Connected => panic!("there is no handshake"),
            }
        }
    }
    messages
}

#[test]
fn vector_raw_bytes_of_both_roles() {
    for folder in DATA {
        let vector = vector_json(&format!("{folder}/05-secret-stream.json"));
        for (is_initiator, raw, received) in
            [(true, "initiatorRaw", "responderReceived"), (false, "responderRaw", "initiatorReceived")]
        {
            let mut sender = core(&vector, is_initiator);
            let mut written: Vec<String> = vec![hex(&sender.take_outgoing())];
            for message in list(&vector[received]) {
                sender.send(&[&unhex(message)]).unwrap();
                written.push(hex(&sender.take_outgoing()));
            }
            assert_eq!(written, list(&vector[raw]).collect::<Vec<_>>(), "{folder} {raw}");

            let wire = unhex(&written.concat());
            for cut in [1, 3, 7, 58, 59, 60, 1000, wire.len()] {
                let mut receiver = core(&vector, !is_initiator);
                assert_eq!(receive(&mut receiver, &wire, cut), list(&vector[received]).collect::<Vec<_>>());
                assert!(receiver.may_end());
                let bodies: usize = list(&vector[raw]).skip(1).map(|frame| frame.len() / 2 - 3).sum();
                assert_eq!(receiver.raw_bytes_read(), bodies as u64);
            }
        }
    }
}

#[test]
fn vector_filter_drops_only_empty_messages() {
    for folder in DATA {
        let vector = vector_json(&format!("{folder}/05-secret-stream.json"));
        let wire = unhex(&list(&vector["initiatorRaw"]).collect::<String>());
        let mut receiver = core(&vector, false);
        receiver.set_filter_empty(true);
        let expected: Vec<&str> = list(&vector["responderReceived"]).filter(|message| !message.is_empty()).collect();
        assert_eq!(receive(&mut receiver, &wire, wire.len()), expected);
    }
}

#[test]
fn vector_stream_ids_and_unordered_keys() {
    for folder in DATA {
        let vector = vector_json(&format!("{folder}/05-secret-stream.json"));
        let hash = bytes(&vector["handshakeHash"]);
        assert_eq!(hex(&stream_id(&hash, true)), text(&vector["streamIdInitiator"]));
        assert_eq!(hex(&stream_id(&hash, false)), text(&vector["streamIdResponder"]));
        for (key, is_initiator) in [("initiatorKey", true), ("responderKey", false)] {
            let key: [u8; 32] = bytes(&vector["udpSend"][key]);
            let mut nonce = [0; 24];
            nonce[0] = 6;
            let mut expected = nonce[..8].to_vec();
            expected.extend(crypto::secretbox::seal(&key, &nonce, b"message"));
            assert_eq!(Envelope::new(&hash, is_initiator, 5).seal(b"message"), Some(expected));
        }
    }
}

#[test]
fn vector_of_the_network_layers() {
    for file in NETWORK {
        let all = vector_json(file);
        let vector = &all["secretStream"];
        // Computed with the handshake that the same file records.
        let hash: [u8; 64] = bytes(&all["noiseIK"]["hash"]);
        assert_eq!(hex(&stream_id(&hash, true)), text(&vector["idInitiator"]));
        assert_eq!(hex(&stream_id(&hash, false)), text(&vector["idResponder"]));
        let prefix = framing::encode_length(56);
        assert_eq!(hex(&prefix), text(&vector["firstFrame_len_prefix"]));

        let envelope = Envelope::new(&hash, true, 4).seal(b"hello").unwrap();
        assert_eq!(hex(&envelope), text(&vector["unorderedEnvelope_counter5_hello"]));
        assert_eq!(Envelope::new(&hash, false, 0).open(&envelope).as_deref(), Some(&b"hello"[..]));

        let session = Session {
            tx: bytes(&vector["pushKey"]),
            rx: [0; 32],
            hash,
            remote_public_key: [0; 32],
            is_initiator: true,
        };
        let mut sender =
            Core::from_session(session, [0; 32], Entropy { header: bytes(&vector["pushHeader"]), counter: 0 });
        sender.take_outgoing();
        for message in vector["messages"].as_array().unwrap() {
            sender.send(&[&unhex(text(&message["plain"]))]).unwrap();
            assert_eq!(hex(&sender.take_outgoing()[3..]), text(&message["cipher"]));
        }
    }
}
