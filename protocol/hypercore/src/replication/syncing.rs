//! What both sides say of their cores as a whole: `sync`.

use std::time::Duration;

use super::messages::{Message, Sync};
use super::peer::{Peer, PeerId};
use super::replicator::{Output, Replicator};

impl Replicator {
    pub(crate) fn sync_of(&self, peer: &Peer) -> Sync {
        let same_fork = self.known.fork == peer.remote.fork;
        Sync {
            fork: self.known.fork,
            length: self.known.length,
            remote_length: if same_fork { peer.remote.length } else { 0 },
            can_upgrade: peer.can_upgrade && same_fork,
            uploading: true,
            downloading: self.is_downloading(),
            has_manifest: self.known.has_manifest,
            allow_push: false,
        }
    }

    pub(crate) fn send_sync(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let sync = self.sync_of(peer);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.can_upgrade = sync.can_upgrade;
            peer.sent = Some(sync);
        }
        self.send(id, Message::Sync(sync));
    }

    fn can_upgrade(&self, peer: &Peer) -> bool {
        let Sync { fork, length, .. } = peer.remote;
        fork == self.known.fork && (length == 0 || self.core.can_upgrade_from(length).unwrap_or(false))
    }

    /// Tells a peer of what changed here.
    pub(crate) fn signal(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let Sync { fork, length, .. } = peer.remote;
        if fork == self.known.fork && self.known.length > length && !peer.can_upgrade {
            let can_upgrade = self.can_upgrade(peer);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.can_upgrade = can_upgrade;
            }
        }
        self.send_sync(id);
    }

    /// Tells all peers that do not know it of what is here now.
    pub(crate) fn signal_all(&mut self) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get(&id) else { continue };
            let now = Sync { can_upgrade: false, remote_length: 0, ..self.sync_of(peer) };
            if peer.sent.map(|sent| Sync { can_upgrade: false, remote_length: 0, ..sent }) != Some(now) {
                self.signal(id);
            }
        }
    }

    pub(crate) fn set_downloading(&mut self, downloading: bool, now: Duration) {
        self.downloading = downloading;
        self.signal_all();
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.close_if_idle(id);
        }
        self.update_all(now);
    }

    fn close_if_idle(&mut self, id: PeerId) -> bool {
        let idle = self.peers.get(&id).is_some_and(|peer| peer.synced && !peer.remote.downloading);
        let idle = idle && !self.is_downloading();
        if idle {
            self.outputs.push(Output::Close(id));
        }
        idle
    }

    pub(crate) fn on_sync(&mut self, id: PeerId, sync: Sync, now: Duration) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let length_changed = sync.length != peer.remote.length;
        let same_fork = sync.fork == self.known.fork;
        let other_fork = sync.fork != peer.remote.fork;
        if other_fork {
            peer.ask_anew();
        }
        // In the same history, it may prove now what it could not, or reach further.
        let from = match (other_fork, length_changed) {
            (true, _) => 0,
            (false, true) => sync.length.min(peer.remote.length),
            (false, false) => u64::MAX,
        };
        peer.credit.note(from, u64::MAX);
        peer.remote = sync;
        peer.synced = true;
        peer.acked = if same_fork { sync.remote_length } else { 0 };
        if self.close_if_idle(id) {
            return;
        }
        self.update_fork(id, now);
        self.look(id, now);
        let Some(peer) = self.peers.get(&id) else { return };
        let can_upgrade = match length_changed && same_fork {
            true => self.can_upgrade(peer),
            false => peer.can_upgrade && same_fork,
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.can_upgrade = can_upgrade;
        }
        if same_fork && self.known.length > sync.length {
            self.signal(id);
        }
    }
}
