//! A few seeds of every story, small enough for every day. `scripts/simulate` runs more.

use simulation::scenario::{Plan, Scenario, run};

fn holds(scenario: Scenario, seeds: std::ops::Range<u64>, nodes: usize, days: f64) {
    for seed in seeds {
        if let Err(failure) = run(Plan { scenario, seed, nodes, days }) {
            panic!("{failure}");
        }
    }
}

#[test]
fn peers_meet() {
    holds(Scenario::Meet, 1..4, 28, 0.0);
}

#[test]
fn peers_that_come_and_go_meet() {
    holds(Scenario::Churn, 1..2, 16, 0.0);
}

#[test]
fn a_partition_heals() {
    holds(Scenario::Partition, 1..2, 20, 0.0);
}

#[test]
fn with_a_relay_everybody_meets_at_once() {
    holds(Scenario::Relays, 1..3, 28, 0.0);
}

#[test]
fn peers_that_rest_come_back() {
    holds(Scenario::Rest, 1..2, 20, 0.0);
}

#[test]
fn a_quarter_of_a_day_leaves_nothing_behind() {
    holds(Scenario::Days, 1..2, 12, 0.25);
}

/// The same seed tells the same story: otherwise a failure could not be looked at again.
#[test]
fn a_seed_repeats_itself() {
    let plan = Plan { scenario: Scenario::Meet, seed: 3, nodes: 16, days: 0.0 };
    let stories: Vec<_> = (0..2).map(|_| run(plan).unwrap_or_else(|failure| panic!("{failure}"))).collect();
    assert_eq!(stories[0].lines, stories[1].lines);
    assert_eq!(stories[0].datagrams, stories[1].datagrams);
}
