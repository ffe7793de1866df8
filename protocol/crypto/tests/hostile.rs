//! What a peer that does not keep to the protocol can send.

use crypto::noise::{Handshake, MAX_MESSAGE_BYTES, Pattern};
use crypto::secretstream::{ABYTES, Pull, Push, TAG_FINAL, TAG_MESSAGE, TAG_PUSH, TAG_REKEY};
use crypto::{CryptoError, KeyPair, pwhash, secretbox};
use proptest::collection::vec;
use proptest::prelude::*;

fn keys(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

fn ends(pattern: Pattern) -> (Handshake, Handshake) {
    let (initiator, responder) = (keys(1), keys(2));
    let key = responder.public_key;
    (Handshake::new(pattern, true, initiator, Some(key), b""), Handshake::new(pattern, false, responder, None, b""))
}

#[test]
fn a_key_pair_does_not_print_its_secret() {
    let keys = keys(7);
    let printed = format!("{keys:?}");
    assert!(printed.contains(&testing::hex(&keys.public_key)));
    assert!(!printed.contains(&testing::hex(keys.seed())) && !printed.contains("7, 7"));
}

#[test]
fn a_secret_key_with_the_public_key_of_another_is_refused() {
    let mut secret = keys(1).secret_key();
    secret[32..].copy_from_slice(&keys(2).public_key);
    assert_eq!(KeyPair::from_secret_key(&secret), Err(CryptoError::InconsistentSecretKey));
}

#[test]
fn a_handshake_keeps_its_order() {
    let (mut initiator, mut responder) = ends(Pattern::IK);
    assert!(initiator.recv(&[0; 96]).is_err());
    assert_eq!(initiator.send(b""), Err(CryptoError::OutOfTurn), "an error ends the handshake");
    assert_eq!(responder.send(b""), Err(CryptoError::OutOfTurn));
    assert_eq!(ends(Pattern::XX).0.finish().err(), Some(CryptoError::OutOfTurn));
    let mut without_key = Handshake::new(Pattern::IK, true, keys(1), None, b"");
    assert_eq!(without_key.send(b""), Err(CryptoError::RemoteKeyRequired));
}

#[test]
fn a_handshake_message_is_bounded() {
    let (mut initiator, _) = ends(Pattern::XX);
    assert_eq!(initiator.send(&[0; MAX_MESSAGE_BYTES]), Err(CryptoError::MessageTooLong));
    let (mut initiator, mut responder) = ends(Pattern::XX);
    let longest = initiator.send(&[0; MAX_MESSAGE_BYTES - 32]).expect("it fits");
    assert_eq!(responder.recv(&longest).map(|payload| payload.len()), Ok(MAX_MESSAGE_BYTES - 32));
    let (_, mut responder) = ends(Pattern::XX);
    assert_eq!(responder.recv(&[0; MAX_MESSAGE_BYTES + 1]), Err(CryptoError::MessageTooLong));
}

#[test]
fn every_changed_or_shortened_handshake_message_is_refused() {
    let (mut initiator, _) = ends(Pattern::IK);
    let message = initiator.send(b"payload").expect("its turn");
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        assert!(ends(Pattern::IK).1.recv(&changed).is_err(), "byte {at}");
        assert!(ends(Pattern::IK).1.recv(&message[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(ends(Pattern::IK).1.recv(&message).as_deref(), Ok(&b"payload"[..]));
}

#[test]
fn a_prologue_must_be_shared() {
    let (initiator, responder) = (keys(1), keys(2));
    let key = responder.public_key;
    let mut initiator = Handshake::new(Pattern::IK, true, initiator, Some(key), b"one");
    let mut responder = Handshake::new(Pattern::IK, false, responder, None, b"another");
    assert_eq!(responder.recv(&initiator.send(b"").expect("its turn")), Err(CryptoError::NotAuthentic));
}

#[test]
fn a_stream_takes_every_tag_and_rekeys() {
    let mut push = Push::new(&[1; 32], &[2; 24]);
    let mut pull = Pull::new(&[1; 32], &[2; 24]);
    for tag in [TAG_MESSAGE, TAG_PUSH, TAG_REKEY, TAG_MESSAGE, TAG_FINAL, TAG_MESSAGE] {
        let mut sealed = push.seal_tagged(b"message", tag);
        let (opened, range) = pull.open_in_place(&mut sealed).expect("authentic");
        assert_eq!((opened, &sealed[range]), (tag, &b"message"[..]));
    }
    // Without the change of key the stream would have gone on differently.
    let mut steady = Push::new(&[1; 32], &[2; 24]);
    let [first, second] = [steady.seal(b""), steady.seal(b"")];
    let mut rekeyed = Push::new(&[1; 32], &[2; 24]);
    assert_ne!(rekeyed.seal_tagged(b"", TAG_REKEY), first);
    assert_ne!(rekeyed.seal(b""), second);
}

#[test]
fn a_stream_opens_nothing_twice_or_out_of_order() {
    let mut push = Push::new(&[1; 32], &[2; 24]);
    let mut pull = Pull::new(&[1; 32], &[2; 24]);
    let [first, second] = [push.seal(b"first"), push.seal(b"second")];
    assert_eq!(pull.open(&second), Err(CryptoError::NotAuthentic));
    // A failure leaves the stream where it was.
    assert_eq!(pull.open(&first).as_deref(), Ok(&b"first"[..]));
    assert_eq!(pull.open(&first), Err(CryptoError::NotAuthentic));
    assert_eq!(pull.open(&second).as_deref(), Ok(&b"second"[..]));
}

#[test]
fn short_buffers_are_errors() {
    for length in 0..ABYTES {
        assert_eq!(
            Push::new(&[1; 32], &[2; 24]).seal_in_place(&mut vec![0; length]),
            Err(CryptoError::MessageTooShort)
        );
        assert_eq!(Pull::new(&[1; 32], &[2; 24]).open(&vec![0; length]), Err(CryptoError::MessageTooShort));
    }
}

#[test]
fn key_stretching_refuses_what_libsodium_refuses() {
    for (operations, memory) in [(2, 1 << 20), (3, 8191), (3, usize::MAX)] {
        assert_eq!(pwhash::argon2i(b"", &[0; 16], operations, memory), Err(CryptoError::StretchingParameters));
    }
    assert!(pwhash::argon2i(b"", &[0; 16], 3, 8192).is_ok());
}

proptest! {
    #[test]
    fn a_stream_carries_messages_of_any_size(
        sizes in vec(prop_oneof![0..600usize, 3900..4500usize, 60_000..66_000usize], 1..6), flip: usize,
    ) {
        let mut push = Push::new(&[1; 32], &[2; 24]);
        let mut pull = Pull::new(&[1; 32], &[2; 24]);
        for size in sizes {
            let message: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let sealed = push.seal(&message);
            prop_assert_eq!(sealed.len(), size + ABYTES);
            let mut changed = sealed.clone();
            changed[flip % sealed.len()] ^= 0x80;
            let before = changed.clone();
            prop_assert_eq!(pull.open_in_place(&mut changed), Err(CryptoError::NotAuthentic));
            prop_assert_eq!(changed, before);
            prop_assert_eq!(pull.open(&sealed), Ok(message));
        }
    }

    #[test]
    fn arbitrary_bytes_are_not_authentic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Pull::new(&[1; 32], &[2; 24]).open(&bytes).is_err());
        prop_assert_eq!(secretbox::open(&[1; 32], &[2; 24], &bytes), None);
        prop_assert!(ends(Pattern::IK).1.recv(&bytes).is_err());
    }

    #[test]
    fn a_box_carries_messages_of_any_size(message in vec(any::<u8>(), 0..300), flip: usize) {
        let mut sealed = secretbox::seal(&[1; 32], &[2; 24], &message);
        prop_assert_eq!(secretbox::open(&[1; 32], &[2; 24], &sealed), Some(message));
        let at = flip % sealed.len();
        sealed[at] ^= 1;
        prop_assert_eq!(secretbox::open(&[1; 32], &[2; 24], &sealed), None);
    }
}
