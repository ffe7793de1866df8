//! One channel on one connection: opening it, opening it again, and what passes through it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use encoding::json::{Object, Value};
use tokio::{sync::oneshot, time::Instant};

use super::{
    aside::{AsideSession, MAX_ASIDE_BYTES},
    driver::{LinkId, Shared},
    link::{Inlet, Link, LinkEvent, Outlet, PairRequest},
    outbox::Queue,
    pipeline::Peer,
    protocol_of,
};

/// How many times a channel that the peer refuses is opened again at once: it may be about to open it.
const RETRIES: u32 = 5;

/// The first wait before it is opened again; the second is twice as long, and so on.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// After this time without an attempt, counting begins anew.
const RETRY_MEMORY: Duration = Duration::from_secs(2);

/// One channel on one connection.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<dyn Link>,
    pub(super) link_id: LinkId,
    pub(super) peer: Arc<Peer>,
    pub(super) channel: Arc<str>,
    /// What is to be sent.
    pub(super) queue: Queue,
    /// How far both sides have come with it.
    pub(super) standing: Arc<StandingCell>,
    /// Is dropped when the channel is left.
    pub(super) removed: oneshot::Receiver<Infallible>,
}

/// How far both sides of a connection have come with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// This side has opened it, and waits for the other.
    Opening,
    /// Both have it open.
    Open,
    /// The other side has not joined it. What passes through here is not kept for it.
    Refused,
}

/// A [`Standing`] that a session and who sends on it share.
#[derive(Debug)]
pub(super) struct StandingCell(AtomicU8);

impl Default for StandingCell {
    fn default() -> Self {
        StandingCell(AtomicU8::new(Standing::Opening as u8))
    }
}

impl StandingCell {
    pub(super) fn get(&self) -> Standing {
        match self.0.load(Ordering::Relaxed) {
            open if open == Standing::Open as u8 => Standing::Open,
            refused if refused == Standing::Refused as u8 => Standing::Refused,
            _ => Standing::Opening,
        }
    }

    fn set(&self, standing: Standing) {
        self.0.store(standing as u8, Ordering::Relaxed);
    }
}

/// How an attempt to have the channel open ended.
enum Ended {
    /// The peer did not open it.
    Refused,
    /// It was open, and was closed.
    Closed,
    /// It is not wanted any more.
    Removed,
}

impl Session {
    /// Keeps the channel open, as far as the peer does too, until it is left. It is to be dropped when the connection ends.
    pub(super) async fn run(mut self) {
        let protocol = protocol_of(&self.channel);
        let mut pairing = self.link.pair(&protocol);
        let mut retries = Retries::default();
        let mut request: Option<PairRequest> = None;
        let mut held = None;
        loop {
            self.debug(|| format!("opening channel for {}", self.peer.key));
            self.standing.set(Standing::Opening);
            let opened = self.link.open(&protocol);
            drop(request.take());
            let ended = match opened {
                Some((inlet, outlet)) => self.attempt(inlet, outlet, &mut held).await,
                None => {
                    self.debug(|| "channel already open or closed.".to_owned());
                    Ended::Refused
                }
            };
            let delay = match ended {
                Ended::Removed => return,
                Ended::Closed => {
                    retries = Retries::default();
                    None
                }
                Ended::Refused => {
                    self.standing.set(Standing::Refused);
                    let delay = retries.next(Instant::now());
                    if delay.is_none() {
                        held = None;
                        self.debug(|| format!("giving up (open retries exceeded) for {}", self.peer.key));
                    }
                    delay
                }
            };
            // Another attempt is made when the peer wishes it, and either after the delay or when there is something to send.
            let again = async {
                match delay {
                    Some(delay) => {
                        tokio::time::sleep(delay).await;
                        None
                    }
                    None => match self.queue.next().await {
                        Some(body) => Some(body),
                        None => std::future::pending().await,
                    },
                }
            };
            tokio::select! {
                _ = &mut self.removed => return,
                Some(wish) = pairing.next() => request = Some(wish),
                body = again => held = body.or(held),
            }
        }
    }

    async fn attempt(&mut self, mut inlet: Box<dyn Inlet>, outlet: Arc<dyn Outlet>, held: &mut Option<Bytes>) -> Ended {
        let opened = tokio::select! {
            _ = &mut self.removed => {
                outlet.close();
                return Ended::Removed;
            }
            event = inlet.recv() => event == Some(LinkEvent::Open),
        };
        self.debug(|| format!("channel open={opened} for {}", self.peer.key));
        if !opened {
            outlet.close();
            return Ended::Refused;
        }
        let side = Side {
            shared: &self.shared,
            link: &self.link,
            link_id: self.link_id,
            peer: &self.peer,
            channel: &self.channel,
            aside: self.shared.aside.get().map(|aside| aside.open(&self.channel, outlet.clone())),
        };
        self.standing.set(Standing::Open);
        let ended = tokio::select! {
            _ = &mut self.removed => {
                outlet.close();
                Ended::Removed
            }
            () = side.read(inlet) => Ended::Closed,
            () = side.write(&*outlet, &mut self.queue, held) => Ended::Closed,
        };
        self.standing.set(Standing::Opening);
        ended
    }

    fn debug(&self, line: impl FnOnce() -> String) {
        self.shared.debug(|| format!("[sidechannel:{}] {}", self.channel, line()));
    }
}

/// What reading and writing share.
struct Side<'a> {
    shared: &'a Arc<Shared>,
    link: &'a Arc<dyn Link>,
    link_id: LinkId,
    peer: &'a Arc<Peer>,
    channel: &'a Arc<str>,
    aside: Option<Box<dyn AsideSession>>,
}

impl Side<'_> {
    async fn read(&self, mut inlet: Box<dyn Inlet>) {
        while let Some(event) = inlet.recv().await {
            match event {
                LinkEvent::Message(body) => {
                    if !self.shared.receive(self.link_id, self.peer, self.channel, body).await {
                        self.link.destroy();
                        return;
                    }
                }
                LinkEvent::Aside(body) => self.receive_aside(&body),
                LinkEvent::Open => {}
            }
        }
    }

    fn receive_aside(&self, body: &[u8]) {
        if let Some(aside) = &self.aside
            && body.len() <= MAX_ASIDE_BYTES
            && self.shared.pipeline.is_authorized(self.channel, self.peer, self.shared.now())
        {
            aside.received(body);
        }
    }

    async fn write(&self, outlet: &dyn Outlet, queue: &mut Queue, held: &mut Option<Bytes>) {
        self.greet(outlet).await;
        if let Some(aside) = &self.aside {
            aside.start().await;
        }
        loop {
            let body = match held {
                Some(body) => body.clone(),
                None => match queue.next().await {
                    Some(body) => held.insert(body).clone(),
                    // Then the channel is left, which the session notices by itself.
                    None => std::future::pending().await,
                },
            };
            if !outlet.send(body).await {
                return;
            }
            *held = None;
        }
    }

    /// Sends what a neighbour needs first: the own welcome, and the invite that lets the own peer in.
    async fn greet(&self, outlet: &dyn Outlet) {
        let now = self.shared.now();
        let pipeline = &self.shared.pipeline;
        let welcome = pipeline.welcome_to_send(self.channel, self.peer, now);
        let welcome = welcome.map(|welcome| Object::new().with("control", "welcome").with("welcome", welcome));
        let invite = pipeline.invite_to_show(self.channel, now);
        let invite = invite.map(|invite| Object::new().with("control", "auth").with("invite", invite));
        for control in [welcome, invite].into_iter().flatten() {
            let draft = self.shared.draft(self.channel, Some(Value::Object(control)), None);
            if let Ok(sealed) = self.shared.seal(draft).await {
                outlet.send(sealed.body).await;
            }
        }
    }
}

/// The attempts at a channel that the peer refuses.
#[derive(Debug, Default)]
struct Retries {
    count: u32,
    last: Option<Instant>,
}

impl Retries {
    /// The wait before the next attempt; `None` when there were enough.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        if self.last.is_none_or(|last| now.duration_since(last) > RETRY_MEMORY) {
            self.count = 0;
        }
        self.count += 1;
        self.last = Some(now);
        (self.count <= RETRIES).then(|| RETRY_DELAY * self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_come_in_bursts() {
        let mut retries = Retries::default();
        for expected in [100, 200, 300, 400, 500] {
            assert_eq!(retries.next(Instant::now()), Some(Duration::from_millis(expected)));
            tokio::time::advance(Duration::from_millis(expected)).await;
        }
        assert_eq!(retries.next(Instant::now()), None);
        assert_eq!(retries.next(Instant::now()), None);
        tokio::time::advance(Duration::from_millis(2_001)).await;
        assert_eq!(retries.next(Instant::now()), Some(Duration::from_millis(100)));
    }
}
