//! The state machine of one stream, without sockets, clocks or tasks.
//!
//! Packets, bytes and the time come in; packets, bytes and deadlines go out:
//!
//! - [`StreamState::handle_packet`] for each packet of a receive batch, then [`StreamState::end_batch`] once;
//! - [`StreamState::write`], [`StreamState::end`], [`StreamState::read`] for the application;
//! - [`StreamState::poll_transmit`] until it has nothing, after any of these;
//! - [`StreamState::next_timeout`] and [`StreamState::handle_timeout`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::congestion::{Bbr, Pacer, RateSampler, Recovery};
use crate::error::CloseReason;
use crate::packet::{self, HEADER_LEN};

mod input;
mod loss;
mod mtu;
mod output;
mod recv;
mod rtt;
mod send;
mod timeout;
mod window;

pub use mtu::{BASE_MTU, MAX_MTU};
pub use output::Transmit;
pub use window::RECEIVE_WINDOW;

use loss::Rack;
use mtu::MtuSearch;
use recv::Inbox;
use rtt::Rtt;
use send::Outbox;
use window::PeerWindow;

/// Microseconds since the stream was created.
pub(crate) type Micros = u64;

/// Bytes that a writer may queue beyond what the window lets out at once.
const WRITE_BUFFER: usize = 256 << 10;
/// A blocked writer is woken when this much is free.
const WRITE_WAKE: usize = 64 << 10;
/// Unordered messages waiting to be read. At the limit the oldest is dropped: they are unreliable anyway.
const MAX_MESSAGES_IN: usize = 256;
/// Unordered messages waiting for the socket. At the limit sending fails.
const MAX_MESSAGES_OUT: usize = 256;
/// Changes of the remote that can be pending at once. At the limit the oldest path is forgotten and what was sent on it
/// is repeated on the next one.
const MAX_PATHS: usize = 4;
/// How long a finished stream still answers the peer, whose last packets may have been lost. JavaScript peers repeat
/// their end after 1, 3, 5, 7 ... seconds.
const LINGER: Micros = 8_000_000;
/// Answers that a destroyed stream gives while it lingers.
const LINGER_ANSWERS: u8 = 16;
/// What a new stream is made of.
#[derive(Clone, Copy, Debug)]
pub struct StreamConfig {
    /// The id that packets for this stream carry.
    pub local_id: u32,
    /// Number of the first packet that is sent.
    pub initial_seq: u32,
    /// Number of the first packet that is expected.
    pub initial_ack: u32,
    /// Largest IP packet to try, at most [`MAX_MTU`].
    pub mtu_limit: usize,
}

impl StreamConfig {
    /// The defaults of all peers: numbers begin at zero.
    #[must_use]
    pub fn new(local_id: u32) -> Self {
        Self { local_id, initial_seq: 0, initial_ack: 0, mtu_limit: MAX_MTU }
    }
}

/// Where the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Names the local socket to the driver.
    pub socket: u64,
    /// The stream's id at the peer.
    pub remote_id: u32,
    /// The peer's address.
    pub addr: SocketAddr,
}

impl Path {
    /// Bytes of IP and UDP header.
    fn overhead(&self) -> usize {
        if self.addr.is_ipv4() { 28 } else { 48 }
    }
}

/// A path and the first packet that was sent on it.
#[derive(Clone, Copy, Debug)]
struct PathSpan {
    first: u64,
    path: Path,
}

/// The life of the writing half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// The end is to be sent after what is queued.
    Queued,
    /// It is in the packet of this number.
    Sent(u64),
    Acked,
}

/// The life of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    /// To be destroyed: one packet still has to tell the peer.
    Destroying,
    /// Over; it answers late packets until then.
    Lingering(CloseReason, Micros),
    /// Over and silent; the id may be forgotten.
    Gone(CloseReason),
}

/// What the packets of the current batch brought.
#[derive(Debug, Default)]
struct Batch {
    /// Round trip of the newest packet that was sent once.
    rtt: Option<(Micros, Micros)>,
    lost: usize,
    acked_in_order: bool,
    delivered: bool,
}

/// Counters of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes sent, with UDX headers.
    pub bytes_sent: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Bytes received, with UDX headers.
    pub bytes_received: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Packets sent again.
    pub retransmits: u64,
    /// Times the retransmission timer fired.
    pub timeouts: u64,
    /// Times loss was found by later acknowledgements.
    pub fast_recoveries: u64,
    /// Tail probes sent.
    pub tail_probes: u64,
    /// Packets that were malformed, or dropped at a limit.
    pub packets_dropped: u64,
    /// Unordered messages dropped because nobody read them.
    pub messages_dropped: u64,
    /// Packets that may be in flight.
    pub congestion_window: usize,
    /// Packets in flight.
    pub in_flight: usize,
    /// Estimated bandwidth, bytes per second of full packets.
    pub bandwidth: u64,
    /// Window that the peer advertised, bytes.
    pub peer_window: u32,
}

/// The state of one stream.
#[derive(Debug)]
pub struct StreamState {
    epoch: Instant,
    local_id: u32,
    life: Life,
    /// Empty before `connect`; the last one is current.
    paths: VecDeque<PathSpan>,

    out: Outbox,
    end: End,
    push: bool,
    peer_window: PeerWindow,
    messages_out: VecDeque<Bytes>,

    inbox: Inbox,
    ack_owed: bool,
    /// Window in the last packet that was sent.
    advertised: u32,
    messages_in: VecDeque<Bytes>,
    last_received: Option<Micros>,

    rtt: Rtt,
    rack: Rack,
    recovery: Recovery,
    /// Recovery ends when everything below is acknowledged.
    recovery_end: u64,
    batch: Batch,

    rto_at: Option<Micros>,
    reorder_at: Option<Micros>,
    tail_at: Option<Micros>,
    probe_at: Option<Micros>,
    pace_at: Option<Micros>,
    trim_at: Option<Micros>,
    /// Unanswered probes of a closed window.
    window_probes: u32,
    /// A `HEARTBEAT` is to be sent now.
    heartbeat_due: bool,
    /// Idle time after which one is sent, and when that is.
    keepalive: Option<Micros>,
    keepalive_at: Option<Micros>,
    /// A tail probe is to be sent now.
    tail_due: bool,
    /// The last packet that a tail probe covers, while it is under way.
    tail_probe: Option<u64>,
    tail_permitted: bool,

    bbr: Bbr,
    rate: RateSampler,
    pacer: Pacer,
    mtu: MtuSearch,
    linger_answers: u8,
    /// A finished stream whose end nobody acknowledged says it once more then.
    farewell_at: Option<Micros>,
    stats: Stats,
}

impl StreamState {
    /// A stream that is not connected yet. It can receive at once.
    #[must_use]
    pub fn new(config: StreamConfig, now: Instant) -> Self {
        let first = packet::first_seq(config.initial_seq);
        let expected = packet::first_seq(config.initial_ack);
        Self {
            epoch: now,
            local_id: config.local_id,
            life: Life::Open,
            paths: VecDeque::new(),
            out: Outbox::new(first),
            end: End::Open,
            push: false,
            peer_window: PeerWindow::new(first),
            messages_out: VecDeque::new(),
            inbox: Inbox::new(expected),
            ack_owed: false,
            advertised: RECEIVE_WINDOW as u32,
            messages_in: VecDeque::new(),
            last_received: None,
            rtt: Rtt::new(),
            rack: Rack::default(),
            recovery: Recovery::Open,
            recovery_end: first,
            batch: Batch::default(),
            rto_at: None,
            reorder_at: None,
            tail_at: None,
            probe_at: None,
            pace_at: None,
            trim_at: None,
            window_probes: 0,
            heartbeat_due: false,
            keepalive: None,
            keepalive_at: None,
            tail_due: false,
            tail_probe: None,
            tail_permitted: true,
            bbr: Bbr::new(),
            rate: RateSampler::default(),
            pacer: Pacer::new(),
            mtu: MtuSearch::new(config.mtu_limit),
            linger_answers: 0,
            farewell_at: None,
            stats: Stats::default(),
        }
    }

    fn micros(&self, now: Instant) -> Micros {
        now.saturating_duration_since(self.epoch).as_micros() as Micros
    }

    fn instant(&self, at: Micros) -> Instant {
        self.epoch + Duration::from_micros(at)
    }

    /// The id that packets for this stream carry.
    #[must_use]
    pub fn local_id(&self) -> u32 {
        self.local_id
    }

    /// Says where the peer is. No packet is sent until there is something to say. False if it was said before; use
    /// [`StreamState::change_path`] then.
    pub fn connect(&mut self, path: Path, expected: Option<u32>) -> bool {
        if !self.paths.is_empty() || self.life != Life::Open {
            return false;
        }
        if let Some(expected) = expected {
            self.inbox.set_next(packet::first_seq(expected));
        }
        self.paths.push_back(PathSpan { first: self.out.una(), path });
        true
    }

    /// The current path.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.paths.back().map(|span| span.path)
    }

    /// Moves to another path. New packets go there at once; those already sent are repeated where they went first. Done
    /// when [`StreamState::path_changing`] is false again.
    pub fn change_path(&mut self, path: Path) -> bool {
        if self.paths.is_empty() || self.life != Life::Open {
            return false;
        }
        let first = self.out.next();
        self.paths.retain(|span| span.first < first);
        self.paths.push_back(PathSpan { first, path });
        if self.paths.len() > MAX_PATHS {
            self.paths.pop_front();
        }
        self.forget_old_paths();
        // What arrives over the old path says nothing about the size that the new one carries.
        self.out.forget_probes();
        self.mtu.reset();
        true
    }

    /// Whether packets on an earlier path are still unacknowledged.
    #[must_use]
    pub fn path_changing(&self) -> bool {
        self.paths.len() > 1
    }

    /// The sockets that packets may still leave from.
    pub fn sockets(&self) -> impl Iterator<Item = u64> + '_ {
        self.paths.iter().map(|span| span.path.socket)
    }

    fn forget_old_paths(&mut self) {
        while self.paths.get(1).is_some_and(|next| next.first <= self.out.una()) {
            self.paths.pop_front();
        }
    }

    /// The place in the list of the path that this packet was sent on first.
    fn path_index(&self, seq: u64) -> usize {
        self.paths.iter().rposition(|span| span.first <= seq).unwrap_or(0)
    }

    /// Payload bytes of a full packet.
    fn max_payload(&self) -> usize {
        let overhead = self.paths.back().map_or(28, |span| span.path.overhead());
        self.mtu.mtu() - overhead - HEADER_LEN
    }

    /// Queues a part of `data`, as much as the write buffer takes, and leaves the rest. False when it took nothing.
    pub fn write(&mut self, data: &mut Bytes) -> bool {
        if self.life != Life::Open || self.end != End::Open {
            return false;
        }
        let room = self.write_limit().saturating_sub(self.out.unsent());
        if room == 0 {
            return data.is_empty();
        }
        self.out.write(data.split_to(room.min(data.len())));
        true
    }

    /// Whether a writer that was refused should try again.
    #[must_use]
    pub fn write_ready(&self) -> bool {
        self.life != Life::Open
            || self.end != End::Open
            || self.out.unsent() + WRITE_WAKE.min(self.write_limit() / 4) <= self.write_limit()
    }

    fn write_limit(&self) -> usize {
        let window = self.bbr.cwnd().saturating_sub(self.out.in_flight()) * self.max_payload();
        WRITE_BUFFER + window.min(self.peer_room())
    }

    /// New bytes that the peer takes now.
    fn peer_room(&self) -> usize {
        self.peer_window.room(self.out.unacked(), self.out.sacked_bytes())
    }

    /// Bytes written that were never sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.out.unsent()
    }

    /// Lets a last packet that is not full go out too.
    pub fn flush(&mut self) {
        self.push = self.out.unsent() > 0;
    }

    /// Ends the writing half: the peer reads to the end of what was written.
    pub fn end(&mut self) {
        if self.end == End::Open && self.life == Life::Open {
            self.end = End::Queued;
            self.push = true;
        }
    }

    /// Whether the writing half was ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.end != End::Open
    }

    /// Whether the peer has everything, with the end.
    #[must_use]
    pub fn end_acked(&self) -> bool {
        self.end == End::Acked
    }

    /// Ordered bytes.
    pub fn read(&mut self) -> Option<BytesMut> {
        let block = self.inbox.read();
        self.after_read();
        block
    }

    /// Copies ordered bytes out and says how many.
    pub fn read_into(&mut self, out: &mut tokio::io::ReadBuf<'_>) -> usize {
        let len = self.inbox.read_into(out);
        self.after_read();
        len
    }

    /// A window that had closed by more than half is announced when it opened again.
    fn after_read(&mut self) {
        if window::reopened(self.advertised, self.inbox.window()) && !self.inbox.ended() {
            self.ack_owed = true;
        }
    }

    /// Nobody reads any more: what arrives is acknowledged and dropped.
    pub fn discard_input(&mut self) {
        self.inbox.discard();
        self.after_read();
    }

    /// Whether ordered bytes, the end or an error wait for the reader.
    #[must_use]
    pub fn read_ready(&self) -> bool {
        self.inbox.unread() > 0 || self.read_ended() || self.close_reason().is_some()
    }

    /// Whether the reader has read everything there ever will be, and the peer ended properly.
    #[must_use]
    pub fn read_ended(&self) -> bool {
        self.inbox.ended() && self.inbox.unread() == 0
    }

    /// Queues an unordered message. False if it is too long for one packet, or too many wait already.
    pub fn send_message(&mut self, data: &[u8]) -> bool {
        let fits = data.len() <= self.max_payload() && self.messages_out.len() < MAX_MESSAGES_OUT;
        if !fits || self.life != Life::Open || self.paths.is_empty() {
            return false;
        }
        self.messages_out.push_back(Bytes::copy_from_slice(data));
        true
    }

    /// The largest unordered message, in bytes.
    #[must_use]
    pub fn max_message(&self) -> usize {
        self.max_payload()
    }

    /// The next unordered message.
    pub fn receive_message(&mut self) -> Option<Bytes> {
        self.messages_in.pop_front()
    }

    /// Whether [`StreamState::receive_message`] has something.
    #[must_use]
    pub fn has_message(&self) -> bool {
        !self.messages_in.is_empty()
    }

    /// Ends everything at once. The peer is told by one packet.
    pub fn destroy(&mut self) {
        if self.life != Life::Open {
            return;
        }
        self.out.clear();
        self.messages_out.clear();
        self.inbox.discard();
        self.inbox.drop_held();
        self.stop_timers();
        self.life = if self.paths.is_empty() { Life::Gone(CloseReason::Destroyed) } else { Life::Destroying };
    }

    /// Ends everything without a word to the peer, now or later.
    pub fn abort(&mut self, reason: CloseReason) {
        if !self.is_gone() {
            self.close(reason, None);
        }
    }

    fn close(&mut self, reason: CloseReason, linger_until: Option<Micros>) {
        self.out.clear();
        self.messages_out.clear();
        self.inbox.drop_held();
        self.stop_timers();
        self.life = linger_until.map_or(Life::Gone(reason), |until| Life::Lingering(reason, until));
    }

    /// Both halves ended, and each side knows.
    fn close_if_finished(&mut self, now: Micros) {
        if self.life == Life::Open && self.end == End::Acked && self.inbox.ended() && !self.ack_owed {
            self.close(CloseReason::Finished, Some(now + LINGER));
        }
    }

    fn stop_timers(&mut self) {
        self.rto_at = None;
        self.reorder_at = None;
        self.tail_at = None;
        self.probe_at = None;
        self.pace_at = None;
        self.trim_at = None;
        self.tail_due = false;
        self.heartbeat_due = false;
        self.keepalive_at = None;
        self.ack_owed = false;
    }

    /// Why the stream is over, if it is.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self.life {
            Life::Open => None,
            Life::Destroying => Some(CloseReason::Destroyed),
            Life::Lingering(reason, _) | Life::Gone(reason) => Some(reason),
        }
    }

    /// Whether the id can be forgotten.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.life, Life::Gone(_))
    }

    /// The largest IP packet that is known to arrive.
    #[must_use]
    pub fn mtu(&self) -> usize {
        self.mtu.mtu()
    }

    /// Smoothed round trip time, once measured.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.smoothed().map(Duration::from_micros)
    }

    /// Bytes written that the peer has not acknowledged.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.out.buffered()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            congestion_window: self.bbr.cwnd(),
            in_flight: self.out.in_flight(),
            bandwidth: (self.bbr.bandwidth() * 1e6 * self.max_payload() as f64) as u64,
            peer_window: self.peer_window.get(),
            ..self.stats
        }
    }
}
