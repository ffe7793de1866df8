use blake2b_simd::many::{HashManyJob, hash_many, update_many};
use blake2b_simd::{Params, State};

/// Inputs up to this many bytes are copied to be hashed side by side: the last part of a hash is made alone otherwise.
const MAX_COPIED: usize = 1024;

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

/// BLAKE2b-256 of each `prefix ‖ body`. Several are made side by side where the processor can.
///
/// ```
/// let hashes = crypto::hash_each(&[("hello ", "world"), ("", "hello")]);
/// assert_eq!(hashes, [crypto::hash(&[b"hello world"]), crypto::hash(&[b"hello"])]);
/// ```
pub fn hash_each<P: AsRef<[u8]>, B: AsRef<[u8]>>(inputs: &[(P, B)]) -> Vec<[u8; 32]> {
    let mut params = Params::new();
    params.hash_length(32);
    let digest = |hash: blake2b_simd::Hash| {
        let mut out = [0; 32];
        out.copy_from_slice(hash.as_bytes());
        out
    };
    if inputs.iter().all(|(_, body)| body.as_ref().len() <= MAX_COPIED) {
        let mut bytes = Vec::with_capacity(inputs.iter().map(|(a, b)| a.as_ref().len() + b.as_ref().len()).sum());
        let mut ends = Vec::with_capacity(inputs.len());
        for (prefix, body) in inputs {
            bytes.extend_from_slice(prefix.as_ref());
            bytes.extend_from_slice(body.as_ref());
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let input = |(start, end): (usize, &usize)| HashManyJob::new(&params, &bytes[start..*end]);
        let mut jobs: Vec<_> = starts.zip(&ends).map(input).collect();
        hash_many(&mut jobs);
        return jobs.iter().map(|job| digest(job.to_hash())).collect();
    }
    let begin = |(prefix, _): &(P, B)| {
        let mut state = params.to_state();
        state.update(prefix.as_ref());
        state
    };
    let mut states: Vec<State> = inputs.iter().map(begin).collect();
    update_many(states.iter_mut().zip(inputs.iter().map(|(_, body)| body)));
    states.iter().map(|state| digest(state.finalize())).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_side_by_side_are_those_made_alone() {
        let bytes: Vec<u8> = (0..5000_u32).map(|at| ((at * 31) >> 3) as u8).collect();
        let lengths = [0, 1, 100, 109, 118, 119, 120, 127, 128, 129, 1023, 1024, 1025, 4096, 5000];
        for count in 0..lengths.len() {
            for longest in [1024, 5000] {
                let of = |at: usize| &bytes[..lengths[at].min(longest)];
                let inputs: Vec<([u8; 9], &[u8])> = (0..count).map(|at| ([at as u8; 9], of(at))).collect();
                let alone: Vec<_> = inputs.iter().map(|(prefix, body)| hash(&[prefix, body])).collect();
                assert_eq!(hash_each(&inputs), alone, "{count} of {longest} bytes at most");
            }
        }
    }
}
