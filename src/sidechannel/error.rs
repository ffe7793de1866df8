//! What can fail.

/// Why the sidechannel cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SidechannelError {
    /// There are as many channels as there may be, or the name is too long.
    #[error("too many channels, or too long a name: {channel}")]
    Limit {
        /// The channel that was asked for.
        channel: String,
    },
    /// The sidechannel was shut down.
    #[error("the sidechannel is shut down")]
    ShutDown,
}
