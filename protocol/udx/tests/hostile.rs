//! A stream machine against packets that no honest peer sends: nothing panics, nothing grows, nothing wrong is delivered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use udx::CloseReason;
use udx::packet::{HEADER_LEN, Header, flags};
use udx::stream::{BASE_MTU, Path, RECEIVE_WINDOW, StreamConfig, StreamState};

const WINDOW: u32 = RECEIVE_WINDOW as u32;

/// A connected stream, the clock, and what it sent.
struct Victim {
    state: StreamState,
    now: Instant,
    sent: Vec<(Header, Vec<u8>)>,
}

impl Victim {
    fn new() -> Self {
        let now = Instant::now();
        let mut state = StreamState::new(StreamConfig::new(7), now);
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        assert!(state.connect(Path { socket: 1, remote_id: 8, addr }, None));
        Self { state, now, sent: Vec::new() }
    }

    fn transmit(&mut self) {
        let mut buffer = Vec::new();
        while let Some(transmit) = self.state.poll_transmit(self.now, 64, &mut buffer) {
            for packet in buffer.chunks(transmit.segment_size) {
                let header = Header::decode(packet).expect("what it sends is UDX");
                self.sent.push((header, packet[HEADER_LEN..].to_vec()));
            }
        }
    }

    /// Writes and sends; gives the number of packets that went out.
    fn write(&mut self, data: &'static [u8]) -> usize {
        let before = self.sent.len();
        let mut data = Bytes::from_static(data);
        while self.state.write(&mut data) && !data.is_empty() {}
        self.state.flush();
        self.transmit();
        self.sent.len() - before
    }

    fn packet(&mut self, bits: u8, seq: u32, ack: u32, body: &[u8]) {
        self.packet_with(Header { flags: bits, data_offset: 0, stream_id: 7, window: WINDOW, seq, ack }, body);
    }

    fn packet_with(&mut self, header: Header, body: &[u8]) {
        self.state.handle_packet(self.now, &header, body);
        self.state.end_batch(self.now);
        self.transmit();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.state.next_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.state.handle_timeout(self.now);
            self.transmit();
        }
        self.now = end;
    }

    fn read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(block) = self.state.read() {
            bytes.extend_from_slice(&block);
        }
        bytes
    }
}

fn sack(blocks: &[(u32, u32)]) -> Vec<u8> {
    blocks.iter().flat_map(|(start, end)| [start.to_le_bytes(), end.to_le_bytes()].concat()).collect()
}

#[test]
fn forged_sack_blocks_are_ignored() {
    let mut victim = Victim::new();
    assert_eq!(victim.write(b"0123456789"), 1);
    // Backwards (this one froze libudx for half a minute), beyond what was sent, everything, nothing, and overlapping.
    for blocks in [
        vec![(1, 0)],
        vec![(0, 2)],
        vec![(5, 9)],
        vec![(u32::MAX, 0)],
        vec![(0, 0)],
        vec![(0x8000_0000, 0x7fff_ffff)],
        vec![(1, u32::MAX); 500],
    ] {
        victim.packet(flags::SACK, 0, 0, &sack(&blocks));
        assert_eq!(victim.state.stats().in_flight, 1, "{blocks:?}");
    }
    victim.packet(flags::SACK, 0, 0, b"odd");
    victim.packet(0, 0, 1, b"");
    assert_eq!(victim.state.stats().in_flight, 0);
}

#[test]
fn acknowledgements_of_the_future_are_ignored() {
    let mut victim = Victim::new();
    victim.write(b"0123456789");
    for ack in [2, 1000, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        victim.packet(0, 0, ack, b"");
        assert_eq!(victim.state.buffered(), 10, "{ack}");
    }
}

#[test]
fn what_a_packet_far_ahead_acknowledges_counts_and_so_does_its_end() {
    let mut victim = Victim::new();
    victim.write(b"0123456789");
    victim.packet(flags::DATA, 40_000, 1, b"x");
    assert_eq!(victim.state.buffered(), 0);
    assert_eq!(victim.state.close_reason(), None);
    victim.packet(flags::DESTROY, 40_001, 1, b"");
    assert_eq!(victim.state.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn a_probe_of_an_old_path_says_nothing_about_the_new_one() {
    let mut victim = Victim::new();
    victim.write(b"starts the search");
    victim.packet(0, 0, 1, b"");
    victim.write(&[7; 20_000]);
    assert!(victim.sent.iter().any(|(header, _)| header.data_offset != 0), "a probe is under way");
    let addr = SocketAddr::from(([127, 0, 0, 2], 9));
    assert!(victim.state.change_path(Path { socket: 1, remote_id: 8, addr }));
    victim.packet(0, 0, victim.sent.len() as u32, b"");
    assert_eq!((victim.state.buffered(), victim.state.mtu()), (0, BASE_MTU));
}

#[test]
fn data_far_ahead_is_dropped_and_what_is_held_is_bounded() {
    let mut victim = Victim::new();
    for seq in [40_000, 1 << 20, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        victim.packet(flags::DATA, seq, 0, b"x");
    }
    assert!(victim.sent.iter().all(|(header, _)| !header.has(flags::SACK)), "nothing was held");
    for seq in 1..60_000 {
        victim.state.handle_packet(
            victim.now,
            &Header { flags: flags::DATA, data_offset: 0, stream_id: 7, window: WINDOW, seq, ack: 0 },
            &[0; 1400],
        );
    }
    victim.state.end_batch(victim.now);
    victim.transmit();
    let dropped = victim.state.stats().packets_dropped;
    assert!(dropped as usize > 60_000 - 3 * RECEIVE_WINDOW / 1400, "{dropped}");
    // The stream still works.
    victim.packet(flags::DATA, 0, 0, b"first");
    assert_eq!(&victim.read()[..5], b"first");
}

#[test]
fn every_sack_that_we_send_is_true() {
    let mut victim = Victim::new();
    // Every second packet of a long stretch: more ranges than one packet can name.
    for seq in (1..400).step_by(2) {
        victim.packet(flags::DATA, seq, 0, b"x");
    }
    let (header, body) = victim.sent.last().unwrap();
    assert_eq!((header.flags, header.ack, body.len()), (flags::SACK, 0, 400));
    let mut last = 0;
    for block in body.chunks(8) {
        let start = u32::from_le_bytes(block[..4].try_into().unwrap());
        let end = u32::from_le_bytes(block[4..].try_into().unwrap());
        assert!(start > last && end == start + 1 && start % 2 == 1, "{start}..{end}");
        last = end;
    }
}

#[test]
fn a_window_from_a_packet_of_the_past_does_not_count() {
    let mut victim = Victim::new();
    victim.write(b"a");
    victim.packet(0, 5, 1, b"");
    let mut old = Header { flags: 0, data_offset: 0, stream_id: 7, window: 0, seq: 4, ack: 1 };
    victim.packet_with(old, b"");
    assert_eq!(victim.state.stats().peer_window, WINDOW);
    old.ack = 0;
    old.seq = 9;
    victim.packet_with(old, b"");
    assert_eq!(victim.state.stats().peer_window, WINDOW);
    // A packet number far ahead does not silence later, honest updates.
    let forged = Header { flags: 0, data_offset: 0, stream_id: 7, window: 0, seq: 30_000, ack: 1 };
    victim.packet_with(forged, b"");
    assert_eq!(victim.state.stats().peer_window, 0);
    victim.write(b"b");
    victim.pass(Duration::from_secs(1));
    let probe = victim.sent.last().unwrap();
    assert_eq!(probe.0.flags, flags::HEARTBEAT);
}

#[test]
fn a_closed_window_is_probed_and_silence_ends_it() {
    let mut victim = Victim::new();
    victim.packet_with(Header { flags: 0, data_offset: 0, stream_id: 7, window: 0, seq: 0, ack: 0 }, b"");
    assert_eq!(victim.write(b"waits"), 0);
    victim.pass(Duration::from_secs(4));
    assert_eq!(victim.sent.iter().filter(|(header, _)| header.flags == flags::HEARTBEAT).count(), 2);
    // The answer opens the window by a little, then fully.
    victim.packet_with(Header { flags: 0, data_offset: 0, stream_id: 7, window: 2, seq: 0, ack: 0 }, b"");
    assert_eq!(victim.sent.last().unwrap().1, b"wa");
    victim.packet_with(Header { flags: 0, data_offset: 0, stream_id: 7, window: 0, seq: 0, ack: 1 }, b"");
    let start = victim.now;
    while victim.state.close_reason().is_none() {
        victim.pass(Duration::from_millis(100));
        assert!(victim.now - start < Duration::from_secs(20));
    }
    assert_eq!(victim.state.close_reason(), Some(CloseReason::TimedOut));
    assert!(victim.now - start > Duration::from_secs(12));
}

#[test]
fn a_heartbeat_is_answered_and_does_nothing_else() {
    let mut victim = Victim::new();
    victim.packet(flags::HEARTBEAT | flags::DATA | flags::DESTROY, 0, 0, b"data");
    assert_eq!((victim.sent.len(), victim.sent[0].0.flags), (1, 0));
    assert_eq!((victim.read().len(), victim.state.close_reason()), (0, None));
}

#[test]
fn contradicting_packets_are_dropped() {
    let mut victim = Victim::new();
    let header = Header { flags: flags::DATA, data_offset: 200, stream_id: 7, window: WINDOW, seq: 0, ack: 0 };
    victim.packet_with(header, b"short");
    victim.packet(flags::DATA | flags::SACK, 0, 0, b"12345678");
    assert_eq!((victim.read(), victim.sent.len()), (Vec::new(), 0));
    victim.packet_with(Header { data_offset: 3, ..header }, b"\0\0\0ok");
    assert_eq!(victim.read(), b"ok");
    // Nothing follows the end.
    victim.packet(flags::END, 1, 0, b"");
    victim.packet(flags::DATA, 2, 0, b"late");
    assert_eq!(victim.read(), b"");
    assert!(victim.state.read_ended());
}

#[test]
fn probes_of_a_closed_window_are_taken_for_a_long_time() {
    // libudx 1.19 probes with new data and gives up when it is refused.
    let mut victim = Victim::new();
    let full = RECEIVE_WINDOW / 1400 + 1;
    for seq in 0..full as u32 {
        victim.packet(flags::DATA, seq, 0, &[1; 1400]);
    }
    assert_eq!(victim.sent.last().unwrap().0.window, 0);
    for seq in 0..100 {
        victim.packet(flags::DATA, full as u32 + seq, 0, &[1; 1400]);
        assert_eq!(victim.sent.last().unwrap().0.ack, full as u32 + seq + 1);
    }
    let before = victim.sent.len();
    assert_eq!(victim.read().len(), (full + 100) * 1400);
    victim.transmit();
    assert_eq!(victim.sent.len(), before + 1, "the open window is announced");
    assert_eq!(victim.sent.last().unwrap().0.window, WINDOW);
}

#[test]
fn messages_beyond_the_queue_push_out_the_oldest() {
    let mut victim = Victim::new();
    for index in 0..1000u32 {
        victim.packet(flags::MESSAGE, 0, 0, &index.to_le_bytes());
    }
    let first = victim.state.receive_message().unwrap();
    assert_eq!(u32::from_le_bytes(first[..].try_into().unwrap()), 1000 - 256);
    assert_eq!(victim.state.stats().messages_dropped, 1000 - 256);
}

#[test]
fn a_destroyed_stream_answers_a_few_times_only() {
    let mut victim = Victim::new();
    victim.state.destroy();
    victim.transmit();
    for _ in 0..1000 {
        victim.packet(flags::DATA, 0, 0, b"x");
    }
    assert!(victim.sent.len() < 20, "{}", victim.sent.len());
    victim.pass(Duration::from_secs(10));
    assert!(victim.state.is_gone());
}

/// One step of an arbitrary history.
#[derive(Clone, Debug)]
enum Step {
    Packet { bits: u8, offset: u8, window: u32, seq: i32, ack: i32, body: Vec<u8> },
    Sack { blocks: Vec<(i32, i32)>, ack: i32 },
    Write(u16),
    Read,
    Pass(u16),
    End,
    Destroy,
}

fn step() -> impl Strategy<Value = Step> {
    let near = prop_oneof![8 => -3..40i32, 1 => any::<i32>()];
    let window = prop_oneof![3 => Just(WINDOW), 1 => 0..5000u32, 1 => any::<u32>()];
    let bits = prop_oneof![4 => Just(flags::DATA), 3 => Just(0u8), 1 => any::<u8>()];
    let offset = prop_oneof![4 => Just(0u8), 1 => any::<u8>()];
    let body = proptest::collection::vec(any::<u8>(), 0..60);
    let ends = proptest::collection::vec((-3..40i32, -3..40i32), 0..60);
    prop_oneof![
        8 => (bits, offset, window, near.clone(), near.clone(), body)
            .prop_map(|(bits, offset, window, seq, ack, body)| Step::Packet { bits, offset, window, seq, ack, body }),
        4 => (ends, near).prop_map(|(blocks, ack)| Step::Sack { blocks, ack }),
        4 => (1..20_000u16).prop_map(Step::Write),
        1 => Just(Step::Read),
        3 => (0..3000u16).prop_map(Step::Pass),
        1 => Just(Step::End),
        1 => Just(Step::Destroy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Numbers are taken relative to those of the present, so that a good part of the packets is believable.
    #[test]
    fn any_history_is_survived_within_the_limits(
        steps in proptest::collection::vec(step(), 1..120),
        initial in prop_oneof![Just(0u32), Just(u32::MAX - 5), any::<u32>()],
    ) {
        let now = Instant::now();
        let config = StreamConfig { initial_seq: initial, initial_ack: initial, ..StreamConfig::new(7) };
        let mut victim = Victim { state: StreamState::new(config, now), now, sent: Vec::new() };
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        victim.state.connect(Path { socket: 1, remote_id: 8, addr }, None);
        let (mut next, mut una) = (initial, initial);
        for step in steps {
            match step {
                Step::Packet { bits, offset, window, seq, ack, body } => {
                    let header = Header {
                        flags: bits,
                        data_offset: offset,
                        stream_id: 7,
                        window,
                        seq: next.wrapping_add_signed(seq),
                        ack: una.wrapping_add_signed(ack),
                    };
                    victim.packet_with(header, &body);
                }
                Step::Sack { blocks, ack } => {
                    let blocks: Vec<(u32, u32)> =
                        blocks.iter().map(|(s, e)| (una.wrapping_add_signed(*s), una.wrapping_add_signed(*e))).collect();
                    victim.packet(flags::SACK, next, una.wrapping_add_signed(ack), &sack(&blocks));
                }
                Step::Write(len) => {
                    let mut data = Bytes::from(vec![0; usize::from(len)]);
                    victim.state.write(&mut data);
                    victim.state.flush();
                    victim.transmit();
                }
                Step::Read => { victim.read(); }
                Step::Pass(millis) => victim.pass(Duration::from_millis(millis.into())),
                Step::End => { victim.state.end(); victim.transmit(); }
                Step::Destroy => if victim.sent.len().is_multiple_of(7) { victim.state.destroy(); victim.transmit(); },
            }
            if let Some((header, _)) = victim.sent.last() {
                next = header.ack;
                una = header.seq;
            }
            let stats = victim.state.stats();
            prop_assert!(victim.state.buffered() <= (256 << 10) + 65_536 * 1452);
            prop_assert!(stats.in_flight <= 65_536);
            prop_assert!(stats.congestion_window >= 1);
        }
        for (header, body) in &victim.sent {
            prop_assert_eq!(header.stream_id, 8);
            prop_assert!(HEADER_LEN + body.len() <= 1500 - 28);
            prop_assert!(header.split(body).is_some());
        }
        // Whatever happened, it comes to rest: at most keeps asking about a closed window.
        victim.state.destroy();
        victim.transmit();
        victim.pass(Duration::from_secs(60));
        prop_assert!(victim.state.is_gone());
        prop_assert_eq!(victim.state.next_timeout(), None);
    }
}
