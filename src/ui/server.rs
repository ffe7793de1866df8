//! The server of the page.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, warn};

use super::respond::Site;

/// Connections at a time; further ones wait in the system's queue until one has ended.
const MAX_CONNECTIONS: usize = 64;

/// A request must have come whole in that time, which is also how long a connection may be idle.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection ends after that time, whatever it does: the whole page takes a few milliseconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The buffer of a connection. A request head that does not fit is refused.
const BUFFER_BYTES: usize = 16 * 1024;

/// How long nothing is accepted after accepting failed (no descriptors left, for example).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How the page is served.
#[derive(Debug, Clone)]
pub struct UiOptions {
    /// The address or name to listen at.
    pub host: String,
    /// The port; 0 for any free one.
    pub port: u16,
    /// Host and port of the SC-Bridge that the page proposes.
    pub bridge: Option<(String, u16)>,
}

impl Default for UiOptions {
    fn default() -> UiOptions {
        UiOptions { host: "127.0.0.1".into(), port: 5070, bridge: None }
    }
}

/// The running server. Dropping it ends it, and every connection with it.
#[derive(Debug)]
pub struct Ui {
    local_addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Ui {
    /// Listens, and serves from now on.
    ///
    /// # Errors
    ///
    /// Whatever hinders listening, above all [`io::ErrorKind::AddrInUse`].
    pub async fn listen(options: UiOptions) -> io::Result<Ui> {
        let listener = TcpListener::bind((options.host.as_str(), options.port)).await?;
        let local_addr = listener.local_addr()?;
        let site = Site { host: options.host, bridge: options.bridge };
        Ok(Ui { local_addr, accepting: tokio::spawn(accept(listener, Arc::new(site))) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = site.clone();
                connections.spawn(async move {
                    serve(stream, site).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("the web page cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, site: Arc<Site>) {
    let service = service_fn(|request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(site.answer(request.method(), request.uri().path(), request.headers())))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        debug!("a connection to the web page ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ui() -> Ui {
        Ui::listen(UiOptions { port: 0, ..UiOptions::default() }).await.expect("there is a free port")
    }

    /// What is answered to these bytes until the server closes.
    async fn answer(ui: &Ui, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(ui.local_addr()).await.expect("it listens");
        // The server may refuse before it has read everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn the_page_is_served() {
        let ui = ui().await;
        let answer = answer(&ui, b"GET /?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
        assert!(answer.trim_end().ends_with("</html>"), "{answer}");
    }

    #[tokio::test]
    async fn what_is_no_request_gets_no_page() {
        let ui = ui().await;
        let long = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n", "x".repeat(BUFFER_BYTES * 2));
        for request in [&b"\x16\x03\x01\0\0\r\n\r\n"[..], b"GET / HTTP/9\r\n\r\n", long.as_bytes()] {
            let answer = answer(&ui, request).await;
            assert!(!answer.contains(" 200 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn connections_that_say_nothing_give_their_places_back() {
        let ui = ui().await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(TcpStream::connect(ui.local_addr()).await.expect("it listens"));
        }
        // All places are taken by now, or will be before the request below is looked at: connections are accepted in order.
        tokio::time::pause();
        let answer = answer(&ui, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_dropped_server_listens_no_more() {
        let ui = ui().await;
        let addr = ui.local_addr();
        let mut open = TcpStream::connect(addr).await.expect("it listens");
        drop(ui);
        assert_eq!(open.read(&mut [0]).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(addr).await.is_err());
    }
}
