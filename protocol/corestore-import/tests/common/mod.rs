//! Stores as JavaScript wrote them, recorded (`interop-tests/import`).

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;

use corestore_import::{CoreReport, Report, import};
use hypercore::{Hash, Hypercore, Store};
use serde_json::Value;
use sha2::{Digest, Sha256};
use testing::{hex, unhex};

pub(crate) const KINDS: [&str; 2] = ["pinned", "latest"];

pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) struct Recorded {
    /// What JavaScript says is in the store.
    pub(crate) about: Value,
    pub(crate) entries: Entries,
}

impl Recorded {
    pub(crate) fn new(kind: &str) -> Self {
        let path = format!("{}/tests/data/{kind}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("the record is there");
        let mut about: Value = serde_json::from_str(&text).expect("JSON");
        let entries = about["entries"].take();
        let entry = |entry: &Value| {
            let part = |place: usize| unhex(entry[place].as_str().expect("hex"));
            (part(0), part(1))
        };
        Self { entries: entries.as_array().expect("a list").iter().map(entry).collect(), about }
    }

    pub(crate) fn cores(&self) -> &[Value] {
        self.about["cores"].as_array().expect("a list")
    }

    pub(crate) fn core(&self, name: &str) -> &Value {
        self.cores().iter().find(|core| core["name"] == name).expect("a core of that name")
    }

    /// The number under which the entries of a core are, and that under which its blocks are.
    pub(crate) fn pointers(&self, name: &str) -> (u8, u8) {
        let entry = &self.entries[&[&[1], &crypto::discovery_key(&key(self.core(name)))[..]].concat()];
        (entry[1], entry[2])
    }
}

pub(crate) fn key(core: &Value) -> Hash {
    unhex(core["key"].as_str().expect("hex")).try_into().expect("a key")
}

/// How many blocks are here, and the digest that JavaScript made of them.
pub(crate) fn digest(core: &Hypercore) -> (u64, String) {
    let sha = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let mut here = Vec::new();
    for index in 0..core.length() {
        let block = core.get_raw(index).expect("readable");
        assert_eq!(block.is_some(), core.has(index), "block {index}");
        here.extend(block.map(|block| serde_json::json!([index, sha(&block)])));
    }
    (here.len() as u64, sha(Value::from(here).to_string().as_bytes()))
}

/// Imports entries, and has the new store checked.
pub(crate) fn imported(entries: &dyn corestore_import::Source) -> (Store, Report) {
    let store = Store::memory();
    let mut told = 0;
    let report = import(entries, &store, &mut |_| told += 1).expect("imported");
    assert_eq!(told, report.cores.len());
    let check = store.check(|_| ()).expect("readable");
    assert!(check.is_whole(), "{:?}", check.problems);
    (store, report)
}

pub(crate) fn report_of<'a>(report: &'a Report, core: &Value) -> &'a CoreReport {
    let discovery_key = crypto::discovery_key(&key(core));
    report.cores.iter().find(|core| core.discovery_key == discovery_key).expect("a report of the core")
}
