//! One core.

use bytes::Bytes;
use crypto::KeyPair;
use hypercore::flat_tree::{children, full_roots, left_span, right_span};
use hypercore::{
    BlockProof, CoreOptions, Error, Fault, Hash, HashProof, Hypercore, Manifest, Proof, Store, UpgradeProof, Verified,
    tree_hash,
};

use crate::keys::{self, Table};
use crate::records::{Auth, CoreHead, CorePointers, decode_recovering};
use crate::report::{CoreReport, Outcome};
use crate::source::{Damaged, Source};
use crate::view::View;

/// How many entries are written at once.
const ENTRIES_AT_ONCE: usize = 256;

/// Why a core, or a part of it, does not come over.
pub(crate) enum Stop {
    /// It does not hold: the others go on.
    Refused(String),
    /// Nothing can go on.
    Failed(Error),
}

impl From<Damaged> for Stop {
    fn from(Damaged(text): Damaged) -> Self {
        Self::Refused(format!("damaged: {text}"))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.fault() {
            Fault::Disk => Self::Failed(error),
            Fault::Peer | Fault::Caller => Self::Refused(error.to_string()),
        }
    }
}

/// The name of a core: a namespace, and a name in it.
pub(crate) type Alias = (Hash, Vec<u8>);

/// What a source says that a core is.
struct Known {
    key: Hash,
    manifest: Option<Manifest>,
    key_pair: Option<KeyPair>,
    pointers: CorePointers,
}

/// Why a block did not come over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Missing,
    Damaged,
    Unproven,
}

pub(crate) struct Carrier<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) target: &'a Store,
    pub(crate) primary_key: Option<Hash>,
}

impl Carrier<'_> {
    /// Carries a core, or says why not.
    pub(crate) fn core(&self, discovery_key: &Hash, alias: Option<&Alias>) -> Result<CoreReport, Error> {
        let mut report = CoreReport::new(*discovery_key);
        report.name = alias.map(|(_, name)| String::from_utf8_lossy(name).into_owned());
        let mut known = None;
        let carried = self.identify(discovery_key, &mut known, &mut report).and_then(|()| match &known {
            Some(known) => self.carry(known, alias, &mut report),
            None => Ok(()),
        });
        match carried {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Refused(reason)) => {
                report.outcome = Outcome::Refused(reason);
                self.keep_place(discovery_key, known.as_ref(), alias, &mut report)?;
            }
        }
        Ok(report)
    }

    /// Whose core it is. `known` is set as soon as key and manifest are sure, for cores that are refused afterwards too.
    fn identify(&self, discovery_key: &Hash, known: &mut Option<Known>, report: &mut CoreReport) -> Result<(), Stop> {
        let refused = |text: &str| Err(Stop::Refused(text.into()));
        let Some(value) = self.source.get(&keys::core(discovery_key))? else {
            return refused("damaged: it has no entry");
        };
        let pointers = CorePointers::decode(&value).map_err(|error| Damaged(format!("its entry: {error}")))?;
        let Some(value) = self.source.get(&keys::auth(pointers.core))? else {
            return refused("damaged: its keys are missing");
        };
        let auth = Auth::decode(&value).map_err(|error| Damaged(format!("its keys: {error}")))?;
        if auth.discovery_key != *discovery_key || crypto::discovery_key(&auth.key) != *discovery_key {
            return refused("its key is not that of its discovery key");
        }
        report.key = Some(auth.key);
        let sure = Known { key: auth.key, manifest: None, key_pair: None, pointers };
        let sure = known.insert(sure);
        if let Some(manifest) = auth.manifest {
            manifest.validate().map_err(|error| Stop::Refused(format!("its manifest: {error}")))?;
            if !manifest.is_of(&auth.key) {
                return refused("its manifest is not that of its key");
            }
            sure.manifest = Some(manifest);
        }
        if pointers.version == 0 {
            return refused("JavaScript has not moved it from the files of Hypercore 10 yet: open it there once");
        }
        if pointers.version > 2 {
            return refused("it has a version that this program does not know");
        }
        sure.key_pair = self.key_pair(sure, auth.key_pair, report)?;
        if auth.has_encryption_key {
            report.problem("its encryption key is not carried: give it when you open the core");
        }
        Ok(())
    }

    /// The key pair that the core is written with, unless it is better not written.
    fn key_pair(
        &self,
        known: &Known,
        stored: Option<(Bytes, Option<Bytes>)>,
        report: &mut CoreReport,
    ) -> Result<Option<KeyPair>, Stop> {
        let Some((public_key, Some(secret_key))) = stored else { return Ok(None) };
        let secret_key: Option<&[u8; 64]> = secret_key[..].try_into().ok();
        let pair = secret_key.and_then(|secret_key| KeyPair::from_secret_key(secret_key).ok());
        let Some(pair) = pair.filter(|pair| pair.public_key[..] == public_key[..]) else {
            report.problem("its key pair is damaged, it cannot be written here");
            return Ok(None);
        };
        let signers = known.manifest.as_ref().map_or(&[][..], |manifest| &manifest.signers);
        if !signers.iter().any(|signer| signer.public_key == pair.public_key) && pair.public_key != known.key {
            report.problem("its key pair is not that of a signer, it cannot be written here");
            return Ok(None);
        }
        let hints = self.source.get(&Table::Hints.of(known.pointers.data))?;
        if hints.is_some_and(|hints| decode_recovering(&hints).unwrap_or(true)) {
            report.problem(
                "JavaScript repaired the store and has not asked the peers yet what is missing of it: it cannot be written here",
            );
            return Ok(None);
        }
        Ok(Some(pair))
    }

    fn carry(&self, known: &Known, alias: Option<&Alias>, report: &mut CoreReport) -> Result<(), Stop> {
        let view = View::new(self.source, known.pointers.data)?;
        let head = view.head()?;
        let options = CoreOptions { key: Some(known.key), manifest: known.manifest.clone(), ..CoreOptions::default() };
        if let Some(head) = &head {
            // Before anything of it is in the store.
            take_head(&Store::memory().core(options.clone())?, &view, head)?;
        }
        let alias = alias.map(joined);
        let core = self.target.core(CoreOptions { alias, key_pair: known.key_pair.clone(), ..options })?;
        report.is_writable = known.key_pair.is_some();
        if let Some(head) = &head {
            take_head(&core, &view, head)?;
            self.take_blocks(&core, &view, head, report)?;
            take_hashes(&core, &view, head.length, report)?;
            if head.length == 0 && head.fork > 0 {
                match known.key_pair {
                    Some(_) => drop(core.truncate_to_fork(0, head.fork)?),
                    None => report.problem("how often it was cut is not carried, as no block proves it"),
                }
            }
        }
        (report.length, report.fork) = (core.length(), core.fork());
        self.take_entries(&core, known.pointers.data, report)?;
        self.take_drafts(&core, known.pointers.core, &view, report)
    }

    /// The place of a core that was refused, so that nobody begins it anew under its name.
    fn keep_place(
        &self,
        discovery_key: &Hash,
        known: Option<&Known>,
        alias: Option<&Alias>,
        report: &mut CoreReport,
    ) -> Result<(), Error> {
        let (key, manifest) = match (known, self.primary_key, alias) {
            (Some(known), ..) => (Some(known.key), known.manifest.clone()),
            // Not readable, but what it is named after says what it was.
            (None, Some(primary_key), Some((namespace, name))) => {
                let manifest = Manifest::single(corestore::key_pair(&primary_key, namespace, name).public_key);
                let is_it = crypto::discovery_key(&manifest.key()) == *discovery_key;
                if is_it { (Some(manifest.key()), Some(manifest)) } else { (None, None) }
            }
            _ => (None, None),
        };
        let alias = alias.map(joined);
        match key {
            Some(_) => {
                self.target.core(CoreOptions { key, manifest, alias, ..CoreOptions::default() })?;
            }
            None if alias.is_some() => report.problem("its name could not be kept: do not write to it here"),
            None => {}
        }
        report.key = key;
        Ok(())
    }

    fn take_blocks(
        &self,
        core: &Hypercore,
        view: &View<'_>,
        head: &CoreHead,
        report: &mut CoreReport,
    ) -> Result<(), Stop> {
        let mut lost: Vec<(u64, Lost)> = Vec::new();
        let listed = view.each_here(head.length, &mut |index| -> Result<(), Stop> {
            match take_block(core, view, index, report)? {
                Ok(()) => {}
                Err(reason) => lost.push((index, reason)),
            }
            Ok(())
        })?;
        // A wrong node spoils the proofs of what is beside it, until what is below it has shown the right one.
        loop {
            let before = lost.len();
            let mut still = Vec::new();
            for (index, reason) in std::mem::take(&mut lost) {
                match reason {
                    Lost::Unproven => {
                        if let Err(reason) = take_block(core, view, index, report)? {
                            still.push((index, reason));
                        }
                    }
                    _ => still.push((index, reason)),
                }
            }
            lost = still;
            if lost.len() == before {
                break;
            }
        }
        if let Err(Damaged(text)) = listed {
            report.problem(format!("which blocks are here is damaged ({text}): those that are were looked for"));
            lost.retain(|(_, reason)| *reason != Lost::Missing);
        }
        for range in lost.chunk_by(|a, b| a.0 + 1 == b.0 && a.1 == b.1) {
            let (first, last) = (range[0].0, range[range.len() - 1].0);
            let what = if first == last { format!("block {first}") } else { format!("blocks {first} to {last}") };
            report.problem(match range[0].1 {
                Lost::Missing => format!("{what}: missing"),
                Lost::Damaged => format!("{what}: damaged"),
                Lost::Unproven => format!("{what}: not what was signed"),
            });
        }
        Ok(())
    }

    pub(crate) fn take_entries(&self, core: &Hypercore, data: u64, report: &mut CoreReport) -> Result<(), Stop> {
        for table in [Table::UserData, Table::Local] {
            let what = if table == Table::UserData { "user data" } else { "local entries" };
            let (mut from, to) = (table.of(data), table.end(data));
            loop {
                let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
                let read = self.source.range(&from, &to, &mut |key, value| {
                    entries.push((key.to_vec(), value.to_vec()));
                    entries.len() < ENTRIES_AT_ONCE
                });
                for (key, value) in &entries {
                    match (table, keys::user_data_name(key), keys::after_numbers(key)) {
                        (Table::UserData, Some(name), _) => drop(core.set_user_data(&name, Some(value))?),
                        (Table::Local, _, Some(key)) => drop(core.set_local(&[(key, Some(value))])?),
                        _ => report.problem(format!("{what}: an entry without a name")),
                    }
                }
                if let Err(Damaged(text)) = read {
                    report.problem(format!("{what}: damaged ({text}), some may be missing"));
                }
                match entries.last() {
                    Some((last, _)) if entries.len() == ENTRIES_AT_ONCE => from = [&last[..], &[0]].concat(),
                    _ => break,
                }
            }
        }
        Ok(())
    }
}

fn joined((namespace, name): &Alias) -> Vec<u8> {
    [&namespace[..], name].concat()
}

/// Verifies the tree of a history and its signature, and makes it that of the core, which is empty.
fn take_head(core: &Hypercore, view: &View<'_>, head: &CoreHead) -> Result<(), Stop> {
    if head.length == 0 {
        return Ok(());
    }
    let missing = || Stop::Refused("a root of its tree is missing".into());
    let nodes = full_roots(head.length).map(|index| view.node(index)?.ok_or_else(missing));
    let nodes = nodes.collect::<Result<Vec<_>, Stop>>()?;
    if tree_hash(&nodes) != head.root_hash {
        return Err(Stop::Refused("its tree is not that of its head".into()));
    }
    let (length, signature) = (head.length, head.signature.clone());
    let upgrade = UpgradeProof { start: 0, length, nodes, additional_nodes: Vec::new(), signature };
    let proof = Proof { fork: head.fork, upgrade: Some(upgrade), ..Proof::default() };
    let taken = if head.fork == 0 { core.verify(&proof)? } else { core.reorg(core.begin_reorg(&proof)?)? };
    match taken {
        Verified::Stored(_) => Ok(()),
        Verified::Stale => Err(Stop::Refused("two cores have its key".into())),
    }
}

fn take_block(
    core: &Hypercore,
    view: &View<'_>,
    index: u64,
    report: &mut CoreReport,
) -> Result<Result<(), Lost>, Stop> {
    let value = match view.block(index) {
        Ok(Some(value)) => value,
        Ok(None) => return Ok(Err(Lost::Missing)),
        Err(_) => return Ok(Err(Lost::Damaged)),
    };
    let request = core.block_request(index)?;
    let Ok(Some(nodes)) = view.siblings(2 * index, request.nodes) else { return Ok(Err(Lost::Unproven)) };
    let bytes = value.len() as u64;
    let proof = Proof { fork: core.fork(), block: Some(BlockProof { index, value, nodes }), ..Proof::default() };
    match core.verify(&proof) {
        Ok(Verified::Stored(_)) => {
            report.blocks += 1;
            report.bytes += bytes;
            Ok(Ok(()))
        }
        Err(error) if error.fault() == Fault::Disk => Err(Stop::Failed(error)),
        Ok(Verified::Stale) | Err(_) => Ok(Err(Lost::Unproven)),
    }
}

/// The hashes over blocks that are not here, as far as the source has them.
fn take_hashes(core: &Hypercore, view: &View<'_>, length: u64, report: &mut CoreReport) -> Result<(), Stop> {
    let mut stack: Vec<u64> = full_roots(length).collect();
    while let Some(index) = stack.pop() {
        let (first, last) = (left_span(index) / 2, right_span(index) / 2);
        let Some((left, right)) = children(index) else { continue };
        if core.find_block(false, first, last + 1).is_none() {
            continue;
        }
        if core.node(left)?.is_none() || core.node(right)?.is_none() {
            let (a, b) = match (view.node(left), view.node(right)) {
                (Ok(Some(a)), Ok(Some(b))) => (a, b),
                (Ok(_), Ok(_)) => continue,
                _ => {
                    report.problem(format!("the tree below node {index}: damaged"));
                    continue;
                }
            };
            let hash = Some(HashProof { index: left, nodes: vec![a, b] });
            match core.verify(&Proof { fork: core.fork(), hash, ..Proof::default() }) {
                Ok(Verified::Stored(_)) => {}
                Err(error) if error.fault() == Fault::Disk => return Err(Stop::Failed(error)),
                Ok(Verified::Stale) | Err(_) => {
                    report.problem(format!("the tree below node {index}: not what was signed"));
                    continue;
                }
            }
        }
        stack.extend([right, left]);
    }
    Ok(())
}
