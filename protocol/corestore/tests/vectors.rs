//! Keys as JavaScript derives them.

use corestore::Corestore;
use hypercore::Store;
use testing::{hex, unhex, vector_json};

#[test]
fn vector_corestore() {
    for stack in ["pinned", "msb", "latest"] {
        let file = vector_json(&format!("data/{stack}/13-corestore.json"));
        let primary_key = unhex(file["primaryKey"].as_str().expect("hex")).try_into().expect("a key");
        let store = Corestore::with_primary_key(Store::memory(), &primary_key).expect("store");
        let list = file["list"].as_array().expect("list");
        assert!(!list.is_empty());
        for entry in list {
            let text = |name: &str| entry[name].as_str().expect("text");
            let mut space = store.clone();
            if text("namespace") != "root" {
                for part in text("namespace").split('/') {
                    // This one is a namespace of three bytes.
                    space = space.namespace(if part == "010203" { &[1, 2, 3] } else { part.as_bytes() });
                }
            }
            assert_eq!(hex(space.namespace_id()), text("ns"), "{stack} {}", text("namespace"));
            let key_pair = space.key_pair(text("name").as_bytes());
            assert_eq!(hex(&key_pair.secret_key()), text("secretKey"));
            let core = space.get_named(text("name").as_bytes()).expect("core");
            assert_eq!(hex(&core.key()), text("coreKey"));
            assert_eq!(hex(&core.discovery_key()), text("discoveryKey"));
            assert_eq!(hex(&core.manifest().expect("manifest").encode()), text("manifest"));
        }
    }
}
