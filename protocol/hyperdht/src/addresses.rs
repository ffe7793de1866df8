//! Addresses that cannot be reached from everywhere, and those of this machine.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Whether the address is of a private network: it means a different machine elsewhere. Carrier NATs, loopback and
/// link-local addresses count as private.
pub fn is_private(ip: Ipv4Addr) -> bool {
    matches!(ip.octets(), [10 | 127, ..] | [100, 64..=127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..])
}

/// Whether the address is of no machine at all.
pub fn is_reserved(ip: Ipv4Addr) -> bool {
    matches!(
        ip.octets(),
        [0, ..] | [192, 0, 0 | 2, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..]
    )
}

/// Whether the address cannot be reached over the internet.
pub fn is_bogon(ip: Ipv4Addr) -> bool {
    is_private(ip) || is_reserved(ip)
}

/// Of the `remote` addresses, the one that shares most leading octets with one of ours, at least one.
pub fn match_address(local: &[SocketAddrV4], remote: &[SocketAddrV4]) -> Option<SocketAddrV4> {
    let shared = |a: &SocketAddrV4, b: &SocketAddrV4| {
        let (a, b) = (a.ip().octets(), b.ip().octets());
        a.iter().zip(b).take(3).take_while(|(a, b)| *a == b).count()
    };
    let mut best = (0, None);
    for mine in local {
        for theirs in remote {
            let n = shared(mine, theirs);
            if n > best.0 {
                best = (n, Some(*theirs));
            }
            if n == 3 {
                return best.1;
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(list: &[&str]) -> Vec<SocketAddrV4> {
        list.iter().map(|host| SocketAddrV4::new(host.parse().expect("IPv4"), 1)).collect()
    }

    #[test]
    fn the_nearest_address_is_matched() {
        let best = |local: &[&str], remote: &[&str]| {
            match_address(&addrs(local), &addrs(remote)).map(|addr| addr.ip().to_string())
        };
        assert_eq!(best(&["192.168.122.238"], &["192.168.0.23", "192.168.122.1"]).as_deref(), Some("192.168.122.1"));
        assert_eq!(best(&["192.168.1.2"], &["192.1.0.1", "192.168.0.23"]).as_deref(), Some("192.168.0.23"));
        assert_eq!(best(&["192.168.1.2"], &["192.1.0.1", "192.2.0.1"]).as_deref(), Some("192.1.0.1"));
        assert_eq!(best(&["192.168.1.2"], &["10.0.0.1"]), None);
        assert_eq!(best(&["127.0.0.1"], &["127.0.0.1"]).as_deref(), Some("127.0.0.1"));
        assert_eq!(best(&[], &["10.0.0.1"]), None);
    }

    #[test]
    fn machines_containers_and_virtual_machines_find_each_other() {
        const MACHINE: &[&str] = &["192.168.0.23", "192.168.122.1"];
        const MACHINE_WITH_CONTAINERS: &[&str] = &["192.168.0.23", "192.168.122.1", "172.17.0.1"];
        const GUEST: &[&str] = &["192.168.122.238"];
        const GUEST_WITH_CONTAINERS: &[&str] = &["192.168.122.238", "172.17.0.1"];
        const CLOUD: &[&str] = &["67.205.156.23", "10.10.0.6", "10.116.0.3"];
        let cases: &[(&[&str], &[&str], Option<&str>)] = &[
            (&[], &[], None),
            (GUEST, &[], None),
            // Processes of one machine.
            (MACHINE_WITH_CONTAINERS, MACHINE_WITH_CONTAINERS, Some("192.168.0.23")),
            (GUEST, GUEST, Some("192.168.122.238")),
            (&["172.17.0.2"], &["172.17.0.2"], Some("172.17.0.2")),
            (CLOUD, &["10.10.0.6", "10.116.0.3"], Some("10.10.0.6")),
            (&["127.0.0.1"], &["127.0.0.1"], Some("127.0.0.1")),
            // A machine and a virtual machine on it.
            (MACHINE, GUEST, Some("192.168.122.238")),
            (GUEST, MACHINE, Some("192.168.122.1")),
            (MACHINE, GUEST_WITH_CONTAINERS, Some("192.168.122.238")),
            (GUEST_WITH_CONTAINERS, MACHINE, Some("192.168.122.1")),
            (MACHINE_WITH_CONTAINERS, GUEST_WITH_CONTAINERS, Some("192.168.122.238")),
            (GUEST_WITH_CONTAINERS, MACHINE_WITH_CONTAINERS, Some("192.168.122.1")),
            (MACHINE_WITH_CONTAINERS, GUEST, Some("192.168.122.238")),
            (GUEST, MACHINE_WITH_CONTAINERS, Some("192.168.122.1")),
            // A machine and a container on it, and two containers.
            (MACHINE_WITH_CONTAINERS, &["172.17.0.2"], Some("172.17.0.2")),
            (&["172.17.0.2"], MACHINE_WITH_CONTAINERS, Some("172.17.0.1")),
            (&["172.17.0.3"], &["172.17.0.2"], Some("172.17.0.2")),
            // By one, two and three octets.
            (GUEST, &["172.16.1.1", "10.0.0.5"], None),
            (&["10.1.2.3"], &["192.168.0.23", "172.16.1.1", "10.4.5.6", "192.168.122.1"], Some("10.4.5.6")),
            (&["10.0.2.3"], &["192.168.0.23", "10.4.5.6", "10.0.5.6", "192.168.122.1"], Some("10.0.5.6")),
            (GUEST, &["192.168.0.23", "192.168.122.1", "172.16.1.1"], Some("192.168.122.1")),
        ];
        for (local, remote, expected) in cases {
            let best = match_address(&addrs(local), &addrs(remote)).map(|addr| addr.ip().to_string());
            assert_eq!(best.as_deref(), *expected, "{local:?} and {remote:?}");
        }
    }

    #[test]
    fn addresses_are_classified() {
        let ip = |text: &str| text.parse().expect("IPv4");
        for text in ["10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.31.0.1", "192.168.1.1"] {
            assert!(is_private(ip(text)) && is_bogon(ip(text)), "{text}");
        }
        for text in [
            "0.0.0.0",
            "192.0.0.1",
            "192.0.2.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(is_reserved(ip(text)) && is_bogon(ip(text)), "{text}");
        }
        for text in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "192.169.0.1", "192.0.3.1", "198.20.0.1"] {
            assert!(!is_bogon(ip(text)), "{text}");
        }
    }
}
