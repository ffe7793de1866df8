//! Where a peer's stores are.

use std::path::{Component, Path, PathBuf};

use crate::cli::error::Failure;
use crate::cli::flags;

/// Names and folders of a peer's stores, as far as they are given.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "each field is the flag of its name, which the table of flags describes")]
pub struct StoreNames {
    pub peer_name: Option<String>,
    pub peer_folder: Option<String>,
    pub msb_name: Option<String>,
    pub msb_folder: Option<String>,
}

impl StoreNames {
    /// The folders of the peer's store and of the settlement store.
    pub(super) fn paths(self) -> Result<(PathBuf, PathBuf), Failure> {
        let peer_name = self.peer_name.unwrap_or_else(|| "peer".into());
        let msb_name = self.msb_name.unwrap_or_else(|| format!("{peer_name}-msb"));
        let folder = |folder: Option<String>| folder.unwrap_or_else(|| "stores/".into());
        let peer = store_path(&folder(self.peer_folder), &peer_name, "--peer-store-name")?;
        Ok((peer, store_path(&folder(self.msb_folder), &msb_name, "--msb-store-name")?))
    }
}

/// The folders of a peer's store and of its settlement store: by what is given, else by the environment, else by default.
///
/// # Errors
///
/// [`Failure::Usage`] for a name that is none.
pub fn stores(given: StoreNames, env: &dyn Fn(&str) -> Option<String>) -> Result<(PathBuf, PathBuf), Failure> {
    let or_env = |given: Option<String>, name: &'static str| {
        let variables = flags::find(name).into_iter().flat_map(|flag| flag.env);
        given
            .filter(|text| !text.is_empty())
            .or_else(|| variables.filter_map(|name| env(name)).find(|text| !text.is_empty()))
    };
    let names = StoreNames {
        peer_name: or_env(given.peer_name, "peer-store-name"),
        peer_folder: or_env(given.peer_folder, "peer-stores-directory"),
        msb_name: or_env(given.msb_name, "msb-store-name"),
        msb_folder: or_env(given.msb_folder, "msb-stores-directory"),
    };
    names.paths()
}

/// The folder of a store: name below folder, without the name's outer slashes and what `.` and `..` stand for.
fn store_path(folder: &str, name: &str, flag: &str) -> Result<PathBuf, Failure> {
    let name = name.trim_matches('/');
    if name.is_empty() {
        return Err(Failure::usage(format!("{flag}: a store needs a name")));
    }
    let mut path = PathBuf::new();
    for component in Path::new(folder).components().chain(Path::new(name).components()) {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(path.components().next_back(), Some(Component::Normal(_))) => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    Ok(path)
}
