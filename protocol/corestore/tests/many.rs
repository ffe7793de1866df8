//! Thousands of cores in one store and over one connection.

#[path = "../../hypercore/tests/common/mod.rs"]
mod common;

use common::connect;
use corestore::Corestore;
use hypercore::replication::{LINGER, Replicated};
use hypercore::{Durability, Error, Hash, Store};

const CORES: usize = 2_000;

/// A block in each of so many cores; their keys.
fn fill(store: &Corestore) -> Result<Vec<Hash>, Error> {
    let one = |number: usize| {
        let core = store.get_named(&number.to_le_bytes())?;
        core.append([format!("core {number}")])?;
        Ok(core.key())
    };
    (0..CORES).map(one).collect()
}

fn open_cores(stores: [&Corestore; 2]) -> [usize; 2] {
    stores.map(|store| store.replication().open_cores())
}

#[tokio::test(start_paused = true)]
async fn thousands_of_cores_share_a_connection_and_its_task_and_close_when_idle() -> Result<(), Error> {
    let (a, b) = (Corestore::new(Store::memory())?, Corestore::new(Store::memory())?);
    let keys = fill(&a)?;
    let muxes = connect(a.replication(), b.replication()).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    // Each end of the connection may yet get a task for its clocks; a core gets none.
    let most = tasks() + 2;
    assert_eq!(open_cores([&a, &b]), [0, 0]);

    let copies: Vec<Replicated> = keys.iter().map(|key| b.open_key(key)).collect::<Result<_, _>>()?;
    for (number, copy) in copies.iter().enumerate() {
        assert_eq!(copy.get(0).await?, format!("core {number}"));
    }
    assert_eq!(open_cores([&a, &b]), [CORES, CORES]);
    assert!(tasks() <= most);

    // Nobody uses them any more, on either side.
    drop(copies);
    tokio::time::sleep(2 * LINGER).await;
    assert_eq!(open_cores([&a, &b]), [0, 0]);
    assert!(tasks() <= most);

    // And one of them again.
    a.get(&keys[7])?.append(["and more"])?;
    let again = b.open_key(&keys[7])?;
    assert_eq!(again.get(1).await?, "and more");
    assert_eq!(open_cores([&a, &b]), [1, 1]);
    drop(muxes);
    Ok(())
}

/// How many files this process has open, where the system tells.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn a_core_needs_no_file_of_its_own() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let files = || std::fs::read_dir(folder.path()).map(Iterator::count);
    let keys = fill(&Corestore::new(Store::open(folder.path(), Durability::System)?)?)?;
    let before = open_files();
    let store = Corestore::new(Store::open(folder.path(), Durability::System)?)?;
    let cores: Vec<_> = keys.iter().map(|key| store.get(key)).collect::<Result<_, _>>()?;
    for (number, core) in cores.iter().enumerate() {
        assert_eq!(core.get(0)?, Some(format!("core {number}").into()));
    }
    assert!(files()? < 10, "{} files", files()?);
    assert!(open_files() < before + 10, "{} open files", open_files() - before);
    Ok(())
}
