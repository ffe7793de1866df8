//! Files in memory that stop at an operation, and then lose what was not synchronised.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Builder, Database, StorageBackend};

use crate::Error;
use crate::storage::{DataFile, Directory, Kind, initialise};

/// What happens to writes that were made but not synchronised.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    /// They are there: only the process died.
    Nothing,
    /// They are gone.
    Everything,
    /// Some are there, some not, some in part, in any order.
    Some,
}

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct SimFile {
    synced: Vec<u8>,
    now: Vec<u8>,
    /// Since the last synchronisation: where, and what; or a new length.
    pending: Vec<(u64, Result<Vec<u8>, u64>)>,
}

impl SimFile {
    fn apply(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
        let end = at as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at as usize..end].copy_from_slice(data);
    }

    fn write(&mut self, at: u64, data: &[u8]) {
        Self::apply(&mut self.now, at, data);
        self.pending.push((at, Ok(data.to_vec())));
    }

    fn set_len(&mut self, length: u64) {
        self.now.resize(length as usize, 0);
        self.pending.push((0, Err(length)));
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.now);
        self.pending.clear();
    }

    fn after_crash(&self, random: &mut impl FnMut() -> u64, loss: Loss) -> Vec<u8> {
        match loss {
            Loss::Nothing => return self.now.clone(),
            Loss::Everything => return self.synced.clone(),
            Loss::Some => {}
        }
        let mut bytes = self.synced.clone();
        for (at, change) in &self.pending {
            match change {
                // A file system keeps the lengths in order.
                Err(length) => bytes.resize(*length as usize, 0),
                Ok(data) => {
                    for (sector, data) in data.chunks(SECTOR).enumerate() {
                        if random().is_multiple_of(2) {
                            Self::apply(&mut bytes, at + (sector * SECTOR) as u64, data);
                        }
                    }
                }
            }
        }
        bytes
    }
}

#[derive(Debug)]
pub(super) struct SimDisk {
    state: Mutex<DiskState>,
}

struct DiskState {
    files: BTreeMap<String, SimFile>,
    /// Whose removal may not have reached the disk.
    removed: BTreeMap<String, SimFile>,
    operations: u64,
    cut: u64,
    /// Operations that a full disk makes in part, and says so.
    full: std::ops::Range<u64>,
}

impl std::fmt::Debug for DiskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} operations", self.operations)
    }
}

impl SimDisk {
    /// With these files, until operation `cut`.
    pub(super) fn new(files: Vec<(String, Vec<u8>)>, cut: u64) -> Arc<Self> {
        let file = |(name, bytes): (String, Vec<u8>)| {
            (name, SimFile { synced: bytes.clone(), now: bytes, pending: Vec::new() })
        };
        let files = files.into_iter().map(file).collect();
        let state = DiskState { files, removed: BTreeMap::new(), operations: 0, cut, full: 0..0 };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// As another process finds it after one that was killed: with all that was written, synchronised or not.
    pub(super) fn restarted(disk: &Self) -> Arc<Self> {
        let files = disk.state.lock().files.clone();
        let state = DiskState { files, removed: BTreeMap::new(), operations: 0, cut: u64::MAX, full: 0..0 };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Has no space left for these operations.
    pub(super) fn be_full(&self, operations: std::ops::Range<u64>) {
        self.state.lock().full = operations;
    }

    pub(super) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// How many files with such names there are, or were.
    pub(super) fn made(&self, prefix: &str) -> usize {
        let state = self.state.lock();
        state.files.keys().chain(state.removed.keys()).filter(|name| name.starts_with(prefix)).count()
    }

    /// The files that are there when the machine starts again.
    pub(super) fn after_crash(&self, seed: u64, loss: Loss) -> Vec<(String, Vec<u8>)> {
        let mut seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed >> 20
        };
        let state = self.state.lock();
        let mut left = Vec::new();
        for (name, file) in &state.files {
            left.push((name.clone(), file.after_crash(&mut random, loss)));
        }
        for (name, file) in &state.removed {
            if matches!(loss, Loss::Everything) || random() % 2 == 0 {
                left.push((name.clone(), file.synced.clone()));
            }
        }
        left
    }

    /// One more operation that changes something; the one at which the power fails is made in part.
    fn change(&self, name: &str, change: impl FnOnce(&mut SimFile)) -> io::Result<()> {
        let mut state = self.state.lock();
        let (at, cut) = (state.operations, state.cut);
        state.operations += 1;
        if at >= cut {
            return Err(io::Error::other("the power failed"));
        }
        change(state.files.entry(name.into()).or_default());
        Ok(())
    }

    fn look<T>(&self, name: &str, read: impl FnOnce(&[u8]) -> T) -> T {
        let state = self.state.lock();
        read(state.files.get(name).map_or(&[], |file| &file.now))
    }
}

#[derive(Debug)]
struct DatabaseFile(Arc<SimDisk>, &'static str);

const NEW_DATABASE: &str = "database.new";
const DATABASE: &str = "database";

impl StorageBackend for DatabaseFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.look(self.1, |bytes| bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.look(self.1, |bytes| {
            let range = offset as usize..offset as usize + out.len();
            out.copy_from_slice(bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.change(self.1, |file| file.set_len(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.change(self.1, SimFile::sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.change(self.1, |file| file.write(offset, data))
    }
}

struct SimData(Arc<SimDisk>, String);

impl DataFile for SimData {
    fn append(&self, header: &[u8], body: &[u8]) -> io::Result<()> {
        let mut bytes = [header, body].concat();
        let is_full = {
            let state = self.0.state.lock();
            state.full.contains(&state.operations)
        };
        if is_full {
            bytes.truncate(bytes.len() / 2);
        }
        self.0.change(&self.1, |file| file.write(file.now.len() as u64, &bytes))?;
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.look(&self.1, |bytes| {
            let range = offset as usize..offset as usize + out.len();
            out.copy_from_slice(bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.look(&self.1, <[u8]>::len) as u64)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.change(&self.1, SimFile::sync)
    }
}

fn name(kind: Kind, number: u64) -> String {
    format!("{}{number}", kind.prefix())
}

impl Directory for Arc<SimDisk> {
    fn database(&self) -> Result<Database, Error> {
        let open = |name| -> Result<Database, Error> {
            let mut builder = Builder::new();
            builder.set_cache_size(1 << 20);
            let made = builder.create_with_backend(DatabaseFile(self.clone(), name));
            made.map_err(|error| io::Error::other(error).into())
        };
        // As in a folder: made under another name first.
        if !self.state.lock().files.contains_key(DATABASE) {
            self.state.lock().files.remove(NEW_DATABASE);
            initialise(&open(NEW_DATABASE)?)?;
            self.change(NEW_DATABASE, |_| ())?;
            let mut state = self.state.lock();
            if let Some(file) = state.files.remove(NEW_DATABASE) {
                state.files.insert(DATABASE.into(), file);
            }
        }
        open(DATABASE)
    }

    fn list(&self, kind: Kind) -> io::Result<Vec<u64>> {
        let state = self.state.lock();
        let number = |name: &String| name.strip_prefix(kind.prefix())?.parse().ok();
        let mut numbers: Vec<u64> = state.files.keys().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&self, kind: Kind, number: u64) -> io::Result<Vec<u8>> {
        Ok(self.look(&name(kind, number), <[u8]>::to_vec))
    }

    fn create(&self, kind: Kind, number: u64) -> io::Result<Arc<dyn DataFile>> {
        self.change(&name(kind, number), |_| ())?;
        self.open(kind, number)
    }

    fn open(&self, kind: Kind, number: u64) -> io::Result<Arc<dyn DataFile>> {
        let name = name(kind, number);
        if !self.state.lock().files.contains_key(&name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(SimData(self.clone(), name)))
    }

    fn cut(&self, kind: Kind, number: u64, length: u64) -> io::Result<()> {
        self.change(&name(kind, number), |file| file.set_len(length))?;
        self.change(&name(kind, number), SimFile::sync)
    }

    fn remove(&self, kind: Kind, number: u64) -> io::Result<()> {
        let name = name(kind, number);
        self.change(&name, |_| ())?;
        let mut state = self.state.lock();
        if let Some(file) = state.files.remove(&name) {
            state.removed.insert(name, file);
        }
        Ok(())
    }
}
