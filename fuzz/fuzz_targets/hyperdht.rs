//! Every message of HyperDHT: what decodes is encoded, decodes again to the same, and is encoded to the same. No signature is
//! accepted.
#![no_main]

use hyperdht::messages::{
    Announce, Handshake, Holepunch, HolepunchPayload, LookupReply, MutableGet, MutablePut, NoisePayload, PeerRecord,
};
use hyperdht::signatures::verify_mutable;
use libfuzzer_sys::fuzz_target;

macro_rules! round_trip {
    ($type:ident, $data:expr) => {
        if let Ok(message) = $type::decode($data) {
            assert_eq!($type::decode(&message.encode()), Ok(message.clone()));
        }
    };
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    match choice % 9 {
        0 => round_trip!(Handshake, data),
        1 => round_trip!(Holepunch, data),
        2 => {
            // The versions of its parts are read as they come and written as ours.
            if let Ok(message) = NoisePayload::decode(data)
                && message.version == 1
            {
                let encoded = message.encode();
                assert_eq!(NoisePayload::decode(&encoded).map(|again| again.encode()), Ok(encoded));
            }
        }
        3 => round_trip!(HolepunchPayload, data),
        4 => round_trip!(PeerRecord, data),
        5 => {
            if let Ok(message) = LookupReply::decode(data) {
                assert!(message.peers.len() * 33 <= data.len());
                let records: Vec<_> = message.peers.iter().map(PeerRecord::encode).collect();
                let encoded = LookupReply::encode_raw(&records, message.bump);
                assert_eq!(LookupReply::decode(&encoded), Ok(message));
            }
        }
        6 => round_trip!(Announce, data),
        7 => {
            round_trip!(MutablePut, data);
            if let Ok(put) = MutablePut::decode(data) {
                assert!(!verify_mutable(put.seq, put.value, &put.signature, &put.public_key));
            }
        }
        _ => round_trip!(MutableGet, data),
    }
});
