//! What the bridge's clients are told that ask for it: whose expenses changed, and that peers or channels came or went.

use std::sync::Arc;
use std::time::Duration;

use encoding::json::JsString;
use indexmap::IndexSet;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

use crate::bridge::{Bridge, News};

/// What changes within this time of the first change is told at once, each room once.
const GATHER: Duration = Duration::from_millis(50);

/// Tells of changes until there can be none any more.
pub(super) async fn tell(bridge: Arc<Bridge>, mut presence: watch::Receiver<()>, mut expenses: Receiver<JsString>) {
    let mut rooms = IndexSet::new();
    loop {
        // Somebody may miss so much that all rooms may have changed.
        let mut all = false;
        tokio::select! {
            changed = presence.changed() => match changed {
                Ok(()) => presence.mark_changed(),
                Err(_) => return,
            },
            room = expenses.recv() => match room {
                Ok(room) => drop(rooms.insert(room)),
                Err(RecvError::Lagged(_)) => all = true,
                Err(RecvError::Closed) => return,
            },
        }
        tokio::time::sleep(GATHER).await;
        loop {
            match expenses.try_recv() {
                Ok(room) => drop(rooms.insert(room)),
                Err(TryRecvError::Lagged(_)) => all = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if presence.has_changed().unwrap_or(false) {
            presence.mark_unchanged();
            bridge.tell(&News::Presence);
        }
        let rooms = rooms.drain(..).map(Some);
        if all {
            bridge.tell(&News::Expenses(None));
        } else {
            rooms.for_each(|room| bridge.tell(&News::Expenses(room)));
        }
    }
}
