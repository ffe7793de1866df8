//! JavaScript's plain objects: an ordered map from strings to values.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    hash::Hash,
};

use indexmap::{Equivalent, IndexMap};

use super::{JsString, Value};

/// An object with the key order of JavaScript.
///
/// First come the keys that are canonical array indices (`"0"` to `"4294967294"`, without leading zeros), ascending; then the
/// others as they were first inserted. Lookup, insertion and iteration cost the same whatever a peer chose as keys.
#[derive(Clone, Default)]
pub struct Object(Box<Entries>);

#[derive(Clone, Default)]
struct Entries {
    indices: BTreeMap<u32, (JsString, Value)>,
    named: Named,
}

/// How many named properties are searched one by one. Beyond it, hashing them is cheaper.
const FEW: usize = 12;

/// The properties that are not array indices, in the order of insertion.
#[derive(Clone)]
enum Named {
    Few(Vec<(JsString, Value)>),
    /// Boxed, as most objects are small and many may be kept.
    Many(Box<IndexMap<JsString, Value>>),
}

impl Default for Named {
    fn default() -> Self {
        Named::Few(Vec::new())
    }
}

impl Named {
    fn get<K: Equivalent<JsString> + Hash + ?Sized>(&self, key: &K) -> Option<&Value> {
        match self {
            Named::Few(entries) => entries.iter().find(|(name, _)| key.equivalent(name)).map(|(_, value)| value),
            Named::Many(entries) => entries.get(key),
        }
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        match self {
            Named::Few(entries) => entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
            Named::Many(entries) => entries.get_mut(key),
        }
    }

    fn insert(&mut self, key: JsString, value: Value) -> Option<Value> {
        match self {
            Named::Few(entries) => {
                if let Some((_, old)) = entries.iter_mut().find(|(name, _)| *name == key) {
                    return Some(std::mem::replace(old, value));
                }
                entries.push((key, value));
                if entries.len() > FEW {
                    *self = Named::Many(Box::new(std::mem::take(entries).into_iter().collect()));
                }
                None
            }
            Named::Many(entries) => entries.insert(key, value),
        }
    }

    fn remove(&mut self, key: &str) -> Option<Value> {
        match self {
            Named::Few(entries) => {
                let at = entries.iter().position(|(name, _)| name == key)?;
                Some(entries.remove(at).1)
            }
            Named::Many(entries) => entries.shift_remove(key),
        }
    }

    fn len(&self) -> usize {
        match self {
            Named::Few(entries) => entries.len(),
            Named::Many(entries) => entries.len(),
        }
    }

    fn iter(&self) -> NamedIter<'_> {
        match self {
            Named::Few(entries) => NamedIter::Few(entries.iter()),
            Named::Many(entries) => NamedIter::Many(entries.iter()),
        }
    }
}

#[derive(Clone)]
enum NamedIter<'a> {
    Few(std::slice::Iter<'a, (JsString, Value)>),
    Many(indexmap::map::Iter<'a, JsString, Value>),
}

impl<'a> NamedIter<'a> {
    fn next(&mut self) -> Option<(&'a JsString, &'a Value)> {
        match self {
            NamedIter::Few(rest) => rest.next().map(|(key, value)| (key, value)),
            NamedIter::Many(rest) => rest.next(),
        }
    }

    fn len(&self) -> usize {
        match self {
            NamedIter::Few(rest) => rest.len(),
            NamedIter::Many(rest) => rest.len(),
        }
    }
}

impl Object {
    /// An object without properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match array_index(key.as_bytes()) {
            Some(index) => self.0.indices.get(&index).map(|(_, value)| value),
            None => self.0.named.get(key),
        }
    }

    /// The value of `key`, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        match array_index(key.as_bytes()) {
            Some(index) => self.0.indices.get_mut(&index).map(|(_, value)| value),
            None => self.0.named.get_mut(key),
        }
    }

    /// The value of a key that may not be well formed.
    pub fn get_js(&self, key: &JsString) -> Option<&Value> {
        match array_index(key.as_wtf8()) {
            Some(index) => self.0.indices.get(&index).map(|(_, value)| value),
            None => self.0.named.get(key),
        }
    }

    /// Whether `key` is there.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets `key`, and returns the value that it had. A key that is there keeps its place.
    pub fn insert(&mut self, key: impl Into<JsString>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        match array_index(key.as_wtf8()) {
            Some(index) => self.0.indices.insert(index, (key, value)).map(|(_, old)| old),
            None => self.0.named.insert(key, value),
        }
    }

    /// The same as [`insert`](Self::insert), for building an object in one expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<JsString>, value: impl Into<Value>) -> Self {
        self.insert(key, value);
        self
    }

    /// Removes `key`; the others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        match array_index(key.as_bytes()) {
            Some(index) => self.0.indices.remove(&index).map(|(_, value)| value),
            None => self.0.named.remove(key),
        }
    }

    /// The number of properties.
    pub fn len(&self) -> usize {
        self.0.indices.len() + self.0.named.len()
    }

    /// Whether there are no properties.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The properties in JavaScript's order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { indices: self.0.indices.values(), named: self.0.named.iter() }
    }

    /// The keys in JavaScript's order.
    pub fn keys(&self) -> impl Iterator<Item = &JsString> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in JavaScript's order.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.iter().map(|(_, value)| value)
    }
}

/// The number that a canonical array index stands for.
fn array_index(key: &[u8]) -> Option<u32> {
    match key {
        [b'0'] => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < 10 => {
            let mut index = 0u32;
            for digit in key {
                if !digit.is_ascii_digit() {
                    return None;
                }
                index = index.checked_mul(10)?.checked_add(u32::from(digit - b'0'))?;
            }
            (index != u32::MAX).then_some(index)
        }
        _ => None,
    }
}

/// The properties of an [`Object`] in JavaScript's order.
#[derive(Clone)]
pub struct Iter<'a> {
    indices: btree_map::Values<'a, u32, (JsString, Value)>,
    named: NamedIter<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a JsString, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        match self.indices.next() {
            Some((key, value)) => Some((key, value)),
            None => self.named.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.indices.len() + self.named.len();
        (len, Some(len))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Object {
    type Item = (&'a JsString, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<K: Into<JsString>, V: Into<Value>> FromIterator<(K, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut object = Self::new();
        entries.into_iter().for_each(|(key, value)| drop(object.insert(key, value)));
        object
    }
}

/// Equal are objects with the same properties in the same order: those that have the same text.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
