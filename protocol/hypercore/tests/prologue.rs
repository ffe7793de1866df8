//! Cores that begin with blocks that their manifest names, and that nobody signs.

use hypercore::{CoreOptions, Error, Hypercore, Manifest, Prologue, Store, UpgradeRequest, Verified};
use hypercore::{NodeRequest, Request};

const LENGTH: u64 = 5;

/// A core of eight blocks.
fn source() -> Hypercore {
    let core = Store::memory().create().expect("core");
    core.append((0..8).map(|index| format!("block {index}"))).expect("append");
    core
}

/// The manifest of a core that begins with the first blocks of `source`, and goes on as the owner of the seed says.
fn manifest(source: &Hypercore) -> Manifest {
    let hash = source.tree_hash(LENGTH).expect("hash");
    let owner = crypto::KeyPair::from_seed(&[9; 32]).public_key;
    Manifest { prologue: Some(Prologue { hash, length: LENGTH }), ..Manifest::single(owner) }
}

fn core(store: &Store, source: &Hypercore) -> Hypercore {
    let key_pair = Some(crypto::KeyPair::from_seed(&[9; 32]));
    let options = CoreOptions { manifest: Some(manifest(source)), key_pair, ..CoreOptions::default() };
    store.core(options).expect("core")
}

fn assert_has(core: &Hypercore, blocks: impl IntoIterator<Item = u64>) {
    for index in blocks {
        assert_eq!(core.get(index).expect("get"), Some(format!("block {index}").into()), "block {index}");
    }
}

#[tokio::test]
async fn a_prologue_is_copied_and_goes_on_signed() -> Result<(), Error> {
    let (store, source) = (Store::memory(), source());
    let core = core(&store, &source);
    assert_eq!(core.length(), 0);
    // Blocks of its own do not come before the prologue.
    assert!(matches!(core.append(["too early"]), Err(Error::BadArgument(_))));
    // What the source says of itself comes with it, and what the core has under other names stays.
    source.set_user_data("referrer", Some(b"view"))?;
    for name in ["referrer", "own"] {
        core.set_user_data(name, Some(b"own"))?;
    }
    core.copy_prologue(&source)?;
    assert_eq!((core.user_data("referrer")?, core.user_data("own")?), (Some("view".into()), Some("own".into())));
    core.set_user_data("referrer", Some(b"own again"))?;
    assert_eq!((core.length(), core.contiguous_length()), (LENGTH, LENGTH));
    assert_eq!(core.tree_hash(LENGTH)?, source.tree_hash(LENGTH)?);
    assert_has(&core, 0..LENGTH);
    assert!(core.head().signature.is_empty());
    assert!(matches!(core.truncate(LENGTH - 1), Err(Error::BadArgument(_))));
    core.append(["block 5"])?;
    assert_has(&core, 0..=LENGTH);
    // Again, and there is nothing to do.
    core.copy_prologue(&source)?;
    assert_eq!(core.user_data("referrer")?, Some("own again".into()));
    assert_eq!((core.length(), core.contiguous_length()), (LENGTH + 1, LENGTH + 1));
    assert!(store.check(|_| ())?.is_whole());

    // A peer that knows the key alone believes the prologue, and what is signed behind it.
    let copy = Store::memory().get(&core.key())?;
    let upgrade = Some(UpgradeRequest { start: 0, length: core.length() });
    let first = core.proof(&Request { upgrade, manifest: true, ..Request::default() }).await?;
    assert!(matches!(copy.verify(&first)?, Verified::Stored(_)));
    assert_eq!((copy.length(), copy.tree_hash(copy.length())?), (core.length(), core.tree_hash(core.length())?));
    let block = Some(NodeRequest { index: 2, nodes: copy.missing_nodes(4)? });
    copy.verify(&core.proof(&Request { block, ..Request::default() }).await?)?;
    assert_has(&copy, [2]);
    Ok(())
}

#[test]
fn what_the_other_core_lacks_of_a_prologue_is_yet_to_come() -> Result<(), Error> {
    let (store, source) = (Store::memory(), source());
    source.clear(1, 3)?;
    let core = core(&store, &source);
    core.copy_prologue(&source)?;
    assert_eq!((core.length(), core.contiguous_length()), (LENGTH, 1));
    assert_has(&core, [0, 3, 4]);
    assert!(!core.has(1) && !core.has(2));
    assert!(store.check(|_| ())?.is_whole());
    // Another one has the rest.
    core.copy_prologue(&self::source())?;
    assert_eq!(core.contiguous_length(), LENGTH);
    assert_has(&core, 0..LENGTH);
    assert!(store.check(|_| ())?.is_whole());
    Ok(())
}

#[test]
fn no_other_blocks_become_a_prologue() -> Result<(), Error> {
    let (store, source) = (Store::memory(), source());
    let core = core(&store, &source);
    let other = Store::memory().create()?;
    other.append((0..8).map(|index| format!("other {index}")))?;
    assert!(matches!(core.copy_prologue(&other), Err(Error::BadArgument(_))));
    // One that does not have it all yet is no error: it may come.
    let short = Store::memory().create()?;
    short.append(["block 0"])?;
    core.copy_prologue(&short)?;
    assert_eq!(core.length(), 0);
    assert!(matches!(source.copy_prologue(&other), Err(Error::BadArgument(_))), "it has no prologue");
    assert!(matches!(core.copy_prologue(&source.snapshot()), Err(Error::BadArgument(_))));
    Ok(())
}
