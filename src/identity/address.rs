//! Addresses: a public key in bech32m ([BIP-350](https://bips.dev/350/)).

use bech32::{Bech32m, Hrp, primitives::decode::CheckedHrpstring};

use super::IdentityError;

/// The prefix of addresses on the main network.
pub const MAINNET_PREFIX: &str = "trac";

/// The length of a prefix at most, so that an address keeps within the 90 characters for which its checksum is made.
const MAX_PREFIX: usize = 31;

/// The address of a public key.
///
/// # Panics
/// Unless `prefix` is 1 to 31 letters from a to z.
pub fn encode(prefix: &str, public_key: &[u8; 32]) -> String {
    assert!(is_prefix(prefix), "not a prefix of addresses: {prefix}");
    let prefix = Hrp::parse(prefix).expect("letters are a prefix");
    bech32::encode_lower::<Bech32m>(prefix, public_key).expect("the length is within the limits")
}

/// The prefix and the public key of an address.
///
/// # Errors
/// [`IdentityError::Address`] when it is not bech32m of 32 bytes, or its checksum is wrong.
pub fn decode(address: &str) -> Result<(String, [u8; 32]), IdentityError> {
    let checked = CheckedHrpstring::new::<Bech32m>(address).map_err(|_| IdentityError::Address)?;
    let prefix = checked.hrp().to_lowercase();
    let bytes: Vec<u8> = checked.byte_iter().collect();
    match bytes.try_into() {
        Ok(public_key) if is_prefix(&prefix) => Ok((prefix, public_key)),
        _ => Err(IdentityError::Address),
    }
}

/// Whether a text has the form of an address, by which JavaScript peers judge at first sight: a prefix, and 58 characters of the
/// alphabet. The checksum is not looked at.
pub fn looks_valid(address: &str) -> bool {
    const ALPHABET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    /// 52 for 32 bytes, 6 for the checksum.
    const LENGTH: usize = 58;
    address.split_once('1').is_some_and(|(prefix, rest)| {
        is_prefix(prefix) && rest.len() == LENGTH && rest.chars().all(|c| ALPHABET.contains(c))
    })
}

fn is_prefix(prefix: &str) -> bool {
    (1..=MAX_PREFIX).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_lowercase())
}
