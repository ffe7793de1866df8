//! What a request is answered with.
//!
//! - Only requests that ask for this server by an IP address, as `localhost`, or by the name that it was told to listen at. Any
//!   other name is somebody else's, who lets it point here so that their page counts as ours (DNS rebinding).
//! - Only requests of our own page, where the browser says of which page they are.
//! - The page may run its own scripts and nothing else, may not be framed, and may connect to this machine and to the host that
//!   served it, and nowhere else: a link that names another bridge gets no token out.

use std::net::IpAddr;

use bytes::Bytes;
use encoding::json::{Object, stringify};
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::files;
use crate::http::is_ours;

/// Where the page asks for the bridge that stands beside it.
const BRIDGE_PATH: &str = "/bridge.json";

/// How the server answers.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// What it was told to listen at.
    pub(super) host: String,
    /// Where the bridge of the same peer listens.
    pub(super) bridge: Option<(String, u16)>,
}

impl Site {
    /// Answers a request for `target`.
    pub(super) fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let mut response = self.content(method, path, headers);
        if *method == Method::HEAD {
            *response.body_mut() = Full::default();
        }
        let headers = response.headers_mut();
        let fixed = [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn content(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let host = match headers.get(header::HOST).map(HeaderValue::to_str) {
            Some(Ok(host)) if is_ours(host, &self.host) => host,
            _ => return text(StatusCode::MISDIRECTED_REQUEST, "This name is not mine."),
        };
        let origin = headers.get(header::ORIGIN);
        if origin.is_some_and(|origin| origin.as_bytes() != format!("http://{host}").as_bytes()) {
            return text(StatusCode::FORBIDDEN, "Not for pages of others.");
        }
        if *method != Method::GET && *method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only.");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if path == BRIDGE_PATH {
            return full(StatusCode::OK, "application/json", self.bridge_json().into());
        }
        match files::find(path) {
            Some(file) => {
                let mut response = full(StatusCode::OK, file.kind, Bytes::from_static(file.content.as_bytes()));
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy(host));
                response
            }
            None => text(StatusCode::NOT_FOUND, "Not found."),
        }
    }

    /// The bridge's host, `null` where it is the one that served the page, and port.
    fn bridge_json(&self) -> String {
        let Some((host, port)) = &self.bridge else { return "null".into() };
        let everywhere = host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        let host = if everywhere { None } else { Some(host) };
        stringify(&Object::new().with("host", host.cloned()).with("port", u64::from(*port)).into())
    }
}

/// What the page may do, served as `host`, which is valid.
fn policy(host: &str) -> HeaderValue {
    // A policy cannot name an IPv6 address, so that a page of one only reaches bridges of this machine.
    let name = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(name, _)| name);
    let own = if name.starts_with('[') { String::new() } else { format!(" ws://{name}:*") };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' ws://127.0.0.1:* ws://localhost:*{own}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    full(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn full(status: StatusCode, kind: &'static str, content: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn site() -> Site {
        Site { host: "peer.lan".into(), bridge: Some(("127.0.0.1".into(), 49222)) }
    }

    fn ask(path: &str, headers: &[(&'static str, &'static str)]) -> Response<Full<Bytes>> {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        site().answer(&Method::GET, path, &headers.collect())
    }

    async fn body(response: Response<Full<Bytes>>) -> String {
        let bytes = response.into_body().collect().await.expect("it is whole already").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("it is text")
    }

    #[test]
    fn other_names_are_somebody_elses() {
        let cases = [
            ("127.0.0.1:5070", 200),
            ("127.0.0.1", 200),
            ("192.168.1.7:5070", 200),
            ("[::1]:5070", 200),
            ("localhost:5070", 200),
            ("app.localhost:5070", 200),
            ("peer.lan:5070", 200),
            ("PEER.LAN", 200),
            ("evil.example:5070", 421),
            ("127.0.0.1.evil.example", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1@evil.example", 421),
            ("[::1", 421),
            ("", 421),
        ];
        for (host, status) in cases {
            assert_eq!(ask("/", &[("host", host)]).status(), status, "{host}");
        }
        assert_eq!(ask("/", &[]).status(), 421);
    }

    #[test]
    fn pages_of_others_get_nothing() {
        let host = ("host", "127.0.0.1:5070");
        for (origin, status) in [
            ("http://127.0.0.1:5070", 200),
            ("http://127.0.0.1:5071", 403),
            ("https://127.0.0.1:5070", 403),
            ("https://evil.example", 403),
            ("null", 403),
        ] {
            for path in ["/", "/main.js", BRIDGE_PATH] {
                assert_eq!(ask(path, &[host, ("origin", origin)]).status(), status, "{path} for {origin}");
            }
        }
    }

    #[tokio::test]
    async fn files_come_with_their_type_and_the_policy() {
        let response = ask("/", &[("host", "192.168.1.7:5070")]);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("it is ASCII").to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(
            policy.contains("connect-src 'self' ws://127.0.0.1:* ws://localhost:* ws://192.168.1.7:*;"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert!(body(response).await.starts_with("<!doctype html>"));

        let host = ("host", "localhost");
        assert_eq!(ask("/main.js", &[host]).headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert_eq!(ask("/style.css", &[host]).headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
        for path in ["/../Cargo.toml", "/page/main.js", "/index.html/", "//main.js", "/main.js%00", "/favicon.ico"] {
            assert_eq!(ask(path, &[host]).status(), 404, "{path}");
        }
    }

    #[tokio::test]
    async fn only_reading_is_possible() {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))]);
        let response = site().answer(&Method::POST, "/", &headers);
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
        let response = site().answer(&Method::HEAD, "/", &headers);
        assert_eq!(response.status(), 200);
        assert_eq!(body(response).await, "");
    }

    #[tokio::test]
    async fn the_page_learns_where_the_bridge_is() {
        let ask = async |bridge: Option<(&str, u16)>| {
            let site = Site { host: String::new(), bridge: bridge.map(|(host, port)| (host.into(), port)) };
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))]);
            body(site.answer(&Method::GET, BRIDGE_PATH, &headers)).await
        };
        assert_eq!(ask(None).await, "null");
        assert_eq!(ask(Some(("127.0.0.1", 49222))).await, r#"{"host":"127.0.0.1","port":49222}"#);
        assert_eq!(ask(Some(("0.0.0.0", 1))).await, r#"{"host":null,"port":1}"#);
        assert_eq!(ask(Some(("::", 1))).await, r#"{"host":null,"port":1}"#);
    }
}
