//! Proof of work: a nonce that makes the SHA-256 of a message begin with zero bits.
//!
//! The base of the hash is the sorted JSON text of `{channel, from, id, message, nonce, origin, ts}`. In this order the message,
//! which may be long, stands before the nonce: the hash of all that precedes the nonce is computed once, and each attempt hashes
//! only the digits and the short rest.

use std::sync::atomic::{AtomicBool, Ordering};

use encoding::json::{Value, stable_stringify_into, write_number};
use sha2::{Digest, Sha256};

/// The hash state is that of a nonce counted from 0; beyond this, where doubles stop being exact, there is no next nonce.
const MAX_NONCE: u64 = (1 << 53) - 1;

/// How many attempts are made between two looks at the sign to stop.
const ATTEMPTS_BETWEEN_LOOKS: u64 = 4096;

/// The two parts of the base, before and after the digits of the nonce.
#[derive(Debug, Clone)]
pub struct PowBase {
    before: String,
    after: String,
}

impl PowBase {
    /// The base of a payload; `message` is the sorted text of its message. What is absent counts as `null`.
    pub fn new(payload: &impl Fields, message: &str) -> Self {
        let mut before = String::with_capacity(message.len() + 512);
        let mut after = String::with_capacity(128);
        let field = |text: &mut String, name: &str| match payload.field(name) {
            Some(value) => stable_stringify_into(text, value),
            None => text.push_str("null"),
        };
        before.push_str("{\"channel\":");
        field(&mut before, "channel");
        before.push_str(",\"from\":");
        field(&mut before, "from");
        before.push_str(",\"id\":");
        field(&mut before, "id");
        before.push_str(",\"message\":");
        before.push_str(message);
        before.push_str(",\"nonce\":");
        after.push_str(",\"origin\":");
        field(&mut after, "origin");
        after.push_str(",\"ts\":");
        field(&mut after, "ts");
        after.push('}');
        Self { before, after }
    }

    /// The hash with this nonce, which need not be an integer.
    pub fn hash(&self, nonce: f64) -> [u8; 32] {
        let mut digits = String::new();
        write_number(&mut digits, nonce);
        Sha256::new().chain_update(&self.before).chain_update(digits).chain_update(&self.after).finalize().into()
    }

    /// The smallest integer whose hash has `difficulty` leading zero bits. `None` when `stop` was set meanwhile, or there is none.
    pub fn solve(&self, difficulty: u32, stop: &AtomicBool) -> Option<u64> {
        let state = Sha256::new_with_prefix(&self.before);
        let mut tail = Tail::new(&self.after);
        loop {
            let mut state = state.clone();
            state.update(tail.as_bytes());
            if leading_zero_bits(&state.finalize()) >= difficulty {
                return Some(tail.nonce);
            }
            if tail.nonce.is_multiple_of(ATTEMPTS_BETWEEN_LOOKS) && stop.load(Ordering::Relaxed)
                || tail.nonce >= MAX_NONCE
            {
                return None;
            }
            tail.advance();
        }
    }
}

/// Where a [`PowBase`] finds the properties of a payload.
pub trait Fields {
    /// The property, if it is there.
    fn field(&self, name: &str) -> Option<&Value>;
}

impl Fields for Value {
    fn field(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

impl Fields for encoding::json::Object {
    fn field(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

/// The digits of a nonce and what follows them, counted up in place.
struct Tail {
    /// Digits are right-aligned in the first [`Tail::ROOM`] bytes.
    bytes: Vec<u8>,
    start: usize,
    nonce: u64,
}

impl Tail {
    /// The digits of [`MAX_NONCE`].
    const ROOM: usize = 16;

    fn new(after: &str) -> Self {
        let mut bytes = vec![b'0'; Self::ROOM];
        bytes.extend_from_slice(after.as_bytes());
        Self { bytes, start: Self::ROOM - 1, nonce: 0 }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn advance(&mut self) {
        self.nonce += 1;
        for at in (0..Self::ROOM).rev() {
            self.start = self.start.min(at);
            if self.bytes[at] < b'9' {
                self.bytes[at] += 1;
                return;
            }
            self.bytes[at] = b'0';
        }
    }
}

/// The zero bits that a hash begins with.
pub fn leading_zero_bits(hash: &[u8]) -> u32 {
    let zero_bytes = hash.iter().take_while(|byte| **byte == 0).count();
    let rest = hash.get(zero_bytes).map_or(0, |byte| byte.leading_zeros());
    zero_bytes as u32 * 8 + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_count_up() {
        let mut tail = Tail::new("}");
        for expected in 0..12_345u64 {
            assert_eq!(tail.as_bytes(), format!("{expected}}}").as_bytes());
            tail.advance();
        }
    }

    #[test]
    fn zero_bits_are_counted_from_the_front() {
        assert_eq!(leading_zero_bits(&[0x80]), 0);
        assert_eq!(leading_zero_bits(&[0x00, 0x05, 0x83]), 13);
        assert_eq!(leading_zero_bits(&[0, 0]), 16);
        assert_eq!(leading_zero_bits(&[]), 0);
    }

    #[test]
    fn a_solution_is_the_first_that_verifies() {
        let payload = encoding::json::parse(r#"{"id":"a","channel":"b","ts":1}"#).unwrap();
        let base = PowBase::new(&payload, "\"hi\"");
        let nonce = base.solve(8, &AtomicBool::new(false)).unwrap();
        assert!(leading_zero_bits(&base.hash(nonce as f64)) >= 8);
        assert!((0..nonce).all(|nonce| leading_zero_bits(&base.hash(nonce as f64)) < 8));
    }

    #[test]
    fn what_takes_too_long_is_stopped() {
        let base = PowBase::new(&Value::Null, "null");
        assert_eq!(base.solve(256, &AtomicBool::new(true)), None);
    }
}
