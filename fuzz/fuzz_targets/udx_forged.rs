//! One stream against a peer that sends whatever it likes: forged acknowledgements and SACKs, data far ahead, windows of zero. The
//! stream does not panic, does not spin, and does not buffer without bound.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use udx::packet::Header;
use udx::stream::{Path, RECEIVE_WINDOW, StreamConfig, StreamState};

/// Batches that one moment may produce: far more than a window.
const MAX_BATCHES: usize = 100_000;

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let mut state = StreamState::new(StreamConfig::new(1), now);
    let addr = "127.0.0.1:1".parse().expect("an address");
    state.connect(Path { socket: 1, remote_id: 2, addr }, None);
    let mut rest = data;
    let mut buffer = Vec::new();
    let (mut received, mut read) = (0, 0);
    while let Some((step, after)) = rest.split_first_chunk::<2>() {
        rest = after;
        match step[0] % 8 {
            0 => {
                let mut data = Bytes::from(vec![step[1]; usize::from(step[1]) * 64]);
                state.write(&mut data);
                state.flush();
            }
            1 => now += Duration::from_millis(u64::from(step[1]) * 4),
            2 => read += state.read().map_or(0, |chunk| chunk.len()),
            3 => state.end(),
            4 => drop(state.send_message(&vec![0; usize::from(step[1])])),
            _ => {
                // seq and ack near what the stream expects, the rest as it comes.
                let Some((fields, after)) = rest.split_first_chunk::<8>() else { break };
                let (body, after) = after.split_at(after.len().min(usize::from(step[1])));
                rest = after;
                let header = Header {
                    flags: fields[0],
                    data_offset: fields[1],
                    stream_id: 1,
                    window: u32::from_le_bytes([0, fields[2], fields[3] & 15, 0]),
                    seq: u32::from(u16::from_le_bytes([fields[4], fields[5]])).wrapping_sub(256),
                    ack: u32::from(u16::from_le_bytes([fields[6], fields[7]])).wrapping_sub(32_000),
                };
                received += body.len();
                state.handle_packet(now, &header, body);
                state.end_batch(now);
                let _ = state.receive_message();
            }
        }
        if state.next_timeout().is_some_and(|due| due <= now) {
            state.handle_timeout(now);
        }
        let batches = std::iter::from_fn(|| state.poll_transmit(now, 8, &mut buffer)).take(MAX_BATCHES).count();
        assert!(batches < MAX_BATCHES, "it never stops to send");
        assert!(read <= received && state.buffered() <= 2 * RECEIVE_WINDOW);
    }
});
