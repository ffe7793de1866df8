//! The values inside requests and answers, and inside Noise messages.
//!
//! Fields marked optional are announced by a flag. All readers ignore what follows the last field, so that later versions can
//! add some.

mod connect;
mod records;

pub use connect::{
    Handshake, Holepunch, HolepunchInfo, HolepunchPayload, Mode, NoisePayload, RelayInfo, RelayThrough, UdxInfo,
};
pub use records::{Announce, LookupReply, MutableGet, MutablePut, PeerRecord, mutable_signable};

use std::net::SocketAddrV4;

use encoding::{DecodeError, Decoder, Encoder};

/// Reads a message that fills `bytes`, or begins there.
pub(crate) fn decode<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Decoder<'a>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    read(&mut Decoder::new(bytes))
}

fn flag(set: bool, flag: u64) -> u64 {
    if set { flag } else { 0 }
}

fn when<T>(flags: u64, flag: u64, read: impl FnOnce() -> Result<T, DecodeError>) -> Result<Option<T>, DecodeError> {
    if flags & flag != 0 { read().map(Some) } else { Ok(None) }
}

fn addresses(d: &mut Decoder<'_>) -> Result<Vec<SocketAddrV4>, DecodeError> {
    d.array(6, |d| d.ipv4())
}

fn put_addresses(e: &mut Encoder, addresses: &[SocketAddrV4]) {
    e.array(addresses, |e, addr| {
        e.ipv4(*addr);
    });
}
