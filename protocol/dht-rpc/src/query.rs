//! The iterative search for the nodes closest to a target, as a state machine without input or output.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;

use crate::peer::{Contact, NodeId, closer, node_id};
use crate::reply::Reply;
use crate::table::K;

/// How often a query writes to a node that does not answer.
pub const QUERY_TRIES: u32 = 5;

/// Requests that run at once while a query goes on from nodes of an earlier one, until enough have answered.
const SLOWED_CONCURRENCY: usize = 3;

/// Nodes that one query may hear of. Each that is asked must own the address its place in the key space follows from, so
/// an honest network ends a query after a few dozen; a dishonest one ends here: further nodes are not asked.
pub const MAX_QUERY_NODES: usize = 2048;

/// Nodes that are told when one that they named is down; further ones are not.
const MAX_REFERRERS: usize = 2 * K;

/// What has become of an address.
#[derive(Debug)]
enum Seen {
    /// Waiting or asked; these named it.
    Asked(Vec<SocketAddrV4>),
    Answered,
    Down,
}

/// A hint to `referrer` that `down`, which it named, does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DownHint {
    pub(crate) referrer: SocketAddrV4,
    pub(crate) down: SocketAddrV4,
}

/// One query. The owner asks the nodes that [`Query::next`] returns and reports what became of each.
#[derive(Debug)]
pub(crate) struct Query {
    target: NodeId,
    concurrency: usize,
    /// A stack: what was heard of last is asked first.
    pending: Vec<Contact>,
    seen: HashMap<SocketAddrV4, Seen>,
    closest: Vec<(NodeId, Arc<Reply>)>,
    inflight: usize,
    slow: usize,
    successes: usize,
    errors: usize,
    /// Goes on from the nodes of an earlier query, and has not fallen back to the routing table.
    reusing: bool,
    slowed: bool,
    only_given: bool,
    /// More nodes may still be given, so it cannot be over.
    pub(crate) opening: bool,
}

impl Query {
    /// A query that begins with `given`, nodes of an earlier one, or with none.
    pub(crate) fn new(target: NodeId, concurrency: usize, given: &[Contact], only_given: bool) -> Self {
        let mut query = Self {
            target,
            concurrency,
            pending: Vec::new(),
            seen: HashMap::new(),
            closest: Vec::new(),
            inflight: 0,
            slow: 0,
            successes: 0,
            errors: 0,
            reusing: true,
            slowed: false,
            only_given: false,
            opening: true,
        };
        for contact in given.iter().take(MAX_QUERY_NODES).rev() {
            query.add(*contact, None);
        }
        query.only_given = only_given;
        query
    }

    pub(crate) fn target(&self) -> &NodeId {
        &self.target
    }

    /// How many more nodes of the routing table it wants to begin with.
    pub(crate) fn wanted(&self) -> usize {
        K.saturating_sub(self.pending.len())
    }

    pub(crate) fn set_concurrency(&mut self, concurrency: usize) {
        self.concurrency = concurrency;
    }

    /// Nodes of the routing table, or known to everyone.
    pub(crate) fn add_known(&mut self, contacts: impl IntoIterator<Item = Contact>) {
        self.reusing = false;
        for contact in contacts {
            self.add(contact, None);
        }
    }

    /// Whether a node could still become one of the closest.
    fn is_candidate(&self, id: &NodeId) -> bool {
        self.closest.len() < K
            || self.closest.last().is_none_or(|(last, _)| closer(&self.target, id, last) == Ordering::Less)
    }

    /// Puts a node that `referrer` named on the stack. Returns whether it is close enough to be of interest, and the hint
    /// due to the referrer when the node is known to be down.
    fn add(&mut self, contact: Contact, referrer: Option<SocketAddrV4>) -> (bool, Option<DownHint>) {
        if self.only_given {
            return (false, None);
        }
        let candidate = self.is_candidate(&contact.id);
        let room = self.seen.len() < MAX_QUERY_NODES;
        match self.seen.get_mut(&contact.addr) {
            Some(Seen::Answered) => {}
            Some(Seen::Down) => {
                return (candidate, referrer.map(|referrer| DownHint { referrer, down: contact.addr }));
            }
            Some(Seen::Asked(referrers)) if referrers.len() < MAX_REFERRERS => referrers.extend(referrer),
            Some(Seen::Asked(_)) => {}
            None if candidate && room => {
                self.seen.insert(contact.addr, Seen::Asked(referrer.into_iter().collect()));
                self.pending.push(contact);
            }
            None => {}
        }
        (candidate, None)
    }

    /// The next node to ask now. Every node returned must be reported to [`Query::answered`] or [`Query::failed`].
    pub(crate) fn next(&mut self) -> Option<Contact> {
        let limit = if self.slowed { SLOWED_CONCURRENCY } else { self.concurrency } + self.slow;
        while self.inflight < limit {
            let Some(contact) = self.pending.pop() else { break };
            if self.is_candidate(&contact.id) {
                self.inflight += 1;
                return Some(contact);
            }
        }
        // The nodes of an earlier query get the chance to answer before the search becomes broad again.
        self.slowed |= self.reusing && self.successes == 0 && self.errors == 0;
        None
    }

    /// Whether nothing is left to wait for. Slow nodes are not waited for once enough others have answered.
    pub(crate) fn is_finished(&self) -> bool {
        !self.opening
            && self.pending.is_empty()
            && (self.inflight == 0 || (self.slow == self.inflight && self.closest.len() >= K))
    }

    /// Whether it began with given nodes and so few answered that it should go on from the routing table.
    pub(crate) fn needs_table(&self) -> bool {
        self.reusing && self.successes < K / 4
    }

    /// A node answered. `accept` filters and identifies the nodes that it named. Returns the hints that are now due.
    pub(crate) fn answered(
        &mut self,
        to: SocketAddrV4,
        was_slow: bool,
        reply: &Arc<Reply>,
        accept: impl Fn(&Contact) -> bool,
    ) -> Vec<DownHint> {
        self.settle(was_slow);
        self.seen.insert(to, Seen::Answered);
        if reply.error == 0 {
            self.successes += 1;
            if let Some(id) = reply.id
                && self.is_candidate(&id)
            {
                self.insert_closest(id, reply.clone());
            }
        } else {
            self.errors += 1;
        }

        let mut hints = Vec::new();
        for addr in &reply.closer_nodes {
            let contact = Contact { id: node_id(*addr), addr: *addr };
            if !accept(&contact) {
                continue;
            }
            let (interesting, hint) = self.add(contact, Some(reply.from));
            hints.extend(hint);
            // They come in the order of closeness, roughly: the rest is not needed.
            if !interesting {
                break;
            }
        }
        if self.successes + self.errors >= self.concurrency {
            self.slowed = false;
        }
        hints
    }

    /// A node did not answer, or was not asked after all (`timed_out` false). Returns the hints that are now due.
    pub(crate) fn failed(&mut self, to: SocketAddrV4, was_slow: bool, timed_out: bool) -> Vec<DownHint> {
        self.settle(was_slow);
        self.errors += 1;
        if !timed_out {
            return Vec::new();
        }
        match self.seen.insert(to, Seen::Down) {
            Some(Seen::Asked(referrers)) => {
                referrers.into_iter().map(|referrer| DownHint { referrer, down: to }).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A node has not answered in time for the first time; another may be asked in its place.
    pub(crate) fn slow(&mut self) {
        self.slow += 1;
    }

    fn settle(&mut self, was_slow: bool) {
        self.slow -= usize::from(was_slow && self.slow > 0);
        self.inflight = self.inflight.saturating_sub(1);
    }

    fn insert_closest(&mut self, id: NodeId, reply: Arc<Reply>) {
        let place = self.closest.binary_search_by(|(other, _)| closer(&self.target, other, &id));
        if let Err(i) = place {
            self.closest.insert(i, (id, reply));
            self.closest.truncate(K);
        }
    }

    /// The replies of the closest nodes that answered without error, the closest first; at most [`K`].
    pub(crate) fn closest_replies(&self) -> Vec<Arc<Reply>> {
        self.closest.iter().map(|(_, reply)| reply.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn addr(i: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, (i >> 8) as u8, i as u8, 1), 1000)
    }

    fn reply(i: u16, closer: &[u16]) -> Arc<Reply> {
        let from = addr(i);
        let closer_nodes = closer.iter().map(|i| addr(*i)).collect();
        Arc::new(Reply { id: Some(node_id(from)), closer_nodes, ..Reply::from_node(from) })
    }

    fn drain(query: &mut Query) -> Vec<SocketAddrV4> {
        std::iter::from_fn(|| query.next()).map(|c| c.addr).collect()
    }

    /// Runs a query over a network where everyone knows everyone and returns the identifiers that it found.
    fn search(target: NodeId, size: u16) -> Vec<NodeId> {
        let mut query = Query::new(target, 10, &[], false);
        query.add_known([Contact::new(addr(0))]);
        query.opening = false;
        let mut ids: Vec<u16> = (0..size).collect();
        ids.sort_by(|a, b| closer(&target, &node_id(addr(*a)), &node_id(addr(*b))));
        let near: Vec<u16> = ids.into_iter().take(K).collect();
        let mut waiting = drain(&mut query);
        while let Some(to) = waiting.pop() {
            assert!(!query.is_finished());
            let octets = to.ip().octets();
            let i = u16::from_be_bytes([octets[1], octets[2]]);
            query.answered(to, false, &reply(i, &near), |_| true);
            waiting.extend(drain(&mut query));
        }
        assert!(query.is_finished());
        query.closest_replies().iter().filter_map(|r| r.id).collect()
    }

    #[test]
    fn the_closest_are_found_in_order() {
        let target = [0x5a; 32];
        let mut expected: Vec<NodeId> = (0..300).map(|i| node_id(addr(i))).collect();
        expected.sort_by(|a, b| closer(&target, a, b));
        expected.truncate(K);
        assert_eq!(search(target, 300), expected);
    }

    #[test]
    fn a_node_that_is_down_is_told_to_those_who_named_it() {
        let mut query = Query::new([0; 32], 10, &[], false);
        query.add_known([Contact::new(addr(1)), Contact::new(addr(2))]);
        query.opening = false;
        assert_eq!(drain(&mut query).len(), 2);
        assert!(query.answered(addr(1), false, &reply(1, &[9]), |_| true).is_empty());
        assert_eq!(drain(&mut query), [addr(9)]);
        query.slow();
        assert_eq!(query.failed(addr(9), true, true), [DownHint { referrer: addr(1), down: addr(9) }]);
        let hints = query.answered(addr(2), false, &reply(2, &[9]), |_| true);
        assert_eq!(hints, [DownHint { referrer: addr(2), down: addr(9) }]);
        assert!(drain(&mut query).is_empty() && query.is_finished());
    }

    #[test]
    fn slow_nodes_make_room_and_are_not_waited_for_when_full() {
        let mut query = Query::new([0; 32], 10, &[], false);
        query.add_known((0..40).map(|i| Contact::new(addr(i))));
        query.opening = false;
        let first = drain(&mut query);
        assert_eq!(first.len(), 10);
        query.slow();
        assert_eq!(drain(&mut query).len(), 1);
    }

    #[test]
    fn given_nodes_slow_the_start_and_the_table_is_the_fallback() {
        let given: Vec<Contact> = (0..20).map(|i| Contact::new(addr(i))).collect();
        let mut query = Query::new([0; 32], 10, &given, false);
        query.opening = false;
        assert_eq!(query.wanted(), 0);
        let asked = drain(&mut query);
        assert_eq!((asked.len(), asked[0]), (10, addr(0)));
        for to in asked {
            query.failed(to, false, true);
            assert!(query.inflight < 10);
        }
        assert!(query.needs_table());

        let mut only = Query::new([0; 32], 10, &given[..1], true);
        only.opening = false;
        assert_eq!(drain(&mut only), [addr(0)]);
        only.answered(addr(0), false, &reply(0, &[1, 2, 3]), |_| true);
        assert!(only.next().is_none() && only.is_finished());
    }

    #[test]
    fn a_lying_network_cannot_grow_a_query() {
        let mut query = Query::new([0; 32], 10, &[], false);
        query.add_known([Contact::new(addr(0))]);
        query.opening = false;
        let mut next = 1u16;
        let mut asked = 0;
        while let Some(contact) = query.next() {
            asked += 1;
            // Nobody shows an identifier, so everything stays interesting.
            let closer: Vec<u16> = (next..next.saturating_add(20)).collect();
            next = next.saturating_add(20);
            let nameless =
                Reply { closer_nodes: closer.iter().map(|i| addr(*i)).collect(), ..Reply::from_node(contact.addr) };
            query.answered(contact.addr, false, &Arc::new(nameless), |_| true);
        }
        assert!(asked <= MAX_QUERY_NODES && query.seen.len() <= MAX_QUERY_NODES);
    }
}
