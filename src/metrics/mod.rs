//! What a peer counts and holds, for an operator: text in the format of Prometheus, on the loopback interface.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use intercom::metrics::{Metrics, MetricsOptions, Text};
//!
//! let read = || {
//!     let mut text = Text::new();
//!     text.gauge("example_apples", "Apples in the basket", 3);
//!     String::from(text)
//! };
//! let options = MetricsOptions { port: 0, ..MetricsOptions::default() };
//! let metrics = Metrics::listen(options, read).await?;
//! println!("scrape http://{}/metrics", metrics.local_addr());
//! # std::io::Result::Ok(())
//! # })?;
//! # std::io::Result::Ok(())
//! ```
//!
//! Only programs of this machine reach it unless it is told to listen elsewhere, and only `/metrics` is there. Numbers, no keys, no
//! names of channels. A page in a browser gets none of it: a request of a page is refused, and one for a name that somebody else
//! points here (DNS rebinding).

mod figures;
mod text;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};

use crate::http::{Server, is_ours};

pub(crate) use figures::{Above, of_peer};
pub use text::Text;

/// What it is asked for.
const PATH: &str = "/metrics";

/// The format of Prometheus.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the metrics are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsOptions {
    /// A name or address of this machine.
    pub host: String,
    /// 0: any that is free.
    pub port: u16,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self { host: "127.0.0.1".into(), port: 0 }
    }
}

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct Metrics(Server);

impl Metrics {
    /// Listens, and answers with what `read` gives, which must not wait for anything.
    ///
    /// # Errors
    /// Whatever hinders listening, above all [`io::ErrorKind::AddrInUse`].
    pub async fn listen(
        options: MetricsOptions,
        read: impl Fn() -> String + Send + Sync + 'static,
    ) -> io::Result<Metrics> {
        let own = options.host.clone();
        let answer = move |method: &Method, path: &str, headers: &HeaderMap| match refusal(&own, method, path, headers)
        {
            Some((code, why)) => response(code, "text/plain; charset=utf-8", why.into(), method),
            None => response(StatusCode::OK, CONTENT_TYPE, read(), method),
        };
        Ok(Metrics(Server::listen(&options.host, options.port, "the metrics", Arc::new(answer)).await?))
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }
}

fn refusal(own: &str, method: &Method, path: &str, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match () {
        () if !host.is_some_and(|host| is_ours(host, own)) => {
            Some((StatusCode::MISDIRECTED_REQUEST, "This name is not mine.\n"))
        }
        () if headers.contains_key(header::ORIGIN) => Some((StatusCode::FORBIDDEN, "Not for pages.\n")),
        () if *method != Method::GET && *method != Method::HEAD => {
            Some((StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only.\n"))
        }
        () if path != PATH => Some((StatusCode::NOT_FOUND, "Only /metrics is here.\n")),
        () => None,
    }
}

fn response(code: StatusCode, kind: &'static str, body: String, method: &Method) -> Response<Full<Bytes>> {
    let body = if *method == Method::HEAD { Full::default() } else { Full::from(body) };
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::http::MAX_CONNECTIONS;

    async fn listen() -> Metrics {
        Metrics::listen(MetricsOptions::default(), || "intercom_up 1\n".into()).await.expect("a free port")
    }

    async fn answer(request: &str) -> String {
        let metrics = listen().await;
        assert!(metrics.local_addr().ip().is_loopback());
        let mut stream = TcpStream::connect(metrics.local_addr()).await.expect("it listens");
        let _ = stream.write_all(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes()).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn programs_of_this_machine_read_it() {
        for host in ["127.0.0.1:9000", "localhost", "[::1]:1", "10.0.0.1"] {
            let answer = answer(&format!("GET /metrics HTTP/1.1\r\nHost: {host}")).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nintercom_up 1\n"), "{answer}");
            assert!(answer.contains("version=0.0.4"), "{answer}");
        }
        let head = answer("HEAD /metrics HTTP/1.1\r\nHost: 127.0.0.1").await;
        assert!(head.contains(" 200 ") && !head.contains("intercom_up"), "{head}");
    }

    #[tokio::test]
    async fn pages_and_other_names_do_not() {
        let cases = [
            ("GET /metrics HTTP/1.1\r\nHost: evil.example", "421"),
            ("GET /metrics HTTP/1.1\r\nHost: localhost.evil.example", "421"),
            ("GET /metrics HTTP/1.1\r\nX: y", "421"),
            ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost", "403"),
            ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0", "405"),
            ("GET / HTTP/1.1\r\nHost: localhost", "404"),
            ("GET /metrics/x HTTP/1.1\r\nHost: localhost", "404"),
        ];
        for (request, code) in cases {
            let answer = answer(request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")) && !answer.contains("intercom_up"), "{answer}");
        }
    }
    #[tokio::test]
    async fn who_reads_nothing_holds_nobody_up() {
        let metrics = listen().await;
        let mut deaf = Vec::new();
        for _ in 0..MAX_CONNECTIONS - 1 {
            let mut stream = TcpStream::connect(metrics.local_addr()).await.expect("it listens");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("taken");
            deaf.push(stream);
        }
        let mut stream = TcpStream::connect(metrics.local_addr()).await.expect("it listens");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .expect("taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.ends_with("intercom_up 1\n"), "{answer}");
    }
}
