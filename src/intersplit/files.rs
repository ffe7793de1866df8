//! The two files of the ledger, which change at once: the rooms as the original writes them, and what it has no place for, the
//! proofs and the clears, beside them.
//!
//! Proofs are first written under a name of their own, with the hash of the rooms that they are of. When the rooms take their
//! place the change holds, and then the proofs take theirs. A start finds either the rooms of before, to which the new proofs do
//! not belong, or the new rooms, to which they do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use encoding::json::JsString;
use parking_lot::Mutex;
use tracing::warn;

use super::error::OpenError;
use super::ledger::{Entry, Ledger};
use super::proofs::{self, SignedRoom};
use super::{kept, snapshot};
use crate::durable::{folder_of, sync_folder};

/// The file of proofs has the name of that of the rooms, with this in the place of `json`.
const PROOFS_EXTENSION: &str = "proofs.json";

/// As long as the rooms that they are of may not be there, it has this.
const NEXT_EXTENSION: &str = "proofs.next.json";

/// What is done to a disk, each step whole or not at all; except a write, of which a part may be there.
pub(super) trait Disk: Send + Sync {
    /// Writes a file, and waits until it is on the disk.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// Gives a file the name of another, which it replaces, and waits until that is on the disk.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        sync_folder(folder_of(to))
    }

    /// Replaces a file: afterwards all of the content is there, on the disk, or the file is as it was, whenever the process or
    /// the machine stops.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        // One name, so that a process that is killed in the middle, however often, leaves one file behind. The store's lock keeps
        // other processes out.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = folder.join(name);
        self.write(&temporary, content).and_then(|()| self.rename(&temporary, path)).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }
}

/// The system's.
#[derive(Debug)]
pub(super) struct SystemDisk;

impl Disk for SystemDisk {}

/// The files of a ledger.
pub(super) struct Files {
    disk: Box<dyn Disk>,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The time in the rooms' file.
    updated_at: u64,
    /// The rooms are there whose proofs have not got their place yet.
    unplaced: bool,
}

impl Files {
    /// Reads the files of a ledger into it.
    ///
    /// # Errors
    /// One cannot be read or put aside, or proofs cannot be given their place.
    pub(super) fn open(
        disk: Box<dyn Disk>,
        path: &Path,
        default_channel: &str,
        ledger: &mut Ledger,
        now: u64,
    ) -> Result<Files, OpenError> {
        let stored = sound(path, snapshot::load(path, default_channel, now))?;
        let imports = stored.rooms.into_iter().map(|room| ledger.import(&room.channel, room.expenses, true));
        let left_out: usize = imports.map(|import| import.left_out).sum();
        if left_out > 0 {
            let aside = kept::copy_aside(path).map_err(|error| OpenError { path: path.to_owned(), error })?;
            warn!("{left_out} expenses in {} are more than fits; kept as {}", path.display(), aside.display());
        }
        let files = Files {
            disk,
            path: path.to_owned(),
            state: State { updated_at: stored.updated_at, unplaced: false }.into(),
        };
        let (next, place) = (files.next(), files.proofs());
        let waiting = sound(&next, proofs::read(&next))?;
        if let (Some(waiting), Some(hash)) = (&waiting, stored.hash)
            && waiting.is_of(&HEXLOWER.encode(&hash))
        {
            files.disk.rename(&next, &place).map_err(|error| OpenError { path: next, error })?;
        }
        if let Some(proofs) = sound(&place, proofs::read(&place))? {
            proofs.attach(ledger, now);
        }
        Ok(files)
    }

    /// Writes a ledger.
    ///
    /// # Errors
    /// When the files are as they were; where that is not certain, it is after the next write that succeeds.
    pub(super) fn write(
        &self,
        rooms: &[(JsString, Vec<Arc<Entry>>)],
        proofs: &[SignedRoom],
        now: u64,
    ) -> io::Result<()> {
        let mut state = self.state.lock();
        self.place_proofs(&mut state)?;
        // No two contents are the same, so that no proofs belong to rooms of another time.
        state.updated_at = now.max(state.updated_at.saturating_add(1));
        let rooms = snapshot::write(rooms, state.updated_at);
        let hash = HEXLOWER.encode(&crypto::hash(&[rooms.as_bytes()]));
        self.disk.replace(&self.next(), proofs::write(&hash, proofs).as_bytes())?;
        self.disk.replace(&self.path, rooms.as_bytes())?;
        // It holds now, and the next start or the next write does what fails here.
        state.unplaced = true;
        if let Err(error) = self.place_proofs(&mut state) {
            warn!("cannot rename {}: {error}", self.next().display());
        }
        Ok(())
    }

    fn place_proofs(&self, state: &mut State) -> io::Result<()> {
        if state.unplaced {
            match self.disk.rename(&self.next(), &self.proofs()) {
                // Renamed before, when only waiting for the disk failed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
            state.unplaced = false;
        }
        Ok(())
    }

    fn proofs(&self) -> PathBuf {
        self.path.with_extension(PROOFS_EXTENSION)
    }

    fn next(&self) -> PathBuf {
        self.path.with_extension(NEXT_EXTENSION)
    }
}

/// What a file holds; nothing where that is something else, which is put aside then.
fn sound<T: Default>(path: &Path, loaded: io::Result<T>) -> Result<T, OpenError> {
    let failed = |error| OpenError { path: path.to_owned(), error };
    match loaded {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let aside = kept::move_aside(path).map_err(failed)?;
            warn!("cannot read {}: {error}; kept as {}", path.display(), aside.display());
            Ok(T::default())
        }
        loaded => loaded.map_err(failed),
    }
}
