//! Peers that break the rules: they lose their connection, and nothing grows.

use bytes::Bytes;
use encoding::Encoder;
use proptest::prelude::*;
use protomux::{
    ChannelOptions, Core, Error, Event, MAX_BATCH_DEPTH, MAX_PENDING, MAX_PENDING_OPENS, MAX_REMOTE_CHANNELS,
    MAX_UNSENT_REJECTS, Progress,
};

fn open(id: u64, protocol: &str, handshake: &[u8]) -> Vec<u8> {
    let mut frame = Encoder::new();
    frame.uint(0).uint(1).uint(id).string(protocol).buffer(&[]).raw(handshake);
    frame.finish()
}

fn frame(fields: &[u64], body: &[u8]) -> Vec<u8> {
    let mut frame = Encoder::new();
    for field in fields {
        frame.uint(*field);
    }
    frame.raw(body);
    frame.finish()
}

/// Gives a frame and takes all events.
fn feed(core: &mut Core, frame: Vec<u8>) -> Result<Vec<Event>, Error> {
    assert!(core.wants_frame());
    let mut events = Vec::new();
    core.recv(Bytes::from(frame));
    core.process(|event| {
        events.push(event);
        true
    })?;
    Ok(events)
}

#[test]
fn ids_may_only_grow_by_one_and_not_be_taken_twice() {
    let mut core = Core::new();
    core.pair("chat", None, 0);
    feed(&mut core, open(1, "chat", b"")).unwrap();
    assert!(matches!(feed(&mut core, open(1, "chat", b"")), Err(Error::InvalidOpen)));
    for id in [3, u64::from(u32::MAX) + 2, encoding::MAX_SAFE_INTEGER] {
        let mut core = Core::new();
        assert!(matches!(feed(&mut core, open(id, "chat", b"")), Err(Error::InvalidOpen)), "{id}");
    }
}

#[test]
fn a_local_id_is_used_again_only_after_the_peer_answered() {
    let mut core = Core::new();
    let options = ChannelOptions::new("chat");
    let first = core.open(&options, 0).unwrap();
    core.close(first).unwrap();
    core.open(&options, 1).unwrap();
    let frames = core.take_frames();
    assert_eq!(frames[0], open(1, "chat", b""));
    assert_eq!(frames[1], frame(&[0, 3, 1], b""));
    assert_eq!(frames[2], open(2, "chat", b""), "1 waits for an answer");
    // The peer opened when it did not know of the closing: that is the answer to the first.
    feed(&mut core, open(1, "chat", b"")).unwrap();
    core.open(&ChannelOptions::new("other"), 2).unwrap();
    assert_eq!(core.take_frames(), [open(1, "other", b"")]);
}

#[test]
fn ids_are_used_again_last_in_first_out() {
    let mut core = Core::new();
    let channels: Vec<_> =
        (0..3).map(|token| core.open(&ChannelOptions::new(format!("p{token}")), token).unwrap()).collect();
    for id in 1..=3 {
        feed(&mut core, open(id, &format!("p{}", id - 1), b"")).unwrap();
    }
    for channel in channels {
        core.close(channel).unwrap();
    }
    core.take_frames();
    for id in [3, 2, 1, 4] {
        core.open(&ChannelOptions::new(format!("next{id}")), 9).unwrap();
        assert_eq!(core.take_frames(), [open(id, &format!("next{id}"), b"")]);
    }
}

#[test]
fn a_channel_closed_before_it_was_answered_delivers_what_it_sent() {
    let mut core = Core::new();
    core.pair("chat", None, 0);
    let mut events = feed(&mut core, open(1, "chat", b"hi")).unwrap();
    let Some(Event::Pair { request, .. }) = events.pop() else { panic!("a pair request") };
    feed(&mut core, frame(&[1, 0], b"last words")).unwrap();
    feed(&mut core, frame(&[0, 3, 1], b"")).unwrap();
    core.open(&ChannelOptions::new("chat"), 5).unwrap();
    core.answer_pair(request);
    let mut events = Vec::new();
    core.process(|event| {
        events.push(event);
        true
    })
    .unwrap();
    let expected = [
        Event::Open { token: 5, handshake: "hi".into() },
        Event::Message { token: 5, kind: 0, body: "last words".into() },
        Event::Close { token: 5, remote: true },
    ];
    assert_eq!(events, expected);
    // Both sides may use their ids again.
    feed(&mut core, open(1, "chat", b"")).unwrap();
    core.take_frames();
    core.open(&ChannelOptions::new("again"), 6).unwrap();
    assert_eq!(core.take_frames(), [open(1, "again", b"")]);
}

#[test]
fn rejecting_what_does_not_wait_is_an_error() {
    for id in [0, 1, 2, encoding::MAX_SAFE_INTEGER] {
        let mut core = Core::new();
        let channel = core.open(&ChannelOptions::new("chat"), 0).unwrap();
        feed(&mut core, open(1, "chat", b"")).unwrap();
        assert!(core.is_open(channel));
        assert!(matches!(feed(&mut core, frame(&[0, 2, id], b"")), Err(Error::InvalidReject)), "{id}");
    }
}

#[test]
fn unknown_channels_types_and_control_messages_are_ignored() {
    let mut core = Core::new();
    core.open(&ChannelOptions::new("chat"), 0).unwrap();
    feed(&mut core, open(1, "chat", b"")).unwrap();
    for fields in [&[0, 4][..], &[0, 99, 1], &[2, 0], &[encoding::MAX_SAFE_INTEGER, 0], &[0, 3, 0], &[0, 3, 77]] {
        assert_eq!(feed(&mut core, frame(fields, b"")).unwrap(), [], "{fields:?}");
    }
    let kind = encoding::MAX_SAFE_INTEGER;
    let expected = Event::Message { token: 0, kind, body: Bytes::new() };
    assert_eq!(feed(&mut core, frame(&[1, kind], b"")).unwrap(), [expected]);
}

#[test]
fn endless_opens_that_are_rejected_cost_slots_and_then_the_connection() {
    let mut core = Core::new();
    for id in 1..=MAX_REMOTE_CHANNELS as u64 {
        feed(&mut core, open(id, "nobody", b"")).unwrap();
        if id % 512 == 0 {
            assert_eq!(core.take_frames().len(), 512, "each is answered");
        }
    }
    let last = feed(&mut core, open(MAX_REMOTE_CHANNELS as u64 + 1, "nobody", b""));
    assert!(matches!(last, Err(Error::TooManyChannels)));
}

#[test]
fn answers_that_are_not_written_stop_the_decoding() {
    let mut core = Core::new();
    let mut batch = Encoder::new();
    batch.uint(0).uint(0).uint(0);
    for id in 1..=3 * MAX_UNSENT_REJECTS as u64 {
        batch.buffer(&open(id, "nobody", b"")[1..]);
    }
    core.recv(Bytes::from(batch.finish()));
    for _ in 0..3 {
        core.process(|_| true).unwrap();
        assert!(core.outgoing().len() < 8 * MAX_UNSENT_REJECTS);
        core.take_frames();
    }
    assert_eq!(core.process(|_| true).unwrap(), Progress::Done);
    assert!(core.wants_frame());
}

#[test]
fn opens_that_wait_for_a_hook_are_bounded() {
    let mut core = Core::new();
    core.pair("chat", None, 0);
    for id in 1..=MAX_PENDING_OPENS as u64 {
        feed(&mut core, open(id, "chat", b"")).unwrap();
    }
    let one_more = feed(&mut core, open(MAX_PENDING_OPENS as u64 + 1, "chat", b""));
    assert!(matches!(one_more, Err(Error::Backlog)));

    let mut core = Core::new();
    core.pair("chat", None, 0);
    let large = vec![0; 200_000];
    let refused = (1..10).map(|id| feed(&mut core, open(id, "chat", &large))).position(|result| result.is_err());
    assert_eq!(refused, Some(5));
}

#[test]
fn messages_before_the_opening_stop_the_reading() {
    let mut core = Core::new();
    core.pair("chat", None, 0);
    let mut events = feed(&mut core, open(1, "chat", b"")).unwrap();
    let Some(Event::Pair { request, .. }) = events.pop() else { panic!("a pair request") };
    let mut count = 0;
    while core.wants_frame() {
        feed(&mut core, frame(&[1, 0], &[0; 100])).unwrap();
        count += 1;
    }
    assert_eq!(count, MAX_PENDING / 612 + 1);
    core.answer_pair(request);
    assert!(core.wants_frame(), "rejected, so forgotten");
    assert_eq!(core.take_frames(), [frame(&[0, 2, 1], b"")]);
}

#[test]
fn a_frame_of_pending_messages_is_not_taken_whole() {
    let mut core = Core::new();
    core.pair("chat", None, 0);
    feed(&mut core, open(1, "chat", b"")).unwrap();
    let mut batch = vec![0, 0, 1];
    batch.extend(std::iter::repeat_n([1, 0], 4_000_000).flatten());
    core.recv(Bytes::from(batch));
    assert_eq!(core.process(|_| true).unwrap(), Progress::Stalled);
    core.open(&ChannelOptions::new("chat"), 0).unwrap();
    let mut count = 0u32;
    let progress = core.process(|event| {
        count += u32::from(matches!(event, Event::Message { .. }));
        true
    });
    assert_eq!((progress.unwrap(), count), (Progress::Done, 4_000_000));
}

#[test]
fn a_message_does_not_keep_a_large_batch_alive() {
    let mut core = Core::new();
    core.open(&ChannelOptions::new("chat"), 0).unwrap();
    feed(&mut core, open(1, "chat", b"")).unwrap();
    let mut batch = Encoder::new();
    batch.uint(0).uint(0).uint(1).buffer(&[0, 5]).uint(0).uint(9).buffer(&vec![0; 1_000_000]);
    let batch = Bytes::from(batch.finish());
    let mut events = Vec::new();
    core.recv(batch.clone());
    core.process(|event| {
        events.push(event);
        true
    })
    .unwrap();
    assert_eq!(events, [Event::Message { token: 0, kind: 0, body: Bytes::from_static(&[5]) }]);
    assert!(batch.is_unique());
}

#[test]
fn nested_batches_are_bounded() {
    // An unknown control message, wrapped in ever more batches.
    let mut payload = vec![9];
    for depth in 1..2 * MAX_BATCH_DEPTH {
        let mut batch = Encoder::new();
        batch.uint(0).uint(0).buffer(&payload);
        payload = batch.finish();
        let result = feed(&mut Core::new(), [&[0], &payload[..]].concat());
        match result {
            Ok(events) => assert!(events.is_empty() && depth <= MAX_BATCH_DEPTH, "{depth}"),
            Err(error) => assert!(matches!(error, Error::NestedBatch) && depth > MAX_BATCH_DEPTH, "{depth}: {error}"),
        }
    }
}

/// A frame of a peer that knows the protocol, or nearly.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let small = 0u64..6;
    let leaf = prop_oneof![
        (small.clone(), 0usize..3).prop_map(|(id, name)| open(id, ["a", "b", "hooked"][name], b"hs")),
        (0u64..5, small.clone()).prop_map(|(kind, id)| frame(&[0, kind, id], b"")),
        (small.clone(), small.clone()).prop_map(|(id, kind)| frame(&[id, kind], b"body")),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        (small.clone(), proptest::collection::vec((inner, 0u64..6), 0..6)).prop_map(|(first, items)| {
            let mut batch = Encoder::new();
            batch.uint(0).uint(0).uint(first);
            for (item, channel) in items {
                batch.uint(0).uint(channel);
                batch.buffer(item.get(1..).unwrap_or_default());
            }
            batch.finish()
        })
    })
}

#[derive(Debug, Clone)]
enum Step {
    Frame(Vec<u8>),
    Open(usize),
    Close(usize),
    Send(usize),
    Answer,
    Cork(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => plausible().prop_map(Step::Frame),
        2 => (0usize..3).prop_map(Step::Open),
        1 => any::<usize>().prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::Send),
        1 => Just(Step::Answer),
        1 => any::<bool>().prop_map(Step::Cork),
    ]
}

proptest! {
    #[test]
    fn nothing_panics_and_events_keep_their_order(steps in proptest::collection::vec(step(), 0..120)) {
        let mut core = Core::new();
        core.pair("hooked", None, 0);
        let mut channels = Vec::new();
        let mut requests = Vec::new();
        // For each token: opened, closed.
        let mut state: Vec<(bool, bool)> = Vec::new();
        let mut ended = false;
        for step in steps {
            match step {
                Step::Frame(frame) if core.wants_frame() => core.recv(Bytes::from(frame)),
                Step::Open(name) => {
                    let options = ChannelOptions::new(["a", "b", "hooked"][name]);
                    if let Ok(channel) = core.open(&options, state.len()) {
                        channels.push(channel);
                        state.push((false, false));
                    }
                }
                Step::Close(index) if !channels.is_empty() => drop(core.close(channels[index % channels.len()])),
                Step::Send(index) if !channels.is_empty() => drop(core.send(channels[index % channels.len()], 3, b"x")),
                Step::Answer => if let Some(request) = requests.pop() { core.answer_pair(request) },
                Step::Cork(true) => core.cork(),
                Step::Cork(false) => core.uncork(),
                _ => {}
            }
            let mut wrong = None;
            let result = core.process(|event| {
                match event {
                    Event::Open { token, .. } if state[token] == (false, false) => state[token].0 = true,
                    Event::Message { token, .. } if state[token] == (true, false) => {}
                    Event::Close { token, .. } if !state[token].1 => state[token].1 = true,
                    Event::Pair { request, .. } => requests.push(request),
                    event => wrong = Some(format!("{event:?}")),
                }
                true
            });
            prop_assert_eq!(wrong, None);
            core.take_frames();
            if result.is_err() { ended = true; break }
        }
        core.shut_down();
        core.process(|event| {
            if let Event::Close { token, .. } = event { state[token].1 = true }
            true
        }).unwrap();
        prop_assert!(state.iter().all(|(_, closed)| *closed), "every channel ends, {ended}");
    }

    #[test]
    fn two_cores_agree(steps in proptest::collection::vec((any::<bool>(), 0usize..3, 0u8..5), 0..150)) {
        // Whatever both do by the rules, neither ever sees an error, and what both opened pairs.
        let mut sides = [(Core::new(), Vec::new()), (Core::new(), Vec::new())];
        let mut wire: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
        for (side, name, action) in steps {
            let side = usize::from(side);
            let (core, channels) = &mut sides[side];
            match action {
                0 => if let Ok(channel) = core.open(&ChannelOptions::new(["a", "b", "c"][name]), 0) { channels.push(channel) },
                1 => if let Some(channel) = channels.pop() { let _ = core.close(channel); },
                2 => if let Some(channel) = channels.last() { let _ = core.send(*channel, 0, b"m"); },
                3 => core.cork(),
                _ => core.uncork(),
            }
            wire[side].extend(core.take_frames());
            // Deliver late, and not always.
            if name != 0 {
                let frames = std::mem::take(&mut wire[side]);
                let (other, _) = &mut sides[1 - side];
                for frame in frames {
                    prop_assert!(other.wants_frame());
                    feed(other, frame).unwrap();
                }
                wire[1 - side].extend(other.take_frames());
            }
        }
        for side in [0, 1, 0, 1, 0, 1] {
            for _ in 0..200 { sides[side].0.uncork() }
            wire[side].extend(sides[side].0.take_frames());
            for frame in std::mem::take(&mut wire[side]) {
                feed(&mut sides[1 - side].0, frame).unwrap();
            }
            let answers = sides[1 - side].0.take_frames();
            wire[1 - side].extend(answers);
        }
    }
}
