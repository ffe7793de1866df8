use std::path::PathBuf;

use crate::Damaged;

/// Why a store was not imported at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// There is nothing of corestore in the folder: name another one.
    #[error("there is no JavaScript store in {}", .0.display())]
    NoStore(PathBuf),
    /// The files of Hypercore 10 and before: let JavaScript move them first.
    #[error(
        "{} is a store of Hypercore 10: open it once with a JavaScript corestore 7, which moves it to the format that can be imported",
        .0.display()
    )]
    Old(PathBuf),
    /// Stop the JavaScript peer first.
    #[error("{} is in use by another process: stop the JavaScript peer first", .0.display())]
    InUse(PathBuf),
    /// JavaScript that is newer than this program.
    #[error("the store has version {0}, this program knows 1 and 2")]
    Version(u64),
    /// What the whole store depends on cannot be read.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The last writes were cut off: cores continued from before them would contradict themselves.
    #[error(
        "the newest writes of the store are damaged ({0}): a core continued from an older state would contradict what its peers have; \
         open the store once with JavaScript, which repairs it, and see that nothing is missing"
    )]
    CutLog(String),
    /// There is something where the store is to be: name another place.
    #[error("{} exists already", .0.display())]
    TargetExists(PathBuf),
    /// Another process imports to the same place.
    #[error("{} is being written by another process", .0.display())]
    TargetInUse(PathBuf),
    /// Not all that was written could be read again: the disk fails, or this program is wrong.
    #[error("what was written does not hold: {0}")]
    NotWhole(String),
    /// The new store could not be written.
    #[error("the new store: {0}")]
    Target(#[from] hypercore::Error),
    /// A file or folder could not be read or made.
    #[error("{path}: {error}", path = .path.display())]
    Io {
        /// Of which file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

impl From<Damaged> for ImportError {
    fn from(Damaged(text): Damaged) -> Self {
        Self::Damaged(text)
    }
}
