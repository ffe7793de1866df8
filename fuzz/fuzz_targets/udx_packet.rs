//! The packet header, its split into SACK area and payload, and the SACK blocks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use udx::packet::{HEADER_LEN, Header, sack_blocks, stream_id};

fuzz_target!(|data: &[u8]| {
    let Some(header) = Header::decode(data) else {
        assert_eq!(stream_id(data), None);
        return;
    };
    assert_eq!(stream_id(data), Some(header.stream_id));
    assert_eq!(header.encode()[..], data[..HEADER_LEN]);
    let body = &data[HEADER_LEN..];
    if let Some((extension, payload)) = header.split(body) {
        assert!(extension.len() + payload.len() <= body.len());
        assert!(sack_blocks(extension).count() * 8 <= extension.len());
    }
});
