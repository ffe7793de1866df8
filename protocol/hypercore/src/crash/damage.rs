//! Bytes that a disk has changed, and those that it cannot read.

use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Loss, SimDisk};
use super::{FILE, MEMORY};
use crate::Error;
use crate::storage::{Backend, Batch, Directory, Disk, Key, Kind, Memory, Table, keys};
use crate::store::Store;

fn key(number: u8) -> Key {
    Table::Block.at(7, number.into())
}

/// Lets what was written before go to the B-tree, and what is live be moved out of files that are mostly dead.
fn bring_in(store: &Disk) {
    for number in 100..108 {
        store.write(Batch::from([(key(number), Some(Bytes::from(vec![number; 1000])))])).expect("written");
    }
}

#[test]
fn a_damaged_value_is_not_written_again_as_if_it_were_right() {
    let open = |disk: &Arc<SimDisk>| Disk::on(Box::new(disk.clone()), MEMORY, FILE).expect("opens");
    let disk = SimDisk::new(Vec::new(), u64::MAX);
    let store = open(&disk);
    // In one file, which is mostly dead when the second is gone.
    let [one, other] =
        [(1, 1100), (2, 2800)].map(|(number, size)| (key(number), Some(Bytes::from(vec![number; size]))));
    store.write(Batch::from([one.clone(), other.clone()])).expect("written");
    bring_in(&store);
    drop(store);
    for is_damaged in [false, true] {
        let mut files = disk.after_crash(0, Loss::Nothing);
        let file = files.iter_mut().find(|(name, _)| name == "blocks-0");
        let (_, bytes) = file.expect("the file of both");
        let at = bytes.windows(100).position(|some| some == [1; 100]).expect("the value");
        bytes[at + 500] ^= u8::from(is_damaged);
        let disk = SimDisk::new(files, u64::MAX);
        let store = open(&disk);
        store.write(Batch::from([(other.0.clone(), None)])).expect("written");
        bring_in(&store);
        bring_in(&store);
        let stays = disk.list(Kind::Large).expect("files").contains(&0);
        assert_eq!(stays, is_damaged, "it is moved out if it is whole");
        match store.get(&one.0) {
            Ok(value) => assert!(!is_damaged && value == one.1),
            Err(error) => assert!(is_damaged && matches!(error, Error::Corrupt(_)), "{error}"),
        }
    }
}

/// A store in memory of which one entry cannot be read.
struct Unreadable {
    memory: Memory,
    bad: Key,
}

impl Backend for Unreadable {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if *key == self.bad[..] {
            return Err(std::io::Error::other("a bad sector").into());
        }
        self.memory.get(key)
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) -> Result<(), Error> {
        self.memory.range(from, to, each)
    }

    fn keys(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Error> {
        self.memory.keys(from, to, each)
    }

    fn write(&self, batch: Batch) -> Result<(), Error> {
        self.memory.write(batch)
    }

    fn sync(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn a_check_says_what_cannot_be_read_and_goes_on() {
    let source = Store::memory();
    for number in 0..2 {
        let core = source.create().expect("a core");
        core.append((0..5u8).map(|index| vec![8 * number + index; 2000])).expect("appended");
        core.head();
    }
    let whole = source.check(|_| ()).expect("readable");
    let keys = source.discovery_keys().expect("readable");
    let pointer = source.find(&keys[0]).expect("readable").expect("there").line().pointer;
    let entries = || {
        let (memory, mut batch) = (Memory::default(), Batch::new());
        let mut each = |key: &[u8], value| {
            batch.insert(Key::from_slice(key), Some(value));
            true
        };
        source.inner().backend.range(&[0], &[u8::MAX], &mut each).expect("readable");
        memory.write(batch).expect("written");
        memory
    };
    for (bad, what, blocks) in [
        (Table::Block.at(pointer, 3), "block 3", 9),
        (Table::Node.at(pointer, 5), "tree node 5", 6),
        (Table::Head.only(pointer), "", 5),
    ] {
        let store = Store::on_synced_by_hand(Box::new(Unreadable { memory: entries(), bad })).expect("opens");
        let report = store.check(|_| ()).expect("a report");
        assert_eq!((report.cores, report.blocks), (whole.cores, blocks), "{what}: {:?}", report.problems);
        let (core, text) = &report.problems[0];
        assert!(*core == keys[0] && text.contains(what) && text.contains("a bad sector"), "{what}: {text}");
    }
}

#[test]
fn a_store_of_another_format_is_refused() {
    let (memory, newer) = (Memory::default(), Bytes::from_static(&[3, 1, 0]));
    memory.write(Batch::from([(keys::store(), Some(newer))])).expect("written");
    let refused = Store::on_synced_by_hand(Box::new(memory)).map(drop);
    assert!(matches!(&refused, Err(Error::Corrupt(text)) if text.contains("format 3")), "{refused:?}");
}
