//! Nodes that talk to each other, over a simulated network in virtual time.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use dht_rpc::message::{Message, Request, Response, code, command};
use dht_rpc::{
    Dht, Event, Handler, IncomingRequest, Options, QueryOptions, ReplyOptions, RequestError, RequestOptions, SocketId,
    node_id,
};
use tokio::time::Instant;
use udx::network::sim::{Link, SimNetwork, SimPacket};
use udx::{Udx, UdxSocket};

const PORT: u16 = 10_001;
const ECHO: u64 = 1;
const FORWARD: u64 = 2;
const STORE: u64 = 3;

/// Answers [`ECHO`] with its value, passes [`FORWARD`] on to the address in its value, and [`STORE`]s what has a token.
#[derive(Default)]
struct App {
    events: Mutex<Vec<Event>>,
    stored: Mutex<u32>,
}

impl Handler for App {
    fn on_request(&self, request: &IncomingRequest) -> bool {
        match request.command() {
            ECHO => request.reply(request.value().cloned(), ReplyOptions::default()),
            FORWARD => {
                let value = request.value().cloned().unwrap_or_default();
                if let Some(next) = value.strip_prefix(b"to ") {
                    let next = std::str::from_utf8(next).expect("text").parse().expect("address");
                    let back = format!("for {}", request.from());
                    request.relay(back.into(), next, None);
                } else if let Some(asker) = value.strip_prefix(b"for ") {
                    let to = Some(std::str::from_utf8(asker).expect("text").parse().expect("address"));
                    request.reply(Some(Bytes::from_static(b"done")), ReplyOptions { to, ..ReplyOptions::bare() });
                }
            }
            STORE if request.token().is_some() => {
                *self.stored.lock().expect("lock") += 1;
                request.reply(None, ReplyOptions::bare());
            }
            STORE => request.reply(None, ReplyOptions::default()),
            _ => return false,
        }
        true
    }

    fn on_event(&self, event: Event) {
        self.events.lock().expect("lock").push(event);
    }
}

fn host(i: u8) -> Ipv4Addr {
    Ipv4Addr::new(45, 0, 0, i)
}

fn addr(i: u8) -> SocketAddrV4 {
    SocketAddrV4::new(host(i), PORT)
}

struct World {
    net: SimNetwork,
    nodes: Vec<(Dht, Arc<App>)>,
}

impl World {
    async fn new(seed: u64, size: u8) -> Self {
        let net = SimNetwork::new(seed);
        net.set_default_link(Link { delay: Duration::from_millis(5), ..Link::default() });
        let mut world = Self { net, nodes: Vec::new() };
        for i in 0..size {
            let public_host = (i == 0).then(|| host(0));
            let node =
                world.node(i, Options { ephemeral: Some(false), firewalled: false, public_host, ..Options::default() });
            let node = node.await;
            world.nodes.push(node);
        }
        world
    }

    async fn node(&self, i: u8, options: Options) -> (Dht, Arc<App>) {
        let bootstrap = if i == 0 { Vec::new() } else { vec![addr(0).into()] };
        let options = Options { bootstrap, port: PORT, seed: Some(i.into()), ..options };
        let node = Dht::new(Udx::with_network(self.net.host(host(i).into())), options).expect("bound");
        let app = Arc::new(App::default());
        let handler: Weak<App> = Arc::downgrade(&app);
        node.start(handler);
        node.bootstrapped().await;
        (node, app)
    }

    /// A socket without a node.
    fn socket(&self, i: u8) -> UdxSocket {
        Udx::with_network(self.net.host(host(i).into()))
            .bind(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT)))
            .expect("bound")
    }
}

async fn receive(socket: &UdxSocket) -> Response {
    loop {
        let datagram = socket.recv().await.expect("open");
        if let Some(Message::Response(response)) = Message::decode(&datagram.data) {
            return response;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_find_each_other_and_their_addresses() {
    let world = World::new(1, 30).await;
    for (i, (node, app)) in world.nodes.iter().enumerate() {
        let expected = addr(i as u8);
        assert_eq!((node.id(), node.remote_address()), (Some(node_id(expected)), Some(expected)));
        assert!(app.events.lock().expect("lock").contains(&Event::Persistent));
        assert!(node.table_len() >= 15, "{}", node.table_len());
    }
    let (node, _) = world.node(77, Options::default()).await;
    assert_eq!((node.id(), node.firewalled(), node.remote_address()), (None, false, Some(addr(77))));
    let target = [9; 32];
    let mut query = node.find_node(target, QueryOptions::default());
    let closest: Vec<_> = query.finish().await.iter().map(|reply| reply.id.expect("persistent")).collect();
    let mut all: Vec<_> = (0..30).map(|i| node_id(addr(i))).collect();
    all.sort_by_key(|id| {
        let mut distance = *id;
        distance.iter_mut().zip(target).for_each(|(byte, t)| *byte ^= t);
        distance
    });
    assert_eq!(closest, all[..20]);
}

#[tokio::test(start_paused = true)]
async fn a_firewall_is_noticed() {
    let world = World::new(2, 8).await;
    world.net.set_middlebox(|_, packet: &mut SimPacket| packet.destination != SocketAddr::V4(addr(77)));
    let (node, _) = world.node(77, Options::default()).await;
    assert_eq!((node.firewalled(), node.remote_address()), (true, None));
    assert_eq!(node.nat().host(), Some(host(77)));
    assert_eq!(node.request_socket(), SocketId::CLIENT);
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_refused_or_time_out() {
    let world = World::new(3, 3).await;
    let (node, _) = &world.nodes[1];
    let value = Some(Bytes::from_static(b"hello"));
    let options = RequestOptions { value: value.clone(), target: Some([1; 32]), ..RequestOptions::default() };
    let reply = node.request(addr(2), ECHO, options).await.expect("answered");
    assert_eq!((reply.from, reply.to, reply.value, reply.error), (addr(2), addr(1), value, 0));
    assert!(reply.token.is_some() && !reply.closer_nodes.is_empty());
    assert_eq!(reply.rtt, Duration::from_millis(10));

    let unknown = node.request(addr(2), 99, RequestOptions::default()).await.expect("answered");
    assert_eq!(unknown.error, code::UNKNOWN_COMMAND);

    let began = Instant::now();
    let dead = node.request(addr(99), ECHO, RequestOptions::default()).await;
    assert_eq!((dead.err(), began.elapsed().as_secs()), (Some(RequestError::Timeout), 3));
    let began = Instant::now();
    let once = node.ping(addr(99), RequestOptions { tries: Some(1), ..RequestOptions::default() }).await;
    assert_eq!((once.err(), began.elapsed().as_secs()), (Some(RequestError::Timeout), 1));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_ping_is_answered_later() {
    let world = World::new(4, 2).await;
    let began = Instant::now();
    let (node, _) = &world.nodes[1];
    node.delayed_ping(addr(0), Duration::from_secs(7), RequestOptions::default()).await.expect("answered");
    assert_eq!(began.elapsed(), Duration::from_millis(7010));
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_request_is_answered_by_the_first_node() {
    let world = World::new(5, 4).await;
    let (asker, _) = world.node(77, Options::default()).await;
    // 77 asks 1, which passes it on to 2, which answers 77: under the right number, but 77 did not ask there.
    let value = Some(Bytes::from(format!("to {}", addr(2))));
    let options = RequestOptions { value, ..RequestOptions::default() };
    assert_eq!(asker.request(addr(1), FORWARD, options).await.err(), Some(RequestError::Timeout));

    // Now 1 passes it on to itself, and answers.
    let value = Some(Bytes::from(format!("to {}", addr(1))));
    let options = RequestOptions { value, ..RequestOptions::default() };
    let reply = asker.request(addr(1), FORWARD, options).await.expect("answered by the node that was asked");
    assert_eq!((reply.from, reply.value.as_deref()), (addr(1), Some(&b"done"[..])));
}

#[tokio::test(start_paused = true)]
async fn tokens_are_for_one_host_and_a_while() {
    let world = World::new(6, 3).await;
    let (node, _) = &world.nodes[1];
    let store = |token| node.request(addr(2), STORE, RequestOptions { token, ..RequestOptions::default() });
    let token = store(None).await.expect("answered").token;
    assert_eq!(store(token).await.expect("answered").error, 0);
    let other = world.nodes[0].0.request(addr(2), STORE, RequestOptions { token, ..RequestOptions::default() }).await;
    let other = other.expect("answered");
    assert_eq!((other.error, other.token.is_some()), (code::INVALID_TOKEN, true));
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(store(token).await.expect("answered").error, code::INVALID_TOKEN);
    assert_eq!(*world.nodes[2].1.stored.lock().expect("lock"), 1);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_die_are_forgotten() {
    let mut world = World::new(7, 12).await;
    let (node, _) = world.node(77, Options::default()).await;
    assert_eq!(node.table_len(), 12);
    for (dead, _) in world.nodes.drain(6..) {
        dead.destroy();
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(node.table_len(), 6);
    assert!(world.nodes.iter().all(|(other, _)| other.table_len() <= 6));
}

/// Each half has enough nodes to go on alone for ever.
#[tokio::test(start_paused = true)]
async fn two_halves_that_forgot_each_other_find_each_other() {
    let world = World::new(14, 60).await;
    let half = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => addr.ip().octets()[3] % 2,
        SocketAddr::V6(_) => 0,
    };
    world.net.set_middlebox(move |_, packet: &mut SimPacket| half(packet.source) == half(packet.destination));
    tokio::time::sleep(Duration::from_secs(40 * 60)).await;
    let others = |i: usize| {
        let nodes = world.nodes[i].0.nodes(usize::MAX);
        nodes.into_iter().filter(move |addr| half((*addr).into()) != (i % 2) as u8).count()
    };
    assert!((0..60).all(|i| others(i) == 0), "forgotten");
    world.net.set_middlebox(|_, _: &mut SimPacket| true);
    // Ten minutes until everybody has looked, and one to look.
    tokio::time::sleep(Duration::from_secs(11 * 60)).await;
    for target in 0..8u8 {
        let mut closest: Vec<_> = (0..60).map(|i| node_id(addr(i))).collect();
        closest.sort_by_key(|id| id.map(|byte| byte ^ target));
        for i in [1, 2] {
            let mut query = world.nodes[i].0.find_node([target; 32], QueryOptions::default());
            let found: Vec<_> = query.finish().await.iter().filter_map(|reply| reply.id).collect();
            let own = node_id(addr(i as u8));
            let expected: Vec<_> = closest.iter().copied().filter(|id| *id != own).take(found.len()).collect();
            assert_eq!((found.len(), found), (20, expected));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_makes_a_node_look() {
    let world = World::new(8, 3).await;
    let (node, _) = &world.nodes[1];
    let before = node.table_len();
    world.nodes[2].0.destroy();
    let socket = world.socket(66);
    let value = node_value(addr(2));
    let hint = Request { value: Some(value), ..Request::new(7, addr(1), true, command::DOWN_HINT) };
    socket.try_send_to(&hint.encode(), addr(1).into()).expect("sent");
    assert_eq!(receive(&socket).await.tid, 7);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(node.table_len(), before - 1);
}

fn node_value(addr: SocketAddrV4) -> Bytes {
    let mut value = addr.ip().octets().to_vec();
    value.extend(addr.port().to_le_bytes());
    value.into()
}

#[tokio::test(start_paused = true)]
async fn a_node_cannot_choose_its_identifier() {
    let world = World::new(9, 2).await;
    let (node, _) = &world.nodes[1];
    let before = node.table_len();
    let socket = world.socket(66);
    for id in [[1; 32], node_id(addr(65))] {
        let ping = Request { id: Some(id), ..Request::new(1, addr(1), true, command::PING) };
        socket.try_send_to(&ping.encode(), addr(1).into()).expect("sent");
        receive(&socket).await;
    }
    assert_eq!(node.table_len(), before);
    let ping = Request { id: Some(node_id(addr(66))), ..Request::new(1, addr(1), true, command::PING) };
    socket.try_send_to(&ping.encode(), addr(1).into()).expect("sent");
    assert_eq!(receive(&socket).await.to, addr(66));
    assert_eq!(node.table_len(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_nat_ping_goes_to_the_other_port() {
    let world = World::new(10, 1).await;
    let socket = world.socket(66);
    let value = Some(Bytes::copy_from_slice(&PORT.to_le_bytes()));
    let ping = Request { value, ..Request::new(3, addr(0), true, command::PING_NAT) };
    let other = Udx::with_network(world.net.host(host(66).into()));
    let other = other.bind("0.0.0.0:0".parse().expect("address")).expect("bound");
    other.try_send_to(&ping.encode(), addr(0).into()).expect("sent");
    let response = receive(&socket).await;
    assert_eq!((response.tid, response.to), (3, addr(66)));
    let unknown = Request { target: Some([1; 32]), ..Request::new(4, addr(0), true, 77) };
    socket.try_send_to(&unknown.encode(), addr(0).into()).expect("sent");
    assert_eq!(receive(&socket).await.error, code::UNKNOWN_COMMAND);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_query_stops() {
    let world = World::new(11, 6).await;
    let (node, _) = world.node(77, Options::default()).await;
    world.net.set_middlebox(|_, _: &mut SimPacket| false);
    let sent = world.net.stats().sent;
    drop(node.query([1; 32], ECHO, QueryOptions::default()));
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(world.net.stats().sent - sent, 6, "asked once");
    node.destroy();
    let destroyed = node.ping(addr(1), RequestOptions::default()).await;
    assert_eq!(destroyed.err(), Some(RequestError::Destroyed));
    assert!(node.find_node([1; 32], QueryOptions::default()).finish().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lossy_network_is_searched_as_well() {
    let world = World::new(12, 30).await;
    world.net.set_default_link(Link { delay: Duration::from_millis(30), loss: 0.25, ..Link::default() });
    let (node, _) = world.node(77, Options::default()).await;
    let mut query = node.query([1; 32], ECHO, QueryOptions::default());
    assert_eq!(query.finish().await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_node_by_name_has_a_suggested_address() {
    let world = World::new(13, 4).await;
    let bootstrap = vec![format!("{}@nowhere.invalid:{PORT}", host(0)).parse().expect("a node")];
    let udx = Udx::with_network(world.net.host(host(77).into()));
    let node = Dht::new(udx, Options { bootstrap, ..Options::default() }).expect("bound");
    node.start(Weak::<App>::new());
    node.bootstrapped().await;
    assert_eq!(node.table_len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_died_is_bound_again() {
    let world = World::new(14, 4).await;
    let ((alice, events), (bob, _)) = (&world.nodes[2], &world.nodes[3]);
    for id in [SocketId::SERVER, SocketId::CLIENT] {
        let before = alice.socket(id).expect("bound");
        let at = SocketAddr::new(host(2).into(), before.local_addr().port());
        events.events.lock().expect("lock").clear();
        world.net.fail_receives(at, std::io::ErrorKind::Other, 2000);
        before.closed().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let after = alice.socket(id).expect("bound");
        assert!(before != after && before.local_addr() == after.local_addr(), "{id:?}");
        assert!(events.events.lock().expect("lock").contains(&Event::Wakeup), "whoever announces is told");
    }
    let value = Some(Bytes::from_static(b"hello"));
    let options = || RequestOptions { value: value.clone(), ..RequestOptions::default() };
    assert_eq!(bob.request(addr(2), ECHO, options()).await.expect("answered").value, value);
    assert_eq!(alice.request(addr(3), ECHO, options()).await.expect("answered").value, value);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_binds_nothing() {
    let world = World::new(15, 2).await;
    let (alice, _) = &world.nodes[1];
    alice.suspend().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(alice.udx().gauges().sockets, 0, "what we have closed ourselves stays so");
    alice.resume().expect("bound");
    alice.destroy();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(alice.udx().gauges().sockets, 0);
}
