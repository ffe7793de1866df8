//! Peers are put to rest and come back. Who is awake loses nobody who is, and all meet again.

use std::time::Duration;

use rand::Rng;

use super::{HEAL_BOUND, MEET_BOUND, gather, meet};
use crate::world::World;

/// How often a third of the peers rests.
const NIGHTS: usize = 3;

pub(super) async fn tell(world: &mut World, lines: &mut Vec<String>) -> Result<(), String> {
    gather(world, MEET_BOUND, lines).await?;
    for _ in 0..NIGHTS {
        let sleepers: Vec<usize> = (0..world.peers.len()).filter(|_| world.rng().random_range(0..3) == 0).collect();
        for index in &sleepers {
            world.suspend(*index).await;
        }
        let night = Duration::from_secs(world.rng().random_range(60..40 * 60));
        tokio::time::sleep(night).await;
        for index in &sleepers {
            let connections = world.peers[*index].swarm().map_or(0, hyperswarm::Swarm::connections);
            if connections > 0 {
                return Err(format!("{index} rests, and has {connections} connections"));
            }
        }
        if let Some(missing) = world.missing().first() {
            return Err(format!("{missing} lost each other, though they are awake"));
        }
        for index in &sleepers {
            world.resume(*index).await;
            let pause = world.rng().random_range(0..5000);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        lines.push(format!("{} peers rested for {} s", sleepers.len(), night.as_secs()));
        gather(world, HEAL_BOUND, lines).await?;
    }
    meet::find_topics(world).await
}
