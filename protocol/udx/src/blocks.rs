//! Large buffers, used again.
//!
//! Bulk data passes through blocks of 32 KiB and more that live for a millisecond. Given back to the allocator, most of them go
//! back to the system at once and are mapped, cleared and faulted in again for the next block, which costs a tenth of what sealing
//! their content does. Here each thread keeps a second handle to the blocks that it gave out, and gives them out again once
//! everybody else has dropped theirs.
//!
//! ```
//! let mut block = udx::blocks::take(100_000);
//! let at = block.as_ptr();
//! block.extend_from_slice(b"some bytes");
//! drop(block.freeze());
//! assert_eq!(udx::blocks::take(100_000).as_ptr(), at);
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;

/// What is smaller comes from the allocator, which does it as well.
const SMALLEST: usize = 32 << 10;
/// Capacities are [`SMALLEST`] times a power of two, and this: room for what frames a round number of bytes.
const EXTRA: usize = 1 << 10;
/// Kinds of blocks, each twice as large as the one before: up to 256 KiB.
const CLASSES: usize = 4;
/// Bytes that a thread keeps in each class at most: what one fast stream has on its way and waiting to leave.
const KEPT: usize = 5 << 20;
/// A class that nothing is taken from for so long is given back to the system by the next that takes anything.
const REST: Duration = Duration::from_secs(5);

/// Blocks of one size that were given out, the oldest first.
#[derive(Default)]
struct Class {
    given: VecDeque<BytesMut>,
    taken_at: Option<Instant>,
}

thread_local! {
    static CLASSES_OF_THREAD: RefCell<[Class; CLASSES]> = RefCell::default();
}

/// An empty buffer for at least `capacity` bytes.
#[must_use]
pub fn take(capacity: usize) -> BytesMut {
    take_at(capacity, Instant::now())
}

fn take_at(capacity: usize, now: Instant) -> BytesMut {
    let fits = |class: &usize| capacity <= (SMALLEST << class) + EXTRA;
    let class = (0..CLASSES).find(fits).filter(|_| capacity >= SMALLEST);
    CLASSES_OF_THREAD.with_borrow_mut(|classes| {
        for class in classes.iter_mut() {
            if class.taken_at.is_some_and(|at| now.saturating_duration_since(at) > REST) {
                *class = Class::default();
            }
        }
        let Some(class) = class else { return BytesMut::with_capacity(capacity) };
        let size = (SMALLEST << class) + EXTRA;
        let Class { given, taken_at } = &mut classes[class];
        *taken_at = Some(now);
        // Streams give blocks back in the order in which they took them, so the oldest is free first. Those that somebody is slow
        // with are looked past, or they would stand before the free ones until a thread keeps all that it may.
        let mut reused = None;
        for _ in 0..given.len() {
            let mut oldest = given.pop_front().expect("there are as many");
            if oldest.try_reclaim(size + 1) {
                reused = Some(oldest);
                break;
            }
            given.push_back(oldest);
        }
        let mut block = reused.unwrap_or_else(|| BytesMut::with_capacity(size + 1));
        // The handle that stays is the last byte.
        given.push_back(block.split_off(size));
        if given.len() > KEPT / size {
            given.pop_front();
        }
        block
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> usize {
        CLASSES_OF_THREAD.with_borrow(|classes| classes.iter().map(|class| class.given.len()).sum())
    }

    #[test]
    fn a_block_in_use_is_not_given_out_again() {
        let mut first = take(SMALLEST);
        first.extend_from_slice(b"first");
        let part = first.split_to(2);
        drop(first);
        let mut second = take(SMALLEST);
        second.extend_from_slice(b"other");
        assert_eq!(&part[..], b"fi");
        assert_ne!(part.as_ptr(), second.as_ptr());
    }

    #[test]
    fn a_thread_keeps_little() {
        let blocks: Vec<BytesMut> = (0..1000).map(|_| take(256 << 10)).collect();
        assert!(blocks.iter().all(|block| block.capacity() >= 256 << 10));
        drop(blocks);
        let kept = kept();
        assert!((1..=KEPT / (256 << 10)).contains(&kept), "{kept}");
    }

    #[test]
    fn blocks_that_somebody_is_slow_with_do_not_make_others_new() {
        let held: Vec<BytesMut> = (0..5).map(|_| take(SMALLEST)).collect();
        for _ in 0..100 {
            drop(take(SMALLEST));
        }
        assert_eq!(kept(), held.len() + 1);
    }

    #[test]
    fn a_thread_that_rests_keeps_nothing() {
        let start = Instant::now();
        drop(take_at(SMALLEST, start));
        drop(take_at(1, start + REST));
        assert_eq!(kept(), 1);
        drop(take_at(1, start + REST + Duration::from_millis(1)));
        assert_eq!(kept(), 0);
    }
}
