//! The protocol without I/O: bytes in, messages and bytes out.

use std::sync::LazyLock;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crypto::KeyPair;
use crypto::noise::{Handshake, Pattern, Session};
use crypto::secretstream::{ABYTES, HEADERBYTES, Pull, Push};

use crate::Error;
use crate::framing::{FrameReader, LENGTH_BYTES, MAX_FRAME, encode_length};
use crate::unordered::Envelope;

/// The longest message that one frame carries, in bytes.
pub const MAX_MESSAGE: usize = MAX_FRAME - ABYTES;

/// Bytes that a message grows by on the wire: the frame's length, the tag and the authenticator.
pub const OVERHEAD: usize = LENGTH_BYTES + ABYTES;

/// The longest Noise message accepted, in bytes (the maximum of the Noise specification).
pub const MAX_HANDSHAKE_FRAME: usize = 65_535;

/// The first frame after the handshake: 32 bytes of stream id and the secretstream header.
const HEADER_FRAME: usize = 32 + HEADERBYTES;

/// After a batch that needed more than this, the next buffer is not made larger in advance, in bytes.
const MAX_BATCH_HINT: usize = 64 * 1024;

pub(crate) struct Namespaces {
    pub(crate) initiator: &'static [u8; 32],
    pub(crate) responder: &'static [u8; 32],
    pub(crate) send: &'static [u8; 32],
}

pub(crate) fn namespaces() -> Namespaces {
    static KEYS: LazyLock<[[u8; 32]; 3]> =
        LazyLock::new(|| [0, 1, 2].map(|index| crypto::namespace("hyperswarm/secret-stream", index)));
    let [initiator, responder, send] = &*KEYS;
    Namespaces { initiator, responder, send }
}

/// The stream id that the side with this role sends in its header frame.
pub fn stream_id(handshake_hash: &[u8; 64], is_initiator: bool) -> [u8; 32] {
    let Namespaces { initiator, responder, .. } = namespaces();
    crypto::hash_keyed(handshake_hash, &[if is_initiator { initiator } else { responder }])
}

/// The randomness of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Entropy {
    /// The secretstream header that we send.
    pub header: [u8; HEADERBYTES],
    /// The counter before our first unordered message.
    pub counter: u64,
}

impl Entropy {
    /// From the operating system's generator.
    pub fn generate() -> Self {
        Self { header: rand::random(), counter: rand::random() }
    }
}

/// What [`Core::poll_event`] found.
#[derive(Debug)]
pub enum Event {
    /// Our own Noise handshake is complete: the peer's key is known and messages may be sent.
    Connected,
    /// A message.
    Message(BytesMut),
}

#[derive(Debug)]
struct Established {
    remote_public_key: [u8; 32],
    handshake_hash: [u8; 64],
    push: Push,
    /// None until the peer's header came.
    pull: Option<Pull>,
    rx: [u8; 32],
    envelope: Envelope,
}

/// One end of a secret stream.
///
/// Bytes that arrive go in by [`input`](Core::input), what they mean comes out of [`poll_event`](Core::poll_event); messages go in
/// by [`send`](Core::send), the bytes to write come out of [`take_outgoing`](Core::take_outgoing). Sealed messages gather in one
/// buffer until it is taken, so that many small ones cost one write.
#[derive(Debug)]
pub struct Core {
    is_initiator: bool,
    public_key: [u8; 32],
    handshake: Option<Box<Handshake>>,
    entropy: Entropy,
    established: Option<Established>,
    reader: FrameReader,
    max_message: usize,
    filter_empty: bool,
    outgoing: BytesMut,
    batch_hint: usize,
    raw_bytes_read: u64,
    raw_bytes_written: u64,
}

impl Core {
    /// A stream whose Noise handshake was made elsewhere (HyperDHT). `public_key` is our own. The header frame is in the
    /// outgoing bytes at once.
    pub fn from_session(session: Session, public_key: [u8; 32], entropy: Entropy) -> Self {
        let mut core = Self::new(session.is_initiator, public_key, None, entropy);
        core.establish(session);
        core
    }

    /// A stream that begins with its own Noise `XX` handshake (empty prologue, empty payloads), in frames too.
    ///
    /// # Errors
    /// [`Error::Handshake`] when the first message cannot be made.
    pub fn handshake(is_initiator: bool, key_pair: KeyPair, entropy: Entropy) -> Result<Self, Error> {
        let public_key = key_pair.public_key;
        let handshake = Handshake::new(Pattern::XX, is_initiator, key_pair, None, &[]);
        let mut core = Self::new(is_initiator, public_key, Some(Box::new(handshake)), entropy);
        if is_initiator {
            core.send_handshake()?;
        }
        Ok(core)
    }

    fn new(is_initiator: bool, public_key: [u8; 32], handshake: Option<Box<Handshake>>, entropy: Entropy) -> Self {
        Self {
            is_initiator,
            public_key,
            handshake,
            entropy,
            established: None,
            reader: FrameReader::new(MAX_HANDSHAKE_FRAME),
            max_message: MAX_MESSAGE,
            filter_empty: false,
            outgoing: BytesMut::new(),
            batch_hint: 0,
            raw_bytes_read: 0,
            raw_bytes_written: 0,
        }
    }

    /// Refuses messages of more than `bytes` from the peer. [`MAX_MESSAGE`] at most and at first.
    pub fn set_max_message(&mut self, bytes: usize) {
        self.max_message = bytes.min(MAX_MESSAGE);
        self.limit_frames();
    }

    /// Whether empty messages, the keep-alives of the peer, are dropped. They are delivered at first.
    pub fn set_filter_empty(&mut self, filter: bool) {
        self.filter_empty = filter;
    }

    fn limit_frames(&mut self) {
        let limit = match &self.established {
            None => MAX_HANDSHAKE_FRAME,
            Some(Established { pull: None, .. }) => HEADER_FRAME,
            Some(_) => self.max_message + ABYTES,
        };
        self.reader.set_max_frame(limit);
    }

    /// Appends bytes that arrived. Take all events before the next bytes.
    pub fn input(&mut self, chunk: BytesMut) {
        self.reader.push(chunk);
    }

    /// The next event of the bytes so far. `None`: more bytes are needed.
    ///
    /// # Errors
    /// The peer broke the protocol; the stream must be destroyed. See [`Error`].
    pub fn poll_event(&mut self) -> Result<Option<Event>, Error> {
        while let Some(mut frame) = self.reader.next_frame()? {
            let Some(established) = &mut self.established else {
                if self.receive_handshake(&frame)? {
                    return Ok(Some(Event::Connected));
                }
                continue;
            };
            let Some(pull) = &mut established.pull else {
                let header = frame.split_first_chunk::<32>().filter(|(id, _)| {
                    // Both sides can compute the id: nothing secret is compared.
                    **id == stream_id(&established.handshake_hash, !self.is_initiator)
                });
                let header: [u8; HEADERBYTES] =
                    header.and_then(|(_, header)| header.try_into().ok()).ok_or(Error::Header)?;
                established.pull = Some(Pull::new(&established.rx, &header));
                established.rx = [0; 32];
                self.limit_frames();
                continue;
            };
            if frame.len() < ABYTES {
                return Err(Error::Authentication);
            }
            self.raw_bytes_read += frame.len() as u64;
            let (_tag, plain) = pull.open_in_place(&mut frame).map_err(|_| Error::Authentication)?;
            frame.truncate(plain.end);
            frame.advance(plain.start);
            if frame.is_empty() && self.filter_empty {
                continue;
            }
            return Ok(Some(Event::Message(frame)));
        }
        Ok(None)
    }

    /// Whether the peer's header has come: it has the keys, and is who it should be.
    pub fn is_open(&self) -> bool {
        self.established.as_ref().is_some_and(|established| established.pull.is_some())
    }

    /// Whether the peer may end the stream here without having cut something off.
    pub fn may_end(&self) -> bool {
        self.is_open() && !self.reader.is_mid_frame()
    }

    /// Returns whether the handshake is complete.
    fn receive_handshake(&mut self, message: &[u8]) -> Result<bool, Error> {
        let handshake = self.handshake.as_mut().ok_or(Error::Closed)?;
        handshake.recv(message).map_err(|_| Error::Handshake)?;
        if !handshake.is_complete() {
            self.send_handshake()?;
        }
        if !self.handshake.as_ref().is_some_and(|handshake| handshake.is_complete()) {
            return Ok(false);
        }
        let handshake = self.handshake.take().ok_or(Error::Closed)?;
        self.establish(handshake.finish().map_err(|_| Error::Handshake)?);
        Ok(true)
    }

    fn send_handshake(&mut self) -> Result<(), Error> {
        let handshake = self.handshake.as_mut().ok_or(Error::Closed)?;
        let message = handshake.send(&[]).map_err(|_| Error::Handshake)?;
        self.outgoing.extend_from_slice(&encode_length(message.len()));
        self.outgoing.extend_from_slice(&message);
        Ok(())
    }

    fn establish(&mut self, session: Session) {
        let Entropy { header, counter } = self.entropy;
        self.outgoing.reserve(LENGTH_BYTES + HEADER_FRAME);
        self.outgoing.extend_from_slice(&encode_length(HEADER_FRAME));
        self.outgoing.extend_from_slice(&stream_id(&session.hash, self.is_initiator));
        self.outgoing.extend_from_slice(&header);
        self.established = Some(Established {
            remote_public_key: session.remote_public_key,
            handshake_hash: session.hash,
            push: Push::new(&session.tx, &header),
            pull: None,
            rx: session.rx,
            envelope: Envelope::new(&session.hash, self.is_initiator, counter),
        });
        self.limit_frames();
    }

    /// Seals one message, the concatenation of `parts`, into the outgoing bytes.
    ///
    /// # Errors
    /// [`Error::MessageTooLarge`], which changes nothing; [`Error::Closed`] before [`Event::Connected`].
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        let established = self.established.as_mut().ok_or(Error::Closed)?;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > MAX_MESSAGE {
            return Err(Error::MessageTooLarge(len));
        }
        if self.outgoing.capacity() == 0 {
            self.outgoing = udx::blocks::take((len + OVERHEAD).max(self.batch_hint));
        }
        let start = self.outgoing.len();
        self.outgoing.reserve(len + OVERHEAD);
        self.outgoing.put_slice(&encode_length(len + ABYTES));
        self.outgoing.put_u8(0);
        for part in parts {
            self.outgoing.put_slice(part);
        }
        self.outgoing.put_bytes(0, ABYTES - 1);
        let sealed = established.push.seal_in_place(&mut self.outgoing[start + LENGTH_BYTES..]);
        sealed.map_err(|_| Error::MessageTooLarge(len))?;
        self.raw_bytes_written += (len + OVERHEAD) as u64;
        Ok(())
    }

    /// How many bytes wait to be taken.
    pub fn outgoing_len(&self) -> usize {
        self.outgoing.len()
    }

    /// The bytes to write to the peer since the last call.
    pub fn take_outgoing(&mut self) -> Bytes {
        let outgoing = std::mem::take(&mut self.outgoing);
        self.batch_hint = if outgoing.len() <= MAX_BATCH_HINT { outgoing.len() } else { 0 };
        outgoing.freeze()
    }

    /// The envelope of an unordered message, or `None` before [`Event::Connected`] and when the counters are used up.
    pub fn seal_unordered(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.established.as_mut()?.envelope.seal(message)
    }

    /// The message of an unordered envelope, or `None` when it has to be dropped (before [`Event::Connected`]: always).
    pub fn open_unordered(&mut self, envelope: &[u8]) -> Option<Vec<u8>> {
        self.established.as_mut()?.envelope.open(envelope)
    }

    /// Whether this side began the handshake.
    pub fn is_initiator(&self) -> bool {
        self.is_initiator
    }

    /// Our key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The peer's key, once it is known.
    pub fn remote_public_key(&self) -> Option<&[u8; 32]> {
        self.established.as_ref().map(|established| &established.remote_public_key)
    }

    /// The Noise handshake hash, once the handshake is complete. The same on both sides, and unique to the connection.
    pub fn handshake_hash(&self) -> Option<&[u8; 64]> {
        self.established.as_ref().map(|established| &established.handshake_hash)
    }

    /// Bytes of message frames that arrived, without their lengths, without handshake and header (`rawBytesRead`).
    pub fn raw_bytes_read(&self) -> u64 {
        self.raw_bytes_read
    }

    /// Bytes of message frames that were sealed, with their lengths, without handshake and header (`rawBytesWritten`).
    pub fn raw_bytes_written(&self) -> u64 {
        self.raw_bytes_written
    }
}
