use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Backend, Batch, Key};
use crate::Error;

/// A store that ends with the process.
#[derive(Default)]
pub(crate) struct Memory {
    entries: RwLock<BTreeMap<Key, Bytes>>,
}

impl Backend for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.entries.read().get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) -> Result<(), Error> {
        let range = (Key::from_slice(from), Key::from_slice(to));
        // The entries are cloned first: `each` may write.
        let entries: Vec<_> = match range.0 < range.1 {
            true => self.entries.read().range(range.0..range.1).map(|(k, v)| (k.clone(), v.clone())).collect(),
            false => Vec::new(),
        };
        for (key, value) in entries {
            if !each(&key, value) {
                break;
            }
        }
        Ok(())
    }

    fn keys(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Error> {
        self.range(from, to, &mut |key, _| each(key))
    }

    fn write(&self, batch: Batch) -> Result<(), Error> {
        let mut entries = self.entries.write();
        for (key, value) in batch {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        Ok(())
    }
}
