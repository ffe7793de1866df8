//! The identity of a store, and the network that waits until it is on disk.
//!
//! To encrypt a new key takes a good part of a second. The bridge does not wait for that; the network does. Meanwhile the key waits
//! unencrypted beside its file, so that a peer that is killed at any moment is the same when it starts again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cli::error::Failure;
use crate::cli::output;
use crate::identity::{self, Identity, IdentityError, pending};
use crate::peer::SwarmNetwork;
use crate::sidechannel::Network;
use crate::sidechannel::link::{Link, Operation};

/// Whether the key is on disk; or why it will not be.
type Saved = Option<Result<(), Failure>>;

/// The identity of a store.
pub(super) struct Key {
    pub(super) identity: Identity,
    saved: watch::Receiver<Saved>,
}

impl Key {
    /// Reads the identity of a store. Where there is none, it is made, and saved in the background.
    pub(super) fn of(store: &Path) -> Result<Key, Failure> {
        let path = store.join("db").join("keypair.json");
        match identity::load(&path) {
            Ok(loaded) => {
                warn(&loaded.warnings);
                forget_pending(&path);
                Ok(Key { identity: loaded.identity, saved: watch::channel(Some(Ok(()))).1 })
            }
            Err(IdentityError::Missing { .. }) => {
                let (done, saved) = watch::channel(None);
                let identity = pending::take_or_create(&path).map_err(|error| Failure::failed(error.to_string()))?;
                let key = identity.clone();
                tokio::task::spawn_blocking(move || {
                    let result = identity::save(&path, &key).map_err(|error| Failure::failed(error.to_string()));
                    if let Ok(warnings) = &result {
                        output::line(&format!("Key pair exported to {}", path.display()));
                        warn(warnings);
                        forget_pending(&path);
                    }
                    done.send_replace(Some(result.map(drop)));
                });
                Ok(Key { identity, saved })
            }
            Err(error) => Err(Failure::failed(error.to_string())),
        }
    }

    /// Waits until the key is on disk.
    pub(super) async fn saved(&self) -> Result<(), Failure> {
        let mut saved = self.saved.clone();
        match saved.wait_for(Option::is_some).await.map(|saved| saved.clone()) {
            Ok(Some(result)) => result,
            _ => Err(Failure::failed("the key file was not written")),
        }
    }

    /// The network, which is not there before the key is on disk.
    pub(super) fn guard(&self, network: SwarmNetwork) -> Arc<dyn Network> {
        Arc::new(Guarded { network, saved: self.saved.clone() })
    }
}

/// How long a start has the processor to itself before a key is made that nothing waits for.
const SETTLEMENT_DELAY: Duration = Duration::from_secs(3);

/// Makes the identity on the settlement network where there is none, as the original does at its start. Nothing here uses it yet,
/// and so nothing waits for it.
pub(super) async fn make_settlement_key(store: &Path) {
    let path = store.join("db").join("keypair.json");
    if path.symlink_metadata().is_ok() {
        return;
    }
    tokio::time::sleep(SETTLEMENT_DELAY).await;
    let file = path.clone();
    let made = tokio::task::spawn_blocking(move || {
        let identity = Identity::generate();
        identity::write_private(&file, identity::keyfile::encrypt(&identity, b"").as_bytes())
    });
    match made.await {
        Ok(Ok(())) => output::line(&format!("Key pair exported to {}", path.display())),
        // Another peer with the same settlement store was faster.
        Ok(Err(IdentityError::Exists { .. })) | Err(_) => {}
        Ok(Err(error)) => output::error_line(&format!("warning: the settlement key is not made: {error}")),
    }
}

fn forget_pending(path: &Path) {
    warn(&pending::forget(path).err().map(|error| error.to_string()).into_iter().collect::<Vec<_>>());
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        output::error_line(&format!("warning: {warning}"));
    }
}

struct Guarded {
    network: SwarmNetwork,
    saved: watch::Receiver<Saved>,
}

impl Network for Guarded {
    fn bootstrapped(&self) -> Operation<'_, ()> {
        let mut saved = self.saved.clone();
        Box::pin(async move {
            self.network.bootstrapped().await;
            if saved.wait_for(|saved| matches!(saved, Some(Ok(())))).await.is_err() {
                // The key could not be saved: the peer is about to end.
                std::future::pending::<()>().await;
            }
        })
    }

    fn join(&self, topic: [u8; 32]) {
        self.network.join(topic);
    }

    fn leave(&self, topic: [u8; 32]) -> Operation<'_, ()> {
        self.network.leave(topic)
    }

    fn flush(&self) -> Operation<'_, ()> {
        self.network.flush()
    }

    fn next_link(&self) -> Operation<'_, Option<Arc<dyn Link>>> {
        self.network.next_link()
    }
}
