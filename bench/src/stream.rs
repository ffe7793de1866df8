//! Bytes through a connection: the first 8 say how many there are, and the receiver answers when it has them.

use hyperdht::Connection;
use serde::Deserialize;
use tokio::time::Instant;

use crate::lines::{Answer, Failure};
use crate::{Lab, millis};

#[derive(Deserialize)]
pub(crate) struct Send {
    bootstrap: String,
    key: String,
    total: u64,
    chunk: usize,
}

/// Receives what [`send`] sends.
pub(crate) async fn take(mut connection: Connection) -> Result<(), Failure> {
    let mut left: Option<i64> = None;
    while let Some(message) = connection.recv().await? {
        let total = match left {
            Some(left) => left,
            None => i64::from_le_bytes(message.get(..8).ok_or("no length")?.try_into()?),
        };
        let rest = total - i64::try_from(message.len())?;
        left = Some(rest);
        if rest <= 0 {
            connection.send(b"done").await?;
        }
    }
    Ok(())
}

/// Sends `total` bytes in messages of `chunk` bytes, and waits for the receiver's word.
pub(crate) async fn send(Send { bootstrap, key, total, chunk }: Send, lab: &mut Lab) -> Answer {
    let mut connection = lab.connect(&bootstrap, &key).await?;
    let data = vec![1; chunk];
    let mut first = data.clone();
    first.get_mut(..8).ok_or("chunk too small")?.copy_from_slice(&total.to_le_bytes());
    let from = Instant::now();
    let mut sent = 0;
    while sent < total {
        connection.send(if sent == 0 { &first } else { &data }).await?;
        sent += chunk as u64;
    }
    connection.recv().await?.ok_or("closed before the end")?;
    let time = millis(from);
    connection.destroy();
    Ok(time)
}
