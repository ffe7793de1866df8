//! Which channels of either side belong together.

use std::collections::{HashMap, VecDeque};

/// A protocol and an id. An empty id is the same as none, as the wire cannot tell them apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) protocol: String,
    pub(crate) id: Vec<u8>,
}

impl Key {
    pub(crate) fn new(protocol: &str, id: Option<&[u8]>) -> Self {
        Self { protocol: protocol.to_owned(), id: id.unwrap_or_default().to_vec() }
    }
}

/// Names one [`Info`]. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct InfoId(u64);

/// All that is known about one key and its aliases.
#[derive(Debug)]
pub(crate) struct Info {
    keys: Vec<Key>,
    /// Pair hooks that were asked and did not answer.
    pub(crate) pairing: usize,
    /// Channels open here.
    pub(crate) opened: usize,
    /// Remote ids that wait for a channel here, oldest first.
    pub(crate) incoming: VecDeque<u32>,
    /// Local ids that wait for a channel there, oldest first. Their channel may be closed by now.
    pub(crate) outgoing: VecDeque<u32>,
}

/// All keys in use. An entry lives as long as a channel is open or waits on either side.
#[derive(Debug, Default)]
pub(crate) struct Infos {
    by_key: HashMap<Key, InfoId>,
    infos: HashMap<InfoId, Info>,
    next: u64,
}

impl Infos {
    pub(crate) fn find(&self, key: &Key) -> Option<&Info> {
        self.infos.get(self.by_key.get(key)?)
    }

    pub(crate) fn get(&mut self, id: InfoId) -> Option<&mut Info> {
        self.infos.get_mut(&id)
    }

    /// The entry of `key`, made if there is none; aliases count only for a new one.
    pub(crate) fn get_or_insert(&mut self, key: Key, aliases: &[String]) -> (InfoId, &mut Info) {
        let id = match self.by_key.get(&key) {
            Some(id) => *id,
            None => {
                let id = InfoId(self.next);
                self.next += 1;
                let mut keys = vec![key];
                for alias in aliases {
                    let alias = Key { protocol: alias.clone(), id: keys[0].id.clone() };
                    keys.push(alias);
                }
                for key in &keys {
                    self.by_key.insert(key.clone(), id);
                }
                self.infos.insert(
                    id,
                    Info { keys, pairing: 0, opened: 0, incoming: VecDeque::new(), outgoing: VecDeque::new() },
                );
                id
            }
        };
        let info = self.infos.get_mut(&id).expect("every key has its entry");
        (id, info)
    }

    /// Forgets the entry if nothing is left of it.
    pub(crate) fn collect(&mut self, id: InfoId) {
        let unused =
            |info: &Info| info.opened == 0 && info.outgoing.is_empty() && info.incoming.is_empty() && info.pairing == 0;
        if !self.infos.get(&id).is_some_and(unused) {
            return;
        }
        let Some(info) = self.infos.remove(&id) else { return };
        for key in &info.keys {
            if self.by_key.get(key) == Some(&id) {
                self.by_key.remove(key);
            }
        }
    }
}
