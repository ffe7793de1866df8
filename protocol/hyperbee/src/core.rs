//! Trees in cores.

use bytes::Bytes;
use hypercore::Hypercore;
use hypercore::replication::Replicated;

use crate::{Error, Log};

async fn changed(core: &Hypercore, length: u64, epoch: u64) {
    let mut events = core.subscribe();
    while core.length() == length && core.epoch() == epoch {
        events.next().await;
    }
}

fn append(core: &Hypercore, blocks: Vec<Bytes>) -> Result<(), Error> {
    core.append(blocks).map(|_| ()).map_err(Error::log)
}

/// A core, or a draft, whose blocks are all here. What is appended is durable when its store is
/// [flushed](hypercore::Store::flush).
impl Log for Hypercore {
    fn length(&self) -> u64 {
        Self::length(self)
    }

    fn epoch(&self) -> u64 {
        Self::epoch(self)
    }

    fn is_writable(&self) -> bool {
        Self::is_writable(self)
    }

    fn snapshot(&self) -> Self {
        Self::snapshot(self)
    }

    async fn block(&self, seq: u64) -> Result<Bytes, Error> {
        self.get(seq).map_err(Error::log)?.ok_or_else(|| Error::log(hypercore::Error::NotFound))
    }

    async fn append(&self, blocks: Vec<Bytes>) -> Result<(), Error> {
        append(self, blocks)
    }

    async fn changed(&self, length: u64, epoch: u64) {
        changed(self, length, epoch).await;
    }
}

/// A core that is fetched from peers as it is read.
impl Log for Replicated {
    fn length(&self) -> u64 {
        self.core().length()
    }

    fn epoch(&self) -> u64 {
        self.core().epoch()
    }

    fn is_writable(&self) -> bool {
        self.core().is_writable()
    }

    fn snapshot(&self) -> Self {
        self.with_core(self.core().snapshot())
    }

    async fn update(&self) -> Result<(), Error> {
        if !self.core().is_writable() {
            Self::update(self).await;
        }
        Ok(())
    }

    async fn block(&self, seq: u64) -> Result<Bytes, Error> {
        self.get(seq).await.map_err(Error::log)
    }

    async fn append(&self, blocks: Vec<Bytes>) -> Result<(), Error> {
        append(self.core(), blocks)
    }

    async fn changed(&self, length: u64, epoch: u64) {
        changed(self.core(), length, epoch).await;
    }
}
