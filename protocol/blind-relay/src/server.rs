//! The relay.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;

use parking_lot::Mutex;
use protomux::{ChannelEvent, ChannelOptions, Mux, Sender};
use tokio::sync::{oneshot, watch};
use udx::{StreamOptions, Udx, UdxStream};

use crate::PROTOCOL;
use crate::error::Error;
use crate::messages::{PAIR, Pair, Token, UNPAIR, Unpair};
use crate::pairings::{End, Limits, Outcome, Pairings, SessionId};

/// What a relay does and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections now.
    pub sessions: usize,
    /// Peers that wait for another now.
    pub waiting: usize,
    /// Pairs that are relayed now.
    pub active: usize,
    /// Pairs that were ever relayed.
    pub matched: u64,
    /// Peers that were refused because of a limit.
    pub refused: u64,
}

/// Relays streams between the peers that connect to it. Clones are handles of the same relay.
///
/// It sees ciphertext, who connects to it, and how much they exchange. It is not told whom a pair connects.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    udx: Udx,
    state: Mutex<State>,
    closed: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    pairings: Pairings,
    sessions: HashMap<SessionId, Sender>,
    /// Dropping one takes the pair apart.
    active: HashMap<Token, oneshot::Sender<()>>,
    matched: u64,
    refused: u64,
}

/// One direction: what arrives for `stream` goes to the other link's peer.
struct Link {
    stream: UdxStream,
    /// What this link's peer calls its stream.
    remote_id: u32,
}

impl Server {
    /// A relay whose streams use the sockets of `udx`: those that the connections come through.
    #[must_use]
    pub fn new(udx: Udx, limits: Limits) -> Self {
        let state = State {
            pairings: Pairings::new(limits),
            sessions: HashMap::new(),
            active: HashMap::new(),
            matched: 0,
            refused: 0,
        };
        Self { shared: Arc::new(Shared { udx, state: Mutex::new(state), closed: watch::Sender::new(false) }) }
    }

    /// Serves one connection until its channel closes. The pairs that it is part of end with it, and also when the future
    /// is dropped.
    ///
    /// # Errors
    /// What the peer did wrong, or which limit is reached. Its connection should be ended then.
    pub async fn serve(&self, mux: &Mux) -> Result<(), Error> {
        let options = ChannelOptions::new(PROTOCOL).id(*mux.remote_public_key());
        let mut closed = self.shared.closed.subscribe();
        let mut channel = mux.open(options)?;
        let session = Session::open(&self.shared, channel.sender())?;
        loop {
            let event = tokio::select! {
                event = channel.recv() => event,
                _ = closed.wait_for(|closed| *closed) => return Err(Error::ServerClosed),
            };
            match event {
                Some(ChannelEvent::Message { kind: PAIR, body }) => session.pair(&Pair::decode(&body)?),
                Some(ChannelEvent::Message { kind: UNPAIR, body }) => session.unpair(&Unpair::decode(&body)?.token),
                Some(ChannelEvent::Open { .. } | ChannelEvent::Message { .. }) => {}
                Some(ChannelEvent::Close { .. }) | None => return Ok(()),
            }
            // A peer that does not read its answers is not read either.
            session.sender.drained().await;
        }
    }

    /// Ends all sessions and pairs, and refuses new ones.
    pub fn close(&self) {
        self.shared.closed.send_replace(true);
        self.shared.state.lock().active.clear();
    }

    /// What the relay does and did.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = &mut *self.shared.state.lock();
        state.pairings.expire(now());
        Stats {
            sessions: state.pairings.sessions(),
            waiting: state.pairings.waiting(),
            active: state.pairings.matched(),
            matched: state.matched,
            refused: state.refused,
        }
    }
}

/// A connection; ends with this value.
struct Session<'a> {
    shared: &'a Arc<Shared>,
    id: SessionId,
    sender: Sender,
}

impl<'a> Session<'a> {
    fn open(shared: &'a Arc<Shared>, sender: Sender) -> Result<Self, Error> {
        let state = &mut *shared.state.lock();
        let Some(id) = state.pairings.open() else {
            state.refused += 1;
            return Err(Error::TooManySessions);
        };
        state.sessions.insert(id, sender.clone());
        Ok(Self { shared, id, sender })
    }

    fn pair(&self, message: &Pair) {
        let state = &mut *self.shared.state.lock();
        match state.pairings.pair(now(), self.id, message) {
            Outcome::Matched(ends) => {
                if self.shared.connect(state, message.token, ends).is_none() {
                    state.pairings.ended(&message.token);
                }
            }
            Outcome::Refused => {
                state.refused += 1;
                tracing::debug!("a peer was refused: the relay is at its limits");
            }
            Outcome::Waiting | Outcome::Repeated => {}
        }
    }

    fn unpair(&self, token: &Token) {
        let state = &mut *self.shared.state.lock();
        if state.pairings.unpair(self.id, token) {
            state.active.remove(token);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let state = &mut *self.shared.state.lock();
        state.sessions.remove(&self.id);
        for token in state.pairings.close(self.id) {
            state.active.remove(&token);
        }
    }
}

impl Shared {
    /// Joins two peers by two streams that lead into each other, and tells them.
    fn connect(self: &Arc<Self>, state: &mut State, token: Token, ends: [End; 2]) -> Option<()> {
        let create = |end: End| {
            let options = StreamOptions { accept: true, ..StreamOptions::default() };
            Some(Link { stream: self.udx.create_stream(options).ok()?, remote_id: end.remote_id })
        };
        let links = [create(ends[0])?, create(ends[1])?];
        links[0].stream.relay_to(&links[1].stream);
        links[1].stream.relay_to(&links[0].stream);
        for (index, (end, link)) in ends.iter().zip(&links).enumerate() {
            let answer = Pair { is_initiator: index == 1, token, id: link.stream.id(), seq: 0 };
            state.sessions.get(&end.session)?.try_send(PAIR, &answer.encode()).ok()?;
        }
        let (guard, cancelled) = oneshot::channel();
        state.active.insert(token, guard);
        state.matched += 1;
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            relay(&links, cancelled).await;
            let state = &mut *shared.state.lock();
            // Another pair may have the token by now, if this one was given up.
            if state.active.get(&token).is_some_and(oneshot::Sender::is_closed) {
                state.active.remove(&token);
                state.pairings.ended(&token);
            }
        });
        Some(())
    }
}

/// Runs a pair until one of its streams ends or it is cancelled.
async fn relay(links: &[Link; 2], cancelled: oneshot::Receiver<()>) {
    // Peers do not say where they are; their first packets do.
    let learn = async |link: &Link| {
        if let Ok((socket, from)) = link.stream.first_packet().await
            && let Err(error) = link.stream.connect(&socket, link.remote_id, from)
        {
            tracing::debug!(%error, %from, "a relayed stream was not connected");
        }
    };
    let [a, b] = links;
    tokio::select! {
        _ = cancelled => {}
        _ = a.stream.closed() => {}
        _ = b.stream.closed() => {}
        () = async {
            tokio::join!(learn(a), learn(b));
            pending().await
        } => {}
    }
}

/// The time of the runtime, which a test can hold or move.
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
