//! Two streams over a link that delays, drops, doubles and reorders as the input says. Whatever it does, what arrives is a prefix
//! of what was written; and when the link becomes perfect, everything arrives, unless a side gave up.
#![no_main]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use udx::packet::{HEADER_LEN, Header};
use udx::stream::{Path, StreamConfig, StreamState};

/// Steps of a perfect link after which everything must have arrived.
const SETTLE_STEPS: usize = 20_000;

struct End {
    state: StreamState,
    written: Vec<u8>,
    read: Vec<u8>,
    /// Packets on their way to this end.
    incoming: VecDeque<Vec<u8>>,
}

impl End {
    fn new(id: u32, remote_id: u32, seq: u32, ack: u32, now: Instant) -> Self {
        let config = StreamConfig { initial_seq: seq, initial_ack: ack, ..StreamConfig::new(id) };
        let mut state = StreamState::new(config, now);
        let addr = "127.0.0.1:1".parse().expect("an address");
        assert!(state.connect(Path { socket: 1, remote_id, addr }, None));
        Self { state, written: Vec::new(), read: Vec::new(), incoming: VecDeque::new() }
    }

    fn write(&mut self, len: usize, seed: u8) {
        let data: Vec<u8> = (0..len).map(|index| (index as u8).wrapping_mul(31) ^ seed).collect();
        let mut left = Bytes::from(data.clone());
        self.state.write(&mut left);
        self.state.flush();
        self.written.extend(&data[..data.len() - left.len()]);
    }

    fn read(&mut self) {
        while let Some(chunk) = self.state.read() {
            self.read.extend_from_slice(&chunk);
        }
    }

    fn receive(&mut self, packet: &[u8], now: Instant) {
        let header = Header::decode(packet).expect("our own packets decode");
        self.state.handle_packet(now, &header, &packet[HEADER_LEN..]);
        self.state.end_batch(now);
    }

    fn transmit(&mut self, now: Instant, to: &mut VecDeque<Vec<u8>>) {
        let mut buffer = Vec::new();
        while let Some(transmit) = self.state.poll_transmit(now, 8, &mut buffer) {
            to.extend(buffer.chunks(transmit.segment_size).map(<[u8]>::to_vec));
        }
    }

    fn timeouts(&mut self, now: Instant) {
        if self.state.next_timeout().is_some_and(|due| due <= now) {
            self.state.handle_timeout(now);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((seqs, schedule)) = data.split_first_chunk::<4>() else { return };
    // Near the wrap of sequence numbers every other time.
    let seq = |low: u8, high: u8| if high % 2 == 0 { u32::from(low) } else { u32::MAX - u32::from(low) };
    let (seq_a, seq_b) = (seq(seqs[0], seqs[1]), seq(seqs[2], seqs[3]));
    let start = Instant::now();
    let mut now = start;
    let mut ends = [End::new(1, 2, seq_a, seq_b, start), End::new(2, 1, seq_b, seq_a, start)];

    for step in schedule.chunks_exact(2).take(4_000) {
        let (side, action) = (usize::from(step[0] & 1), step[0] >> 1);
        match action % 8 {
            0 => ends[side].write(usize::from(step[1]) * 37, step[0]),
            1 => now += Duration::from_millis(u64::from(step[1])),
            2 => ends[side].read(),
            3 => drop(ends[side].incoming.pop_front()),
            4 => {
                let at = usize::from(step[1]);
                if let Some(packet) = ends[side].incoming.get(at).cloned() {
                    ends[side].incoming.push_back(packet);
                }
            }
            5 => {
                let (len, at) = (ends[side].incoming.len(), usize::from(step[1]));
                if len > 1 {
                    ends[side].incoming.swap(0, at % len);
                }
            }
            6 => ends[side].state.end(),
            _ => {
                for _ in 0..=step[1] {
                    let Some(packet) = ends[side].incoming.pop_front() else { break };
                    ends[side].receive(&packet, now);
                }
            }
        }
        turn(&mut ends, now);
        check(&ends);
    }

    for end in &mut ends {
        end.state.end();
    }
    // A side that gave its peer up before the link became perfect (the end unanswered three times, anything else seven
    // times) has nothing more to send: its peer may wait for ever, which is for the layers above to notice.
    turn(&mut ends, now);
    let gave_up_before = ends.iter().any(|end| end.state.close_reason().is_some());
    for _ in 0..SETTLE_STEPS {
        turn(&mut ends, now);
        for end in &mut ends {
            while let Some(packet) = end.incoming.pop_front() {
                end.receive(&packet, now);
            }
            end.read();
        }
        if ends.iter().all(|end| end.state.close_reason().is_some()) {
            break;
        }
        let next = ends.iter().filter_map(|end| end.state.next_timeout()).min();
        now = next.map_or(now + Duration::from_millis(1), |next| next.max(now + Duration::from_micros(100)));
    }
    check(&ends);
    let gave_up = ends.iter().any(|end| end.state.close_reason() != Some(udx::CloseReason::Finished));
    if !gave_up {
        assert_eq!(ends[0].read, ends[1].written);
        assert_eq!(ends[1].read, ends[0].written);
    } else {
        assert!(
            gave_up_before || ends.iter().any(|end| end.state.close_reason() == Some(udx::CloseReason::TimedOut)),
            "over a perfect link the streams neither finish nor give up: {:?}",
            ends.iter().map(|end| end.state.close_reason()).collect::<Vec<_>>()
        );
    }
});

fn turn(ends: &mut [End; 2], now: Instant) {
    let [a, b] = ends;
    a.timeouts(now);
    b.timeouts(now);
    a.transmit(now, &mut b.incoming);
    b.transmit(now, &mut a.incoming);
}

fn check(ends: &[End; 2]) {
    assert!(ends[1].written.starts_with(&ends[0].read));
    assert!(ends[0].written.starts_with(&ends[1].read));
}
