//! The bytes of the JavaScript packages.

use std::str::FromStr;

use crypto::noise::{Handshake, Pattern, Session};
use crypto::secretstream::{HEADERBYTES, Pull, Push, TAG_MESSAGE};
use crypto::{KeyPair, dh, discovery_key, hash, hash_keyed, namespace, pwhash, secretbox, verify};
use encoding::{Decoder, Encoder};
use serde_json::Value;
use testing::{hex, unhex, vector_json, vector_text};

const NETWORKS: [&str; 2] = ["network/pinned.json", "network/latest.json"];
const STACKS: [&str; 3] = ["pinned", "msb", "latest"];

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap_or_else(|| panic!("hex text, not {value}")))
}

fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("length")
}

fn keys(seed: &Value) -> KeyPair {
    KeyPair::from_seed(&fixed(seed))
}

fn list(value: &Value) -> &[Value] {
    let list = value.as_array().expect("list");
    assert!(!list.is_empty());
    list
}

fn data(name: &str) -> impl Iterator<Item = Value> {
    STACKS.iter().map(move |stack| vector_json(&format!("data/{stack}/{name}.json")))
}

#[test]
fn vector_hypercore_crypto() {
    for file in data("03-hypercore-crypto") {
        let pair = &file["keyPair"];
        let key_pair = keys(&pair["seed"]);
        assert_eq!(hex(&key_pair.public_key), pair["publicKey"]);
        assert_eq!(hex(&key_pair.secret_key()), pair["secretKey"]);
        assert_eq!(KeyPair::from_secret_key(&fixed(&pair["secretKey"])), Ok(key_pair.clone()));

        let message = bytes(&file["sign"]["message"]);
        let signature = key_pair.sign(&message);
        assert_eq!(hex(&signature), file["sign"]["signature"]);
        assert!(verify(&key_pair.public_key, &message, &signature));

        let inputs: Vec<_> = list(&file["hash"]["inputs"]).iter().map(bytes).collect();
        let parts: Vec<_> = inputs.iter().map(Vec::as_slice).collect();
        assert_eq!(hex(&hash(&parts)), file["hash"]["out"]);

        let discovery = &file["discoveryKey"];
        assert_eq!(hex(&discovery_key(&fixed(&discovery["key"]))), discovery["out"]);

        // Leaves: the type, the length, the block.
        for leaf in list(&file["data"]) {
            let block = bytes(&leaf["block"]);
            assert_eq!(hex(&hash(&[&[0], &(block.len() as u64).to_le_bytes(), &block])), leaf["hash"]);
        }

        let namespaces = file["namespaces"].as_object().expect("namespaces");
        for (name, constants) in namespaces.iter().filter(|(name, _)| !name.ends_with("_names") && *name != "note") {
            for (index, constant) in list(constants).iter().enumerate() {
                assert_eq!(hex(&namespace(name, index as u8)), *constant, "{name} {index}");
            }
        }
    }
}

#[test]
fn vector_network_constants_and_hashes() {
    for file in NETWORKS.map(vector_json) {
        let dht = |index| hex(&namespace("hyperswarm/dht", index));
        let names = [
            ("PEER_HANDSHAKE", 0),
            ("PEER_HOLEPUNCH", 1),
            ("ANNOUNCE", 4),
            ("UNANNOUNCE", 5),
            ("MUTABLE_PUT", 6),
            ("PLUGIN", 10),
        ];
        let constants = file["ns"].as_object().expect("constants");
        assert!(!constants.is_empty());
        for (name, constant) in constants {
            let (_, index) = names.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("unknown {name}"));
            assert_eq!(dht(*index), *constant, "{name}");
        }
        for (index, name) in ["NS_INITIATOR", "NS_RESPONDER", "NS_SEND"].iter().enumerate() {
            assert_eq!(
                hex(&namespace("hyperswarm/secret-stream", index as u8)),
                file["secretStreamNs"][name],
                "{name}"
            );
        }

        let token = &file["tokenFormula"];
        let host = token["host"].as_str().expect("text").as_bytes();
        assert_eq!(hex(&hash_keyed(&bytes(&token["secret"]), &[host])), token["token"]);

        let (expected, a, b) = (&file["keys"], keys(&file["keys"]["seedA"]), keys(&file["keys"]["seedB"]));
        assert_eq!(hex(&a.public_key), expected["publicKeyA"]);
        assert_eq!(hex(&a.secret_key()), expected["secretKeyA"]);
        assert_eq!(hex(&b.public_key), expected["publicKeyB"]);
        assert_eq!(hex(&hash(&[&b.public_key])), expected["targetB"]);
    }
}

#[test]
fn vector_network_signatures() {
    for file in NETWORKS.map(vector_json) {
        let (signer, sign) = (keys(&file["keys"]["seedA"]), &file["sign"]);
        let [target, token, node, peer] = ["target", "token", "nodeId", "peer"].map(|field| bytes(&sign[field]));
        let announced = hash(&[&target, &node, &token, &peer]);
        for (field, index) in [("announce", 4), ("unannounce", 5)] {
            let signable = [namespace("hyperswarm/dht", index), announced].concat();
            assert_eq!(hex(&signer.sign(&signable)), sign[field], "{field}");
            assert!(verify(&signer.public_key, &signable, &fixed(&sign[field])));
        }
        let mut record = Encoder::new();
        record.uint(1).buffer(b"hello");
        let signable = [namespace("hyperswarm/dht", 6), hash(&[record.as_slice()])].concat();
        assert_eq!(hex(&signer.sign(&signable)), sign["mutable_seq1_value_hello"]);
    }
}

#[test]
fn vector_shared_secrets() {
    for file in NETWORKS.map(vector_json) {
        let vector = &file["dh"];
        let secret = dh(&keys(&vector["seed"]), &fixed(&vector["pub"])).expect("a usable key");
        assert_eq!(hex(&secret), vector["out"]);
    }
    for file in data("04-noise") {
        for handshake in ["IK", "XX"].map(|pattern| &file[pattern]) {
            let responder = fixed(&handshake["responder"]["staticPublicKey"]);
            let secret = dh(&keys(&handshake["initiator"]["staticSeed"]), &responder).expect("a usable key");
            assert_eq!(hex(&secret), handshake["dhExample"]["out"]);
        }
    }
}

/// Both ends with the keys of the vector exchange its messages; the result is what the ends have agreed on.
fn shake_hands<'a>(
    pattern: Pattern,
    [initiator, responder]: [(KeyPair, KeyPair); 2],
    prologue: &[u8],
    messages: impl IntoIterator<Item = (&'a Value, &'a Value)>,
) -> [Session; 2] {
    let responder_key = responder.0.public_key;
    let ephemerals = [initiator.1.public_key, responder.1.public_key];
    let mut from =
        Handshake::new(pattern, true, initiator.0, Some(responder_key), prologue).with_ephemeral(initiator.1);
    let mut to = Handshake::new(pattern, false, responder.0, None, prologue).with_ephemeral(responder.1);
    for (step, (payload, message)) in messages.into_iter().enumerate() {
        let mut expected = bytes(message);
        if expected.starts_with(&[0; 32]) {
            // The receiver in JavaScript wipes the ephemeral key in the very buffer that the vector shows afterwards.
            expected[..32].copy_from_slice(&ephemerals[step % 2]);
        }
        assert!(!from.is_complete() && !to.is_complete());
        let sent = from.send(&bytes(payload)).expect("its turn");
        assert_eq!(hex(&sent), hex(&expected), "message {step}");
        assert_eq!(hex(&to.recv(&sent).expect("authentic")), *payload);
        std::mem::swap(&mut from, &mut to);
    }
    assert!(from.is_complete() && to.is_complete());
    let mut sessions = [from, to].map(|end| end.finish().expect("complete"));
    sessions.sort_by_key(|session| !session.is_initiator);
    sessions
}

fn check_sessions([initiator, responder]: &[Session; 2], tx: &Value, rx: &Value, hash: &Value) {
    assert!(initiator.is_initiator && !responder.is_initiator);
    assert_eq!(hex(&initiator.tx), *tx);
    assert_eq!(hex(&initiator.rx), *rx);
    assert_eq!((initiator.tx, initiator.rx), (responder.rx, responder.tx));
    assert_eq!(hex(&initiator.hash), *hash);
    assert_eq!(initiator.hash, responder.hash);
}

#[test]
fn vector_noise() {
    for file in data("04-noise") {
        for (name, pattern) in [("IK", Pattern::IK), ("XX", Pattern::XX)] {
            let vector = &file[name];
            let ends = ["initiator", "responder"].map(|end| {
                let (own, ephemeral) = (keys(&vector[end]["staticSeed"]), keys(&vector[end]["ephemeralSeed"]));
                assert_eq!(hex(&own.public_key), vector[end]["staticPublicKey"]);
                assert_eq!(hex(&ephemeral.public_key), vector[end]["ephemeralPublicKey"]);
                (own, ephemeral)
            });
            let public = ends.clone().map(|(own, _)| own.public_key);
            let messages = list(&vector["messages"]).iter().map(|message| (&message["payload"], &message["message"]));
            let sessions = shake_hands(pattern, ends, &bytes(&vector["prologue"]), messages);
            check_sessions(&sessions, &vector["initiatorTx"], &vector["initiatorRx"], &vector["handshakeHash"]);
            assert_eq!([sessions[1].remote_public_key, sessions[0].remote_public_key], public);
        }
    }
}

#[test]
fn vector_network_noise_and_hole_punching() {
    for file in NETWORKS.map(vector_json) {
        let vector = &file["noiseIK"];
        let initiator = (keys(&file["keys"]["seedA"]), keys(&vector["ephemeralSeedI"]));
        let responder = (keys(&file["keys"]["seedB"]), keys(&vector["ephemeralSeedR"]));
        let messages = ["1", "2"].map(|n| (&vector[format!("payload{n}")], &vector[format!("message{n}")]));
        let sessions = shake_hands(Pattern::IK, [initiator, responder], &bytes(&vector["prologue"]), messages);
        check_sessions(&sessions, &vector["tx_initiator"], &vector["rx_initiator"], &vector["hash"]);

        let secret = hash_keyed(&sessions[0].hash, &[&namespace("hyperswarm/dht", 1)]);
        assert_eq!(hex(&secret), vector["holepunchSecret"]);
        let remote_id = hash_keyed(&sessions[0].hash, &[&namespace("hyperswarm/secret-stream", 1)]);
        assert_eq!(hex(&remote_id), vector["remoteId_expected_by_initiator"]);

        let vector = &file["holepunchBox"];
        let (key, plain, sealed) = (fixed(&vector["key"]), bytes(&vector["plain"]), bytes(&vector["sealed"]));
        let (nonce, sealed) = sealed.split_first_chunk().expect("a nonce");
        assert_eq!(hex(&secretbox::seal(&key, nonce, &plain)), hex(sealed));
        assert_eq!(secretbox::open(&key, nonce, sealed), Some(plain));
    }
}

#[test]
fn vector_network_secret_stream() {
    for file in NETWORKS.map(vector_json) {
        let (vector, handshake) = (&file["secretStream"], bytes(&file["noiseIK"]["hash"]));
        let [initiator, responder, send] = [0, 1, 2].map(|index| namespace("hyperswarm/secret-stream", index));
        assert_eq!(hex(&hash_keyed(&handshake, &[&initiator])), vector["idInitiator"]);
        assert_eq!(hex(&hash_keyed(&handshake, &[&responder])), vector["idResponder"]);
        assert_eq!(hex(&hash_keyed(&handshake, &[&initiator, &send])), vector["sendKeyInitiator"]);
        assert_eq!(hex(&hash_keyed(&handshake, &[&responder, &send])), vector["sendKeyResponder"]);

        let (key, header) = (fixed(&vector["pushKey"]), fixed(&vector["pushHeader"]));
        let (mut push, mut pull) = (Push::new(&key, &header), Pull::new(&key, &header));
        for message in list(&vector["messages"]) {
            let (plain, cipher) = (bytes(&message["plain"]), bytes(&message["cipher"]));
            assert_eq!(hex(&push.seal(&plain)), hex(&cipher));
            assert_eq!(pull.open(&cipher), Ok(plain));
        }

        let envelope = bytes(&vector["unorderedEnvelope_counter5_hello"]);
        let (counter, sealed) = envelope.split_at(8);
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(counter);
        let key = fixed(&vector["sendKeyInitiator"]);
        assert_eq!(hex(&secretbox::seal(&key, &nonce, b"hello")), hex(sealed));
        assert_eq!(secretbox::open(&key, &nonce, sealed).as_deref(), Some(&b"hello"[..]));
    }
}

#[test]
fn vector_secret_stream_frames() {
    for file in data("05-secret-stream") {
        let handshake = bytes(&file["handshakeHash"]);
        let ends = [
            ("initiatorRaw", "initiatorTx", "streamIdInitiator", "initiatorHeader", "responderReceived"),
            ("responderRaw", "initiatorRx", "streamIdResponder", "responderHeader", "initiatorReceived"),
        ];
        for (role, (raw, key, id, header, received)) in ends.into_iter().enumerate() {
            let raw: Vec<u8> = list(&file[raw]).iter().flat_map(bytes).collect();
            let mut frames = Decoder::new(&raw);
            let mut frame = || {
                let length = frames.u24().ok()?;
                Some(frames.bytes(length as usize).expect("a whole frame"))
            };

            let first = frame().expect("the header frame");
            let expected_id = hash_keyed(&handshake, &[&namespace("hyperswarm/secret-stream", role as u8)]);
            assert_eq!(hex(&expected_id), file[id]);
            assert_eq!(hex(first), hex(&expected_id) + file[header].as_str().expect("hex text"));

            let (key, header): ([u8; 32], [u8; HEADERBYTES]) = (fixed(&file[key]), fixed(&file[header]));
            let (mut push, mut pull) = (Push::new(&key, &header), Pull::new(&key, &header));
            let mut messages = Vec::new();
            while let Some(sealed) = frame() {
                let mut buffer = sealed.to_vec();
                let (tag, range) = pull.open_in_place(&mut buffer).expect("authentic");
                assert_eq!(tag, TAG_MESSAGE);
                messages.push(Value::from(hex(&buffer[range])));
                push.seal_in_place(&mut buffer).expect("room");
                assert_eq!(hex(&buffer), hex(sealed));
            }
            assert_eq!(messages, list(&file[received]));
        }
    }
}

#[test]
fn vector_wallet_key_stretching() {
    // The line reads: kdf(empty, salt=01*16)= <key>
    let text = vector_text("app/wallet.txt");
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("kdf(empty, salt=")).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let (salt, key) = line.split_once(")=").expect("a key");
        let (byte, count) = salt.split_once('*').expect("a repeated byte");
        assert_eq!(usize::from_str(count), Ok(16));
        let salt = [u8::from_str_radix(byte, 16).expect("hex"); 16];
        let stretched = pwhash::argon2i(b"", &salt, 3, 268_435_456).expect("libsodium's parameters");
        assert_eq!(hex(&stretched), key.trim());
    }
}
