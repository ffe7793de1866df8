//! The internet is parted, long enough for everybody to give the others up, and heals.

use std::time::Duration;

use super::{HEAL_BOUND, MEET_BOUND, gather, meet};
use crate::world::World;

const PARTED: Duration = Duration::from_secs(30 * 60);

pub(super) async fn tell(world: &mut World, lines: &mut Vec<String>) -> Result<(), String> {
    gather(world, MEET_BOUND, lines).await?;
    world.internet.part(true);
    tokio::time::sleep(PARTED).await;
    let apart = world.missing();
    let wrong = apart.iter().find(|missing| (missing.pair.0 + missing.pair.1).is_multiple_of(2));
    if let Some(missing) = wrong {
        return Err(format!("{missing} lost each other, though they are on one side"));
    }
    let connected = world.peers.len();
    lines.push(format!(
        "parted for {} minutes: {} pairs of {connected} peers lost each other",
        PARTED.as_secs() / 60,
        apart.len()
    ));
    if apart.is_empty() {
        return Err("nobody lost anybody: the partition does not work".into());
    }
    world.internet.part(false);
    gather(world, HEAL_BOUND, lines).await?;
    meet::find_topics(world).await
}
