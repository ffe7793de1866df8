//! The addresses of this machine in its local networks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the list of interfaces is good.
const MAX_AGE: Duration = Duration::from_secs(4);

/// The IPv4 addresses of the interfaces, asked for at most every few seconds.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses {
    fixed: Option<Vec<Ipv4Addr>>,
    cached: Mutex<Option<(Instant, Vec<Ipv4Addr>)>>,
}

impl LocalAddresses {
    /// Those of the operating system, or `fixed` ones.
    pub(crate) fn new(fixed: Option<Vec<Ipv4Addr>>) -> Self {
        Self { fixed, cached: Mutex::new(None) }
    }

    /// Where a socket that is bound to `bound` can be reached in local networks. Handshakes carry IPv4 addresses only, and one
    /// that is bound to an IPv6 address alone has none.
    pub(crate) fn of(&self, bound: SocketAddr, now: Instant) -> Vec<SocketAddrV4> {
        let at = |ip| SocketAddrV4::new(ip, bound.port());
        match bound {
            SocketAddr::V4(bound) if bound.ip().is_loopback() => return vec![bound],
            SocketAddr::V6(bound) if !bound.ip().is_unspecified() => return Vec::new(),
            _ => {}
        }
        let hosts = self.hosts(now);
        if hosts.is_empty() {
            return vec![at(Ipv4Addr::LOCALHOST)];
        }
        hosts.into_iter().map(at).collect()
    }

    fn hosts(&self, now: Instant) -> Vec<Ipv4Addr> {
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        let mut cached = self.cached.lock();
        match &*cached {
            Some((at, hosts)) if now.saturating_duration_since(*at) < MAX_AGE => hosts.clone(),
            _ => {
                let hosts = interfaces();
                *cached = Some((now, hosts.clone()));
                hosts
            }
        }
    }
}

fn interfaces() -> Vec<Ipv4Addr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::debug!(%error, "interfaces cannot be listed");
        Vec::new()
    });
    interfaces
        .into_iter()
        .filter(|interface| !interface.is_loopback())
        .filter_map(|interface| match interface.ip() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn a_socket_is_where_the_interfaces_are() {
        let now = Instant::now();
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7));
        let fixed = LocalAddresses::new(Some(vec![Ipv4Addr::new(10, 0, 0, 1)]));
        assert_eq!(fixed.of(any, now), ["10.0.0.1:7".parse().expect("address")]);
        let none = LocalAddresses::new(Some(Vec::new()));
        assert_eq!(none.of(any, now), ["127.0.0.1:7".parse().expect("address")]);
        let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7);
        assert_eq!(fixed.of(loopback.into(), now), [loopback]);
        // Of both kinds, and of one.
        let at = |ip: Ipv6Addr| fixed.of(SocketAddr::from((ip, 7)), now);
        assert_eq!(at(Ipv6Addr::UNSPECIFIED), fixed.of(any, now));
        assert!(at(Ipv6Addr::LOCALHOST).is_empty());
        assert!(LocalAddresses::default().of(any, now).iter().all(|addr| addr.port() == 7));
    }
}
