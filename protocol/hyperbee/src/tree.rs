//! The part of the tree that a batch changes, in memory.
//!
//! Nodes, and the links to them, are in arenas: a link is shared by the node that it leads from and by the change that it was
//! written with, and both must see where it ends up.

use bytes::Bytes;

use crate::messages::Node as Message;
use crate::reader::{MAX_DEPTH, Reader, View};
use crate::{Entry, Error, Log};

/// A node has so many keys at least, unless it is the root.
const MIN_KEYS: usize = 4;

/// At so many keys a node is split.
const MAX_KEYS: usize = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChildId(usize);

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) seq: u64,
    value: Option<Bytes>,
}

/// A link to a node: to a level of a block, and to the node in memory if it was loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Child {
    pub(crate) seq: u64,
    pub(crate) offset: u64,
    pub(crate) node: Option<NodeId>,
}

#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) keys: Vec<Key>,
    pub(crate) children: Vec<ChildId>,
    changed: bool,
}

/// A block to be.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
    /// The links to the nodes that this change wrote, root first; later changes supersede some of them.
    index: Vec<Option<ChildId>>,
}

/// Asks whether the second may take the place of the first.
pub(crate) type Cas<'a> = Option<&'a mut (dyn FnMut(&Entry, &Entry) -> bool + Send)>;

#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    children: Vec<Child>,
    changes: Vec<Change>,
    root: Option<NodeId>,
    /// The root before all changes, if it was loaded.
    stored_root: Option<NodeId>,
    /// The length of the log that the changes are appended to.
    pub(crate) base: u64,
}

/// The nodes from the root to where something changes, each with its place among the children of the one before.
type Path = Vec<(NodeId, usize)>;

impl Tree {
    /// Changes to be appended to a log of `base` blocks.
    pub(crate) fn new(base: u64) -> Self {
        Self { base, ..Self::default() }
    }

    pub(crate) fn root(&self) -> Option<NodeId> {
        self.root
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    pub(crate) fn child(&self, id: ChildId) -> &Child {
        &self.children[id.0]
    }

    pub(crate) fn change(&self, seq: u64) -> Option<&Change> {
        usize::try_from(seq.checked_sub(self.base)?).ok().and_then(|at| self.changes.get(at))
    }

    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    fn next_seq(&self) -> u64 {
        self.base + self.changes.len() as u64
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    fn link(&mut self, seq: u64, offset: u64, node: Option<NodeId>) -> ChildId {
        self.children.push(Child { seq, offset, node });
        ChildId(self.children.len() - 1)
    }

    fn load(&mut self, view: &View) -> Result<NodeId, Error> {
        let View::Stored { block, level } = view else { return Err(Error::Changed) };
        let level = &block.levels()?[*level];
        let value = |seq| (seq == block.seq).then(|| block.key.clone());
        let keys = level.keys.iter().map(|&seq| Key { seq, value: value(seq) }).collect();
        let children = level.children.iter().map(|&(seq, offset)| self.link(seq, offset, None)).collect();
        Ok(self.add(Node { keys, children, changed: false }))
    }

    async fn load_root<L: Log>(&mut self, reader: &Reader<'_, L>) -> Result<Option<NodeId>, Error> {
        if self.root.is_some() {
            return Ok(self.root);
        }
        if let Some(root) = self.stored_root {
            // The nodes below are those that were loaded before; this one JavaScript makes anew of its keys and links.
            self.node_mut(root).changed = false;
            return Ok(Some(root));
        }
        if let Some(view) = reader.root().await? {
            self.stored_root = Some(self.load(&view)?);
        }
        Ok(self.stored_root)
    }

    async fn load_child<L: Log>(&mut self, reader: &Reader<'_, L>, node: NodeId, at: usize) -> Result<NodeId, Error> {
        let id = self.node(node).children[at];
        let Child { seq, offset, node } = *self.child(id);
        if let Some(node) = node {
            return Ok(node);
        }
        let loaded = self.load(&reader.stored(seq, offset).await?)?;
        self.children[id.0].node = Some(loaded);
        Ok(loaded)
    }

    /// Where `key` is among the keys of the node, or which child it would be in.
    async fn find<L: Log>(
        &mut self,
        reader: &Reader<'_, L>,
        node: NodeId,
        key: &[u8],
    ) -> Result<Result<usize, usize>, Error> {
        let (mut low, mut high) = (0, self.node(node).keys.len());
        while low < high {
            let middle = (low + high) / 2;
            let seq = match &self.node(node).keys[middle] {
                Key { value: Some(value), .. } => match key.cmp(value) {
                    std::cmp::Ordering::Equal => return Ok(Ok(middle)),
                    std::cmp::Ordering::Less => {
                        high = middle;
                        continue;
                    }
                    std::cmp::Ordering::Greater => {
                        low = middle + 1;
                        continue;
                    }
                },
                Key { seq, .. } => *seq,
            };
            // Known the next time round.
            let value = reader.key(seq).await?;
            self.node_mut(node).keys[middle].value = Some(value);
        }
        Ok(Err(low))
    }

    async fn entry<L: Log>(&self, reader: &Reader<'_, L>, seq: u64) -> Result<Entry, Error> {
        match self.change(seq) {
            Some(change) => Ok(Entry { seq, key: change.key.clone(), value: change.value.clone() }),
            None => reader.entry(seq).await,
        }
    }

    /// Sets a key. `false` if nothing is to be written.
    pub(crate) async fn put<L: Log>(
        &mut self,
        reader: &Reader<'_, L>,
        entry: Entry,
        duplicate: bool,
        mut cas: Cas<'_>,
    ) -> Result<bool, Error> {
        let root = match self.load_root(reader).await? {
            Some(root) => root,
            None => self.add(Node { changed: true, ..Node::default() }),
        };
        let entry = Entry { seq: self.next_seq(), ..entry };
        let target = Key { seq: entry.seq, value: Some(entry.key.clone()) };
        let (mut path, mut node) = (Path::new(), root);
        loop {
            let found = self.find(reader, node, &entry.key).await?;
            let is_leaf = self.node(node).children.is_empty();
            // Inner nodes count as changed even if nothing comes of it, as in JavaScript: a later change of the batch writes them.
            self.node_mut(node).changed |= !is_leaf;
            match found {
                Ok(at) => {
                    let seq = self.node(node).keys[at].seq;
                    if cas.is_some() || !duplicate {
                        let before = self.entry(reader, seq).await?;
                        let refused = cas.as_mut().is_some_and(|cas| !cas(&before, &entry));
                        if refused || !duplicate && before.value == entry.value {
                            return Ok(false);
                        }
                    }
                    let node = self.node_mut(node);
                    node.keys[at] = target;
                    node.changed = true;
                    break;
                }
                Err(at) if is_leaf => {
                    let leaf = self.node_mut(node);
                    leaf.keys.insert(at, target);
                    leaf.changed = true;
                    return Ok(self.split(root, path, node, entry));
                }
                Err(at) => {
                    path.push((node, at));
                    if path.len() > MAX_DEPTH {
                        return Err(endless(reader));
                    }
                    node = self.load_child(reader, node, at).await?;
                }
            }
        }
        self.append(root, entry);
        Ok(true)
    }

    /// Splits nodes that are full, from a leaf upwards.
    fn split(&mut self, mut root: NodeId, mut path: Path, mut node: NodeId, entry: Entry) -> bool {
        while self.node(node).keys.len() >= MAX_KEYS {
            let full = self.node_mut(node);
            let keys = full.keys.split_off(MIN_KEYS + 1);
            let children = if full.children.is_empty() { Vec::new() } else { full.children.split_off(MIN_KEYS + 1) };
            full.changed = true;
            let Some(median) = full.keys.pop() else { break };
            let right = self.add(Node { keys, children, changed: true });
            let right = self.link(0, 0, Some(right));
            match path.pop() {
                Some((parent, at)) => {
                    let parent_node = self.node_mut(parent);
                    parent_node.keys.insert(at, median);
                    parent_node.children.insert(at + 1, right);
                    parent_node.changed = true;
                    node = parent;
                }
                None => {
                    let left = self.link(0, 0, Some(node));
                    root = self.add(Node { keys: vec![median], children: vec![left, right], changed: true });
                    break;
                }
            }
        }
        self.append(root, entry);
        true
    }

    /// Takes a key away. `false` if it was not there, or may not go.
    pub(crate) async fn del<L: Log>(
        &mut self,
        reader: &Reader<'_, L>,
        key: Bytes,
        mut cas: Cas<'_>,
    ) -> Result<bool, Error> {
        let Some(root) = self.load_root(reader).await? else { return Ok(false) };
        let entry = Entry { seq: self.next_seq(), key, value: None };
        let mut path: Path = vec![(root, 0)];
        let (node, at) = loop {
            let (node, _) = path[path.len() - 1];
            match self.find(reader, node, &entry.key).await? {
                Ok(at) => break (node, at),
                Err(_) if self.node(node).children.is_empty() => return Ok(false),
                Err(at) => {
                    let child = self.load_child(reader, node, at).await?;
                    path.push((child, at));
                    if path.len() > MAX_DEPTH {
                        return Err(endless(reader));
                    }
                }
            }
        };
        if let Some(cas) = cas.as_mut() {
            let before = self.entry(reader, self.node(node).keys[at].seq).await?;
            if !cas(&before, &entry) {
                return Ok(false);
            }
        }
        if self.node(node).children.is_empty() {
            self.node_mut(node).keys.remove(at);
        } else {
            let key = self.nearest_leaf(reader, node, at, &mut path).await?;
            self.node_mut(node).keys[at] = key;
        }
        for &(node, _) in &path {
            self.node_mut(node).changed = true;
        }
        let root = self.rebalance(reader, path).await?;
        self.append(root, entry);
        Ok(true)
    }

    /// Takes the key next to an inner key out of the fuller one of the two leaves beside it.
    async fn nearest_leaf<L: Log>(
        &mut self,
        reader: &Reader<'_, L>,
        node: NodeId,
        at: usize,
        path: &mut Path,
    ) -> Result<Key, Error> {
        let left = self.descend(reader, node, at, false).await?;
        let right = self.descend(reader, node, at + 1, true).await?;
        let keys = |path: &Path| path.last().map_or(0, |&(leaf, _)| self.node(leaf).keys.len());
        let from_right = keys(&left) < keys(&right);
        path.extend(if from_right { right } else { left });
        let Some(&(leaf, _)) = path.last() else { return Err(endless(reader)) };
        let keys = &mut self.node_mut(leaf).keys;
        if keys.is_empty() {
            return Err(Error::InvalidBlock { seq: reader.version.saturating_sub(1), reason: "an empty leaf" });
        }
        Ok(if from_right { keys.remove(0) } else { keys.remove(keys.len() - 1) })
    }

    /// The way from a child to its first or its last leaf.
    async fn descend<L: Log>(
        &mut self,
        reader: &Reader<'_, L>,
        node: NodeId,
        at: usize,
        first: bool,
    ) -> Result<Path, Error> {
        let mut path = vec![(self.load_child(reader, node, at).await?, at)];
        loop {
            let (node, _) = path[path.len() - 1];
            match self.node(node).children.len() {
                0 => return Ok(path),
                _ if path.len() > MAX_DEPTH => return Err(endless(reader)),
                count => {
                    let at = if first { 0 } else { count - 1 };
                    path.push((self.load_child(reader, node, at).await?, at));
                }
            }
        }
    }

    /// Refills nodes that have too few keys, from a leaf upwards. The root afterwards.
    async fn rebalance<L: Log>(&mut self, reader: &Reader<'_, L>, mut path: Path) -> Result<NodeId, Error> {
        let root = path[0].0;
        while path.len() > 1 {
            let Some((node, at)) = path.pop() else { break };
            let (parent, _) = path[path.len() - 1];
            if self.node(node).keys.len() >= MIN_KEYS {
                return Ok(root);
            }
            let left = if at > 0 { Some(self.load_child(reader, parent, at - 1).await?) } else { None };
            let has_right = at + 1 < self.node(parent).children.len();
            let right = if has_right { Some(self.load_child(reader, parent, at + 1).await?) } else { None };
            let is_leaf = |node| self.node(node).children.is_empty();
            if left.into_iter().chain(right).any(|sibling| is_leaf(sibling) != is_leaf(node)) {
                let seq = reader.version.saturating_sub(1);
                return Err(Error::InvalidBlock { seq, reason: "leaves of different depths" });
            }
            if let Some(left) = left.filter(|&left| self.node(left).keys.len() > MIN_KEYS) {
                self.rotate(parent, at - 1, left, node, true);
                return Ok(root);
            }
            if let Some(right) = right.filter(|&right| self.node(right).keys.len() > MIN_KEYS) {
                self.rotate(parent, at, right, node, false);
                return Ok(root);
            }
            match (left, right) {
                (Some(left), _) => self.merge(parent, at - 1, left, node),
                (None, Some(right)) => self.merge(parent, at, node, right),
                (None, None) => {}
            }
        }
        match self.node(root) {
            node if node.keys.is_empty() && !node.children.is_empty() => self.load_child(reader, root, 0).await,
            _ => Ok(root),
        }
    }

    /// Moves a key from one sibling over the parent's key `at` into the other.
    fn rotate(&mut self, parent: NodeId, at: usize, from: NodeId, to: NodeId, from_left: bool) {
        let giver = self.node_mut(from);
        giver.changed = true;
        let last = giver.keys.len() - 1;
        let key = giver.keys.remove(if from_left { last } else { 0 });
        let child = match giver.children.len() {
            0 => None,
            count => Some(giver.children.remove(if from_left { count - 1 } else { 0 })),
        };
        let key = std::mem::replace(&mut self.node_mut(parent).keys[at], key);
        let taker = self.node_mut(to);
        taker.keys.insert(if from_left { 0 } else { taker.keys.len() }, key);
        if let Some(child) = child {
            taker.children.insert(if from_left { 0 } else { taker.children.len() }, child);
        }
    }

    /// Puts the parent's key `at` and the node on its right into the node on its left.
    fn merge(&mut self, parent: NodeId, at: usize, left: NodeId, right: NodeId) {
        let parent = self.node_mut(parent);
        let median = parent.keys.remove(at);
        let freed = parent.children.remove(at + 1);
        parent.changed = true;
        self.children[freed.0].seq = 0;
        let Node { keys, children, .. } = self.node(right);
        let (keys, children) = (keys.clone(), children.clone());
        let left = self.node_mut(left);
        left.changed = true;
        left.keys.push(median);
        left.keys.extend(keys);
        left.children.extend(children);
    }

    fn append(&mut self, root: NodeId, entry: Entry) {
        let link = self.link(entry.seq, 0, Some(root));
        let mut index = vec![Some(link)];
        self.number(root, entry.seq, &mut index);
        self.changes.push(Change { key: entry.key, value: entry.value, index });
        self.root = Some(root);
    }

    /// Numbers what changed below `node`, in the order in which it is written.
    fn number(&mut self, node: NodeId, seq: u64, index: &mut Vec<Option<ChildId>>) {
        self.node_mut(node).changed = false;
        for at in 0..self.node(node).children.len() {
            let id = self.node(node).children[at];
            let Some(child) = self.child(id).node.filter(|&child| self.node(child).changed) else { continue };
            let offset = index.len() as u64;
            index.push(Some(id));
            self.children[id.0] = Child { seq, offset, node: Some(child) };
            self.number(child, seq, index);
        }
    }

    /// The blocks of all changes. Of all but the last, what later ones superseded is left out (`toBlocks`).
    pub(crate) fn into_blocks(mut self) -> Vec<Bytes> {
        let mut changes = std::mem::take(&mut self.changes);
        let count = changes.len();
        let mut blocks = Vec::with_capacity(count);
        for (at, change) in changes.iter_mut().enumerate() {
            if at + 1 < count {
                self.compact(self.base + at as u64, &mut change.index);
            }
            let levels = change.index.iter().filter_map(|id| {
                let node = self.node(self.child((*id)?).node?);
                let keys = node.keys.iter().map(|key| key.seq);
                let children = node.children.iter().flat_map(|&id| {
                    let Child { seq, offset, .. } = *self.child(id);
                    [seq, offset]
                });
                Some((keys, children))
            });
            blocks.push(Message::encode(&change.key, change.value.as_deref(), levels));
        }
        blocks
    }

    fn compact(&mut self, seq: u64, index: &mut Vec<Option<ChildId>>) {
        index[0] = None;
        let mut at = 0;
        while at < index.len() {
            match index[at].filter(|id| self.child(*id).seq == seq) {
                Some(id) => {
                    self.children[id.0].offset = at as u64;
                    at += 1;
                }
                None => {
                    index.swap_remove(at);
                }
            }
        }
    }
}

fn endless<L>(reader: &Reader<'_, L>) -> Error {
    Error::InvalidBlock { seq: reader.version.saturating_sub(1), reason: "the tree has no end" }
}
