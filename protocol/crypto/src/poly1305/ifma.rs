//! Sixteen blocks a step with AVX-512 IFMA: multiply-add of 52-bit numbers in eight lanes.
//!
//! Two accumulators of eight lanes take eight blocks each and are multiplied by the 16th power of the multiplier. At the end each
//! lane is multiplied by the power that its place in the input asks for, and all are added. Limbs are those of the 64-bit
//! arithmetic; the two halves of a product, below and from bit 52 on, are added up apart.

use archmage::prelude::*;

use super::{LIMB, Poly1305, TOP_LIMB, multiply as multiply_one, wrapped};

/// What a step takes: sixteen blocks.
const STEP: usize = 256;
/// From how many bytes on the powers are worth computing.
const WORTH: usize = 768;

/// In which order the lanes hold eight blocks: that of `unpacklo` and `unpackhi`.
const ORDER: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

pub(super) fn is_there() -> bool {
    X64V4xToken::summon().is_some()
}

/// Takes as many whole steps as there are, if the processor can and it is worth it. What is left to do is returned.
pub(super) fn update<'a>(poly: &mut Poly1305, bytes: &'a [u8]) -> &'a [u8] {
    if bytes.len() < WORTH {
        return bytes;
    }
    let Some(token) = X64V4xToken::summon() else { return bytes };
    let (steps, rest) = bytes.as_chunks::<STEP>();
    let mut powers = [poly.multiplier; 16];
    for n in 1..16 {
        // Each from powers of half its size, so that few wait for each other.
        let (a, b) = (n / 2, n - n / 2 - 1);
        powers[n] = multiply_one(powers[a], &powers[b], wrapped(&powers[b]));
    }
    poly.accumulator = take_steps(token, &powers, poly.accumulator, steps);
    rest
}

type Limbs = [__m512i; 3];

#[arcane(import_intrinsics)]
fn take_steps(_token: X64V4xToken, powers: &[[u64; 3]; 16], before: [u64; 3], steps: &[[u8; STEP]]) -> [u64; 3] {
    let Some((first, more)) = steps.split_first() else { return before };
    let same = |limb: usize| _mm512_set1_epi64(powers[15][limb] as i64);
    let r = [same(0), same(1), same(2)];
    let s = [times_20(r[1]), times_20(r[2])];

    let [mut a, mut b] = load(first);
    for (limb, before) in a.iter_mut().zip(before) {
        // The first block is in the first lane.
        *limb = _mm512_add_epi64(*limb, _mm512_zextsi128_si512(_mm_cvtsi64_si128(before as i64)));
    }
    for step in more {
        let [next_a, next_b] = load(step);
        a = add(multiply(a, r, s), next_a);
        b = add(multiply(b, r, s), next_b);
    }

    // Block n of the last sixteen is multiplied 16 - n times from here to the end of the input.
    let own = |half: usize| -> Limbs {
        [0, 1, 2].map(|limb| {
            let lanes = ORDER.map(|block| powers[15 - 8 * half - block][limb]);
            _mm512_loadu_si512(&lanes)
        })
    };
    let (ra, rb) = (own(0), own(1));
    let a = multiply(a, ra, [times_20(ra[1]), times_20(ra[2])]);
    let b = multiply(b, rb, [times_20(rb[1]), times_20(rb[2])]);
    let [h0, h1, h2] = add(a, b).map(|limb| _mm512_reduce_add_epi64(limb) as u64);

    let h1 = h1 + (h0 >> 44);
    let h2 = h2 + (h1 >> 44);
    let h0 = (h0 & LIMB) + (h2 >> 42) * 5;
    [h0 & LIMB, (h1 & LIMB) + (h0 >> 44), h2 & TOP_LIMB]
}

/// The limbs of sixteen blocks, with the bit behind each.
#[rite(v4x, import_intrinsics)]
fn load(step: &[u8; STEP]) -> [Limbs; 2] {
    let quarters = step.as_chunks::<64>().0;
    let limb = _mm512_set1_epi64(LIMB as i64);
    let bit = _mm512_set1_epi64(1 << 40);
    [0, 2].map(|at| {
        let (front, back) = (_mm512_loadu_si512(&quarters[at]), _mm512_loadu_si512(&quarters[at + 1]));
        let low = _mm512_unpacklo_epi64(front, back);
        let high = _mm512_unpackhi_epi64(front, back);
        let middle = _mm512_or_si512(_mm512_srli_epi64::<44>(low), _mm512_slli_epi64::<20>(high));
        [
            _mm512_and_si512(low, limb),
            _mm512_and_si512(middle, limb),
            _mm512_or_si512(_mm512_srli_epi64::<24>(high), bit),
        ]
    })
}

#[rite(v4x, import_intrinsics)]
fn add(a: Limbs, b: Limbs) -> Limbs {
    [_mm512_add_epi64(a[0], b[0]), _mm512_add_epi64(a[1], b[1]), _mm512_add_epi64(a[2], b[2])]
}

#[rite(v4x, import_intrinsics)]
fn times_20(limb: __m512i) -> __m512i {
    _mm512_add_epi64(_mm512_slli_epi64::<4>(limb), _mm512_slli_epi64::<2>(limb))
}

/// The products of eight numbers and eight multipliers. Factors have at most 48 bits, and the sums below stay under 64.
#[rite(v4x, import_intrinsics)]
fn multiply([h0, h1, h2]: Limbs, [r0, r1, r2]: Limbs, [s1, s2]: [__m512i; 2]) -> Limbs {
    let zero = _mm512_setzero_si512();
    let low = |a, b, sum| _mm512_madd52lo_epu64(sum, a, b);
    let high = |a, b, sum| _mm512_madd52hi_epu64(sum, a, b);
    let d0 = low(h2, s1, low(h1, s2, low(h0, r0, zero)));
    let e0 = high(h2, s1, high(h1, s2, high(h0, r0, zero)));
    let d1 = low(h2, s2, low(h1, r0, low(h0, r1, zero)));
    let e1 = high(h2, s2, high(h1, r0, high(h0, r1, zero)));
    let d2 = low(h2, r0, low(h1, r1, low(h0, r2, zero)));
    let e2 = high(h2, r0, high(h1, r1, high(h0, r2, zero)));

    let limb = _mm512_set1_epi64(LIMB as i64);
    let top = _mm512_set1_epi64(TOP_LIMB as i64);
    let c0 = _mm512_add_epi64(_mm512_srli_epi64::<44>(d0), _mm512_slli_epi64::<8>(e0));
    let d1 = _mm512_add_epi64(d1, c0);
    let c1 = _mm512_add_epi64(_mm512_srli_epi64::<44>(d1), _mm512_slli_epi64::<8>(e1));
    let d2 = _mm512_add_epi64(d2, c1);
    let c2 = _mm512_add_epi64(_mm512_srli_epi64::<42>(d2), _mm512_slli_epi64::<10>(e2));
    let five = _mm512_add_epi64(c2, _mm512_slli_epi64::<2>(c2));
    let l0 = _mm512_add_epi64(_mm512_and_si512(d0, limb), five);
    let l1 = _mm512_add_epi64(_mm512_and_si512(d1, limb), _mm512_srli_epi64::<44>(l0));
    [_mm512_and_si512(l0, limb), l1, _mm512_and_si512(d2, top)]
}
