//! Nodes and their identifiers.

use std::net::SocketAddrV4;

/// The 256-bit identifier of a node, and the key space that targets live in.
pub type NodeId = [u8; 32];

/// The identifier that every node at `addr` must have: BLAKE2b-256 of its address as six wire bytes (four octets, then the
/// port in little-endian order). Because anyone can compute it from the source of a packet, a node cannot choose its place
/// in the key space without also owning the address.
pub fn node_id(addr: SocketAddrV4) -> NodeId {
    crypto::hash(&[&addr.ip().octets(), &addr.port().to_le_bytes()])
}

/// A node that can be written to: where it is, and who it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Contact {
    /// The identifier, [`node_id`] of `addr`.
    pub id: NodeId,
    /// Where the node was seen.
    pub addr: SocketAddrV4,
}

impl Contact {
    /// The contact of the node at `addr`.
    pub fn new(addr: SocketAddrV4) -> Self {
        Self { id: node_id(addr), addr }
    }
}

/// Whether `a` is closer to `target` than `b` by the XOR metric.
pub(crate) fn closer(target: &NodeId, a: &NodeId, b: &NodeId) -> std::cmp::Ordering {
    let distance = |id: &NodeId| {
        let mut out = [0u8; 32];
        for (byte, (x, y)) in out.iter_mut().zip(id.iter().zip(target)) {
            *byte = x ^ y;
        }
        out
    };
    distance(a).cmp(&distance(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_of_the_vectors() {
        for version in ["network/pinned.json", "network/latest.json"] {
            for case in testing::vector_json(version)["nodeId"].as_array().expect("nodeId") {
                let host = case["host"].as_str().expect("host").parse().expect("IPv4");
                let port = u16::try_from(case["port"].as_u64().expect("port")).expect("port");
                assert_eq!(testing::hex(&node_id(SocketAddrV4::new(host, port))), case["id"].as_str().expect("id"));
            }
        }
    }

    #[test]
    fn closeness_is_xor() {
        let id = |byte: u8| [byte; 32];
        assert_eq!(closer(&id(0b1000), &id(0b1001), &id(0b0000)), std::cmp::Ordering::Less);
        assert_eq!(closer(&id(1), &id(7), &id(7)), std::cmp::Ordering::Equal);
    }
}
