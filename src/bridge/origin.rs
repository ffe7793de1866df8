//! Which web pages may connect.
//!
//! A browser lets every page open a WebSocket to every address, and says in `Origin` which page it was. The original accepts
//! all of them, so that any web site could talk to a bridge on the visitor's machine. Here a request is accepted if it
//! - has no `Origin`: it is a program, not a page;
//! - comes from a page that this machine serves (`localhost`, 127.0.0.0/8, `[::1]`);
//! - comes from a page of the very IP address that it asks for. Only of an address: a name proves nothing, since its owner can
//!   let it point anywhere (DNS rebinding).
//!
//! A page that the operator names is accepted besides, by its whole origin.
//!
//! `Origin: null` (a file, a sandboxed frame of any site) is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a request with these headers is accepted.
pub(crate) fn is_allowed(origin: Option<&str>, host: Option<&str>, named: &[String]) -> bool {
    let Some(origin) = origin else { return true };
    if named.iter().any(|name| name.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some(page) = origin.split_once("://").and_then(|(_, authority)| Host::parse(authority)) else { return false };
    if page.is_this_machine() {
        return true;
    }
    matches!((&page, host.and_then(Host::parse)), (Host::Address(page), Some(Host::Address(host))) if *page == host)
}

/// The host that a header names.
pub(crate) enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

impl Host {
    /// The host of `host[:port]`.
    pub(crate) fn parse(authority: &str) -> Option<Host> {
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if let Some(rest) = authority.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            let valid = port.is_empty() || is_port(port.strip_prefix(':')?);
            return address.parse::<Ipv6Addr>().ok().filter(|_| valid).map(|address| Host::Address(address.into()));
        }
        let name = match authority.split_once(':') {
            Some((name, port)) if is_port(port) => name,
            Some(_) => return None,
            None => authority,
        };
        match name.parse::<Ipv4Addr>() {
            Ok(address) => Some(Host::Address(address.into())),
            Err(_) if name.is_empty() => None,
            Err(_) => Some(Host::Name(name.to_ascii_lowercase())),
        }
    }

    pub(crate) fn is_this_machine(&self) -> bool {
        match self {
            Host::Address(address) => address.is_loopback(),
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_machines_are_refused() {
        let host = Some("192.168.1.5:49222");
        let cases = [
            (None, true),
            (Some("http://localhost"), true),
            (Some("http://localhost:5070"), true),
            (Some("https://app.localhost:1"), true),
            (Some("http://127.0.0.1:5070"), true),
            (Some("http://127.9.9.9"), true),
            (Some("http://[::1]:5070"), true),
            (Some("http://192.168.1.5:5070"), true),
            (Some("http://192.168.1.6:5070"), false),
            (Some("null"), false),
            (Some(""), false),
            (Some("file://"), false),
            (Some("https://example.com"), false),
            (Some("https://localhost.example.com"), false),
            (Some("https://127.0.0.1.example.com"), false),
            (Some("https://localhost:80@example.com"), false),
            (Some("https://example.com/localhost"), false),
            (Some("http://[::1"), false),
            (Some("http://[::1]x"), false),
            (Some("localhost"), false),
        ];
        for (origin, expected) in cases {
            assert_eq!(is_allowed(origin, host, &[]), expected, "{origin:?}");
        }
    }

    #[test]
    fn a_name_that_points_here_is_not_enough() {
        assert!(!is_allowed(Some("http://evil.example:49222"), Some("evil.example:49222"), &[]));
        assert!(is_allowed(Some("http://[fe80::1]"), Some("[fe80::1]:49222"), &[]));
    }

    #[test]
    fn what_the_operator_names_is_accepted_as_a_whole() {
        let named = ["https://app.example/".to_owned(), "null".to_owned()];
        let allowed = |origin| is_allowed(Some(origin), Some("127.0.0.1:49222"), &named);
        assert!(allowed("https://app.example") && allowed("HTTPS://APP.example") && allowed("null"));
        for other in
            ["http://app.example", "https://app.example:444", "https://app.example.org", "https://x.app.example"]
        {
            assert!(!allowed(other), "{other}");
        }
    }
}
