//! What does not hold is named, and the rest comes over.

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;

use bytes::Bytes;
use common::{Entries, Recorded, digest, imported, key, report_of};
use corestore::Corestore;
use corestore_import::keys::{self, Table};
use corestore_import::{Damaged, ImportError, Outcome, Source, import};
use hypercore::Store;
use testing::Mulberry;

/// Where the last byte of a value is another.
fn spoil(entries: &mut Entries, key: &[u8]) {
    let value = entries.get_mut(key).unwrap_or_else(|| panic!("no entry {key:?}"));
    *value.last_mut().expect("not empty") ^= 1;
}

/// What is said of a core after its entries were changed. The others must not have suffered.
fn after(name: &str, change: impl Fn(&Recorded, &mut Entries)) -> (Outcome, Vec<String>, u64) {
    let recorded = Recorded::new("latest");
    let mut entries = recorded.entries.clone();
    change(&recorded, &mut entries);
    let (store, report) = imported(&entries);
    for about in recorded.cores() {
        let found = report_of(&report, about);
        if about["name"] != name {
            assert!(found.is_exact(), "{}: {found:?}", about["name"]);
            let core = store.get(&key(about)).expect("readable");
            assert_eq!(Some(&digest(&core).1[..]), about["digest"].as_str(), "{}", about["name"]);
        }
    }
    assert!(!report.is_exact());
    let found = report_of(&report, recorded.core(name));
    (found.outcome.clone(), found.problems.clone(), found.blocks)
}

#[test]
fn a_core_that_does_not_hold_is_refused() {
    type Change = fn(&Recorded, &mut Entries);
    let cases: [(&str, Change); 8] = [
        ("its manifest is not that of its key", |recorded, entries| {
            let (core, _) = recorded.pointers("local");
            let auth = entries.get_mut(&keys::auth(core.into())).expect("is there");
            // In the signer's key: key, discovery key, flags, length, version, flags, hash, quorum, count, kind, namespace.
            auth[32 + 32 + 8 + 32] ^= 1;
        }),
        ("its key is not that of its discovery key", |recorded, entries| {
            entries.get_mut(&keys::auth(recorded.pointers("local").0.into())).expect("is there")[0] ^= 1;
        }),
        ("its keys are missing", |recorded, entries| {
            entries.remove(&keys::auth(recorded.pointers("local").0.into()));
        }),
        ("the signature is not valid", |recorded, entries| {
            // fork, length, root hash, length of the signature, count, signer.
            entries.get_mut(&Table::Head.of(recorded.pointers("local").1.into())).expect("is there")[40] ^= 1;
        }),
        ("its tree is not that of its head", |recorded, entries| {
            spoil(entries, &Table::Tree.at(recorded.pointers("local").1.into(), 31));
        }),
        ("a root of its tree is missing", |recorded, entries| {
            entries.remove(&Table::Tree.at(recorded.pointers("local").1.into(), 31));
        }),
        ("its head", |recorded, entries| {
            entries.insert(Table::Head.of(recorded.pointers("local").1.into()), vec![0]);
        }),
        ("files of Hypercore 10", |recorded, entries| {
            let discovery_key = crypto::discovery_key(&key(recorded.core("local")));
            entries.get_mut(&keys::core(&discovery_key)).expect("is there")[0] = 0;
        }),
    ];
    for (expected, change) in cases {
        let (outcome, ..) = after("local", change);
        assert!(matches!(&outcome, Outcome::Refused(reason) if reason.contains(expected)), "{expected}: {outcome:?}");
    }
}

/// Its owner must not write it anew, from nothing, under the same key.
#[test]
fn the_name_of_a_core_that_was_refused_cannot_be_written() {
    let recorded = Recorded::new("latest");
    let (core, data) = recorded.pointers("local");
    let signature = Table::Head.of(data.into());
    for damaged in [signature, keys::auth(core.into())] {
        let mut entries = recorded.entries.clone();
        entries.get_mut(&damaged).expect("is there").truncate(20);
        let (store, report) = imported(&entries);
        assert_eq!(report.refused(), 1);
        let store = Corestore::new(store).expect("opened");
        let core = store.get_named(b"local").expect("opened");
        assert_eq!((core.key(), core.length()), (key(recorded.core("local")), 0));
        assert!(core.append(["again"]).is_err());
    }
}

#[test]
fn of_a_damaged_core_that_comes_over_which_holds() {
    type Change = fn(&Recorded, &mut Entries);
    let cases: [(&str, u64, Change); 6] = [
        ("block 5: not what was signed", 37, |recorded, entries| {
            spoil(entries, &Table::Block.at(recorded.pointers("local").1.into(), 5));
        }),
        ("blocks 5 to 6: missing", 36, |recorded, entries| {
            entries.remove(&Table::Block.at(recorded.pointers("local").1.into(), 5));
            entries.remove(&Table::Block.at(recorded.pointers("local").1.into(), 6));
        }),
        // A leaf spoils nothing but the block beside it.
        ("block 5: not what was signed", 36, |recorded, entries| {
            spoil(entries, &Table::Tree.at(recorded.pointers("local").1.into(), 8));
            entries.remove(&Table::Block.at(recorded.pointers("local").1.into(), 4));
            let mut page = entries[&keys::bitfield(recorded.pointers("local").1.into(), 0)].clone();
            page[0] &= !(1 << 4);
            entries.insert(keys::bitfield(recorded.pointers("local").1.into(), 0), page);
        }),
        ("its key pair is damaged", 38, |recorded, entries| {
            spoil(entries, &keys::auth(recorded.pointers("local").0.into()));
        }),
        ("has not asked the peers yet", 38, |recorded, entries| {
            entries.insert(Table::Hints.of(recorded.pointers("local").1.into()), vec![5, 38, 1]);
        }),
        ("the draft other: it shares blocks with another draft", 38, |recorded, entries| {
            let sessions = [&[1, 5][..], b"other", &[200]].concat();
            entries.insert(keys::sessions(recorded.pointers("local").0.into()), sessions);
            entries.insert(Table::Dependency.of(200), vec![9, 3]);
        }),
    ];
    for (expected, blocks, change) in cases {
        let (outcome, problems, carried) = after("local", change);
        assert_eq!(outcome, Outcome::Carried, "{expected}");
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
        assert_eq!(carried, blocks, "{expected}");
    }
}

/// A wrong node above blocks that are here is found out by them: nothing is lost.
#[test]
fn a_wrong_node_is_computed_again() {
    let recorded = Recorded::new("latest");
    let data = recorded.pointers("local").1.into();
    for node in [1, 3, 7, 9, 23, 64, 67] {
        let mut entries = recorded.entries.clone();
        spoil(&mut entries, &Table::Tree.at(data, node));
        let (store, report) = imported(&entries);
        let about = recorded.core("local");
        let core = store.get(&key(about)).expect("readable");
        match report_of(&report, about).outcome {
            Outcome::Carried => assert_eq!(Some(&digest(&core).1[..]), about["digest"].as_str(), "node {node}"),
            // Roots are what is signed.
            Outcome::Refused(_) => assert!([31, 67, 73].contains(&node), "node {node}"),
        }
    }
}

#[test]
fn a_draft_that_does_not_hold_is_left_out() {
    for (expected, table, index) in
        [("not those of its head", Table::Block, 10), ("blocks are missing", Table::Tree, 0)]
    {
        let (outcome, problems, blocks) = after("drafted", |recorded, entries| {
            let sessions = &entries[&keys::sessions(recorded.pointers("drafted").0.into())];
            let data = (*sessions.last().expect("not empty")).into();
            match table {
                Table::Block => spoil(entries, &Table::Block.at(data, index)),
                _ => drop(entries.remove(&Table::Block.at(data, 12))),
            }
        });
        assert_eq!((outcome, blocks), (Outcome::Carried, 11));
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
    }
}

/// Whatever byte is wrong: the new store is whole, and each block in it is the one that JavaScript had.
#[test]
fn no_wrong_byte_comes_over() {
    let recorded = Recorded::new("latest");
    let (original, _) = imported(&recorded.entries);
    let places: Vec<_> = recorded.entries.keys().skip(1).cloned().collect();
    let mut random = Mulberry(7);
    for round in 0..60 {
        let mut entries = recorded.entries.clone();
        let place = &places[random.below(places.len() as f64) as usize];
        let value = entries.get_mut(place).expect("is there");
        if value.is_empty() {
            continue;
        }
        let at = random.below(value.len() as f64) as usize;
        value[at] ^= 1 << (round % 8);
        let (store, _) = imported(&entries);
        for discovery_key in original.discovery_keys().expect("readable") {
            let (Some(was), Some(is)) =
                (original.find(&discovery_key).expect("readable"), store.find(&discovery_key).expect("readable"))
            else {
                continue;
            };
            for index in 0..is.length() {
                if let Some(block) = is.get_raw(index).expect("readable") {
                    assert_eq!(was.get_raw(index).expect("readable"), Some(block), "{place:?} {at}");
                }
            }
        }
    }
}

/// Entries of which some cannot be read.
struct Unreadable<'a> {
    entries: &'a BTreeMap<Vec<u8>, Vec<u8>>,
    keys: Vec<Vec<u8>>,
    asked: Cell<bool>,
}

impl Unreadable<'_> {
    fn check(&self, key: &[u8]) -> Result<(), Damaged> {
        if self.keys.iter().any(|damaged| damaged == key) {
            self.asked.set(true);
            return Err(Damaged("a checksum".into()));
        }
        Ok(())
    }
}

impl Source for Unreadable<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Damaged> {
        self.check(key)?;
        Source::get(self.entries, key)
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Damaged> {
        let mut damaged = Ok(());
        Source::range(self.entries, from, to, &mut |key, value| {
            damaged = self.check(key);
            damaged.is_ok() && each(key, value)
        })?;
        damaged
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_carried() {
    let recorded = Recorded::new("latest");
    let (core, data) = recorded.pointers("local");
    let (core, data): (u64, u64) = (core.into(), data.into());
    let discovery_key = crypto::discovery_key(&key(recorded.core("local")));
    let user_data = Table::UserData.of(data);
    let user_data = recorded.entries.keys().find(|key| key.starts_with(&user_data)).expect("is there").clone();
    let cases = [
        (Table::Block.at(data, 3), "block 3: damaged", 37),
        (keys::bitfield(data, 0), "which blocks are here is damaged", 38),
        (user_data, "user data: damaged", 38),
        (keys::sessions(core), "its drafts: damaged", 38),
        (Table::Head.of(data), "", 0),
        (keys::core(&discovery_key), "", 0),
    ];
    for (damaged, expected, blocks) in cases {
        let source = Unreadable { entries: &recorded.entries, keys: vec![damaged], asked: Cell::new(false) };
        let (_, report) = imported(&source);
        assert!(source.asked.get(), "{expected}");
        let found = report_of(&report, recorded.core("local"));
        assert_eq!(
            (found.blocks, matches!(found.outcome, Outcome::Refused(_))),
            (blocks, expected.is_empty()),
            "{found:?}"
        );
        assert!(expected.is_empty() || found.problems.iter().any(|problem| problem.contains(expected)), "{found:?}");
        assert!(!report.is_exact());
        for about in recorded.cores().iter().filter(|about| about["name"] != "local") {
            assert!(report_of(&report, about).is_exact(), "{expected}: {}", about["name"]);
        }
    }
}

#[test]
fn a_store_that_is_none_is_refused() {
    let refused = |entries: Entries| import(&entries, &Store::memory(), &mut |_| ()).expect_err("refused");
    assert!(matches!(refused(Entries::new()), ImportError::Damaged(_)));
    assert!(matches!(refused(Entries::from([(vec![0], vec![3])])), ImportError::Version(3)));
    assert!(matches!(refused(Entries::from([(vec![0], vec![0, 0])])), ImportError::Version(0)));
    assert!(matches!(refused(Entries::from([(vec![0], vec![2, 0])])), ImportError::Damaged(_)));
}
