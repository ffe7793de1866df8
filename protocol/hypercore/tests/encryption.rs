//! An encryption by another rule than hypercore's own: Autobase's (`lib/encryption.js`), which names the key in each block.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crypto::KeyPair;
use hypercore::{CoreOptions, Encryption, Error, Hash, Request, Seek, Store, UpgradeRequest, Verified};
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use serde_json::Value;
use testing::{hex, unhex, vector_json};

/// `u8 type ‖ 3 bytes of a hash of the block ‖ u32 id of the key`, then the block under XSalsa20 with the index and these as nonce.
#[derive(Default)]
struct ByRotatingKeys {
    newest: Mutex<u32>,
    keys: Mutex<HashMap<u32, Hash>>,
    /// The bytes of the hash, which has 16, a length that nothing else here has: by the index of the block, as JavaScript made them.
    tags: HashMap<u64, [u8; 3]>,
}

impl ByRotatingKeys {
    fn apply(&self, index: u64, padding: &[u8], body: &mut [u8]) -> Result<(), Error> {
        let id = u32::from_le_bytes(padding[4..].try_into().expect("four bytes"));
        let keys = self.keys.lock().expect("no panic");
        let key = keys.get(&id).ok_or(Error::NoKey { id: id.into() })?;
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&index.to_le_bytes());
        nonce[8..16].copy_from_slice(padding);
        XSalsa20::new(&(*key).into(), &nonce.into()).apply_keystream(body);
        Ok(())
    }
}

impl Encryption for ByRotatingKeys {
    fn padding(&self) -> usize {
        8
    }

    fn encrypt(&self, index: u64, _fork: u64, block: &[u8]) -> Result<Vec<u8>, Error> {
        let id = *self.newest.lock().expect("no panic");
        let mut stored = [&[1], &self.tags[&index][..], &id.to_le_bytes()[..], block].concat();
        let (padding, body) = stored.split_at_mut(8);
        self.apply(index, padding, body)?;
        Ok(stored)
    }

    fn decrypt(&self, index: u64, stored: &[u8]) -> Result<Vec<u8>, Error> {
        let (padding, body) = stored.split_at_checked(8).ok_or(Error::InvalidBlock("it is too short"))?;
        let mut block = body.to_vec();
        match padding[0] {
            0 => {}
            1 => self.apply(index, padding, &mut block)?,
            _ => return Err(Error::InvalidBlock("an unknown encryption")),
        }
        Ok(block)
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().filter(|list| !list.is_empty()).expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn uint(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn hash(value: &Value) -> Hash {
    unhex(text(value)).try_into().expect("32 bytes")
}

#[tokio::test]
async fn blocks_of_autobases_rule_are_those_of_javascript() -> Result<(), Error> {
    let file = vector_json("data/autobase-encryption.json");
    let tag = |block: &Value| unhex(text(&block["stored"]))[1..4].try_into().expect("three bytes");
    let tags = (0..).zip(list(&file["blocks"])).map(|(index, block)| (index, tag(block))).collect();
    let rule = Arc::new(ByRotatingKeys { tags, ..ByRotatingKeys::default() });
    let blocks: Vec<_> = list(&file["blocks"]).iter().map(|block| (unhex(text(&block["plain"])), block)).collect();
    let key_pair = Some(KeyPair::from_seed(&hash(&file["seed"])));
    let raw = Store::memory().core(CoreOptions { key_pair, ..CoreOptions::default() })?;
    assert_eq!(hex(&raw.key()), file["key"]);
    let core = raw.clone().with_encryption(Some(rule.clone()));
    // Without its key no block is written.
    assert!(matches!(core.append(["a"]), Err(Error::NoKey { id: 0 })));
    let mut keys = list(&file["keys"]).iter();
    let mut add_key = || {
        let entry = keys.next().expect("another key");
        let id = uint(&entry["id"]) as u32;
        rule.keys.lock().expect("no panic").insert(id, hash(&entry["block"]));
        *rule.newest.lock().expect("no panic") = id;
    };
    let (before, after) = blocks.split_at(uint(&file["rotatedAt"]) as usize);
    add_key();
    core.append(before.iter().map(|(plain, _)| plain))?;
    add_key();
    let (unencrypted, after) = after.split_last().expect("a last one");
    core.append(after.iter().map(|(plain, _)| plain))?;
    raw.append([unhex(text(&unencrypted.1["stored"]))])?;
    for (index, (plain, block)) in (0..).zip(&blocks) {
        assert_eq!(raw.get(index)?.map(|stored| hex(&stored)).as_deref(), block["stored"].as_str(), "block {index}");
        assert_eq!(core.get(index)?.as_ref(), Some(&plain.clone().into()), "block {index}");
    }
    assert_eq!(hex(&core.tree_hash(core.length())?), file["treeHash"]);
    assert_eq!((core.padding(), core.byte_length()), (uint(&file["padding"]), uint(&file["byteLength"])));
    for seek in list(&file["seeks"]) {
        let (bytes, block, offset) = (uint(&seek[0]), uint(&seek[1]), uint(&seek[2]));
        assert_eq!(core.seek(bytes)?, Seek::Found { block, offset }, "byte {bytes}");
    }

    // A reader gets the keys when it meets blocks that name them.
    let reader = Arc::new(ByRotatingKeys::default());
    let copy = Store::memory().get(&core.key())?.with_encryption(Some(reader.clone() as Arc<dyn Encryption>));
    let upgrade = Some(UpgradeRequest { start: 0, length: core.length() });
    let proof = core.proof(&Request { upgrade, manifest: true, ..Request::default() }).await?;
    assert!(matches!(copy.verify(&proof)?, Verified::Stored(_)));
    let request = Request { block: Some(copy.block_request(2)?), ..Request::default() };
    copy.verify(&core.proof(&request).await?)?;
    assert!(matches!(copy.get(2), Err(Error::NoKey { id: 1 })));
    let key = rule.keys.lock().expect("no panic")[&1];
    reader.keys.lock().expect("no panic").insert(1, key);
    assert_eq!(copy.get(2)?, Some("hello world".into()));
    Ok(())
}
