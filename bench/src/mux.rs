//! Messages through a Protomux channel: type 0 carries them, type 1 their number, from the sender first and back when all are here.

use encoding::{Decoder, Encoder};
use hyperdht::Connection;
use protomux::{ChannelEvent, ChannelOptions, Mux};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::lines::{Answer, Failure};
use crate::{Lab, millis};

#[derive(Deserialize)]
pub(crate) struct Send {
    bootstrap: String,
    key: String,
    count: u64,
    batch: u64,
    kind: Kind,
}

/// What the messages are.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// 200 bytes as they are.
    Raw,
    /// A JSON text of 200 bytes, written and parsed.
    Json,
}

const MESSAGE: u64 = 0;
const COUNT: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    id: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    payload: &'a str,
}

/// Receives what [`send`] sends.
pub(crate) async fn take(connection: Connection, kind: Kind) -> Result<(), Failure> {
    let mux = Mux::new(connection);
    let mut channel = mux.open(ChannelOptions::new("bench"))?;
    let (mut count, mut expected) = (0, u64::MAX);
    while let Some(event) = channel.recv().await {
        match event {
            ChannelEvent::Message { kind: MESSAGE, body } => {
                if let Kind::Json = kind {
                    let body: Body<'_> = serde_json::from_slice(Decoder::new(&body).buffer()?)?;
                    std::hint::black_box(body);
                }
                count += 1;
            }
            ChannelEvent::Message { kind: COUNT, body } => expected = Decoder::new(&body).uint()?,
            _ => {}
        }
        if count >= expected {
            expected = u64::MAX;
            channel.send(COUNT, &uint(count)).await?;
        }
    }
    Ok(())
}

/// Sends `count` messages, `batch` of them under one cork, and waits for the receiver's word.
pub(crate) async fn send(Send { bootstrap, key, count, batch, kind }: Send, lab: &mut Lab) -> Answer {
    let mux = Mux::new(lab.connect(&bootstrap, &key).await?);
    let mut channel = mux.open(ChannelOptions::new("bench"))?;
    loop {
        match channel.recv().await.ok_or("closed before it was open")? {
            ChannelEvent::Open { .. } => break,
            ChannelEvent::Close { .. } => return Err("rejected".into()),
            ChannelEvent::Message { .. } => {}
        }
    }
    let payload = "x".repeat(157);
    let mut body = Vec::with_capacity(256);
    let from = Instant::now();
    let mut sent = 0;
    while sent < count {
        if batch > 1 {
            mux.cork();
        }
        let mut drained = true;
        for _ in 0..batch.min(count - sent) {
            fill(&mut body, kind, sent, &payload)?;
            drained = channel.try_send(MESSAGE, &body)?;
            sent += 1;
        }
        if batch > 1 {
            mux.uncork();
        }
        if !drained {
            channel.sender().drained().await;
        }
    }
    channel.send(COUNT, &uint(count)).await?;
    loop {
        if let ChannelEvent::Message { kind: COUNT, .. } = channel.recv().await.ok_or("closed before the end")? {
            break;
        }
    }
    let time = millis(from);
    mux.destroy();
    Ok(time)
}

fn fill(body: &mut Vec<u8>, kind: Kind, n: u64, payload: &str) -> Result<(), Failure> {
    body.clear();
    match kind {
        Kind::Raw => body.resize(200, n as u8),
        Kind::Json => {
            // The text with its length before it, which one byte tells.
            body.push(0);
            serde_json::to_writer(&mut *body, &Body { id: 1_000_000 + n, kind: "message", payload })?;
            body[0] = u8::try_from(body.len() - 1)?;
        }
    }
    Ok(())
}

fn uint(value: u64) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.uint(value);
    encoder.finish()
}
