//! A connection that fails behind messages that have come: they are delivered.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use crypto::KeyPair;
use protomux::{ChannelEvent, ChannelOptions, Mux};
use secret_stream::{IoTransport, Options, SecretStream, Transport};
use tokio::io::DuplexStream;

#[derive(Clone, Copy, Default)]
enum Link {
    #[default]
    Whole,
    /// Nothing is read and nothing written for now.
    Held,
    /// What has come can be read, and then the peer has reset the connection.
    Reset,
}

#[derive(Default)]
struct Switch(Mutex<(Link, Vec<Waker>)>);

impl Switch {
    fn set(&self, link: Link) {
        let mut state = self.0.lock().unwrap();
        state.0 = link;
        state.1.drain(..).for_each(Waker::wake);
    }

    fn get(&self, cx: &mut Context<'_>) -> Link {
        let mut state = self.0.lock().unwrap();
        state.1.push(cx.waker().clone());
        state.0
    }
}

struct Cut {
    inner: IoTransport<DuplexStream>,
    switch: Arc<Switch>,
}

impl Transport for Cut {
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<BytesMut>>> {
        match self.switch.get(cx) {
            Link::Whole => self.inner.poll_read_chunk(cx),
            Link::Held => Poll::Pending,
            Link::Reset => match self.inner.poll_read_chunk(cx) {
                Poll::Pending => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                ready => ready,
            },
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        match self.switch.get(cx) {
            Link::Whole => self.inner.poll_write(cx, bytes),
            Link::Held => Poll::Pending,
            Link::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_shutdown(cx)
    }

    fn destroy(&mut self) {
        self.inner.destroy();
    }
}

/// All tasks share this thread: after so many turns each has done what it can.
async fn turns() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// What one side gets of three messages that the other sent before it was gone, if it has something unsent itself or not.
async fn delivered(unsent: bool) -> Vec<Vec<u8>> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let switch = Arc::new(Switch::default());
    let near = Cut { inner: IoTransport::new(near), switch: switch.clone() };
    let near = SecretStream::connect(near, KeyPair::generate(), Options::default());
    let far = SecretStream::accept(IoTransport::new(far), KeyPair::generate(), Options::default());
    let (near, far) = tokio::try_join!(near, far).unwrap();
    let (near, far) = (Mux::new(near), Mux::new(far));
    let mut asked = far.pair("chat", None);
    let mut here = near.open(ChannelOptions::new("chat")).unwrap();
    let there = asked.next().await.unwrap().open(*b"").unwrap();
    assert!(matches!(here.recv().await, Some(ChannelEvent::Open { .. })));

    switch.set(Link::Held);
    for message in [&b"one"[..], b"two", b"three"] {
        there.send(0, message).await.unwrap();
    }
    turns().await;
    if unsent {
        here.send(0, b"nobody will read it").await.unwrap();
        turns().await;
    }
    switch.set(Link::Reset);
    let mut messages = Vec::new();
    while let Some(event) = here.recv().await {
        if let ChannelEvent::Message { body, .. } = event {
            messages.push(body.to_vec());
        }
    }
    assert!(near.closed().await.is_err());
    messages
}

#[tokio::test]
async fn messages_before_a_reset_are_delivered() {
    assert_eq!(delivered(false).await, [&b"one"[..], b"two", b"three"]);
}

#[tokio::test]
async fn so_they_are_when_something_is_unsent() {
    assert_eq!(delivered(true).await, [&b"one"[..], b"two", b"three"]);
}
