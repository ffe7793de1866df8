use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database};

use super::{failed, initialise};
use crate::Error;

/// How many bytes of the B-tree are kept in memory.
const CACHE: usize = 32 << 20;

/// The B-tree.
pub(super) const DATABASE: &str = "cores.redb";

const NEW_DATABASE: &str = "cores.redb.new";

const LOG: &str = "log-";

/// Where the files of a store are: a folder, or one of a test that fails on purpose.
pub(crate) trait Directory: Send + Sync {
    fn database(&self) -> Result<Database, Error>;

    /// The numbers of all logs, in ascending order.
    fn logs(&self) -> io::Result<Vec<u64>>;

    fn read(&self, log: u64) -> io::Result<Vec<u8>>;

    /// Makes an empty log, which is there after a crash.
    fn create(&self, log: u64) -> io::Result<Arc<dyn LogFile>>;

    /// A log that is there, to be continued.
    fn open(&self, log: u64) -> io::Result<Arc<dyn LogFile>>;

    /// Cuts a log to `length` bytes, for good.
    fn cut(&self, log: u64, length: u64) -> io::Result<()>;

    fn remove(&self, log: u64) -> io::Result<()>;
}

/// A log that is written to.
pub(crate) trait LogFile: Send + Sync {
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Waits until all that was appended is on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the file system.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self { path: path.into() })
    }

    fn log(&self, log: u64) -> PathBuf {
        self.path.join(format!("{LOG}{log}"))
    }

    /// Brings names of files that were made to the disk. (Windows has no such call, and does not need it.)
    fn sync_names(&self) -> io::Result<()> {
        if cfg!(unix) { File::open(&self.path)?.sync_all() } else { Ok(()) }
    }
}

impl Directory for Folder {
    fn database(&self) -> Result<Database, Error> {
        let path = self.path.join(DATABASE);
        if !path.exists() {
            // A crash while it is made must not leave half of it under this name.
            let new = self.path.join(NEW_DATABASE);
            match std::fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            initialise(&Builder::new().create(&new).map_err(failed)?)?;
            std::fs::rename(&new, &path)?;
            self.sync_names()?;
        }
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE);
        builder.create(path).map_err(failed)
    }

    fn logs(&self) -> io::Result<Vec<u64>> {
        let mut logs = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            logs.extend(name.to_str().and_then(|name| name.strip_prefix(LOG)?.parse::<u64>().ok()));
        }
        logs.sort_unstable();
        Ok(logs)
    }

    fn read(&self, log: u64) -> io::Result<Vec<u8>> {
        std::fs::read(self.log(log))
    }

    fn create(&self, log: u64) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().append(true).create_new(true).open(self.log(log))?;
        self.sync_names()?;
        Ok(Arc::new(file))
    }

    fn open(&self, log: u64) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(OpenOptions::new().append(true).open(self.log(log))?))
    }

    fn cut(&self, log: u64, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.log(log))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn remove(&self, log: u64) -> io::Result<()> {
        std::fs::remove_file(self.log(log))
    }
}

impl LogFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
