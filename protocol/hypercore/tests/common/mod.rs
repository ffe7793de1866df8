//! A connection within the process. The tests of corestore use it too.

use crypto::KeyPair;
use hypercore::replication::Replication;
use protomux::{Mux, MuxOptions};
use secret_stream::{IoTransport, Options, SecretStream};

/// Replicates over a connection between the two; its ends.
pub(crate) async fn connect(a: &Replication, b: &Replication) -> (Mux, Mux) {
    let (left, right) = tokio::io::duplex(1 << 16);
    let (left, right) = tokio::try_join!(
        SecretStream::connect(IoTransport::new(left), KeyPair::generate(), Options::default()),
        SecretStream::accept(IoTransport::new(right), KeyPair::generate(), Options::default()),
    )
    .expect("a connection");
    let left = Mux::prepared(left, MuxOptions::default(), |mux| a.replicate(mux));
    let right = Mux::prepared(right, MuxOptions::default(), |mux| b.replicate(mux));
    (left, right)
}
