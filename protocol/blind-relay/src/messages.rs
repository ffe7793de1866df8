//! The two messages.

use encoding::{DecodeError, Decoder, Encoder};

/// What two peers name their pair by: 32 random bytes, which the one that chose them gives to the other by a handshake.
pub type Token = [u8; 32];

/// The number of the message [`Pair`].
pub const PAIR: u64 = 0;

/// The number of the message [`Unpair`].
pub const UNPAIR: u64 = 1;

/// Bit of the flags: the sender chose the relay and the token.
const INITIATOR: u8 = 1;

/// To the relay: "join my stream with that of whoever comes with the same token and the other role". From the relay: "done".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Whether the peer of the relay chose it; the answer repeats the role of who is answered.
    pub is_initiator: bool,
    /// Names the pair.
    pub token: Token,
    /// The id of the sender's UDX stream.
    pub id: u32,
    /// The number of the first packet of that stream; always 0 so far.
    pub seq: u64,
}

impl Pair {
    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(48);
        out.u8(u8::from(self.is_initiator)).fixed(&self.token).uint(u64::from(self.id)).uint(self.seq);
        out.finish()
    }

    /// Reads the message; bytes that follow it are ignored, as are unknown flags.
    ///
    /// # Errors
    /// When it is cut short, or its id is none of a UDX stream.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = Decoder::new(bytes);
        let is_initiator = bytes.u8()? & INITIATOR != 0;
        let token = bytes.fixed()?;
        let id = u32::try_from(bytes.uint()?).map_err(|_| DecodeError::Invalid("stream id beyond 32 bits"))?;
        Ok(Self { is_initiator, token, id, seq: bytes.uint()? })
    }
}

/// To the relay: "give that pair up".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpair {
    /// Names the pair.
    pub token: Token,
}

impl Unpair {
    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(33);
        out.u8(0).fixed(&self.token);
        out.finish()
    }

    /// Reads the message; bytes that follow it are ignored, as are the flags.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = Decoder::new(bytes);
        bytes.u8()?;
        Ok(Self { token: bytes.fixed()? })
    }
}
