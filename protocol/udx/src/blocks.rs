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

use bytes::BytesMut;

/// What is smaller comes from the allocator, which does it as well.
const SMALLEST: usize = 32 << 10;
/// Capacities are [`SMALLEST`] times a power of two, and this: room for what frames a round number of bytes.
const EXTRA: usize = 1 << 10;
/// Kinds of blocks, each twice as large as the one before: up to 256 KiB.
const CLASSES: usize = 4;
/// Bytes that a thread keeps in each class at most: half of what one fast stream has on its way, the window of the receiver.
const KEPT: usize = 2 << 20;

thread_local! {
    static GIVEN: RefCell<[VecDeque<BytesMut>; CLASSES]> = RefCell::default();
}

/// An empty buffer for at least `capacity` bytes.
#[must_use]
pub fn take(capacity: usize) -> BytesMut {
    let fits = |class: &usize| capacity <= (SMALLEST << class) + EXTRA;
    let Some(class) = (0..CLASSES).find(fits).filter(|_| capacity >= SMALLEST) else {
        return BytesMut::with_capacity(capacity);
    };
    let size = (SMALLEST << class) + EXTRA;
    GIVEN.with_borrow_mut(|given| {
        let given = &mut given[class];
        // Streams give blocks back in the order in which they took them. One that somebody is slow with goes at last.
        let free = given.front_mut().is_some_and(|oldest| oldest.try_reclaim(size + 1));
        let reused = if free { given.pop_front() } else { None };
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
        let kept: usize = GIVEN.with_borrow(|given| given.iter().map(VecDeque::len).sum());
        assert!(kept <= KEPT / (256 << 10), "{kept}");
    }
}
