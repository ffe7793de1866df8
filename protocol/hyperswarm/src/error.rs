/// Why a call to a swarm failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// The swarm was destroyed. Make another.
    #[error("the swarm was destroyed")]
    Destroyed,
    /// The topic was left, or this session of it was destroyed. Join again.
    #[error("the topic was left")]
    Left,
    /// The DHT node could not be started.
    #[error("cannot start the DHT node")]
    Start(#[source] std::io::Error),
    /// Listening for connections failed. The next announcement tries again.
    #[error("cannot listen for connections: {0}")]
    Listen(String),
}
