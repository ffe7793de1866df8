//! Secret-stream framing: in whatever pieces bytes arrive, the frames are the same, memory follows the bytes and not what they
//! announce, and a genuine stream with one change in it never delivers anything else than its true beginning.
#![no_main]

use bytes::BytesMut;
use crypto::KeyPair;
use crypto::noise::{Handshake, Pattern, Session};
use libfuzzer_sys::fuzz_target;
use secret_stream::framing::FrameReader;
use secret_stream::unordered::Envelope;
use secret_stream::{Core, Entropy, Event};

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    frames(data, usize::from(*choice).max(1));
    arbitrary(data, *choice);
    changed(data, *choice);
    assert_eq!(Envelope::new(&[1; 64], true, 0).open(data), None);
});

/// All frames, given in pieces of `piece` bytes, or the error that ended them.
fn read_frames(data: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let mut reader = FrameReader::new(1 << 20);
    let mut frames = Vec::new();
    let mut given = 0;
    for chunk in data.chunks(piece) {
        given += chunk.len();
        reader.push(BytesMut::from(chunk));
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        assert!(reader.reserved() <= 4 * given + 4096, "{} bytes held for {given}", reader.reserved());
    }
    (frames, false)
}

fn frames(data: &[u8], piece: usize) {
    let whole = read_frames(data, data.len().max(1));
    assert_eq!(read_frames(data, piece), whole);
    assert_eq!(read_frames(data, 1), whole);
}

/// Arbitrary bytes are never a message.
fn arbitrary(data: &[u8], choice: u8) {
    let keys = KeyPair::from_seed(&[1; 32]);
    let entropy = Entropy { header: [7; 24], counter: 0 };
    let mut core = match choice % 3 {
        0 => Core::handshake(true, keys, entropy).expect("a first message"),
        1 => Core::handshake(false, keys, entropy).expect("nothing to fail"),
        _ => Core::from_session(sessions().1, [0; 32], entropy),
    };
    core.input(BytesMut::from(data));
    while let Ok(Some(event)) = core.poll_event() {
        assert!(!matches!(event, Event::Message(_) | Event::Connected));
    }
}

fn sessions() -> (Session, Session) {
    let (a, b) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let mut initiator = Handshake::new(Pattern::IK, true, a, Some(b.public_key), &[]);
    let mut responder = Handshake::new(Pattern::IK, false, b, None, &[]);
    let first = initiator.send(&[]).expect("the first message");
    responder.recv(&first).expect("it is genuine");
    let second = responder.send(&[]).expect("the second message");
    initiator.recv(&second).expect("it is genuine");
    (initiator.finish().expect("complete"), responder.finish().expect("complete"))
}

/// A genuine stream of messages cut out of `data`, with one byte of it changed.
fn changed(data: &[u8], choice: u8) {
    let Some((at, messages)) = data.split_first_chunk::<2>() else { return };
    let (sending, receiving) = sessions();
    let mut sender = Core::from_session(sending, [0; 32], Entropy { header: [1; 24], counter: 0 });
    let sent: Vec<&[u8]> = messages.chunks(usize::from(choice).max(1)).collect();
    for message in &sent {
        sender.send(&[message]).expect("it is short");
    }
    let mut wire = BytesMut::from(&sender.take_outgoing()[..]);
    let at = usize::from(u16::from_le_bytes(*at)) % wire.len();
    wire[at] ^= choice | 1;
    let mut receiver = Core::from_session(receiving, [0; 32], Entropy { header: [2; 24], counter: 0 });
    receiver.input(wire);
    let mut received = Vec::new();
    while let Ok(Some(event)) = receiver.poll_event() {
        if let Event::Message(message) = event {
            received.push(message);
        }
    }
    // Something is missing, and what came is the beginning.
    assert!(received.len() < sent.len().max(1));
    assert!(received.iter().zip(&sent).all(|(received, sent)| received == sent));
}
