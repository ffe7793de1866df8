//! Tokens: proof that a requester receives what is sent to its address.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rand::RngCore;

/// A proof of address, good for one node and [`ROTATION`] to twice that.
pub type Token = [u8; 32];

/// How long a secret is the newest.
pub const ROTATION: Duration = Duration::from_millis(7500);

/// Issues and checks tokens under two secrets, the newer of which issues.
///
/// A token is the BLAKE2b-256 of the dotted text of the requester's host, keyed by a secret; ports do not matter.
#[derive(Debug)]
pub(crate) struct Tokens {
    older: [u8; 32],
    newer: [u8; 32],
    rotated: Instant,
}

impl Tokens {
    pub(crate) fn new(now: Instant, rng: &mut impl RngCore) -> Self {
        let mut tokens = Self { older: [0; 32], newer: [0; 32], rotated: now };
        rng.fill_bytes(&mut tokens.older);
        rng.fill_bytes(&mut tokens.newer);
        tokens
    }

    /// The token for requests from `host`.
    pub(crate) fn issue(&mut self, host: Ipv4Addr, now: Instant) -> Token {
        self.rotate(now);
        token(host, &self.newer)
    }

    /// Whether `token` was issued for `host` not too long ago.
    pub(crate) fn accepts(&mut self, host: Ipv4Addr, candidate: &Token, now: Instant) -> bool {
        self.rotate(now);
        token(host, &self.newer) == *candidate || token(host, &self.older) == *candidate
    }

    fn rotate(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.rotated);
        // After two rotations nothing that was issued is good, so a long pause needs no more than two.
        let steps = if age >= ROTATION * 2 { 2 } else { u32::from(age >= ROTATION) };
        for _ in 0..steps {
            let next = crypto::hash(&[&self.older]);
            self.older = std::mem::replace(&mut self.newer, next);
        }
        self.rotated = if steps == 2 { now } else { self.rotated + ROTATION * steps };
    }
}

fn token(host: Ipv4Addr, secret: &[u8; 32]) -> Token {
    crypto::hash_keyed(secret, &[host.to_string().as_bytes()])
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn token_formula_of_the_vectors() {
        for version in ["network/pinned.json", "network/latest.json"] {
            let case = &testing::vector_json(version)["tokenFormula"];
            let secret = testing::unhex(case["secret"].as_str().expect("secret")).try_into().expect("32 bytes");
            let host = case["host"].as_str().expect("host").parse().expect("IPv4");
            assert_eq!(testing::hex(&token(host, &secret)), case["token"].as_str().expect("token"));
        }
    }

    #[test]
    fn a_token_lives_one_to_two_rotations() {
        let start = Instant::now();
        let mut tokens = Tokens::new(start, &mut StdRng::seed_from_u64(1));
        let host = Ipv4Addr::new(10, 1, 2, 3);
        let at = |ms| start + Duration::from_millis(ms);

        let early = tokens.issue(host, at(0));
        let late = tokens.issue(host, at(7400));
        assert_eq!(early, late);
        assert!(tokens.accepts(host, &early, at(14_900)));
        assert!(!tokens.accepts(Ipv4Addr::new(10, 1, 2, 4), &early, at(14_900)));
        assert!(!tokens.accepts(host, &early, at(15_100)));
    }

    #[test]
    fn a_long_sleep_forgets_every_token() {
        let start = Instant::now();
        let mut tokens = Tokens::new(start, &mut StdRng::seed_from_u64(1));
        let host = Ipv4Addr::LOCALHOST;
        let token = tokens.issue(host, start);
        let woken = start + Duration::from_secs(86_400);
        assert!(!tokens.accepts(host, &token, woken));
        let fresh = tokens.issue(host, woken);
        assert!(tokens.accepts(host, &fresh, woken + Duration::from_millis(7400)));
    }
}
