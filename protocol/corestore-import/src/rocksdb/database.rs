//! All files of a column family as one.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;

use super::batch::{Change, changes};
use super::log::{self, Cut};
use super::manifest::family;
use super::ranges::{DeletedRange, DeletedRanges};
use super::table::{Entries, Table};
use super::{Value, Versioned, unreadable};
use crate::{Damaged, ImportError, Source};

/// How many blocks of tables are kept decoded.
const CACHED_BLOCKS: usize = 256;

/// A column family, to be read.
pub(crate) struct Rocks {
    folder: PathBuf,
    tables: Vec<Table>,
    /// What is in no table yet.
    recent: BTreeMap<Vec<u8>, Versioned>,
    deleted: DeletedRanges,
    /// Whether the last write was cut short: its process was killed, or its machine failed.
    pub(crate) is_cut: bool,
    /// By table and place.
    cache: RefCell<HashMap<(usize, u64), Rc<Entries>>>,
}

impl Rocks {
    /// The column family `name` of the database in `folder`, if it has one.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Option<Self>, ImportError> {
        let read = |file: &str| fs::read(folder.join(file)).map_err(unreadable(Path::new(file)));
        let current = read("CURRENT")?;
        let manifest = str::from_utf8(&current).ok().map(str::trim_end);
        let manifest = manifest.filter(|name| name.starts_with("MANIFEST-") && !name.contains(['/', '\\']));
        let manifest = manifest.ok_or_else(|| Damaged("CURRENT".into()))?;
        let records = match log::records(&read(manifest)?) {
            // An edit that was not written whole was not made.
            Ok(records) | Err((records, Cut::Short)) => records,
            Err((_, Cut::Wrong(text))) => return Err(Damaged(format!("{manifest}: {text}")).into()),
        };
        let family = family(&records, name).map_err(|text| Damaged(format!("{manifest}: {text}")))?;
        let Some(family) = family else { return Ok(None) };
        let mut deleted = Vec::new();
        let mut tables = Vec::new();
        for file in &family.tables {
            let path = folder.join(format!("{:06}.sst", file.number));
            let mut table = Table::open(&path, file)?;
            deleted.append(&mut table.deleted);
            tables.push(table);
        }
        let mut recent = BTreeMap::new();
        let mut is_cut = false;
        let logs = logs(folder, family.log_number)?;
        for number in &logs {
            let file = format!("{number:06}.log");
            let cut = |text: &str| ImportError::CutLog(format!("{file}: {text}"));
            let records = match log::records(&read(&file)?) {
                Ok(records) => records,
                // As RocksDB has it: a write that did not end was not made.
                Err((records, Cut::Short)) if Some(number) == logs.last() => {
                    is_cut = true;
                    records
                }
                Err((_, Cut::Short)) => return Err(cut("its last record is not whole")),
                Err((_, Cut::Wrong(text))) => return Err(cut(&text)),
            };
            for record in records {
                let changes = changes(&record, family.id).ok_or_else(|| cut("a batch that is none"))?;
                for (sequence, change) in changes {
                    let (key, value) = match change {
                        Change::Put(key, value) => (key, Value::Inline(value)),
                        Change::Delete(key) => (key, Value::Deleted),
                        Change::DeleteRange(start, end) => {
                            deleted.push(DeletedRange { start, end, sequence });
                            continue;
                        }
                    };
                    newest(&mut recent, key, Versioned { sequence, value });
                }
            }
        }
        let (deleted, cache) = (DeletedRanges::new(deleted), RefCell::default());
        Ok(Some(Self { folder: folder.to_owned(), tables, recent, deleted, is_cut, cache }))
    }

    fn entries(&self, table: usize, block: usize) -> Result<Rc<Entries>, Damaged> {
        let handle = self.tables[table].index[block].1;
        let place = (table, handle.offset);
        if let Some(entries) = self.cache.borrow().get(&place) {
            return Ok(entries.clone());
        }
        let entries = Rc::new(self.tables[table].entries(handle)?);
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED_BLOCKS {
            cache.clear();
        }
        cache.insert(place, entries.clone());
        Ok(entries)
    }

    /// What a table has of a key.
    fn in_table(&self, table: usize, key: &[u8]) -> Result<Option<Versioned>, Damaged> {
        let Table { smallest, largest, index, .. } = &self.tables[table];
        let block = self.tables[table].first_block(key);
        if key < &smallest[..] || key > &largest[..] || block >= index.len() {
            return Ok(None);
        }
        let entries = self.entries(table, block)?;
        let at = entries.partition_point(|(entry, _)| &entry[..] < key);
        Ok(entries.get(at).filter(|(entry, _)| entry == key).map(|(_, found)| found.clone()))
    }

    /// The value itself, unless it was deleted.
    fn value(&self, key: &[u8], found: Versioned) -> Result<Option<Bytes>, Damaged> {
        if self.deleted.covers(key, found.sequence) {
            return Ok(None);
        }
        match found.value {
            Value::Deleted => Ok(None),
            Value::Inline(value) => Ok(Some(value)),
            Value::Blob(place) => place.read(&self.folder.join(format!("{:06}.blob", place.file)), key).map(Some),
        }
    }
}

/// The numbers of the logs from `first` on, in order.
fn logs(folder: &Path, first: u64) -> Result<Vec<u64>, Damaged> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let name = entry.map_err(unreadable(folder))?.file_name();
        let number: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
        logs.extend(number.filter(|number| *number >= first));
    }
    logs.sort_unstable();
    Ok(logs)
}

fn newest(entries: &mut BTreeMap<Vec<u8>, Versioned>, key: Vec<u8>, found: Versioned) {
    match entries.get_mut(&key) {
        Some(known) if known.sequence > found.sequence => {}
        Some(known) => *known = found,
        None => drop(entries.insert(key, found)),
    }
}

/// A block that cannot be read: what is known of its keys from elsewhere may be older than what it says.
struct Hidden<'a> {
    table: &'a Table,
    /// The last key before it.
    before: Option<&'a [u8]>,
    last: &'a [u8],
}

impl Hidden<'_> {
    fn may_have(&self, key: &[u8]) -> bool {
        let is_of_table = &self.table.smallest[..] <= key && key <= &self.table.largest[..];
        is_of_table && self.before.is_none_or(|before| before < key) && key <= self.last
    }
}

impl Source for Rocks {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Damaged> {
        // What is in no table yet is newer than what is.
        if let Some(found) = self.recent.get(key) {
            return self.value(key, found.clone());
        }
        let mut found: Option<Versioned> = None;
        for table in 0..self.tables.len() {
            // Of two that were written at once, none can be newer.
            if let Some(other) = self.in_table(table, key)?
                && found.as_ref().is_none_or(|found| found.sequence < other.sequence)
            {
                found = Some(other);
            }
        }
        found.map_or(Ok(None), |found| self.value(key, found))
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Damaged> {
        if from >= to {
            return Ok(());
        }
        let within = |key: &[u8]| from <= key && key < to;
        let mut found: BTreeMap<Vec<u8>, Versioned> = BTreeMap::new();
        let mut damaged = Ok(());
        let mut hidden: Vec<Hidden<'_>> = Vec::new();
        for (number, table) in self.tables.iter().enumerate() {
            if &table.largest[..] < from || &table.smallest[..] >= to {
                continue;
            }
            for block in table.first_block(from)..table.index.len() {
                match self.entries(number, block) {
                    Ok(entries) => {
                        for (key, value) in entries.iter().filter(|(key, _)| within(key)) {
                            newest(&mut found, key.clone(), value.clone());
                        }
                        if entries.last().is_some_and(|(key, _)| &key[..] >= to) {
                            break;
                        }
                    }
                    Err(error) => {
                        let before = block.checked_sub(1).map(|before| &table.index[before].0[..]);
                        hidden.push(Hidden { table, before, last: &table.index[block].0 });
                        damaged = Err(error);
                    }
                }
            }
        }
        found.retain(|key, _| !hidden.iter().any(|hidden| hidden.may_have(key)));
        for (key, value) in self.recent.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            found.insert(key.clone(), value.clone());
        }
        for (key, value) in found {
            match self.value(&key, value) {
                Ok(None) => {}
                Ok(Some(value)) if each(&key, &value) => {}
                Ok(Some(_)) => return Ok(()),
                Err(error) => damaged = Err(error),
            }
        }
        damaged
    }
}
