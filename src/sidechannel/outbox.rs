//! The messages that wait to be sent to one peer on one channel.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// How many messages may wait for one peer on one channel. Beyond it, new ones are dropped for this peer: what is sent on a
/// channel is not kept for those who cannot follow.
pub const MAX_WAITING: usize = 256;

/// How many bytes may wait for one peer on all channels, likewise. A single message may be larger when none waits.
pub const MAX_WAITING_BYTES: usize = 8 << 20;

/// The bytes that wait for one peer.
pub type Waiting = Arc<AtomicUsize>;

/// Takes messages for a peer.
#[derive(Debug)]
pub struct Outbox {
    queue: mpsc::Sender<Bytes>,
    waiting: Waiting,
}

/// Hands out the messages in their order.
#[derive(Debug)]
pub struct Queue {
    queue: mpsc::Receiver<Bytes>,
    waiting: Waiting,
}

/// An outbox and its queue, which count into `waiting`.
pub fn outbox(waiting: &Waiting) -> (Outbox, Queue) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    (Outbox { queue: sender, waiting: waiting.clone() }, Queue { queue: receiver, waiting: waiting.clone() })
}

impl Outbox {
    /// Takes a message; `false` if it was dropped because too much waits already.
    pub fn push(&self, body: Bytes) -> bool {
        let length = body.len();
        let before = self.waiting.fetch_add(length, Ordering::AcqRel);
        let room = before == 0 || before.saturating_add(length) <= MAX_WAITING_BYTES;
        let taken = room && self.queue.try_send(body).is_ok();
        if !taken {
            self.waiting.fetch_sub(length, Ordering::AcqRel);
        }
        taken
    }
}

impl Queue {
    /// The next message; `None` when its outbox is gone.
    pub async fn next(&mut self) -> Option<Bytes> {
        let body = self.queue.recv().await?;
        self.waiting.fetch_sub(body.len(), Ordering::AcqRel);
        Some(body)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.queue.close();
        while let Ok(body) = self.queue.try_recv() {
            self.waiting.fetch_sub(body.len(), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_wait_in_order_and_within_bounds() {
        let waiting = Waiting::default();
        let (first, mut queue) = outbox(&waiting);
        let (second, _other) = outbox(&waiting);
        assert!(first.push(Bytes::from(vec![1; MAX_WAITING_BYTES + 1])), "none waits");
        assert!(!second.push(Bytes::from_static(&[2])), "one peer's messages are counted together");
        assert_eq!(queue.next().await.map(|body| body.len()), Some(MAX_WAITING_BYTES + 1));
        for number in 0..MAX_WAITING {
            assert!(first.push(Bytes::from(vec![number as u8])));
        }
        assert!(!first.push(Bytes::from_static(&[0])));
        assert!(second.push(Bytes::from_static(&[0])));
        for number in 0..MAX_WAITING {
            assert_eq!(queue.next().await, Some(Bytes::from(vec![number as u8])));
        }
        assert_eq!(waiting.load(Ordering::Acquire), 1);
        first.push(Bytes::from_static(&[7; 10]));
        drop(queue);
        assert_eq!(waiting.load(Ordering::Acquire), 1);
        assert!(!first.push(Bytes::from_static(&[7; 10])));
        assert_eq!(waiting.load(Ordering::Acquire), 1);
    }
}
