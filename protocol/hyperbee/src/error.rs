/// Why an operation on a tree failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A block is not that of a tree: the log holds something else, or its writer is broken. Not worth another try.
    #[error("block {seq} is not that of a Hyperbee: {reason}")]
    InvalidBlock {
        /// The block.
        seq: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The tree cannot be written here: it is a snapshot, or the log has no secret key.
    #[error("the tree cannot be written here")]
    NotWritable,
    /// The log is not what this batch or snapshot builds on any more. Take a new one.
    #[error("the log changed in between")]
    Changed,
    /// An operation of this batch failed half-way, or was given up; it cannot be continued. Take a new one.
    #[error("an earlier operation of the batch failed")]
    Broken,
    /// Reading or appending blocks failed; what the log says. Of a core that is a [`hypercore::Error`], which tells a bad peer from a bad
    /// disk and a bad call:
    ///
    /// ```
    /// use hyperbee::{Error, Hyperbee};
    /// use hypercore::{Fault, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), hypercore::Error> {
    /// let core = Store::memory().create()?;
    /// let bee = Hyperbee::new(core.clone());
    /// bee.put("key", "value").await.expect("written");
    /// core.clear(0, 2)?;
    /// let Err(Error::Log(error)) = Hyperbee::new(core).get("key").await else { panic!("there are no blocks") };
    /// let error = error.downcast_ref::<hypercore::Error>().expect("the log is a core");
    /// assert_eq!(error.fault(), Fault::Caller);
    /// # Ok(())
    /// # }
    /// ```
    #[error("the log: {0}")]
    Log(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps an error of a [`Log`](crate::Log).
    pub fn log(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Log(error.into())
    }
}
