//! The numbering of a binary tree in which leaf `i` is `2i` and a parent stands between its children (`flat-tree`).

/// The greatest factor (twice the span of a node) that is climbed to. Indices of peers are below 2^54; a tree that needs more than
/// this cannot be named by one.
const MAX_FACTOR: u64 = 1 << 60;

/// The depth of the node: 0 for a leaf.
pub fn depth(index: u64) -> u32 {
    index.trailing_ones()
}

/// The leftmost leaf under a node.
pub fn left_span(index: u64) -> u64 {
    index - ((1 << depth(index)) - 1)
}

/// The rightmost leaf under a node.
pub fn right_span(index: u64) -> u64 {
    index + ((1 << depth(index)) - 1)
}

/// How many leaves are under a node.
pub fn count_leaves(index: u64) -> u64 {
    1 << depth(index)
}

/// The two children of a parent; `None` for a leaf.
pub fn children(index: u64) -> Option<(u64, u64)> {
    match depth(index) {
        0 => None,
        depth => Some((index - (1 << (depth - 1)), index + (1 << (depth - 1)))),
    }
}

/// The parent of a node.
pub fn parent(index: u64) -> u64 {
    let step = 1 << depth(index);
    if index & (step << 1) == 0 { index + step } else { index - step }
}

/// The roots of a tree of `length` leaves, from left to right.
pub fn full_roots(length: u64) -> impl Iterator<Item = u64> {
    let (mut left, mut offset) = (length, 0);
    std::iter::from_fn(move || {
        let factor = 1 << left.checked_ilog2()?;
        let root = offset + factor - 1;
        offset += 2 * factor;
        left -= factor;
        Some(root)
    })
}

/// Where the nodes are by which a tree that ends before the node `from` grows to end before `to`, from left to right: the siblings on
/// the way up from its last block, and the roots that stand to the right of it. Both bounds are twice a length. `None` beyond what
/// an index can count.
pub fn upgrade(from: u64, to: u64) -> Option<Vec<Iter>> {
    let mut places = Vec::new();
    let mut connected = from == 0;
    let mut iter = Iter::new(0);
    while iter.full_root(to) {
        // Trees that are there already.
        if iter.index + iter.factor / 2 < from {
            iter.next_tree();
            continue;
        }
        if !std::mem::replace(&mut connected, true) && iter.contains(from - 2) {
            let (root, last) = (iter.index, from - 2);
            iter.seek(last);
            while iter.index != root {
                iter.sibling();
                if iter.index > last {
                    places.push(iter);
                }
                iter.parent()?;
            }
        } else {
            places.push(iter);
        }
        iter.next_tree();
    }
    Some(places)
}

/// A position in a tree that moves to its relatives.
#[derive(Debug, Clone, Copy)]
pub struct Iter {
    /// The node.
    pub index: u64,
    offset: u64,
    /// Twice the number of leaves under the node.
    pub factor: u64,
}

impl Iter {
    /// At the node `index`.
    pub fn new(index: u64) -> Self {
        let depth = depth(index);
        Self { index, offset: index >> (depth + 1), factor: 2 << depth }
    }

    /// Moves to the node `index`.
    pub fn seek(&mut self, index: u64) {
        *self = Self::new(index);
    }

    /// Whether `index` is the node or under it.
    pub fn contains(&self, index: u64) -> bool {
        index.abs_diff(self.index) < self.factor / 2
    }

    /// Moves to the sibling.
    pub fn sibling(&mut self) -> u64 {
        if self.offset & 1 == 0 {
            self.offset += 1;
            self.index += self.factor;
        } else {
            self.offset -= 1;
            self.index -= self.factor;
        }
        self.index
    }

    /// Moves to the parent. `None`, and no move, where the tree would be higher than any that peers can name.
    pub fn parent(&mut self) -> Option<u64> {
        if self.factor >= MAX_FACTOR {
            return None;
        }
        if self.offset & 1 == 1 {
            self.index -= self.factor / 2;
        } else {
            self.index += self.factor / 2;
        }
        self.offset /= 2;
        self.factor *= 2;
        Some(self.index)
    }

    /// Moves to the left child; stays on a leaf.
    pub fn left_child(&mut self) -> u64 {
        if self.factor > 2 {
            self.factor /= 2;
            self.index -= self.factor / 2;
            self.offset *= 2;
        }
        self.index
    }

    /// From a leaf to the root of the largest tree that starts there and ends below the leaf `end`. `false`, and no move, if
    /// the leaf is not below `end`.
    pub fn full_root(&mut self, end: u64) -> bool {
        if end <= self.index || self.index & 1 == 1 {
            return false;
        }
        while end > self.index + self.factor + self.factor / 2 {
            self.index += self.factor / 2;
            self.factor *= 2;
            self.offset /= 2;
        }
        true
    }

    /// From the root of a tree to the first leaf behind it.
    pub fn next_tree(&mut self) -> u64 {
        self.index += self.factor / 2 + 1;
        self.offset = self.index / 2;
        self.factor = 2;
        self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relatives() {
        assert_eq!((depth(0), depth(1), depth(3), depth(7)), (0, 1, 2, 3));
        assert_eq!((left_span(11), right_span(11)), (8, 14));
        assert_eq!(children(11), Some((9, 13)));
        assert_eq!((parent(9), parent(13), parent(0), parent(2)), (11, 11, 1, 1));
        assert_eq!(full_roots(11).collect::<Vec<_>>(), [7, 17, 20]);
        assert_eq!(full_roots(0).count(), 0);
    }

    #[test]
    fn the_iterator_agrees_with_the_functions() {
        for index in 0..4096 {
            let mut iter = Iter::new(index);
            assert_eq!(iter.parent(), Some(parent(index)));
            assert!(iter.contains(index));
            let mut iter = Iter::new(index);
            let sibling = iter.sibling();
            assert_eq!(parent(sibling), parent(index));
            if let Some((left, _)) = children(index) {
                assert_eq!(Iter::new(index).left_child(), left);
            }
        }
        for length in 1..600 {
            let mut iter = Iter::new(0);
            let mut roots = Vec::new();
            while iter.full_root(2 * length) {
                roots.push(iter.index);
                iter.next_tree();
            }
            assert_eq!(roots, full_roots(length).collect::<Vec<_>>());
        }
    }

    #[test]
    fn climbing_ends() {
        let mut iter = Iter::new(2 * encoding::MAX_SAFE_INTEGER);
        while iter.parent().is_some() {
            iter.sibling();
        }
    }
}
