//! Peers come and go for two hours. When that stops, all meet, and nothing is left of those that went.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::{HEAL_BOUND, MEET_BOUND, gather, meet};
use crate::world::World;

const CHURN: Duration = Duration::from_secs(2 * 3600);

/// What is announced by those that went is forgotten after this at the latest, and what they had of connections long before.
const CALM: Duration = Duration::from_secs(30 * 60);

pub(super) async fn tell(world: &mut World, lines: &mut Vec<String>) -> Result<(), String> {
    gather(world, MEET_BOUND, lines).await?;
    tokio::time::sleep(CALM).await;
    let before = world.gauges();

    let begun = Instant::now();
    let (mut stopped, mut killed) = (0, 0);
    while begun.elapsed() < CHURN {
        let pause = Duration::from_secs(world.rng().random_range(5..60));
        tokio::time::sleep(pause).await;
        let index = world.any_peer();
        if world.peers[index].running.is_none() {
            world.start(index).await;
        } else if world.rng().random() {
            world.stop(index).await;
            stopped += 1;
        } else {
            world.kill(index).await;
            killed += 1;
        }
    }
    for index in 0..world.peers.len() {
        if world.peers[index].running.is_none() {
            world.start(index).await;
        }
    }
    lines.push(format!("{stopped} left and {killed} died"));
    gather(world, HEAL_BOUND, lines).await?;
    meet::find_topics(world).await?;
    tokio::time::sleep(CALM).await;
    super::days::compare(&before, &world.gauges(), world)
}
