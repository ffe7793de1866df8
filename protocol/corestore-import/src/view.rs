//! A history of the source: its own entries, and those of the histories that it shares its first blocks with.

use std::collections::BTreeMap;

use bytes::Bytes;
use encoding::index_encoder::decode_uint;
use hypercore::flat_tree::{Iter, right_span};
use hypercore::{Hash, Node};

use crate::keys::{self, PAGE_BLOCKS, Table};
use crate::records::{CoreHead, Dependency, decode_node};
use crate::source::{Damaged, Source};

/// How many histories may stand below one another. JavaScript makes two, or three.
const MAX_DEPENDENCIES: usize = 16;

/// How many pages of a bitfield that cannot be listed are taken for full.
const MAX_PAGES: u64 = 1 << 16;

pub(crate) struct View<'a> {
    source: &'a dyn Source,
    pub(crate) data: u64,
    /// The nearest first.
    pub(crate) dependencies: Vec<Dependency>,
}

fn bad(what: &str) -> impl Fn(encoding::DecodeError) -> Damaged {
    move |error| Damaged(format!("{what}: {error}"))
}

impl<'a> View<'a> {
    pub(crate) fn new(source: &'a dyn Source, data: u64) -> Result<Self, Damaged> {
        let mut dependencies: Vec<Dependency> = Vec::new();
        let mut last = data;
        while let Some(value) = source.get(&Table::Dependency.of(last))? {
            let dependency = Dependency::decode(&value).map_err(bad("which blocks it shares"))?;
            if dependencies.len() == MAX_DEPENDENCIES {
                return Err(Damaged("it shares blocks in a circle".into()));
            }
            last = dependency.data;
            dependencies.push(dependency);
        }
        Ok(Self { source, data, dependencies })
    }

    pub(crate) fn head(&self) -> Result<Option<CoreHead>, Damaged> {
        let value = self.source.get(&Table::Head.of(self.data))?;
        value.map(|value| CoreHead::decode(&value).map_err(bad("its head"))).transpose()
    }

    /// Which history has what belongs to the blocks up to `last`.
    fn data_of(&self, last: u64) -> u64 {
        let shared = self.dependencies.iter().take_while(|dependency| last < dependency.length).last();
        shared.map_or(self.data, |dependency| dependency.data)
    }

    pub(crate) fn block(&self, index: u64) -> Result<Option<Bytes>, Damaged> {
        self.source.get(&Table::Block.at(self.data_of(index), index))
    }

    pub(crate) fn node(&self, index: u64) -> Result<Option<Node>, Damaged> {
        let data = self.data_of(right_span(index) / 2);
        let value = self.source.get(&Table::Tree.at(data, index))?;
        value.map(|value| decode_node(index, &value).map_err(bad("a tree node"))).transpose()
    }

    /// The siblings on the way from a node `levels` up, if they are there.
    pub(crate) fn siblings(&self, index: u64, levels: u64) -> Result<Option<Vec<Node>>, Damaged> {
        let mut iter = Iter::new(index);
        let mut nodes = Vec::new();
        for _ in 0..levels {
            let Some(node) = self.node(iter.sibling())? else { return Ok(None) };
            nodes.push(node);
            if iter.parent().is_none() {
                return Ok(None);
            }
        }
        Ok(Some(nodes))
    }

    /// Calls `each` with the blocks below `length` that should be here, in order. Whether the list could be read; where it could
    /// not, with all that it may be of.
    pub(crate) fn each_here<E>(
        &self,
        length: u64,
        each: &mut dyn FnMut(u64) -> Result<(), E>,
    ) -> Result<Result<(), Damaged>, E> {
        let pages = length.div_ceil(PAGE_BLOCKS);
        let mut found: BTreeMap<u64, Bytes> = BTreeMap::new();
        let to = keys::bitfield(self.data, pages);
        let mut listed = self.source.range(&keys::bitfield(self.data, 0), &to, &mut |key, value| {
            let page = keys::after_numbers(key).and_then(|mut rest| decode_uint(&mut rest).ok());
            found.extend(page.map(|page| (page, Bytes::copy_from_slice(value))));
            true
        });
        if found.values().any(|page| page.len() as u64 * 8 != PAGE_BLOCKS) {
            found.retain(|_, page| page.len() as u64 * 8 == PAGE_BLOCKS);
            listed = Err(Damaged("a page that is none".into()));
        }
        if listed.is_err() {
            // Those that are not known may be of any block.
            for page in 0..pages.min(MAX_PAGES) {
                found.entry(page).or_insert_with(|| Bytes::from_static(&[0xff; PAGE_BLOCKS as usize / 8]));
            }
        }
        for (page, bits) in found {
            let first = page * PAGE_BLOCKS;
            let is_here = |index: &u64| bits[((index - first) / 8) as usize] >> ((index - first) % 8) & 1 == 1;
            for index in (first..length.min(first + PAGE_BLOCKS)).filter(is_here) {
                each(index)?;
            }
        }
        Ok(listed)
    }

    /// The hash that the tree should have.
    pub(crate) fn tree_hash(head: Option<&CoreHead>) -> Option<Hash> {
        head.filter(|head| head.length > 0).map(|head| head.root_hash)
    }
}
