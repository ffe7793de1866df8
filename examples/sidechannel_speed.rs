//! How long it takes to build and to judge a message: `cargo run --release --example sidechannel_speed`.

use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use crypto::KeyPair;
use intercom::sidechannel::{
    ENTRY_CHANNEL, SidechannelOptions,
    payload::{Draft, new_id},
    pipeline::{Now, Pipeline},
};

/// Median, lower and upper tenth of some times.
fn show(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |tenths: usize| times[times.len() * tenths / 10].as_secs_f64() * 1e3;
    println!("{name}: median {:.3} ms (p10 {:.3}, p90 {:.3})", at(5), at(1), at(9));
}

fn main() {
    let keys = KeyPair::generate();
    let key = keys.public_key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let options = SidechannelOptions { rate_bytes_per_second: None, welcome_required: false, ..Default::default() };
    let pipeline = Pipeline::new(&options, &KeyPair::generate().public_key);
    for (name, length, rounds) in [("200 bytes", 200, 2_001), ("200 kB", 200_000, 501)] {
        let (mut built, mut judged) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let ts = 1_700_000_000_000 + round;
            let draft = Draft {
                channel: ENTRY_CHANNEL.to_owned(),
                message: Some("x".repeat(length).into()),
                invite: None,
                id: new_id(&key, ts),
                ts,
                ttl: 3,
                difficulty: Some(12),
                max_bytes: Some(1_000_000),
                report_hash: false,
            };
            let start = Instant::now();
            let sealed = draft.seal(&keys, &AtomicBool::new(false)).expect("the message is small enough");
            built.push(start.elapsed());
            let now = Now { wall: ts, instant: Instant::now() };
            let peer = pipeline.peer(&keys.public_key, now.instant);
            let start = Instant::now();
            let received = pipeline.receive(&peer, ENTRY_CHANNEL, &sealed.body, now);
            judged.push(start.elapsed());
            received.verdict.expect("the message is valid");
        }
        show(&format!("build {name}, 12 bits of proof of work"), built);
        show(&format!("judge {name}"), judged);
    }
}
