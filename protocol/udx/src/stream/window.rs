//! The windows: how much may be under way between two peers, and who says so. All rules of flow control are here.
//!
//! A header's window is what the sender of that header still takes, in bytes. `libudx` always says 4 MiB, whatever its reader
//! does; we say what our reader left free of 4 MiB. As in `libudx` what arrived out of order does not count against the
//! window: a hole that takes several round trips to mend must not stop a sender whose receiver has room.

use super::MAX_MTU;

/// Bytes that the reader may leave unread before the peer is told to stop: the window of libudx.
pub const RECEIVE_WINDOW: usize = 4 << 20;
/// What a receiver takes beyond its window. A JavaScript peer probes a closed window with new data packets and gives up when
/// they are refused for 13 seconds, and what waits behind a hole is not counted by its sender. At the limit packets are dropped
/// as if lost.
pub(super) const WINDOW_SLACK: usize = 4 << 20;
/// How far beyond the peer's window a sender goes while packets behind a hole wait at the peer: less than the slack above,
/// since each waiting packet costs its holder more than its bytes.
const REORDER_ALLOWANCE: usize = 3 << 20;
/// The largest window that is believed: it bounds what a sender keeps for a peer that says more.
const MAX_PEER_WINDOW: u32 = 16 << 20;

/// The least window that is advertised but none: a full packet. A JavaScript peer sends nothing into less, and asks for more only
/// if it was told that there is none, so that a lost update would hold it up for ever.
const LEAST: usize = MAX_MTU;

/// The window to advertise when `unread` bytes wait for the reader.
pub(super) fn advertised(unread: usize) -> u32 {
    let free = RECEIVE_WINDOW.saturating_sub(unread);
    if free < LEAST { 0 } else { free as u32 }
}

/// Whether a receiver that holds `held` bytes, in order and not, has room for `len` more.
pub(super) fn takes(held: usize, len: usize) -> bool {
    held + len <= RECEIVE_WINDOW + WINDOW_SLACK
}

/// Whether the window says that `len` more bytes in order are taken, of which `unread` wait for the reader. What waits behind a hole
/// is no reason to refuse them: nothing else makes room there.
pub(super) fn promises(unread: usize, len: usize) -> bool {
    unread + len <= RECEIVE_WINDOW
}

/// Whether a window that was `before` and is `now` should be announced: it had closed by more than half, and opened again.
pub(super) fn reopened(before: u32, now: u32) -> bool {
    const HALF: u32 = (RECEIVE_WINDOW / 2) as u32;
    before < HALF && now >= HALF
}

/// The sender's view: what the peer said last.
#[derive(Debug)]
pub(super) struct PeerWindow {
    bytes: u32,
    /// The packet that said so: its acknowledgement and its number.
    from: (u64, u64),
}

impl PeerWindow {
    /// What is assumed before the peer, whose acknowledgements begin at `first`, said anything.
    pub(super) fn new(first: u64) -> Self {
        Self { bytes: RECEIVE_WINDOW as u32, from: (first, 0) }
    }

    /// Bytes.
    pub(super) fn get(&self) -> u32 {
        self.bytes
    }

    /// The newest statement wins: newest by its acknowledgement, then by its packet number. (TCP looks at the packet number
    /// first; here a single forged packet with a high number would silence all that follow.)
    pub(super) fn update(&mut self, ack: u64, seq: u64, bytes: u32) {
        if (ack, seq) >= self.from {
            self.from = (ack, seq);
            self.bytes = bytes.min(MAX_PEER_WINDOW);
        }
    }

    /// Bytes that may be sent beyond `unacked`, of which the peer holds `sacked` out of order.
    pub(super) fn room(&self, unacked: usize, sacked: usize) -> usize {
        let window = self.bytes as usize;
        let missing = window.saturating_sub(unacked.saturating_sub(sacked));
        let span = (window + REORDER_ALLOWANCE).saturating_sub(unacked);
        missing.min(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_behind_a_hole_leaves_room_up_to_a_limit() {
        let mut peer = PeerWindow::new(0);
        peer.update(0, 0, 1000);
        assert_eq!(peer.room(400, 0), 600);
        assert_eq!(peer.room(1400, 1000), 600);
        assert_eq!(peer.room(1000 + REORDER_ALLOWANCE, 500 + REORDER_ALLOWANCE), 0);
    }

    #[test]
    fn a_sender_never_goes_beyond_what_a_receiver_takes() {
        let peer = PeerWindow::new(0);
        let full = 1452;
        let held = RECEIVE_WINDOW + REORDER_ALLOWANCE;
        assert_eq!(peer.room(held, held), 0);
        assert!(takes(held + held / full * super::super::recv::HELD_OVERHEAD, full));
    }

    #[test]
    fn the_newest_statement_wins_and_none_is_believed_without_limit() {
        let mut peer = PeerWindow::new(5);
        peer.update(6, 1, 10);
        peer.update(5, 900, 20);
        assert_eq!(peer.get(), 10);
        peer.update(6, 2, u32::MAX);
        assert_eq!(peer.get(), MAX_PEER_WINDOW);
    }

    #[test]
    fn a_window_is_announced_when_it_opens_by_half() {
        assert!(reopened(advertised(RECEIVE_WINDOW), advertised(RECEIVE_WINDOW / 2)));
        assert!(!reopened(advertised(RECEIVE_WINDOW), advertised(RECEIVE_WINDOW / 2 + 1)));
        assert!(!reopened(advertised(0), advertised(0)));
        assert_eq!(advertised(RECEIVE_WINDOW + 1), 0);
        assert_eq!(advertised(RECEIVE_WINDOW - LEAST) as usize, LEAST);
        assert_eq!(advertised(RECEIVE_WINDOW - LEAST + 1), 0);
    }
}
