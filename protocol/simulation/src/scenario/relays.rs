//! Everybody knows a blind relay, and everybody meets.

use super::{MEET_BOUND, meet, not_connected};
use crate::world::World;

pub(super) async fn tell(world: &mut World, lines: &mut Vec<String>) -> Result<(), String> {
    // Nobody is excused: where no hole can be punched, and where it takes luck, the relay is there at once.
    let took = world.until_connected(MEET_BOUND).await.map_err(|missing| not_connected(&missing, MEET_BOUND))?;
    if world.relayed() == 0 {
        return Err("nobody needed the relay: the story is not told".into());
    }
    lines.push(format!("all met within {:.1} s, {} streams through the relay", took.as_secs_f64(), world.relayed()));
    meet::find_topics(world).await
}
