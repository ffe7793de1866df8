use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::{Error, Log};

/// A log in memory, for tests and for trees that need not last.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    /// The blocks of a snapshot, and its epoch.
    frozen: Option<(Arc<[Bytes]>, u64)>,
}

#[derive(Debug, Default)]
struct Shared {
    state: RwLock<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    blocks: Vec<Bytes>,
    epoch: u64,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// All its blocks.
    pub fn blocks(&self) -> Vec<Bytes> {
        match &self.frozen {
            Some((blocks, _)) => blocks.to_vec(),
            None => self.shared.state.read().blocks.clone(),
        }
    }

    /// Cuts it to `length` blocks.
    pub fn truncate(&self, length: u64) {
        let mut state = self.shared.state.write();
        state.blocks.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        state.epoch += 1;
        drop(state);
        self.shared.changed.notify_waiters();
    }
}

impl Log for MemoryLog {
    fn length(&self) -> u64 {
        self.frozen.as_ref().map_or_else(|| self.shared.state.read().blocks.len(), |(blocks, _)| blocks.len()) as u64
    }

    fn epoch(&self) -> u64 {
        self.frozen.as_ref().map_or_else(|| self.shared.state.read().epoch, |&(_, epoch)| epoch)
    }

    fn is_writable(&self) -> bool {
        self.frozen.is_none()
    }

    fn snapshot(&self) -> Self {
        let epoch = self.epoch();
        Self { shared: self.shared.clone(), frozen: Some((self.blocks().into(), epoch)) }
    }

    async fn block(&self, seq: u64) -> Result<Bytes, Error> {
        let get = |blocks: &[Bytes]| usize::try_from(seq).ok().and_then(|seq| blocks.get(seq).cloned());
        let block = match &self.frozen {
            Some((blocks, _)) => get(blocks),
            None => get(&self.shared.state.read().blocks),
        };
        block.ok_or_else(|| Error::log(format!("there is no block {seq}")))
    }

    async fn append(&self, blocks: Vec<Bytes>) -> Result<(), Error> {
        self.shared.state.write().blocks.extend(blocks);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn changed(&self, length: u64, epoch: u64) {
        loop {
            let mut notified = std::pin::pin!(self.shared.changed.notified());
            notified.as_mut().enable();
            if self.length() != length || self.epoch() != epoch {
                return;
            }
            notified.await;
        }
    }
}
