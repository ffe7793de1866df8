use std::collections::BTreeMap;

use bytes::Bytes;

/// Entries that are there and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(pub String);

/// The entries of a JavaScript store, ordered by the bytes of their keys.
pub trait Source {
    /// The value of a key.
    ///
    /// # Errors
    /// When it is damaged.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Damaged>;

    /// Calls `each` with the keys in `from..to` and their values, in order, until it says `false`.
    ///
    /// # Errors
    /// When one is damaged; those before it were told.
    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Damaged>;
}

/// Entries in memory.
impl Source for BTreeMap<Vec<u8>, Vec<u8>> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Damaged> {
        Ok(self.get(key).map(|value| Bytes::copy_from_slice(value)))
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Damaged> {
        let mut entries = self.range(from.to_vec()..to.to_vec());
        let _ = entries.all(|(key, value)| each(key, value));
        Ok(())
    }
}
