/// Why bytes are not the encoding of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("out of bounds: {needed} bytes needed, {left} left")]
    OutOfBounds {
        /// How many bytes the value still needs.
        needed: u64,
        /// How many bytes are left.
        left: usize,
    },
    /// An integer that JavaScript cannot hold exactly, so that peers would disagree about it.
    #[error("integer {0} is beyond 2^53 - 1")]
    UnsafeInteger(u64),
    /// A list claims more items than [`MAX_ARRAY_LENGTH`](crate::MAX_ARRAY_LENGTH).
    #[error("array of {0} items is too big")]
    ArrayTooBig(u64),
    /// Bytes that no encoder writes here; the text says what is wrong. Message formats built on this crate use it too.
    #[error("invalid value: {0}")]
    Invalid(&'static str),
}
