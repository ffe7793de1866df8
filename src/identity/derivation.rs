//! From a seed to a private key: SLIP-0010 for Ed25519, where every step is hardened.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use zeroize::Zeroizing;

use super::IdentityError;

/// The path of the keys on the main network.
pub const DEFAULT_PATH: &str = "m/918'/0'/0'/0'";

/// The key of the first step ([SLIP-0010](https://slips.readthedocs.io/en/latest/slip-0010/)).
const CURVE: &[u8] = b"ed25519 seed";

const HARDENED: u32 = 1 << 31;

/// The private key at `path` below the seed, and the path without spaces. The bytes of the address `prefix` are steps before the
/// path, so that each network has keys of its own.
pub(super) fn derive(
    seed: &[u8; 64],
    prefix: &str,
    path: &str,
) -> Result<(Zeroizing<[u8; 32]>, String), IdentityError> {
    let path: String = path.chars().filter(|c| !encoding::json::is_space(*c)).collect();
    let steps = steps(&path).ok_or(IdentityError::DerivationPath)?;
    let mut node = Node::of(CURVE, &[seed]);
    for index in prefix.bytes().map(u32::from).chain(steps) {
        node = Node::of(&*node.chain_code, &[&[0], &*node.private_key, &(HARDENED | index).to_be_bytes()]);
    }
    Ok((node.private_key, path))
}

/// The steps of a path such as `m/918'/0'`.
fn steps(path: &str) -> Option<Vec<u32>> {
    path.strip_prefix("m/")?
        .split('/')
        .map(|step| {
            let digits = step.strip_suffix('\'').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
            digits.parse().ok().filter(|index| *index < HARDENED)
        })
        .collect()
}

struct Node {
    private_key: Zeroizing<[u8; 32]>,
    chain_code: Zeroizing<[u8; 32]>,
}

impl Node {
    fn of(key: &[u8], parts: &[&[u8]]) -> Self {
        let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part));
        let both: Zeroizing<[u8; 64]> = Zeroizing::new(mac.finalize().into_bytes().into());
        let mut node = Self { private_key: Zeroizing::default(), chain_code: Zeroizing::default() };
        node.private_key.copy_from_slice(&both[..32]);
        node.chain_code.copy_from_slice(&both[32..]);
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first test vector of SLIP-0010 for Ed25519, whose seed has 16 bytes.
    #[test]
    fn slip10_test_vector() {
        let seed = testing::unhex("000102030405060708090a0b0c0d0e0f");
        let mut node = Node::of(CURVE, &[&seed]);
        assert_eq!(
            testing::hex(&*node.private_key),
            "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7"
        );
        for (index, private_key) in [
            (0u32, "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3"),
            (1, "b1d0bad404bf35da785a64ca1ac54b2617211d2777696fbffaf208f746ae84f2"),
        ] {
            node = Node::of(&*node.chain_code, &[&[0], &*node.private_key, &(HARDENED | index).to_be_bytes()]);
            assert_eq!(testing::hex(&*node.private_key), private_key);
        }
    }

    #[test]
    fn paths_are_hardened_steps_below_m() {
        assert_eq!(steps("m/918'/0'"), Some(vec![918, 0]));
        assert_eq!(steps("m/2147483647'"), Some(vec![0x7fff_ffff]));
        for wrong in
            ["", "m", "m/", "918'", "m/0", "m/0'/", "m//0'", "m/-1'", "m/+1'", "m/2147483648'", "m/99999999999'", "m/'"]
        {
            assert_eq!(steps(wrong), None, "{wrong}");
        }
    }
}
