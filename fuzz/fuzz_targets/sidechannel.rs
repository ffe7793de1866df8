//! The sidechannel's gates against arbitrary message bodies, and against bodies that are almost right. What passes is passed on.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use encoding::json::{parse, stringify};
use intercom::sidechannel::SidechannelOptions;
use intercom::sidechannel::payload::body_of;
use intercom::sidechannel::pipeline::{Now, Pipeline};
use libfuzzer_sys::fuzz_target;

static PIPELINES: LazyLock<Vec<Pipeline>> = LazyLock::new(|| {
    let key = "11".repeat(32);
    let open = SidechannelOptions { pow_enabled: false, max_seen: 64, ..SidechannelOptions::default() };
    let invited = SidechannelOptions {
        invite_required: true,
        inviter_keys: vec![key.clone()],
        owner_keys: [("0000intercom".to_owned(), key)].into_iter().collect(),
        owner_write_only: true,
        welcome_required: true,
        ..open.clone()
    };
    [SidechannelOptions::default(), open, invited].iter().map(|options| Pipeline::new(options, &[9; 32])).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let pipeline = &PIPELINES[usize::from(*choice) % PIPELINES.len()];
    let instant = Instant::now() + Duration::from_secs(u64::from(*choice));
    let now = Now { wall: 1_700_000_000_000, instant };
    let peer = pipeline.peer(&[7; 32], instant);
    let channel = if choice & 64 == 0 { "0000intercom" } else { "other" };
    let _ = pipeline.receive(&peer, channel, data, now);
    // The same text as a well-formed body.
    let Ok(value) = parse(data) else { return };
    let received = pipeline.receive(&peer, channel, &body_of(&stringify(&value)), now);
    if let Ok(accepted) = received.verdict {
        assert_eq!(stringify(&accepted.payload), stringify(&value));
    }
});
