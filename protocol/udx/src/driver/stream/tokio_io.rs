//! A stream as tokio's reader and writer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::now;
use super::UdxStream;

impl AsyncRead for UdxStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if inner.state.read_into(out) == 0 {
            return Self::read_pending(&mut inner, cx);
        }
        self.shared().settle(inner, now(), true);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UdxStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        /// Longer writes are taken in parts, so that a part that is refused was not copied for nothing.
        const PART: usize = 64 << 10;
        let mut bytes = Bytes::copy_from_slice(&data[..data.len().min(PART)]);
        let len = bytes.len();
        match UdxStream::poll_write(&self, cx, &mut bytes) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(len - bytes.len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        UdxStream::poll_shutdown(&self, cx)
    }
}
