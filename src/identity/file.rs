//! Reading and writing files that hold secrets.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use super::IdentityError;
use crate::durable::{folder_of, sync_folder};

/// The size of the largest file that is read. A key file has about one kilobyte.
const MAX_SIZE: u64 = 64 << 10;

/// The content of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mut content = Vec::new();
    let result = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut content));
    match result {
        Ok(_) if content.len() as u64 > MAX_SIZE => {
            Err(IdentityError::Corrupt { path: path.into(), why: "it is too large" })
        }
        Ok(_) => Ok(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(IdentityError::Missing { path: path.into() }),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// Writes a file that must not exist, at once and for its owner only, and the folders above it that are missing.
pub(super) fn create(path: &Path, content: &[u8]) -> Result<(), IdentityError> {
    match persist(path, content, false) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(IdentityError::Exists { path: path.into() }),
        other => other.map_err(|error| failed("write", path, error)),
    }
}

/// Writes a file, at once and for its owner only, in the place of one that may exist.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), IdentityError> {
    persist(path, content, true).map_err(|error| failed("write", path, error))
}

/// Either all of the content is at `path` afterwards, on the disk, or the file is as it was.
///
/// The temporary file is created for its owner only (mode 0600) on Unix. Elsewhere the folder's access rules apply to it, which
/// on Windows means the user's profile.
fn persist(path: &Path, content: &[u8], replace: bool) -> io::Result<()> {
    let folder = folder_of(path);
    // Windows says of a file that is in the way of a folder that it "already exists", which here is said of `path` alone.
    fs::create_dir_all(folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::Error::new(io::ErrorKind::NotADirectory, error),
        _ => error,
    })?;
    let mut file = tempfile::Builder::new().prefix(".keypair-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    if replace {
        file.persist(path).map_err(|error| error.error)?;
    } else {
        file.persist_noclobber(path).map_err(|error| error.error)?;
    }
    sync_folder(folder)
}

/// Whether others than the owner of a file may read or change it.
#[cfg(unix)]
pub(super) fn is_exposed(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
}

/// Elsewhere there are no modes: the access rules of the folder apply.
#[cfg(not(unix))]
pub(super) fn is_exposed(_file: &File) -> io::Result<bool> {
    Ok(false)
}

fn failed(action: &'static str, path: &Path, error: io::Error) -> IdentityError {
    IdentityError::Io { action, path: path.into(), error }
}
