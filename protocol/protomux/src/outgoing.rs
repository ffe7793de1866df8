//! What waits to be written: messages and control messages back to back in one buffer, and the batch of a cork.

use crate::Error;
use crate::core::{BATCH, MAX_BATCH, MAX_MESSAGE};

/// Appends `value` in the compact form of 1, 3, 5 or 9 bytes.
pub(crate) fn put_uint(buffer: &mut Vec<u8>, value: u64) {
    let (prefix, len) = match value {
        0..=0xfc => return buffer.push(value as u8),
        0xfd..=0xffff => (0xfd, 2),
        0x1_0000..=0xffff_ffff => (0xfe, 4),
        _ => (0xff, 8),
    };
    buffer.push(prefix);
    buffer.extend_from_slice(&value.to_le_bytes()[..len]);
}

pub(crate) fn uint_len(value: u64) -> usize {
    match value {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// One frame's worth: the sender's channel, 0 for control, and the length of `type ‖ body`.
#[derive(Debug, Clone, Copy)]
struct Entry {
    channel: u32,
    len: u32,
}

/// A queue of `type ‖ body`, each for one channel, in one allocation. Filled by the core, emptied by whoever writes frames.
#[derive(Debug, Default)]
pub struct Outgoing {
    data: Vec<u8>,
    entries: Vec<Entry>,
    /// How far it was taken.
    taken_entries: usize,
    taken_bytes: usize,
}

/// Above this, an emptied queue gives its memory back, in bytes.
const MAX_SPARE: usize = 256 * 1024;

/// As [`MAX_SPARE`], of a batch, which is not given back when the connection is idle.
const MAX_SPARE_BATCH: usize = 64 * 1024;

impl Outgoing {
    /// Bytes that wait, ids and lengths not counted.
    pub fn len(&self) -> usize {
        self.data.len() - self.taken_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.taken_entries == self.entries.len()
    }

    /// Appends `type ‖ body`.
    pub(crate) fn push(&mut self, channel: u32, kind: u64, body: &[u8]) {
        put_uint(&mut self.data, kind);
        self.data.extend_from_slice(body);
        let len = (uint_len(kind) + body.len()) as u32;
        self.entries.push(Entry { channel, len });
    }

    /// Takes the next frame: the id that goes before it, and `type ‖ body`.
    pub fn next_frame(&mut self) -> Option<(u64, &[u8])> {
        let entry = self.entries.get(self.taken_entries)?;
        let start = self.taken_bytes;
        self.taken_entries += 1;
        self.taken_bytes += entry.len as usize;
        Some((entry.channel.into(), &self.data[start..self.taken_bytes]))
    }

    /// Takes as many messages as fit into a batch frame of `limit` bytes and appends that frame to `frame`. Takes nothing and
    /// returns `false` when there are less than two.
    pub(crate) fn pack(&mut self, limit: usize, frame: &mut Vec<u8>) -> bool {
        let (mut count, mut size) = (0, 0);
        for entry in &self.entries[self.taken_entries..] {
            size += entry.len as usize;
            // Control messages go alone, and a batch of a cork is one already.
            if entry.channel == 0 || size > limit {
                break;
            }
            count += 1;
        }
        if count < 2 {
            return false;
        }
        put_uint(frame, 0);
        put_uint(frame, BATCH);
        let mut channel = None;
        for entry in &self.entries[self.taken_entries..self.taken_entries + count] {
            if channel != Some(entry.channel) {
                if channel.is_some() {
                    frame.push(0);
                }
                put_uint(frame, entry.channel.into());
                channel = Some(entry.channel);
            }
            let end = self.taken_bytes + entry.len as usize;
            put_uint(frame, entry.len.into());
            frame.extend_from_slice(&self.data[self.taken_bytes..end]);
            self.taken_bytes = end;
        }
        self.taken_entries += count;
        true
    }

    /// Forgets what was taken, once all was.
    pub(crate) fn recycle(&mut self) {
        if !self.is_empty() {
            return;
        }
        if self.data.capacity() > MAX_SPARE {
            *self = Self::default();
        } else {
            self.data.clear();
            self.entries.clear();
            self.taken_entries = 0;
            self.taken_bytes = 0;
        }
    }
}

/// The messages of one cork, encoded as the body of a batch frame.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    body: Vec<u8>,
    channel: Option<u32>,
}

/// The control id and the type of a batch, before its body.
const BATCH_HEADER: usize = 2;

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.channel.is_none()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the batch has to be sent before `type ‖ body` of `len` bytes is added.
    pub(crate) fn must_flush(&self, len: usize) -> bool {
        let size = BATCH_HEADER + self.body.len();
        // The second is ours: JavaScript would fail the stream with a frame that is too large.
        !self.is_empty() && (size >= MAX_BATCH || size + len + 16 > MAX_MESSAGE)
    }

    pub(crate) fn push(&mut self, channel: u32, kind: u64, body: &[u8]) {
        if self.channel != Some(channel) {
            if self.channel.is_some() {
                self.body.push(0);
            }
            put_uint(&mut self.body, channel.into());
            self.channel = Some(channel);
        }
        put_uint(&mut self.body, (uint_len(kind) + body.len()) as u64);
        put_uint(&mut self.body, kind);
        self.body.extend_from_slice(body);
    }

    pub(crate) fn clear(&mut self) {
        self.channel = None;
        if self.body.capacity() > MAX_SPARE_BATCH { self.body = Vec::new() } else { self.body.clear() }
    }
}

/// Checks that a message fits into a frame, with the longest possible ids before it.
pub(crate) fn check_size(body: &[u8]) -> Result<(), Error> {
    if body.len() > MAX_MESSAGE { Err(Error::MessageTooLarge(body.len())) } else { Ok(()) }
}
