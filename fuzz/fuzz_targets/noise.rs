//! Noise handshakes against arbitrary messages, as either side of either pattern: none may complete.
#![no_main]

use crypto::KeyPair;
use crypto::noise::{Handshake, Pattern};
use crypto::secretstream::{HEADERBYTES, Pull};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let ours = KeyPair::from_seed(&[1; 32]);
    let theirs = KeyPair::from_seed(&[2; 32]);
    let initiator = choice & 1 == 0;
    let (pattern, remote) =
        if choice & 2 == 0 { (Pattern::IK, initiator.then_some(theirs.public_key)) } else { (Pattern::XX, None) };
    let mut handshake = Handshake::new(pattern, initiator, ours, remote, b"prologue");
    let mut rest = data;
    if initiator {
        handshake.send(b"payload").expect("the first message");
    }
    while let Some((len, after)) = rest.split_first() {
        let (message, after) = after.split_at(after.len().min(usize::from(*len)));
        rest = after;
        match handshake.recv(message) {
            Ok(_) if !handshake.is_complete() => drop(handshake.send(b"")),
            Ok(_) | Err(_) => break,
        }
    }
    // XX gives its responder no way to know the initiator before the last message, which arbitrary bytes do not authenticate.
    assert!(!handshake.is_complete());

    if let Some((header, frame)) = data.split_first_chunk::<HEADERBYTES>() {
        let mut frame = frame.to_vec();
        assert!(Pull::new(&[3; 32], header).open_in_place(&mut frame).is_err());
        assert!(crypto::secretbox::open(&[3; 32], header, data).is_none());
    }
    if let (Some(key), Some(signature)) = (data.first_chunk::<32>(), data.last_chunk::<64>()) {
        let _ = crypto::verify(key, data, signature);
        let _ = crypto::dh(&theirs, key);
    }
});
