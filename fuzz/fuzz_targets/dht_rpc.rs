//! DHT datagrams: what decodes is encoded, and decodes again to the same.
#![no_main]

use bytes::Bytes;
use dht_rpc::message::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let datagram = Bytes::copy_from_slice(data);
    let Some(message) = Message::decode(&datagram) else { return };
    let encoded = match &message {
        Message::Request(request) => request.encode(),
        Message::Response(response) => response.encode(),
    };
    assert!(encoded.len() <= data.len() + 16);
    assert_eq!(Message::decode(&Bytes::from(encoded)), Some(message));
});
