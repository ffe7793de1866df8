//! One process a store.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::error::Failure;

/// The file in a store that the process which uses it keeps locked. It holds that process's id.
const FILE: &str = "intercom.lock";

/// The right to use a store, until it is dropped. The system takes it back also from a process that was killed.
#[derive(Debug)]
pub struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Makes the store's folder if there is none, and locks it.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`] if another process uses the store, or the folder cannot be made or written.
    pub fn take(store: &Path) -> Result<StoreLock, Failure> {
        fs::create_dir_all(store).map_err(|error| unwritable(store, &error))?;
        let path = store.join(FILE);
        let mut file = open(&path).map_err(|error| unwritable(store, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(store, &mut file)),
            Err(TryLockError::Error(error)) => return Err(unwritable(store, &error)),
        }
        // For the message above only; on Windows nobody can read it while the lock is held.
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| unwritable(store, &error))?;
        Ok(StoreLock { _file: file })
    }
}

impl StoreLock {
    /// Whether a process uses a store now. Unlike [`take`](Self::take) it makes nothing.
    pub fn is_taken(store: &Path) -> bool {
        let file = OpenOptions::new().read(true).write(true).open(store.join(FILE));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn in_use(store: &Path, file: &mut File) -> Failure {
    let mut id = String::new();
    let read = file.rewind().and_then(|()| file.take(20).read_to_string(&mut id));
    let process = match (read, id.trim().parse::<u32>()) {
        (Ok(_), Ok(id)) => format!("process {id}"),
        _ => "another process".into(),
    };
    Failure::failed(format!(
        "store {} is in use by {process}; stop it, or choose another store with --peer-store-name",
        store.display()
    ))
}

fn unwritable(store: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot write to store {}: {error}; check its owner, or choose another place with --peer-stores-directory",
        store.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_used_by_one_at_a_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = folder.path().join("stores/peer");
        assert!(!StoreLock::is_taken(&store));
        let lock = StoreLock::take(&store).expect("free");
        assert!(StoreLock::is_taken(&store));
        let message = StoreLock::take(&store).expect_err("in use").to_string();
        assert!(message.contains("is in use by") && message.contains("--peer-store-name"), "{message}");
        if cfg!(unix) {
            assert!(message.contains(&format!("process {};", std::process::id())), "{message}");
        }
        drop(lock);
        assert!(!StoreLock::is_taken(&store));
        StoreLock::take(&store).expect("free again");
    }

    #[test]
    fn a_store_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("writable");
        let message = StoreLock::take(&file.join("peer")).expect_err("not a folder").to_string();
        assert!(message.starts_with("cannot write to store") && message.contains("file"), "{message}");
    }
}
