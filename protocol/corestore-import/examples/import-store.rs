//! Imports a JavaScript store, and prints as JSON what came of it: `import-store FROM TO`. The interoperability tests compare it with
//! what JavaScript says. `import-store --check TO` only sees whether a store is whole.

use std::path::Path;

use corestore_import::{Outcome, import_folder};
use hypercore::{Durability, Hypercore, Store, tree_hash};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testing::hex;

/// A digest of all blocks that are here, as `make-store.js` makes it.
fn digest(core: &Hypercore) -> Result<String, hypercore::Error> {
    let sha = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let mut here = Vec::new();
    for index in 0..core.length() {
        here.extend(core.get_raw(index)?.map(|block| json!([index, sha(&block)])));
    }
    Ok(sha(Value::from(here).to_string().as_bytes()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else { return Err("usage: import-store FROM TO".into()) };
    if from == "--check" {
        let check = Store::open(&to, Durability::System)?.check(|_| ())?;
        return if check.is_whole() { Ok(()) } else { Err(format!("{:?}", check.problems).into()) };
    }
    let (report, check) = import_folder(Path::new(&from), Path::new(&to), &mut |_| ())?;
    let store = Store::open(&to, Durability::System)?;
    let mut cores = Vec::new();
    for found in &report.cores {
        let refused = match &found.outcome {
            Outcome::Refused(reason) => Some(reason),
            Outcome::Carried => None,
        };
        let core = store.find(&found.discovery_key)?;
        cores.push(json!({
            "key": found.key.map(|key| hex(&key)),
            "length": found.length,
            "fork": found.fork,
            "writable": core.as_ref().is_some_and(Hypercore::is_writable),
            "treeHash": core.as_ref().map(|core| hex(&tree_hash(&core.head().roots))),
            "blocks": found.blocks,
            "digest": core.as_ref().map(digest).transpose()?,
            "drafts": found.drafts,
            "refused": refused,
            "problems": found.problems,
        }));
    }
    let primary_key = store.primary_key().map(|key| hex(&key));
    let whole = check.is_whole();
    println!("{}", json!({ "primaryKey": primary_key, "cores": cores, "problems": report.problems, "whole": whole }));
    Ok(())
}
