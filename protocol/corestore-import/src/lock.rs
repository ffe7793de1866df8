//! Whether a JavaScript peer uses a store.
//!
//! JavaScript holds an exclusive lock on `CORESTORE` (a record lock of the open file; `LockFileEx` on Windows), and RocksDB one on
//! `db/LOCK` (a record lock; on Windows it opens the file for itself alone). A shared lock, for which the file need not be writable,
//! is refused while they have it, and keeps them out while it is held.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::ImportError;

/// Keeps others out until it is dropped.
pub(crate) struct Lock {
    _file: File,
}

/// Locks `file` of the store in `folder`, if it is there.
pub(crate) fn take(folder: &Path, file: &Path) -> Result<Option<Lock>, ImportError> {
    let at = |error| ImportError::Io { path: file.to_owned(), error };
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if is_taken(&error) => return Err(ImportError::InUse(folder.to_owned())),
        opened => opened.map_err(at)?,
    };
    match lock_shared(&opened) {
        Ok(true) => Ok(Some(Lock { _file: opened })),
        Ok(false) => Err(ImportError::InUse(folder.to_owned())),
        Err(error) => Err(at(error)),
    }
}

/// Windows: another process has the file for itself alone (ERROR_SHARING_VIOLATION).
fn is_taken(error: &io::Error) -> bool {
    cfg!(windows) && error.raw_os_error() == Some(32)
}

#[cfg(unix)]
fn lock_shared(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, fcntl_lock};
    use rustix::io::Errno;

    match fcntl_lock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn lock_shared(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}
