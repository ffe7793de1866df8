//! Requests under way: numbers, retries, timeouts and the limit on how many there are. No sockets and no clock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use crate::congestion::CongestionWindow;
use crate::message::{Request, Response, command};
use crate::peer::{Contact, NodeId, node_id};
use crate::reply::{Reply, RequestError};
use crate::token::{Token, Tokens};

/// How long an answer is waited for before a request is sent again.
pub const TIMEOUT: Duration = Duration::from_millis(1000);

/// How often a request is sent before it has failed.
pub const TRIES: u32 = 3;

/// How many requests a node has under way or waiting. Further ones fail with [`RequestError::Overloaded`].
pub const MAX_REQUESTS: usize = 8192;

/// One of the sockets that messages go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub(crate) u32);

impl SocketId {
    /// The socket with the well-known port, on which others reach us when no firewall is in the way.
    pub const SERVER: Self = Self(0);
    /// The socket that requests leave from while a firewall may be in the way.
    pub const CLIENT: Self = Self(1);
}

/// A datagram to be sent.
#[derive(Debug)]
pub(crate) struct Transmit {
    pub(crate) socket: SocketId,
    pub(crate) to: SocketAddrV4,
    pub(crate) ttl: Option<u32>,
    pub(crate) data: Bytes,
}

/// Who wants to know what became of a request.
#[derive(Debug)]
pub(crate) enum Owner {
    Caller(oneshot::Sender<Result<Reply, RequestError>>),
    Query(u64),
    /// Is this node still alive? It was last heard from at this tick.
    Check(NodeId, u64),
    /// Is the first node still alive, or does the second take its place?
    Swap(NodeId, u64, Contact),
    Nobody,
}

impl Owner {
    fn is_gone(&self) -> bool {
        matches!(self, Owner::Caller(sender) if sender.is_closed())
    }
}

/// A request to be made.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: SocketAddrV4,
    /// The node that is expected there, when it is known from the routing table or a query.
    pub(crate) to_id: Option<NodeId>,
    pub(crate) token: Option<Token>,
    pub(crate) internal: bool,
    pub(crate) command: u64,
    pub(crate) target: Option<NodeId>,
    pub(crate) value: Option<Bytes>,
    /// The socket to use instead of the one for requests.
    pub(crate) socket: Option<SocketId>,
    pub(crate) tries: u32,
    pub(crate) timeout: Duration,
    pub(crate) ttl: Option<u32>,
    pub(crate) owner: Owner,
}

impl Outgoing {
    pub(crate) fn internal(to: SocketAddrV4, command: u64, owner: Owner) -> Self {
        Self {
            to,
            to_id: None,
            token: None,
            internal: true,
            command,
            target: None,
            value: None,
            socket: None,
            tries: TRIES,
            timeout: TIMEOUT,
            ttl: None,
            owner,
        }
    }
}

#[derive(Debug)]
struct Inflight {
    generation: u64,
    to: SocketAddrV4,
    to_id: Option<NodeId>,
    any_port: bool,
    socket: SocketId,
    ttl: Option<u32>,
    data: Bytes,
    tries: u32,
    timeout: Duration,
    owner: Owner,
    sent: u32,
    sent_at: Instant,
    deadline: Option<Instant>,
    slow: bool,
}

/// A request that nothing more is waited for.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) owner: Owner,
    pub(crate) to: SocketAddrV4,
    pub(crate) to_id: Option<NodeId>,
    /// Whether [`Progress::Slow`] was reported before.
    pub(crate) slow: bool,
    /// The answer; `None` when there was none in time.
    pub(crate) reply: Option<Reply>,
}

/// News of a request under way.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The first answer is overdue, to a request of this query; it goes on.
    Slow(u64),
    /// It was not answered.
    TimedOut(Box<Settled>),
}

/// Counters of a node's requests since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that were answered.
    pub responses: u64,
    /// Requests that were given up.
    pub timeouts: u64,
    /// Times that a request was sent again.
    pub retries: u64,
}

/// All requests under way.
#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) firewalled: bool,
    pub(crate) ephemeral: bool,
    pub(crate) id: NodeId,
    pub(crate) tokens: Tokens,
    pub(crate) stats: Stats,
    congestion: CongestionWindow,
    inflight: HashMap<u16, Inflight>,
    deadlines: BTreeSet<(Instant, u16)>,
    waiting: VecDeque<(u16, u64)>,
    next_tid: u16,
    generation: u64,
}

impl Io {
    pub(crate) fn new(id: NodeId, firewalled: bool, now: Instant, rng: &mut StdRng) -> Self {
        Self {
            firewalled,
            ephemeral: true,
            id,
            tokens: Tokens::new(now, rng),
            stats: Stats::default(),
            congestion: CongestionWindow::new(now),
            inflight: HashMap::new(),
            deadlines: BTreeSet::new(),
            waiting: VecDeque::new(),
            next_tid: rng.random(),
            generation: 0,
        }
    }

    /// How many requests are under way.
    pub(crate) fn len(&self) -> usize {
        self.inflight.len()
    }

    /// The socket that requests leave from, and on which answers tell how we look from outside.
    pub(crate) fn socket(&self) -> SocketId {
        if self.firewalled { SocketId::CLIENT } else { SocketId::SERVER }
    }

    /// The identifier shown in messages through `socket`: only a node that stays shows it, and only where it can be found.
    pub(crate) fn shown_id(&self, socket: SocketId) -> Option<NodeId> {
        (!self.ephemeral && socket == SocketId::SERVER).then_some(self.id)
    }

    pub(crate) fn request(
        &mut self,
        request: Outgoing,
        now: Instant,
        out: &mut Vec<Transmit>,
    ) -> Result<(), RequestError> {
        if self.inflight.len() >= MAX_REQUESTS {
            if let Owner::Caller(sender) = request.owner {
                // The caller may have stopped listening.
                let _ = sender.send(Err(RequestError::Overloaded));
            }
            return Err(RequestError::Overloaded);
        }
        while self.inflight.contains_key(&self.next_tid) {
            self.next_tid = self.next_tid.wrapping_add(1);
        }
        let tid = self.next_tid;
        self.next_tid = tid.wrapping_add(1);
        self.generation += 1;

        let socket = request.socket.unwrap_or(self.socket());
        let message = Request {
            id: self.shown_id(socket),
            token: request.token,
            target: request.target,
            value: request.value,
            ..Request::new(tid, request.to, request.internal, request.command)
        };
        let inflight = Inflight {
            generation: self.generation,
            to: request.to,
            to_id: request.to_id,
            any_port: request.internal && request.command == command::PING_NAT,
            socket,
            ttl: request.ttl,
            data: message.encode().into(),
            tries: request.tries,
            timeout: request.timeout,
            owner: request.owner,
            sent: 0,
            sent_at: now,
            deadline: None,
            slow: false,
        };
        self.inflight.insert(tid, inflight);
        self.send(tid, now, out);
        Ok(())
    }

    /// Sends a request, or lines it up when too many are unanswered.
    fn send(&mut self, tid: u16, now: Instant, out: &mut Vec<Transmit>) {
        let Some(request) = self.inflight.get_mut(&tid) else { return };
        if self.congestion.is_full(now) {
            self.waiting.push_back((tid, request.generation));
            return;
        }
        request.sent += 1;
        request.sent_at = now;
        let deadline = now + request.timeout;
        request.deadline = Some(deadline);
        self.deadlines.insert((deadline, tid));
        self.congestion.sent(now);
        out.push(Transmit { socket: request.socket, to: request.to, ttl: request.ttl, data: request.data.clone() });
    }

    fn send_waiting(&mut self, now: Instant, out: &mut Vec<Transmit>) {
        while !self.waiting.is_empty() && !self.congestion.is_full(now) {
            let Some((tid, generation)) = self.waiting.pop_front() else { return };
            match self.inflight.get(&tid) {
                Some(request) if request.generation != generation => {}
                Some(request) if request.owner.is_gone() => {
                    self.inflight.remove(&tid);
                }
                _ => self.send(tid, now, out),
            }
        }
    }

    /// The request that this response answers. It has to come from where the request went: its number alone is easy to guess.
    pub(crate) fn respond(
        &mut self,
        from: SocketAddrV4,
        response: Response,
        now: Instant,
        out: &mut Vec<Transmit>,
    ) -> Option<Settled> {
        let request = self.inflight.get(&response.tid)?;
        if request.to != from && !(request.any_port && request.to.ip() == from.ip()) {
            return None;
        }
        let request = self.inflight.remove(&response.tid)?;
        if let Some(deadline) = request.deadline {
            self.deadlines.remove(&(deadline, response.tid));
        }
        self.congestion.settled(now);
        self.stats.responses += 1;
        self.send_waiting(now, out);
        let reply = Reply {
            from,
            id: validate(response.id, from),
            to: response.to,
            token: response.token,
            closer_nodes: response.closer_nodes,
            error: response.error,
            value: response.value,
            rtt: now.saturating_duration_since(request.sent_at),
        };
        Some(Settled {
            owner: request.owner,
            to: request.to,
            to_id: request.to_id,
            slow: request.slow,
            reply: Some(reply),
        })
    }

    /// When [`Io::timeout`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waiting = (!self.waiting.is_empty()).then(|| self.congestion.next_slot());
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(waiting).min()
    }

    /// Sends again, or gives up, what is overdue.
    pub(crate) fn timeout(&mut self, now: Instant, out: &mut Vec<Transmit>) -> Vec<Progress> {
        let mut progress = Vec::new();
        while let Some((at, tid)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, tid));
            let Some(request) = self.inflight.get_mut(&tid) else { continue };
            request.deadline = None;
            if !request.slow {
                request.slow = true;
                if let Owner::Query(query) = request.owner {
                    progress.push(Progress::Slow(query));
                }
            }
            let gone = request.owner.is_gone();
            if request.sent < request.tries && !gone {
                self.stats.retries += 1;
                self.send(tid, now, out);
                continue;
            }
            self.congestion.settled(now);
            let Some(request) = self.inflight.remove(&tid) else { continue };
            if !gone {
                self.stats.timeouts += 1;
                let (owner, to, to_id) = (request.owner, request.to, request.to_id);
                progress.push(Progress::TimedOut(Box::new(Settled { owner, to, to_id, slow: true, reply: None })));
            }
        }
        self.send_waiting(now, out);
        progress
    }

    /// Forgets the requests of a query that nobody waits for any more.
    pub(crate) fn forget_query(&mut self, query: u64, now: Instant, out: &mut Vec<Transmit>) {
        let (deadlines, congestion) = (&mut self.deadlines, &mut self.congestion);
        self.inflight.retain(|tid, request| {
            let gone = matches!(request.owner, Owner::Query(id) if id == query);
            if gone && let Some(deadline) = request.deadline {
                deadlines.remove(&(deadline, *tid));
                congestion.settled(now);
            }
            !gone
        });
        self.send_waiting(now, out);
    }

    /// Ends every request with an error.
    pub(crate) fn clear(&mut self, error: RequestError) {
        self.deadlines.clear();
        self.waiting.clear();
        for (_, request) in self.inflight.drain() {
            if let Owner::Caller(sender) = request.owner {
                // The caller may have stopped listening.
                let _ = sender.send(Err(error));
            }
        }
    }

    /// Nothing is under way any more: all may be sent again.
    pub(crate) fn forget_congestion(&mut self, now: Instant) {
        self.congestion = CongestionWindow::new(now);
    }
}

/// The identifier that a message shows, if it is the right one for where it comes from.
pub(crate) fn validate(id: Option<NodeId>, from: SocketAddrV4) -> Option<NodeId> {
    id.filter(|id| *id == node_id(from))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn addr(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new([127, 0, 0, 1].into(), port)
    }

    fn io(now: Instant) -> Io {
        Io::new([7; 32], true, now, &mut StdRng::seed_from_u64(3))
    }

    fn ping(
        io: &mut Io,
        to: SocketAddrV4,
        command: u64,
        now: Instant,
    ) -> (u16, oneshot::Receiver<Result<Reply, RequestError>>) {
        let (sender, receiver) = oneshot::channel();
        let tid = io.next_tid;
        let mut out = Vec::new();
        io.request(Outgoing::internal(to, command, Owner::Caller(sender)), now, &mut out).expect("room");
        assert_eq!(out[0].to, to);
        (tid, receiver)
    }

    #[test]
    fn an_answer_must_come_from_where_the_request_went() {
        let now = Instant::now();
        let mut io = io(now);
        let (tid, _receiver) = ping(&mut io, addr(1), command::PING, now);
        let response = Response::new(tid, addr(9));
        assert!(io.respond(addr(2), response.clone(), now, &mut Vec::new()).is_none());
        assert!(io.respond(addr(1), Response::new(tid.wrapping_add(1), addr(9)), now, &mut Vec::new()).is_none());
        assert!(io.respond(addr(1), response.clone(), now, &mut Vec::new()).is_some());
        assert!(io.respond(addr(1), response, now, &mut Vec::new()).is_none(), "only once");
    }

    #[test]
    fn the_answer_to_a_nat_ping_may_come_from_another_port() {
        let now = Instant::now();
        let mut io = io(now);
        let (tid, _receiver) = ping(&mut io, addr(1), command::PING_NAT, now);
        assert!(
            io.respond("127.0.0.2:1".parse().expect("addr"), Response::new(tid, addr(9)), now, &mut Vec::new())
                .is_none()
        );
        assert!(io.respond(addr(2), Response::new(tid, addr(9)), now, &mut Vec::new()).is_some());
    }

    #[test]
    fn a_request_is_sent_three_times() {
        let start = Instant::now();
        let mut io = io(start);
        let (_, _receiver) = ping(&mut io, addr(1), command::PING, start);
        let mut now = start;
        let mut sent = 1;
        let settled = loop {
            now = io.deadline().unwrap_or(now);
            let mut out = Vec::new();
            let progress = io.timeout(now, &mut out);
            sent += out.len();
            if !progress.is_empty() {
                break progress;
            }
        };
        assert_eq!((sent, now - start), (3, TIMEOUT * 3));
        assert!(matches!(settled[..], [Progress::TimedOut(_)]));
        assert_eq!((io.len(), io.deadline(), io.stats.timeouts), (0, None, 1));
    }

    #[test]
    fn a_caller_that_left_is_not_retried_for() {
        let start = Instant::now();
        let mut io = io(start);
        drop(ping(&mut io, addr(1), command::PING, start));
        let mut out = Vec::new();
        assert!(io.timeout(start + TIMEOUT, &mut out).is_empty());
        assert_eq!((out.len(), io.len()), (0, 0));
    }

    #[test]
    fn what_does_not_fit_the_window_waits_and_requests_are_bounded() {
        let now = Instant::now();
        let mut io = io(now);
        let mut out = Vec::new();
        for i in 0..MAX_REQUESTS {
            let to = SocketAddrV4::new([10, 0, 0, 1].into(), i as u16);
            io.request(Outgoing::internal(to, command::PING, Owner::Nobody), now, &mut out).expect("room");
        }
        assert_eq!(out.len(), 80);
        let overloaded = io.request(Outgoing::internal(addr(1), command::PING, Owner::Nobody), now, &mut out);
        assert_eq!(overloaded, Err(RequestError::Overloaded));
        let tid = u16::from_le_bytes([out[0].data[2], out[0].data[3]]);
        let to = out[0].to;
        assert!(io.respond(to, Response::new(tid, addr(9)), now, &mut out).is_some());
        assert_eq!(out.len(), 81, "an answer lets the next one through");
    }
}
