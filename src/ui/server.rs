//! The server of the page.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::respond::Site;
use crate::http::Server;

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
pub struct Ui(Server);

impl Ui {
    /// Listens, and serves from now on.
    ///
    /// # Errors
    ///
    /// Whatever hinders listening, above all [`io::ErrorKind::AddrInUse`].
    pub async fn listen(options: UiOptions) -> io::Result<Ui> {
        let site = Site { host: options.host.clone(), bridge: options.bridge };
        let answer = move |method: &_, path: &_, headers: &_| site.answer(method, path, headers);
        Ok(Ui(Server::listen(&options.host, options.port, "the web page", Arc::new(answer)).await?))
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::http::{BUFFER_BYTES, MAX_CONNECTIONS};

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
    async fn connections_that_say_nothing_keep_nobody_out() {
        let ui = ui().await;
        let mut silent = Vec::new();
        for _ in 0..4 * MAX_CONNECTIONS {
            silent.push(TcpStream::connect(ui.local_addr()).await.expect("it listens"));
        }
        // All places are taken by now, or will be before the request below is looked at: connections are accepted in order.
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        let answer = answer(&ui, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
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
