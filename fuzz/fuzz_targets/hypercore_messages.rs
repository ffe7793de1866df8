//! Messages of `hypercore/alpha`: what can be read is written and read again as the same.
#![no_main]

use bytes::Bytes;
use hypercore::replication::messages::{Handshake, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, body)) = data.split_first() else { return };
    let _ = Handshake::decode(body);
    let kind = u64::from(kind % 11);
    let Ok(Some(message)) = Message::decode(kind, &Bytes::copy_from_slice(body)) else { return };
    let (encoded_kind, encoded) = message.encode();
    assert_eq!(encoded_kind, kind);
    let again = Message::decode(kind, &encoded.into()).expect("what was written can be read");
    // The reason of a refusal is read, and not written.
    if !matches!(message, Message::NoData { .. }) {
        assert_eq!(again, Some(message));
    }
});
