//! What of Ed25519 is accepted is what libsodium accepts, adversarial keys and signatures included.

use crypto::noise::{Handshake, Pattern};
use crypto::{CryptoError, KeyPair, dh, verify};
use serde_json::Value;
use testing::{hex, unhex};

fn rules() -> Value {
    serde_json::from_str(include_str!("ed25519-rules.json")).expect("JSON")
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    unhex(value.as_str().expect("hex text")).try_into().expect("length")
}

#[test]
fn vector_signatures_are_accepted_and_refused_as_by_libsodium() {
    let rules = rules();
    let cases = rules["verify"].as_array().expect("cases");
    assert!(cases.iter().any(|case| case["valid"] == true) && cases.iter().any(|case| case["valid"] == false));
    for case in cases {
        let message = unhex(case["message"].as_str().expect("hex text"));
        let valid = verify(&bytes(&case["publicKey"]), &message, &bytes(&case["signature"]));
        assert_eq!(case["valid"], valid, "{case}");
    }
}

#[test]
fn vector_shared_secrets_are_those_of_libsodium() {
    let rules = rules();
    let cases = rules["dh"].as_array().expect("cases");
    assert!(cases.iter().any(|case| case["secret"].is_null()) && cases.iter().any(|case| case["secret"].is_string()));
    for case in cases {
        let secret = dh(&KeyPair::from_seed(&bytes(&case["seed"])), &bytes(&case["publicKey"]));
        match case["secret"].as_str() {
            Some(expected) => assert_eq!(secret.map(|secret| hex(&secret)).as_deref(), Ok(expected), "{case}"),
            None => assert_eq!(secret, Err(CryptoError::InvalidPublicKey), "{case}"),
        }
    }
}

#[test]
fn vector_keys_without_a_shared_secret_end_a_handshake() {
    let rules = rules();
    for case in rules["dh"].as_array().expect("cases") {
        let (keys, remote) = (KeyPair::from_seed(&bytes(&case["seed"])), bytes(&case["publicKey"]));
        let expected = if case["secret"].is_null() { Some(CryptoError::InvalidPublicKey) } else { None };

        // As the static key of the one that is called.
        let mut initiator = Handshake::new(Pattern::IK, true, keys.clone(), Some(remote), b"");
        assert_eq!(initiator.send(b"").err(), expected, "{case}");

        // As the ephemeral key of the one that calls.
        let mut responder = Handshake::new(Pattern::XX, false, keys, None, b"");
        responder.recv(&remote).expect("a key is looked at when it is used");
        assert_eq!(responder.send(b"").err(), expected, "{case}");
    }
}
