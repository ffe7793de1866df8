//! A new identity until its key file is written.
//!
//! To encrypt it takes a good part of a second, in which the program already tells who it is. So it is first left as it is, readable
//! by its owner only, in `keypair.pending.json` beside where `keypair.json` will be: a program that is killed meanwhile is the same
//! peer when it starts again. Like the unlocked copy it gives nothing away that a key file with an empty password does not.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use encoding::json::{parse, stringify};
use zeroize::Zeroizing;

use super::{Identity, IdentityError, file, keyfile};

/// Where the identity waits whose key file will be at `path`: `keypair.pending.json` for `keypair.json`.
pub fn path_of(path: &Path) -> PathBuf {
    path.with_extension("pending.json")
}

/// The identity that waits for its key file at `path`, or a new one, which waits from now on. Folders that are missing are created.
///
/// # Errors
/// [`IdentityError::Corrupt`] when what waits is no identity: it is not replaced by another. [`IdentityError::Io`].
pub fn take_or_create(path: &Path) -> Result<Identity, IdentityError> {
    let waiting = path_of(path);
    match read(&waiting) {
        Err(IdentityError::Missing { .. }) => {
            let identity = Identity::generate();
            let text = Zeroizing::new(stringify(&keyfile::to_object(&identity).into()));
            file::create(&waiting, text.as_bytes())?;
            Ok(identity)
        }
        other => other,
    }
}

/// The identity in the file at `waiting`, which is such a one.
///
/// # Errors
/// [`IdentityError::Missing`], [`IdentityError::Corrupt`] and [`IdentityError::Io`].
pub fn read(waiting: &Path) -> Result<Identity, IdentityError> {
    let content = Zeroizing::new(file::read(waiting)?);
    let corrupt = |why| IdentityError::Corrupt { path: waiting.to_owned(), why };
    let value = parse(&*content).map_err(|_| corrupt("it is not JSON"))?;
    keyfile::from_value(&value).map_err(corrupt)
}

/// Forgets what waited for the key file at `path`, once that is written.
///
/// # Errors
/// [`IdentityError::Io`]. Then the same is to be done at the next start, lest it come back when the key file is taken away.
pub fn forget(path: &Path) -> Result<(), IdentityError> {
    let waiting = path_of(path);
    match fs::remove_file(&waiting) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(IdentityError::Io { action: "remove", path: waiting, error })
        }
        _ => Ok(()),
    }
}
