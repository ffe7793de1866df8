//! Pages of the B-tree: neighbouring blocks, or tree nodes, of one history under the key of the first of them.
//!
//! An entry is `uint distance from the index before ‖ uint 2 * length ‖ value`, or, of a value in a file of its own,
//! `uint distance ‖ uint 1 ‖ place`. A page fits into one page of the file, so that little of that is left empty.

use bytes::Bytes;
use encoding::{DecodeError, Decoder, Encoder};

use super::large::Place;
use super::{Stored, damaged};
use crate::Error;
use crate::storage::{Key, Table};

/// The most that a page takes: 4096, what `redb` adds, and the key.
const MAX_BYTES: usize = 4060;

/// What an entry takes beside its value, at most.
const ENTRY: usize = 18;

/// Whether entries with this key are kept in pages.
pub(super) fn is_packed(key: &[u8]) -> bool {
    const TABLES: [u8; 2] = [Table::Block as u8, Table::Node as u8];
    matches!(key, [4, _, _, _, _, table, ..] if TABLES.contains(table))
}

/// How many bytes of a key name the history and the table.
pub(super) const PREFIX: usize = 6;

/// The history and the table that a key belongs to.
pub(super) fn prefix(key: &[u8]) -> &[u8] {
    &key[..PREFIX]
}

/// The history and the table, and the index, of a key whose entry is kept in pages.
pub(super) fn split(key: &[u8]) -> Option<([u8; PREFIX], u64)> {
    if !is_packed(key) {
        return None;
    }
    let (prefix, _) = key.split_first_chunk()?;
    Some((*prefix, Table::index(key)?))
}

/// As [`split`], of a key that a range begins or ends with.
pub(super) fn split_start(key: &[u8]) -> Option<([u8; PREFIX], u64)> {
    if key.len() == PREFIX && is_packed(key) {
        return Some((*key.first_chunk()?, 0));
    }
    split(key)
}

/// The key of an entry, or of a page that begins with it.
pub(super) fn key(prefix: &[u8], index: u64) -> Key {
    let mut key = Key::from_slice(prefix);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

pub(super) fn index(key: &[u8]) -> Result<u64, Error> {
    Table::index(key).ok_or_else(|| damaged("the key of a page"))
}

/// A value as it is in a page.
pub(super) enum InPage<'a> {
    Inline(&'a [u8]),
    Large(Place),
}

impl InPage<'_> {
    pub(super) fn to_stored(&self) -> Stored {
        match *self {
            InPage::Inline(value) => Stored::Inline(Bytes::copy_from_slice(value)),
            InPage::Large(place) => Stored::Large(place),
        }
    }
}

/// The entries of a page, whose first has the index `first`.
pub(super) struct Entries<'a> {
    from: Decoder<'a>,
    index: u64,
}

impl<'a> Entries<'a> {
    pub(super) fn new(first: u64, page: &'a [u8]) -> Self {
        Self { from: Decoder::new(page), index: first }
    }

    fn read(&mut self) -> Result<(u64, InPage<'a>), DecodeError> {
        self.distance()?;
        Ok((self.index, self.value()?))
    }

    fn distance(&mut self) -> Result<(), DecodeError> {
        let distance = self.from.uint()?;
        self.index = self.index.checked_add(distance).ok_or(DecodeError::Invalid("an index"))?;
        Ok(())
    }

    fn value(&mut self) -> Result<InPage<'a>, DecodeError> {
        Ok(match self.from.uint_usize()? {
            1 => InPage::Large(Place::decode(&mut self.from)?),
            code => InPage::Inline(self.from.bytes(code / 2)?),
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(u64, InPage<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.from.is_empty() {
            return None;
        }
        let entry = self.read().map_err(|_| damaged("a page"));
        if entry.is_err() {
            self.from = Decoder::new(&[]);
        }
        Some(entry)
    }
}

/// The value of `index` in a page.
pub(super) fn find(first: u64, page: &[u8], index: u64) -> Result<Option<InPage<'_>>, Error> {
    for entry in Entries::new(first, page) {
        let (at, value) = entry?;
        if at >= index {
            return Ok((at == index).then_some(value));
        }
    }
    Ok(None)
}

/// A page with the places of its entries, and where the next one begins.
pub(super) struct Decoded {
    first: u64,
    end: Option<u64>,
    bytes: Vec<u8>,
    /// The index of each entry, and where its value is.
    places: Vec<(u64, u32)>,
}

impl Decoded {
    /// `bytes` are none where no page begins with, or before, an index below `end`.
    pub(super) fn new(first: u64, bytes: &[u8], end: Option<u64>) -> Result<Self, Error> {
        let mut places = Vec::new();
        let mut entries = Entries::new(first, bytes);
        while !entries.from.is_empty() {
            entries.distance().map_err(|_| damaged("a page"))?;
            places.push((entries.index, (bytes.len() - entries.from.remaining()) as u32));
            entries.value().map_err(|_| damaged("a page"))?;
        }
        Ok(Self { first, end, bytes: bytes.to_vec(), places })
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Whether the entry is here or nowhere.
    pub(super) fn covers(&self, index: u64) -> bool {
        self.first <= index && self.end.is_none_or(|end| index < end)
    }

    pub(super) fn find(&self, index: u64) -> Result<Option<InPage<'_>>, Error> {
        let Ok(place) = self.places.binary_search_by_key(&index, |(index, _)| *index) else { return Ok(None) };
        let from = Decoder::new(&self.bytes[self.places[place].1 as usize..]);
        Entries { from, index }.value().map(Some).map_err(|_| damaged("a page"))
    }
}

/// Makes pages of entries that come in ascending order.
pub(super) struct Pages<'a> {
    prefix: &'a [u8],
    /// A page ends when it has so many bytes.
    target: usize,
    open: Option<(Key, u64, Encoder)>,
    done: Vec<(Key, Vec<u8>)>,
}

impl<'a> Pages<'a> {
    /// For entries that take `bytes` together. Where others may come between them later, pages are filled evenly.
    pub(super) fn new(prefix: &'a [u8], bytes: usize, at_the_end: bool) -> Self {
        let target = if at_the_end { MAX_BYTES } else { bytes.div_ceil(bytes.div_ceil(MAX_BYTES).max(1)) };
        Self { prefix, target, open: None, done: Vec::new() }
    }

    /// What an entry takes at most.
    pub(super) fn bytes_of(value: &Stored) -> usize {
        ENTRY + if let Stored::Inline(value) = value { value.len() } else { 0 }
    }

    pub(super) fn add(&mut self, index: u64, value: &Stored) {
        let full = |out: &Encoder| out.len() >= self.target || out.len() + Self::bytes_of(value) > MAX_BYTES;
        if self.open.as_ref().is_some_and(|(.., out)| full(out)) {
            self.end();
        }
        let (_, last, out) =
            self.open.get_or_insert_with(|| (key(self.prefix, index), index, Encoder::with_capacity(MAX_BYTES)));
        out.uint(index - *last);
        *last = index;
        match value {
            Stored::Inline(value) => out.uint(2 * value.len() as u64).raw(value),
            Stored::Large(place) => place.encode(out.uint(1)),
        };
    }

    fn end(&mut self) {
        self.done.extend(self.open.take().map(|(key, _, out)| (key, out.finish())));
    }

    pub(super) fn finish(mut self) -> Vec<(Key, Vec<u8>)> {
        self.end();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(key: &Key, page: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let read = |entry: Result<(u64, InPage<'_>), Error>| match entry.expect("readable") {
            (index, InPage::Inline(value)) => (index, value.to_vec()),
            (index, InPage::Large(place)) => (index, format!("{place:?}").into_bytes()),
        };
        Entries::new(index(key).expect("an index"), page).map(read).collect()
    }

    #[test]
    fn pages_hold_what_was_put_and_fit_into_one_of_the_file() {
        let place = Place { file: 3, at: 1 << 40, length: 65_536, sum: u32::MAX };
        let value = |index: u64| match index % 7 {
            3 => Stored::Large(place),
            _ => Stored::Inline(vec![index as u8; (index * 37 % 1025) as usize].into()),
        };
        let all: Vec<u64> = (0..500).map(|index| 10 + index * index * 1000).collect();
        let bytes = all.iter().map(|&index| Pages::bytes_of(&value(index))).sum();
        for at_the_end in [true, false] {
            let start = Table::Block.at(9, 0);
            let mut pages = Pages::new(prefix(&start), bytes, at_the_end);
            all.iter().for_each(|&index| pages.add(index, &value(index)));
            let pages = pages.finish();
            assert!(pages.iter().all(|(key, page)| page.len() <= MAX_BYTES && is_packed(key)));
            let read: Vec<_> = pages.iter().flat_map(|(key, page)| entries(key, page)).collect();
            let expected = |index| match value(index) {
                Stored::Inline(value) => value.to_vec(),
                Stored::Large(place) => format!("{place:?}").into_bytes(),
            };
            assert_eq!(read, all.iter().map(|&index| (index, expected(index))).collect::<Vec<_>>());
            let (key, page) = &pages[1];
            let first = index(key).expect("an index");
            assert!(find(first, page, first).expect("readable").is_some());
            assert!(find(first, page, first + 1).expect("readable").is_none());
            let decoded = Decoded::new(first, page, Some(first + 5_000_000)).expect("readable");
            for index in first..first + 200_000 {
                let found = |found: Option<InPage<'_>>| match found {
                    Some(InPage::Inline(value)) => Some(value.to_vec()),
                    Some(InPage::Large(place)) => Some(format!("{place:?}").into_bytes()),
                    None => None,
                };
                let of_page = find(first, page, index).expect("readable");
                assert_eq!(found(decoded.find(index).expect("readable")), found(of_page), "{index}");
            }
            assert!(decoded.covers(first) && decoded.covers(first + 4_999_999));
            assert!(!decoded.covers(first - 1) && !decoded.covers(first + 5_000_000));
        }
    }

    #[test]
    fn a_damaged_page_is_an_error() {
        assert!(find(0, &[0, 40, 1, 2], 0).is_err());
        assert!(find(u64::MAX, &[1, 0], 0).is_err());
        assert!(Decoded::new(0, &[0, 40, 1, 2], None).is_err());
    }
}
