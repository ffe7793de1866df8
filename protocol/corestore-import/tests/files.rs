//! A JavaScript store as it is in a folder: `tests/data/tables` is what `make-store.js pinned … tables` wrote.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Entries, Recorded, digest, key, report_of};
use corestore_import::{Database, ImportError, Source, import, import_folder};
use hypercore::{Durability, Store};
use tempfile::TempDir;
use testing::Mulberry;

fn recorded_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tables")
}

/// The files of a store, to be damaged.
fn copied() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().expect("a temporary folder");
    let db = place.path().join("source/db");
    fs::create_dir_all(&db).expect("writable");
    for (file, bytes) in files(&recorded_folder().join("db")) {
        fs::write(db.join(file), bytes).expect("writable");
    }
    (place, db)
}

/// All files of a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable"));
    let file = |entry: fs::DirEntry| {
        (entry.file_name().into_string().expect("text"), fs::read(entry.path()).expect("readable"))
    };
    let mut files: Vec<_> = entries.map(file).collect();
    files.sort();
    files
}

fn all(source: &dyn Source) -> Entries {
    let mut entries = Entries::new();
    let read = source.range(&[0], &[255], &mut |key, value| entries.insert(key.to_vec(), value.to_vec()).is_none());
    read.expect("readable");
    entries
}

fn open_error(folder: &Path) -> ImportError {
    Database::open(folder).expect_err("refused")
}

#[test]
fn entries_are_those_that_rocksdb_reads() {
    let recorded = Recorded::new("pinned").entries;
    let database = Database::open(&recorded_folder()).expect("opened");
    let found = all(&database);
    assert_eq!(found.keys().collect::<Vec<_>>(), recorded.keys().collect::<Vec<_>>());
    assert!(found == recorded);
    for (key, value) in &recorded {
        assert_eq!(database.get(key).expect("readable").as_deref(), Some(&value[..]), "{key:?}");
        let beside = [&key[..], &[0]].concat();
        assert_eq!(database.get(&beside).expect("readable").is_some(), recorded.contains_key(&beside));
    }
    // A part, from the middle of one block to the middle of another.
    let keys: Vec<_> = recorded.keys().collect();
    for (from, to) in [(100, 101), (5, 600), (300, 301), (17, 17)] {
        let mut part = Vec::new();
        let read = database.range(keys[from], keys[to], &mut |key, _| {
            part.push(key.to_vec());
            true
        });
        read.expect("readable");
        assert!(part.iter().eq(keys[from..to].iter().copied()), "{from} {to}");
    }
}

#[test]
fn a_folder_comes_over_and_is_not_touched() {
    let (place, db) = copied();
    let (source, target) = (place.path().join("source"), place.path().join("new/target"));
    let before = files(&db);
    let recorded = Recorded::new("pinned");
    let mut told = 0;
    let (report, check) = import_folder(&source, &target, &mut |_| told += 1).expect("imported");
    assert!(report.is_exact() && check.is_whole());
    assert_eq!((told, check.cores), (recorded.cores().len(), recorded.cores().len() as u64));
    let store = Store::open(&target, Durability::System).expect("opened");
    for about in recorded.cores() {
        assert!(report_of(&report, about).is_exact());
        let core = store.get(&key(about)).expect("readable");
        assert_eq!(Some(&digest(&core).1[..]), about["digest"].as_str(), "{}", about["name"]);
    }
    assert!(files(&db) == before);
    assert_eq!(files_of(target.parent().expect("a parent")), ["target"]);
    let again = import_folder(&source, &target, &mut |_| ()).expect_err("is there");
    assert!(matches!(again, ImportError::TargetExists(_)), "{again}");
}

fn files_of(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("text"))
        .collect()
}

#[test]
fn what_an_import_left_that_was_ended_is_replaced() {
    let (place, _) = copied();
    let (source, target) = (place.path().join("source"), place.path().join("target"));
    let partial = place.path().join("target.partial");
    let left = Store::open(&partial, Durability::System).expect("made");
    left.create().expect("made").append(["something else"]).expect("appended");
    let busy = import_folder(&source, &target, &mut |_| ()).expect_err("in use");
    assert!(matches!(busy, ImportError::TargetInUse(_)), "{busy}");
    drop(left);
    let (report, check) = import_folder(&source, &target, &mut |_| ()).expect("imported");
    assert_eq!((report.is_exact(), check.cores), (true, report.cores.len() as u64));
    assert!(!partial.exists());

    // What is no store stays.
    let (target, partial) = (place.path().join("other"), place.path().join("other.partial"));
    fs::create_dir(&partial).expect("made");
    fs::write(partial.join("letter"), "dear").expect("written");
    let refused = import_folder(&source, &target, &mut |_| ()).expect_err("not ours");
    assert!(matches!(&refused, ImportError::TargetExists(path) if *path == partial), "{refused}");
    assert_eq!(files_of(&partial), ["letter"]);
}

/// Whatever of its files were there when it was killed: before there was a store, within it, or while its remains were removed.
#[test]
fn what_an_import_left_that_was_killed_is_replaced() {
    let (place, _) = copied();
    let source = place.path().join("source");
    let whole = place.path().join("whole");
    import_folder(&source, &whole, &mut |_| ()).expect("imported");
    let files = files_of(&whole);
    assert!(files.len() > 1, "{files:?}");
    let parts = (0..=files.len()).flat_map(|end| [files[..end].to_vec(), files[end..].to_vec()]);
    for (number, mut part) in parts.enumerate() {
        let (target, partial) = (place.path().join(number.to_string()), place.path().join(format!("{number}.partial")));
        fs::create_dir(&partial).expect("made");
        for name in &part {
            fs::copy(whole.join(name), partial.join(name)).expect("copied");
        }
        if part.is_empty() && number > 0 {
            part.push("cores.redb.new".into());
            fs::write(partial.join("cores.redb.new"), "half").expect("written");
        }
        let imported = import_folder(&source, &target, &mut |_| ());
        let (report, check) = imported.unwrap_or_else(|error| panic!("after {part:?}: {error}"));
        assert!(report.is_exact() && check.is_whole());
        assert!(!partial.exists());
    }
}

#[test]
fn what_fails_leaves_nothing() {
    let (place, db) = copied();
    let table = db.join("000058.sst");
    let mut bytes = fs::read(&table).expect("readable");
    bytes.truncate(20_000);
    fs::write(&table, bytes).expect("written");
    let failed =
        import_folder(&place.path().join("source"), &place.path().join("target"), &mut |_| ()).expect_err("damaged");
    assert!(matches!(&failed, ImportError::Damaged(text) if text.contains("000058.sst")), "{failed}");
    assert_eq!(files_of(place.path()), ["source"]);
}

#[test]
fn other_folders_are_told_apart() {
    let place = tempfile::tempdir().expect("a temporary folder");
    assert!(matches!(open_error(place.path()), ImportError::NoStore(_)));
    fs::create_dir(place.path().join("cores")).expect("made");
    let old = open_error(place.path());
    assert!(matches!(old, ImportError::Old(_)) && old.to_string().contains("Hypercore 10"), "{old}");
    let (place, db) = copied();
    fs::remove_file(db.join("000061.sst")).expect("removed");
    assert!(matches!(open_error(&place.path().join("source")), ImportError::Damaged(_)));
    fs::write(db.join("CURRENT"), "MANIFEST-000009\n").expect("written");
    assert!(matches!(open_error(&place.path().join("source")), ImportError::Damaged(_)));
    fs::write(db.join("CURRENT"), "MANIFEST-../../x\n").expect("written");
    assert!(matches!(open_error(&place.path().join("source")), ImportError::Damaged(_)));
}

/// At whatever place the log of the newest writes ends, as after `kill -9`: what was written before is there, and it is said.
#[test]
fn a_write_that_was_cut_short_was_not_made() {
    let (place, db) = copied();
    let path = db.join("000060.log");
    let whole = fs::read(&path).expect("readable");
    let source = place.path().join("source");
    let lengths = |database: &Database| {
        let (store, _) = common::imported(database);
        store
            .find(&crypto::discovery_key(&key(Recorded::new("pinned").core("local"))))
            .expect("readable")
            .expect("is there")
            .length()
    };
    for length in [0, 3, 7, 100, 5000, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("written");
        let database = Database::open(&source).expect("opened");
        assert_eq!(lengths(&database), if length < 5000 { 37 } else { 38 }, "{length}");
        drop(database);
        let target = place.path().join(format!("target {length}"));
        let (report, _) = import_folder(&source, &target, &mut |_| ()).expect("imported");
        assert_eq!(report.problems.len(), usize::from(length > 0), "{length}: {:?}", report.problems);
        assert!(report.cores.iter().all(corestore_import::CoreReport::is_exact));
    }
    // Not cut, but wrong: who knows what it was.
    let mut wrong = whole.clone();
    wrong[50] ^= 1;
    fs::write(&path, wrong).expect("written");
    assert!(matches!(open_error(&source), ImportError::CutLog(_)));
    // Nor is one that another follows.
    fs::write(&path, &whole[..whole.len() - 1]).expect("written");
    fs::write(db.join("000070.log"), []).expect("written");
    assert!(matches!(open_error(&source), ImportError::CutLog(_)));
}

/// Whatever byte of whatever file is wrong: what can be read is what was written.
#[test]
fn no_wrong_byte_is_read() {
    let about = Recorded::new("pinned");
    let recorded = &about.entries;
    let (place, db) = copied();
    let source = place.path().join("source");
    let mut random = Mulberry(11);
    let (mut refused, mut partly) = (0, 0);
    for (file, bytes) in files(&db) {
        let rounds = if file.ends_with(".blob") { 6 } else { 40 };
        for _ in 0..rounds {
            let mut wrong = bytes.clone();
            wrong[random.below(bytes.len() as f64) as usize] ^= 1 << random.below(8.0);
            fs::write(db.join(&file), wrong).expect("written");
            let Ok(database) = Database::open(&source) else {
                refused += 1;
                continue;
            };
            let mut lost = 0;
            for (key, value) in recorded {
                match database.get(key) {
                    Ok(found) => assert_eq!(found.as_deref(), Some(&value[..]), "{file} {key:?}"),
                    Err(_) => lost += 1,
                }
            }
            let mut read = 0;
            let whole = database.range(&[0], &[255], &mut |key, value| {
                assert_eq!(recorded.get(key).map(|value| &value[..]), Some(value), "{file}");
                read += 1;
                true
            });
            assert_eq!((whole.is_ok(), read), (lost == 0, recorded.len() - lost), "{file}");
            partly += u32::from(lost > 0);
            // Nor does it come over: what is lost may be of no use, or it is said.
            if lost > 0 {
                let store = Store::memory();
                // The store's own entry may be among it.
                let Ok(report) = import(&database, &store, &mut |_| ()) else { continue };
                assert!(store.check(|_| ()).expect("readable").is_whole());
                for about in about.cores() {
                    let core = store.get(&key(about)).expect("readable");
                    let is_whole = Some(&digest(&core).1[..]) == about["digest"].as_str();
                    assert!(is_whole || !report_of(&report, about).is_exact(), "{file} {}", about["name"]);
                }
            }
        }
        fs::write(db.join(&file), bytes).expect("written");
    }
    assert!(refused > 60 && partly > 20, "{refused} {partly}");
}
