//! What a secret stream runs on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use udx::UdxStream;

/// A reliable, ordered byte stream, with unordered messages beside it where it has them.
///
/// Implemented for [`UdxStream`], and by [`IoTransport`] for everything that tokio can read and write.
pub trait Transport: Send + Unpin + 'static {
    /// The next bytes of the stream, `None` at its end. The buffer is decrypted in place: it must not be shared.
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<BytesMut>>>;

    /// Takes all of `bytes` or a part from its front. Pending when it takes nothing: the peer or the network is slow.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>>;

    /// Sends what the transport buffers itself.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Ends the writing side after all that was written.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Gives both directions up at once.
    fn destroy(&mut self);

    /// Sends an unordered, unreliable message if that is possible now.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] when the transport has no such messages.
    fn try_send_message(&mut self, message: &[u8]) -> io::Result<()> {
        let _ = message;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The next unordered message, `None` when there will be no more.
    fn poll_recv_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let _ = cx;
        Poll::Ready(None)
    }
}

impl Transport for UdxStream {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<BytesMut>>> {
        UdxStream::poll_read_chunk(self, cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        // The last, short packet leaves when the task yields: what is written until then shares it.
        UdxStream::poll_write(self, cx, bytes)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        UdxStream::poll_shutdown(self, cx)
    }

    fn destroy(&mut self) {
        UdxStream::destroy(self);
    }

    fn try_send_message(&mut self, message: &[u8]) -> io::Result<()> {
        UdxStream::try_send_message(self, message).map_err(io::Error::other)
    }

    fn poll_recv_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        UdxStream::poll_recv_message(self, cx)
    }
}

/// What is read at once, in bytes.
const READ_CHUNK: usize = 32 * 1024;

/// What is read at once while more comes than was taken, in bytes.
const MAX_READ_CHUNK: usize = 256 * 1024;

/// A read buffer with less room than this is replaced, in bytes.
const MIN_READ: usize = 4 * 1024;

/// A [`Transport`] over any tokio stream, such as TCP.
#[derive(Debug)]
pub struct IoTransport<T> {
    io: Option<T>,
    buffer: BytesMut,
    /// What the next buffer has room for.
    chunk: usize,
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> IoTransport<T> {
    /// Wraps `io`. For TCP, set `nodelay` on it before.
    pub fn new(io: T) -> Self {
        Self { io: Some(io), buffer: BytesMut::new(), chunk: READ_CHUNK }
    }

    fn io(&mut self) -> io::Result<Pin<&mut T>> {
        self.io.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for IoTransport<T> {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<BytesMut>>> {
        // The memory is zeroed once when it is allocated, because tokio reads into initialised slices without `unsafe`.
        if self.buffer.len() < MIN_READ {
            self.buffer = BytesMut::zeroed(self.chunk);
        }
        let Some(io) = self.io.as_mut() else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let mut target = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(io).poll_read(cx, &mut target))?;
        let (read, is_full) = (target.filled().len(), target.remaining() == 0);
        self.chunk = if is_full { (2 * self.chunk).min(MAX_READ_CHUNK) } else { READ_CHUNK };
        Poll::Ready(Ok((read > 0).then(|| self.buffer.split_to(read))))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        while !bytes.is_empty() {
            match self.io()?.poll_write(cx, bytes)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => drop(bytes.split_to(written)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_shutdown(cx)
    }

    fn destroy(&mut self) {
        self.io = None;
        self.buffer = BytesMut::new();
    }
}
