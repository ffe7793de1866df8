//! What a node holds at a moment, for an operator and for tests that nothing grows.

use crate::core::Core;

/// The sizes of a node's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// Nodes in the routing table.
    pub nodes: usize,
    /// Requests that are not answered.
    pub requests: usize,
    /// Queries that run.
    pub queries: usize,
    /// Delayed answers that are still to be given.
    pub delayed_answers: usize,
    /// Hosts and nodes whose view of our address was counted.
    pub address_samples: usize,
}

impl Core {
    pub(crate) fn gauges(&self) -> Gauges {
        Gauges {
            nodes: self.table.len(),
            requests: self.io.len(),
            queries: self.queries.len(),
            delayed_answers: self.delayed.len(),
            address_samples: self.nat.len() + self.nameless_samples.len(),
        }
    }
}
