//! Meeting a peer at a blind relay, while a hole is punched or where none can be.
//!
//! Who wants a relay picks one and a token and says both in the handshake; the server's choice goes before the client's. Both then
//! connect to the relay, which joins their streams (see [`blind_relay`]). The direct way is still being opened: when it is, the
//! stream moves there.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use blind_relay::{Client, Token};
use futures_util::future::{BoxFuture, Either, pending, select};
use parking_lot::Mutex;
use protomux::Mux;
use rand::Rng;
use udx::{CloseReason, UdxSocket, UdxStream, WeakUdxStream};

use crate::dht::{ConnectOptions, Inner};
use crate::error::ConnectError;
use crate::messages::RelayThrough;
use crate::routes;
use crate::socket_pool::PoolSocket;

/// How long it may take to meet.
const MEETING_TIMEOUT: Duration = Duration::from_secs(15);

/// How often an idle connection to a relay shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How long the relay is kept after the stream has moved to the direct way: what was sent through the relay is repeated through
/// the relay, and a stream gives up after 13 s.
const UPGRADE_LINGER: Duration = Duration::from_secs(30);

/// How long the client waits for a sign of the server before it begins, and the server for one of the client: it is the client who
/// waits for the connection to open, and for that needs what the server says first.
const CLIENT_PATIENCE: Duration = Duration::from_millis(15);
const SERVER_PATIENCE: Duration = Duration::from_millis(100);

/// How often connections were relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Meetings that were tried.
    pub attempts: u64,
    /// Streams that went through a relay.
    pub successes: u64,
    /// Meetings that failed, or were not needed because a direct way opened before.
    pub aborts: u64,
    /// Streams that left the relay for a direct way.
    pub upgrades: u64,
}

/// Keys of blind relays that a server meets its clients at: a list, or a choice that is made anew for each client. The default is
/// none.
#[derive(Clone, Default)]
pub struct Relays(Option<Arc<dyn Fn() -> Vec<[u8; 32]> + Send + Sync>>);

impl Relays {
    /// Those that `choose` gives when a client comes; it must not take long.
    pub fn choose(choose: impl Fn() -> Vec<[u8; 32]> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(choose)))
    }

    pub(crate) fn keys(&self) -> Vec<[u8; 32]> {
        self.0.as_ref().map(|choose| choose()).unwrap_or_default()
    }
}

impl From<Vec<[u8; 32]>> for Relays {
    fn from(keys: Vec<[u8; 32]>) -> Self {
        Self::choose(move || keys.clone())
    }
}

impl std::fmt::Debug for Relays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Relays").field(&self.0.is_some()).finish()
    }
}

/// A direct way: from which socket to which address, with a hold on a socket of the pool.
pub(crate) type Direct = (UdxSocket, SocketAddr, Option<Arc<PoolSocket>>);

/// A direct way that is being opened.
pub(crate) type Opening = BoxFuture<'static, Result<Direct, ConnectError>>;

/// Where two peers meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meeting {
    relay: [u8; 32],
    token: Token,
    is_initiator: bool,
}

impl Meeting {
    /// At one of these relays, if there are any.
    pub(crate) fn pick(relays: &[[u8; 32]], rng: &mut impl Rng) -> Option<Self> {
        let relay = match relays {
            [] => return None,
            [relay] => relay,
            more => &more[rng.random_range(0..more.len())],
        };
        Some(Self { relay: *relay, token: rng.random(), is_initiator: true })
    }

    /// Where the peer wants to meet.
    pub(crate) fn invited(theirs: Option<RelayThrough>) -> Option<Self> {
        theirs.map(|theirs| Self { relay: theirs.public_key, token: theirs.token, is_initiator: false })
    }

    /// What the handshake says of it.
    pub(crate) fn invitation(&self) -> RelayThrough {
        RelayThrough::new(self.relay, self.token)
    }

    /// Connects to the relay and waits for the peer, whose stream it is joined to ours with this id.
    pub(crate) fn meet(
        self,
        dht: &Arc<Inner>,
        stream: u32,
        place: &Place,
    ) -> BoxFuture<'static, Result<Relayed, ConnectError>> {
        let (dht, place) = (dht.clone(), place.clone());
        place.set(Hope::Meeting);
        Box::pin(async move {
            dht.state.lock().relaying.attempts += 1;
            let counted = Attempt { dht: &dht, place: &place };
            let met = tokio::time::timeout(MEETING_TIMEOUT, self.join(&dht, stream, &place)).await;
            let relayed = met.map_err(|_| ConnectError::RelayAborted)??;
            counted.succeeded();
            Ok(relayed)
        })
    }

    async fn join(self, dht: &Arc<Inner>, stream: u32, place: &Place) -> Result<Relayed, ConnectError> {
        let mut connection = crate::connect::connect(dht, self.relay, ConnectOptions::default()).await?;
        connection.set_keep_alive(Some(KEEP_ALIVE));
        let way = connection.transport().socket().zip(connection.transport().remote_addr());
        let (socket, addr) = way.ok_or(ConnectError::RelayAborted)?;
        let _ = place.0.at.set((socket.clone(), addr));
        let mux = Mux::new(connection);
        let client = Client::new(&mux).map_err(|_| ConnectError::RelayAborted)?;
        let remote_id = client.pair(self.is_initiator, self.token, stream).await.map_err(|error| {
            tracing::debug!(%error, "the relay did not pair");
            ConnectError::RelayAborted
        })?;
        Ok(Relayed { socket, addr, remote_id, _client: client })
    }
}

/// Counts a meeting that comes to nothing.
struct Attempt<'a> {
    dht: &'a Inner,
    place: &'a Place,
}

impl Attempt<'_> {
    fn succeeded(self) {
        self.dht.state.lock().relaying.successes += 1;
        self.place.set(Hope::Met);
        std::mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.dht.state.lock().relaying.aborts += 1;
        self.place.set(Hope::None);
    }
}

/// Whether a relay helps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hope {
    /// There is none, or it did not come to a meeting.
    #[default]
    None,
    Meeting,
    Met,
}

/// Where the relay is, once that is known: the peer's packets that come from there do not show a direct way. And whether the two
/// meet there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place(Arc<PlaceState>);

#[derive(Debug, Default)]
struct PlaceState {
    at: OnceLock<(UdxSocket, SocketAddr)>,
    hope: Mutex<Hope>,
}

impl Place {
    fn set(&self, hope: Hope) {
        *self.0.hope.lock() = hope;
    }

    /// Whether the two have met at a relay, or still may.
    pub(crate) fn is_hopeful(&self) -> bool {
        *self.0.hope.lock() != Hope::None
    }

    /// Whether the two have met at a relay.
    pub(crate) fn has_met(&self) -> bool {
        *self.0.hope.lock() == Hope::Met
    }

    /// The first packet of a stream that does not come through the relay.
    pub(crate) async fn first_direct(&self, dht: &Inner, stream: &WeakUdxStream) -> Result<Direct, CloseReason> {
        loop {
            let first = routes::first_packet(dht, stream).await?;
            if !self.0.at.get().is_some_and(|(socket, addr)| (socket, addr) == (&first.0, &first.1)) {
                return Ok(first);
            }
        }
    }
}

/// A way through a relay, which ends with this value.
pub(crate) struct Relayed {
    socket: UdxSocket,
    addr: SocketAddr,
    remote_id: u32,
    _client: Client,
}

/// Connects a stream through the relay.
///
/// A relay learns where a peer is from its first packet, and JavaScript's loses what comes for the peer before. To repeat that
/// would take a second. So each side first sends an empty message, and begins when it hears from the other.
pub(crate) async fn connect(stream: &UdxStream, relayed: &Relayed, is_initiator: bool) -> Result<(), udx::Error> {
    stream.connect(&relayed.socket, relayed.remote_id, relayed.addr)?;
    stream.try_send_message(&[])?;
    let heard = poll_fn(|cx| match (stream.poll_readable(cx), stream.poll_recv_message(cx)) {
        (Poll::Pending, Poll::Pending) => Poll::Pending,
        _ => Poll::Ready(()),
    });
    // Without a sign there is still hope: the other side may not know this courtesy.
    let _ = tokio::time::timeout(if is_initiator { CLIENT_PATIENCE } else { SERVER_PATIENCE }, heard).await;
    Ok(())
}

/// The way that opened first.
pub(crate) enum Opened {
    Direct(Direct),
    /// With the direct way, if that may still open.
    Relayed(Relayed, Option<Opening>),
}

/// Waits for a way. When one cannot be opened the other still may.
///
/// # Errors
/// Why there is no direct way, when there is none through a relay either.
pub(crate) async fn first(
    direct: Opening,
    relayed: Option<BoxFuture<'static, Result<Relayed, ConnectError>>>,
) -> Result<Opened, ConnectError> {
    let Some(relayed) = relayed else { return direct.await.map(Opened::Direct) };
    match select(direct, relayed).await {
        Either::Left((Ok(direct), _)) => Ok(Opened::Direct(direct)),
        Either::Left((Err(error), relayed)) => {
            tracing::debug!(%error, "no direct way; waiting for the relay");
            relayed.await.map(|relayed| Opened::Relayed(relayed, None)).map_err(|_| error)
        }
        Either::Right((Ok(relayed), direct)) => Ok(Opened::Relayed(relayed, Some(direct))),
        Either::Right((Err(error), direct)) => {
            tracing::debug!(%error, "no way through the relay");
            direct.await.map(Opened::Direct)
        }
    }
}

/// Keeps the relay for a stream that is connected through it, and moves the stream when a direct way opens. `remote_id` is what the
/// peer calls its stream.
pub(crate) fn upgrade(dht: &Arc<Inner>, stream: &UdxStream, relayed: Relayed, remote_id: u32, direct: Option<Opening>) {
    let (dht, stream) = (Arc::downgrade(dht), stream.downgrade());
    tokio::spawn(async move {
        let moved = async {
            let Some(Ok((socket, addr, pooled))) = async { Some(direct?.await) }.await else {
                return pending().await;
            };
            if let Some(stream) = stream.upgrade() {
                // This begins the move; what is still on its way to or from the relay has time to arrive.
                drop(stream.change_remote(&socket, remote_id, addr));
                // Nobody reads it: it only shows the peer the way, where there is nothing else to say.
                let _ = stream.try_send_message(&[]);
                tracing::debug!(%addr, "a relayed stream goes the direct way");
            }
            if let Some(dht) = dht.upgrade() {
                dht.state.lock().relaying.upgrades += 1;
            }
            tokio::time::sleep(UPGRADE_LINGER).await;
            drop(pooled);
        };
        tokio::select! {
            _ = stream.closed() => {}
            () = moved => {}
        }
        drop(relayed);
    });
}
