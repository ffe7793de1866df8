//! Through which blind relays connections may go, and when.

use std::fmt;
use std::sync::Arc;

/// What decides about a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayNeed {
    /// No hole could be punched to this peer before. False where a peer connects to us.
    pub forced: bool,
    /// Our own NAT gives every partner another port, which makes holes hard to punch.
    pub randomized: bool,
}

/// Blind relays for peers that cannot be reached otherwise.
#[derive(Clone)]
pub enum RelayThrough {
    /// One of these, at random, where [`RelayNeed`] says anything: JavaScript's `relayThrough` with a key, or several.
    Keys(Vec<[u8; 32]>),
    /// One of those that this gives, called at each connection; it must not block.
    Choose(Arc<dyn Fn(RelayNeed) -> Vec<[u8; 32]> + Send + Sync>),
}

impl RelayThrough {
    pub(crate) fn keys(&self, need: RelayNeed) -> Vec<[u8; 32]> {
        match self {
            Self::Keys(keys) if need.forced || need.randomized => keys.clone(),
            Self::Keys(_) => Vec::new(),
            Self::Choose(choose) => choose(need),
        }
    }
}

impl fmt::Debug for RelayThrough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => f.debug_tuple("Keys").field(&keys.len()).finish(),
            Self::Choose(_) => f.debug_tuple("Choose").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_for_need_only() {
        let relays = RelayThrough::Keys(vec![[1; 32], [2; 32]]);
        for (forced, randomized) in [(false, false), (false, true), (true, false), (true, true)] {
            let wanted = if forced || randomized { 2 } else { 0 };
            assert_eq!(relays.keys(RelayNeed { forced, randomized }).len(), wanted);
        }
        let always = RelayThrough::Choose(Arc::new(|need| vec![[u8::from(need.forced); 32]]));
        assert_eq!(always.keys(RelayNeed::default()), [[0; 32]]);
    }
}
