//! What is signed in announces and values, by Ed25519.

use crypto::KeyPair;
use dht_rpc::{NodeId, Token};

use crate::constants::NS;
use crate::messages::{PeerRecord, mutable_signable};

/// What an announce is made at: its signature is good for this node and this token only, so it cannot be repeated elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The topic.
    pub target: &'a NodeId,
    /// The identifier of the node that stores.
    pub node: &'a NodeId,
    /// The token that this node gave.
    pub token: &'a Token,
}

fn announce_signable(
    namespace: &[u8; 32],
    place: Place<'_>,
    peer: &PeerRecord,
    refresh: Option<&[u8; 32]>,
) -> [u8; 64] {
    let refresh = refresh.map_or(&[][..], |refresh| &refresh[..]);
    let hash = crypto::hash(&[place.target, place.node, place.token, &peer.encode(), refresh]);
    join(namespace, &hash)
}

fn mutable_signed(seq: u64, value: &[u8]) -> [u8; 64] {
    join(&NS.mutable_put, &crypto::hash(&[&mutable_signable(seq, value)]))
}

fn join(namespace: &[u8; 32], hash: &[u8; 32]) -> [u8; 64] {
    let mut signable = [0; 64];
    signable[..32].copy_from_slice(namespace);
    signable[32..].copy_from_slice(hash);
    signable
}

/// Signs an announce of `peer`.
pub fn sign_announce(place: Place<'_>, peer: &PeerRecord, refresh: Option<&[u8; 32]>, keys: &KeyPair) -> [u8; 64] {
    keys.sign(&announce_signable(&NS.announce, place, peer, refresh))
}

/// Signs an unannounce of `peer`.
pub fn sign_unannounce(place: Place<'_>, peer: &PeerRecord, keys: &KeyPair) -> [u8; 64] {
    keys.sign(&announce_signable(&NS.unannounce, place, peer, None))
}

/// Whether the peer itself announced.
pub fn verify_announce(place: Place<'_>, peer: &PeerRecord, refresh: Option<&[u8; 32]>, signature: &[u8; 64]) -> bool {
    crypto::verify(&peer.public_key, &announce_signable(&NS.announce, place, peer, refresh), signature)
}

/// Whether the peer itself unannounced.
pub fn verify_unannounce(
    place: Place<'_>,
    peer: &PeerRecord,
    refresh: Option<&[u8; 32]>,
    signature: &[u8; 64],
) -> bool {
    crypto::verify(&peer.public_key, &announce_signable(&NS.unannounce, place, peer, refresh), signature)
}

/// Signs a value.
pub fn sign_mutable(seq: u64, value: &[u8], keys: &KeyPair) -> [u8; 64] {
    keys.sign(&mutable_signed(seq, value))
}

/// Whether `public_key` signed the value.
pub fn verify_mutable(seq: u64, value: &[u8], signature: &[u8; 64], public_key: &[u8; 32]) -> bool {
    crypto::verify(public_key, &mutable_signed(seq, value), signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_the_vectors() {
        for version in ["network/pinned.json", "network/latest.json"] {
            let vectors = testing::vector_json(version);
            let bytes = |section: &str, name: &str| testing::unhex(vectors[section][name].as_str().expect(name));
            let fixed = |section: &str, name: &str| <[u8; 32]>::try_from(bytes(section, name)).expect("32 bytes");
            let signature = |name: &str| <[u8; 64]>::try_from(bytes("sign", name)).expect("64 bytes");

            let keys = KeyPair::from_seed(&fixed("keys", "seedA"));
            assert_eq!(keys.public_key, fixed("keys", "publicKeyA"));
            let (target, node, token) = (fixed("sign", "target"), fixed("sign", "nodeId"), fixed("sign", "token"));
            let place = Place { target: &target, node: &node, token: &token };
            let peer = PeerRecord::decode(&bytes("sign", "peer")).expect("peer");

            assert_eq!(sign_announce(place, &peer, None, &keys), signature("announce"));
            assert_eq!(sign_unannounce(place, &peer, &keys), signature("unannounce"));
            assert_eq!(sign_mutable(1, b"hello", &keys), signature("mutable_seq1_value_hello"));
            assert!(verify_announce(place, &peer, None, &signature("announce")));
            assert!(!verify_announce(place, &peer, Some(&[0; 32]), &signature("announce")));
            assert!(verify_unannounce(place, &peer, None, &signature("unannounce")));
            assert!(!verify_unannounce(place, &peer, None, &signature("announce")));
            assert!(verify_mutable(1, b"hello", &signature("mutable_seq1_value_hello"), &keys.public_key));
            assert!(!verify_mutable(2, b"hello", &signature("mutable_seq1_value_hello"), &keys.public_key));
        }
    }

    #[test]
    fn a_target_is_the_hash_of_a_key_vector() {
        let keys = &testing::vector_json("network/pinned.json")["keys"];
        let public_key = testing::unhex(keys["publicKeyB"].as_str().expect("key"));
        assert_eq!(testing::hex(&crypto::hash(&[&public_key])), keys["targetB"].as_str().expect("target"));
    }
}
