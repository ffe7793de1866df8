//! The bytes of the JavaScript module, and bytes that nobody sends.

use blind_relay::{Pair, Unpair};
use proptest::prelude::*;
use testing::{hex, unhex, vector_json};

#[test]
fn vector_messages_are_read_and_written() {
    for file in ["network/pinned.json", "network/latest.json"] {
        let vectors = vector_json(file);
        let messages = vectors["blindRelay"].as_object().expect("messages");
        assert!(!messages.is_empty());
        for (name, bytes) in messages {
            let bytes = unhex(bytes.as_str().expect("hex"));
            let again = if name.starts_with("pair") {
                let pair = Pair::decode(&bytes).expect(name);
                assert_eq!(pair.is_initiator, name.contains("initiator"), "{name}");
                pair.encode()
            } else {
                Unpair::decode(&bytes).expect(name).encode()
            };
            assert_eq!(hex(&again), hex(&bytes), "{name}");
            for end in 0..bytes.len() {
                assert!(Pair::decode(&bytes[..end]).is_err(), "{name} cut at {end}");
                assert!(Unpair::decode(&bytes[..end.min(32)]).is_err(), "{name} cut at {end}");
            }
        }
    }
}

#[test]
fn an_id_that_is_no_stream_id_is_refused() {
    let pair = Pair { is_initiator: true, token: [1; 32], id: u32::MAX, seq: 0 };
    let mut bytes = pair.encode();
    assert_eq!(Pair::decode(&bytes), Ok(pair));
    bytes.truncate(33);
    bytes.extend([0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert!(Pair::decode(&bytes).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(pair) = Pair::decode(&bytes) {
            prop_assert_eq!(Pair::decode(&pair.encode()), Ok(pair));
        }
        let _ = Unpair::decode(&bytes);
    }
}
