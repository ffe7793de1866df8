//! A view of a stream for those who do not own it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;

/// Watches a [`SecretStream`](crate::SecretStream) that somebody else reads and writes: Hyperswarm decides by it which of two
/// connections to the same peer stays. It does not keep the stream alive.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    read: AtomicU64,
    written: AtomicU64,
    keep_alive: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Monitor {
    /// As [`SecretStream::raw_bytes_read`](crate::SecretStream::raw_bytes_read).
    pub fn raw_bytes_read(&self) -> u64 {
        self.shared.read.load(Ordering::Relaxed)
    }

    /// As [`SecretStream::raw_bytes_written`](crate::SecretStream::raw_bytes_written).
    pub fn raw_bytes_written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Asks the task beside the stream to send an empty message.
    pub fn send_keep_alive(&self) {
        self.shared.keep_alive.store(true, Ordering::Release);
        if let Some(waker) = self.shared.waker.lock().take() {
            waker.wake();
        }
    }

    pub(crate) fn note(&self, read: u64, written: u64) {
        self.shared.read.store(read, Ordering::Relaxed);
        self.shared.written.store(written, Ordering::Relaxed);
    }

    /// Whether an empty message was asked for since the last call.
    pub(crate) fn take_keep_alive(&self, cx: &mut Context<'_>) -> bool {
        // Nobody else holds the handle: nobody can ask.
        if Arc::strong_count(&self.shared) == 1 {
            return false;
        }
        match &mut *self.shared.waker.lock() {
            Some(waker) => waker.clone_from(cx.waker()),
            slot @ None => *slot = Some(cx.waker().clone()),
        }
        self.shared.keep_alive.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crypto::KeyPair;

    use crate::{IoTransport, Options, SecretStream};

    #[tokio::test]
    async fn counts_what_went_both_ways_and_asks_for_a_sign_of_life() {
        let (a, b) = tokio::io::duplex(1024);
        let a = SecretStream::connect(IoTransport::new(a), KeyPair::generate(), Options::default());
        // The filter hides empty messages, the counters show them.
        let filter = Options { filter_empty: true, ..Options::default() };
        let b = SecretStream::accept(IoTransport::new(b), KeyPair::generate(), filter);
        let (mut a, mut b) = tokio::try_join!(a, b).unwrap();
        let (here, there) = (a.monitor(), b.monitor());
        assert_eq!((here.raw_bytes_written(), there.raw_bytes_read()), (0, 0));
        a.send(b"hello").await.unwrap();
        b.recv().await.unwrap();
        assert_eq!(here.raw_bytes_written(), a.raw_bytes_written());
        assert_eq!(there.raw_bytes_read(), b.raw_bytes_read());
        assert!(there.raw_bytes_read() > 0 && there.raw_bytes_written() == 0);

        // Both wait for messages: the request has to wake the one, and the empty message reaches the other.
        let before = there.raw_bytes_read();
        let waiting = tokio::spawn(async move { (a.recv().await, a) });
        let receiving = tokio::spawn(async move { (b.recv().await, b) });
        tokio::task::yield_now().await;
        here.send_keep_alive();
        tokio::time::timeout(Duration::from_secs(5), async {
            while there.raw_bytes_read() == before {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the empty message arrives");
        assert_eq!(there.raw_bytes_read() - before, 17);
        waiting.abort();
        receiving.abort();
    }
}
