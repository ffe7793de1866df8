//! Stories with a bound. Each is a function of its [`Plan`] alone.

use std::fmt;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;
use udx::network::nat::NatKind;

use crate::peer::Place;
use crate::world::{Missing, World, WorldOptions};

mod churn;
mod days;
mod meet;
mod partition;
mod relays;
mod rest;

/// How long pairs that share a topic may take to connect, where neither side has to guess ports: two lookups, three attempts.
pub const MEET_BOUND: Duration = Duration::from_secs(60);

/// The same where one side guesses ports. A peer does so for one other at a time, every 20 s at most and for 35 s at most, and one
/// that was put off is tried again with the next lookup, after 10 to 12 minutes.
pub const LUCKY_BOUND: Duration = Duration::from_secs(2 * 3600);

/// How long pairs may take to meet again after they lost each other for long: the next lookup is 10 to 12 minutes away, another one
/// if that found the dead announcement of a peer alone, and attempts follow.
pub const HEAL_BOUND: Duration = Duration::from_secs(26 * 60);

/// Peers of one topic.
const ROOM: usize = 8;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Peers join topics at about the same time, and meet.
    Meet,
    /// Peers come and go, in order or not, and those that are there meet.
    Churn,
    /// The internet is parted for a while, and heals.
    Partition,
    /// Everybody knows a blind relay, and all meet at once.
    Relays,
    /// Peers rest and come back.
    Rest,
    /// Days pass, and nothing grows.
    Days,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 6] = [Self::Meet, Self::Churn, Self::Partition, Self::Relays, Self::Rest, Self::Days];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meet => "meet",
            Self::Churn => "churn",
            Self::Partition => "partition",
            Self::Relays => "relays",
            Self::Rest => "rest",
            Self::Days => "days",
        }
    }
}

/// What a story begins with: the same plan tells the same story.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The story.
    pub scenario: Scenario,
    /// All chance.
    pub seed: u64,
    /// Nodes in all: a quarter are nodes of the DHT, the others are peers.
    pub nodes: usize,
    /// For [`Scenario::Days`], how many.
    pub days: f64,
}

impl fmt::Display for Plan {
    /// The command that runs it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, nodes, days } = self;
        write!(f, "scripts/simulate --scenario {} --seed {seed} --nodes {nodes}", scenario.name())?;
        if *scenario == Scenario::Days { write!(f, " --days {days}") } else { Ok(()) }
    }
}

/// What was seen in a story that ended well.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Time in the story.
    pub passed: Duration,
    /// Datagrams sent.
    pub datagrams: u64,
    /// What happened, in words.
    pub lines: Vec<String>,
}

/// A property that did not hold.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}\nto see it again:  {plan}")]
pub struct Failure {
    /// The story.
    pub plan: Plan,
    /// What went wrong.
    pub what: String,
}

/// Tells a story to its end, in virtual time.
///
/// # Errors
/// What did not hold.
pub fn run(plan: Plan) -> Result<Report, Failure> {
    crate::virtual_time(async {
        let begun = Instant::now();
        let dht_nodes = u16::try_from((plan.nodes / 4).max(6)).unwrap_or(u16::MAX);
        let mut world = World::new(plan.seed, WorldOptions { dht_nodes, ..WorldOptions::default() }).await;
        if plan.scenario == Scenario::Relays {
            world.add_relay().await;
        }
        populate(&mut world, plan.nodes.saturating_sub(dht_nodes.into())).await;
        let mut lines = Vec::new();
        let told = match plan.scenario {
            Scenario::Meet => meet::tell(&mut world, &mut lines).await,
            Scenario::Churn => churn::tell(&mut world, &mut lines).await,
            Scenario::Partition => partition::tell(&mut world, &mut lines).await,
            Scenario::Relays => relays::tell(&mut world, &mut lines).await,
            Scenario::Rest => rest::tell(&mut world, &mut lines).await,
            Scenario::Days => days::tell(&mut world, plan.days, &mut lines).await,
        };
        let report = Report { passed: begun.elapsed(), datagrams: world.datagrams(), lines };
        let left = world.end().await;
        let told = told.and_then(|()| match left {
            0 => Ok(report),
            _ => Err(format!("{left} tasks outlive the nodes")),
        });
        told.map_err(|what| Failure { plan, what })
    })
}

/// Adds peers in all kinds of places, in rooms of about [`ROOM`], within a few seconds.
async fn populate(world: &mut World, count: usize) {
    let rooms = count.div_ceil(ROOM).max(1);
    for _ in 0..count {
        let place = match world.rng().random_range(0..100) {
            0..25 => Place::Public,
            25..65 => Place::Behind(NatKind::Cone),
            65..85 => Place::Behind(NatKind::Full),
            _ => Place::Behind(NatKind::Symmetric),
        };
        let room = world.rng().random_range(0..rooms);
        let topic = world.topic(&format!("room {room}"));
        world.add_peer(place, &[topic]).await;
        let pause = world.rng().random_range(0..100);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Waits until all pairs are connected, those first that need no luck.
async fn gather(world: &World, bound: Duration, lines: &mut Vec<String>) -> Result<(), String> {
    let sure = world.until_only(bound, |missing| missing.places.0.needs_luck(missing.places.1)).await;
    let sure = sure.map_err(|missing| not_connected(&missing, bound))?;
    let lucky = world.until_connected(LUCKY_BOUND).await.map_err(|missing| not_connected(&missing, LUCKY_BOUND))?;
    let last = sure.last.map_or(String::new(), |last| format!(", {last} last"));
    lines.push(format!(
        "all met within {:.1} s{last}; those that guess ports {:.0} s later",
        sure.took.as_secs_f64(),
        lucky.as_secs_f64()
    ));
    Ok(())
}

fn not_connected(missing: &[Missing], bound: Duration) -> String {
    let named: Vec<String> = missing.iter().take(8).map(ToString::to_string).collect();
    format!("{} pairs are not connected after {} s: {}", missing.len(), bound.as_secs(), named.join("; "))
}
