use blake2b_simd::{Params, State};

fn finish<const N: usize>(mut state: State, parts: &[&[u8]]) -> [u8; N] {
    for part in parts {
        state.update(part);
    }
    let mut out = [0; N];
    out.copy_from_slice(state.finalize().as_bytes());
    out
}

/// BLAKE2b-256 of the concatenated `parts` (`crypto_generichash`).
///
/// ```
/// assert_eq!(crypto::hash(&[b"hello ", b"world"]), crypto::hash(&[b"hello world"]));
/// ```
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    finish(Params::new().hash_length(32).to_state(), parts)
}

/// BLAKE2b-256 of the concatenated `parts` under `key` (`crypto_generichash` with a key).
///
/// # Panics
/// When `key` is longer than 64 bytes.
pub fn hash_keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    finish(Params::new().hash_length(32).key(key).to_state(), parts)
}

/// BLAKE2b-512 of the concatenated `parts`.
pub fn hash512(parts: &[&[u8]]) -> [u8; 64] {
    finish(Params::new().hash_length(64).to_state(), parts)
}

/// The `index`th constant of the module `name`, which keeps what is signed or hashed for one purpose from meaning anything
/// for another (`hypercore-crypto`, `namespace`): the hash of the hash of the name and the index.
pub fn namespace(name: &str, index: u8) -> [u8; 32] {
    hash(&[&hash(&[name.as_bytes()]), &[index]])
}

/// What peers name a core by while they look for it, without giving away its key (`hypercore-crypto`, `discoveryKey`).
pub fn discovery_key(public_key: &[u8; 32]) -> [u8; 32] {
    hash_keyed(public_key, &[b"hypercore"])
}
