//! Pairs whose two sides go and return at the same moment.

use std::time::Duration;

use hyperswarm::Swarm;
use simulation::{Place, World, WorldOptions, virtual_time};
use tokio::time::{Instant, sleep};
use udx::network::nat::NatKind;

/// By what the two of a pair know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Topic,
    Key,
    Both,
}

/// How the two of a pair go and return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// Both are put to rest.
    Rest,
    /// Both are killed, and start again with their keys.
    Crash,
    /// The network of both is gone for a minute, and then another.
    Dark,
}

/// How long the two may take to meet: an attempt that found nobody yet, and the one after it.
const BOUND: Duration = Duration::from_secs(10);

/// How long they are away.
const AWAY: Duration = Duration::from_secs(60);

const PLACES: [Place; 3] = [Place::Public, Place::Behind(NatKind::Cone), Place::Behind(NatKind::Full)];

fn swarm(world: &World, peer: usize) -> Swarm {
    world.peers[peer].swarm().expect("it runs").clone()
}

/// A pair, and how it knows each other.
struct Pair {
    world: World,
    known: Known,
}

impl Pair {
    async fn new(seed: u64, known: Known) -> Self {
        let mut world = World::new(seed, WorldOptions { dht_nodes: 8, ..WorldOptions::default() }).await;
        let room = world.topic("room");
        let topics: &[_] = if known == Known::Key { &[] } else { &[room] };
        for place in [seed, seed / 3] {
            world.add_peer(PLACES[(place % 3) as usize], topics).await;
        }
        let pair = Self { world, known };
        pair.introduce().await;
        pair
    }

    /// Has each ask for the other's key, if that is how they know each other.
    async fn introduce(&self) {
        for (peer, other) in [(0, 1), (1, 0)] {
            if self.known == Known::Key {
                swarm(&self.world, peer).listen().await.expect("it listens");
            }
            if self.known != Known::Topic {
                swarm(&self.world, peer).join_peer(*self.world.peers[other].public_key());
            }
        }
    }

    async fn leave_and_return(&mut self, absence: Absence, away: Duration) {
        let (one, other) = (swarm(&self.world, 0), swarm(&self.world, 1));
        match absence {
            Absence::Rest => {
                tokio::join!(one.suspend(), other.suspend());
                sleep(away).await;
                tokio::join!(one.resume(), other.resume());
            }
            Absence::Crash => {
                for peer in 0..2 {
                    self.world.kill(peer).await;
                }
                sleep(away).await;
                for peer in 0..2 {
                    self.world.start(peer).await;
                }
                self.introduce().await;
            }
            Absence::Dark => {
                let hosts = [0, 1].map(|peer| self.world.peers[peer].host);
                hosts.iter().for_each(|host| self.world.internet.set_dark(*host, true));
                sleep(away).await;
                hosts.iter().for_each(|host| self.world.internet.set_dark(*host, false));
                one.network_changed();
                other.network_changed();
            }
        }
    }

    /// How long it takes until they are connected.
    async fn meet(&self, bound: Duration) -> Option<Duration> {
        let begun = Instant::now();
        while !self.world.is_connected(0, 1) {
            if begun.elapsed() > bound {
                return None;
            }
            sleep(Duration::from_millis(50)).await;
        }
        Some(begun.elapsed())
    }

    /// Connections that were opened so far, on both sides.
    fn opened(&self) -> u64 {
        let stats = [0, 1].map(|peer| swarm(&self.world, peer).stats());
        stats.iter().map(|stats| stats.client_opened + stats.server_opened).sum()
    }
}

/// Every pair of places, with every way to know each other: they meet again in time, and one connection stays that both keep.
fn they_meet_again(absence: Absence) {
    for known in [Known::Topic, Known::Key, Known::Both] {
        for seed in 1..10 {
            let case = format!("{absence:?}, known by {known:?}, seed {seed}");
            virtual_time(async move {
                let mut pair = Pair::new(seed, known).await;
                pair.meet(BOUND).await.unwrap_or_else(|| panic!("{case}: they do not meet"));
                sleep(Duration::from_secs(20)).await;
                pair.leave_and_return(absence, AWAY).await;
                pair.meet(BOUND).await.unwrap_or_else(|| panic!("{case}: they do not meet again"));
                // What crossed is gone by now.
                sleep(Duration::from_secs(20)).await;
                let opened = pair.opened();
                for _ in 0..30 {
                    sleep(Duration::from_secs(20)).await;
                    let connections = [0, 1].map(|peer| swarm(&pair.world, peer).gauges().connections);
                    assert!(pair.world.is_connected(0, 1), "{case}: they lose each other again");
                    assert_eq!((connections, pair.opened()), ([1, 1], opened), "{case}: they do not come to rest");
                }
                assert_eq!(pair.world.end().await, 0, "nothing outlives it");
            });
        }
    }
}

#[test]
fn two_that_rest_and_return_at_once_meet_again() {
    they_meet_again(Absence::Rest);
}

#[test]
fn two_that_crash_and_start_at_once_meet_again() {
    they_meet_again(Absence::Crash);
}

#[test]
fn two_whose_networks_are_gone_and_return_at_once_meet_again() {
    they_meet_again(Absence::Dark);
}
