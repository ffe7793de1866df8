//! Unordered messages: each in an envelope of its own, sealed apart from the stream.
//!
//! `counter u64 ‖ secretbox(message)` with the nonce `counter ‖ 16 zero bytes`. The counter starts at random and is incremented
//! (little endian) before each message. The keys come from the handshake hash, one for each role. The format is that of
//! `send()` in JavaScript's `@hyperswarm/secret-stream`; the window against replays is ours and changes no bytes.

use crypto::secretbox;

use crate::core::{Namespaces, namespaces};

/// Bytes that an envelope adds to its message: the counter and the authenticator.
pub const ENVELOPE_BYTES: usize = COUNTER_BYTES + 16;

const COUNTER_BYTES: usize = 8;

/// How far behind the newest message an older one may arrive and still be accepted, in messages.
pub const REPLAY_WINDOW: u64 = (WORDS as u64 - 1) * 64;

const WORDS: usize = 16;

/// Seals and opens the unordered messages of one connection.
#[derive(Debug)]
pub struct Envelope {
    send_key: [u8; 32],
    recv_key: [u8; 32],
    counter: u64,
    initial: u64,
    window: ReplayWindow,
}

impl Envelope {
    /// For the connection with this Noise handshake hash. `initial` is the counter before the first message: 8 random bytes.
    pub fn new(handshake_hash: &[u8; 64], is_initiator: bool, initial: u64) -> Self {
        Self {
            send_key: key(handshake_hash, is_initiator),
            recv_key: key(handshake_hash, !is_initiator),
            counter: initial,
            initial,
            window: ReplayWindow::default(),
        }
    }

    /// The envelope of `message`, or `None` once all 2^64 - 1 counters were used.
    pub fn seal(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let counter = self.counter.wrapping_add(1);
        if counter == self.initial {
            return None;
        }
        self.counter = counter;
        let mut envelope = Vec::with_capacity(ENVELOPE_BYTES + message.len());
        envelope.extend_from_slice(&counter.to_le_bytes());
        envelope.extend_from_slice(&secretbox::seal(&self.send_key, &nonce(counter), message));
        Some(envelope)
    }

    /// The message of an envelope, or `None` when it is not one of the peer's, was seen before, or is more than
    /// [`REPLAY_WINDOW`] messages late.
    pub fn open(&mut self, envelope: &[u8]) -> Option<Vec<u8>> {
        let (counter, sealed) = envelope.split_first_chunk::<COUNTER_BYTES>()?;
        let counter = u64::from_le_bytes(*counter);
        let message = secretbox::open(&self.recv_key, &nonce(counter), sealed)?;
        // Only after it proved genuine: a forged counter must not move the window.
        self.window.accept(counter).then_some(message)
    }
}

fn key(handshake_hash: &[u8; 64], is_initiator: bool) -> [u8; 32] {
    let Namespaces { initiator, responder, send } = namespaces();
    crypto::hash_keyed(handshake_hash, &[if is_initiator { initiator } else { responder }, send])
}

fn nonce(counter: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..COUNTER_BYTES].copy_from_slice(&counter.to_le_bytes());
    nonce
}

/// Which of the latest counters were seen: a ring of bits, a word of which is cleared when the newest counter enters it
/// (the scheme of RFC 6479). Counters wrap around.
#[derive(Debug, Default)]
struct ReplayWindow {
    newest: Option<u64>,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    fn accept(&mut self, counter: u64) -> bool {
        let newest = self.newest.unwrap_or(counter);
        let ahead = counter.wrapping_sub(newest);
        if ahead <= i64::MAX as u64 {
            // Word numbers have 58 bits and wrap with the counter.
            let words = (counter >> 6).wrapping_sub(newest >> 6) & (u64::MAX >> 6);
            for step in 1..=words.min(WORDS as u64) {
                self.seen[slot((newest >> 6).wrapping_add(step))] = 0;
            }
            self.newest = Some(counter);
        } else if newest.wrapping_sub(counter) > REPLAY_WINDOW {
            return false;
        }
        let (word, bit) = (&mut self.seen[slot(counter >> 6)], 1u64 << (counter & 63));
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }
}

fn slot(word: u64) -> usize {
    (word % WORDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn every_counter_is_accepted_at_most_once(start in any::<u64>(), steps in proptest::collection::vec(-1200i64..1200, 1..400)) {
            let mut window = ReplayWindow::default();
            prop_assert!(window.accept(start));
            let mut seen = HashSet::from([start]);
            let mut newest = start;
            let mut counter = start;
            for step in steps {
                counter = counter.wrapping_add_signed(step);
                let late = newest.wrapping_sub(counter);
                let in_window = late <= REPLAY_WINDOW || late > i64::MAX as u64;
                let accepted = window.accept(counter);
                prop_assert_eq!(accepted, in_window && !seen.contains(&counter));
                if accepted { seen.insert(counter); }
                if counter.wrapping_sub(newest) <= i64::MAX as u64 { newest = counter }
            }
        }
    }

    #[test]
    fn a_replayed_or_foreign_envelope_is_dropped() {
        let hash = [9; 64];
        let mut alice = Envelope::new(&hash, true, u64::MAX - 1);
        let mut bob = Envelope::new(&hash, false, 7);
        let first = alice.seal(b"one").unwrap();
        let second = alice.seal(b"two").unwrap();
        assert_eq!(bob.open(&second).as_deref(), Some(&b"two"[..]));
        assert_eq!(bob.open(&first).as_deref(), Some(&b"one"[..]));
        assert_eq!(bob.open(&first), None);
        assert_eq!(bob.open(&second), None);
        assert_eq!(alice.open(&first), None, "an echo of our own message");
        for short in 0..ENVELOPE_BYTES {
            assert_eq!(bob.open(&first[..short]), None);
        }
    }

    #[test]
    fn the_counter_never_repeats() {
        let mut envelope = Envelope::new(&[1; 64], true, 5);
        envelope.counter = 3;
        assert!(envelope.seal(b"").is_some());
        assert!(envelope.seal(b"").is_none());
        assert!(envelope.seal(b"").is_none());
    }
}
