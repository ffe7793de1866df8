//! What is known of each node of the routing table, and who was heard from last.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;

use crate::peer::{Contact, NodeId};

/// Bookkeeping of one node. Times are ticks of the node's clock, five seconds each.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) contact: Contact,
    /// When its view of our address was last counted; `None` before the first time.
    pub(crate) sampled: Option<u64>,
    pub(crate) added: u64,
    /// When we last wrote to it.
    pub(crate) pinged: u64,
    /// When it last wrote to us.
    pub(crate) seen: u64,
    /// How often others called it dead since it was added.
    pub(crate) down_hints: u32,
    order: u64,
}

/// The nodes in the order in which they were last heard from. As large as the routing table.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    by_id: HashMap<NodeId, Node>,
    by_order: BTreeMap<u64, NodeId>,
    next: u64,
}

impl Nodes {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: &NodeId) -> Option<&Node> {
        self.by_id.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Node> {
        self.by_id.get_mut(id)
    }

    /// Adds a node that was heard from at `tick` as the latest.
    pub(crate) fn insert(&mut self, contact: Contact, tick: u64) -> &mut Node {
        self.remove(&contact.id);
        self.next += 1;
        self.by_order.insert(self.next, contact.id);
        self.by_id.entry(contact.id).or_insert(Node {
            contact,
            sampled: None,
            added: tick,
            pinged: tick,
            seen: tick,
            down_hints: 0,
            order: self.next,
        })
    }

    /// Makes `id` the latest.
    pub(crate) fn touch(&mut self, id: &NodeId) {
        if let Some(node) = self.by_id.get_mut(id) {
            self.by_order.remove(&node.order);
            self.next += 1;
            node.order = self.next;
            self.by_order.insert(self.next, *id);
        }
    }

    pub(crate) fn remove(&mut self, id: &NodeId) -> Option<Node> {
        let node = self.by_id.remove(id)?;
        self.by_order.remove(&node.order);
        Some(node)
    }

    /// Nodes from the longest silent to the latest.
    pub(crate) fn oldest(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.by_order.values().filter_map(|id| self.by_id.get(id))
    }

    /// Addresses from the latest on.
    pub(crate) fn latest(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.oldest().rev().map(|node| node.contact.addr)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn order_follows_who_was_heard_from() {
        let addr = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let mut nodes = Nodes::default();
        for port in 1..=4 {
            nodes.insert(Contact::new(addr(port)), 7);
        }
        nodes.touch(&Contact::new(addr(2)).id);
        nodes.remove(&Contact::new(addr(3)).id);
        nodes.insert(Contact::new(addr(1)), 8);
        assert_eq!(nodes.latest().map(|a| a.port()).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(nodes.oldest().next().map(|n| n.contact.addr.port()), Some(4));
        assert_eq!((nodes.len(), nodes.get(&Contact::new(addr(1)).id).map(|n| n.added)), (3, Some(8)));
    }
}
