//! Sealing of hole punching messages.

use std::net::Ipv4Addr;

use rand::RngCore;

use crate::messages::HolepunchPayload;

const NONCE: usize = 24;

/// Seals and opens the hole punching messages of one handshake.
pub(crate) struct SecurePayload {
    shared: [u8; 32],
    /// What tokens are made with.
    local: [u8; 32],
}

impl SecurePayload {
    /// For the secret that both sides have from the handshake.
    pub(crate) fn new(shared: [u8; 32], rng: &mut impl RngCore) -> Self {
        let mut local = [0; 32];
        rng.fill_bytes(&mut local);
        Self { shared, local }
    }

    /// What proves, when it comes back, that the other side receives what is sent to this host.
    pub(crate) fn token(&self, host: Ipv4Addr) -> [u8; 32] {
        crypto::hash_keyed(&self.local, &[host.to_string().as_bytes()])
    }

    /// The payload in `sealed`: a nonce, then a secretbox.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<HolepunchPayload> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        HolepunchPayload::decode(&crypto::secretbox::open(&self.shared, nonce, sealed)?).ok()
    }

    pub(crate) fn seal(&self, payload: &HolepunchPayload, rng: &mut impl RngCore) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let mut out = nonce.to_vec();
        out.extend(crypto::secretbox::seal(&self.shared, &nonce, &payload.encode()));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_of_the_vectors() {
        for version in ["network/pinned.json", "network/latest.json"] {
            let vectors = testing::vector_json(version);
            let case = &vectors["holepunchBox"];
            let bytes = |name: &str| testing::unhex(case[name].as_str().expect(name));
            let secure = SecurePayload::new(bytes("key").try_into().expect("32 bytes"), &mut rand::rng());

            let opened = secure.open(&bytes("sealed")).expect("opens");
            assert_eq!(opened.encode(), bytes("plain"));
            let expected = &case["opened"];
            assert_eq!(Some(opened.firewall), expected["firewall"].as_u64());
            assert_eq!(Some(opened.round), expected["round"].as_u64());
            assert_eq!(Some(opened.punching), expected["punching"].as_bool());
            let hosts: Vec<String> = opened.addresses.iter().flatten().map(|a| a.ip().to_string()).collect();
            let expected = expected["addresses"].as_array().expect("addresses");
            assert_eq!(hosts, expected.iter().map(|a| a["host"].as_str().expect("host")).collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_the_same_secret_opens() {
        let rng = &mut rand::rng();
        let (ours, theirs) = (SecurePayload::new([1; 32], rng), SecurePayload::new([2; 32], rng));
        let payload = HolepunchPayload { round: 3, ..HolepunchPayload::default() };
        let sealed = ours.seal(&payload, &mut rand::rng());
        assert_eq!(ours.open(&sealed), Some(payload));
        assert_eq!(theirs.open(&sealed), None);
        for cut in 0..sealed.len() {
            assert_eq!(ours.open(&sealed[..cut]), None);
        }
    }

    #[test]
    fn tokens_are_of_one_host_and_one_handshake() {
        let rng = &mut rand::rng();
        let (ours, theirs) = (SecurePayload::new([1; 32], rng), SecurePayload::new([1; 32], rng));
        let (host, other) = (Ipv4Addr::new(1, 2, 3, 4), Ipv4Addr::new(1, 2, 3, 5));
        assert_eq!(ours.token(host), ours.token(host));
        assert_ne!(ours.token(host), ours.token(other));
        assert_ne!(ours.token(host), theirs.token(host));
    }
}
