//! The place of hole punching: what either side does when the handshake leaves no other way.
//!
//! A node without a hole puncher says so at once, in the way that JavaScript peers expect, instead of letting the other side
//! wait for a timeout.

use std::net::SocketAddrV4;

use rand::RngCore;
use udx::UdxSocket;

use crate::constants::{code, firewall};
use crate::error::ConnectError;
use crate::messages::HolepunchPayload;
use crate::secure_payload::SecurePayload;

/// The server's side of one handshake.
pub(crate) struct Responder {
    secure: SecurePayload,
}

impl Responder {
    pub(crate) fn new(secure: SecurePayload) -> Self {
        Self { secure }
    }

    /// The sealed answer to a sealed message; `None` when that is not from the client of this handshake.
    pub(crate) fn respond(&self, sealed: &[u8], rng: &mut impl RngCore) -> Option<Vec<u8>> {
        let message = self.secure.open(sealed)?;
        let aborted = HolepunchPayload {
            error: code::ABORTED,
            firewall: firewall::UNKNOWN,
            round: message.round,
            ..HolepunchPayload::default()
        };
        Some(self.secure.seal(&aborted, rng))
    }
}

/// Opens a way to the server, and says from which socket to which address.
pub(crate) async fn punch() -> Result<(UdxSocket, SocketAddrV4), ConnectError> {
    Err(ConnectError::CannotHolepunch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_told_that_there_is_no_way() {
        let rng = &mut rand::rng();
        let (server, client) = (SecurePayload::new([1; 32]), SecurePayload::new([1; 32]));
        let responder = Responder::new(server);
        let probe = HolepunchPayload { firewall: firewall::CONSISTENT, round: 2, ..HolepunchPayload::default() };
        let answer = responder.respond(&client.seal(&probe, rng), rng).and_then(|sealed| client.open(&sealed));
        assert_eq!(answer.map(|answer| (answer.error, answer.round)), Some((code::ABORTED, 2)));
        assert_eq!(responder.respond(b"not sealed at all, but long enough to be so", rng), None);
    }
}
