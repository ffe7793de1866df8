//! Blocks that are in files of their own.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use hypercore::{Durability, Error, Request, Store, UpgradeRequest};

/// Files of large blocks, in the order in which they were begun.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = std::fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("blocks-")));
    files.sort();
    Ok(files)
}

/// Changes the last byte of a file.
fn damage(file: &Path) -> Result<(), Error> {
    let mut bytes = std::fs::read(file)?;
    *bytes.last_mut().expect("bytes") ^= 1;
    Ok(std::fs::write(file, bytes)?)
}

#[test]
fn what_is_cut_off_is_not_read_before() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path(), Durability::System)?;
    let core = store.create()?;
    core.append((0..50).map(|index| vec![index; 5000]))?;
    let mut emptied = 0;
    for file in files(folder.path())? {
        OpenOptions::new().write(true).open(file)?.set_len(0)?;
        emptied += 1;
    }
    assert!(emptied > 0 && core.get(7).is_err());
    core.truncate(2)?;
    assert_eq!(core.length(), 2);
    Ok(())
}

#[tokio::test]
async fn a_damaged_block_is_an_error_and_can_be_fetched_again() -> Result<(), Error> {
    let (folder, block) = (tempfile::tempdir()?, vec![7; 4096]);
    let source = Store::memory().create()?;
    source.append([&block, &block])?;
    let store = Store::open(folder.path(), Durability::System)?;
    let copy = store.get(&source.key())?;
    let upgrade = Some(UpgradeRequest { start: 0, length: 2 });
    copy.verify(&source.proof(&Request { upgrade, manifest: true, ..Request::default() }).await?)?;
    for index in 0..2 {
        let request = Request { block: Some(copy.block_request(index)?), ..Request::default() };
        copy.verify(&source.proof(&request).await?)?;
    }
    damage(&files(folder.path())?[0])?;
    let snapshot = copy.snapshot();
    assert_eq!(copy.get(0)?.as_deref(), Some(&block[..]));
    assert!(matches!(copy.get(1), Err(Error::Corrupt(_))));
    let problems = store.check(|_| ())?.problems;
    assert!(matches!(&problems[..], [(_, text)] if text.contains("block 1")), "{problems:?}");
    // The tree is right still, so what an honest peer sends is.
    copy.clear(1, 2)?;
    assert_eq!((copy.get(1)?, snapshot.get(1)?), (None, None));
    let request = Request { block: Some(copy.block_request(1)?), ..Request::default() };
    copy.verify(&source.proof(&request).await?)?;
    assert_eq!(copy.get(1)?.as_deref(), Some(&block[..]));
    assert!(store.check(|_| ())?.is_whole());
    Ok(())
}

#[test]
fn a_check_goes_on_after_damage() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let mut keys = Vec::new();
    // A file for each: after a start another is begun.
    for _ in 0..2 {
        let store = Store::open(folder.path(), Durability::System)?;
        let core = store.create()?;
        let blocks = (0..4).map(|index| vec![index; 2000]);
        core.append(blocks)?;
        core.head();
        keys.push(core.discovery_key());
    }
    let files = files(folder.path())?;
    assert_eq!(files.len(), 2);
    OpenOptions::new().write(true).open(&files[0])?.set_len(0)?;
    let report = Store::open(folder.path(), Durability::System)?.check(|_| ())?;
    assert_eq!((report.cores, report.blocks, report.signatures), (2, 4, 2));
    assert_eq!(report.problems.len(), 4, "{:?}", report.problems);
    assert!(report.problems.iter().all(|(core, text)| *core == keys[0] && text.contains("damaged")));
    Ok(())
}
