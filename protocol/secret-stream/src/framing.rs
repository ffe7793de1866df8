//! Frames: a 24-bit little-endian length, then that many bytes.
//!
//! ```
//! use bytes::BytesMut;
//! use secret_stream::framing::FrameReader;
//!
//! let mut reader = FrameReader::new(1024);
//! reader.push(BytesMut::from(&b"\x02\x00\x00hi\x01\x00"[..]));
//! assert_eq!(reader.next_frame()?.as_deref(), Some(&b"hi"[..]));
//! assert_eq!(reader.next_frame()?, None);
//! reader.push(BytesMut::from(&b"\x00!"[..]));
//! assert_eq!(reader.next_frame()?.as_deref(), Some(&b"!"[..]));
//! # Ok::<(), secret_stream::Error>(())
//! ```

use bytes::{Buf, BytesMut};

use crate::Error;

/// Bytes of the length before each frame.
pub const LENGTH_BYTES: usize = 3;

/// The longest frame that the length can announce, in bytes, the length itself not counted.
pub const MAX_FRAME: usize = (1 << 24) - 1;

/// What is reserved at least when a frame does not fit into the chunk that it began in, in bytes. A beginning of at least so many
/// bytes stays where it is: the next chunk often lies right behind it.
const MIN_RESERVE: usize = 4096;

/// The length prefix of a frame of `len` bytes. Only the low 24 bits of `len` count.
pub fn encode_length(len: usize) -> [u8; LENGTH_BYTES] {
    [len as u8, (len >> 8) as u8, (len >> 16) as u8]
}

fn decode_length(bytes: &[u8]) -> Option<usize> {
    let prefix: [u8; LENGTH_BYTES] = bytes.get(..LENGTH_BYTES)?.try_into().ok()?;
    Some(u32::from_le_bytes([prefix[0], prefix[1], prefix[2], 0]) as usize)
}

/// Cuts a byte stream into frames.
///
/// Frames that lie whole within a chunk are handed out as slices of that chunk, without a copy. A frame that spans chunks is
/// gathered in a buffer that grows with what has arrived (at most to twice of it, and 4 KiB at least), never with what the peer
/// only announced. Chunks that follow each other in memory are joined without a copy.
#[derive(Debug)]
pub struct FrameReader {
    /// What is left of the chunk pushed last.
    chunk: BytesMut,
    /// The beginning of a frame whose end has not arrived, with its length prefix. Empty between frames.
    partial: BytesMut,
    max_frame: usize,
}

impl FrameReader {
    /// A reader that refuses frames of more than `max_frame` bytes.
    pub fn new(max_frame: usize) -> Self {
        Self { chunk: BytesMut::new(), partial: BytesMut::new(), max_frame }
    }

    /// Changes the longest frame accepted from here on, in bytes.
    pub fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// Appends what the transport delivered. Take all frames out before the next chunk, or the two are joined by a copy.
    pub fn push(&mut self, chunk: BytesMut) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk.extend_from_slice(&chunk);
        }
    }

    /// Whether the bytes so far end within a frame.
    pub fn is_mid_frame(&self) -> bool {
        !self.partial.is_empty() || !self.chunk.is_empty()
    }

    /// Bytes held in memory for a frame whose end has not arrived.
    pub fn reserved(&self) -> usize {
        self.partial.capacity()
    }

    /// The next whole frame without its length prefix, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Error::FrameTooLarge`] as soon as such a length has arrived.
    pub fn next_frame(&mut self) -> Result<Option<BytesMut>, Error> {
        if self.partial.is_empty() {
            let Some(len) = self.checked_length(&self.chunk)? else {
                if !self.chunk.is_empty() {
                    self.set_aside(LENGTH_BYTES);
                }
                return Ok(None);
            };
            let whole = LENGTH_BYTES + len;
            if self.chunk.len() < whole {
                self.set_aside(whole);
                return Ok(None);
            }
            let mut frame = if self.chunk.len() == whole {
                // Also lets go of the chunk's memory.
                std::mem::take(&mut self.chunk)
            } else {
                self.chunk.split_to(whole)
            };
            frame.advance(LENGTH_BYTES);
            return Ok(Some(frame));
        }

        if self.partial.len() < LENGTH_BYTES {
            self.gather(LENGTH_BYTES);
        }
        let Some(len) = self.checked_length(&self.partial)? else { return Ok(None) };
        let whole = LENGTH_BYTES + len;
        self.gather(whole);
        if self.partial.len() < whole {
            return Ok(None);
        }
        let mut frame = std::mem::take(&mut self.partial);
        frame.advance(LENGTH_BYTES);
        Ok(Some(frame))
    }

    fn checked_length(&self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        match decode_length(bytes) {
            Some(len) if len > self.max_frame => Err(Error::FrameTooLarge { announced: len, limit: self.max_frame }),
            len => Ok(len),
        }
    }

    /// Moves the rest of the chunk, which is shorter than `whole`, to `partial`.
    fn set_aside(&mut self, whole: usize) {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.len() >= MIN_RESERVE {
            self.partial = chunk;
            return;
        }
        // Few bytes must not hold the memory of a large chunk.
        let room = whole.min(MIN_RESERVE.max(2 * chunk.len()));
        self.partial = BytesMut::with_capacity(room);
        self.partial.extend_from_slice(&chunk);
    }

    /// Fills `partial` from the chunk until it holds `whole` bytes or the chunk is used up.
    fn gather(&mut self, whole: usize) {
        let missing = whole.saturating_sub(self.partial.len());
        let taken = missing.min(self.chunk.len());
        if self.partial.as_ptr_range().end == self.chunk.as_ptr() {
            // Parts of one allocation: joined without a copy.
            self.partial.unsplit(self.chunk.split_to(taken));
            if self.chunk.is_empty() {
                self.chunk = BytesMut::new();
            }
            return;
        }
        let have = self.partial.len() + taken;
        if have > self.partial.capacity() {
            let room = whole.min(MIN_RESERVE.max(2 * have));
            self.partial.reserve(room.saturating_sub(self.partial.len()));
        }
        self.partial.extend_from_slice(&self.chunk[..taken]);
        if taken == self.chunk.len() {
            self.chunk = BytesMut::new();
        } else {
            self.chunk.advance(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_announced_length_costs_only_what_arrived() {
        let mut reader = FrameReader::new(MAX_FRAME);
        reader.push(BytesMut::from(&[0xff, 0xff, 0xff][..]));
        assert_eq!(reader.next_frame().unwrap(), None);
        for sent in 1..50_000usize {
            reader.push(BytesMut::from(&[7][..]));
            assert_eq!(reader.next_frame().unwrap(), None);
            assert!(reader.reserved() <= MIN_RESERVE.max(2 * (sent + 4)) + 64, "{} for {sent}", reader.reserved());
        }
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_at_its_length() {
        let mut reader = FrameReader::new(16);
        reader.push(BytesMut::from(&[17, 0, 0][..]));
        assert!(matches!(reader.next_frame(), Err(Error::FrameTooLarge { announced: 17, limit: 16 })));
    }

    #[test]
    fn chunks_of_one_allocation_are_joined_in_place() {
        let mut wire = BytesMut::from(&encode_length(20_000)[..]);
        wire.extend_from_slice(&[7; 20_000]);
        let place = wire[LENGTH_BYTES..].as_ptr();
        let first = wire.split_to(9000);
        let mut reader = FrameReader::new(MAX_FRAME);
        for chunk in [first, wire.split_to(6000), wire] {
            assert_eq!(reader.next_frame().unwrap(), None);
            reader.push(chunk);
        }
        let frame = reader.next_frame().unwrap().unwrap();
        assert_eq!((frame.as_ptr(), frame.len()), (place, 20_000));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9000), 0..12),
            cuts in proptest::collection::vec(1usize..5000, 1..40),
        ) {
            let mut wire = Vec::new();
            for frame in &frames {
                wire.extend_from_slice(&encode_length(frame.len()));
                wire.extend_from_slice(frame);
            }
            let mut reader = FrameReader::new(MAX_FRAME);
            let mut got = Vec::new();
            let mut rest = &wire[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                rest = tail;
                reader.push(BytesMut::from(chunk));
                while let Some(frame) = reader.next_frame().unwrap() {
                    got.push(frame.to_vec());
                }
            }
            prop_assert_eq!(got, frames);
            prop_assert!(!reader.is_mid_frame());
        }

        #[test]
        fn arbitrary_bytes_never_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..20)) {
            let mut reader = FrameReader::new(70_000);
            'all: for chunk in chunks {
                reader.push(BytesMut::from(&chunk[..]));
                loop {
                    match reader.next_frame() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
            }
        }
    }
}
