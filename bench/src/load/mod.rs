//! A program under load: many clients on its SC-Bridge, one of which reads nothing, and many peers that speak as much as a peer may;
//! and meanwhile how long a send takes. The load is the same whichever program bears it.

mod clients;
mod peers;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::Lab;
use crate::lines::{Answer, Failure};
use clients::{Board, Client, Deaf};

/// What is measured, and under what.
#[derive(Deserialize)]
pub(crate) struct Load {
    bootstrap: String,
    /// Public key of the program, in hex.
    key: String,
    /// `HOST:PORT` of its bridge.
    bridge: String,
    /// The same of another peer, which has joined `talk` as well.
    listener: String,
    token: String,
    /// Clients of the bridge, by turns on one of `rooms`.
    clients: usize,
    /// Whether one of them comes last and reads nothing.
    deaf: bool,
    /// Peers, by turns on one of `rooms`.
    peers: usize,
    /// The channels on which peers and clients are.
    rooms: Vec<String>,
    /// The channel of what is measured, on which all clients are too.
    talk: String,
    /// Length of the messages of the peers, and of what is measured.
    bytes: usize,
    sample_bytes: usize,
    /// What a peer sends in bytes a second.
    rate: f64,
    /// So many sends are measured, one after the other, or as many as there is time for.
    samples: usize,
    ms: u64,
}

/// Between the end of one send and the next: what the sends themselves cost stays small.
const PAUSE: Duration = Duration::from_millis(20);

/// The load is there for so long before anything is measured.
const SETTLING: Duration = Duration::from_secs(2);

/// A send that takes longer ends the measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times of sends in milliseconds, to the reply (`sent`) and to another peer's client (`delivered`).
#[derive(Default)]
struct Times {
    sent: Vec<f64>,
    delivered: Vec<f64>,
}

/// Times while all clients read (`reading`), and then while one more does not; what the clients got in a second; and what became of the
/// client that reads nothing.
pub(crate) async fn load(load: Load, lab: &mut Lab) -> Answer {
    let board = Arc::<Board>::default();
    let listener = Client::enter(&load.listener, &load.token, &load.talk, &board).await?;
    let pool = peers::pool(&load.rooms, load.peers, load.bytes)?;
    let mut clients = Vec::with_capacity(load.clients);
    for n in 0..load.clients - usize::from(load.deaf) {
        let room = &load.rooms[n % load.rooms.len()];
        let client = Client::enter(&load.bridge, &load.token, &load.talk, &board).await?;
        client.ask(&board, json!({ "type": "subscribe", "channel": room })).await?;
        clients.push(client);
    }
    // All before the first speaks: a program that bears others already may not answer a handshake in time.
    let mut connections = Vec::with_capacity(load.peers);
    for _ in 0..load.peers {
        connections.push(lab.connect(&load.bootstrap, &load.key).await?);
    }
    let mut speaking = Vec::with_capacity(load.peers);
    for (n, (connection, messages)) in connections.into_iter().zip(pool).enumerate() {
        let room = load.rooms[n % load.rooms.len()].clone();
        speaking.push(tokio::spawn(peers::speak(connection, room, messages, load.rate, n)));
    }
    sleep(SETTLING).await;
    if let Some(silent) = speaking.iter().position(|peer| peer.is_finished()) {
        return Err(format!("peer {silent} has ended: {:?}", speaking.remove(silent).await).into());
    }

    let reading = if load.deaf { sample(&load, &clients, &board, 'r').await? } else { Times::default() };
    let deaf = match load.deaf {
        true => Some(Deaf::enter(&load.bridge, &load.token).await?),
        false => None,
    };
    let (begun, before) = (Instant::now(), board.received());
    let times = sample(&load, &clients, &board, 'd').await?;
    let seconds = begun.elapsed().as_secs_f64();
    let received = board.received().since(before);
    let lost = clients.iter().filter(|client| client.has_ended()).count();
    let deaf = match deaf {
        Some(deaf) => json!(deaf.end().await),
        None => json!(null),
    };
    speaking.iter().for_each(|peer| peer.abort());
    drop(listener);
    Ok(json!({
        "reading": { "sent": reading.sent, "delivered": reading.delivered },
        "sent": times.sent,
        "delivered": times.delivered,
        "events": received.events as f64 / seconds,
        "bytes": received.bytes as f64 / seconds,
        "lost": lost,
        "deaf": deaf,
    }))
}

/// Sends one after the other, by all clients in turn, and measures how long each takes. `mark` sets their texts apart.
async fn sample(load: &Load, clients: &[Client], board: &Board, mark: char) -> Result<Times, Failure> {
    let (begun, mut times) = (Instant::now(), Times::default());
    while times.sent.len() < load.samples && begun.elapsed() < Duration::from_millis(load.ms) {
        let n = times.sent.len();
        let text = format!("{mark}{n:0>width$}", width = load.sample_bytes - 1);
        let arrived = board.expect_message(&text);
        let from = Instant::now();
        let request = json!({ "type": "send", "channel": load.talk, "message": text });
        let replied = clients[n % clients.len()].ask(board, request).await?;
        let arrived = timeout(PATIENCE, arrived).await.map_err(|_| "a message did not arrive")??;
        times.sent.push(replied.duration_since(from).as_secs_f64() * 1000.0);
        times.delivered.push(arrived.duration_since(from).as_secs_f64() * 1000.0);
        sleep(PAUSE).await;
    }
    Ok(times)
}

/// Why something did not happen in time.
fn late(what: &str) -> Failure {
    format!("{what}: not in {} s", PATIENCE.as_secs()).into()
}
