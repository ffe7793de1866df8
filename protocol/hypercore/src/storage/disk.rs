use std::path::Path;

use bytes::Bytes;
use redb::{Database, DatabaseError, Durability, ReadableDatabase, TableDefinition};

use super::{Backend, Batch};
use crate::Error;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("hypercore");

/// A store in a file of a directory.
pub(crate) struct Disk {
    database: Database,
}

impl Disk {
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(directory)?;
        let database = Database::create(directory.join("cores.redb")).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Error::InUse,
            error => failed(error),
        })?;
        let disk = Self { database };
        disk.write(&Batch::new())?;
        disk.sync()?;
        Ok(disk)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), Error> {
        let mut transaction = self.database.begin_write().map_err(failed)?;
        transaction.set_durability(durability).map_err(failed)?;
        {
            let mut table = transaction.open_table(TABLE).map_err(failed)?;
            for (key, value) in batch {
                match value {
                    Some(value) => table.insert(&key[..], &value[..]).map_err(failed)?,
                    None => table.remove(&key[..]).map_err(failed)?,
                };
            }
        }
        transaction.commit().map_err(failed)
    }
}

fn failed(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) => error.into(),
        redb::Error::Corrupted(text) => Error::Corrupt(text),
        error => std::io::Error::other(error).into(),
    }
}

impl Backend for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = transaction.open_table(TABLE).map_err(failed)?;
        Ok(table.get(key).map_err(failed)?.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) -> Result<(), Error> {
        if from >= to {
            return Ok(());
        }
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = transaction.open_table(TABLE).map_err(failed)?;
        for entry in table.range(from..to).map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            if !each(key.value(), Bytes::copy_from_slice(value.value())) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        self.commit(batch, Durability::None)
    }

    fn sync(&self) -> Result<(), Error> {
        self.commit(&Batch::new(), Durability::Immediate)
    }
}
