//! Two signed histories of one core.

use hypercore::{CoreOptions, Error, Hypercore, NodeRequest, Request, Store, UpgradeRequest};

/// A core of the same owner in a store of its own.
fn core(blocks: &[&str]) -> Result<Hypercore, Error> {
    let key_pair = Some(crypto::KeyPair::from_seed(&[7; 32]));
    let core = Store::memory().core(CoreOptions { key_pair, ..CoreOptions::default() })?;
    core.append(blocks)?;
    Ok(core)
}

/// All requests of a whole history, alone and with a part of each kind.
fn requests(length: u64) -> Vec<Request> {
    let whole = Request { upgrade: Some(UpgradeRequest { start: 0, length }), ..Request::default() };
    let mut all = vec![whole];
    for index in 0..length {
        all.push(Request { block: Some(NodeRequest { index, nodes: 0 }), ..whole });
        all.push(Request { hash: Some(NodeRequest { index: 2 * index, nodes: 0 }), ..whole });
    }
    all
}

#[tokio::test]
async fn the_same_history_is_no_conflict_however_it_is_proven() -> Result<(), Error> {
    let (here, there) = (core(&["a", "b", "c", "d", "e"])?, core(&["a", "b", "c", "d", "e"])?);
    for request in requests(5) {
        let Ok(proof) = there.proof(&request).await else { continue };
        assert!(!here.check_conflict(&proof)?, "{request:?}");
    }
    let shorter = core(&["a", "b", "c"])?;
    for request in requests(3) {
        let Ok(proof) = shorter.proof(&request).await else { continue };
        assert!(!here.check_conflict(&proof)?, "{request:?}");
    }
    assert!(!here.is_frozen());
    Ok(())
}

#[tokio::test]
async fn another_history_of_the_same_owner_is_a_conflict() -> Result<(), Error> {
    for blocks in [&["a", "b", "c", "d", "x"][..], &["x", "b", "c"]] {
        let (here, there) = (core(&["a", "b", "c", "d", "e"])?, core(blocks)?);
        let proof = there.proof(&requests(blocks.len() as u64)[0]).await?;
        assert!(here.check_conflict(&proof)?);
        assert!(here.is_frozen());
    }
    Ok(())
}
