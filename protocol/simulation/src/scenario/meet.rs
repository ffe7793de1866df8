//! Peers that join topics at about the same time meet, and whoever looks finds them.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::{MEET_BOUND, gather};
use crate::world::World;

pub(super) async fn tell(world: &mut World, lines: &mut Vec<String>) -> Result<(), String> {
    gather(world, MEET_BOUND, lines).await?;
    find_topics(world).await
}

/// A node of the DHT looks every topic up, and finds all that announced themselves.
pub(super) async fn find_topics(world: &mut World) -> Result<(), String> {
    let mut rooms: BTreeMap<[u8; 32], BTreeSet<[u8; 32]>> = BTreeMap::new();
    for peer in world.peers.iter().filter(|peer| peer.running.is_some()) {
        for topic in &peer.topics {
            rooms.entry(*topic).or_default().insert(peer.keys.public_key);
        }
    }
    let nodes = world.dht.len();
    let seeker = world.rng().random_range(0..nodes);
    for (topic, members) in rooms {
        let mut lookup = world.dht[seeker].lookup(topic, Vec::new());
        let mut found = BTreeSet::new();
        while let Some(answer) = lookup.next().await {
            found.extend(answer.peers.into_iter().map(|peer| peer.public_key));
        }
        let lost = members.difference(&found).count();
        // A node gives 20 records at most, chosen at random.
        if lost > 0 && members.len() <= hyperdht::MAX_LOOKUP_RECORDS {
            return Err(format!("{lost} of {} announced peers are not found under their topic", members.len()));
        }
    }
    Ok(())
}
