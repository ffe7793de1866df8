//! A machine that slept. Its timers slept too: only the clock on the wall tells.

mod common;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{World, listen, start};
use hyperdht::{DhtOptions, ServerOptions};
use tokio::time::timeout;

const HOST: Ipv4Addr = Ipv4Addr::new(46, 1, 1, 1);

/// Seconds on the wall.
static WALL: AtomicU64 = AtomicU64::new(1_800_000_000);

#[tokio::test(start_paused = true)]
async fn a_sleep_is_noticed_and_ends_what_was_true_before_it() {
    let mut world = World::new(1, 8).await;
    let options = world.options(HOST);
    let unix_time = || Duration::from_secs(WALL.load(Ordering::Relaxed));
    let dht = start(DhtOptions { unix_time, ..options }).await;
    let (server, _) = listen(&dht, ServerOptions::default()).await;
    let mut changes = dht.network_changes();
    // It becomes persistent after 20 minutes, in which the wall's clock is set back, and forward by less than a tick would miss.
    for step in [-40_i64, 10, 12] {
        WALL.fetch_add(step as u64, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(500)).await;
    }
    assert!(dht.rpc().id().is_some(), "persistent");
    assert!(!changes.has_changed().expect("it lives"), "it did not sleep");

    WALL.fetch_add(3600, Ordering::Relaxed);
    timeout(Duration::from_secs(10), changes.changed()).await.expect("it notices").expect("it lives");
    assert!(dht.rpc().id().is_none(), "another network may be around it: it has to prove itself again");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!server.relay_addresses().is_empty(), "announced anew");
}
