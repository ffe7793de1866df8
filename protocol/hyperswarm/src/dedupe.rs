//! Which of two connections to the same peer stays.
//!
//! Both ends decide by themselves and must come to the same result, or they would close each other's connection for ever.

/// Whether a new connection replaces the one that exists between the same two peers (`_handleServerConnection` of
/// `hyperswarm/index.js`).
///
/// * `existing_used`: secret-stream data went both ways over the existing connection. The peer that connects anew while
///   that is so has lost it (only the one who lost a connection tries again), therefore the new one stays.
/// * Otherwise both ends connected at the same moment, and the connection stays that the peer with the greater public key
///   initiated; `initiator` says whether we initiated the new one.
pub(crate) fn keep_new(existing_used: bool, local: &[u8; 32], remote: &[u8; 32], initiator: bool) -> bool {
    existing_used || (local > remote) == initiator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_connection_is_outdated() {
        for (local, remote) in [([1; 32], [2; 32]), ([2; 32], [1; 32])] {
            assert!(keep_new(true, &local, &remote, false));
            assert!(keep_new(true, &local, &remote, true));
        }
    }

    #[test]
    fn else_the_greater_key_initiates() {
        let (low, high) = ([1; 32], [2; 32]);
        // The new one comes from the remote.
        assert!(keep_new(false, &low, &high, false));
        assert!(!keep_new(false, &high, &low, false));
        // The new one is ours.
        assert!(!keep_new(false, &low, &high, true));
        assert!(keep_new(false, &high, &low, true));
    }

    #[test]
    fn keys_compare_as_bytes() {
        let mut low = [0xff; 32];
        low[0] = 0x7f;
        let mut high = [0x00; 32];
        high[0] = 0x80;
        assert!(keep_new(false, &low, &high, false));
        assert!(!keep_new(false, &high, &low, false));
    }

    #[test]
    fn both_ends_agree_on_crossing_connections() {
        let (low, high) = ([1; 32], [2; 32]);
        // Each end has its own attempt as existing, and the other's as new. Exactly one end takes the new one.
        assert_ne!(keep_new(false, &low, &high, false), keep_new(false, &high, &low, false));
    }
}
