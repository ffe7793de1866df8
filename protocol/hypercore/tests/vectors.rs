//! The bytes of the JavaScript packages.

use crypto::KeyPair;
use encoding::{Decoder, Encoder};
use hypercore::multisig::{self, PartialSignature};
use hypercore::{
    BlockEncryption, CommitOptions, CoreOptions, DraftOptions, EncryptionMode, Error, Hypercore, Manifest, Node,
    NodeRequest, Prologue, Proof, Request, SeekRequest, Signer, Store, TreeBatch, TreeHead, UpgradeRequest, Verified,
    verifier,
};
use serde_json::Value;
use testing::{hex, unhex, vector_json};

const STACKS: [&str; 3] = ["pinned", "msb", "latest"];

fn files(name: &str) -> impl Iterator<Item = Value> {
    STACKS.iter().map(move |stack| vector_json(&format!("data/{stack}/{name}.json")))
}

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap_or_else(|| panic!("hex text, not {value}")))
}

fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("length")
}

fn list(value: &Value) -> &[Value] {
    let list = value.as_array().expect("list");
    assert!(!list.is_empty());
    list
}

fn uint(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number, not {value}"))
}

fn manifest(value: &Value) -> Manifest {
    let signer =
        |signer: &Value| Signer { namespace: fixed(&signer["namespace"]), public_key: fixed(&signer["publicKey"]) };
    let some = |name: &str| Some(&value[name]).filter(|value| !value.is_null());
    Manifest {
        version: uint(&value["version"]),
        allow_patch: value["allowPatch"].as_bool().expect("a flag"),
        quorum: uint(&value["quorum"]),
        signers: value["signers"].as_array().expect("signers").iter().map(signer).collect(),
        prologue: some("prologue")
            .map(|prologue| Prologue { hash: fixed(&prologue["hash"]), length: uint(&prologue["length"]) }),
        linked: some("linked").map(|linked| list(linked).iter().map(fixed).collect()),
        user_data: some("userData").map(|data| bytes(data).into()),
    }
}

#[test]
fn vector_manifest_of_version_3() {
    // `encodeManifest` and `manifestHash` of hypercore 11.39's `verifier.js`; the other vectors were made with both generations.
    let file = vector_json("data/manifest-v3.json");
    let encoded = bytes(&file["encoded"]);
    let mut from = Decoder::new(&encoded);
    let manifest = Manifest::decode(&mut from).expect("a manifest");
    assert!(from.is_empty());
    assert_eq!((manifest.version, manifest.validate().is_ok()), (3, true));
    assert_eq!(
        (manifest.linked.as_deref(), manifest.user_data.as_deref()),
        (Some(&[[4; 32]][..]), Some(&b"user data"[..]))
    );
    assert_eq!(hex(&manifest.encode()), file["encoded"]);
    assert_eq!(hex(&manifest.key()), file["key"]);
    let next = [&[4], &encoded[1..]].concat();
    assert!(Manifest::decode(&mut Decoder::new(&next)).is_err(), "a version that nobody knows");
}

#[test]
fn vector_manifest() {
    for file in files("10-manifest") {
        assert_eq!(hex(&hypercore::default_namespace()), file["namespaces"]["DEFAULT_NAMESPACE"]);
        for entry in list(&file["list"]) {
            let manifest = manifest(&entry["manifest"]);
            assert_eq!(hex(&manifest.encode()), entry["encoded"], "{}", entry["name"]);
            assert_eq!(hex(&manifest.key()), entry["key"], "{}", entry["name"]);
            assert_eq!(hex(&crypto::discovery_key(&manifest.key())), entry["discoveryKey"]);
            let encoded = bytes(&entry["encoded"]);
            let mut from = Decoder::new(&encoded);
            assert_eq!(Manifest::decode(&mut from).as_ref(), Ok(&manifest));
            assert!(from.is_empty());
            assert!(manifest.validate().is_ok());
            for end in 0..encoded.len() {
                assert!(Manifest::decode(&mut Decoder::new(&encoded[..end])).is_err(), "{} to {end}", entry["name"]);
            }
        }
    }
}

#[test]
fn vector_block_encryption() {
    for file in files("12-block-encryption") {
        for entry in list(&file["list"]) {
            let mode = match entry["mode"].as_str() {
                Some("default") => EncryptionMode::Core,
                Some("compat") => EncryptionMode::Compat,
                Some("block") => EncryptionMode::Block,
                mode => panic!("mode {mode:?}"),
            };
            let encryption = BlockEncryption::new(&fixed(&entry["encryptionKey"]), &fixed(&entry["coreKey"]), mode);
            let (block_key, blinding_key) = encryption.keys();
            assert_eq!((hex(block_key).as_str(), hex(blinding_key).as_str()), {
                (entry["blockKey"].as_str().expect("a key"), entry["blindingKey"].as_str().expect("a key"))
            });
            let (index, plain) = (uint(&entry["index"]), bytes(&entry["plain"]));
            let stored = encryption.encrypt(index, uint(&entry["fork"]), &plain);
            assert_eq!(hex(&stored), entry["cipher"]);
            assert_eq!(encryption.decrypt(index, &stored), Some(plain));
        }
    }
}

fn check_state(core: &Hypercore, state: &Value) {
    let head = core.head();
    assert_eq!((head.length, head.fork), (uint(&state["length"]), uint(&state["fork"])));
    let roots: Vec<Node> = list(&state["roots"])
        .iter()
        .map(|root| Node { index: uint(&root["index"]), size: uint(&root["size"]), hash: fixed(&root["hash"]) })
        .collect();
    assert_eq!(head.roots, roots);
    assert_eq!(hex(&core.tree_hash(head.length).expect("a hash")), state["treeHash"]);
    assert_eq!(hex(&core.signable(head.length, head.fork).expect("a text")), state["signable"]);
    assert_eq!(hex(&head.signature), state["signature"]);
}

/// The message that carries a proof (`lib/messages.js`, `data`), as the vectors have it.
fn encode(proof: &Proof) -> Vec<u8> {
    let mut out = Encoder::new();
    let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
    out.uint(
        flag(proof.block.is_some(), 1)
            | flag(proof.hash.is_some(), 2)
            | flag(proof.seek.is_some(), 4)
            | flag(proof.upgrade.is_some(), 8),
    );
    out.uint(1).uint(proof.fork);
    let nodes = |out: &mut Encoder, nodes: &[Node]| {
        out.array(nodes, |out, node| node.encode(out));
    };
    if let Some(block) = &proof.block {
        out.uint(block.index).buffer(&block.value);
        nodes(&mut out, &block.nodes);
    }
    if let Some(hash) = &proof.hash {
        out.uint(hash.index);
        nodes(&mut out, &hash.nodes);
    }
    if let Some(seek) = &proof.seek {
        out.uint(seek.bytes);
        nodes(&mut out, &seek.nodes);
    }
    if let Some(upgrade) = &proof.upgrade {
        out.uint(upgrade.start).uint(upgrade.length);
        nodes(&mut out, &upgrade.nodes);
        nodes(&mut out, &upgrade.additional_nodes);
        out.buffer(&upgrade.signature);
    }
    out.finish()
}

fn request(value: &Value) -> Request {
    let some = |name: &str| Some(&value[name]).filter(|value| !value.is_null());
    let node = |value: &Value| NodeRequest { index: uint(&value["index"]), nodes: uint(&value["nodes"]) };
    Request {
        block: some("block").map(node),
        hash: some("hash").map(node),
        seek: some("seek").map(|seek| SeekRequest { bytes: uint(&seek["bytes"]), padding: uint(&seek["padding"]) }),
        upgrade: some("upgrade").map(|up| UpgradeRequest { start: uint(&up["start"]), length: uint(&up["length"]) }),
        manifest: false,
    }
}

/// A copy of `core` that has the tree over the first `length` blocks, all its nodes, and no block.
async fn copy_at(core: &Hypercore, length: u64) -> Hypercore {
    let copy = Store::memory()
        .core(CoreOptions { key: Some(core.key()), manifest: core.manifest(), ..CoreOptions::default() })
        .expect("a core");
    if length == 0 {
        return copy;
    }
    // The same signer signs the first part again: the same blocks, the same signature.
    let part = Store::memory().core(CoreOptions { key_pair: core.key_pair(), ..CoreOptions::default() });
    let part = part.expect("a core");
    for index in 0..length {
        part.append([core.get_raw(index).expect("readable").expect("a block")]).expect("appended");
    }
    let upgrade = Some(UpgradeRequest { start: 0, length });
    let proof = part.proof(&Request { upgrade, ..Request::default() }).await.expect("a proof");
    assert!(matches!(copy.verify(&proof), Ok(Verified::Stored(_))));
    for index in (0..length).map(|block| 2 * block) {
        let hash = Some(NodeRequest { index, nodes: copy.missing_nodes(index).expect("readable") });
        let proof = part.proof(&Request { hash, ..Request::default() }).await.expect("a proof");
        copy.verify(&proof).expect("a node");
    }
    copy
}

#[tokio::test]
async fn vector_merkle_tree() {
    for file in files("14-merkle-tree") {
        let keys = KeyPair::from_secret_key(&fixed(&file["keyPair"]["secretKey"])).expect("a key pair");
        let store = Store::memory();
        let core = store.core(CoreOptions { key_pair: Some(keys), ..CoreOptions::default() }).expect("a core");
        assert_eq!(hex(&core.key()), file["coreKey"]);
        assert_eq!(hex(&core.manifest().expect("a manifest").encode()), file["manifest"]);
        let states = list(&file["states"]);
        for (block, state) in list(&file["blocks"]).iter().zip(states) {
            core.append([bytes(block)]).expect("appended");
            check_state(&core, state);
            assert_eq!(core.byte_length(), uint(&state["byteLength"]));
        }
        for (index, block) in list(&file["blocks"]).iter().enumerate() {
            assert_eq!(core.get(index as u64).expect("readable").as_deref(), Some(&bytes(block)[..]));
        }
        let proofs = list(&file["proofs"]);
        let mut verified = 0;
        for entry in proofs.iter().filter(|entry| entry["label"] != "fork proof 0..8") {
            let label = entry["label"].as_str().expect("a label");
            let request = request(&entry["request"]);
            match (core.proof(&request).await, entry.get("error")) {
                (Err(Error::InvalidRequest(_)), Some(_)) => continue,
                (Ok(proof), None) => {
                    assert_eq!(hex(&encode(&proof)), entry["data"], "{label}");
                    let copy = copy_at(&core, request.upgrade.map_or(11, |upgrade| upgrade.start)).await;
                    let stored = copy.verify(&proof);
                    assert!(matches!(stored, Ok(Verified::Stored(_))), "{label}: {stored:?}");
                    assert_eq!(copy.head().roots, core.head().roots, "{label}");
                    if let Some(block) = request.block {
                        assert_eq!(copy.get(block.index).expect("readable"), core.get(block.index).expect("readable"));
                    }
                    verified += 1;
                }
                (result, expected) => panic!("{label}: {result:?}, not {expected:?}"),
            }
        }
        assert_eq!(verified, 17);
        core.truncate(6).expect("cut");
        core.append(["after-truncate", "x"]).expect("appended");
        check_state(&core, states.last().expect("a state"));
        let fork = proofs.iter().find(|entry| entry["label"] == "fork proof 0..8").expect("the fork's proof");
        let proof = core.proof(&request(&fork["request"])).await.expect("a proof");
        assert_eq!(hex(&encode(&proof)), fork["data"]);
        compat_core(&file["compatCore"]);
    }
}

fn compat_core(expected: &Value) {
    let keys = KeyPair::from_seed(&[3; 32]);
    let key = Some(keys.public_key);
    let options = CoreOptions { key, key_pair: Some(keys), ..CoreOptions::default() };
    let core = Store::memory().core(options).expect("a core");
    assert_eq!(hex(&core.key()), expected["key"]);
    core.append(list(&expected["blocks"]).iter().map(bytes)).expect("appended");
    assert_eq!(hex(&core.tree_hash(2).expect("a hash")), expected["treeHash"]);
    assert_eq!(hex(&verifier::signable_compat(&core.tree_hash(2).expect("a hash"), 2, 0)), expected["signable"]);
    assert_eq!(hex(&core.head().signature), expected["signature"]);
}

#[test]
fn vector_multisig() {
    for file in files("15-multisig") {
        let manifest = Manifest::decode(&mut Decoder::new(&bytes(&file["manifest"]))).expect("a manifest");
        let store = Store::memory();
        let core = store.core(CoreOptions { manifest: Some(manifest), ..CoreOptions::default() }).expect("a core");
        assert_eq!(hex(&core.key()), file["key"]);
        let draft = core.draft("batch", DraftOptions::default()).expect("a draft");
        for block in list(&file["blocks"]) {
            draft.append([bytes(block)]).expect("appended");
        }
        for length in [5, 9] {
            assert_eq!(hex(&draft.tree_hash(length).expect("a hash")), file[format!("treeHash{length}")]);
            assert_eq!(hex(&draft.signable(length, 0).expect("a text")), file[format!("signable{length}")]);
        }
        let keys = |seed: u8| KeyPair::from_seed(&[seed; 32]);
        let sign = |seed, length| keys(seed).sign(&draft.signable(length, 0).expect("a text"));
        assert_eq!(hex(&sign(1, 9)), file["signer0SignatureAt9"]);
        assert_eq!(hex(&sign(3, 5)), file["signer2SignatureAt5"]);
        let first = draft.partial_signature(0, 5, 9, sign(1, 9)).expect("a part");
        let third = draft.partial_signature(2, 5, 5, sign(3, 5)).expect("a part");
        assert_eq!(first.patch, uint(&file["partial0"]["patch"]));
        let patched = multisig::assemble(&[third.clone(), first]);
        assert_eq!(hex(&patched), file["assembledPatch"]);
        let same = multisig::assemble(&[PartialSignature::new(0, sign(1, 5)), third]);
        assert_eq!(hex(&same), file["assembledNoPatch"]);

        let commit = |signature: Vec<u8>| {
            core.commit(&draft, CommitOptions { length: Some(5), signature: Some(signature.into()), key_pair: None })
        };
        for at in 0..patched.len() {
            let mut wrong = patched.clone();
            wrong[at] ^= 1;
            assert!(commit(wrong).is_err(), "byte {at}");
        }
        commit(patched).expect("committed");
        assert_eq!(core.length(), uint(&file["committedLength"]));
        assert_eq!((draft.length(), draft.signed_length()), (9, 5));
        for (index, block) in list(&file["blocks"]).iter().enumerate() {
            assert_eq!(draft.get(index as u64).expect("readable").as_deref(), Some(&bytes(block)[..]));
        }
        assert_eq!(core.get(4).expect("readable").as_deref(), Some(&b"m4"[..]));
        commit(same).expect("committed again");
    }
}

/// Signatures of manifests of version 0, made with the `multisig` and `verifier` of hypercore 11.8.3 (11.24 makes the same): two of
/// the signers, whose key pairs are of the seeds `01…`, `02…`, have signed cores of the same blocks up to their own lengths.
#[test]
fn vector_multisig_of_version_0() {
    for entry in list(&vector_json("data/multisig-v0.json")) {
        let encoded = bytes(&entry["manifest"]);
        let manifest = Manifest::decode(&mut Decoder::new(&encoded)).expect("a manifest");
        assert_eq!((manifest.version, hex(&manifest.encode())), (0, hex(&encoded)));
        let store = Store::memory();
        let options = CoreOptions { manifest: Some(manifest.clone()), ..CoreOptions::default() };
        let core = store.core(options).expect("a core");
        assert_eq!(hex(&core.key()), entry["key"]);
        let draft = core.draft("batch", DraftOptions::default()).expect("a draft");
        let lengths: Vec<u64> = list(&entry["lengths"]).iter().map(uint).collect();
        draft.append((0..9).map(|index| format!("block {index}"))).expect("appended");
        let length = uint(&entry["length"]);
        let part = |part: &Value| {
            let (signer, signature) = (uint(&part["signer"]), fixed(&part["signature"]));
            let signed = lengths[signer as usize];
            let tree_hash = draft.tree_hash(signed).expect("a hash");
            let text = verifier::signable(&manifest.signers[signer as usize].namespace, &tree_hash, signed, 0);
            assert_eq!(KeyPair::from_seed(&[signer as u8 + 1; 32]).sign(&text), signature);
            let made = draft.partial_signature(signer, length, signed, signature).expect("a part");
            assert_eq!(made.patch, uint(&part["patch"]));
            made
        };
        let parts: Vec<PartialSignature> = list(&entry["parts"]).iter().map(part).collect();
        let signature = core.verifier().expect("a verifier").assemble(&parts).expect("assembled");
        assert_eq!(hex(&signature), entry["signature"], "{lengths:?}");
        let commit = |signature: &[u8]| {
            let signature = Some(signature.to_vec().into());
            core.commit(&draft, CommitOptions { length: Some(length), signature, key_pair: None })
        };
        // One signature is no quorum, nor is one twice.
        for few in [&parts[..1], &[parts[0].clone(), parts[0].clone()]] {
            assert!(commit(&multisig::assemble_v0(few).expect("assembled")).is_err());
        }
        let mut tree = TreeBatch::new(TreeHead::default(), None);
        (0..length).for_each(|index| tree.append(format!("block {index}").as_bytes()));
        let verifier = core.verifier().expect("a verifier");
        assert!(verifier.verify(&tree, &signature));
        let altered = |at: usize| {
            let mut altered = signature.to_vec();
            altered[at] ^= 1;
            altered
        };
        // Where a patch begins, and which of its nodes are whose, is written and not read, as in JavaScript.
        let refused = (0..signature.len()).filter(|&at| !verifier.verify(&tree, &altered(at))).count();
        assert!(refused >= 2 * 65, "{refused} of {}", signature.len());
        commit(&signature).expect("committed");
        assert_eq!(
            (core.length(), core.get(length - 1).expect("readable")),
            (length, Some(format!("block {}", length - 1).into()))
        );
    }
}
