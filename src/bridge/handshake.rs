//! The HTTP request with which a WebSocket begins.
//!
//! Read by hand, because a bridge answers more than a handshake: 426 to plain HTTP as the original does, 403 to pages of
//! other machines, and WebSocket version 8 beside 13.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::origin;

/// A longer request head is refused. Browsers send about one kilobyte.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// A request with more headers is refused.
const MAX_HEADERS: usize = 64;

/// After a refusal so much of what the client still sends is read away, so that it can read the answer.
const MAX_DRAINED_BYTES: usize = 64 * 1024;

/// Answers the request on `stream`: a WebSocket where it asks for one and may have it, `None` where it was refused and told
/// so, or where it ended early.
pub(crate) async fn accept(
    mut stream: TcpStream,
    config: WebSocketConfig,
    allow_origins: &[String],
) -> Option<WebSocketStream<TcpStream>> {
    let mut head = Vec::new();
    let answer = loop {
        match answer(&head, allow_origins) {
            Some(answer) => break answer,
            None if head.len() >= MAX_REQUEST_BYTES => break Answer::Refuse("431 Request Header Fields Too Large"),
            None => {}
        }
        let mut chunk = [0; 2048];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => head.extend_from_slice(&chunk[..read]),
        }
    };
    match answer {
        Answer::Upgrade { key, length } => {
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {key}\r\n\r\n"
            );
            stream.write_all(response.as_bytes()).await.ok()?;
            let early = head.split_off(length);
            Some(WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await)
        }
        Answer::Refuse(status) => {
            refuse(&mut stream, status).await;
            None
        }
    }
}

/// Says why, with the text of the status as the body, and closes.
pub(crate) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, status: &str) {
    let body = status.split_once(' ').map_or(status, |(_, text)| text);
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nSec-WebSocket-Version: 13\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(response.as_bytes()).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut rest = stream.take(MAX_DRAINED_BYTES as u64);
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}

enum Answer {
    Upgrade { key: String, length: usize },
    Refuse(&'static str),
}

/// What to answer to a request head, or `None` as long as it is not complete.
fn answer(head: &[u8], allow_origins: &[String]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(head) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return None,
        Err(httparse::Error::TooManyHeaders) => return Some(Answer::Refuse("431 Request Header Fields Too Large")),
        Err(_) => return Some(Answer::Refuse("400 Bad Request")),
    };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::trim)
    };
    let has_token = |name: &str, token: &str| {
        header(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if request.method != Some("GET") || !has_token("connection", "upgrade") || !has_token("upgrade", "websocket") {
        return Some(Answer::Refuse("426 Upgrade Required"));
    }
    if !matches!(header("sec-websocket-version"), Some("8" | "13")) {
        return Some(Answer::Refuse("426 Upgrade Required"));
    }
    let Some(key) = header("sec-websocket-key").filter(|key| is_key(key)) else {
        return Some(Answer::Refuse("400 Bad Request"));
    };
    // Version 8 had its own name for the same header.
    let page = header("origin").or_else(|| header("sec-websocket-origin"));
    let has_unreadable_origin = request
        .headers
        .iter()
        .any(|header| header.name.eq_ignore_ascii_case("origin") && std::str::from_utf8(header.value).is_err());
    if has_unreadable_origin || !origin::is_allowed(page, header("host"), allow_origins) {
        return Some(Answer::Refuse("403 Forbidden"));
    }
    Some(Answer::Upgrade { key: derive_accept_key(key.as_bytes()), length })
}

/// 16 bytes in base64.
fn is_key(key: &str) -> bool {
    key.strip_suffix("==").is_some_and(|digits| {
        digits.len() == 22 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    const UPGRADE: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade";

    fn status(head: &str) -> String {
        match answer(head.as_bytes(), &[]) {
            None => "incomplete".into(),
            Some(Answer::Refuse(status)) => status[..3].into(),
            Some(Answer::Upgrade { key, .. }) => key,
        }
    }

    #[test]
    fn requests_get_the_answer_that_fits() {
        let version = "Sec-WebSocket-Version: 13";
        let cases = [
            (format!("GET / HTTP/1.1\r\n{UPGRADE}\r\n{version}\r\n{KEY}\r\n\r\n"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            (
                format!("GET /x?y HTTP/1.1\r\n{UPGRADE}\r\nSec-WebSocket-Version: 8\r\n{KEY}\r\n\r\n"),
                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            ),
            (format!("GET / HTTP/1.1\r\n{UPGRADE}\r\n{version}\r\n{KEY}\r\n"), "incomplete"),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "426"),
            ("POST / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "426"),
            (format!("GET / HTTP/1.1\r\n{UPGRADE}\r\nSec-WebSocket-Version: 12\r\n{KEY}\r\n\r\n"), "426"),
            (format!("GET / HTTP/1.1\r\n{UPGRADE}\r\n{version}\r\n\r\n"), "400"),
            (format!("GET / HTTP/1.1\r\n{UPGRADE}\r\n{version}\r\nSec-WebSocket-Key: short==\r\n\r\n"), "400"),
            (
                format!("GET / HTTP/1.1\r\n{UPGRADE}\r\n{version}\r\n{KEY}\r\nOrigin: https://evil.example\r\n\r\n"),
                "403",
            ),
            (format!("GET / HTTP/1.1\r\n{UPGRADE}\r\n{version}\r\n{KEY}\r\nOrigin: null\r\n\r\n"), "403"),
            (
                format!("GET / HTTP/1.1\r\n{UPGRADE}\r\n{version}\r\n{KEY}\r\nOrigin: http://127.0.0.1:5070\r\n\r\n"),
                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            ),
            ("\x16\x03\x01 not http\r\n\r\n".into(), "400"),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65)), "431"),
        ];
        for (head, expected) in cases {
            assert_eq!(status(&head), expected, "{head}");
        }
    }

    #[test]
    fn an_origin_that_is_no_text_is_refused() {
        let mut head =
            format!("GET / HTTP/1.1\r\n{UPGRADE}\r\nSec-WebSocket-Version: 13\r\n{KEY}\r\nOrigin: ").into_bytes();
        head.extend_from_slice(b"\xff\xfe\r\n\r\n");
        assert!(matches!(answer(&head, &[]), Some(Answer::Refuse("403 Forbidden"))));
    }
}
