//! From a folder to a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hypercore::{CheckReport, Durability, Store};

use crate::lock::{self, Lock};
use crate::report::CoreReport;
use crate::rocksdb::Rocks;
use crate::source::{Damaged, Source};
use crate::{ImportError, Report, import};

/// The column family that all of corestore's entries are in.
const FAMILY: &str = "corestore";

/// The entries of a JavaScript store, out of its files. Nothing is written to them, and while this is there no JavaScript peer can
/// open the store.
pub struct Database {
    rocks: Rocks,
    path: PathBuf,
    _locks: [Option<Lock>; 2],
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish()
    }
}

impl Database {
    /// Opens the store in a folder: the one that JavaScript's corestore was given.
    ///
    /// # Errors
    /// [`ImportError::NoStore`], [`ImportError::Old`], [`ImportError::InUse`], [`ImportError::CutLog`], [`ImportError::Damaged`],
    /// [`ImportError::Io`].
    pub fn open(folder: &Path) -> Result<Self, ImportError> {
        let files = folder.join("db");
        if !files.join("CURRENT").is_file() {
            let old = ["cores", "primary-key", "oplog"].iter().any(|name| folder.join(name).exists());
            let folder = folder.to_owned();
            return Err(if old { ImportError::Old(folder) } else { ImportError::NoStore(folder) });
        }
        let locks = [lock::take(folder, &folder.join("CORESTORE"))?, lock::take(folder, &files.join("LOCK"))?];
        match Rocks::open(&files, FAMILY)? {
            Some(rocks) => Ok(Self { rocks, path: folder.to_owned(), _locks: locks }),
            None => Err(ImportError::NoStore(folder.to_owned())),
        }
    }
}

impl Source for Database {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Damaged> {
        self.rocks.get(key)
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Damaged> {
        self.rocks.range(from, to, each)
    }
}

/// Imports the JavaScript store in the folder `from` to the folder `to`, which must not exist, and checks what came of it. `each` is
/// told of every core when it is done.
///
/// The new store is written beside `to`, as `to.partial`, and gets its name when all of it is on the disk and was read again: there
/// is a whole store, or none.
///
/// # Errors
/// As [`Database::open`] and [`import`]; [`ImportError::TargetExists`], [`ImportError::TargetInUse`], [`ImportError::NotWhole`].
pub fn import_folder(
    from: &Path,
    to: &Path,
    each: &mut dyn FnMut(&CoreReport),
) -> Result<(Report, CheckReport), ImportError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| ImportError::Io { path, error }
    };
    let Some(name) = to.file_name().filter(|_| to.symlink_metadata().is_err()) else {
        return Err(ImportError::TargetExists(to.to_owned()));
    };
    let source = Database::open(from)?;
    let mut partial_name = name.to_owned();
    partial_name.push(".partial");
    let partial = to.with_file_name(partial_name);
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(at(parent))?;
    if Store::exists(&partial)
        && let Err(hypercore::Error::InUse) = Store::open(&partial, Durability::System)
    {
        return Err(ImportError::TargetInUse(partial));
    }
    if partial.symlink_metadata().is_ok_and(|there| there.is_dir()) && Store::is_remnant(&partial)? {
        // Of an import that was ended in the middle. What is no store is somebody's.
        fs::remove_dir_all(&partial).map_err(at(&partial))?;
    }
    fs::create_dir(&partial).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => ImportError::TargetExists(partial.clone()),
        _ => at(&partial)(error),
    })?;
    let done = fill(&source, &partial, each).and_then(|reports| {
        if to.symlink_metadata().is_ok() {
            return Err(ImportError::TargetExists(to.to_owned()));
        }
        fs::rename(&partial, to).map_err(at(to))?;
        if cfg!(unix) {
            fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(at(parent))?;
        }
        Ok(reports)
    });
    if done.is_err() {
        // The reason why it failed is what counts.
        let _ = fs::remove_dir_all(&partial);
    }
    done
}

/// Writes the store, and reads it again.
fn fill(
    source: &Database,
    folder: &Path,
    each: &mut dyn FnMut(&CoreReport),
) -> Result<(Report, CheckReport), ImportError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| ImportError::Io { path: folder.to_owned(), error })?;
    let store = Store::open(folder, Durability::Disk)?;
    let mut report = import(source, &store, each)?;
    if source.rocks.is_cut {
        report
            .problems
            .push("its last write was cut short, and is not here: the peer was killed, or its machine failed".into());
    }
    runtime.block_on(store.flush())?;
    drop(store);
    let check = Store::open(folder, Durability::System)?.check(|_| ())?;
    match check.problems.first() {
        Some((_, problem)) => Err(ImportError::NotWhole(problem.clone())),
        None => Ok((report, check)),
    }
}
