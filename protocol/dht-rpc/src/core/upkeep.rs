//! Keeping the table fresh: who is in it, how they see us, and what each tick does.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::{Core, Event, Output, TICK};
use crate::health::Health;
use crate::io::{Outgoing, Owner};
use crate::message::command;
use crate::nat::NatSampler;
use crate::peer::{Contact, NodeId};
use crate::reply::RequestError;
use crate::table::{Added, K, RoutingTable};

/// A tick that comes this late means that the machine slept.
const SLEEPING: Duration = Duration::from_secs(15);

/// Ticks after which a node that nothing bad happened to may become persistent: 20 minutes.
pub(super) const STABLE_TICKS: u64 = 240;

/// The same after a first attempt or a wake-up: an hour.
const MORE_STABLE_TICKS: u64 = 3 * STABLE_TICKS;

/// Ticks without a query after which the table is refreshed: 5 minutes.
pub(super) const REFRESH_TICKS: u64 = 60;

/// Ticks after which a persistent node looks for itself from the bootstrap nodes: 10 minutes.
///
/// Two parts of a network that did not reach each other for half an hour have forgotten each other. As long as each has [`K`] nodes
/// no query asks a bootstrap node, so that both go on by themselves for ever when the network is whole again; in JavaScript until
/// enough nodes have restarted. A search for the own identifier that begins where everybody begins meets the neighbours of the other
/// part, who take us into their tables. Persistent nodes are enough: whoever asks finds them.
pub(super) const REJOIN_TICKS: u64 = 120;

/// Ticks within which a node counts as recently heard from: a minute.
const RECENT_NODE: u64 = 12;

/// Ticks after which a node counts as old: half an hour.
const OLD_NODE: u64 = 360;

/// Replacements in full rows that run at once; further new nodes are not added.
const MAX_SWAPS: usize = 3;

impl Core {
    /// Remembers who wrote, and how we look from there when the message came to the socket that we send from.
    pub(super) fn learn(
        &mut self,
        sample: bool,
        from: SocketAddrV4,
        id: Option<NodeId>,
        to: SocketAddrV4,
        now: Instant,
    ) {
        if !(self.settings.filter)(from) {
            return;
        }
        let Some(id) = id else {
            // Bootstrap nodes may not show an identifier. There are few of them, so few of these count.
            if self.nameless_samples.len() < self.settings.bootstrap_nodes.max(1) && self.nameless_samples.insert(from)
            {
                self.sample(to);
            }
            return;
        };
        let tick = self.tick;
        let Some(node) = self.nodes.get_mut(&id) else {
            self.add_node(Contact { id, addr: from }, sample.then_some(to), now);
            return;
        };
        node.pinged = tick;
        node.seen = tick;
        let due = sample && node.sampled.is_none_or(|at| tick - at >= OLD_NODE);
        if due {
            node.sampled = Some(tick);
        }
        self.nodes.touch(&id);
        if due {
            self.sample(to);
        }
    }

    /// Adds a node to the table, if it has room; `seen_as` is our address from there.
    pub(crate) fn add_node(&mut self, contact: Contact, seen_as: Option<SocketAddrV4>, now: Instant) {
        if contact.id == *self.table.id() || self.nodes.get(&contact.id).is_some() {
            return;
        }
        match self.table.add(contact) {
            Added::Full => self.row_is_full(contact, now),
            Added::New | Added::Replaced => {
                let tick = self.tick;
                let node = self.nodes.insert(contact, tick);
                if let Some(to) = seen_as {
                    node.sampled = Some(tick);
                    self.sample(to);
                }
            }
        }
    }

    pub(super) fn remove_node(&mut self, id: &NodeId) {
        if self.nodes.remove(id).is_some() {
            self.table.remove(id);
        }
    }

    fn sample(&mut self, to: SocketAddrV4) {
        let before = (self.nat.host(), self.nat.port());
        self.nat.add(to);
        if before != (self.nat.host(), self.nat.port()) {
            self.out.push(Output::Event(Event::NatUpdate));
        }
    }

    /// A node does not fit: if the one of its row that was silent for longest does not answer, it takes that place.
    fn row_is_full(&mut self, newcomer: Contact, now: Instant) {
        if !self.bootstrapped || self.swaps >= MAX_SWAPS {
            return;
        }
        let tick = self.tick;
        let row = self.table.row(&newcomer.id).iter().filter_map(|contact| self.nodes.get(&contact.id));
        let Some(oldest) = row.filter(|node| node.pinged != tick).min_by_key(|node| (node.pinged, node.added)) else {
            return;
        };
        if tick.saturating_sub(oldest.pinged) < RECENT_NODE && tick.saturating_sub(oldest.added) > OLD_NODE {
            return;
        }
        let (contact, seen) = (oldest.contact, oldest.seen);
        if let Some(node) = self.nodes.get_mut(&contact.id) {
            node.pinged = tick;
        }
        let owner = Owner::Swap(contact.id, seen, newcomer);
        if self.io.request(Outgoing::internal(contact.addr, command::PING, owner), now, &mut self.transmits).is_ok() {
            self.swaps += 1;
        }
    }

    /// Pings a node, and removes it if it does not answer.
    pub(super) fn check(&mut self, contact: Contact, now: Instant) {
        let tick = self.tick;
        let Some(node) = self.nodes.get_mut(&contact.id) else { return };
        node.pinged = tick;
        let owner = Owner::Check(contact.id, node.seen);
        if self.io.request(Outgoing::internal(contact.addr, command::PING, owner), now, &mut self.transmits).is_ok() {
            self.checks += 1;
        }
    }

    /// Replaces our identifier, and sorts the table anew around it.
    pub(crate) fn set_id(&mut self, id: NodeId) {
        self.io.id = id;
        if *self.table.id() == id {
            return;
        }
        let old = std::mem::replace(&mut self.table, RoutingTable::new(id));
        for contact in old.all() {
            if contact.id == id || self.table.add(contact) == Added::Full {
                self.nodes.remove(&contact.id);
            }
        }
        if self.bootstrapped {
            self.out.push(Output::Refresh);
        }
    }

    /// Takes over what a test of the firewall saw of our address.
    pub(crate) fn set_nat(&mut self, nat: NatSampler) {
        let before = (self.nat.host(), self.nat.port());
        self.nameless_samples.clear();
        self.nat = nat;
        if before != (self.nat.host(), self.nat.port()) {
            self.out.push(Output::Event(Event::NatUpdate));
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    /// The attempt to become persistent is not repeated before long.
    pub(crate) fn postpone_stable(&mut self, host: Option<Ipv4Addr>) {
        self.stable_ticks = MORE_STABLE_TICKS;
        self.checked_host = host;
    }

    /// The target of a refresh: a random part of the table.
    pub(crate) fn refresh_target(&mut self) -> NodeId {
        self.table.random(&mut self.rng).map_or(*self.table.id(), |contact| contact.id)
    }

    // ---- maintenance

    pub(super) fn handle_tick(&mut self, now: Instant) {
        // The clock of the timers stands still while the machine sleeps, that of the wall does not.
        let passed = now.saturating_duration_since(self.next_tick - TICK);
        let passed = passed.max(self.wall.saturating_sub(self.tick_wall));
        self.tick_wall = self.wall;
        self.next_tick = now + TICK;
        if self.suspended {
            return;
        }
        if passed > SLEEPING {
            self.wake_up();
        } else {
            self.tick += 1;
        }
        if !self.bootstrapped {
            return;
        }

        if self.settings.adaptive && self.io.ephemeral {
            self.stable_ticks = self.stable_ticks.saturating_sub(1);
            if self.stable_ticks == 0 {
                self.stable_ticks = MORE_STABLE_TICKS;
                if self.checked_host.is_none() || self.checked_host != self.nat.host() {
                    self.out.push(Output::Stable);
                }
            }
        }
        if self.tick & 7 == 0 {
            self.ping_some(now);
        }
        self.refresh_ticks = self.refresh_ticks.saturating_sub(1);
        if self.tick.is_multiple_of(REJOIN_TICKS) && !self.io.ephemeral && self.settings.bootstrap_nodes > 0 {
            // Which refreshes the table as well.
            self.refresh_ticks = REFRESH_TICKS;
            self.out.push(Output::Rejoin);
        }
        if self.refresh_ticks == 0 || (self.tick & 63 == 0 && self.nodes.len() < K) {
            self.refresh_ticks = REFRESH_TICKS;
            self.out.push(Output::Refresh);
        }
        self.down_hints = 0;
        if self.health.update(self.io.stats.responses, self.io.stats.timeouts) {
            self.out.push(Output::Event(Event::Health(self.health.health())));
        }
    }

    /// Takes the time since 1970.
    pub(crate) fn set_wall_clock(&mut self, wall: Duration) {
        if self.tick_wall.is_zero() {
            self.tick_wall = wall;
        }
        self.wall = wall;
    }

    /// Ends what runs, and starts nothing until [`Core::resume`]. False if that is so already.
    pub(crate) fn suspend(&mut self, now: Instant) -> bool {
        if self.suspended || self.destroyed {
            return false;
        }
        self.suspended = true;
        self.io.clear(RequestError::Suspended);
        self.io.forget_congestion(now);
        self.queries.clear();
        self.delayed.clear();
        (self.checks, self.swaps) = (0, 0);
        self.firewall_test = None;
        true
    }

    /// Goes on as after a sleep.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.suspended = false;
        self.tick_wall = self.wall;
        self.next_tick = now + TICK;
        self.wake_up();
    }

    /// What was known may be stale.
    pub(crate) fn wake_up(&mut self) {
        // Everything known is old, and pings begin two ticks from now.
        self.tick += 2 * OLD_NODE;
        self.tick = (self.tick | 7) - 1;
        self.stable_ticks = MORE_STABLE_TICKS;
        self.refresh_ticks = 1;
        self.checked_host = None;
        let offline = self.health.health() != Health::Online;
        self.health.reset();
        if offline {
            // What was seen before says nothing about now, and nobody must wait for a change that does not come.
            self.out.push(Output::Event(Event::Health(Health::Online)));
        }
        if self.settings.adaptive && !self.io.ephemeral {
            self.io.ephemeral = true;
            self.out.push(Output::Event(Event::Ephemeral));
        }
        self.out.push(Output::Event(Event::Wakeup));
    }

    /// Pings those that were silent for longest.
    fn ping_some(&mut self, now: Instant) {
        let tick = self.tick;
        let Some(oldest) = self.nodes.oldest().next() else {
            self.out.push(Output::Refresh);
            return;
        };
        let count = match () {
            () if tick.saturating_sub(oldest.pinged) < RECENT_NODE => 2,
            () if self.io.len() > 2 => 3,
            () => 5,
        };
        let due: Vec<Contact> =
            self.nodes.oldest().take(count).filter(|node| node.pinged != tick).map(|node| node.contact).collect();
        for contact in due {
            self.check(contact, now);
        }
    }
}
