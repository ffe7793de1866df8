//! The handle of a stream, and what it shares with the tasks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

mod message;
mod path;
mod relay;
mod status;
mod tokio_io;

use super::socket::{SocketCore, UdxSocket};
use super::weak::WeakUdxStream;
use super::{Instance, now};
use crate::error::CloseReason;
use crate::network::Outgoing;
use crate::packet::Header;
use crate::stream::{StreamState, Transmit};

/// Batches that a stream sends in one turn before it lets others.
const BATCHES_PER_TURN: usize = 16;

/// Written bytes that are sent without waiting for the writer to flush or yield.
const WRITE_BATCH: usize = 32 << 10;
/// How long a stream whose socket takes nothing lets what is due wait: only sending would settle it.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
/// Sockets of earlier paths that packets are still taken from; older ones count as foreign.
const MAX_FORMER: usize = 4;

thread_local! {
    /// Where packets are put together, shared by all streams that send on this thread.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What the handle, the socket task and the instance task share.
pub(crate) struct Shared {
    id: u32,
    instance: Weak<Instance>,
    inner: Mutex<Inner>,
    /// Something that is waited for rarely: first packet, change of remote, close.
    event: Notify,
}

struct Inner {
    state: StreamState,
    accept: bool,
    /// Sockets of the state's paths.
    sockets: Vec<Arc<SocketCore>>,
    /// It moves, and the end of that was not told yet.
    moving: bool,
    /// Sockets of earlier paths: the peer may not have noticed the move yet.
    former: VecDeque<u64>,
    /// A batch that the system refused for now.
    refused: Option<(Transmit, Vec<u8>)>,
    /// It is in the list of the instance's task.
    flush_queued: bool,
    /// It is in the batch of a socket task.
    touched: bool,
    /// The deadlines that the schedule knows, earliest last. One is added only if it is earlier than all of them: the next pacing
    /// goes before the retransmission timer, which is still there when it has passed.
    armed: Vec<Instant>,
    read_waker: Option<Waker>,
    write_waker: Option<Waker>,
    message_waker: Option<Waker>,
    first_packet: Option<(Arc<SocketCore>, SocketAddr)>,
    relay: Option<Weak<Shared>>,
    /// Relayed to here before it was known where to.
    held: Vec<Vec<u8>>,
    /// The last handle was dropped.
    detached: bool,
    /// It was removed from the table.
    forgotten: bool,
}

/// What is to be done once the lock is released.
#[derive(Default)]
struct After {
    wakers: [Option<Waker>; 3],
    event: bool,
    forget: bool,
    /// Dropping a socket takes locks of its own.
    _sockets: Vec<Arc<SocketCore>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdxStream").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(id: u32, state: StreamState, accept: bool, instance: &Arc<Instance>) -> Self {
        let inner = Inner {
            state,
            accept,
            sockets: Vec::new(),
            moving: false,
            former: VecDeque::new(),
            refused: None,
            flush_queued: false,
            touched: false,
            armed: Vec::new(),
            read_waker: None,
            write_waker: None,
            message_waker: None,
            first_packet: None,
            relay: None,
            held: Vec::new(),
            detached: false,
            forgotten: false,
        };
        Self { id, instance: Arc::downgrade(instance), inner: Mutex::new(inner), event: Notify::new() }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Whether only the wire still knows the stream.
    pub(super) fn is_over(&self) -> bool {
        self.inner.lock().state.close_reason().is_some()
    }

    /// Takes packets of one receive batch. True if [`Shared::end_batch`] should follow, and is not promised already.
    pub(super) fn receive<'a>(
        &self,
        now: Instant,
        socket: &Arc<SocketCore>,
        from: SocketAddr,
        packets: impl Iterator<Item = (Header, &'a [u8], &'a [u8])>,
    ) -> bool {
        let mut inner = self.inner.lock();
        let connected_here =
            inner.sockets.iter().any(|known| known.id() == socket.id()) || inner.former.contains(&socket.id());
        if !connected_here {
            if inner.state.close_reason().is_none() {
                inner.first_packet = Some((Arc::clone(socket), from));
                self.event.notify_waiters();
            }
            if !inner.accept {
                packets.for_each(drop);
                return false;
            }
        }
        if let Some(target) = inner.relay.clone() {
            drop(inner);
            self.forward(target.upgrade(), packets);
            return false;
        }
        for (header, _, body) in packets {
            inner.state.handle_packet(now, &header, body);
        }
        !std::mem::replace(&mut inner.touched, true)
    }

    /// Lets the stream answer to what it received.
    pub(super) fn end_batch(self: &Arc<Self>, now: Instant) {
        let mut inner = self.inner.lock();
        inner.touched = false;
        inner.state.end_batch(now);
        self.settle(inner, now, true);
    }

    /// Ends the stream on this side only.
    fn abort(&self, reason: CloseReason) {
        let mut inner = self.inner.lock();
        inner.state.abort(reason);
        let after = self.collect(&mut inner);
        drop(inner);
        self.run(after);
    }

    /// Ends the stream if it uses this socket.
    pub(super) fn socket_closed(self: &Arc<Self>, socket: u64, reason: CloseReason) {
        let mut inner = self.inner.lock();
        if !inner.state.sockets().any(|used| used == socket) {
            return;
        }
        let before = inner.state.close_reason();
        // The peer is told that the stream is destroyed; the reason here is the socket.
        inner.destroy();
        self.transmit(&mut inner, now());
        inner.state.abort(before.unwrap_or(reason));
        let after = self.collect(&mut inner);
        drop(inner);
        self.run(after);
    }

    /// The instance's task: a writer yielded without a flush, or a turn was not enough.
    pub(super) fn flush_deferred(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        inner.flush_queued = false;
        inner.state.flush();
        self.settle(inner, now(), true);
    }

    /// The instance's task: a deadline that was armed has come.
    pub(super) fn on_deadline(self: &Arc<Self>, at: Instant) {
        let mut inner = self.inner.lock();
        while inner.armed.last().is_some_and(|&armed| armed <= at) {
            inner.armed.pop();
        }
        let now = now();
        let due = inner.state.next_timeout().is_some_and(|next| next <= now);
        if due {
            inner.state.handle_timeout(now);
        }
        self.settle(inner, now, due);
    }

    /// The socket's task: the system takes datagrams again.
    pub(super) fn unblock(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        if let Some((transmit, bytes)) = inner.refused.take() {
            self.send(&mut inner, transmit, &bytes);
        }
        self.settle(inner, now(), true);
    }

    /// Sends what may be sent, then arms the timer and wakes whom it concerns. Ends the lock.
    fn settle(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>, now: Instant, transmit: bool) {
        if transmit {
            self.transmit(&mut inner, now);
        }
        // What is due and can only be sent would be due again at once.
        let earliest = if inner.refused.is_some() { now + REFUSED_PAUSE } else { now };
        if let Some(at) = inner.state.next_timeout().map(|at| at.max(earliest))
            && inner.armed.last().is_none_or(|&armed| at < armed)
            && let Some(instance) = self.instance.upgrade()
        {
            inner.armed.push(at);
            instance.schedule.arm(at, self);
        }
        let after = self.collect(&mut inner);
        drop(inner);
        self.run(after);
    }

    fn transmit(self: &Arc<Self>, inner: &mut Inner, now: Instant) {
        // On a path that the stream has left, the socket may never take it, and nothing in there is missed.
        inner.refused.take_if(|(refused, _)| !inner.state.sockets().any(|socket| socket == refused.path.socket));
        if inner.refused.is_some() {
            return;
        }
        SCRATCH.with_borrow_mut(|buffer| {
            for _ in 0..BATCHES_PER_TURN {
                let max = inner.sockets.last().map_or(1, |socket| socket.max_segments());
                let Some(transmit) = inner.state.poll_transmit(now, max, buffer) else { return };
                if !self.send(inner, transmit, buffer) {
                    return;
                }
            }
            self.flush_soon(inner);
        });
    }

    /// Sends a batch. False if the system refused it for now.
    fn send(self: &Arc<Self>, inner: &mut Inner, transmit: Transmit, bytes: &[u8]) -> bool {
        let Some(socket) = inner.sockets.iter().find(|socket| socket.id() == transmit.path.socket) else { return true };
        let outgoing = Outgoing {
            destination: transmit.path.addr,
            contents: bytes,
            segment_size: (transmit.segment_size < bytes.len()).then_some(transmit.segment_size),
            ttl: None,
        };
        match socket.try_send(&outgoing) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.block(Arc::clone(self));
                inner.refused = Some((transmit, bytes.to_vec()));
                false
            }
            Err(error) => {
                // Too large for the interface, no route, a firewall: to the stream these packets are lost.
                tracing::trace!(%error, to = %transmit.path.addr, "packets were not sent");
                true
            }
        }
    }

    fn flush_soon(self: &Arc<Self>, inner: &mut Inner) {
        if !std::mem::replace(&mut inner.flush_queued, true)
            && let Some(instance) = self.instance.upgrade()
        {
            instance.schedule.flush_soon(self);
        }
    }

    /// Finds out whom the present state concerns.
    fn collect(&self, inner: &mut Inner) -> After {
        let mut after = After::default();
        let Inner { state, .. } = inner;
        let closed = state.close_reason().is_some();
        if inner.read_waker.is_some() && state.read_ready() {
            after.wakers[0] = inner.read_waker.take();
        }
        if inner.write_waker.is_some() && (state.write_ready() || state.end_acked()) {
            after.wakers[1] = inner.write_waker.take();
        }
        if inner.message_waker.is_some() && (closed || state.has_message()) {
            after.wakers[2] = inner.message_waker.take();
        }
        if inner.moving && !state.path_changing() {
            inner.moving = false;
            let keep = state.path().map(|path| path.socket);
            let (kept, gone) = inner.sockets.drain(..).partition(|socket| Some(socket.id()) == keep);
            inner.sockets = kept;
            inner.former.extend(gone.iter().map(|socket: &Arc<SocketCore>| socket.id()));
            while inner.former.len() > MAX_FORMER {
                inner.former.pop_front();
            }
            after._sockets = gone;
            after.event = true;
        }
        if closed {
            after.event = true;
        }
        if inner.detached && !closed && state.end_acked() {
            // Nobody can read what the peer may still send.
            state.destroy();
        }
        if state.is_gone() && !inner.forgotten {
            inner.forgotten = true;
            after.forget = true;
            after._sockets.append(&mut inner.sockets);
        }
        after
    }

    fn run(&self, after: After) {
        if after.forget
            && let Some(instance) = self.instance.upgrade()
        {
            instance.forget(self);
        }
        if after.event {
            self.event.notify_waiters();
        }
        for waker in after.wakers.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Waits for an event after which `look` finds what it wants.
    async fn wait<T>(&self, mut look: impl FnMut(&mut Inner) -> Option<T>) -> T {
        loop {
            let mut event = std::pin::pin!(self.event.notified());
            event.as_mut().enable();
            let found = look(&mut self.inner.lock());
            match found {
                Some(found) => return found,
                None => event.await,
            }
        }
    }

    pub(super) fn destroy(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        inner.destroy();
        self.settle(inner, now(), true);
    }

    pub(super) async fn first_packet(&self) -> Result<(UdxSocket, SocketAddr), CloseReason> {
        self.wait(|inner| match inner.first_packet.take() {
            Some((socket, from)) => Some(Ok((UdxSocket::from_core(socket), from))),
            None => inner.state.close_reason().map(Err),
        })
        .await
    }

    pub(super) async fn closed(&self) -> Result<(), CloseReason> {
        self.wait(|inner| inner.state.close_reason().map(finished)).await
    }
}

/// A reliable stream to one peer, and an unreliable channel for single messages beside it.
///
/// Clones are handles of the same stream; the last one to be dropped ends it: after [`UdxStream::write_end`] what was
/// written still arrives, otherwise the stream is destroyed.
#[derive(Clone, Debug)]
pub struct UdxStream {
    handle: Arc<Handle>,
}

#[derive(Debug)]
pub(super) struct Handle {
    shared: Arc<Shared>,
    instance: Arc<Instance>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut inner = self.shared.inner.lock();
        inner.detached = true;
        inner.read_waker = None;
        inner.write_waker = None;
        inner.message_waker = None;
        if inner.state.is_ended() && !inner.state.end_acked() {
            inner.state.discard_input();
        } else {
            inner.destroy();
        }
        self.shared.settle(inner, now(), true);
    }
}

impl UdxStream {
    pub(super) fn new(shared: Arc<Shared>, instance: Arc<Instance>) -> Self {
        Self::from_handle(Arc::new(Handle { shared, instance }))
    }

    pub(super) fn from_handle(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.handle.shared.inner.lock()
    }

    /// The local id: what the peer puts in its packets.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.shared().id
    }

    async fn wait<T>(&self, look: impl FnMut(&mut Inner) -> Option<T>) -> T {
        self.shared().wait(look).await
    }

    /// Ordered bytes: all that arrived, in blocks of up to 256 KiB. `None` when the peer ended and all is read.
    ///
    /// Blocks that follow each other often lie side by side in one allocation: `BytesMut::unsplit` joins them without a
    /// copy.
    pub fn poll_read_chunk(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<BytesMut>>> {
        let mut inner = self.lock();
        match inner.state.read() {
            Some(block) => {
                self.shared().settle(inner, now(), true);
                Poll::Ready(Ok(Some(block)))
            }
            None => Self::read_pending(&mut inner, cx).map_ok(|()| None),
        }
    }

    /// Ready at the end of the stream or its failure; otherwise remembers the reader.
    fn read_pending(inner: &mut Inner, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if inner.state.read_ended() {
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = inner.state.close_reason() {
            return Poll::Ready(Err(reason.into()));
        }
        remember(&mut inner.read_waker, cx);
        Poll::Pending
    }

    /// Ready when there is something to read, or never will be. Takes nothing.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.state.read_ready() {
            return Poll::Ready(());
        }
        Self::read_pending(&mut inner, cx).map(|_| ())
    }

    /// The async form of [`UdxStream::poll_read_chunk`].
    ///
    /// # Errors
    /// Why the stream is over, if the peer did not end it.
    pub async fn read_chunk(&self) -> io::Result<Option<BytesMut>> {
        poll_fn(|cx| self.poll_read_chunk(cx)).await
    }

    /// Takes some or all of `data`, whose rest stays. Pending while the write buffer is full.
    ///
    /// Bytes leave with [`UdxStream::flush`], as soon as the calling task yields, or when 32 KiB wait: so small writes
    /// share packets, and packets share system calls.
    pub fn poll_write(&self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if let Some(reason) = inner.state.close_reason() {
            return Poll::Ready(Err(reason.into()));
        }
        if inner.state.is_ended() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !inner.state.write(data) {
            remember(&mut inner.write_waker, cx);
            return Poll::Pending;
        }
        if inner.state.unsent() >= WRITE_BATCH {
            self.shared().transmit(&mut inner, now());
        }
        self.shared().flush_soon(&mut inner);
        // The timers are armed by the deferred flush, which always follows.
        Poll::Ready(Ok(()))
    }

    /// Writes all of `data`. A dropped future has written some of it or nothing.
    ///
    /// # Errors
    /// Why the stream is over.
    pub async fn write(&self, mut data: Bytes) -> io::Result<()> {
        while !data.is_empty() {
            poll_fn(|cx| self.poll_write(cx, &mut data)).await?;
        }
        Ok(())
    }

    /// Sends what was written so far, as far as the windows allow. Does not wait for the peer.
    pub fn flush(&self) {
        let mut inner = self.lock();
        inner.state.flush();
        self.shared().settle(inner, now(), true);
    }

    /// Ends the writing half: the peer reads to the end of what was written. Reading goes on.
    pub fn write_end(&self) {
        let mut inner = self.lock();
        inner.state.end();
        self.shared().settle(inner, now(), true);
    }

    /// Ends the writing half and waits until the peer has everything.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if inner.state.end_acked() {
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = inner.state.close_reason() {
            return Poll::Ready(Err(reason.into()));
        }
        remember(&mut inner.write_waker, cx);
        if !inner.state.is_ended() {
            inner.state.end();
            self.shared().settle(inner, now(), true);
        }
        Poll::Pending
    }

    /// Ends everything at once, on both sides. What was not acknowledged is lost.
    pub fn destroy(&self) {
        self.shared().destroy();
    }

    /// A handle that does not keep the stream alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakUdxStream {
        WeakUdxStream::new(Arc::clone(self.shared()), Arc::downgrade(&self.handle))
    }
}

impl PartialEq for UdxStream {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handle, &other.handle)
    }
}

impl Eq for UdxStream {}

fn finished(reason: CloseReason) -> Result<(), CloseReason> {
    if reason == CloseReason::Finished { Ok(()) } else { Err(reason) }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
