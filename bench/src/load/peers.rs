//! Peers of the sidechannel that do nothing but speak.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use crypto::KeyPair;
use encoding::json::Value;
use hyperdht::Connection;
use intercom::sidechannel::payload::Draft;
use protomux::{ChannelEvent, ChannelOptions, Mux};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::hex;
use crate::lines::Failure;

/// Peers remember this many ids at least; more messages than that are prepared in all, so that none comes back too early.
const REMEMBERED: usize = 5_000;

/// The messages of each peer, with the proof of work that peers demand by default. They are said again and again.
pub(super) fn pool(rooms: &[String], peers: usize, bytes: usize) -> Result<Vec<Vec<Bytes>>, Failure> {
    let stop = AtomicBool::new(false);
    let each = (REMEMBERED * 5 / 4).div_ceil(peers);
    (0..peers)
        .map(|peer| {
            let keys = KeyPair::from_seed(&[u8::try_from(peer)?; 32]);
            let message = |n: usize| {
                let draft = Draft {
                    channel: rooms[peer % rooms.len()].clone(),
                    message: Some(Value::from("x".repeat(bytes).as_str())),
                    invite: None,
                    id: format!("{}:1700000000000:{n}", hex(&keys.public_key)),
                    ts: 1_700_000_000_000,
                    ttl: 3,
                    difficulty: Some(12),
                    max_bytes: None,
                    report_hash: false,
                };
                Ok(draft.seal(&keys, &stop)?.body)
            };
            (0..each).map(message).collect()
        })
        .collect()
}

/// Says the messages in turn, `rate` bytes a second, until the connection ends. What others say is not looked at.
pub(super) async fn speak(
    connection: Connection,
    room: String,
    messages: Vec<Bytes>,
    rate: f64,
    n: usize,
) -> Result<(), Failure> {
    let mux = Mux::new(connection);
    let mut channel = mux.open(ChannelOptions::new(format!("sidechannel/{room}")))?;
    loop {
        match channel.recv().await.ok_or("closed before it was open")? {
            ChannelEvent::Open { .. } => break,
            ChannelEvent::Close { .. } => return Err("the channel was rejected".into()),
            ChannelEvent::Message { .. } => {}
        }
    }
    let sender = channel.sender();
    let say = async {
        let period = Duration::from_secs_f64(messages[0].len() as f64 / rate);
        // Not all in the same moment.
        let mut ticks = interval_at(Instant::now() + period.mul_f64(n as f64 / 64.0), period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for message in messages.iter().cycle() {
            ticks.tick().await;
            sender.send(0, message).await?;
        }
        Ok(())
    };
    let hear = async { while channel.recv().await.is_some() {} };
    tokio::select! {
        done = say => done,
        () = hear => Err("the channel was closed".into()),
    }
}
