//! Unordered messages beside the stream.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::super::now;
use super::{UdxStream, remember};
use crate::error::Error;

impl UdxStream {
    /// Sends an unordered message, which may be lost, repeated or overtaken.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::Closed`], or [`Error::MessageRefused`] if it does not fit one packet.
    pub fn try_send_message(&self, data: &[u8]) -> Result<(), Error> {
        let mut inner = self.lock();
        if let Some(reason) = inner.state.close_reason() {
            return Err(reason.into());
        }
        if inner.state.path().is_none() {
            return Err(Error::NotConnected);
        }
        if !inner.state.send_message(data) {
            return Err(Error::MessageRefused);
        }
        self.shared().settle(inner, now(), true);
        Ok(())
    }

    /// The next unordered message; `None` when the stream is over.
    pub fn poll_recv_message(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut inner = self.lock();
        if let Some(message) = inner.state.receive_message() {
            return Poll::Ready(Some(message));
        }
        if inner.state.close_reason().is_some() {
            return Poll::Ready(None);
        }
        remember(&mut inner.message_waker, cx);
        Poll::Pending
    }

    /// The async form of [`UdxStream::poll_recv_message`].
    pub async fn recv_message(&self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_recv_message(cx)).await
    }
}
