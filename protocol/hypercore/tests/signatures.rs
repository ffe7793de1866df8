//! Blocks that are appended one by one share a signature, which is made when somebody looks.

use hypercore::{CoreOptions, Error, Hypercore, Request, Store, UpgradeRequest, Verified};

fn core(public_key: Option<[u8; 32]>) -> Result<Hypercore, Error> {
    let key_pair = public_key.is_none().then(|| crypto::KeyPair::from_seed(&[7; 32]));
    Store::memory().core(CoreOptions { key_pair, key: public_key, ..CoreOptions::default() })
}

/// Whoever gets a head without its signature takes the sender for a liar: JavaScript's peers ask it for nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_looked_at_while_blocks_are_appended_is_signed() -> Result<(), Error> {
    const BLOCKS: u64 = 30_000;
    let (source, copy) = (core(None)?, core(Some(core(None)?.key()))?);
    let writer = source.clone();
    let appending = std::thread::spawn(move || (0..BLOCKS).try_for_each(|_| writer.append(["a block"]).map(drop)));
    while copy.length() < BLOCKS {
        let (start, length) = (copy.length(), source.length());
        if length > start {
            assert!(!source.head().signature.is_empty());
            assert!(!source.snapshot().head().signature.is_empty());
            let upgrade = Some(UpgradeRequest { start, length: length - start });
            let proof = source.proof(&Request { upgrade, manifest: true, ..Request::default() }).await?;
            assert!(matches!(copy.verify(&proof)?, Verified::Stored(_)));
        }
    }
    appending.join().expect("appends")
}
