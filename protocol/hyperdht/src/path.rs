//! How to reach a server after the handshake.

use std::net::SocketAddrV4;

use crate::addresses::{is_bogon, is_reserved, match_address};
use crate::constants::firewall;
use crate::messages::NoisePayload;

/// What the client knows when it has the server's answer.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// The server's payload.
    pub(crate) payload: &'a NoisePayload,
    /// The node that the answer came through; the server itself when they are the same.
    pub(crate) relay_address: SocketAddrV4,
    /// The server as that node sees it.
    pub(crate) server_address: SocketAddrV4,
    /// We as that node sees us.
    pub(crate) client_address: SocketAddrV4,
    /// Whether anybody can write to us.
    pub(crate) open: bool,
    /// Our addresses in local networks; empty when these must not be used.
    pub(crate) local: &'a [SocketAddrV4],
}

/// The way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Write to it here.
    Direct(SocketAddrV4),
    /// Wait until it writes to us.
    Passive,
    /// Try this address in our own network.
    Lan(SocketAddrV4),
    /// Both are behind NATs.
    Holepunch,
}

impl View<'_> {
    fn is_relayed(&self) -> bool {
        self.server_address != self.relay_address
    }

    fn is_punchable(&self) -> bool {
        self.payload.holepunch.as_ref().is_some_and(|holepunch| !holepunch.relays.is_empty())
    }

    /// Whether nothing is known of a way to a server that does not say that it is open: it is not announced yet, and behind a NAT it
    /// cannot be reached before it is.
    pub(crate) fn is_early(&self) -> bool {
        self.is_relayed() && !self.is_punchable() && self.payload.firewall != firewall::OPEN
    }
}

/// Chooses in the order of the JavaScript clients.
pub(crate) fn select(view: &View<'_>) -> Path {
    let payload = view.payload;
    if !view.is_relayed() {
        return Path::Direct(view.server_address);
    }
    if payload.firewall == firewall::OPEN || !view.is_punchable() {
        let public = payload.addresses4.iter().find(|addr| !is_bogon(*addr.ip()));
        return Path::Direct(public.copied().unwrap_or(view.server_address));
    }
    if view.open {
        return Path::Passive;
    }
    // The same address from outside: probably the same network.
    if view.client_address.ip() == view.server_address.ip() && !view.local.is_empty() {
        let candidates: Vec<_> = payload.addresses4.iter().copied().filter(|addr| !is_reserved(*addr.ip())).collect();
        if let Some(addr) = match_address(view.local, &candidates).or(candidates.first().copied()) {
            return Path::Lan(addr);
        }
    }
    Path::Holepunch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{HolepunchInfo, RelayInfo};

    fn addr(text: &str) -> SocketAddrV4 {
        text.parse().expect("address")
    }

    const RELAY: &str = "5.5.5.5:1";
    const SERVER: &str = "6.6.6.6:2";
    const CLIENT: &str = "7.7.7.7:3";

    fn payload(firewall: u64, relays: usize, addresses: &[&str]) -> NoisePayload {
        let relay = RelayInfo { relay_address: addr(RELAY), peer_address: addr(SERVER) };
        NoisePayload {
            holepunch: Some(HolepunchInfo { id: 0, relays: vec![relay; relays] }),
            addresses4: addresses.iter().map(|a| addr(a)).collect(),
            ..NoisePayload::new(0, firewall)
        }
    }

    fn select_from(payload: &NoisePayload, client: &str, open: bool, local: &[&str]) -> Path {
        let local: Vec<_> = local.iter().map(|a| addr(a)).collect();
        select(&View {
            payload,
            relay_address: addr(RELAY),
            server_address: addr(SERVER),
            client_address: addr(client),
            open,
            local: &local,
        })
    }

    #[test]
    fn an_open_server_is_written_to() {
        let open = payload(firewall::OPEN, 0, &["192.168.0.1:1", "8.8.8.8:8"]);
        assert_eq!(select_from(&open, CLIENT, true, &[]), Path::Direct(addr("8.8.8.8:8")));
        let local = payload(firewall::OPEN, 3, &["192.168.0.1:1"]);
        assert_eq!(select_from(&local, CLIENT, false, &[]), Path::Direct(addr(SERVER)));
        let no_relays = payload(firewall::UNKNOWN, 0, &[]);
        assert_eq!(select_from(&no_relays, CLIENT, false, &[]), Path::Direct(addr(SERVER)));
    }

    #[test]
    fn the_server_itself_is_written_to() {
        let payload = payload(firewall::UNKNOWN, 3, &[]);
        let view = View {
            payload: &payload,
            relay_address: addr(SERVER),
            server_address: addr(SERVER),
            client_address: addr(CLIENT),
            open: false,
            local: &[],
        };
        assert_eq!(select(&view), Path::Direct(addr(SERVER)));
    }

    #[test]
    fn behind_nats_the_local_network_comes_first() {
        let lan = payload(firewall::UNKNOWN, 1, &["10.0.0.9:9", "192.168.7.7:7"]);
        let here = ["192.168.7.1:1"];
        let found = Path::Lan(addr("192.168.7.7:7"));
        assert_eq!(select_from(&lan, "6.6.6.6:9", false, &here), found);
        let first = Path::Lan(addr("10.0.0.9:9"));
        assert_eq!(select_from(&lan, "6.6.6.6:9", false, &["172.16.0.1:1"]), first);
        assert_eq!(select_from(&lan, CLIENT, false, &here), Path::Holepunch, "another network");
        assert_eq!(select_from(&lan, "6.6.6.6:9", false, &[]), Path::Holepunch, "not wanted");
        assert_eq!(select_from(&lan, "6.6.6.6:9", true, &here), Path::Passive);
    }
}
