//! A world: the internet, the nodes of the DHT, and the peers.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::OnceLock;
use std::time::Duration;

use crypto::KeyPair;
use hyperdht::{Dht, DhtOptions};
use hyperswarm::{JoinOptions, RelayThrough, Swarm, SwarmOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use udx::network::sim::{Link, SimNetwork};

use crate::gauges::Gauges;
use crate::internet::{Internet, Side};
use crate::peer::{Peer, Place, Running};
use crate::relay::Relay;

/// The port of every node of the DHT.
const PORT: u16 = 49737;

/// Where the blind relay is.
const RELAY: Ipv4Addr = Ipv4Addr::new(47, 0, 0, 1);

/// How often is looked whether the peers are connected.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// When nothing is left of what was ended: streams answer repetitions for 8 seconds, and sockets are kept for as long.
const AFTERLIFE: Duration = Duration::from_secs(60);

/// The time since 1970 at which every world begins.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// How a world is.
#[derive(Clone, Copy, Debug)]
pub struct WorldOptions {
    /// Nodes of the DHT that are there from the beginning, and stay.
    pub dht_nodes: u16,
    /// What every datagram meets.
    pub link: Link,
}

impl Default for WorldOptions {
    /// Twelve nodes; 10 to 50 ms to everywhere, and one datagram in a hundred lost.
    fn default() -> Self {
        let link =
            Link { delay: Duration::from_millis(10), jitter: Duration::from_millis(40), loss: 0.01, ..Link::default() };
        Self { dht_nodes: 12, link }
    }
}

/// Two peers that have no connection, though they could, and one topic that both are interested in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The peers' numbers.
    pub pair: (usize, usize),
    /// Where they are.
    pub places: (Place, Place),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} ({:?} and {:?})", self.pair.0, self.pair.1, self.places.0, self.places.1)
    }
}

/// How pairs met.
#[derive(Clone, Copy, Debug)]
pub struct Met {
    /// How long it took until all had.
    pub took: Duration,
    /// One of those that met last, if anybody was waited for.
    pub last: Option<Missing>,
}

/// All that is simulated. It has to live in [`virtual_time`](crate::virtual_time).
pub struct World {
    /// The network below.
    pub net: SimNetwork,
    /// What stands between the hosts.
    pub internet: Internet,
    /// The nodes of the DHT; the first is the one that all begin with.
    pub dht: Vec<Dht>,
    /// The peers, in the order in which they were added.
    pub peers: Vec<Peer>,
    relay: Option<Relay>,
    rng: StdRng,
}

impl World {
    /// A world with a DHT and without peers.
    ///
    /// # Panics
    /// When the simulated network has no room, which it has.
    pub async fn new(seed: u64, options: WorldOptions) -> Self {
        let (net, internet) = (SimNetwork::new(seed), Internet::new(seed));
        net.set_default_link(options.link);
        net.set_middlebox(internet.clone());
        let rng = StdRng::seed_from_u64(seed);
        let mut world = Self { net, internet, dht: Vec::new(), peers: Vec::new(), relay: None, rng };
        for i in 0..options.dht_nodes {
            let host = dht_host(i);
            world.internet.set_side(host, if i % 2 == 0 { Side::Left } else { Side::Right });
            let options = DhtOptions { ephemeral: Some(false), firewalled: false, ..world.dht_options(host) };
            let node = match i {
                0 => Dht::bootstrapper(host, PORT, DhtOptions { bootstrap: None, ..options }).await,
                _ => Dht::new(options).await,
            };
            let node = node.expect("a free port");
            node.bootstrapped().await;
            world.dht.push(node);
        }
        world
    }

    /// Adds a blind relay, which all peers that are started from now on know.
    ///
    /// # Panics
    /// When the simulated network has no room.
    pub async fn add_relay(&mut self) {
        let options = DhtOptions { ephemeral: Some(false), firewalled: false, ..self.dht_options(RELAY) };
        let keys = KeyPair::from_seed(&self.rng.random());
        self.relay = Some(Relay::new(options, keys).await);
    }

    /// Streams that the relay carries now.
    #[must_use]
    pub fn relayed(&self) -> usize {
        self.relay.as_ref().map_or(0, Relay::active)
    }

    /// The topic of a name.
    #[must_use]
    pub fn topic(&self, name: &str) -> [u8; 32] {
        crypto::hash(&[name.as_bytes()])
    }

    /// One of the peers, by chance.
    pub fn any_peer(&mut self) -> usize {
        self.rng.random_range(0..self.peers.len())
    }

    /// Chance of this world.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    fn dht_options(&mut self, host: Ipv4Addr) -> DhtOptions {
        DhtOptions {
            bootstrap: Some(vec![SocketAddrV4::new(dht_host(0), PORT).into()]),
            key_pair: Some(KeyPair::from_seed(&self.rng.random())),
            network: Some(self.net.host(host.into())),
            local_addresses: Some(vec![host]),
            seed: Some(self.rng.random()),
            unix_time: || {
                static BEGUN: OnceLock<Instant> = OnceLock::new();
                EPOCH + BEGUN.get_or_init(Instant::now).elapsed()
            },
            ..DhtOptions::default()
        }
    }

    /// Adds a peer, and returns its number. It joins its topics at once.
    pub async fn add_peer(&mut self, place: Place, topics: &[[u8; 32]]) -> usize {
        let index = self.peers.len();
        let host = match place {
            Place::Public => outside(index),
            Place::Behind(kind) => {
                self.internet.add_nat(kind, outside(index), inside(index));
                inside(index)
            }
        };
        self.internet.set_side(host, if index.is_multiple_of(2) { Side::Left } else { Side::Right });
        let keys = KeyPair::from_seed(&self.rng.random());
        self.peers.push(Peer { host, place, topics: topics.to_vec(), keys, running: None });
        self.start(index).await;
        index
    }

    /// Starts a peer that was stopped, with its key and topics.
    ///
    /// # Panics
    /// When the simulated network has no room.
    pub async fn start(&mut self, index: usize) {
        let host = self.peers[index].host;
        self.internet.set_dark(host, false);
        let dht_options = self.dht_options(host);
        let seed = Some(self.rng.random());
        let peer = &mut self.peers[index];
        let relay_through = self.relay.as_ref().map(|relay| RelayThrough::Keys(vec![relay.key]));
        let key_pair = Some(peer.keys.clone());
        let options = SwarmOptions { key_pair, relay_through, dht_options, seed, ..SwarmOptions::default() };
        let swarm = Swarm::new(options).await.expect("a free port");
        for topic in &peer.topics {
            drop(swarm.join(*topic, JoinOptions::default()));
        }
        peer.running = Some(Running::new(swarm));
    }

    /// Ends a peer in order: it withdraws its announcements and says goodbye.
    pub async fn stop(&mut self, index: usize) {
        if let Some(running) = self.peers[index].running.take() {
            running.swarm.destroy().await;
        }
    }

    /// Ends a peer as a power failure does: nobody hears of it.
    pub async fn kill(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        self.internet.set_dark(peer.host, true);
        if let Some(running) = peer.running.take() {
            // Its goodbyes are lost.
            running.swarm.destroy().await;
        }
    }

    /// Has a peer rest, as a machine does that is put to sleep and says so.
    pub async fn suspend(&mut self, index: usize) {
        if let Some(running) = &mut self.peers[index].running {
            running.rests = true;
            running.swarm.suspend().await;
        }
    }

    /// Wakes a peer that rests.
    pub async fn resume(&mut self, index: usize) {
        if let Some(running) = &mut self.peers[index].running {
            running.rests = false;
            running.swarm.resume().await;
        }
    }

    /// Whether the two are connected, and have heard from each other.
    #[must_use]
    pub fn is_connected(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.peers[one], &self.peers[other]);
        one.hears(&other.keys.public_key) && other.hears(&one.keys.public_key)
    }

    /// Pairs that share a topic, run, can connect and have not.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let pairs = (0..self.peers.len()).flat_map(|one| (one + 1..self.peers.len()).map(move |other| (one, other)));
        pairs
            .filter(|pair| self.should_meet(*pair) && !self.is_connected(pair.0, pair.1))
            .map(|pair| Missing { pair, places: (self.peers[pair.0].place, self.peers[pair.1].place) })
            .collect()
    }

    fn should_meet(&self, (one, other): (usize, usize)) -> bool {
        let (one, other) = (&self.peers[one], &self.peers[other]);
        one.is_awake()
            && other.is_awake()
            && (one.place.can_connect(other.place) || self.relay.is_some())
            && one.topics.iter().any(|topic| other.topics.contains(topic))
    }

    /// Waits until [`World::missing`] is empty, and says how long it took.
    ///
    /// # Errors
    /// What is still missing when `bound` has passed.
    pub async fn until_connected(&self, bound: Duration) -> Result<Duration, Vec<Missing>> {
        self.until_only(bound, |_| false).await.map(|met| met.took)
    }

    /// The same, where some pairs need not connect.
    ///
    /// # Errors
    /// What is still missing when `bound` has passed.
    pub async fn until_only(&self, bound: Duration, excused: impl Fn(&Missing) -> bool) -> Result<Met, Vec<Missing>> {
        let begun = Instant::now();
        let mut last = None;
        loop {
            let mut missing = self.missing();
            missing.retain(|missing| !excused(missing));
            if missing.is_empty() {
                return Ok(Met { took: begun.elapsed(), last });
            }
            if begun.elapsed() >= bound {
                return Err(missing);
            }
            last = missing.first().copied();
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Datagrams that were sent so far.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.net.stats().sent
    }

    /// What all nodes hold now, and the tasks of the runtime.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let mut gauges = Gauges::default();
        self.dht.iter().for_each(|dht| gauges.add_dht(dht));
        self.peers.iter().filter_map(Peer::swarm).for_each(|swarm| gauges.add_swarm(swarm));
        gauges.add("tasks", tokio::runtime::Handle::current().metrics().num_alive_tasks());
        gauges
    }

    /// Ends all peers and nodes, and says how many tasks outlive them.
    pub async fn end(mut self) -> usize {
        for index in 0..self.peers.len() {
            self.kill(index).await;
        }
        for dht in self.dht.drain(..) {
            dht.destroy().await;
        }
        self.peers.clear();
        if let Some(relay) = self.relay.take() {
            relay.end().await;
        }
        tokio::time::sleep(AFTERLIFE).await;
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }
}

/// The host of a node of the DHT.
fn dht_host(index: u16) -> Ipv4Addr {
    let [high, low] = (index + 1).to_be_bytes();
    Ipv4Addr::new(45, 10, high, low)
}

/// A peer's address as others see it, each in a network of its own.
fn outside(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(46, (index >> 8) as u8, index as u8, 1)
}

/// The address of a peer behind a NAT. No two are the same, so that no path by private addresses is tried in vain.
fn inside(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, (index >> 8) as u8, index as u8, 2)
}
