//! The named sessions of a core: histories that begin with blocks of it and go on unsigned.

use hypercore::{DraftOptions, Hypercore, TreeBatch, TreeHead, flat_tree::full_roots, tree_hash};

use crate::carry::{Carrier, Stop};
use crate::keys;
use crate::records::{Session, decode_sessions};
use crate::report::CoreReport;
use crate::source::Damaged;
use crate::view::View;

/// How many blocks are appended at once.
const BLOCKS_AT_ONCE: u64 = 64;

impl Carrier<'_> {
    pub(crate) fn take_drafts(
        &self,
        core: &Hypercore,
        pointer: u64,
        of: &View<'_>,
        report: &mut CoreReport,
    ) -> Result<(), Stop> {
        let read = self.source.get(&keys::sessions(pointer)).and_then(|value| {
            let sessions = value.map(|value| decode_sessions(&value)).transpose();
            sessions.map_err(|error| Damaged(error.to_string()))
        });
        let sessions = match read {
            Ok(sessions) => sessions.unwrap_or_default(),
            Err(Damaged(text)) => {
                report.problem(format!("its drafts: damaged ({text})"));
                return Ok(());
            }
        };
        for session in &sessions {
            match self.take_draft(core, session, of, report) {
                Ok(()) => report.drafts += 1,
                Err(Stop::Refused(reason)) => report.problem(format!("the draft {}: {reason}", session.name)),
                Err(failed) => return Err(failed),
            }
        }
        Ok(())
    }

    fn take_draft(
        &self,
        core: &Hypercore,
        session: &Session,
        of: &View<'_>,
        report: &mut CoreReport,
    ) -> Result<(), Stop> {
        let refused = |text: &str| Stop::Refused(text.into());
        let view = View::new(self.source, session.data)?;
        let shared = match &view.dependencies[..] {
            [] => 0,
            [first, ..] if first.data == of.data => first.length,
            _ => return Err(refused("it shares blocks with another draft")),
        };
        let head = view.head()?;
        let (length, fork) = head.as_ref().map_or((0, 0), |head| (head.length, head.fork));
        let shared = shared.min(length);
        if shared > core.length() {
            return Err(refused("it shares blocks that the core does not have"));
        }
        // All of it is looked at before anything is written.
        let roots = full_roots(shared).map(|index| core.node(index)?.ok_or_else(|| refused("hashes are missing")));
        let roots = roots.collect::<Result<Vec<_>, Stop>>()?;
        let byte_length = roots.iter().map(|root| root.size).sum();
        let start = TreeHead { length: shared, byte_length, roots, ..TreeHead::default() };
        let mut tree = TreeBatch::new(start, None);
        let block = |index| view.block(index)?.ok_or_else(|| refused("blocks are missing"));
        for index in shared..length {
            tree.append(&block(index)?);
        }
        if View::tree_hash(head.as_ref()).is_some_and(|hash| hash != tree.hash()) {
            return Err(refused("its blocks are not those of its head"));
        }
        let draft = core.draft(&session.name, DraftOptions { overwrite: true, checkout: Some(shared) })?;
        let mut next = shared;
        while next < length {
            let end = length.min(next + BLOCKS_AT_ONCE);
            let blocks = (next..end).map(block).collect::<Result<Vec<_>, Stop>>()?;
            draft.append(blocks)?;
            next = end;
        }
        if draft.fork() != fork {
            draft.truncate_to_fork(length, fork)?;
        }
        debug_assert_eq!(tree_hash(&draft.head().roots), tree.hash());
        self.take_entries(&draft, session.data, report)
    }
}
