//! Deleted ranges of tables that are parts of a level, in a database written here by hand. A compaction writes a deleted range as a
//! whole into each table that has a part of it; for a table it says only what is within its bounds (`TruncatedRangeDelIterator`).

use std::fs;
use std::path::Path;

use super::table::{EXTENDED_MAGIC, FOOTER, MAGIC, XXH3, checksum};
use super::{Rocks, masked_crc};
use crate::Source;

const DELETED_RANGE: u8 = 15;
const PUT: u8 = 1;
/// The highest there is: of a bound that is the end of a part of a deleted range.
const MAX_SEQUENCE: u64 = (1 << 56) - 1;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&varint(bytes.len() as u64), bytes].concat()
}

fn internal(key: &str, sequence: u64, kind: u8) -> Vec<u8> {
    [key.as_bytes(), &(sequence << 8 | u64::from(kind)).to_le_bytes()].concat()
}

/// Puts a block at the end, without restarts. Its handle.
fn put_block(file: &mut Vec<u8>, entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let entry = |(key, value): &(Vec<u8>, Vec<u8>)| {
        [&[0][..], &varint(key.len() as u64), &varint(value.len() as u64), key, value].concat()
    };
    let mut block: Vec<u8> = entries.iter().flat_map(entry).collect();
    block.extend([0; 4]);
    let handle = [varint(file.len() as u64), varint(block.len() as u64)].concat();
    let sum = checksum(&block, 0).to_le_bytes();
    file.extend([&block[..], &[0], &sum].concat());
    handle
}

fn table(entries: &[(Vec<u8>, Vec<u8>)], deleted: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    let data = put_block(&mut file, entries);
    let last = entries.last().expect("an entry").0.clone();
    let index = put_block(&mut file, &[(last, data)]);
    let properties = put_block(&mut file, &[]);
    let deleted = put_block(&mut file, deleted);
    let name = |name: &str, handle| (name.as_bytes().to_vec(), handle);
    let begin = file.len();
    let list =
        [name("rocksdb.index", index), name("rocksdb.properties", properties), name("rocksdb.range_del", deleted)];
    put_block(&mut file, &list);
    let size = (file.len() - begin - 5) as u32;
    let mut footer = [&[XXH3][..], &EXTENDED_MAGIC, &[0; 8], &size.to_le_bytes(), &[0; 24]].concat();
    footer.extend([&6u32.to_le_bytes()[..], &MAGIC.to_le_bytes()].concat());
    assert_eq!(footer.len(), FOOTER);
    let (last, rest) = footer.split_last().expect("a footer");
    let sum = checksum(rest, *last);
    footer[5..9].copy_from_slice(&sum.to_le_bytes());
    [file, footer].concat()
}

/// What an edit says of a table, with the bounds.
fn new_file(number: u64, size: usize, smallest: &[u8], largest: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = [103, 1, number, size as u64].into_iter().flat_map(varint).collect();
    [&numbers[..], &prefixed(smallest), &prefixed(largest), &[0, 0, 1]].concat()
}

fn put_manifest(folder: &Path, edits: &[Vec<u8>]) {
    let record = |edit: &Vec<u8>| {
        let crc = masked_crc(&[&[1], edit]).to_le_bytes();
        [&crc[..], &(edit.len() as u16).to_le_bytes(), &[1], edit].concat()
    };
    let manifest: Vec<u8> = edits.iter().flat_map(record).collect();
    fs::write(folder.join("MANIFEST-000001"), manifest).expect("written");
    fs::write(folder.join("CURRENT"), "MANIFEST-000001\n").expect("written");
}

/// `a..z` was deleted at 100, which a table says that has these bounds, and keys that were put before and one after. Values of the
/// last level are as old as can be: also those that were put behind the bounds since, which were compacted with another part of the
/// range.
fn compacted(folder: &Path, smallest: &[u8], before: &[&str], largest: &[u8]) -> Rocks {
    let put = |key: &str, sequence| (internal(key, sequence, PUT), format!("value of {key}").into_bytes());
    let range = (internal("a", 100, DELETED_RANGE), b"z".to_vec());
    let mut first = vec![put("b", 101)];
    first.extend(before.iter().map(|key| put(key, 99)));
    let first = table(&first, &[range]);
    let second = table(&[put("a", 0), put("m", 0), put("p", 0), put("w", 0)], &[]);
    fs::write(folder.join("000002.sst"), &first).expect("written");
    fs::write(folder.join("000003.sst"), &second).expect("written");
    let family = [varint(200), varint(1)].concat();
    let add = [&family[..], &varint(201), &prefixed(b"corestore")].concat();
    let files = [
        &family[..],
        &new_file(2, first.len(), smallest, largest),
        &new_file(3, second.len(), &internal("a", 0, PUT), &internal("w", 0, PUT)),
    ]
    .concat();
    put_manifest(folder, &[add, files]);
    Rocks::open(folder, "corestore").expect("readable").expect("a family")
}

fn keys(rocks: &Rocks) -> String {
    let mut keys = String::new();
    let each = &mut |key: &[u8], _: &[u8]| {
        keys.push_str(str::from_utf8(key).expect("text"));
        true
    };
    rocks.range(b"", b"~", each).expect("readable");
    for key in "abcmpw".chars() {
        let here = rocks.get(key.to_string().as_bytes()).expect("readable").is_some();
        assert_eq!(here, keys.contains(key), "{key}");
    }
    keys
}

#[test]
fn a_deleted_range_counts_within_its_table_only() {
    let folder = tempfile::tempdir().expect("folder");
    // Where the range was cut it does not count any more.
    let rocks = compacted(folder.path(), &internal("b", 101, PUT), &["c"], &internal("m", MAX_SEQUENCE, DELETED_RANGE));
    assert_eq!(keys(&rocks), "abmpw");
}

#[test]
fn the_bounds_of_a_table_are_part_of_it() {
    let folder = tempfile::tempdir().expect("folder");
    let rocks = compacted(folder.path(), &internal("a", 100, DELETED_RANGE), &["c", "p"], &internal("p", 99, PUT));
    assert_eq!(keys(&rocks), "bw");
}

#[test]
fn a_table_that_has_the_whole_range_deletes_it_all() {
    let folder = tempfile::tempdir().expect("folder");
    let end = internal("z", MAX_SEQUENCE, DELETED_RANGE);
    let rocks = compacted(folder.path(), &internal("a", 100, DELETED_RANGE), &["c"], &end);
    assert_eq!(keys(&rocks), "b");
}
