//! Files that are kept under another name, because this would overwrite what it cannot hold.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::durable::{folder_of, sync_folder};

/// So many files of one name are kept; a further one is an error, and for a person to look at.
const MAX_KEPT: usize = 1_000;

/// Renames a file that cannot be read to a free name: its own and `.damaged`, with a number from the second on.
///
/// # Errors
/// What the system says; then it has its name still.
pub(super) fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = free_name(path, "damaged")?;
    fs::rename(path, &aside)?;
    sync_folder(folder_of(path))?;
    Ok(aside)
}

/// Copies a file that does not fit into memory to a free name: its own and `.whole`, with a number from the second on.
///
/// # Errors
/// What the system says.
pub(super) fn copy_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = free_name(path, "whole")?;
    fs::copy(path, &aside)?;
    OpenOptions::new().write(true).open(&aside)?.sync_all()?;
    sync_folder(folder_of(path))?;
    Ok(aside)
}

/// A name beside a file that is free. The store's lock keeps other processes out.
fn free_name(path: &Path, ending: &str) -> io::Result<PathBuf> {
    for number in 1..=MAX_KEPT {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{ending}"));
        if number > 1 {
            name.push(format!(".{number}"));
        }
        let aside = path.with_file_name(name);
        match fs::symlink_metadata(&aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(aside),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{MAX_KEPT} files that end with .{ending} are there")))
}
