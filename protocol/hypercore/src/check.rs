//! Whether what is in a store is what was written: every hash and every signature.

use std::sync::Arc;

use crate::core::Core;
use crate::flat_tree::{children, left_span, right_span};
use crate::line::Line;
use crate::merkle::{NodeSource, TreeBatch};
use crate::node::total_size;
use crate::session::Place;
use crate::storage::{Table, keys};
use crate::{Error, Hash, Node, Store};

/// How many problems are kept; the others are counted.
pub const MAX_PROBLEMS: usize = 1000;

/// What a [check](Store::check) found.
#[derive(Debug, Default, Clone)]
pub struct CheckReport {
    /// How many cores there are.
    pub cores: u64,
    /// How many drafts of them.
    pub drafts: u64,
    /// How many blocks are here, and were hashed.
    pub blocks: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many nodes of trees are here, and were compared with their children.
    pub nodes: u64,
    /// How many signatures were verified.
    pub signatures: u64,
    /// What is wrong: the discovery key of the core, and what.
    pub problems: Vec<(Hash, String)>,
    /// How many problems there are beyond [`MAX_PROBLEMS`].
    pub more_problems: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, core: &Hash, text: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push((*core, text));
        } else {
            self.more_problems += 1;
        }
    }
}

impl Store {
    /// Verifies every hash and every signature in the store. `progress` is called for each core before it is looked at.
    ///
    /// # Errors
    /// When not even the list of cores can be read. What is wrong, or cannot be read, is in the report.
    pub fn check(&self, mut progress: impl FnMut(&Hash)) -> Result<CheckReport, Error> {
        let mut report = CheckReport::default();
        for discovery_key in self.discovery_keys()? {
            progress(&discovery_key);
            report.cores += 1;
            match self.load_for_check(&discovery_key) {
                Ok(core) => {
                    let mut checker = Checker { core, report: &mut report };
                    let checked = checker.check();
                    checker.readable("the core", checked)?;
                }
                Err(error @ (Error::Corrupt(_) | Error::Io(_))) => report.problem(&discovery_key, error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(report)
    }

    fn load_for_check(&self, discovery_key: &Hash) -> Result<Arc<Core>, Error> {
        let inner = self.inner();
        // One object for a core: what others do to it meanwhile is seen here.
        let _writer = inner.writer.lock();
        inner.open_locked(discovery_key)?.ok_or(Error::NotFound)
    }
}

struct Checker<'a> {
    core: Arc<Core>,
    report: &'a mut CheckReport,
}

impl Checker<'_> {
    fn problem(&mut self, text: String) {
        self.report.problem(&self.core.discovery_key, text);
    }

    /// What was read. Where that failed there is a problem, and the check goes on.
    fn readable<T>(&mut self, what: &str, read: Result<T, Error>) -> Result<Option<T>, Error> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt(text)) => {
                self.problem(format!("{what} is damaged: {text}"));
                Ok(None)
            }
            Err(Error::Io(error)) => {
                self.problem(format!("{what} cannot be read: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn check(&mut self) -> Result<(), Error> {
        if crypto::discovery_key(&self.core.key) != self.core.discovery_key {
            self.problem("the key is not that of the discovery key".into());
        }
        let line = self.core.line.clone();
        let checked = self.check_tree(&line, 0);
        self.readable("the tree", checked)?;
        self.check_signature();
        self.check_blocks(&line)?;
        let (from, to) = keys::prefixed(keys::draft(line.pointer, ""));
        for key in line.keys(&from, &to)? {
            let name = String::from_utf8_lossy(&key[from.len()..]).into_owned();
            let place = Place { core: self.core.clone(), line: line.clone() };
            let draft = {
                // It may be replaced or deleted at any other time.
                let _writer = line.store.writer.lock();
                line.read(&key).and_then(|value| value.map(|value| place.open_draft(&name, &value)).transpose())
            };
            let what = format!("the draft {name}");
            let Some(draft) = self.readable(&what, draft)? else {
                self.report.drafts += 1;
                continue;
            };
            let Some(draft) = draft else { continue };
            self.report.drafts += 1;
            let base = draft.base_length();
            if base > line.head.read().length {
                self.problem(format!("the draft {name} shares more blocks than there are"));
            }
            let checked = self.check_tree(&draft, base);
            self.readable(&what, checked)?;
        }
        Ok(())
    }

    /// Every node against its children, every block against its node; of a draft only what it does not share.
    fn check_tree(&mut self, line: &Line, shared: u64) -> Result<(), Error> {
        let head = line.head.read().clone();
        if total_size(&head.roots) != head.byte_length {
            self.problem("the number of bytes is not that of the tree".into());
        }
        let mut stack: Vec<Node> = head.roots.clone();
        while let Some(node) = stack.pop() {
            self.report.nodes += 1;
            let Some((left, right)) = children(node.index) else {
                self.check_block(line, &node, shared)?;
                continue;
            };
            if right_span(node.index) < 2 * shared {
                continue;
            }
            match (self.node(line, left)?, self.node(line, right)?) {
                (Some(left), Some(right)) => {
                    if Node::parent(node.index, &left, &right) != node {
                        self.problem(format!("tree node {} is not the hash of its children", node.index));
                    }
                    stack.extend([right, left]);
                }
                // Nothing below is here, as in a copy of a few blocks.
                (None, None) => {
                    let (first, last) = (left_span(node.index) / 2, right_span(node.index) / 2);
                    if line.is_signed() && self.core.bitfield.read().find(true, first, last + 1).is_some() {
                        self.problem(format!("the tree below node {} is missing", node.index));
                    }
                }
                _ => self.problem(format!("a child of tree node {} is missing", node.index)),
            }
        }
        Ok(())
    }

    fn node(&mut self, line: &Line, index: u64) -> Result<Option<Node>, Error> {
        let node = line.node(index);
        Ok(self.readable(&format!("tree node {index}"), node)?.flatten())
    }

    fn check_block(&mut self, line: &Line, node: &Node, shared: u64) -> Result<(), Error> {
        let index = node.index / 2;
        if index < shared {
            return Ok(());
        }
        let expected = line.is_signed() && self.core.bitfield.read().get(index);
        let block = line.block(index);
        let Some(block) = self.readable(&format!("block {index}"), block)? else { return Ok(()) };
        match block {
            Some(block) => {
                self.report.blocks += 1;
                self.report.bytes += block.len() as u64;
                if Node::leaf(node.index, &block) != *node {
                    self.problem(format!("block {index} has another hash than its tree node"));
                }
                if !expected && line.is_signed() {
                    self.problem(format!("block {index} is there, but not marked so"));
                }
            }
            None if expected => self.problem(format!("block {index} is missing")),
            None => {}
        }
        Ok(())
    }

    fn check_signature(&mut self) {
        let head = self.core.line.head.read().clone();
        let auth = self.core.auth.read().clone();
        if head.length == 0 {
            return;
        }
        let Some(verifier) = &auth.verifier else {
            return self.problem("there are blocks, but nobody knows who may sign".into());
        };
        let own = auth.key_pair.as_ref().is_some_and(|keys| verifier.signs_alone(keys, head.length));
        if head.signature.is_empty() && own {
            // Signed when somebody looks.
            return;
        }
        let tree = TreeBatch::new(head, verifier.manifest().prologue);
        self.report.signatures += 1;
        if !verifier.verify(&tree, &tree.head.signature) {
            self.problem("the signature is not valid".into());
        }
    }

    /// No block beyond the end.
    fn check_blocks(&mut self, line: &Line) -> Result<(), Error> {
        let length = line.head.read().length;
        let (from, to) = (Table::Block.at(line.pointer, length), Table::Block.end(line.pointer));
        let beyond = line.keys(&from, &to)?.len();
        if beyond > 0 {
            self.problem(format!("{beyond} blocks are beyond the end"));
        }
        if self.core.bitfield.read().find(true, length, u64::MAX).is_some() {
            self.problem("blocks beyond the end are marked as here".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::line::encode_head;
    use crate::storage::{Batch, Key};
    use crate::{DraftOptions, Hypercore};

    /// A store of one core with a draft, and what `check` says after `key` was set to `value` behind its back.
    fn problems(change: impl Fn(&Hypercore, u32) -> (Key, Option<Bytes>)) -> Vec<String> {
        let store = Store::memory();
        let core = store.create().expect("a core");
        core.append((0..11u8).map(|index| vec![index; 20])).expect("appended");
        let draft = core.draft("draft", DraftOptions::default()).expect("a draft");
        draft.append(["one", "two"]).expect("appended");
        core.head();
        assert!(store.check(|_| ()).expect("readable").is_whole());
        let pointer = store.inner().cores.lock()[&core.discovery_key()].upgrade().expect("open").line.pointer;
        let (key, value) = change(&core, pointer);
        store.inner().backend.write(Batch::from([(key, value)])).expect("written");
        drop((core, draft));
        let report = store.check(|_| ()).expect("readable");
        report.problems.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_draft_that_is_overwritten_meanwhile_is_no_problem() {
        let store = Store::memory();
        let core = store.create().expect("a core");
        core.append((0..11u8).map(|index| vec![index; 20])).expect("appended");
        core.head();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..2000u32 {
                    let options = DraftOptions { overwrite: true, checkout: Some(u64::from(round) % 11) };
                    let draft = core.draft("draft", options).expect("a draft");
                    draft.append([round.to_le_bytes()]).expect("appended");
                    if round % 5 == 0 {
                        core.delete_draft("draft").expect("deleted");
                    }
                }
                is_done.store(true, Ordering::Release);
            });
            let mut drafts = 0;
            while !is_done.load(Ordering::Acquire) {
                let report = store.check(|_| ()).expect("readable");
                assert!(report.is_whole(), "{:?}", report.problems);
                drafts += report.drafts;
            }
            assert!(drafts > 0);
        });
    }

    #[test]
    fn a_leaf_stays_what_it_was_when_its_block_is_cleared() {
        let store = Store::memory();
        let core = store.create().expect("a core");
        core.append((0..2u8).map(|index| vec![index; 2000])).expect("appended");
        let place = core.line();
        let leaf = |index: u64| place.node(2 * index).expect("readable");
        let before = [0, 1].map(leaf);
        // No sum says that it is another.
        let damaged = Some(Bytes::from(vec![7; 2000]));
        store.inner().backend.write(Batch::from([(Table::Block.at(place.pointer, 1), damaged)])).expect("written");
        core.clear(0, 2).expect("cleared");
        assert_eq!([0, 1].map(leaf), before);
    }

    #[test]
    fn what_is_wrong_is_found() {
        type Change = fn(&Hypercore, u32) -> (Key, Option<Bytes>);
        let cases: [(&str, Change); 6] = [
            ("is not the hash of its children", |_, at| (Table::Block.at(at, 3), Some(Bytes::from_static(b"another")))),
            ("a child of tree node", |_, at| (Table::Block.at(at, 4), None)),
            ("is missing", |_, at| (Table::Node.at(at, 5), None)),
            ("the signature is not valid", |core, at| {
                let mut head = core.head();
                head.signature = Bytes::from_static(&[0; 67]);
                (Table::Head.only(at), Some(encode_head(&head, 11)))
            }),
            ("the number of bytes is not that of the tree", |core, at| {
                let mut head = core.head();
                head.byte_length += 1;
                (Table::Head.only(at), Some(encode_head(&head, 11)))
            }),
            ("1 blocks are beyond the end", |_, at| (Table::Block.at(at, 11), Some(Bytes::from_static(b"beyond")))),
        ];
        for (expected, change) in cases {
            let found = problems(change);
            assert!(found.iter().any(|text| text.contains(expected)), "{expected}: {found:?}");
        }
    }
}
