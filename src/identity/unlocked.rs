//! The unlocked identity, kept beside the key file so that a start need not decrypt it.
//!
//! Beside `keypair.json` it is `keypair.unlocked.json`, readable by its owner only. It gives nothing away that the key file, whose
//! password is empty, does not. It counts only while it belongs to that very key file: its `binding` is the BLAKE2b hash of the
//! key file's content under the secret key. Anything else about it leads to the key file being decrypted again.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crypto::hash_keyed;
use encoding::json::{Value, parse, stringify};
use zeroize::Zeroizing;

use super::{Identity, IdentityError, file, keyfile};

/// What the hash is for.
const DOMAIN: &[u8] = b"intercom/unlocked-identity/1";

/// The size of the largest file that is read.
const MAX_SIZE: u64 = 64 << 10;

/// What was found beside a key file.
#[derive(Debug, PartialEq)]
pub enum Cached {
    /// The identity in the key file.
    Valid(Identity),
    /// A file that others may read or change, which does not count.
    Exposed {
        /// One line that says so.
        warning: String,
    },
    /// No file, or one that does not belong to the key file.
    Absent,
}

/// The path of the unlocked identity for the key file at `path`: `keypair.unlocked.json` for `keypair.json`.
pub fn path_of(path: &Path) -> PathBuf {
    path.with_extension("unlocked.json")
}

/// The unlocked identity for the key file at `path` with this content.
pub fn read(path: &Path, content: &[u8]) -> Cached {
    let path = path_of(path);
    let Ok(file) = File::open(&path) else { return Cached::Absent };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Cached::Absent;
    }
    match file::is_exposed(&file) {
        Ok(false) => {}
        Ok(true) => {
            let warning = format!("{} is ignored, as others may read it; it will be written anew", path.display());
            return Cached::Exposed { warning };
        }
        Err(_) => return Cached::Absent,
    }
    let mut text = Zeroizing::new(Vec::new());
    match file.take(MAX_SIZE).read_to_end(&mut text) {
        Ok(_) => from_text(&text, content).map_or(Cached::Absent, Cached::Valid),
        Err(_) => Cached::Absent,
    }
}

/// Leaves the identity unlocked beside the key file at `path` with this content.
///
/// # Errors
/// [`IdentityError::Io`]. Then each start decrypts the key file.
pub fn write(path: &Path, content: &[u8], identity: &Identity) -> Result<(), IdentityError> {
    let object = keyfile::to_object(identity).with("binding", keyfile::hex(&binding(identity, content)));
    let text = Zeroizing::new(stringify(&object.into()));
    file::replace(&path_of(path), text.as_bytes())
}

fn from_text(text: &[u8], content: &[u8]) -> Option<Identity> {
    let value = parse(text).ok()?;
    let given = value.get("binding").and_then(Value::as_str).and_then(keyfile::unhex)?;
    let identity = keyfile::from_value(&value).ok()?;
    (given == binding(&identity, content)).then_some(identity)
}

fn binding(identity: &Identity, content: &[u8]) -> [u8; 32] {
    hash_keyed(&*Zeroizing::new(identity.key_pair().secret_key()), &[DOMAIN, content])
}
