//! Streams that lead into another stream: what arrives goes on, and nothing is kept.

use std::iter::once;
use std::sync::Arc;

use super::{Inner, SCRATCH, Shared, SocketCore, UdxStream};
use crate::error::CloseReason;
use crate::network::Outgoing;
use crate::packet::{self, Header};
use crate::stream::Path;

/// Packets that wait until it is known where they go; further ones are lost, and repeated by their sender.
const MAX_HELD: usize = 8;

/// The most that is handed to the system at once, in bytes.
const MAX_BATCH: usize = 60_000;

impl UdxStream {
    /// Turns the stream into a relay: what arrives for it goes on to the peer of `target`, under that peer's id. Both
    /// directions need a call each. The first packets wait until `target` is connected. A `DESTROY` that passes ends this
    /// stream too; otherwise the stream ends without a word to its peer, who may have left the relay.
    pub fn relay_to(&self, target: &Self) {
        self.lock().relay = Some(Arc::downgrade(target.shared()));
    }
}

impl Shared {
    /// Sends packets on under the id of the target's peer.
    pub(super) fn forward<'a>(
        &self,
        target: Option<Arc<Self>>,
        packets: impl Iterator<Item = (Header, &'a [u8], &'a [u8])>,
    ) {
        let mut destroyed = false;
        let packets = packets.map(|(header, whole, _)| {
            destroyed |= header.has(packet::flags::DESTROY);
            whole
        });
        match target.map(|target| (target.way(), target)) {
            Some((Some((path, socket)), _)) => send_on(path, &socket, packets),
            Some((None, target)) => target.hold(packets),
            None => packets.for_each(drop),
        }
        if destroyed {
            self.abort(CloseReason::Reset);
        }
    }

    fn way(&self) -> Option<(Path, Arc<SocketCore>)> {
        let inner = self.inner.lock();
        let path = inner.state.path()?;
        let socket = inner.sockets.iter().find(|socket| socket.id() == path.socket)?;
        Some((path, Arc::clone(socket)))
    }

    fn hold<'a>(&self, packets: impl Iterator<Item = &'a [u8]>) {
        let inner = &mut *self.inner.lock();
        let room = if inner.state.close_reason().is_none() { MAX_HELD.saturating_sub(inner.held.len()) } else { 0 };
        // The rest is drawn too: the caller looks at every packet.
        for (index, whole) in packets.enumerate() {
            if index < room {
                inner.held.push(whole.to_vec());
            }
        }
    }
}

impl Inner {
    /// Sends what was relayed to here before the stream was connected.
    pub(super) fn send_held(&mut self, path: Path, socket: &SocketCore) {
        for packet in std::mem::take(&mut self.held) {
            send_on(path, socket, once(&packet[..]));
        }
    }

    /// Ends the stream. Its peer is told, unless it is a relay.
    pub(super) fn destroy(&mut self) {
        if self.relay.is_some() {
            self.state.abort(CloseReason::Destroyed);
        } else {
            self.state.destroy();
        }
    }
}

/// Sends packets, those of one size in one go.
fn send_on<'a>(path: Path, socket: &SocketCore, packets: impl Iterator<Item = &'a [u8]>) {
    let flush = |buffer: &mut Vec<u8>, segment: usize| {
        if buffer.is_empty() {
            return;
        }
        let segment_size = (segment < buffer.len()).then_some(segment);
        let outgoing = Outgoing { destination: path.addr, contents: buffer, segment_size, ttl: None };
        if let Err(error) = socket.try_send(&outgoing) {
            tracing::trace!(%error, "relayed packets were not sent");
        }
        buffer.clear();
    };
    SCRATCH.with_borrow_mut(|buffer| {
        buffer.clear();
        let mut segment = 0;
        for whole in packets {
            let full = buffer.len() + whole.len() > MAX_BATCH || buffer.len() >= segment * socket.max_segments();
            // A smaller one may only be the last.
            if full || whole.len() > segment || !buffer.len().is_multiple_of(segment) {
                flush(buffer, segment);
                segment = whole.len();
            }
            let start = buffer.len();
            buffer.extend_from_slice(whole);
            packet::set_stream_id(&mut buffer[start..], path.remote_id);
        }
        flush(buffer, segment);
    });
}
