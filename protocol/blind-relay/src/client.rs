//! What a peer of a relay does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use protomux::{Channel, ChannelEvent, ChannelOptions, Mux, Sender};
use tokio::sync::oneshot;

use crate::PROTOCOL;
use crate::error::Error;
use crate::messages::{PAIR, Pair, Token, UNPAIR, Unpair};

/// A connection to a relay. Clones are handles of the same; the last one closes the channel.
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    sender: Sender,
    requests: Arc<Mutex<Requests>>,
}

#[derive(Debug, Default)]
struct Requests {
    waiting: HashMap<Token, Request>,
    closed: Option<Error>,
}

#[derive(Debug)]
struct Request {
    is_initiator: bool,
    paired: oneshot::Sender<Result<u32, Error>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.sender.close();
    }
}

impl Client {
    /// Speaks with the relay at the other end of `mux`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the connection has ended, or there is a client for it already.
    pub fn new(mux: &Mux) -> Result<Self, Error> {
        let channel = mux.open(ChannelOptions::new(PROTOCOL).id(*mux.public_key()))?;
        let sender = channel.sender();
        let requests = Arc::new(Mutex::new(Requests::default()));
        tokio::spawn(receive(channel, Arc::clone(&requests)));
        Ok(Self { handle: Arc::new(Handle { sender, requests }) })
    }

    /// Joins the UDX stream with this id to that of the peer that comes with the same token and the other role, and returns
    /// the id that the stream is to be connected to: at the address of the relay, from the socket that the connection to the
    /// relay uses. Waits without an end; a future that is dropped gives up, and tells the relay.
    ///
    /// # Errors
    /// [`Error::AlreadyPairing`], or why the connection to the relay ended.
    pub async fn pair(&self, is_initiator: bool, token: Token, id: u32) -> Result<u32, Error> {
        let (paired, answer) = oneshot::channel();
        {
            let requests = &mut *self.handle.requests.lock();
            if let Some(error) = &requests.closed {
                return Err(error.clone());
            }
            match requests.waiting.entry(token) {
                Entry::Occupied(_) => return Err(Error::AlreadyPairing),
                Entry::Vacant(entry) => entry.insert(Request { is_initiator, paired }),
            };
        }
        let waiting = Waiting { client: self, token, answered: false };
        let message = Pair { is_initiator, token, id, seq: 0 };
        self.handle.sender.send(PAIR, &message.encode()).await?;
        let result = answer.await.unwrap_or(Err(Error::ChannelClosed));
        waiting.answered(result.is_ok());
        result
    }

    /// Gives a pair up, also one that is relayed already.
    pub fn unpair(&self, token: &Token) {
        // Nothing is lost where this fails: the pair ends with the connection.
        let _ = self.handle.sender.try_send(UNPAIR, &Unpair { token: *token }.encode());
    }
}

/// A request without an answer.
struct Waiting<'a> {
    client: &'a Client,
    token: Token,
    answered: bool,
}

impl Waiting<'_> {
    fn answered(mut self, paired: bool) {
        self.answered = paired;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.client.handle.requests.lock().waiting.remove(&self.token);
            self.client.unpair(&self.token);
        }
    }
}

/// Takes the relay's answers until the channel closes.
async fn receive(mut channel: Channel, requests: Arc<Mutex<Requests>>) {
    let error = loop {
        match channel.recv().await {
            Some(ChannelEvent::Message { kind: PAIR, body }) => match Pair::decode(&body) {
                Ok(answer) => answered(&mut requests.lock().waiting, &answer),
                Err(error) => break error.into(),
            },
            Some(ChannelEvent::Open { .. } | ChannelEvent::Message { .. }) => {}
            Some(ChannelEvent::Close { .. }) | None => break Error::ChannelClosed,
        }
    };
    let requests = &mut *requests.lock();
    requests.closed = Some(error.clone());
    for (_, request) in requests.waiting.drain() {
        let _ = request.paired.send(Err(error.clone()));
    }
}

fn answered(waiting: &mut HashMap<Token, Request>, answer: &Pair) {
    let Entry::Occupied(entry) = waiting.entry(answer.token) else { return };
    if entry.get().is_initiator == answer.is_initiator {
        let _ = entry.remove().paired.send(Ok(answer.id));
    }
}
