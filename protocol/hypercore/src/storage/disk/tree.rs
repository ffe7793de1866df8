//! The B-tree: what is old. Blocks and tree nodes are in [pages](super::page), all else is as it was written.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::cache::Cache;
use super::memtable::{MemTable, Prefix, Run};
use super::page::{self, Decoded, Entries, PREFIX, Pages};
use super::{Each, Stored, damaged, failed};
use crate::Error;
use crate::storage::Key;

/// The number below which logs are in the B-tree, whatever is left of them.
const BELOW: TableDefinition<'_, (), u64> = TableDefinition::new("logs below");

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("hypercore");

/// How many bytes of each file of large values are live.
const LIVE: TableDefinition<'_, u64, u64> = TableDefinition::new("live bytes of files");

/// The B-tree as it was at a time.
pub(super) type View = Arc<State>;

pub(super) struct State {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    cache: Cache,
}

/// Makes the tables of a new B-tree, so that they can be read.
pub(crate) fn initialise(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write().map_err(failed)?;
    transaction.open_table(ENTRIES).map_err(failed)?;
    transaction.open_table(BELOW).map_err(failed)?;
    transaction.open_table(LIVE).map_err(failed)?;
    transaction.commit().map_err(failed)
}

pub(super) fn view(database: &Database) -> Result<View, Error> {
    let table = database.begin_read().map_err(failed)?.open_table(ENTRIES).map_err(failed)?;
    Ok(Arc::new(State { table, cache: Cache::default() }))
}

pub(super) fn logs_below(database: &Database) -> Result<u64, Error> {
    let table = database.begin_read().map_err(failed)?.open_table(BELOW).map_err(failed)?;
    Ok(table.get(()).map_err(failed)?.map_or(0, |below| below.value()))
}

/// How many bytes of each file of large values are live; those that are not named have none.
pub(super) fn live(database: &Database) -> Result<HashMap<u64, u64>, Error> {
    let table = database.begin_read().map_err(failed)?.open_table(LIVE).map_err(failed)?;
    let entry = |entry: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, u64>), _>| {
        entry.map(|(file, bytes)| (file.value(), bytes.value())).map_err(failed)
    };
    table.range::<u64>(..).map_err(failed)?.map(entry).collect()
}

pub(super) fn get(view: &View, key: &[u8]) -> Result<Option<Stored>, Error> {
    let State { table, cache } = &**view;
    let Some((prefix, index)) = page::split(key) else {
        let value = table.get(key).map_err(failed)?;
        return Ok(value.map(|value| Stored::Inline(Bytes::copy_from_slice(value.value()))));
    };
    if let Some(found) = cache.get(prefix, index)? {
        return Ok(found);
    }
    let entry = table.range(&prefix[..]..=key).map_err(failed)?.next_back().transpose().map_err(failed)?;
    let first = entry.as_ref().map_or(Ok(0), |(first, _)| page::index(first.value()))?;
    let bytes = entry.as_ref().map_or(&[][..], |(_, bytes)| bytes.value());
    if cache.is_wanted(prefix, first) {
        let end = next_page(table, &prefix, key)?;
        cache.keep(prefix, Decoded::new(first, bytes, end)?);
    }
    Ok(page::find(first, bytes, index)?.map(|value| value.to_stored()))
}

/// Where the first page behind `key` begins.
fn next_page(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    prefix: &Prefix,
    key: &[u8],
) -> Result<Option<u64>, Error> {
    let mut end = Key::from_slice(prefix);
    end[PREFIX - 1] += 1;
    let behind = (Bound::Excluded(key), Bound::Excluded(&end[..]));
    let next = table.range::<&[u8]>(behind).map_err(failed)?.next().transpose().map_err(failed)?;
    next.map(|(key, _)| page::index(key.value())).transpose()
}

/// Calls `each` with the entries of `from..to` in ascending order, until it returns `false`.
pub(super) fn scan(view: &View, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), Error> {
    let view = &view.table;
    if !page::is_packed(from) {
        for entry in view.range(from..to).map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            if !each(key.value(), Stored::Inline(Bytes::copy_from_slice(value.value())))? {
                break;
            }
        }
        return Ok(());
    }
    // The first may be in a page that begins before it.
    let before = view.range(page::prefix(from)..=from).map_err(failed)?.next_back();
    let start = before.transpose().map_err(failed)?.map_or_else(|| from.to_vec(), |(key, _)| key.value().to_vec());
    for entry in view.range(&start[..]..to).map_err(failed)? {
        let (first, bytes) = entry.map_err(failed)?;
        let mut key = Key::from_slice(page::prefix(first.value()));
        for entry in Entries::new(page::index(first.value())?, bytes.value()) {
            let (index, value) = entry?;
            key.truncate(6);
            key.extend_from_slice(&index.to_be_bytes());
            if &key[..] >= to || (&key[..] >= from && !each(&key, value.to_stored())?) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Makes changes, and notes that the logs below `below` are in the B-tree.
pub(super) fn bring_in(database: &Database, changes: &MemTable, below: u64) -> Result<(), Error> {
    let mut transaction = database.begin_write().map_err(failed)?;
    transaction.set_durability(Durability::Immediate).map_err(failed)?;
    let mut grown: HashMap<u64, i64> = HashMap::new();
    {
        let mut table = transaction.open_table(ENTRIES).map_err(failed)?;
        for (prefix, run) in changes.packed() {
            repack(&mut table, prefix, run, &mut grown)?;
        }
        for (key, change) in changes.others() {
            match change {
                Some(Stored::Inline(value)) => table.insert(&key[..], &value[..]).map_err(failed)?,
                Some(Stored::Large(_)) => return Err(damaged("a large value that is no block")),
                None => table.remove(&key[..]).map_err(failed)?,
            };
        }
    }
    {
        let mut live = transaction.open_table(LIVE).map_err(failed)?;
        for (file, by) in grown {
            let bytes = live.get(file).map_err(failed)?.map_or(0, |bytes| bytes.value());
            match bytes.saturating_add_signed(by) {
                0 => live.remove(file).map_err(failed)?,
                bytes => live.insert(file, bytes).map_err(failed)?,
            };
        }
    }
    transaction.open_table(BELOW).map_err(failed)?.insert((), below).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Makes the changes `run` in the pages of one history's table.
fn repack(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    prefix: &Prefix,
    run: &Run,
    grown: &mut HashMap<u64, i64>,
) -> Result<(), Error> {
    let mut count = |value: &Stored, sign: i64| {
        if let Stored::Large(place) = value {
            *grown.entry(place.file).or_default() += sign * i64::from(place.length);
        }
    };
    let mut run = run.iter().peekable();
    while let Some(&(&first, _)) = run.peek() {
        // The page that the first change is in, and where the next one begins.
        let from = page::key(prefix, first);
        let page = table.range(&prefix[..]..=&from[..]).map_err(failed)?.next_back().transpose().map_err(failed)?;
        let page = page.map(|(key, bytes)| (Key::from_slice(key.value()), bytes.value().to_vec()));
        let next = next_page(table, prefix, &from)?;

        let mut old = Vec::new();
        if let Some((key, bytes)) = &page {
            for entry in Entries::new(page::index(key)?, bytes) {
                let (index, value) = entry?;
                old.push((index, value.to_stored()));
            }
        }
        let mut old = old.iter().peekable();
        let mut entries: Vec<(u64, &Stored)> = Vec::new();
        while let Some((&index, change)) = run.next_if(|(index, _)| next.is_none_or(|next| **index < next)) {
            while let Some((at, value)) = old.next_if(|(at, _)| *at < index) {
                entries.push((*at, value));
            }
            if let Some((_, gone)) = old.next_if(|(at, _)| *at == index) {
                count(gone, -1);
            }
            if let Some(value) = change {
                count(value, 1);
                entries.push((index, value));
            }
        }
        entries.extend(old.map(|(at, value)| (*at, value)));

        let bytes = entries.iter().map(|(_, value)| Pages::bytes_of(value)).sum();
        let mut pages = Pages::new(prefix, bytes, next.is_none());
        entries.into_iter().for_each(|(index, value)| pages.add(index, value));
        let pages = pages.finish();
        if let Some((key, _)) = page.filter(|(key, _)| pages.first().is_none_or(|(first, _)| first != key)) {
            table.remove(&key[..]).map_err(failed)?;
        }
        for (key, page) in pages {
            table.insert(&key[..], &page[..]).map_err(failed)?;
        }
    }
    Ok(())
}
