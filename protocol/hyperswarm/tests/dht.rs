//! The swarm on HyperDHT: real packets between the nodes of a small network on the loopback interface.

use std::time::Duration;

use hyperdht::testnet::Testnet;
use hyperdht::{Connection, DhtOptions};
use hyperswarm::{JoinOptions, Swarm, SwarmOptions};
use tokio::time::timeout;

const TOPIC: [u8; 32] = [7; 32];
const SERVER: JoinOptions = JoinOptions { server: true, client: false, limit: None };
const CLIENT: JoinOptions = JoinOptions { server: false, client: true, limit: None };

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

async fn swarm(network: &Testnet) -> Swarm {
    let dht_options = DhtOptions { local_addresses: Some(Vec::new()), ..network.options() };
    Swarm::new(SwarmOptions { dht_options, ..SwarmOptions::default() }).await.unwrap()
}

async fn next(swarm: &Swarm) -> Connection {
    timeout(LIMIT, swarm.next_connection()).await.expect("a connection in time").expect("a swarm").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_swarms_meet_speak_part_and_meet_again() {
    let network = Testnet::new(4).await.unwrap();
    let (server, client) = (swarm(&network).await, swarm(&network).await);
    assert!(server.join(TOPIC, SERVER).flushed().await.unwrap());
    client.join(TOPIC, CLIENT);
    for _ in 0..2 {
        let (mut here, mut there) = (next(&client).await, next(&server).await);
        assert!(here.is_initiator() && !there.is_initiator());
        here.send(b"hello").await.unwrap();
        assert_eq!(there.recv().await.unwrap().as_deref(), Some(&b"hello"[..]));
        there.send(b"yes?").await.unwrap();
        assert_eq!(here.recv().await.unwrap().as_deref(), Some(&b"yes?"[..]));
        // The server closes, and the client comes back by itself.
        drop(there);
        assert!(here.recv().await.is_err());
    }
    let (_here, there) = (next(&client).await, next(&server).await);
    assert_eq!((server.connections(), client.connections()), (1, 1));

    timeout(LIMIT, client.destroy()).await.expect("it ends in time");
    let mut there = there;
    assert!(timeout(LIMIT, there.recv()).await.expect("the end is seen at once").is_err());
    timeout(LIMIT, server.destroy()).await.expect("it ends in time");

    let late = swarm(&network).await;
    late.join(TOPIC, CLIENT).flushed().await.unwrap();
    assert!(late.flush().await);
    assert_eq!(late.stats().client_attempted, 0, "who was destroyed is still announced");
    late.destroy().await;
    network.destroy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_swarms_become_a_full_mesh_of_single_connections() {
    const SWARMS: usize = 6;
    let network = Testnet::new(4).await.unwrap();
    let mut swarms = Vec::new();
    for _ in 0..SWARMS {
        swarms.push(swarm(&network).await);
    }
    // All announce and look up at the same moment, and then once more, as if each had come a little later.
    for _ in 0..2 {
        let refreshes: Vec<_> = swarms.iter().map(|swarm| swarm.join(TOPIC, JoinOptions::default())).collect();
        for refresh in &refreshes {
            assert!(refresh.refresh().await.unwrap());
        }
    }
    let mut tasks = Vec::new();
    for swarm in &swarms {
        let swarm = swarm.clone();
        tasks.push(tokio::spawn(async move {
            while let Some((mut connection, _)) = swarm.next_connection().await {
                tokio::spawn(async move {
                    let _ = connection.send(b"hello").await;
                    while let Ok(Some(_)) = connection.recv().await {}
                });
            }
        }));
    }
    timeout(LIMIT, async {
        let mut events: Vec<_> = swarms.iter().map(Swarm::events).collect();
        for (swarm, events) in swarms.iter().zip(&mut events) {
            while swarm.connections() < SWARMS - 1 {
                // A reader that is behind has missed updates; the count is what matters.
                let _ = events.recv().await;
            }
        }
    })
    .await
    .expect("a full mesh in time");
    for swarm in &swarms {
        swarm.destroy().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    network.destroy().await;
}
