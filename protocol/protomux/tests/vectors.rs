//! What the JavaScript module wrote: its frames are read as calls, and the calls must write the same frames.

use std::collections::HashMap;

use bytes::Bytes;
use encoding::Decoder;
use protomux::{ChannelId, ChannelOptions, Core, Event, Progress};
use serde_json::{Value, json};
use testing::{hex, unhex, vector_json};

/// What a frame says, in the order in which it says it.
enum Call {
    Open { local_id: u64, options: ChannelOptions },
    Close { local_id: u64 },
    Message { local_id: u64, kind: u64, body: Vec<u8> },
    Batch(Vec<Call>),
}

fn call(channel: u64, mut payload: Decoder<'_>) -> Call {
    let kind = payload.uint().unwrap();
    match (channel, kind) {
        (0, 0) => {
            let mut channel = payload.uint().unwrap();
            let mut calls = Vec::new();
            while !payload.is_empty() {
                match payload.buffer().unwrap() {
                    [] => channel = payload.uint().unwrap(),
                    item => calls.push(call(channel, Decoder::new(item))),
                }
            }
            Call::Batch(calls)
        }
        (0, 1) => {
            let local_id = payload.uint().unwrap();
            let mut options = ChannelOptions::new(payload.string().unwrap());
            options.id = payload.optional_buffer().unwrap().map(<[u8]>::to_vec);
            options.handshake = payload.rest().to_vec();
            Call::Open { local_id, options }
        }
        (0, 3) => Call::Close { local_id: payload.uint().unwrap() },
        (0, kind) => panic!("control message {kind} is no call"),
        (local_id, kind) => Call::Message { local_id, kind, body: payload.rest().to_vec() },
    }
}

fn frame_call(frame: &[u8]) -> Call {
    let mut frame = Decoder::new(frame);
    let channel = frame.uint().unwrap();
    call(channel, frame)
}

/// One side, and what it logs as the script that made the vectors did.
struct Side {
    name: &'static str,
    core: Core,
    channels: HashMap<u64, ChannelId>,
    protocols: Vec<String>,
    expected: Vec<String>,
    written: usize,
}

impl Side {
    fn new(name: &'static str, frames: &Value) -> Self {
        let expected = frames.as_array().unwrap().iter().map(|frame| frame.as_str().unwrap().to_owned()).collect();
        Self { name, core: Core::new(), channels: HashMap::new(), protocols: Vec::new(), expected, written: 0 }
    }

    fn run(&mut self, call: Call) {
        match call {
            Call::Open { local_id, options } => {
                let id = self.core.open(&options, self.protocols.len()).unwrap();
                self.protocols.push(options.protocol);
                self.channels.insert(local_id, id);
            }
            Call::Close { local_id } => self.core.close(self.channels[&local_id]).unwrap(),
            Call::Message { local_id, kind, body } => self.core.send(self.channels[&local_id], kind, &body).unwrap(),
            Call::Batch(calls) => {
                self.core.cork();
                calls.into_iter().for_each(|call| self.run(call));
                self.core.uncork();
            }
        }
    }

    fn next_call(&self) -> Option<Call> {
        Some(frame_call(&unhex(self.expected.get(self.written)?)))
    }

    fn log(&mut self, events: &mut Vec<Value>) {
        let (name, protocols) = (self.name, &self.protocols);
        let progress = self.core.process(|event| {
            events.push(match event {
                Event::Open { token, handshake } => {
                    json!([name, protocols[token], "open", Decoder::new(&handshake).string().unwrap()])
                }
                Event::Message { token, kind: 0, body } => {
                    json!([name, protocols[token], 0, Decoder::new(&body).string().unwrap()])
                }
                Event::Message { token, kind, body } => {
                    json!([name, protocols[token], kind, Decoder::new(&body).uint().unwrap()])
                }
                Event::Close { token, remote } => json!([name, protocols[token], "close", remote]),
                Event::Pair { .. } => panic!("no hook is set"),
            });
            true
        });
        assert_eq!(progress.unwrap(), Progress::Done);
    }

    fn recv(&mut self, frames: Vec<Vec<u8>>, events: &mut Vec<Value>) {
        for frame in frames {
            assert!(self.core.wants_frame());
            self.core.recv(Bytes::from(frame));
            self.log(events);
        }
    }

    fn take_frames(&mut self) -> Vec<Vec<u8>> {
        let frames = self.core.take_frames();
        for frame in &frames {
            assert_eq!(Some(&hex(frame)), self.expected.get(self.written), "{} frame {}", self.name, self.written);
            self.written += 1;
        }
        frames
    }
}

#[test]
fn vector_transcript() {
    for folder in ["data/pinned", "data/msb", "data/latest"] {
        let vector = vector_json(&format!("{folder}/06-protomux.json"));
        let mut a = Side::new("a", &vector["aFrames"]);
        let mut b = Side::new("b", &vector["bFrames"]);
        let mut events = Vec::new();
        // Both open before either hears of it.
        let (call_a, call_b) = (a.next_call().unwrap(), b.next_call().unwrap());
        a.run(call_a);
        b.run(call_b);
        let (mut from_a, mut from_b) = (a.take_frames(), b.take_frames());
        loop {
            a.log(&mut events);
            b.recv(from_a, &mut events);
            from_b.extend(b.take_frames());
            a.recv(std::mem::take(&mut from_b), &mut events);
            let Some(call) = a.next_call() else { break };
            a.run(call);
            from_a = a.take_frames();
        }
        assert_eq!(a.written, a.expected.len(), "{folder}: frames of a");
        assert_eq!(b.written, b.expected.len(), "{folder}: frames of b");
        assert_eq!(Value::Array(events), vector["events"], "{folder}: events");
    }
}

#[test]
fn vector_relay_messages_survive_a_channel() {
    for file in ["network/pinned.json", "network/latest.json"] {
        let vector = vector_json(file);
        for (name, body) in vector["blindRelay"].as_object().unwrap() {
            let body = unhex(body.as_str().unwrap());
            let kind = u64::from(name.starts_with("unpair"));
            let (mut a, mut b) = (Core::new(), Core::new());
            let options = ChannelOptions::new("blind-relay").id([7; 32]);
            let channel = a.open(&options, 0).unwrap();
            b.open(&options, 0).unwrap();
            a.send(channel, kind, &body).unwrap();
            let mut events = Vec::new();
            for frame in a.take_frames() {
                b.recv(frame.into());
                b.process(|event| {
                    events.push(event);
                    true
                })
                .unwrap();
            }
            let open = Event::Open { token: 0, handshake: Bytes::new() };
            assert_eq!(events, [open, Event::Message { token: 0, kind, body: body.into() }], "{file} {name}");
        }
    }
}
