//! Blocks that are in files of their own.

use std::fs::OpenOptions;

use hypercore::{Durability, Error, Store};

#[test]
fn what_is_cut_off_is_not_read_before() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path(), Durability::System)?;
    let core = store.create()?;
    core.append((0..50).map(|index| vec![index; 5000]))?;
    let mut emptied = 0;
    for file in std::fs::read_dir(folder.path())? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("blocks-") {
            OpenOptions::new().write(true).open(file.path())?.set_len(0)?;
            emptied += 1;
        }
    }
    assert!(emptied > 0 && core.get(7).is_err());
    core.truncate(2)?;
    assert_eq!(core.length(), 2);
    Ok(())
}
