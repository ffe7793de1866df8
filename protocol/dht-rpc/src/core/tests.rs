//! The node without a network: full rows, sleep, hints, and datagrams that nobody who means well sends.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::message::RESPONSE;

/// A node, and its time.
struct World {
    core: Core,
    now: Instant,
}

fn addr(a: u8, b: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(45, 0, a, b), 1)
}

fn own_addr() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(46, 0, 0, 1), 1)
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let settings = Settings {
            adaptive: true,
            persistent: false,
            firewalled: false,
            quick_firewall: true,
            bootstrap_nodes: 1,
            filter: |_| true,
        };
        let mut core = Core::new(settings, StdRng::seed_from_u64(seed), now);
        core.bootstrapped = true;
        Self { core, now }
    }

    /// A ping of a persistent node arrives.
    fn hear(&mut self, from: SocketAddrV4) {
        let ping = Request { id: Some(node_id(from)), ..Request::new(1, own_addr(), true, command::PING) };
        self.core.handle_datagram(SocketId::SERVER, from, &ping.encode().into(), self.now);
    }

    /// The requests that want to leave, by whom they are for.
    fn requests(&mut self) -> Vec<(SocketAddrV4, Request)> {
        let sent = self.core.take_output().into_iter().filter_map(|output| match output {
            Output::Transmit(transmit) => match Message::decode(&transmit.data) {
                Some(Message::Request(request)) => Some((transmit.to, request)),
                _ => None,
            },
            _ => None,
        });
        sent.collect()
    }

    fn answer(&mut self, from: SocketAddrV4, tid: u16) {
        let pong = Response { id: Some(node_id(from)), ..Response::new(tid, own_addr()) };
        self.core.handle_datagram(SocketId::SERVER, from, &pong.encode().into(), self.now);
    }

    /// Lets time pass, a second a step, without answering anybody.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            while self.core.deadline() <= self.now {
                let due = self.core.deadline();
                self.core.handle_timeout(due.max(self.now));
            }
        }
    }
}

/// Nodes that share a row: those of the first row, half of all.
fn first_row(core: &Core) -> impl Iterator<Item = SocketAddrV4> {
    let own = core.table.id()[0] & 0x80;
    let all = (0..=255).flat_map(|a| (1..=250).map(move |b| addr(a, b)));
    all.filter(move |addr| node_id(*addr)[0] & 0x80 != own)
}

#[test]
fn in_a_full_row_a_living_node_stays_and_a_dead_one_goes() {
    let mut world = World::new(1);
    let row: Vec<_> = first_row(&world.core).take(22).collect();
    for addr in &row[..20] {
        world.hear(*addr);
    }
    world.core.take_output();
    world.wait(5);
    world.core.take_output();
    // The longest silent is asked. It answers, and stays.
    world.hear(row[20]);
    let asked = world.requests();
    assert_eq!(asked.len(), 1);
    let (oldest, request) = asked.into_iter().next().expect("one");
    assert_eq!(request.command, command::PING);
    world.answer(oldest, request.tid);
    assert!(world.core.nodes.get(&node_id(row[20])).is_none());
    // The next one does not.
    world.hear(row[21]);
    let asked = world.requests();
    let (silent, _) = asked.into_iter().next().expect("one is asked");
    world.wait(4);
    assert!(world.core.nodes.get(&node_id(silent)).is_none());
    assert!(world.core.nodes.get(&node_id(row[21])).is_some());
    assert_eq!((world.core.nodes.len(), world.core.table.len()), (20, 20));
}

#[test]
fn who_does_not_answer_is_removed_in_time() {
    let mut world = World::new(2);
    for b in 1..=10 {
        world.hear(addr(0, b));
    }
    assert_eq!(world.core.nodes.len(), 10);
    world.wait(3600);
    assert_eq!((world.core.nodes.len(), world.core.table.len()), (0, 0));
}

#[test]
fn a_machine_that_slept_starts_over() {
    let mut world = World::new(3);
    world.core.io.ephemeral = false;
    world.hear(addr(0, 1));
    world.wait(10);
    world.core.take_output();
    world.now += Duration::from_secs(600);
    world.core.handle_timeout(world.now);
    let output = world.core.take_output();
    let expected =
        matches!(output[..], [Output::Event(Event::Ephemeral), Output::Event(Event::Wakeup), Output::Refresh]);
    assert!(expected, "{output:?}");
    assert!(world.core.io.ephemeral);
    // Pings follow soon.
    world.wait(15);
    assert!(world.requests().iter().any(|(to, request)| *to == addr(0, 1) && request.command == command::PING));
}

#[test]
fn a_node_may_be_resumed_at_every_tick() {
    for ticks in 0..8 {
        let mut world = World::new(3);
        world.hear(addr(0, 1));
        world.wait(5 * ticks);
        world.core.suspend(world.now);
        world.core.resume(world.now);
        world.core.take_output();
        let begun = |world: &mut World| !world.requests().is_empty();
        world.wait(9);
        assert!(!begun(&mut world), "{ticks} ticks: too early");
        world.wait(1);
        assert!(begun(&mut world), "{ticks} ticks: pings begin two ticks later");
    }
}

#[test]
fn a_node_that_was_stable_asks_to_become_persistent() {
    let mut world = World::new(4);
    world.core.nat.add(own_addr());
    let mut attempts = 0;
    for _ in 0..(21 * 60) {
        world.wait(1);
        attempts += world.core.take_output().iter().filter(|output| matches!(output, Output::Stable)).count();
    }
    assert_eq!(attempts, 1);
    // The same host is not looked at again.
    world.core.checked_host = Some(*own_addr().ip());
    world.wait(2 * 3600);
    assert!(!world.core.take_output().iter().any(|output| matches!(output, Output::Stable)));
}

/// With a full table no query asks the bootstrap nodes; looking for ourselves from there does.
#[test]
fn a_persistent_node_joins_again_and_again() {
    let mut world = World::new(7);
    for b in 1..=200 {
        world.hear(addr(0, b));
    }
    for (persistent, rejoins) in [(false, 0), (true, 6)] {
        world.core.io.ephemeral = !persistent;
        world.core.take_output();
        let mut seen = 0;
        for _ in 0..3600 {
            world.wait(1);
            seen += world.core.take_output().iter().filter(|output| matches!(output, Output::Rejoin)).count();
        }
        assert_eq!(seen, rejoins, "in an hour");
    }
    let (events, _listener) = mpsc::unbounded_channel();
    for b in 1..=200 {
        world.hear(addr(0, b));
    }
    world.core.take_output();
    let own = *world.core.table.id();
    let spec = QuerySpec { from_bootstrap: true, ..QuerySpec::find_node(own, true) };
    let (query, wants_bootstrap) = world.core.query(spec, events, world.now);
    assert!(wants_bootstrap && world.requests().is_empty(), "nobody of the table is asked");
    world.core.open_query(query, &[addr(9, 9)], true, world.now);
    let asked: Vec<_> = world.requests().into_iter().map(|(to, request)| (to, request.target)).collect();
    assert_eq!(asked, [(addr(9, 9), Some(own))]);
}

#[test]
fn hints_and_delayed_pings_are_bounded() {
    let mut world = World::new(5);
    for b in 1..=200 {
        world.hear(addr(0, b));
    }
    world.core.take_output();
    let known = world.core.nodes.len();
    for b in 1..=200u8 {
        let mut value = addr(0, b).ip().octets().to_vec();
        value.extend([1, 0]);
        let hint = Request { value: Some(value.into()), ..Request::new(9, own_addr(), true, command::DOWN_HINT) };
        world.core.handle_datagram(SocketId::SERVER, addr(9, 9), &hint.encode().into(), world.now);
    }
    let checks = world.requests().iter().filter(|(_, request)| request.command == command::PING).count();
    assert_eq!((checks, world.core.nodes.len()), (MAX_CHECKS, known));

    for i in 0..5000u16 {
        let value = Some(Bytes::copy_from_slice(&10_000u32.to_le_bytes()));
        let ping = Request { value, ..Request::new(i, own_addr(), true, command::DELAYED_PING) };
        world.core.handle_datagram(SocketId::SERVER, addr(9, 9), &ping.encode().into(), world.now);
    }
    assert_eq!(world.core.delayed.len(), MAX_DELAYED_PINGS);
    world.wait(11);
    assert!(world.core.delayed.is_empty());
}

/// A datagram of any kind, many of them well-formed.
fn datagram() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let noise = proptest::collection::vec(any::<u8>(), 0..120);
    let kind = prop_oneof![Just(crate::message::REQUEST), Just(RESPONSE), any::<u8>()];
    let raw = (kind, noise.clone()).prop_map(|(kind, mut rest)| {
        rest.insert(0, kind);
        rest
    });
    let request = (any::<u16>(), any::<bool>(), 0u64..6, proptest::option::of(any::<[u8; 32]>()), noise).prop_map(
        |(tid, internal, command, target, value)| {
            let value = Some(Bytes::from(value));
            Request { target, value, ..Request::new(tid, own_addr(), internal, command) }.encode()
        },
    );
    let response = (any::<u16>(), any::<u8>()).prop_map(|(tid, seed)| {
        let closer_nodes = (0..20).map(|i| addr(seed, i)).collect();
        Response { closer_nodes, ..Response::new(tid, addr(seed, seed)) }.encode()
    });
    (any::<u8>(), prop_oneof![raw, request, response])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_datagrams_are_survived_without_growth(datagrams in proptest::collection::vec(datagram(), 1..200)) {
        let mut world = World::new(6);
        world.hear(addr(0, 1));
        let (events, _listener) = mpsc::unbounded_channel();
        let spec = QuerySpec { tries: 2, nodes: vec![addr(7, 7), addr(8, 8)], ..QuerySpec::find_node([1; 32], false) };
        let (query, _) = world.core.query(spec, events, world.now);
        world.core.open_query(query, &[], true, world.now);
        for (from, bytes) in datagrams {
            let from = addr(from, from);
            world.core.handle_datagram(SocketId::SERVER, from, &bytes.clone().into(), world.now);
            world.core.handle_datagram(SocketId::CLIENT, from, &bytes.into(), world.now);
            world.core.take_output();
        }
        prop_assert!(world.core.nodes.len() <= 1, "nobody showed the right identifier");
        prop_assert!(world.core.nameless_samples.len() <= 1);
        world.wait(600);
        prop_assert!(world.core.queries.is_empty());
        prop_assert_eq!(world.core.io.len(), 0);
    }
}
