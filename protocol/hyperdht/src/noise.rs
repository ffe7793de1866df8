//! The handshake between two peers, and what else follows from it.

use crypto::noise::{Handshake, Pattern, Session};
use crypto::{CryptoError, KeyPair};

use crate::constants::NS;
use crate::messages::NoisePayload;

/// A Noise IK handshake whose messages carry [`NoisePayload`]s.
#[derive(Clone)]
pub(crate) struct NoiseWrap {
    handshake: Handshake,
}

/// Why a handshake message is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error(transparent)]
    Payload(#[from] encoding::DecodeError),
}

impl NoiseWrap {
    /// The side that calls the peer with `remote_public_key`.
    pub(crate) fn initiator(keys: KeyPair, remote_public_key: [u8; 32]) -> Self {
        let prologue = &NS.peer_handshake;
        Self { handshake: Handshake::new(Pattern::IK, true, keys, Some(remote_public_key), prologue) }
    }

    /// The side that is called.
    pub(crate) fn responder(keys: KeyPair) -> Self {
        Self { handshake: Handshake::new(Pattern::IK, false, keys, None, &NS.peer_handshake) }
    }

    pub(crate) fn send(&mut self, payload: &NoisePayload) -> Result<Vec<u8>, HandshakeError> {
        Ok(self.handshake.send(&payload.encode())?)
    }

    pub(crate) fn recv(&mut self, message: &[u8]) -> Result<NoisePayload, HandshakeError> {
        Ok(NoisePayload::decode(&self.handshake.recv(message)?)?)
    }

    pub(crate) fn remote_public_key(&self) -> Option<&[u8; 32]> {
        self.handshake.remote_public_key()
    }

    pub(crate) fn finish(self) -> Result<Session, HandshakeError> {
        Ok(self.handshake.finish()?)
    }
}

/// The secret that hole punching messages of this session are sealed under.
pub(crate) fn holepunch_secret(session: &Session) -> [u8; 32] {
    crypto::hash_keyed(&session.hash, &[&NS.peer_holepunch])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshake_of_the_vectors() {
        for version in ["network/pinned.json", "network/latest.json"] {
            let vectors = testing::vector_json(version);
            let case = &vectors["noiseIK"];
            let bytes = |name: &str| testing::unhex(case[name].as_str().expect(name));
            let seed = |name: &str| <[u8; 32]>::try_from(testing::unhex(name)).expect("32 bytes");
            assert_eq!(bytes("prologue"), NS.peer_handshake);

            for name in ["payload1", "payload2"] {
                let payload = NoisePayload::decode(&bytes(name)).expect(name);
                assert_eq!(testing::hex(&payload.encode()), testing::hex(&bytes(name)));
            }
            let session = Session {
                tx: seed(case["tx_initiator"].as_str().expect("tx")),
                rx: seed(case["rx_initiator"].as_str().expect("rx")),
                hash: bytes("hash").try_into().expect("64 bytes"),
                remote_public_key: [0; 32],
                is_initiator: true,
            };
            assert_eq!(testing::hex(&holepunch_secret(&session)), case["holepunchSecret"].as_str().expect("secret"));
        }
    }

    #[test]
    fn two_sides_agree() {
        let (client, server) = (KeyPair::generate(), KeyPair::generate());
        let mut at_client = NoiseWrap::initiator(client.clone(), server.public_key);
        let mut at_server = NoiseWrap::responder(server);
        let hello = at_client.send(&NoisePayload::new(0, 1)).expect("send");
        assert_eq!(at_server.recv(&hello).expect("recv"), NoisePayload::new(0, 1));
        assert_eq!(at_server.remote_public_key(), Some(&client.public_key));
        let answer = at_server.send(&NoisePayload::new(0, 2)).expect("send");
        assert_eq!(at_client.recv(&answer).expect("recv"), NoisePayload::new(0, 2));
        let (a, b) = (at_client.finish().expect("done"), at_server.finish().expect("done"));
        assert_eq!((holepunch_secret(&a), a.tx), (holepunch_secret(&b), b.rx));
    }

    #[test]
    fn damaged_messages_are_refused() {
        let server = KeyPair::generate();
        let mut at_client = NoiseWrap::initiator(KeyPair::generate(), server.public_key);
        let hello = at_client.send(&NoisePayload::new(0, 1)).expect("send");
        for i in 0..hello.len() {
            let mut damaged = hello.clone();
            damaged[i] ^= 1;
            assert!(NoiseWrap::responder(server.clone()).recv(&damaged).is_err(), "byte {i}");
            assert!(NoiseWrap::responder(server.clone()).recv(&hello[..i]).is_err(), "cut at {i}");
        }
    }
}
