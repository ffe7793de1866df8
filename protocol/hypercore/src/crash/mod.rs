//! The file operations of a store are cut at every point of a workload, and what is left is opened again.

mod damage;
mod disk;
mod workload;

use std::sync::Arc;

use disk::{Loss, SimDisk};
use workload::{State, Workload};

use crate::storage::{Backend, Batch, Disk, Key};
use crate::store::{CoreOptions, Durability, Store};
use crate::{Hypercore, Manifest, Prologue};

/// So small that a workload brings its log into the B-tree many times.
const MEMORY: usize = 3000;

/// So small that it makes many files of large blocks, most of whose blocks die, so that the others are moved out of them.
const FILE: u64 = 4000;

fn open(disk: &Arc<SimDisk>) -> Result<Store, crate::Error> {
    Store::on_synced_by_hand(Box::new(Disk::on(Box::new(disk.clone()), MEMORY, FILE)?))
}

/// How many operations on files the whole workload makes.
fn operations(seed: u64) -> u64 {
    let disk = SimDisk::new(Vec::new(), u64::MAX);
    let mut workload = Workload::new(seed);
    workload.run(&open(&disk).expect("opens"));
    assert_eq!(workload.failed, None, "without a cut nothing fails");
    disk.operations()
}

/// A store with a core that is empty, and begins with more blocks than one write copies.
fn with_prologue(disk: &Arc<SimDisk>, source: &Hypercore) -> Result<Hypercore, crate::Error> {
    let store = Store::on_synced_by_hand(Box::new(Disk::on(Box::new(disk.clone()), 1 << 24, 1 << 24)?))?;
    let key_pair = crypto::KeyPair::from_seed(&[9; 32]);
    let prologue = Prologue { hash: source.tree_hash(source.length())?, length: source.length() };
    let manifest = Manifest { prologue: Some(prologue), ..Manifest::single(key_pair.public_key) };
    store.core(CoreOptions { manifest: Some(manifest), key_pair: Some(key_pair), ..CoreOptions::default() })
}

#[test]
fn a_prologue_that_is_half_copied_opens_and_is_completed() {
    let source = Store::memory().create().expect("core");
    source.append((0..5000).map(|index| format!("block {index}"))).expect("append");
    let disk = SimDisk::new(Vec::new(), u64::MAX);
    let core = with_prologue(&disk, &source).expect("core");
    let before = disk.operations();
    core.copy_prologue(&source).expect("copies");
    let after = disk.operations();
    assert!(after - before >= 2, "a write of several was cut");
    for cut in before..after {
        let disk = SimDisk::new(Vec::new(), cut);
        let core = with_prologue(&disk, &source).expect("core");
        assert!(core.copy_prologue(&source).is_err(), "cut at {cut}");
        drop(core);
        let disk = SimDisk::new(disk.after_crash(cut, Loss::Nothing), u64::MAX);
        let core = with_prologue(&disk, &source).expect("it opens");
        core.copy_prologue(&source).expect("completes");
        assert_eq!((core.length(), core.contiguous_length()), (5000, 5000), "cut at {cut}");
        assert_eq!(core.tree_hash(5000).expect("hash"), source.tree_hash(5000).expect("hash"));
    }
}

/// Runs the workload until operation `cut`, then loses what was not synchronised.
fn cut(seed: u64, cut: u64, loss: Loss) {
    let context = format!("seed {seed}, cut at operation {cut}, {loss:?}");
    let disk = SimDisk::new(Vec::new(), cut);
    let mut workload = Workload::new(seed);
    if let Ok(store) = open(&disk) {
        workload.run(&store);
    }
    let disk = SimDisk::new(disk.after_crash(seed ^ cut, loss), u64::MAX);
    let store = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let state = State::of(&store).unwrap_or_else(|error| panic!("{context}: {error}"));
    // One of the states after what was announced, and before what was cut: nothing announced is lost, nothing is half done.
    let possible = &workload.history[workload.announced..];
    assert!(possible.contains(&state), "{context}: {state:?} is none of {possible:?}");
    let report = store.check(|_| ()).expect("readable");
    assert!(report.is_whole(), "{context}: {report:?}");
    // And it goes on.
    let mut more = Workload::new(seed + 1);
    more.steps = 10;
    more.run(&store);
    assert_eq!(more.failed, None, "{context}");
    let state = State::of(&store).expect("readable");
    drop(store);
    let store = open(&disk).unwrap_or_else(|error| panic!("{context}: again: {error}"));
    assert_eq!(State::of(&store).expect("readable"), state, "{context}: again");
    assert!(store.check(|_| ()).expect("readable").is_whole(), "{context}: again");
}

#[test]
fn a_store_cut_at_any_operation_opens_with_all_that_was_announced() {
    let all = operations(1);
    assert!(all > 200, "{all} operations");
    // Files of large blocks come and go in it.
    let disk = SimDisk::new(Vec::new(), u64::MAX);
    Workload::new(1).run(&open(&disk).expect("opens"));
    let left = disk.after_crash(0, Loss::Nothing).iter().filter(|(name, _)| name.starts_with("blocks-")).count();
    let made = disk.made("blocks-");
    assert!(left > 1 && left < made, "{left} of {made} files of large blocks are left");
    for at in 0..all {
        let losses = [Loss::Nothing, Loss::Everything, Loss::Some];
        // Every cut once, with one kind of loss after the other.
        cut(1, at, losses[(at % 3) as usize]);
    }
}

#[test]
fn a_store_that_was_killed_has_all_that_was_written() {
    let all = operations(2);
    for at in (0..all).step_by(11) {
        let disk = SimDisk::new(Vec::new(), at);
        let mut workload = Workload::new(2);
        if let Ok(store) = open(&disk) {
            workload.run(&store);
        }
        let disk = SimDisk::new(disk.after_crash(at, Loss::Nothing), u64::MAX);
        let state = State::of(&open(&disk).expect("opens")).expect("readable");
        // The last step may have been written and have failed behind that; no other can be missing.
        let last = &workload.history[workload.history.len().saturating_sub(2)..];
        assert!(last.contains(&state), "cut at {at}");
    }
}

/// One core with a block of each size that is stored in a way of its own.
fn append(store: &Store, number: u8) -> Result<(), crate::Error> {
    let key_pair = Some(crypto::KeyPair::from_seed(&[9; 32]));
    let core = store.core(crate::CoreOptions { key_pair, ..crate::CoreOptions::default() })?;
    core.append([vec![number; 10], vec![number; 2000]]).map(drop)
}

fn length(store: &Store) -> u64 {
    let key_pair = Some(crypto::KeyPair::from_seed(&[9; 32]));
    let core = store.core(crate::CoreOptions { key_pair, ..crate::CoreOptions::default() }).expect("a core");
    for index in 0..core.length() {
        let block = core.get(index).expect("readable").expect("there");
        assert!(block.iter().all(|byte| u64::from(*byte) == index / 2), "block {index}");
    }
    assert!(store.check(|_| ()).expect("readable").is_whole());
    core.length()
}

#[test]
fn what_a_killed_process_left_is_durable_with_what_comes_behind_it() {
    let disk = SimDisk::new(Vec::new(), u64::MAX);
    let store = open(&disk).expect("opens");
    append(&store, 0).expect("appends");
    // The process dies, the machine does not, and the next process is as good as its word.
    let disk = SimDisk::restarted(&disk);
    let store = open(&disk).expect("opens again");
    append(&store, 1).expect("appends");
    store.synchronise().expect("synchronises");
    let disk = SimDisk::new(disk.after_crash(1, Loss::Everything), u64::MAX);
    assert_eq!(length(&open(&disk).expect("opens")), 4);
}

#[test]
fn what_is_told_after_a_kill_is_on_the_disk() {
    // A store counts what it finds as durable when it is opened, so that must outlive the machine with nothing written behind it.
    let all = operations(2);
    for at in (0..=all).step_by(7) {
        let disk = SimDisk::new(Vec::new(), at);
        let mut workload = Workload::new(2);
        if let Ok(store) = open(&disk) {
            workload.run(&store);
        }
        let disk = SimDisk::restarted(&disk);
        let told = State::of(&open(&disk).expect("opens")).expect("readable");
        let disk = SimDisk::new(disk.after_crash(at, Loss::Everything), u64::MAX);
        let left = State::of(&open(&disk).expect("opens again")).expect("readable");
        assert!(left == told, "killed at operation {at}");
    }
}

#[test]
fn a_store_that_met_a_full_disk_opens_again_and_goes_on() {
    let before = {
        let disk = SimDisk::new(Vec::new(), u64::MAX);
        let store = open(&disk).expect("opens");
        append(&store, 0).expect("appends");
        disk.operations()
    };
    let mut refused = 0;
    for at in before..before + 4 {
        let disk = SimDisk::new(Vec::new(), u64::MAX);
        let store = open(&disk).expect("opens");
        append(&store, 0).expect("appends");
        disk.be_full(at..at + 1);
        let mut number = 1;
        while number < 4 && append(&store, number).is_ok() {
            number += 1;
        }
        refused += u32::from(number < 4);
        drop(store);
        let disk = SimDisk::restarted(&disk);
        let store = open(&disk).expect("opens again");
        assert_eq!(length(&store), 2 * u64::from(number), "full at {at}");
        append(&store, number).expect("appends");
        store.synchronise().expect("synchronises");
        let disk = SimDisk::new(disk.after_crash(at, Loss::Everything), u64::MAX);
        assert_eq!(length(&open(&disk).expect("opens")), 2 * u64::from(number) + 2, "full at {at}");
    }
    assert!(refused > 1, "{refused}");
}

#[test]
fn what_is_written_later_is_there_with_what_is_written_behind_it() {
    let key = |number: u8| Key::from_slice(&[2, number]);
    let batch = |number: u8| Batch::from([(key(number), Some(bytes::Bytes::copy_from_slice(&[number])))]);
    let open = |disk: &Arc<SimDisk>| Disk::on(Box::new(disk.clone()), MEMORY, FILE).expect("opens");
    let left = |disk: &Arc<SimDisk>| -> Vec<u8> {
        let store = open(disk);
        (1..=4).filter(|&number| store.get(&key(number)).expect("readable").is_some()).collect()
    };
    let disk = SimDisk::new(Vec::new(), u64::MAX);
    let store = open(&disk);
    store.write_later(batch(1)).expect("written");
    store.sync().expect("synchronised");
    store.write_later(batch(2)).expect("written");
    store.write_later(batch(3)).expect("written");
    assert!(store.get(&key(3)).expect("readable").is_some(), "readers see it at once");
    assert_eq!(left(&SimDisk::new(disk.after_crash(1, Loss::Everything), u64::MAX)), [1]);
    store.write(batch(4)).expect("written");
    assert_eq!(left(&SimDisk::restarted(&disk)), [1, 2, 3, 4], "the process was killed");
}

#[test]
fn a_store_that_another_process_is_making_is_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    // As the other process is when it has looked whether there is a store, and has made nothing yet.
    let lock = std::fs::File::create(folder.path().join("lock")).expect("a file");
    lock.try_lock().expect("locked");
    let opened = Store::open(folder.path(), Durability::System);
    assert!(matches!(opened, Err(crate::Error::InUse)), "{opened:?}");
    assert!(!Store::exists(folder.path()), "it has made nothing either");
    drop(lock);
    Store::open(folder.path(), Durability::System).expect("opens");
}

#[test]
fn the_durable_mode_is_as_strict() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut workload = Workload::new(3);
    let store = Store::open(folder.path(), Durability::Disk).expect("opens");
    workload.run(&store);
    assert!(matches!(Store::open(folder.path(), Durability::Disk), Err(crate::Error::InUse)));
    let state = State::of(&store).expect("readable");
    drop(store);
    let store = Store::open(folder.path(), Durability::Disk).expect("opens again");
    assert_eq!(State::of(&store).expect("readable"), state);
    assert!(store.check(|_| ()).expect("readable").is_whole());
}
