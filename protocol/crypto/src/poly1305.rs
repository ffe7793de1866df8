//! Poly1305 (RFC 8439) in 64-bit arithmetic, and eight blocks at once where the processor can.
//!
//! The AVX2 implementation of the crate `poly1305` spends more than a microsecond on setting up and winding down: longer than
//! 64-bit arithmetic needs for a whole packet.
//!
//! Numbers modulo 2^130 - 5 are kept in limbs of 44, 44 and 42 bits. Nothing here branches or indexes by secret data.

pub(crate) const BLOCK_BYTES: usize = 16;

#[cfg(target_arch = "x86_64")]
mod ifma;

const LIMB: u64 = (1 << 44) - 1;
const TOP_LIMB: u64 = (1 << 42) - 1;

pub(crate) struct Poly1305 {
    multiplier: [u64; 3],
    accumulator: [u64; 3],
    addend: [u64; 2],
}

/// A multiplier's upper limbs times 20: what they contribute where a product exceeds 2^130 and wraps around to 5 times the
/// excess; the limbs have 132 bits, hence 4 times more.
#[inline(always)]
fn wrapped(multiplier: &[u64; 3]) -> [u64; 2] {
    [multiplier[1] * 20, multiplier[2] * 20]
}

/// The product of a number whose limbs may have a bit or two too many, and a multiplier.
#[inline(always)]
fn multiply(number: [u64; 3], multiplier: &[u64; 3], wrapped: [u64; 2]) -> [u64; 3] {
    let [r0, r1, r2] = multiplier.map(u128::from);
    let [s1, s2] = wrapped.map(u128::from);
    let [h0, h1, h2] = number.map(u128::from);
    let d0 = h0 * r0 + h1 * s2 + h2 * s1;
    let d1 = h0 * r1 + h1 * r0 + h2 * s2 + (d0 >> 44);
    let d2 = h0 * r2 + h1 * r1 + h2 * r0 + (d1 >> 44);
    let low = (d0 as u64 & LIMB) + (d2 >> 42) as u64 * 5;
    [low & LIMB, (d1 as u64 & LIMB) + (low >> 44), d2 as u64 & TOP_LIMB]
}

fn words(bytes: &[u8; BLOCK_BYTES]) -> [u64; 2] {
    let number = u128::from_le_bytes(*bytes);
    [number as u64, (number >> 64) as u64]
}

fn limbs([low, high]: [u64; 2]) -> [u64; 3] {
    [low & LIMB, (low >> 44 | high << 20) & LIMB, high >> 24]
}

impl Poly1305 {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let (multiplier, addend) = key.split_at(BLOCK_BYTES);
        let half = |bytes: &[u8]| words(bytes.first_chunk().expect("half a key has 16 bytes"));
        let [low, high] = half(multiplier);
        let multiplier = limbs([low & 0x0fff_fffc_0fff_ffff, high & 0x0fff_fffc_0fff_fffc]);
        Self { multiplier, accumulator: [0; 3], addend: half(addend) }
    }

    /// Takes blocks of 16 bytes; what is left over at the end is not taken.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        let bytes = ifma::update(self, bytes);
        let wrapped = wrapped(&self.multiplier);
        for block in bytes.as_chunks().0 {
            self.block(words(block), 1 << 40, wrapped);
        }
    }

    /// Whether this processor does much input faster here than in the crate `poly1305`.
    pub(crate) fn is_wide() -> bool {
        #[cfg(target_arch = "x86_64")]
        return ifma::is_there();
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// Takes the last bytes, of any number.
    pub(crate) fn finish(mut self, bytes: &[u8]) -> [u8; BLOCK_BYTES] {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        self.update(blocks.as_flattened());
        if !rest.is_empty() {
            let mut last = [0; BLOCK_BYTES];
            last[..rest.len()].copy_from_slice(rest);
            last[rest.len()] = 1;
            self.block(words(&last), 0, wrapped(&self.multiplier));
        }
        self.tag()
    }

    /// Adds a block, with the bit behind it as `end`, and multiplies.
    #[inline(always)]
    fn block(&mut self, words: [u64; 2], end: u64, wrapped: [u64; 2]) {
        let [b0, b1, b2] = limbs(words);
        let [a0, a1, a2] = self.accumulator;
        self.accumulator = multiply([a0 + b0, a1 + b1, a2 + (b2 | end)], &self.multiplier, wrapped);
    }

    fn tag(self) -> [u8; BLOCK_BYTES] {
        // Carry until every limb is in its range.
        let [mut h0, mut h1, mut h2] = self.accumulator;
        for _ in 0..2 {
            h2 += h1 >> 44;
            h1 &= LIMB;
            h0 += (h2 >> 42) * 5;
            h2 &= TOP_LIMB;
            h1 += h0 >> 44;
            h0 &= LIMB;
        }
        h2 += h1 >> 44;
        h1 &= LIMB;

        // If adding 5 reaches 2^130, the number was not below 2^130 - 5: take the sum, without that bit.
        let g0 = h0 + 5;
        let g1 = h1 + (g0 >> 44);
        let g2 = h2 + (g1 >> 44);
        let reduced = 0u64.wrapping_sub(g2 >> 42);
        let pick = |number: u64, sum: u64| (number & !reduced) | (sum & reduced);
        let [h0, h1, h2] = [pick(h0, g0 & LIMB), pick(h1, g1 & LIMB), pick(h2, g2 & TOP_LIMB)].map(u128::from);

        let [low, high] = self.addend.map(u128::from);
        let number = h0 | h1 << 44 | h2 << 88;
        number.wrapping_add(low | high << 64).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use ::poly1305::universal_hash::KeyInit;
    use proptest::prelude::*;

    use super::Poly1305;

    fn check(key: [u8; 32], bytes: &[u8]) {
        let expected: [u8; 16] = ::poly1305::Poly1305::new(&key.into()).compute_unpadded(bytes).into();
        let whole = bytes.len() / 16 * 16;
        let mut mac = Poly1305::new(&key);
        mac.update(&bytes[..whole / 32 * 16]);
        assert_eq!(mac.finish(&bytes[whole / 32 * 16..]), expected);
    }

    #[test]
    fn agrees_with_the_crate_at_the_edges_of_the_modulus() {
        // Multipliers of few bits and blocks near 2^128 drive the accumulator to and around 2^130 - 5.
        for multiplier in [0u128, 1, 2, 4, 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff] {
            for addend in [0, u128::MAX] {
                let key = [multiplier.to_le_bytes(), addend.to_le_bytes()].concat().try_into().expect("32 bytes");
                for low in (0..=8).chain([0xf0, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff]) {
                    for count in [0, 1, 2, 3, 4, 5, 31, 32, 33, 64, 100, 257] {
                        let mut bytes = vec![0xff; 16 * count];
                        bytes.iter_mut().step_by(16).for_each(|byte| *byte = low);
                        check(key, &bytes);
                        bytes.extend([0xff; 7]);
                        check(key, &bytes);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_crate(key: [u8; 32], bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            check(key, &bytes);
        }
    }
}
