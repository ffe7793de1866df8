//! Frames to messages, one at a time, so that a batch can be left and taken up again.

use bytes::{Buf, Bytes};
use encoding::Decoder;

use crate::Error;
use crate::core::{Core, Event, Progress};

/// Batches may hold batches; nobody sends such, so this is enough. Deeper ones cost the peer its connection.
pub const MAX_BATCH_DEPTH: usize = 4;

/// The longest frame that the messages of a batch stay parts of, in bytes. From a longer one they are copied, so that none keeps
/// megabytes alive which nobody reads.
const MAX_SHARED_FRAME: usize = 64 * 1024;

/// A frame, and how far it is decoded.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    frame: Bytes,
    position: usize,
    /// The batches around the position, outermost first. None: the frame has not been begun.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    end: usize,
    /// The channel of the next items.
    channel: u64,
    /// What is sent while the batch is handled is held back, to be answered by a batch.
    corked: bool,
}

impl Cursor {
    pub(crate) fn start(&mut self, frame: Bytes) {
        self.frame = frame;
        self.position = 0;
        self.levels.clear();
    }

    pub(crate) fn is_done(&self) -> bool {
        self.frame.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.start(Bytes::new());
    }

    /// How many corks the batches hold; they do not hold them any more.
    pub(crate) fn release_corks(&mut self) -> usize {
        self.levels.iter_mut().map(|level| usize::from(std::mem::take(&mut level.corked))).sum()
    }

    fn decoder(&self, end: usize) -> Decoder<'_> {
        Decoder::new(&self.frame[self.position..end])
    }

    fn uint(&mut self, end: usize) -> Result<u64, Error> {
        let mut decoder = self.decoder(end);
        let value = decoder.uint()?;
        self.position = end - decoder.remaining();
        Ok(value)
    }
}

impl Core {
    /// Decodes the frame at hand until it ends or the sink stops it.
    pub(crate) fn decode(&mut self, sink: &mut impl FnMut(Event) -> bool) -> Result<Progress, Error> {
        if self.cursor.levels.is_empty() {
            if self.is_stalled() {
                return Ok(Progress::Stalled);
            }
            let end = self.cursor.frame.len();
            let channel = self.cursor.uint(end)?;
            let kind = self.cursor.uint(end)?;
            if channel != 0 || kind != crate::core::BATCH {
                let mut body = std::mem::take(&mut self.cursor.frame);
                body.advance(self.cursor.position);
                let go_on = self.receive(channel, kind, body, sink)?;
                return Ok(if go_on { Progress::Done } else { Progress::Stalled });
            }
            self.enter_batch(end)?;
        }
        while let Some(level) = self.cursor.levels.last() {
            let (end, channel, corked) = (level.end, level.channel, level.corked);
            if self.cursor.position >= end {
                self.cursor.levels.pop();
                if corked {
                    self.uncork();
                }
                continue;
            }
            if self.is_stalled() {
                return Ok(Progress::Stalled);
            }
            let len = self.cursor.uint(end)?;
            if len == 0 {
                let channel = self.cursor.uint(end)?;
                if let Some(level) = self.cursor.levels.last_mut() {
                    level.channel = channel;
                }
                continue;
            }
            let left = end - self.cursor.position;
            // As JavaScript: the last item may claim more than there is.
            let len = usize::try_from(len).map_or(left, |len| len.min(left));
            let item_end = self.cursor.position + len;
            if item_end != end && !corked {
                self.cork();
                if let Some(level) = self.cursor.levels.last_mut() {
                    level.corked = true;
                }
            }
            let kind = self.cursor.uint(item_end)?;
            if channel == 0 && kind == crate::core::BATCH {
                self.enter_batch(item_end)?;
                continue;
            }
            let item = self.cursor.position..item_end;
            let small = self.cursor.frame.len() > MAX_SHARED_FRAME && item.len() < self.cursor.frame.len() / 2;
            let body = match small {
                true => Bytes::copy_from_slice(&self.cursor.frame[item]),
                false => self.cursor.frame.slice(item),
            };
            self.cursor.position = item_end;
            if !self.receive(channel, kind, body, sink)? {
                return Ok(Progress::Stalled);
            }
        }
        self.cursor.clear();
        Ok(Progress::Done)
    }

    fn enter_batch(&mut self, end: usize) -> Result<(), Error> {
        if self.cursor.levels.len() >= MAX_BATCH_DEPTH {
            return Err(Error::NestedBatch);
        }
        let channel = self.cursor.uint(end)?;
        self.cursor.levels.push(Level { end, channel, corked: false });
        Ok(())
    }

    fn receive(
        &mut self,
        channel: u64,
        kind: u64,
        body: Bytes,
        sink: &mut impl FnMut(Event) -> bool,
    ) -> Result<bool, Error> {
        if channel != 0 {
            return Ok(self.receive_message(channel, kind, body, sink));
        }
        self.receive_control(kind, body)?;
        Ok(self.flush_events(sink))
    }
}
