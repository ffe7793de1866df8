//! What tests that start the program share.

use std::fs;
use std::path::Path;

use intercom::identity::{Identity, unlocked};

/// Where a store has its key.
pub(crate) const KEY_FILE: &str = "db/keypair.json";

/// Gives a store the sample key, unlocked, so that no test waits for a key to be stretched.
pub(crate) fn give_sample_key(store: &Path) {
    let key = store.join(KEY_FILE);
    fs::create_dir_all(key.parent().expect("a folder")).expect("writable");
    let content = testing::vector_bytes("app/keypair.sample.json");
    fs::write(&key, &content).expect("writable");
    let words = format!("{}art", "abandon ".repeat(23));
    let identity = Identity::from_mnemonic(&words, None).expect("valid words");
    unlocked::write(&key, &content, &identity).expect("writable");
}
