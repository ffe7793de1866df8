//! Messages built as the program builds them: proof of work, signature, text.

use std::sync::atomic::AtomicBool;

use crypto::KeyPair;
use encoding::json::Value;
use intercom::sidechannel::payload::Draft;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::hex;
use crate::lines::Answer;

#[derive(Deserialize)]
pub(crate) struct Build {
    bytes: usize,
    count: usize,
    difficulty: u32,
}

/// How long each of `count` messages of `bytes` bytes takes, in milliseconds.
pub(crate) fn build(Build { bytes, count, difficulty }: Build) -> Answer {
    let keys = KeyPair::from_seed(&[1; 32]);
    let stop = AtomicBool::new(false);
    let mut all = Vec::with_capacity(count);
    for n in 0..count {
        let text = hex(&Sha256::digest(format!("message {n}"))).repeat(bytes.div_ceil(64));
        let draft = Draft {
            channel: "0000intercom".into(),
            message: Some(Value::from(&text[..bytes])),
            invite: None,
            id: format!("{}:1700000000000:{n}", hex(&keys.public_key)),
            ts: 1_700_000_000_000,
            ttl: 3,
            difficulty: Some(difficulty),
            max_bytes: Some(1_000_000),
            report_hash: false,
        };
        let from = Instant::now();
        std::hint::black_box(draft.seal(&keys, &stop)?);
        all.push(from.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(json!({ "ms": all }))
}
