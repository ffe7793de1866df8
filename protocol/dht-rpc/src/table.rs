//! The Kademlia routing table: who is known, by how much of their identifier they share with ours.
//!
//! The order in which [`RoutingTable::closest`] answers is seen by peers, so it is that of the JavaScript module
//! `kademlia-routing-table`: row by row, and inside a row by identifier, not by XOR distance.

use rand::Rng;

use crate::peer::{Contact, NodeId};

/// How many nodes a row holds, and how many closest nodes a reply carries.
pub const K: usize = 20;

/// One row for each possible length of the shared prefix.
const ROWS: usize = 256;

/// What became of a contact given to [`RoutingTable::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was not known and has been added.
    New,
    /// The identifier was known; its address was replaced.
    Replaced,
    /// Its row is full; the table has not changed.
    Full,
}

/// Contacts sorted into rows by the length of the identifier prefix that they share with the table's own.
///
/// Holds at most 256 rows of [`K`] contacts.
#[derive(Clone, Debug)]
pub struct RoutingTable {
    id: NodeId,
    rows: Vec<Vec<Contact>>,
    len: usize,
}

impl RoutingTable {
    /// An empty table around `id`.
    pub fn new(id: NodeId) -> Self {
        Self { id, rows: vec![Vec::new(); ROWS], len: 0 }
    }

    /// The identifier that the rows are measured from.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// How many contacts are in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in the table.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a contact to its row.
    pub fn add(&mut self, contact: Contact) -> Added {
        let row = &mut self.rows[shared_prefix(&self.id, &contact.id)];
        match row.binary_search_by(|other| other.id.cmp(&contact.id)) {
            Ok(i) => {
                row[i] = contact;
                Added::Replaced
            }
            Err(_) if row.len() >= K => Added::Full,
            Err(i) => {
                row.insert(i, contact);
                self.len += 1;
                Added::New
            }
        }
    }

    /// Removes the contact with `id`. Says whether it was there.
    pub fn remove(&mut self, id: &NodeId) -> bool {
        let row = &mut self.rows[shared_prefix(&self.id, id)];
        let Ok(i) = row.binary_search_by(|other| other.id.cmp(id)) else { return false };
        row.remove(i);
        self.len -= 1;
        true
    }

    /// Whether `id` is in the table.
    pub fn contains(&self, id: &NodeId) -> bool {
        self.row(id).binary_search_by(|other| other.id.cmp(id)).is_ok()
    }

    /// The row that `id` belongs to.
    pub fn row(&self, id: &NodeId) -> &[Contact] {
        &self.rows[shared_prefix(&self.id, id)]
    }

    /// Up to `k` contacts close to `target`: its own row, then the rows that share less, then those that share more.
    pub fn closest(&self, target: &NodeId, k: usize) -> Vec<Contact> {
        let own = shared_prefix(&self.id, target);
        let rows = self.rows[..=own].iter().rev().chain(&self.rows[own + 1..]);
        rows.flatten().take(k).copied().collect()
    }

    /// Every contact, the closest rows first.
    pub fn all(&self) -> Vec<Contact> {
        self.closest(&self.id, usize::MAX)
    }

    /// A contact chosen evenly.
    pub fn random(&self, rng: &mut impl Rng) -> Option<Contact> {
        if self.len == 0 {
            return None;
        }
        self.rows.iter().flatten().nth(rng.random_range(0..self.len)).copied()
    }
}

/// How many leading bits `a` and `b` share; identical identifiers share the last row.
fn shared_prefix(a: &NodeId, b: &NodeId) -> usize {
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        if x != y {
            return i * 8 + (x ^ y).leading_zeros() as usize;
        }
    }
    ROWS - 1
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use proptest::prelude::*;

    use super::*;

    fn contact(first: u8, last: u8) -> Contact {
        let mut id = [0u8; 32];
        id[0] = first;
        id[31] = last;
        Contact { id, addr: SocketAddrV4::new(Ipv4Addr::LOCALHOST, u16::from(last)) }
    }

    #[test]
    fn closest_takes_rows_in_order_and_contacts_by_identifier() {
        let mut table = RoutingTable::new([0; 32]);
        // Rows by shared prefix with zero: 0x80.. row 0, 0x40.. row 1, 0x20.. row 2.
        for c in
            [contact(0x41, 3), contact(0x80, 1), contact(0x40, 2), contact(0x21, 5), contact(0x20, 4), contact(0xff, 0)]
        {
            assert_eq!(table.add(c), Added::New);
        }
        let mut target = [0; 32];
        target[0] = 0x7f;
        let order: Vec<u8> = table.closest(&target, 20).iter().map(|c| c.id[0]).collect();
        // Row 1 by identifier although 0x41 is closer to 0x7f, then row 0, and last what shares more with the table.
        assert_eq!(order, [0x40, 0x41, 0x80, 0xff, 0x20, 0x21]);
        assert_eq!(table.closest(&target, 3).len(), 3);
    }

    #[test]
    fn a_full_row_refuses_and_a_known_identifier_is_replaced() {
        let mut table = RoutingTable::new([0; 32]);
        for i in 0..20 {
            assert_eq!(table.add(contact(0x80, i)), Added::New);
        }
        assert_eq!(table.add(contact(0x80, 20)), Added::Full);
        assert_eq!(table.add(contact(0x80, 7)), Added::Replaced);
        assert_eq!(table.add(contact(0x40, 20)), Added::New);
        assert_eq!(table.len(), 21);
        assert!(table.remove(&contact(0x80, 3).id));
        assert!(!table.remove(&contact(0x80, 3).id));
        assert_eq!(table.add(contact(0x80, 20)), Added::New);
    }

    proptest! {
        #[test]
        fn the_table_holds_what_was_added(ids in proptest::collection::vec(any::<[u8; 32]>(), 0..200), own: [u8; 32], target: [u8; 32]) {
            let mut table = RoutingTable::new(own);
            let mut expected = 0;
            for id in &ids {
                let added = table.add(Contact { id: *id, addr: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1) });
                expected += usize::from(added == Added::New);
                prop_assert_eq!(table.contains(id), added != Added::Full);
            }
            prop_assert_eq!(table.len(), expected);
            prop_assert_eq!(table.all().len(), expected);
            prop_assert_eq!(table.closest(&target, K).len(), expected.min(K));
        }
    }
}
