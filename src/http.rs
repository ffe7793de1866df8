//! A small HTTP server: what the web page and the metrics are served by. It reads requests without a body, and gives whoever
//! connects a bounded place, time and buffer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::bridge::origin::Host;

/// Connections at a time. A further one takes the place of the oldest, so that who holds connections open keeps nobody out.
pub(crate) const MAX_CONNECTIONS: usize = 64;

/// So long a connection keeps its place from others: what is served takes a few milliseconds.
const GRACE: Duration = Duration::from_millis(250);

/// A request must have come whole in that time, which is also how long a connection may be idle.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection ends after that time, whatever it does: all that is served takes a few milliseconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The buffer of a connection. A request head that does not fit is refused.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

/// How long nothing is accepted after accepting failed (no descriptors left, for example).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// What answers a request: its method, the path that it asks for, its headers.
pub(crate) type Site = Arc<dyn Fn(&Method, &str, &HeaderMap) -> Response<Full<Bytes>> + Send + Sync>;

/// Whether a request for `host` asks for a server that listens at `own`: by an IP address, as `localhost`, or by that very name. Any
/// other name is somebody else's, who lets it point here so that their page counts as ours (DNS rebinding).
pub(crate) fn is_ours(host: &str, own: &str) -> bool {
    match Host::parse(host) {
        Some(Host::Address(_)) => true,
        Some(Host::Name(name)) => {
            name == "localhost" || name.ends_with(".localhost") || name == own.to_ascii_lowercase()
        }
        None => false,
    }
}

/// A running server. Dropping it ends it, and every connection with it.
#[derive(Debug)]
pub(crate) struct Server {
    local_addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens, and serves `site`, which complaints call `name`, from now on.
    ///
    /// # Errors
    /// Whatever hinders listening, above all [`io::ErrorKind::AddrInUse`].
    pub(crate) async fn listen(host: &str, port: u16, name: &'static str, site: Site) -> io::Result<Server> {
        let listener = TcpListener::bind((host, port)).await?;
        let local_addr = listener.local_addr()?;
        Ok(Server { local_addr, accepting: tokio::spawn(accept(listener, name, site)) })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, name: &'static str, site: Site) {
    let mut connections = JoinSet::new();
    let mut by_age = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                make_room(&mut connections, &mut by_age).await;
                by_age.push_back((Instant::now(), connections.spawn(serve(stream, name, site.clone()))));
            }
            Err(error) => {
                warn!("{name} cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Waits until there is a place for one more: until a connection has ended, or the oldest has had its time, which ends it.
async fn make_room(connections: &mut JoinSet<()>, by_age: &mut VecDeque<(Instant, AbortHandle)>) {
    loop {
        while connections.try_join_next().is_some() {}
        by_age.retain(|(_, connection)| !connection.is_finished());
        let Some((since, oldest)) = by_age.front().filter(|_| by_age.len() >= MAX_CONNECTIONS) else { return };
        tokio::select! {
            _ = connections.join_next() => {}
            () = tokio::time::sleep_until(*since + GRACE) => {
                oldest.abort();
                by_age.pop_front();
            }
        }
    }
}

async fn serve(stream: TcpStream, name: &'static str, site: Site) {
    let service = service_fn(|request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(site(request.method(), request.uri().path(), request.headers())))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        debug!("a connection to {name} ended: {error}");
    }
}
