//! Days pass. Peers restart now and then, announcements are refreshed, caches turn over, and nothing grows.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::{HEAL_BOUND, MEET_BOUND, gather};
use crate::gauges::Gauges;
use crate::world::World;

const HOUR: Duration = Duration::from_secs(3600);

/// After this caches have turned over, and nodes that can be reached are persistent.
const WARM_UP: u32 = 2;

/// A restart somewhere this often.
const RESTART_INTERVAL: Duration = Duration::from_secs(20 * 60);

pub(super) async fn tell(world: &mut World, days: f64, lines: &mut Vec<String>) -> Result<(), String> {
    gather(world, MEET_BOUND, lines).await?;
    let hours = ((days * 24.0) as u32).max(2 * WARM_UP + 2);
    let window = ((hours - WARM_UP) / 2).clamp(1, 12);
    let (mut early, mut late) = (Gauges::default(), Gauges::default());
    for hour in 0..hours {
        let until = Instant::now() + HOUR;
        while Instant::now() + RESTART_INTERVAL <= until {
            tokio::time::sleep(RESTART_INTERVAL).await;
            let index = world.any_peer();
            if world.rng().random() {
                world.stop(index).await;
            } else {
                world.kill(index).await;
            }
            world.start(index).await;
        }
        tokio::time::sleep_until(until).await;
        let gauges = world.gauges();
        if (WARM_UP..WARM_UP + window).contains(&hour) {
            early.raise(&gauges);
        }
        if hour >= hours - window {
            late.raise(&gauges);
        }
    }
    lines.push(format!("hours 2 to {}: {early}", WARM_UP + window));
    lines.push(format!("the last {window} hours: {late}"));
    compare(&early, &late, world)?;
    gather(world, HEAL_BOUND, lines).await
}

/// Nothing is much greater than it was: not by more than a quarter and two for each node.
pub(super) fn compare(early: &Gauges, late: &Gauges, world: &World) -> Result<(), String> {
    let slack = 2 * (world.dht.len() + world.peers.len()) as u64;
    // A deadline lives for a second or two: one or two are waiting for each stream over which something has just gone, and how many
    // those are at this moment is chance. They are held against the streams, of which hardly half had one in twelve hours.
    let deadlines = late.get("udx deadlines");
    if deadlines > 2 * late.get("udx streams") + slack {
        return Err(format!("{deadlines} deadlines for {} streams", late.get("udx streams")));
    }
    let mut grown = late.grown(early, slack);
    grown.retain(|(name, ..)| *name != "udx deadlines");
    if grown.is_empty() {
        return Ok(());
    }
    let named: Vec<String> =
        grown.iter().map(|(name, before, after)| format!("{name} from {before} to {after}")).collect();
    Err(format!("it grows: {}", named.join(", ")))
}
