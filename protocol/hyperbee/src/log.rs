use std::future::Future;

use bytes::Bytes;

use crate::Error;

/// The append-only log that a tree is kept in.
///
/// Clones are handles of the same log.
pub trait Log: Clone + Send + Sync + 'static {
    /// How many blocks it has.
    fn length(&self) -> u64;

    /// While this stays the same, each block that was read stays what it is. It grows with each cut; a snapshot has the number that
    /// its log had.
    fn epoch(&self) -> u64;

    /// Whether [`append`](Self::append) can succeed.
    fn is_writable(&self) -> bool;

    /// The log as it is now, whatever happens to it.
    fn snapshot(&self) -> Self;

    /// Tells the log of an upgrade that others have, before a tree reads its length. Nothing to do for a log that has no others.
    fn update(&self) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// The block, which may have to be fetched.
    fn block(&self, seq: u64) -> impl Future<Output = Result<Bytes, Error>> + Send;

    /// Appends blocks, all at once, at the length that the log has.
    fn append(&self, blocks: Vec<Bytes>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Waits until the length or epoch is another than this.
    fn changed(&self, length: u64, epoch: u64) -> impl Future<Output = ()> + Send;
}
