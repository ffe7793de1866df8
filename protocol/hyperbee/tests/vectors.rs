//! The blocks that JavaScript appends, of three generations.

use bytes::Bytes;
use hyperbee::{Batch, Header, Hyperbee, MemoryLog, Metadata, Options, Range};
use serde_json::Value;
use testing::{Mulberry, hex, unhex, vector_json};

const STACKS: [&str; 3] = ["pinned", "msb", "latest"];

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

enum Target {
    Bee(Hyperbee<MemoryLog>),
    Batch(Batch<MemoryLog>),
}

async fn put(target: &mut Target, key: &str, value: Option<Vec<u8>>) {
    match (target, value) {
        (Target::Bee(bee), Some(value)) => _ = bee.put(key, value).await.expect("put"),
        (Target::Bee(bee), None) => {
            let mut batch = bee.batch();
            batch.put(key, None::<&[u8]>).await.expect("put");
            batch.flush().await.expect("flush");
        }
        (Target::Batch(batch), value) => _ = batch.put(key, value).await.expect("put"),
    }
}

async fn run(scenario: &Value) -> MemoryLog {
    let name = text(&scenario["name"]);
    let options = &scenario["options"];
    let is_json = options["valueEncoding"] == "json";
    let metadata = (name == "metadata").then(|| Metadata {
        content_feed: Some(Bytes::from_static(b"cf")),
        user_data: Some(Bytes::from_static(b"ud")),
    });
    let log = MemoryLog::new();
    let always_duplicate = options["alwaysDuplicate"] != false;
    let bee = Hyperbee::with_options(log.clone(), Options { always_duplicate, metadata });
    let mut target = Target::Bee(bee.clone());
    if name.starts_with("large") {
        let mut random = Mulberry(3);
        for _ in 0..60 {
            let mut batch = bee.batch();
            for _ in 0..50 {
                let key = format!("k{}", random.below(2000.0));
                if random.fraction() < 0.2 {
                    batch.del(key).await.expect("del");
                } else {
                    batch.put(key, Some(format!("v{}", random.below(1e6)))).await.expect("put");
                }
            }
            batch.flush().await.expect("flush");
        }
        return log;
    }
    for op in scenario["ops"].as_array().expect("ops") {
        let argument = |at: usize| text(&op[at]);
        match argument(0) {
            "put" if name.starts_with("null") => put(&mut target, argument(1), op[2].as_str().map(unhex)).await,
            "put" if is_json => {
                let value = argument(2).strip_prefix("JSON.stringify => ").expect("json");
                // null is no value, also in trees of JSON.
                put(&mut target, argument(1), (value != "null").then(|| value.into())).await;
            }
            "put" => put(&mut target, argument(1), Some(argument(2).into())).await,
            "del" => match &mut target {
                Target::Bee(bee) => _ = bee.del(argument(1)).await.expect("del"),
                Target::Batch(batch) => _ = batch.del(argument(1)).await.expect("del"),
            },
            "batch" => target = Target::Batch(bee.batch()),
            "flush" => {
                if let Target::Batch(batch) = std::mem::replace(&mut target, Target::Bee(bee.clone())) {
                    batch.flush().await.expect("flush");
                }
            }
            "sub s1 put" => _ = bee.sub("s1").put(argument(1), argument(2)).await.expect("put"),
            "sub s1/s2 put" => _ = bee.sub("s1").sub("s2").put(argument(1), argument(2)).await.expect("put"),
            "sub bin put" => {
                _ = bee.sub("bin").put(unhex(argument(1)), unhex(argument(2))).await.expect("put");
            }
            op => panic!("unknown operation {op}"),
        }
    }
    log
}

#[tokio::test]
async fn vector_hyperbee() {
    for stack in STACKS {
        let file = vector_json(&format!("data/{stack}/20-hyperbee.json"));
        let header = Header { protocol: "hyperbee".into(), metadata: None };
        assert_eq!(hex(&header.encode()), text(&file["header"]["default"]));
        let scenarios = file["scenarios"].as_array().expect("scenarios");
        assert_eq!(scenarios.len(), 11);
        for scenario in scenarios {
            let name = text(&scenario["name"]);
            let log = run(scenario).await;
            let blocks = log.blocks();
            if let Some(expected) = scenario["blocks"].as_array() {
                for (seq, (block, expected)) in blocks.iter().zip(expected).enumerate() {
                    assert_eq!(hex(block), text(expected), "{stack}, {name}, block {seq}");
                }
            }
            assert_eq!(blocks.len() as u64, scenario["length"].as_u64().expect("length"), "{stack}, {name}");
            let parts: Vec<&[u8]> = blocks.iter().map(|block| &block[..]).collect();
            assert_eq!(hex(&crypto::hash(&parts)), text(&scenario["digestOfBlocks"]), "{stack}, {name}");
            let reads = scenario["reads"].as_array().expect("reads");
            if !reads.is_empty() {
                let entries = Hyperbee::new(log).range(Range::default()).await.expect("range");
                let entries = entries.collect().await.expect("entries");
                assert_eq!(entries.len(), reads.len());
                for (entry, read) in entries.iter().zip(reads) {
                    assert_eq!(
                        (&entry.key[..], entry.value.as_deref()),
                        (text(&read[0]).as_bytes(), Some(text(&read[1]).as_bytes()))
                    );
                }
            }
        }
    }
}
