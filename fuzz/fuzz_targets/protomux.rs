//! Protomux with arbitrary frames from the peer, mixed with calls of our own: bounded, and each channel closes once and last.
#![no_main]

use std::collections::HashSet;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protomux::{ChannelOptions, Core, Event};

fuzz_target!(|data: &[u8]| {
    let mut core = Core::new();
    core.pair("p", None, 1);
    let mut channels = Vec::new();
    let mut over = HashSet::new();
    let mut tokens = 0;
    let mut rest = data;
    while let Some((step, after)) = rest.split_first_chunk::<2>() {
        rest = after;
        let protocol = ["p", "q", "r"][usize::from(step[1]) % 3];
        match step[0] % 12 {
            0 => {
                let options = ChannelOptions::new(protocol).id(vec![step[1] >> 6]);
                if let Ok(channel) = core.open(&options, tokens) {
                    channels.push(channel);
                    tokens += 1;
                }
            }
            1 => {
                if let Some(channel) = channels.get(usize::from(step[1])) {
                    let _ = core.close(*channel);
                }
            }
            2 => {
                if let Some(channel) = channels.get(usize::from(step[1])) {
                    let _ = core.send(*channel, u64::from(step[1]), &[step[0]; 9]);
                }
            }
            3 => core.cork(),
            4 => core.uncork(),
            5 => drop(core.take_frames()),
            _ if core.wants_frame() => {
                let (frame, after) = rest.split_at(rest.len().min(usize::from(step[1])));
                rest = after;
                core.recv(Bytes::copy_from_slice(frame));
            }
            _ => {}
        }
        let mut requests = Vec::new();
        let result = core.process(|event| {
            match event {
                Event::Open { token, .. } | Event::Message { token, .. } => {
                    assert!(token < tokens && !over.contains(&token), "an event after the close")
                }
                Event::Close { token, .. } => assert!(token < tokens && over.insert(token), "closed twice"),
                Event::Pair { request, .. } => requests.push(request),
            }
            // Some sinks are full now and then.
            step[1] & 128 == 0
        });
        requests.into_iter().for_each(|request| core.answer_pair(request));
        if result.is_err() {
            core.shut_down();
            break;
        }
    }
});
