//! Everything that JavaScript has of a store comes over.

mod common;

use common::{KINDS, Recorded, digest, imported, key, report_of};
use corestore::Corestore;
use corestore_import::keys::{Table, after_numbers};
use corestore_import::records::decode_node;
use encoding::index_encoder::decode_uint;
use hyperbee::Hyperbee;
use hypercore::flat_tree::right_span;
use hypercore::{BlockEncryption, DraftOptions, EncryptionMode, tree_hash};
use testing::{hex, unhex};

fn hash(text: &serde_json::Value) -> [u8; 32] {
    unhex(text.as_str().expect("hex")).try_into().expect("32 bytes")
}

#[test]
fn every_core_is_what_it_was() {
    for kind in KINDS.into_iter().chain(["autobase"]) {
        let recorded = Recorded::new(kind);
        let (store, report) = imported(&recorded.entries);
        assert_eq!(store.primary_key().map(|key| hex(&key)).as_deref(), recorded.about["primaryKey"].as_str());
        assert_eq!(report.cores.len(), recorded.cores().len());
        for about in recorded.cores() {
            let (name, found) = (&about["name"], report_of(&report, about));
            assert!(found.is_exact(), "{kind} {name}: {found:?}");
            let core = store.find(&found.discovery_key).expect("readable").expect("is there");
            assert_eq!(core.key(), key(about), "{kind} {name}");
            assert_eq!(
                (core.length(), core.fork()),
                (about["length"].as_u64().unwrap(), about["fork"].as_u64().unwrap())
            );
            assert_eq!((found.length, found.fork), (core.length(), core.fork()));
            assert_eq!(Some(core.is_writable()), about["writable"].as_bool(), "{kind} {name}");
            assert_eq!(Some(found.is_writable), about["writable"].as_bool(), "{kind} {name}");
            let (blocks, all) = digest(&core);
            assert_eq!(
                (Some(blocks), Some(&all[..])),
                (about["blocks"].as_u64(), about["digest"].as_str()),
                "{kind} {name}"
            );
            assert_eq!(found.blocks, blocks);
            if core.length() > 0 {
                assert_eq!(tree_hash(&core.head().roots), hash(&about["treeHash"]), "{kind} {name}");
            }
        }
        assert!(report.is_exact(), "{kind}: {:?}", report.problems);
    }
}

/// Also those above blocks that are not here: they were cleared, or never fetched.
#[test]
fn every_hash_is_carried() {
    for kind in KINDS {
        let recorded = Recorded::new(kind);
        let (store, _) = imported(&recorded.entries);
        let mut compared = 0;
        for about in recorded.cores() {
            let core = store.get(&key(about)).expect("readable");
            let data = recorded.pointers(about["name"].as_str().expect("a name")).1.into();
            for (entry, value) in recorded.entries.range(Table::Tree.of(data)..Table::Tree.end(data)) {
                let index = decode_uint(&mut after_numbers(entry).expect("a key")).expect("an index");
                // A core that was cut has nodes from before.
                if right_span(index) < 2 * core.length() {
                    let node = decode_node(index, value).expect("a node");
                    assert_eq!(core.node(index).expect("readable"), Some(node), "{kind} {} {index}", about["name"]);
                    compared += 1;
                }
            }
        }
        assert!(compared > 300, "{compared}");
    }
}

#[test]
fn names_are_found_again_and_written_on() {
    for kind in KINDS {
        let recorded = Recorded::new(kind);
        let (store, _) = imported(&recorded.entries);
        for name in ["local", "named"] {
            let about = recorded.core(name);
            let part = |part: &str| unhex(about["alias"][part].as_str().expect("hex"));
            let alias = [part("namespace"), part("name")].concat();
            let found = store.discovery_key_of(&alias).expect("readable");
            assert_eq!(found, Some(crypto::discovery_key(&key(about))), "{kind} {name}");
        }
        let store = Corestore::new(store).expect("opened");
        for name in ["local", "cut", "emptied", "cleared"] {
            let about = recorded.core(name);
            let core = store.get_named(name.as_bytes()).expect("opened");
            assert_eq!((core.key(), Some(core.length())), (key(about), about["length"].as_u64()));
            core.append(["and on"]).expect("appended");
            assert_eq!(core.get(core.length() - 1).expect("readable").as_deref(), Some(&b"and on"[..]));
        }
        let named = store.namespace(b"chat").get_named(b"with\0zero").expect("opened");
        assert_eq!(named.key(), key(recorded.core("named")));
        assert_eq!(named.get(1).expect("readable").as_deref(), Some(&b""[..]));
        let check = store.store().check(|_| ()).expect("readable");
        assert!(check.is_whole(), "{:?}", check.problems);
    }
}

#[test]
fn user_data_and_local_entries_are_carried() {
    for kind in KINDS {
        let recorded = Recorded::new(kind);
        let (store, _) = imported(&recorded.entries);
        let local = store.get(&key(recorded.core("local"))).expect("readable");
        assert_eq!(local.user_data("referrer").expect("readable").as_deref(), Some(&b"a base"[..]));
        assert_eq!(local.local(&[1, 0, 7]).expect("readable").as_deref(), Some(&b"only here"[..]));
    }
}

#[test]
fn a_draft_is_carried() {
    for kind in KINDS {
        let recorded = Recorded::new(kind);
        let (store, report) = imported(&recorded.entries);
        let about = recorded.core("drafted");
        assert_eq!(report_of(&report, about).drafts, 1);
        let core = store.get(&key(about)).expect("readable");
        let draft = core.draft("batch", DraftOptions::default()).expect("opened");
        assert_eq!((draft.length(), draft.signed_length()), (14, 9));
        assert_eq!(tree_hash(&draft.head().roots), hash(&about["draft"]["treeHash"]));
        let block = |session: &hypercore::Hypercore, index| session.get(index).expect("readable").expect("is there");
        assert_eq!(&block(&draft, 10)[..], b"draft 10 ");
        assert_eq!(&block(&core, 10)[..], b"drafted 10 ");
        assert_eq!(block(&draft, 3), block(&core, 3));
    }
}

/// What is signed of the view, and what the Autobase has made of later messages and nobody signed yet.
#[test]
fn the_view_of_an_autobase_is_carried() {
    let recorded = Recorded::new("autobase");
    let (store, report) = imported(&recorded.entries);
    assert!(report.is_exact(), "{:?}", report.problems);
    let about = recorded.core("view");
    assert_eq!(report_of(&report, about).drafts, 1);
    let core = store.get(&key(about)).expect("readable");
    let draft = core.draft("batch", DraftOptions::default()).expect("opened");
    assert_eq!((draft.length(), draft.signed_length()), (17, 15));
    let block = |index| draft.get(index).expect("readable").expect("is there");
    let view: Vec<serde_json::Value> =
        (0..draft.length()).map(|index| serde_json::from_slice(&block(index)).expect("JSON")).collect();
    assert_eq!(serde_json::Value::from(view), about["view"]);
}

#[test]
fn encrypted_blocks_can_be_read() {
    for kind in KINDS {
        let recorded = Recorded::new(kind);
        let (store, _) = imported(&recorded.entries);
        let about = recorded.core("secret");
        let encryption = BlockEncryption::new(&hash(&about["encryptionKey"]), &key(about), EncryptionMode::Core);
        let core = store.get(&key(about)).expect("readable").with_encryption(Some(encryption));
        let first = core.get(0).expect("readable").expect("is there");
        assert_eq!(Some(&hex(&first)[..]), about["first"].as_str());
    }
}

#[tokio::test]
async fn a_tree_can_be_read() {
    for kind in KINDS {
        let recorded = Recorded::new(kind);
        let (store, _) = imported(&recorded.entries);
        let store = Corestore::new(store).expect("opened");
        let about = recorded.core("bee");
        let bee = Hyperbee::new(store.open_named(b"bee").expect("opened"));
        for (name, value) in about["bee"].as_object().expect("keys and values") {
            let found = bee.get(name.as_str()).await.expect("readable").and_then(|entry| entry.value);
            assert_eq!(found.as_deref(), value.as_str().map(str::as_bytes), "{name}");
        }
    }
}
