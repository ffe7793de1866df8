use std::fs::{File, OpenOptions, TryLockError};
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

/// Locked by the process that has the store open, from before it looks what is there.
const LOCK: &str = "lock";

/// What a file with a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What is not in the B-tree yet.
    Log,
    /// Values that are too large for it.
    Large,
}

impl Kind {
    /// What the name of such a file begins with.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Log => "log-",
            Self::Large => "blocks-",
        }
    }
}

/// Whether everything in a folder is what a store leaves there, whole or not.
pub(super) fn is_of_store(folder: &Path) -> io::Result<bool> {
    let numbered = |name: &str, kind: Kind| {
        let number = name.strip_prefix(kind.prefix());
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    for entry in std::fs::read_dir(folder)? {
        let (name, is_file) = entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?.is_file())))?;
        let is_ours = name.to_str().is_some_and(|name| {
            [DATABASE, NEW_DATABASE, LOCK].contains(&name) || numbered(name, Kind::Log) || numbered(name, Kind::Large)
        });
        if !is_ours || !is_file {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where the files of a store are: a folder, or one of a test that fails on purpose.
pub(crate) trait Directory: Send + Sync {
    fn database(&self) -> Result<Database, Error>;

    /// The numbers of all files of a kind, in ascending order.
    fn list(&self, kind: Kind) -> io::Result<Vec<u64>>;

    /// All bytes of a file.
    fn read(&self, kind: Kind, number: u64) -> io::Result<Vec<u8>>;

    /// Makes an empty file, which is there after a crash.
    fn create(&self, kind: Kind, number: u64) -> io::Result<Arc<dyn DataFile>>;

    /// A file that is there, to be continued or read.
    fn open(&self, kind: Kind, number: u64) -> io::Result<Arc<dyn DataFile>>;

    /// Cuts a file to `length` bytes, for good.
    fn cut(&self, kind: Kind, number: u64, length: u64) -> io::Result<()>;

    fn remove(&self, kind: Kind, number: u64) -> io::Result<()>;
}

/// A file that is written at its end.
pub(crate) trait DataFile: Send + Sync {
    /// Appends a header and a body (either may be empty).
    fn append(&self, header: &[u8], body: &[u8]) -> io::Result<()>;

    /// Fills `bytes` with what is at `offset`.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    fn length(&self) -> io::Result<u64>;

    /// Waits until all that was appended is on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the file system.
pub(crate) struct Folder {
    path: PathBuf,
    /// Held until the folder is let go.
    _lock: File,
}

impl Folder {
    /// The folder, which is made if there is none, for this process alone.
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        std::fs::create_dir_all(path)?;
        for made in missing {
            // The parent of a relative path of one part is no path.
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
            sync_names(parent.unwrap_or(Path::new(".")))?;
        }
        // Two processes that found no database would each make one, and have files of different stores open under one name.
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    fn path_of(&self, kind: Kind, number: u64) -> PathBuf {
        self.path.join(format!("{}{number}", kind.prefix()))
    }
}

/// Brings names of files that were made in a folder to the disk. (Windows has no such call, and does not need it.)
fn sync_names(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
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
            sync_names(&self.path)?;
        }
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE);
        builder.create(path).map_err(failed)
    }

    fn list(&self, kind: Kind) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_prefix(kind.prefix())?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&self, kind: Kind, number: u64) -> io::Result<Vec<u8>> {
        std::fs::read(self.path_of(kind, number))
    }

    fn create(&self, kind: Kind, number: u64) -> io::Result<Arc<dyn DataFile>> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(self.path_of(kind, number))?;
        sync_names(&self.path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, kind: Kind, number: u64) -> io::Result<Arc<dyn DataFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).append(true).open(self.path_of(kind, number))?))
    }

    fn cut(&self, kind: Kind, number: u64, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path_of(kind, number))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn remove(&self, kind: Kind, number: u64) -> io::Result<()> {
        std::fs::remove_file(self.path_of(kind, number))
    }
}

impl DataFile for File {
    fn append(&self, header: &[u8], body: &[u8]) -> io::Result<()> {
        let mut file = self;
        let written = match file.write_vectored(&[io::IoSlice::new(header), io::IoSlice::new(body)]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            written => written?,
        };
        match header.get(written..) {
            Some(rest) => {
                file.write_all(rest)?;
                file.write_all(body)
            }
            None => file.write_all(&body[written - header.len()..]),
        }
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, bytes, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let read = std::os::windows::fs::FileExt::seek_read(self, bytes, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += read as u64;
            bytes = &mut bytes[read..];
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
