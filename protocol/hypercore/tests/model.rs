//! A model of a core against the implementation, and proofs that were tampered with.

use hypercore::{
    CommitOptions, DraftOptions, Durability, Error, Hypercore, NodeRequest, Proof, Request, SeekRequest, Store,
    UpgradeRequest, Verified,
};
use proptest::prelude::*;

/// What can be done to a core. Numbers are taken modulo what makes sense.
#[derive(Debug, Clone)]
enum Op {
    Append(Vec<Vec<u8>>),
    Truncate(usize),
    Clear(usize, usize),
    Draft { overwrite: bool },
    DraftAppend(Vec<Vec<u8>>),
    DraftTruncate(usize),
    Commit(usize),
    CatchUp(usize),
    Atom { core: Vec<Vec<u8>>, draft: Vec<Vec<u8>>, cut: usize, commit: usize, cut_core: usize },
    Snapshot { draft: bool },
    Reopen,
}

fn blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => blocks().prop_map(Op::Append),
        1 => any::<usize>().prop_map(Op::Truncate),
        1 => (any::<usize>(), 0..8usize).prop_map(|(start, count)| Op::Clear(start, count)),
        2 => any::<bool>().prop_map(|overwrite| Op::Draft { overwrite }),
        4 => blocks().prop_map(Op::DraftAppend),
        2 => any::<usize>().prop_map(Op::DraftTruncate),
        2 => any::<usize>().prop_map(Op::Commit),
        1 => any::<usize>().prop_map(Op::CatchUp),
        2 => (blocks(), blocks(), any::<usize>(), any::<usize>(), any::<usize>())
            .prop_map(|(core, draft, cut, commit, cut_core)| Op::Atom { core, draft, cut, commit, cut_core }),
        1 => any::<bool>().prop_map(|draft| Op::Snapshot { draft }),
        1 => Just(Op::Reopen),
    ]
}

type Blocks = Vec<Option<Vec<u8>>>;

#[derive(Default)]
struct Model {
    core: Blocks,
    /// The whole blocks, also of those that were cleared: the tree is over them.
    tree: Vec<Vec<u8>>,
    fork: u64,
    draft: Option<(Blocks, Vec<Vec<u8>>)>,
}

fn somes(blocks: &[Vec<u8>]) -> impl Iterator<Item = Option<Vec<u8>>> {
    blocks.iter().cloned().map(Some)
}

fn content(core: &Hypercore) -> Blocks {
    (0..core.length()).map(|index| core.get(index).expect("readable").map(|block| block.to_vec())).collect()
}

/// The tree's hash of a core that has just these blocks.
fn tree_hash(blocks: &[Vec<u8>]) -> [u8; 32] {
    let core = Store::memory().create().expect("a core");
    core.append(blocks).expect("appended");
    core.tree_hash(blocks.len() as u64).expect("a hash")
}

struct Bench {
    model: Model,
    snapshots: Vec<(Hypercore, Blocks, [u8; 32])>,
    key: [u8; 32],
}

const DRAFT: &str = "draft";

impl Bench {
    fn step(&mut self, store: &Store, op: &Op) -> Result<(), TestCaseError> {
        let core = store.get(&self.key).expect("the core");
        let draft = self.model.draft.as_ref().map(|_| core.draft(DRAFT, DraftOptions::default()).expect("the draft"));
        let model = &mut self.model;
        match op {
            Op::Append(blocks) => {
                core.append(blocks).expect("appended");
                model.core.extend(somes(blocks));
                model.tree.extend(blocks.iter().cloned());
            }
            Op::Truncate(to) => {
                let to = to % (model.core.len() + 1);
                // A cut of blocks that are not here leaves no leaf to make roots from only if it was never here.
                core.truncate(to as u64).expect("cut");
                model.core.truncate(to);
                model.tree.truncate(to);
                model.fork += 1;
            }
            Op::Clear(start, count) if model.draft.is_none() => {
                let start = start % (model.core.len() + 1);
                let end = (start + count).min(model.core.len());
                core.clear(start as u64, end as u64).expect("cleared");
                model.core[start..end].fill(None);
            }
            Op::Clear(..) => {}
            Op::Draft { overwrite } => {
                core.draft(DRAFT, DraftOptions { overwrite: *overwrite, checkout: None }).expect("a draft");
                if *overwrite || model.draft.is_none() {
                    model.draft = Some((model.core.clone(), model.tree.clone()));
                }
            }
            Op::DraftAppend(blocks) => {
                if let (Some(draft), Some((content, tree))) = (&draft, &mut model.draft) {
                    draft.append(blocks).expect("appended");
                    content.extend(somes(blocks));
                    tree.extend(blocks.iter().cloned());
                }
            }
            Op::DraftTruncate(to) => {
                if let (Some(draft), Some((content, tree))) = (&draft, &mut model.draft) {
                    let to = to % (content.len() + 1);
                    draft.truncate(to as u64).expect("cut");
                    content.truncate(to);
                    tree.truncate(to);
                }
            }
            Op::Commit(length) => {
                if let (Some(draft), Some(drafted)) = (&draft, &model.draft) {
                    let length = length % (drafted.1.len() + 1);
                    let options = CommitOptions { length: Some(length as u64), ..CommitOptions::default() };
                    let fits = length >= model.tree.len() && drafted.1.starts_with(&model.tree);
                    match core.commit(draft, options) {
                        Ok(_) => {
                            prop_assert!(fits, "committed what does not follow");
                            commit(model, length);
                        }
                        Err(Error::BadArgument(text)) => prop_assert!(text.contains("not here"), "{text}"),
                        Err(error) => prop_assert!(!fits, "{error}"),
                    }
                }
            }
            Op::CatchUp(to) => {
                if let (Some(draft), Some(drafted)) = (&draft, &mut model.draft) {
                    let to = to % (model.core.len() + 1);
                    draft.catch_up(to as u64).expect("caught up");
                    *drafted = (model.core[..to].to_vec(), model.tree[..to].to_vec());
                }
            }
            Op::Atom { core: blocks, draft: drafted, cut, commit, cut_core } => {
                self.atom(store, &core, draft.as_ref(), blocks, drafted, [*cut, *commit, *cut_core])?;
            }
            Op::Snapshot { draft: of_draft } => {
                let session = if *of_draft { draft.unwrap_or(core) } else { core };
                let snapshot = session.snapshot();
                let hash = snapshot.tree_hash(snapshot.length()).expect("a hash");
                self.snapshots.push((snapshot, content(&session), hash));
            }
            Op::Reopen => {}
        }
        Ok(())
    }

    fn atom(
        &mut self,
        store: &Store,
        core: &Hypercore,
        draft: Option<&Hypercore>,
        blocks: &[Vec<u8>],
        drafted: &[Vec<u8>],
        [cut, commit_to, cut_core]: [usize; 3],
    ) -> Result<(), TestCaseError> {
        let model = &mut self.model;
        let atom = store.atom();
        let in_atom = core.in_atom(&atom).expect("in the atom");
        let kept = cut_core % (model.core.len() + 1);
        if cut_core.is_multiple_of(3) {
            in_atom.truncate(kept as u64).expect("cut");
        }
        in_atom.append(blocks).expect("appended");
        let before = content(core);
        prop_assert_eq!(&before, &model.core, "what an atom does is seen outside");
        if let (Some(draft), Some((content_of, tree))) = (draft, &mut model.draft) {
            let in_atom = draft.in_atom(&atom).expect("in the atom");
            let cut = cut % (content_of.len() + 1);
            in_atom.truncate(cut as u64).expect("cut");
            in_atom.append(drafted).expect("appended");
            content_of.truncate(cut);
            content_of.extend(somes(drafted));
            tree.truncate(cut);
            tree.extend(drafted.iter().cloned());
            prop_assert_eq!(&content(&in_atom), &*content_of);
            prop_assert_eq!(in_atom.tree_hash(in_atom.length()).expect("a hash"), tree_hash(tree));
            // From the atom into the core, when the atom itself changes the core no more.
            let length = commit_to % (tree.len() + 1);
            if blocks.is_empty()
                && !cut_core.is_multiple_of(3)
                && length >= model.tree.len()
                && tree.starts_with(&model.tree)
            {
                let options = CommitOptions { length: Some(length as u64), ..CommitOptions::default() };
                match core.commit(&in_atom, options) {
                    Ok(_) => commit(model, length),
                    Err(Error::BadArgument(text)) => prop_assert!(text.contains("not here"), "{text}"),
                    Err(error) => prop_assert!(false, "{error}"),
                }
                if let Some((content_of, _)) = &model.draft {
                    prop_assert_eq!(&content(&in_atom), content_of);
                }
            }
        }
        match atom.flush() {
            Ok(_) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
        let model = &mut self.model;
        if cut_core.is_multiple_of(3) {
            model.core.truncate(kept);
            model.tree.truncate(kept);
            model.fork += 1;
        }
        model.core.extend(somes(blocks));
        model.tree.extend(blocks.iter().cloned());
        prop_assert_eq!(content(&in_atom), content(core));
        Ok(())
    }

    fn compare(&self, store: &Store) -> Result<(), TestCaseError> {
        let core = store.get(&self.key).expect("the core");
        prop_assert_eq!(&content(&core), &self.model.core);
        prop_assert_eq!(core.fork(), self.model.fork);
        prop_assert_eq!(core.tree_hash(core.length()).expect("a hash"), tree_hash(&self.model.tree));
        prop_assert_eq!(core.byte_length(), self.model.tree.iter().map(|block| block.len() as u64).sum::<u64>());
        let contiguous = self.model.core.iter().take_while(|block| block.is_some()).count();
        prop_assert_eq!(core.contiguous_length(), contiguous as u64);
        for (index, block) in self.model.core.iter().enumerate() {
            prop_assert_eq!(core.has(index as u64), block.is_some());
        }
        if let Some((blocks, tree)) = &self.model.draft {
            let draft = core.draft(DRAFT, DraftOptions::default()).expect("the draft");
            prop_assert_eq!(&content(&draft), blocks);
            prop_assert_eq!(draft.tree_hash(draft.length()).expect("a hash"), tree_hash(tree));
        }
        for (snapshot, blocks, hash) in &self.snapshots {
            prop_assert_eq!(&content(snapshot), blocks);
            prop_assert_eq!(&snapshot.tree_hash(snapshot.length()).expect("a hash"), hash);
        }
        let report = store.check(|_| ()).expect("readable");
        prop_assert!(report.is_whole(), "{:?}", report.problems);
        Ok(())
    }
}

/// The draft's first blocks are in the core now.
fn commit(model: &mut Model, length: usize) {
    if let Some((blocks, tree)) = &model.draft {
        for (index, block) in blocks[..length].iter().enumerate() {
            match model.core.get_mut(index) {
                Some(place) => *place = place.take().or_else(|| block.clone()),
                None => model.core.push(block.clone()),
            }
        }
        model.tree = tree[..length].to_vec();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_core_is_what_the_model_says(ops in prop::collection::vec(op(), 1..40)) {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Store::open(folder.path(), Durability::System).expect("opens");
        let mut store = open();
        let key = store.create().expect("a core").key();
        let mut bench = Bench { model: Model::default(), snapshots: Vec::new(), key };
        for op in &ops {
            bench.step(&store, op)?;
            if matches!(op, Op::Reopen) {
                bench.snapshots.clear();
                drop(store);
                store = open();
            }
            bench.compare(&store)?;
        }
    }
}

fn requests() -> Vec<(u64, Request)> {
    let node = |index, nodes| Some(NodeRequest { index, nodes });
    let up = |start, length| Some(UpgradeRequest { start, length });
    let empty = Request::default();
    vec![
        (13, Request { block: node(2, 2), ..empty }),
        (13, Request { hash: node(6, 2), ..empty }),
        (13, Request { hash: node(6, 3), seek: Some(SeekRequest { bytes: 7, padding: 0 }), ..empty }),
        (0, Request { upgrade: up(0, 13), manifest: true, ..empty }),
        (0, Request { block: node(9, 0), upgrade: up(0, 11), ..empty }),
        (4, Request { upgrade: up(4, 4), ..empty }),
        (4, Request { block: node(8, 0), upgrade: up(4, 5), ..empty }),
        (8, Request { block: node(3, 2), upgrade: up(8, 3), ..empty }),
    ]
}

/// Every proof that differs from `proof` in one bit of one of its fields (each byte of hashes, blocks and signatures).
fn tampered(proof: &Proof) -> Vec<(String, Proof)> {
    let mut all = Vec::new();
    let mut push = |what: String, change: &dyn Fn(&mut Proof)| {
        let mut proof = proof.clone();
        change(&mut proof);
        all.push((what, proof));
    };
    type Nodes = fn(&mut Proof) -> Option<&mut Vec<hypercore::Node>>;
    let lists: [(&str, Nodes); 5] = [
        ("block", |proof| proof.block.as_mut().map(|block| &mut block.nodes)),
        ("hash", |proof| proof.hash.as_mut().map(|hash| &mut hash.nodes)),
        ("seek", |proof| proof.seek.as_mut().map(|seek| &mut seek.nodes)),
        ("upgrade", |proof| proof.upgrade.as_mut().map(|upgrade| &mut upgrade.nodes)),
        ("additional", |proof| proof.upgrade.as_mut().map(|upgrade| &mut upgrade.additional_nodes)),
    ];
    for (name, nodes) in lists {
        let count = nodes(&mut proof.clone()).map_or(0, |nodes| nodes.len());
        for at in 0..count {
            for byte in 0..32 {
                push(format!("{name} {at} hash {byte}"), &|proof| nodes(proof).expect("a list")[at].hash[byte] ^= 1);
            }
            for bit in 0..53 {
                push(format!("{name} {at} size {bit}"), &|proof| nodes(proof).expect("a list")[at].size ^= 1 << bit);
                push(format!("{name} {at} index {bit}"), &|proof| nodes(proof).expect("a list")[at].index ^= 1 << bit);
            }
            push(format!("{name} {at} gone"), &|proof| {
                nodes(proof).expect("a list").remove(at);
            });
            push(format!("{name} {at} twice"), &|proof| {
                let nodes = nodes(proof).expect("a list");
                nodes.insert(at, nodes[at]);
            });
        }
    }
    if let Some(block) = &proof.block {
        for at in 0..block.value.len() {
            push(format!("block byte {at}"), &|proof| {
                let block = proof.block.as_mut().expect("a block");
                let mut value = block.value.to_vec();
                value[at] ^= 1;
                block.value = value.into();
            });
        }
        for bit in 0..53 {
            push(format!("block index {bit}"), &|proof| proof.block.as_mut().expect("a block").index ^= 1 << bit);
        }
    }
    if let Some(upgrade) = &proof.upgrade {
        // Byte 66 says how many blocks more the signer signed. Where the manifest allows no such patch, JavaScript does not look at
        // it, and what it takes and passes on must be taken here too.
        for at in (0..upgrade.signature.len()).filter(|&at| at != 66) {
            push(format!("signature byte {at}"), &|proof| {
                let upgrade = proof.upgrade.as_mut().expect("an upgrade");
                let mut signature = upgrade.signature.to_vec();
                signature[at] ^= 1;
                upgrade.signature = signature.into();
            });
        }
    }
    for bit in 0..53 {
        push(format!("fork {bit}"), &|proof| proof.fork ^= 1 << bit);
    }
    if let Some(manifest) = &proof.manifest {
        for at in 0..32 {
            let mut manifest = manifest.clone();
            manifest.signers[0].public_key[at] ^= 1;
            push(format!("signer byte {at}"), &|proof| proof.manifest = Some(manifest.clone()));
        }
    }
    all
}

#[tokio::test]
async fn a_proof_that_differs_in_anything_is_refused() {
    let core = Store::memory().create().expect("a core");
    let all: Vec<Vec<u8>> = (0..13u8).map(|index| vec![index; usize::from(index)]).collect();
    core.append(&all).expect("appended");
    let mut tried = 0;
    for (have, request) in requests() {
        // What the asker has already: the tree of a peer of the same key that stopped at `have`.
        let part = Store::memory()
            .core(hypercore::CoreOptions { key_pair: core.key_pair(), ..Default::default() })
            .expect("a core");
        part.append(&all[..have as usize]).expect("appended");
        let copy = || async {
            let copy = Store::memory().get(&core.key()).expect("a core");
            if have > 0 {
                let upgrade = Some(UpgradeRequest { start: 0, length: have });
                let proof = part.proof(&Request { upgrade, manifest: true, ..Request::default() }).await;
                copy.verify(&proof.expect("a proof")).expect("verified");
            }
            copy
        };
        let empty = copy().await;
        let mut request = request;
        request.manifest |= have == 0;
        if let Some(block) = request.block.as_mut().filter(|block| block.nodes > 0) {
            block.nodes = empty.missing_nodes(2 * block.index).expect("readable");
        }
        if let Some(hash) = request.hash.as_mut().filter(|_| request.seek.is_none()) {
            hash.nodes = empty.missing_nodes(hash.index).expect("readable");
        }
        let proof = core.proof(&request).await.expect("a proof");
        for (what, wrong) in tampered(&proof) {
            let before = empty.head();
            match empty.verify(&wrong) {
                Err(error) => assert_eq!(error.fault(), hypercore::Fault::Peer, "{request:?}: {what}: {error}"),
                Ok(Verified::Stale) if what.starts_with("fork") => {}
                Ok(taken) => panic!("{request:?}: {what}: {taken:?}"),
            }
            assert_eq!(empty.head(), before, "{what}");
            tried += 1;
        }
        assert!(matches!(empty.verify(&proof), Ok(Verified::Stored(_))), "{request:?}");
    }
    assert!(tried > 5000, "{tried} proofs");
}
